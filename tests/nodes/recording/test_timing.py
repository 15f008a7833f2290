"""When the messages of a recording are due."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fabric.wire import Message
from nodes.recording import timing
from nodes.recording.lines import Entry
from nodes.recording.timing import LATE_NS, STEP_NS, Intended, Lateness, Pace

MS = 1_000_000
S = 1_000_000_000
T = 1_700_000_000 * S


def entry(sent_ns: int, received_ns: int, publisher: int = 1) -> Entry:
    return Entry(1, Message("a", None, publisher, 1, sent_ns), received_ns)


def times(*entries: Entry) -> list[int]:
    intended = Intended()
    return [intended.time_ns(each) for each in entries]


def test_the_delays_of_the_way_and_of_the_recorder_are_left_out() -> None:
    delays = [2 * MS, 5 * MS, 300 * MS, 2 * MS]
    assert times(*(entry(T + k * S, T + k * S + delay) for k, delay in enumerate(delays))) == [
        T + k * S + 2 * MS for k in range(4)
    ]


def test_a_smaller_delay_corrects_what_follows_and_no_time_runs_back() -> None:
    assert times(entry(T, T + 9 * MS), entry(T + MS, T + 3 * MS), entry(T + 20 * MS, T + 90 * MS)) == [
        T + 9 * MS, T + 9 * MS, T + 22 * MS,
    ]  # fmt: skip


def test_publishers_whose_clocks_differ_stand_on_the_recorders() -> None:
    ahead = 3600 * S
    found = times(*(
        entry(T + k * MS + (ahead if k % 2 else 0), T + k * MS + 100, publisher=k % 2) for k in range(10)
    ))  # fmt: skip
    assert found == [T + k * MS + 100 for k in range(10)]


def test_a_clock_that_is_set_in_the_middle_shifts_nothing() -> None:
    for step in (-2 * STEP_NS, 2 * STEP_NS):
        found = times(*(entry(T + k * S + (step if k > 4 else 0), T + k * S + 7) for k in range(10)))
        assert found == [T + k * S + 7 for k in range(10)]


def test_what_has_only_one_time_or_none_is_taken_at_it_or_at_once() -> None:
    assert times(entry(0, 0), entry(T, 0), entry(0, 0), entry(0, T + 5), entry(T + 3, 0)) == [0, T, T, T + 5, T + 5]


def test_no_memory_grows_with_the_number_of_publishers(monkeypatch: object) -> None:
    intended = Intended()
    for publisher in range(timing.MAX_PUBLISHERS + 5):
        intended.time_ns(entry(T, T + 1, publisher))
    assert len(intended._least) == 5


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 2))))
def test_times_never_run_back_whatever_the_file_says(given_times: list[tuple[int, int, int]]) -> None:
    found = times(*(entry(*each) for each in given_times))
    assert found == sorted(found)


def test_due_times_come_from_the_file_and_the_start_alone() -> None:
    pace = Pace(2.0, 1000)
    assert [pace.due_ns(T + at) for at in (0, 10, 10, 500)] == [1000, 1005, 1005, 1250]
    assert (pace.end_ns, pace.is_over) == (1250, False)


def test_a_part_begins_after_the_first_message_and_silence_in_it_stays() -> None:
    pace = Pace(1.0, 1000, from_ns=100, until_ns=300)
    assert [pace.due_ns(T + at) for at in (0, 99, 150, 299)] == [None, None, 1050, 1199] and not pace.is_over
    assert pace.due_ns(T + 300) is None and pace.is_over


def test_as_fast_as_it_goes_everything_is_due_at_the_start() -> None:
    pace = Pace(None, 1000, from_ns=100)
    assert [pace.due_ns(T + at) for at in (0, 150, 10**12)] == [None, 1000, 1000]


def test_messages_without_times_in_front_of_the_first_that_has_one_are_due_at_the_start() -> None:
    pace = Pace(1.0, 1000)
    assert [pace.due_ns(at) for at in (0, 0, T, T + 5)] == [1000, 1000, 1000, 1005]


def test_lateness() -> None:
    lateness = Lateness()
    for late_ns in (-5, LATE_NS, LATE_NS + 1, 7):
        lateness.sent(100, 100 + late_ns)
    assert (lateness.late, lateness.worst_ns) == (1, LATE_NS + 1)
