"""The processes of a load test: started, heard, and ended, also when one of them fails."""

from __future__ import annotations

import os
import signal

import pytest

from nodes.load.crew import Crew, LoadError, Progress
from nodes.load.schedule import Spec
from tests.support.processes import ProxyProcess, free_base


def spec(base: str, connect_timeout_s: float = 10.0) -> Spec:
    return Spec(1, 2, ("crew/0",), ("crew/+",), 64, 10.0, 0.1, 0.1, (base,), connect_timeout_s)


def test_orders_answers_and_progress(mesh: list[ProxyProcess]) -> None:
    seen: list[Progress] = []
    with Crew(spec(mesh[0].base), seen.append) as crew:
        assert [str(each) for each in crew.all] == ["subscriber 0", "subscriber 1", "publisher 0"]
        crew.order(crew.subscribers, "begin", (crew.publishers[0].said["ready"][0],))
        crew.wait_for("begun", crew.subscribers, 20)
        crew.doing("a first message", 100.0)
        crew.order(crew.publishers, "prime", 100.0, [2])
        assert "begun" in crew.subscribers[0].said, "an order to others leaves it"
        crew.wait_for("finished", crew.publishers, 20)
        while seen[-1].told.delivered < 2:
            crew.listen()
        assert (seen[-1].doing, seen[-1].sent.accepted, seen[-1].told.lost) == ("a first message", 1, 0)
        assert (seen[-1].sent.due, seen[-1].in_flight) == (2, 0)
        assert 0 < seen[-1].share < 1
        with pytest.raises(LoadError, match="publisher 0 did not say 'accounts' within 0 s"):
            crew.wait_for("accounts", crew.publishers, 0)
    assert crew.all == []


def test_a_process_that_dies_ends_the_test(mesh: list[ProxyProcess]) -> None:
    with (
        pytest.raises(LoadError, match="subscriber 1 ended by itself, with exit code -9"),
        Crew(spec(mesh[0].base), _) as crew,
    ):
        os.kill(crew.subscribers[1].process.pid, signal.SIGKILL)
        crew.wait_for("never", crew.subscribers, 20)
    assert crew.all == []


def test_nobody_there() -> None:
    with pytest.raises(LoadError, match="no proxy answered at "), Crew(spec(free_base(), connect_timeout_s=0.2), _):
        pass


def _(progress: Progress) -> None:
    """Nobody watches."""
