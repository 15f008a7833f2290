"""Wrong passwords are counted, for a while, and the count is bounded."""

from __future__ import annotations

from nodes.gateway.lockout import LockOut


def test_after_so_many_failures_it_is_locked_until_the_oldest_is_forgotten() -> None:
    lock = LockOut(3, 60.0)
    for second in range(3):
        assert lock.locked_s("ada", float(second)) == 0
        lock.failed("ada", float(second))
    assert lock.locked_s("ada", 2.0) == 58.0
    assert lock.locked_s("ada", 59.5) == 0.5
    assert lock.locked_s("ada", 60.0) == 0
    lock.failed("ada", 60.0)
    assert lock.locked_s("ada", 60.0) == 1.0, "the next oldest counts on"


def test_others_are_not_locked_out_and_success_forgets() -> None:
    lock = LockOut(1, 60.0)
    lock.failed("ada", 0.0)
    assert lock.locked_s("bob", 0.0) == 0 < lock.locked_s("ada", 0.0)
    lock.succeeded("ada")
    assert lock.locked_s("ada", 0.0) == 0


def test_it_stays_bounded_and_forgets_who_was_quiet_for_longest() -> None:
    lock = LockOut(1, 60.0, max_keys=3)
    for name in ("ada", "bob", "cyd", "ada", "dan"):
        lock.failed(name, 0.0)
    assert [name for name in ("ada", "bob", "cyd", "dan") if lock.locked_s(name, 0.0)] == ["ada", "cyd", "dan"]
