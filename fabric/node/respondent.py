"""A node's answers to an operator's questions, decided by `protocol.questions`. Costs nothing while nobody asks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fabric.errors import FabricError
from fabric.node.numbering import Numbering
from fabric.protocol import questions


class Respondent:
    """Answers for one node, in its I/O thread. What a peer sends never raises, and nothing here waits.

    token:    of this run of the node
    identity: gives what stands in every answer
    matching: gives the filters that match a topic
    held:     gives all filters
    stats:    gives the node's figures
    publish:  sends an answer to a topic, without waiting
    why_not:  gives why a filter may not be held, or None
    acknowledged: gives the filters of the subscriptions that were acknowledged
    numbering: gives what counts what this node publishes
    page:     gives where the program serves its status page, or None
    """

    def __init__(
        self,
        token: str,
        identity: Callable[[], Mapping[str, Any]],
        matching: Callable[[str], Iterable[str]],
        held: Callable[[], Iterable[str]],
        stats: Callable[[], Mapping[str, Any]],
        publish: Callable[[str, dict[str, Any]], object],
        why_not: Callable[[str], str | None] = lambda topic_filter: None,
        acknowledged: Callable[[], Iterable[str]] = lambda: (),
        numbering: Callable[[], Numbering] = lambda: Numbering(0),
        page: Callable[[], Mapping[str, str] | None] = lambda: None,
    ) -> None:
        self._token, self._identity, self._matching, self._held = token, identity, matching, held
        self._stats, self._publish, self._why_not, self._acknowledged = stats, publish, why_not, acknowledged
        self._numbering, self._page = numbering, page
        self._run = questions.run_of(token)
        self._budget = questions.Budget(questions.MAX_QUESTIONS_A_SECOND)

    def question_heard(self, payload: object) -> None:
        """A question to all nodes of this one's proxy."""
        question = questions.read_question(payload)
        if question is None or question.publisher not in (0, self._numbering().publisher):
            return
        if question.ask == "stats" and question.topic not in ("", self._run):
            return
        if not self._budget.take(time.monotonic()):
            return
        if question.ask == "why":
            matching = list(self._matching(question.topic))
            if questions.is_asked(question, self._token, bool(matching)):
                self._answer(question, questions.why(question.topic, matching, self._held(), self._why_not))
        elif question.ask == "stats":
            figures = questions.figures(self._stats())
            if question.topic or questions.is_asked(question, self._token, figures["lost"] > 0):
                self._answer(question, {**figures, "run": self._run})
        elif question.ask == "subscribers" and questions.holds(question.topic, self._acknowledged()):
            self._answer(question, {})
        elif question.ask == "topics":
            self._tell_topics(question)
        elif question.ask == "page":
            page = self._page()
            if page or questions.is_asked(question, self._token, False):  # all that have one: none may be missing
                self._answer(question, {"page": dict(page) if page else None})

    def trace_heard(self, topic: str, payload: object) -> None:
        """A trace came, on a topic that a filter here matches."""
        question = questions.read_question(payload)
        if question is not None and question.ask == "trace" and self._budget.take(time.monotonic()):
            self._answer(question, {"topic": topic})

    def _tell_topics(self, question: questions.Question) -> None:
        numbering, now = self._numbering(), time.monotonic()
        counted = numbering.counted(question.start, questions.MAX_TOPICS_LOOKED_AT + 1)
        answer = questions.topics(question.topic, counted, question.start, lambda raw: numbering.ago_s(raw, now), now)
        if question.publisher or questions.is_asked(question, self._token, bool(answer["topics"])):
            self._answer(question, answer)

    def _answer(self, question: questions.Question, body: dict[str, Any]) -> None:
        answer = {"answer": question.ask, "id": question.id, **self._identity(), **body}
        with contextlib.suppress(FabricError):  # the operator may ask again
            self._publish(question.reply_to, answer)
