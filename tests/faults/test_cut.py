"""A host is cut off: both sides go on alone and say so; when it is healed, all is as before.

FABRIC_CUT_S:    for how long (5; scripts/soak takes 60)
FABRIC_HEALED_S: how soon after the healing everything must flow, and every ack cover all (20, for a machine that is
                 busy with other things; scripts/soak takes the 5 that are promised)
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stage import Stage, stage
from tests.support.waiting import until

CUT_S = float(os.environ.get("FABRIC_CUT_S", "5"))
HEALED_S = float(os.environ.get("FABRIC_HEALED_S", "20"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Stage]:
    with stage(tmp_path) as found:
        if not found.places:
            pytest.skip(found.lacking[0])
        yield found


def status_of(world: Stage, host: int) -> dict[str, str]:
    """What `fabric status` on a host says: proxies and their states."""
    asked = world.fabric(host, "status", "--connect", world.bases[host - 1])
    assert asked.wait(60) == 0, asked.said()
    return {line.split()[0]: line.split()[1] for line in asked.stdout[1:]}


def test_a_host_that_was_cut_off_and_healed(world: Stage) -> None:
    world.host("h2").cut()
    cut_at = time.monotonic()
    alone = {"w1": ["p2"], "w2": ["p1", "p3"], "w3": ["p2"]}
    for worker in world.workers:
        until(
            lambda worker=worker: worker.ask("status", "status")["missing"] == alone[worker.name],  # type: ignore[misc]
            f"{worker.name} misses {alone[worker.name]}",
            60,
        )
    print(f"known to all after {time.monotonic() - cut_at:.2f} s")
    world.prove(["1", "3"], ["2"])
    assert status_of(world, 1) == {"p1": "member", "p2": "dead", "p3": "member"}
    assert status_of(world, 2) == {"p1": "dead", "p2": "member", "p3": "dead"}
    until(lambda: time.monotonic() >= cut_at + CUT_S, "the cut has lasted long enough", CUT_S + 1)

    before = {worker.name: worker.ask("counts", "counts")["of"] for worker in world.workers}
    world.host("h2").heal()
    healed_at = time.monotonic()
    world.recover()
    for worker in world.workers:
        until(
            lambda worker=worker: _more(worker.ask("counts", "counts")["of"], before[worker.name]),  # type: ignore[misc]
            f"{worker.name} hears everybody again",
            60,
        )
    world.prove()
    healed_s = time.monotonic() - healed_at
    print(f"cut for {healed_at - cut_at:.1f} s; all flows, and acks cover all, {healed_s:.2f} s after the healing")
    assert healed_s < HEALED_S
    assert status_of(world, 2) == {"p1": "member", "p2": "member", "p3": "member"}
    world.visits.finish()
    world.visits.check(world.url)
    print(world.balance())


def _more(now: dict[str, int], before: dict[str, int]) -> bool:
    return min(now[of] - count for of, count in before.items()) > 0
