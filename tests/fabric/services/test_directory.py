"""Directory: what an announcement is, how long it holds, and that nothing a peer says raises."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.protocol.markers import PROTOCOL
from fabric.services.directory import (
    MAX_LEASE_S,
    Change,
    Directory,
    Instance,
    instance_from,
    weight,
)
from tests.support.payload_strategies import PAYLOADS

CLOCK = Instance("clock", "run-1", "$inbox/run-1/requests", "1.0", 0.25, "serving", 3.5, {"zone": "UTC"})


def hear(directory: Directory, instance: Instance, now: float) -> Change | None:
    return directory.announcement_heard(instance.topic, instance.to_map(), now)


def test_an_announcement_there_and_back() -> None:
    assert instance_from(CLOCK.topic, CLOCK.to_map()) == CLOCK
    assert CLOCK.topic == "$fabric/service/clock/run-1"


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": [PROTOCOL[1] + 1, PROTOCOL[1] + 2]},
        {"protocol": [0, 0]},
        {"protocol": 1},
        {"name": "other"},
        {"name": "a/b"},
        {"instance": "run-2"},
        {"instance": 7},
        {"inbox": "truck/1"},
        {"inbox": "$inbox/run-1"},
        {"inbox": "$inbox/run-1/+"},
        {"inbox": None},
        {"version": 1},
        {"version": "v" * 101},
        {"load": -0.1},
        {"load": True},
        {"load": float("nan")},
        {"load": float("inf")},
        {"lease_s": 0},
        {"lease_s": float("inf")},
        {"state": "asleep"},
        {"info": []},
        {"info": {"x": "y" * 70_000}},
    ],
    ids=str,
)
def test_what_is_no_announcement(change: dict[str, Any]) -> None:
    directory = Directory()
    assert directory.announcement_heard(CLOCK.topic, CLOCK.to_map() | change, 0.0) is None
    assert directory.refused == 1 and directory.live() == []


@settings(deadline=None)
@given(payload=PAYLOADS, field=st.sampled_from([*CLOCK.to_map(), None]))
def test_whatever_a_peer_says_nothing_raises(payload: Any, field: str | None) -> None:
    said = payload if field is None else CLOCK.to_map() | {field: payload}
    found = instance_from(CLOCK.topic, said)
    assert found is None or instance_from(found.topic, found.to_map()) == found


def test_a_lease_is_bounded() -> None:
    found = instance_from(CLOCK.topic, CLOCK.to_map() | {"lease_s": 1e9})
    assert found is not None and found.lease_s == MAX_LEASE_S


def test_appeared_changed_left() -> None:
    directory = Directory()
    assert hear(directory, CLOCK, 0.0) == Change("appeared", CLOCK)
    assert hear(directory, CLOCK, 1.0) is None, "nothing new"
    busier = replace(CLOCK, load=0.5)
    assert hear(directory, busier, 2.0) == Change("changed", busier)
    drains = replace(busier, state="draining")
    assert hear(directory, drains, 3.0) == Change("changed", drains)
    assert directory.live("clock") == [drains], "it is there, and says that it will go"
    assert hear(directory, busier, 3.5) == Change("appeared", busier), "serves again"
    assert hear(directory, replace(busier, state="gone"), 4.0) == Change("left", busier)
    assert directory.live() == [] and len(directory) == 0
    assert hear(directory, replace(busier, state="gone"), 5.0) is None, "who was not there does not leave"


def test_a_lease_runs_out_by_the_listeners_clock() -> None:
    directory = Directory()
    hear(directory, CLOCK, 100.0)
    assert directory.expire(103.4) == []
    hear(directory, CLOCK, 103.4)
    assert directory.expire(106.8) == []
    assert directory.expire(106.9) == [Change("left", CLOCK)]
    assert directory.expire(107.0) == [], "told once"


def test_a_suspect_is_one_until_it_is_heard_of_again() -> None:
    directory = Directory()
    hear(directory, CLOCK, 0.0)
    assert not directory.is_suspect(CLOCK)
    directory.suspect("clock", "run-1")
    assert directory.is_suspect(CLOCK)
    hear(directory, CLOCK, 1.0)
    assert not directory.is_suspect(CLOCK)
    directory.suspect("clock", "unknown")
    directory.suspect("unknown", "run-1")


def test_it_is_bounded_and_says_what_it_refused() -> None:
    directory = Directory(max_instances=3)
    for number in range(5):
        hear(directory, replace(CLOCK, id=f"run-{number}"), 0.0)
    assert [each.id for each in directory.live("clock")] == ["run-0", "run-1", "run-2"]
    assert directory.refused == 2
    hear(directory, replace(CLOCK, id="run-0", state="gone"), 0.0)
    assert hear(directory, replace(CLOCK, id="run-4"), 0.0) is not None, "there is room again"


def test_services_are_kept_apart() -> None:
    directory = Directory()
    other = replace(CLOCK, service="frame")
    hear(directory, CLOCK, 0.0)
    hear(directory, other, 0.0)
    assert directory.live("clock") == [CLOCK] and directory.live("frame") == [other]
    assert directory.live() == [CLOCK, other] and directory.live("nothing") == []


STEPS = st.tuples(
    st.sampled_from(["serving", "draining", "gone", "expire"]), st.sampled_from("abc"), st.floats(0.0, 3.0)
)


@settings(max_examples=200, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_against_a_dumb_model(steps: list[tuple[str, str, float]]) -> None:
    """The model: a dict from instance to (state, end of lease). Changes alone must tell who is live."""
    directory, now = Directory(), 0.0
    model: dict[str, tuple[str, float]] = {}
    told: set[str] = set()
    for action, ident, passed in steps:
        now += passed
        if action == "expire":
            changes = directory.expire(now)
            model = {name: entry for name, entry in model.items() if entry[1] > now}
        else:
            change = hear(directory, replace(CLOCK, id=ident, state=action), now)
            changes = [change] if change else []
            model[ident] = (action, now + CLOCK.lease_s)
            if action == "gone":
                del model[ident]
        for change in changes:
            told = told - {change.instance.id} if change.kind == "left" else told | {change.instance.id}
        assert {each.id: each.state for each in directory.live()} == {name: entry[0] for name, entry in model.items()}
        assert told == set(model)


def test_when_one_goes_only_its_own_keys_move() -> None:
    keys, idents = [f"key-{n}" for n in range(1_000)], ["a", "b", "c", "d"]
    before = {key: max(idents, key=partial(weight, key)) for key in keys}
    after = {key: max("abd", key=partial(weight, key)) for key in keys}
    assert all(before[key] == after[key] for key in keys if before[key] != "c")
    shares = [sum(owner == ident for owner in before.values()) for ident in idents]
    assert all(200 < share < 300 for share in shares), shares
