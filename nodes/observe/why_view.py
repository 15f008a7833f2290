"""Who gets a topic, who does not, and why: what `fabric why` shows. Pure.

It takes how many nodes each proxy has, and every answer to the question and to the trace. Answers come from peers:
anything else is passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fabric.errors import TopicError
from fabric.protocol.questions import MAX_FILTER_CHARS, MAX_TOLD
from fabric.topics import explain
from nodes.observe.tables import milliseconds

PROXY_COLUMNS = ("PROXY", "NODES", "ANSWERED", "WANT IT", "GOT IT")
NODE_COLUMNS = ("NODE", "PROXY", "GOT IT ms", "FILTER", "WHY")
NOT_ALLOWED = "not allowed: no role of this node lets it hold this filter"
NO_FILTER = "it holds no filter that may be told"


@dataclass
class _Node:
    """What one node has said.

    answered: it has answered the question, not only the trace
    got_s:    from the trace to its answer; None while the trace has not reached it
    matches:  its filters that match the topic
    near:     without a match, those that come nearest
    denied:   those that match, and that the rules of the mesh do not let it hold
    """

    name: str
    proxy: str
    answered: bool = False
    got_s: float | None = None
    matches: list[str] = field(default_factory=list)
    near: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)

    @property
    def filters(self) -> list[str]:
        return [*self.matches, *self.denied] or self.near


class Why:
    """The answers about one topic.

    nodes:   how many each proxy says it has
    why_not: why the operator may not publish on it, so that there is no trace; None when that is allowed
    """

    def __init__(self, topic: str, nodes: Mapping[str, int], why_not: str | None = None) -> None:
        self.topic, self.why_not, self._counts = topic, why_not, dict(nodes)
        self._nodes: dict[int, _Node] = {}
        """By publisher id, which is new with each run of a node. `hear` adds."""

    def hear(self, elapsed_s: float, answer: Mapping[str, Any]) -> None:
        """Take one answer, and how long after the question or the trace it came."""
        name, proxy = answer.get("node"), answer.get("proxy")
        if not (isinstance(name, str) and isinstance(proxy, str)):
            return
        node = self._nodes.setdefault(answer["publisher"], _Node(name, proxy))
        if answer.get("answer") == "trace":
            node.got_s = elapsed_s
        elif answer.get("answer") == "why":
            node.answered = True
            node.matches, node.near = _texts(answer.get("matches")), _texts(answer.get("near"))
            node.denied = [each for each in _texts(answer.get("denied")) if each not in node.matches]

    @property
    def is_whole(self) -> bool:
        """True when every node has answered, and the trace has come to all who want it."""
        answered = Counter(node.proxy for node in self._nodes.values() if node.answered)
        has_all = all(answered[proxy] >= count for proxy, count in self._counts.items())
        if self.why_not is not None:
            return has_all
        return has_all and all(node.got_s is not None for node in self._nodes.values() if node.matches)

    @property
    def got(self) -> list[str]:
        """The nodes that a message on this topic reaches."""
        return sorted(node.name for node in self._nodes.values() if node.got_s is not None)

    @property
    def missed(self) -> list[str]:
        """The nodes that the trace has not reached although a filter matches: their subscription is broken."""
        if self.why_not is not None:
            return []
        return sorted(node.name for node in self._nodes.values() if node.matches and node.got_s is None)

    def proxies(self) -> list[tuple[str, int, int, int, int]]:
        """For each proxy, in the order of PROXY_COLUMNS. Cost: one pass, whatever proxies peers claim to be at."""
        here, answered, wanted, got = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
        for node in self._nodes.values():
            here[node.proxy] += 1
            answered[node.proxy] += node.answered
            wanted[node.proxy] += bool(node.matches)
            got[node.proxy] += node.got_s is not None
        return [
            (name, max(self._counts.get(name, 0), here[name]), answered[name], wanted[name], got[name])
            for name in sorted({*self._counts, *here})
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """For each node and filter, in the order of NODE_COLUMNS: who gets it first."""
        found: list[tuple[str, ...]] = []
        for node in self._sorted():
            first = (node.name, node.proxy, milliseconds(node.got_s))
            for topic_filter in node.filters or [""]:
                found.append((*first, topic_filter, self._why(node, topic_filter)))
                first = ("", "", "")
        return found

    def as_json(self) -> dict[str, Any]:
        names = ("proxy", "nodes", "answered", "want_it", "got_it")
        return {
            "topic": self.topic,
            "not_allowed": self.why_not,
            "proxies": [dict(zip(names, each, strict=True)) for each in self.proxies()],
            "nodes": [
                {
                    "node": node.name,
                    "proxy": node.proxy,
                    "got_s": node.got_s,
                    "filters": [{"filter": each, "why": self._why(node, each)} for each in node.filters],
                }
                for node in self._sorted()
            ],
        }

    def _sorted(self) -> list[_Node]:
        return sorted(self._nodes.values(), key=lambda node: (node.got_s is None, not node.matches, node.name))

    def _why(self, node: _Node, topic_filter: str) -> str:
        if not topic_filter:
            return NO_FILTER
        if topic_filter in node.denied:
            return NOT_ALLOWED
        try:
            return explain(topic_filter, self.topic)
        except TopicError as error:  # it was cut, or never was a filter
            return str(error)


def _texts(value: object) -> list[str]:
    """The filters in an answer, as many and as long as a node that keeps to the rules tells."""
    texts = [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
    return [each[:MAX_FILTER_CHARS] for each in texts[:MAX_TOLD]]
