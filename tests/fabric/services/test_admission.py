"""Admission: a key is done once, answers are kept within their bounds, and what is too much is told so."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.errors import Busy, NotAllowed
from fabric.services.admission import RETRY_AFTER_S, Accept, Admission, Again, Joined, Refused, Verdict
from fabric.services.messages import Address, Request


def request(key: str, ident: int = 1, client: str = "me") -> Request:
    return Request("op", None, key, Address(f"$inbox/{client}/replies", ident), 9, 1e9)


def admit(
    admission: Admission, key: str, now: float = 0.0, ident: int = 1, digest: bytes = b"d", client: str = "me"
) -> Verdict:
    return admission.admit(request(key, ident, client), digest, now)


def finish(admission: Admission, key: str, now: float = 0.0, size: int = 10, keep: bool = True) -> list[int]:
    return [address.id for address in admission.finish(key, f"answer to {key}", size, now, keep=keep)]


def test_once_then_again() -> None:
    admission = Admission()
    assert admit(admission, "k") == Accept(request("k"))
    assert admit(admission, "k", ident=2) == Joined()
    assert admit(admission, "k", ident=2) == Joined(), "a retry to the same server: answered once"
    assert finish(admission, "k") == [1, 2]
    assert admit(admission, "k", ident=3) == Again("answer to k")
    assert (admission.in_flight, admission.kept, admission.duplicates) == (0, 1, 3)


def test_requests_have_a_bound_in_bytes_and_a_large_one_goes_alone() -> None:
    admission = Admission(max_waiting_bytes=100)

    def admit_of(key: str, size: int) -> Verdict:
        return admission.admit(request(key), b"d", 0.0, size)

    assert isinstance(admit_of("large", 1_000), Accept), "it comes alone"
    refused = admit_of("small", 1)
    assert isinstance(refused, Refused) and isinstance(refused.error, Busy)
    assert "1,000 bytes of requests are in flight" in str(refused.error)
    finish(admission, "large")
    assert all(isinstance(admit_of(key, 50), Accept) for key in "ab")
    assert isinstance(admit_of("c", 1), Refused) and admission.busy == 2
    finish(admission, "a", keep=False)
    assert isinstance(admit_of("c", 50), Accept), "what is kept of answers does not count"


def test_what_is_not_kept_is_done_again() -> None:
    admission = Admission()
    admit(admission, "k")
    finish(admission, "k", keep=False)
    assert isinstance(admit(admission, "k"), Accept) and admission.kept == 0


def test_a_key_for_another_request_is_refused_before_and_after() -> None:
    admission = Admission()
    admit(admission, "k")
    for _ in range(2):
        verdict = admit(admission, "k", ident=2, digest=b"other")
        assert isinstance(verdict, Refused) and isinstance(verdict.error, NotAllowed)
        if admission.in_flight:
            assert finish(admission, "k") == [1], "who was refused gets no answer of another's"


def test_an_answer_is_kept_for_its_time() -> None:
    admission = Admission(keep_s=10.0)
    admit(admission, "k")
    finish(admission, "k", now=5.0)
    assert isinstance(admit(admission, "k", now=14.9), Again)
    assert isinstance(admit(admission, "k", now=15.0), Accept)


def test_answers_are_bounded_in_number_and_in_bytes() -> None:
    for admission in (Admission(max_kept=3), Admission(max_kept_bytes=3 * 10_000 + 1_600)):
        for key in "abcde":
            admit(admission, key)
            finish(admission, key, size=10_000)
        assert admission.kept == 3
        assert isinstance(admit(admission, "e"), Again) and isinstance(admit(admission, "a"), Accept)


def test_one_answer_larger_than_the_bound_is_not_kept() -> None:
    admission = Admission(max_kept_bytes=1_000)
    admit(admission, "k")
    assert finish(admission, "k", size=5_000) == [1]
    assert admission.kept == 0 and isinstance(admit(admission, "k"), Accept)


def test_too_many_in_flight() -> None:
    admission = Admission(max_in_flight=2)
    admit(admission, "a")
    admit(admission, "b")
    verdict = admit(admission, "c")
    assert isinstance(verdict, Refused) and isinstance(verdict.error, Busy)
    assert isinstance(admit(admission, "a", ident=2), Joined), "no new work: it may wait"
    assert admission.load == 1.0 and admission.busy == 1
    finish(admission, "a")
    assert isinstance(admit(admission, "c"), Accept), "a refusal leaves no trace"


def test_a_client_that_asks_too_much_leaves_room_for_others() -> None:
    admission = Admission(max_in_flight=1_000)
    for client, share in (("flood", 750), ("another flood", 188), ("a third", 47)):
        taken = [isinstance(admit(admission, f"{client} {n}", client=client), Accept) for n in range(2_000)]
        assert taken == [True] * share + [False] * (2_000 - share)
    for number in range(10):
        assert isinstance(admit(admission, f"honest {number}", client=str(number)), Accept)
    for key in range(750):
        finish(admission, f"flood {key}")
    assert isinstance(admit(admission, "more", client="a third"), Accept), "a place that is free again is anybody's"


def test_a_busy_server_tells_how_long() -> None:
    slow = Admission(max_in_flight=10)
    for number in range(10):
        admit(slow, str(number), client=str(number))
    for _ in range(100):
        slow.handler_took(1, 0.2)
    verdict = admit(slow, "x")
    assert isinstance(verdict, Refused) and isinstance(verdict.error, Busy)
    assert verdict.error.retry_after_s == pytest.approx(1.0, abs=0.01), "half of ten times 0.2 s"
    for _ in range(200):
        slow.handler_took(1, 60.0)
    verdict = admit(slow, "y")
    assert isinstance(verdict, Refused) and isinstance(verdict.error, Busy)
    assert verdict.error.retry_after_s == RETRY_AFTER_S[1]


def test_one_that_closes_takes_nothing_new_and_answers_what_it_did() -> None:
    admission = Admission()
    admit(admission, "a")
    finish(admission, "a")
    admit(admission, "b")
    admission.closed = True
    verdict = admit(admission, "c")
    assert isinstance(verdict, Refused) and isinstance(verdict.error, Busy)
    assert isinstance(admit(admission, "a"), Again) and isinstance(admit(admission, "b"), Joined)


def test_who_waits_for_one_answer_is_bounded() -> None:
    admission = Admission()
    for ident in range(100):
        admit(admission, "k", ident=ident)
    assert len(finish(admission, "k")) == 16


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "finish", "finish, not kept"]), st.sampled_from("abcd"), st.floats(0, 4)),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(1, 3), st.integers(1, 3))
def test_against_a_dumb_model(steps: list[tuple[str, str, float]], max_in_flight: int, max_kept: int) -> None:
    """The model: which keys are being done, and a list of (end, key) of what is kept."""
    admission = Admission(max_in_flight=max_in_flight, max_kept=max_kept, keep_s=10.0)
    doing: set[str] = set()
    kept: list[tuple[float, str]] = []
    now = 0.0
    for action, key, passed in steps:
        now += passed
        kept = [entry for entry in kept if entry[0] > now]
        if action == "admit":
            verdict = admit(admission, key, now)
            if key in doing:
                expected: type = Joined
            elif key in [k for _, k in kept]:
                expected = Again
            elif len(doing) >= max_in_flight:
                expected = Refused
            else:
                expected = Accept
                doing.add(key)
            assert type(verdict) is expected
        elif key in doing:
            admission.expire(now)
            keep = action == "finish"
            finish(admission, key, now, keep=keep)
            doing.remove(key)
            kept = [*kept, (now + 10.0, key)][-max_kept:] if keep else kept
        assert admission.in_flight == len(doing)
