"""Repair of losses between nodes, over one proxy and over two. What is lost is lost on purpose, where it is sent."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fabric import Gap, Message, Node
from fabric.protocol.repair import Answer, answer_payload
from fabric.wire import encode
from tests.support.losing import losing
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, until

Proxies = list[ProxyProcess]


class Heard:
    """A node, and all that it heard of `lossy/#`."""

    def __init__(self, base: str, **options: Any) -> None:
        self.node = Node(base, **options)
        self.messages, self.gaps = Box(), Box()
        self.node.on_gap(self.gaps)
        ack = self.node.wait_ack(self.node.subscribe("lossy/#", self.messages), 10)
        assert ack.ok, ack

    @property
    def told(self) -> dict[str, list[int | tuple[int, int, str]]]:
        """By topic: numbers that came, and (first, last, reason) of what was told as lost."""
        found: dict[str, list[Any]] = {}
        for each in [*self.messages.items, *self.gaps.items]:
            told = (each.first, each.last, each.reason) if isinstance(each, Gap) else each.number
            found.setdefault(each.topic, []).append(told)
        return found

    def numbers(self, topic: str = "lossy/a") -> list[int]:
        return [each.number for each in self.messages.items if each.topic == topic]

    def count(self, what: str) -> Any:
        return self.node.stats()[what]


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as found:
        yield found


def hear(stack: contextlib.ExitStack, base: str, **options: Any) -> Heard:
    found = Heard(base, **options)
    stack.callback(found.node.close)
    return found


def publisher(stack: contextlib.ExitStack, base: str, *topics: str, **options: Any) -> Node:
    """One that has published the first message of each topic."""
    node = stack.enter_context(Node(base, **options))
    for topic in topics or ("lossy/a",):
        node.publish(topic, 0)
    return node


@pytest.mark.parametrize("places", [(0, 0), (0, 1)])
def test_what_was_lost_comes_before_what_is_newer(
    mesh: Proxies, stack: contextlib.ExitStack, places: tuple[int, int]
) -> None:
    heard = hear(stack, mesh[places[1]].base)
    node = publisher(stack, mesh[places[0]].base)
    heard.messages.wait(1)
    with losing(node):
        for number in range(2, 12):
            node.publish("lossy/a", number)
    node.publish("lossy/a", "newer")
    heard.messages.wait(12)
    assert heard.numbers() == list(range(1, 13)) and heard.gaps.items == []
    assert heard.count("repaired") == 10 and heard.count("asked") >= 1
    until(lambda: node.stats()["answered"] == 10, "the publisher has counted them")


def test_a_lost_last_message_comes_as_soon_as_its_tail_shows_it(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    heard = hear(stack, mesh[1].base)
    node = publisher(stack, mesh[0].base)
    heard.messages.wait(1)
    with losing(node):
        node.publish("lossy/a", "the last")
    heard.messages.wait(2)
    assert heard.numbers() == [1, 2] and heard.count("repaired") == 1


def test_many_losses_on_many_topics_under_load(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    rng, topics = random.Random(1), [f"lossy/{number}" for number in range(20)]
    heard = hear(stack, mesh[1].base, repair_timeout_s=20)
    node = publisher(stack, mesh[0].base, *topics)
    heard.messages.wait(len(topics))
    with losing(node, lambda part: rng.random() < 0.2) as lossy:
        for number in range(200):
            for topic in topics:
                node.publish(topic, number)
    heard.messages.wait(201 * len(topics))
    assert len(lossy) > 500 and heard.gaps.items == []
    for topic in topics:
        assert heard.numbers(topic) == list(range(1, 202))
    assert heard.count("repaired") == len(lossy) and node.stats()["interest"]["wire"] >= 1


def test_messages_are_as_they_were_sent(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    heard = hear(stack, mesh[1].base)
    node = publisher(stack, mesh[0].base)
    heard.messages.wait(1)
    payloads = [b"x" * 100_000, {"a": [1, None]}, "text"]
    with losing(node):
        for payload in payloads:
            node.publish("lossy/a", payload)
    node.publish("lossy/a", "newer")
    messages: list[Message] = heard.messages.wait(5)
    assert [each.payload for each in messages] == [0, *payloads, "newer"]
    assert {each.publisher for each in messages} == {node.publisher}
    assert [each.sent_ns for each in messages] == sorted(each.sent_ns for each in messages)


def test_one_that_fits_no_answer_is_sent_once_more_as_it_is(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    heard = hear(stack, mesh[1].base, repair_timeout_s=20)
    node = publisher(stack, mesh[0].base, max_payload_bytes=50_000)
    heard.messages.wait(1)
    with losing(node):
        node.publish("lossy/a", b"x" * 49_990)
    node.publish("lossy/a", "newer")
    heard.messages.wait(3)
    assert heard.count("repaired") == 1
    until(lambda: node.stats()["repeated"] == 1, "the publisher has counted it")


def test_what_the_publisher_does_not_have_any_more_is_too_old(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    heard = hear(stack, mesh[1].base, repair_timeout_s=20)
    node = publisher(stack, mesh[0].base, repair_bytes=20_000)
    heard.messages.wait(1)
    with losing(node):
        for _ in range(100):
            node.publish("lossy/a", b"x" * 1_000)
    node.publish("lossy/a", "newer")
    (gap,) = heard.gaps.wait(1)
    heard.messages.wait_for(lambda items: items[-1].payload == "newer", "the newest")
    assert (gap.first, gap.reason) == (2, "too old") and 75 < gap.last < 100
    assert heard.numbers() == [1, *range(gap.last + 1, 103)]


def test_a_publisher_that_is_gone_is_waited_for_no_longer_than_told(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    heard = hear(stack, mesh[1].base, repair_timeout_s=0.5)
    node = publisher(stack, mesh[0].base, repair_bytes=0)
    heard.messages.wait(1)
    with losing(node):
        node.publish("lossy/a", 2)
    node.publish("lossy/a", 3)
    node.close()
    (gap,) = heard.gaps.wait(1)
    assert gap == Gap("lossy/a", node.publisher, 2, 2, 1, "publisher gone")
    heard.messages.wait(2)
    assert heard.numbers() == [1, 3]


def test_an_answer_gives_up_no_more_than_was_asked_for(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    heard = hear(stack, mesh[1].base, repair_timeout_s=60)
    node = publisher(stack, mesh[0].base, repair_bytes=0)  # it hears no asks
    heard.messages.wait(1)
    with losing(node):
        for number in range(2, 3_002):
            node.publish("lossy/a", number)
    node.publish("lossy/a", "newer")
    until(lambda: heard.count("asked") > 0, "the first of them are asked for")
    raw, repairer = b"$ack/0123/p", heard.node._engine.repairer
    answer = answer_payload(Answer(1, "lossy/a", (), ((2, 2**63, "too old"),), True))
    body = encode("t", node.publisher, 1, 0, answer).partition(b"\0")[2]
    heard.node._engine.commands.put(lambda: repairer.heard(raw, body, time.monotonic()))
    heard.gaps.wait(1)
    until(lambda: len(repairer._asker._asks) == 1 and 1 not in repairer._asker._asks, "the next ones are asked for")
    assert heard.gaps.items == [Gap("lossy/a", node.publisher, 2, 1_001, 1_000, "too old")]


def test_turned_off_a_loss_is_told_at_once(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    heard = hear(stack, mesh[1].base, repair_timeout_s=0)
    node = publisher(stack, mesh[0].base)
    heard.messages.wait(1)
    with losing(node):
        node.publish("lossy/a", 2)
    node.publish("lossy/a", 3)
    (gap,) = heard.gaps.wait(1)
    assert gap == Gap("lossy/a", node.publisher, 2, 2, 1) and heard.count("asked") == 0


def test_when_several_lost_the_same_it_is_sent_once_more_to_all(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    all_of_them = [hear(stack, mesh[number % 2].base, repair_timeout_s=20) for number in range(12)]
    node = publisher(stack, mesh[0].base)
    for heard in all_of_them:
        heard.messages.wait(1)
    with losing(node):
        for number in range(2, 302):
            node.publish("lossy/a", number)
    node.publish("lossy/a", "newer")
    for heard in all_of_them:
        heard.messages.wait(302)
        assert heard.numbers() == list(range(1, 303)) and heard.gaps.items == []
    stats = node.stats()
    until(lambda: sum(heard.count("repaired") for heard in all_of_them) == 300 * 12, "all is counted")
    assert stats["answered"] + stats["repeated"] < 300 * 12, stats


def test_what_is_known_from_a_store_goes_on_without_a_hole(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    node = publisher(stack, mesh[0].base)
    for number in range(2, 11):
        node.publish("lossy/a", number)
    until(lambda: node.stats()["unconfirmed"] == 0, "all that was published has passed the proxy")
    found = stack.enter_context(Node(mesh[1].base))
    messages, gaps = Box(), Box()
    found.on_gap(gaps)
    found.expect("lossy/a", node.publisher, 4)
    assert found.wait_ack(found.subscribe("lossy/a", messages), 10).ok
    node.publish("lossy/a", 11)
    messages.wait(1)
    assert gaps.items == []
    messages.wait(7)
    assert [each.number for each in messages.items] == [5, 6, 7, 8, 9, 10, 11]
    assert found.stats()["started_late"] == 0 and found.stats()["repaired"] == 6
    with pytest.raises(ValueError):
        found.expect("lossy/a", 1, -1)


@pytest.mark.parametrize("count", [5, 2_500])
def test_what_a_store_lacks_is_asked_for_though_the_topic_is_quiet(
    mesh: Proxies, stack: contextlib.ExitStack, count: int
) -> None:
    """It is not asked for before somebody here wants it."""
    node = publisher(stack, mesh[0].base)
    for number in range(2, count + 1):
        node.publish("lossy/a", number)
    found = stack.enter_context(Node(mesh[1].base))
    # Its tails are over when the last one is known here: what comes after them comes because it was asked for.
    node._engine.up._repeats[0].clear()
    until(lambda: node.stats()["unconfirmed"] == 0 and not node._engine.up._numbering.waits_for_tails, "all is quiet")
    node._engine.up._repeats[0].clear()
    messages = Box()
    found.expect("lossy/a", node.publisher, 2, ask=True)
    found.expect("lossy/a", node.publisher + 1, 2, ask=True)  # nobody's
    until(lambda: found.state.state == "connected" and not found._engine.commands, "it was told")
    assert found.wait_ack(found.subscribe("lossy/a", messages), 10).ok
    messages.wait(count - 2)
    assert [each.number for each in messages.items] == list(range(3, count + 1))
    assert found.stats()["repaired"] == count - 2 and found.stats()["gaps"] == 0


def test_what_a_store_lacks_and_nobody_has_any_more_is_told(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    node = publisher(stack, mesh[0].base, repair_bytes=2_000)
    for number in range(2, 101):
        node.publish("lossy/a", number)
    until(lambda: node.stats()["unconfirmed"] == 0, "all that was published has passed the proxy")
    found = stack.enter_context(Node(mesh[1].base, repair_timeout_s=20))
    messages, gaps = Box(), Box()
    found.on_gap(gaps)
    found.expect("lossy/a", node.publisher, 4, ask=True)
    assert found.wait_ack(found.subscribe("lossy/a", messages), 10).ok
    (gap,) = gaps.wait(1)
    messages.wait_for(lambda items: items[-1].number == 100, "the last")
    assert (gap.first, gap.reason) == (5, "too old")
    assert [each.number for each in messages.items] == list(range(gap.last + 1, 101))


def test_a_retained_message_that_was_lost_comes_as_any_other(mesh: Proxies, stack: contextlib.ExitStack) -> None:
    heard = hear(stack, mesh[1].base)
    node = publisher(stack, mesh[0].base)
    heard.messages.wait(1)
    with losing(node):
        node.publish("lossy/a", "kept", {"mine": 1}, retain=True)
    node.publish("lossy/a", None, retain=True)
    messages = heard.messages.wait(3)
    assert [(each.payload, dict(each.headers)) for each in messages[1:]] == [("kept", {"mine": 1}), (None, {})]
