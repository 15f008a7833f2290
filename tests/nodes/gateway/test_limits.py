"""What a browser may cost: buckets, and the strikes that end it."""

from __future__ import annotations

import pytest

from nodes.gateway.limits import Allowance, Bucket, Limits

LIMITS = Limits(message_bytes=100, update_bytes=1_000, rate=10, burst=20, byte_rate=500, byte_burst=5_000, strikes=5)


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(2.0, 4.0, 100.0)
    assert [bucket.take(1, 100.0) for _ in range(5)] == [True] * 4 + [False]
    assert [bucket.take(1, 100.5) for _ in range(2)] == [True, False]
    assert bucket.take(4, 1_000.0) and not bucket.take(0.5, 1_000.0), "never more than the burst"


def test_a_bucket_takes_all_or_nothing_and_no_clock_that_goes_back() -> None:
    bucket = Bucket(1.0, 3.0, 10.0)
    assert not bucket.take(4, 10.0)
    assert bucket.take(3, 5.0) and not bucket.take(1, 5.0) and not bucket.take(1, 10.5) and bucket.take(1, 11.0)


@pytest.mark.parametrize(("size", "what"), [(100, None), (1_000, None), (1_001, "size")])
def test_the_size_of_a_message_is_judged_before_it_is_read(size: int, what: str | None) -> None:
    verdict = Allowance(LIMITS, 0.0).take(size, 0.0, is_update=True)
    assert (verdict and verdict.what) == what


@pytest.mark.parametrize(("size", "what"), [(100, None), (101, "size")])
def test_only_what_begins_as_an_update_may_be_large(size: int, what: str | None) -> None:
    verdict = Allowance(LIMITS, 0.0).take(size, 0.0, is_update=False)
    assert (verdict and verdict.what) == what


def test_only_an_update_may_be_large() -> None:
    allowance = Allowance(LIMITS, 0.0)
    assert allowance.check_size("update", 1_000, 0.0) is None and allowance.check_size("publish", 100, 0.0) is None
    verdict = allowance.check_size("publish", 101, 0.0)
    assert verdict is not None and verdict.what == "size" and "101" in verdict.why and "100" in verdict.why


def test_too_many_messages_and_too_many_bytes_are_dropped() -> None:
    allowance = Allowance(LIMITS, 0.0)
    verdicts = [allowance.take(1, 0.0, is_update=False) for _ in range(21)]
    assert verdicts[:20] == [None] * 20 and verdicts[20] is not None and verdicts[20].what == "rate"
    heavy = Allowance(LIMITS, 0.0)
    verdicts = [heavy.take(1_000, 0.0, is_update=True) for _ in range(6)]
    assert verdicts[:5] == [None] * 5 and verdicts[5] is not None and verdicts[5].what == "bytes"


def test_it_is_told_once_a_second_and_closed_when_it_goes_on() -> None:
    allowance = Allowance(LIMITS, 0.0)
    verdicts = [allowance.strike("malformed", "no", 0.0) for _ in range(6)]
    assert [verdict.tell for verdict in verdicts] == [True, False, False, False, False, True]
    assert [verdict.close for verdict in verdicts] == [False] * 5 + [True]


def test_who_strays_now_and_then_is_never_closed() -> None:
    allowance = Allowance(LIMITS, 0.0)
    verdicts = [allowance.strike("rate", "no", float(second)) for second in range(1_000)]
    assert not any(verdict.close for verdict in verdicts) and all(verdict.tell for verdict in verdicts)
