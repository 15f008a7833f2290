"""What waits for a browser: order, bounds, and what is said again to one that comes back."""

from __future__ import annotations

import json
import random

from nodes.gateway.outbox import KEEP_MESSAGES, Kind, Outbox


def push(outbox: Outbox, word: str, kind: Kind = "said") -> bool:
    text = json.dumps({"w": word})
    return outbox.push(kind, text if kind == "passing" else text[1:])


def words(outbox: Outbox) -> list[str]:
    return [json.loads(text)["w"] for text in outbox.take(10_000)]


def test_numbered_messages_get_their_numbers_and_passing_ones_none() -> None:
    outbox = Outbox(10, 10_000)
    push(outbox, "a")
    push(outbox, "p", "passing")
    push(outbox, "b", "fabric")
    assert [json.loads(text) for text in outbox.take()] == [{"seq": 1, "w": "a"}, {"w": "p"}, {"seq": 2, "w": "b"}]
    assert outbox.take() == [] and outbox.seq == 2 and len(outbox) == 0


def test_it_says_when_more_waits_than_may() -> None:
    outbox = Outbox(2, 10_000)
    assert [push(outbox, "x") for _ in range(3)] == [True, True, False] and not outbox.fits
    assert [push(Outbox(10, 50), "x" * size) for size in (10, 100)] == [True, False]


def test_a_burst_is_forgiven_to_a_browser_that_takes_it() -> None:
    outbox = Outbox(2, 10_000)
    for _ in range(3):
        push(outbox, "x")
    assert outbox.is_too_much(stuck=True) and not outbox.is_too_much(stuck=False)
    for _ in range(6):
        push(outbox, "x")
    assert outbox.is_too_much(stuck=False), "but not any burst"


def test_without_a_browser_the_oldest_goes_and_is_missed() -> None:
    outbox = Outbox(3, 10_000)
    for word in "abcde":
        push(outbox, word)
    outbox.trim()
    assert not outbox.resume(1, same_document=True)
    assert words(outbox) == ["c", "d", "e"]


def test_what_was_handed_out_and_not_seen_comes_again_in_order() -> None:
    outbox = Outbox(100, 10_000)
    for word in "abc":
        push(outbox, word)
    push(outbox, "ack", "passing")
    assert words(outbox) == ["a", "b", "c", "ack"]
    push(outbox, "d")
    push(outbox, "ack2", "passing")
    assert outbox.resume(1, same_document=True)
    outbox.push_first('{"w": "welcome"}')
    assert words(outbox) == ["welcome", "b", "c", "d"]
    assert outbox.resume(4, same_document=True) and words(outbox) == []


def test_another_document_gets_nothing_of_its_predecessors_subscriptions() -> None:
    outbox = Outbox(100, 10_000)
    push(outbox, "a")
    push(outbox, "truck", "fabric")
    words(outbox)
    push(outbox, "b")
    push(outbox, "truck 2", "fabric")
    assert outbox.resume(0, same_document=False)
    assert words(outbox) == ["a", "b"]


def test_who_does_not_know_what_it_saw_gets_only_what_waits() -> None:
    outbox = Outbox(100, 10_000)
    push(outbox, "a")
    words(outbox)
    push(outbox, "b")
    assert outbox.resume(None, same_document=False) and words(outbox) == ["b"]
    assert outbox.resume(0, same_document=False) and words(outbox) == ["a", "b"], "another one knows"
    assert outbox.resume(1, same_document=False) and words(outbox) == ["b"]
    assert not outbox.resume(0, same_document=False), "what was seen once is not kept"


def test_a_number_that_was_never_used_is_not_complete() -> None:
    outbox = Outbox(100, 10_000)
    push(outbox, "a")
    assert not outbox.resume(7, same_document=True)


def test_only_so_much_is_kept_and_what_is_lost_is_said() -> None:
    outbox = Outbox(1_000, 10_000_000)
    for number in range(KEEP_MESSAGES + 10):
        push(outbox, str(number))
    words(outbox)
    assert not outbox.resume(9, same_document=True)
    outbox = Outbox(1_000, 10_000_000)
    for number in range(KEEP_MESSAGES + 10):
        push(outbox, str(number))
    words(outbox)
    assert outbox.resume(10, same_document=True)
    assert words(outbox) == [str(number) for number in range(10, KEEP_MESSAGES + 10)]


def test_whatever_is_lost_on_the_way_a_browser_that_tells_what_it_saw_misses_nothing_unsaid() -> None:
    """Against a browser that loses its socket at random moments: nothing twice, nothing out of order, no silent gap."""
    draw = random.Random(7)
    for _ in range(200):
        outbox, seen, handled, last = Outbox(30, 100_000), 0, [], 0
        for _ in range(draw.randrange(5, 120)):
            for _ in range(draw.randrange(4)):
                last += 1
                if not push(outbox, str(last)):
                    outbox.trim()
            taken = [json.loads(text) for text in outbox.take(draw.randrange(1, 6))]
            arrived = draw.randrange(len(taken) + 1) if draw.random() < 0.3 else len(taken)
            for each in taken[:arrived]:
                assert each["seq"] > seen
                seen = each["seq"]
                handled.append(int(each["w"]))
            if arrived < len(taken):
                complete = outbox.resume(seen, same_document=True)
                waiting = [int(word) for word in words(outbox)]
                assert not complete or waiting == list(range(seen + 1, last + 1))
                handled += waiting
                seen = outbox.seq
        assert handled == sorted(set(handled))
