"""From announcements to a table, and to "ready" or the reason why not."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.observe.mesh_view import COLUMNS, NUMERIC, MeshView, duration
from nodes.observe.tables import table

PORTS = {"p1": 5570, "p2": 5580, "p3": 5590}


def record(name: str, run: str = "1") -> dict[str, Any]:
    return {"id": name, "incarnation": f"{name}-{run}", "base": f"tcp://127.0.0.1:{PORTS[name]}"}


def peer(name: str, *, linked: bool = True, dead: bool = False, run: str = "1") -> dict[str, Any]:
    return {**record(name, run), "linked": linked, "dead": dead, "joining": False}


def announcement(
    name: str, *peers: dict[str, Any], state: str = "member", run: str = "1", **more: Any
) -> dict[str, Any]:
    return {**record(name, run), "name": name, "state": state, "peers": list(peers), **more}


def view_of(*announcements: Any) -> MeshView:
    view = MeshView()
    for each in announcements:
        view.hear(each)
    return view


def test_nothing_heard_is_not_ready_and_not_complete() -> None:
    view = view_of()
    assert not view.is_complete()
    assert view.problem() == "no proxy has announced itself"
    assert view.rows() == []


def test_one_proxy_alone_is_a_mesh() -> None:
    view = view_of(announcement("p1"))
    assert view.is_complete() and view.problem() == "" and view.problem(1) == ""
    assert view.problem(2) == "1 of 2 proxies are there: p1"


def test_who_is_named_must_be_heard() -> None:
    view = view_of(announcement("p1", peer("p2")))
    assert not view.is_complete()
    assert view.problem() == "no announcement yet from p2"
    view.hear(announcement("p2", peer("p1")))
    assert view.is_complete() and view.problem(2) == ""


def test_links_must_be_mutual() -> None:
    view = view_of(announcement("p1", peer("p2")), announcement("p2", peer("p1", linked=False)))
    assert view.is_complete()
    assert view.problem() == "p2 is not linked with p1"


def test_all_must_be_members() -> None:
    view = view_of(announcement("p1", peer("p2")), announcement("p2", peer("p1"), state="joining"))
    assert view.problem() == "p2 is joining"


def test_the_dead_are_not_waited_for_and_are_shown() -> None:
    view = view_of(announcement("p1", peer("p2", linked=False, dead=True)))
    assert view.is_complete() and view.problem() == "" and view.names == ["p1"]
    assert [row[:3] for row in view.rows()] == [
        ("p1", "member", "tcp://127.0.0.1:5570"),
        ("p2", "dead", "tcp://127.0.0.1:5580"),
    ]
    assert view.problem(2) == "1 of 2 proxies are there: p1"


def test_a_proxy_that_died_after_it_was_heard_counts_no_more_until_its_next_run() -> None:
    view = view_of(announcement("p2", peer("p1")), announcement("p1", peer("p2", linked=False, dead=True)))
    assert view.names == ["p1"] and view.problem(2) != ""
    view.hear(announcement("p2", peer("p1"), run="2"))
    view.hear(announcement("p1", peer("p2", run="2")))
    assert view.problem(2) == ""


def test_a_proxy_that_leaves_is_taken_out() -> None:
    view = view_of(announcement("p1"), announcement("p2", peer("p1")), announcement("p2", state="gone"))
    assert view.names == ["p1"] and view.problem() == ""


def test_the_row_shows_the_figures() -> None:
    figures: dict[str, Any] = {
        "uptime_s": 192.4,
        "nodes": 3,
        "subscriptions": {"out": 5, "link": 4, "guest": 1},
        "retained": {"now": {"topics": 7}},
        "rates": {"in": 1234.5, "out": 2469.0, "relay": 0.4, "guest": 0.0},
        "refused": {"control": 2, "too_large": 1},
        "build": "compiled",
    }
    view = view_of(announcement("p1", peer("p2"), peer("p3", linked=False), **figures))
    rates = ("1,234", "2,469", "0", "0")
    row = ("p1", "member", "tcp://127.0.0.1:5570", "3m12s", "1/2", "3", "5/4", "7", *rates, "3", "compiled")
    assert view.rows()[0] == row
    assert view.as_json()[0]["nodes"] == 3


def test_who_is_known_and_how_many_nodes_each_has() -> None:
    view = view_of(announcement("p1", peer("p2"), nodes=3), announcement("p3", nodes=math.inf))
    assert [record.id for record in view.records()] == ["p1", "p2", "p3"]
    assert view.nodes() == {"p1": 3, "p3": 0}


def test_the_table_is_aligned() -> None:
    view = view_of(announcement("p1", peer("p2", linked=False, dead=True), nodes=12))
    lines = table(COLUMNS, view.rows(), right=NUMERIC).splitlines()
    assert len(lines) == 3
    assert lines[0].split() == list(COLUMNS)
    end = lines[0].index("NODES") + len("NODES")
    assert lines[1][end - 2 : end] == "12"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0s"), (59.9, "59s"), (60, "1m00s"), (192, "3m12s"), (3600, "1h00m"), (18_120, "5h02m"), (273_600, "3d04h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
fields = ("id", "state", "peers", "uptime_s", "nodes", "subscriptions", "rates", "refused", "build")


@given(anything, st.dictionaries(st.sampled_from(fields), anything))
def test_whatever_a_peer_announces_raises_nothing(payload: Any, changes: dict[str, Any]) -> None:
    view = view_of(payload, announcement("p1") | changes)
    table(COLUMNS, view.rows(), right=NUMERIC)
    view.problem(2)
    view.is_complete()


def test_links_count_the_dead_and_what_is_expected_has_a_row() -> None:
    view = view_of(announcement("p1", peer("p2"), peer("p3", dead=True, linked=False)), announcement("p2", peer("p1")))
    rows = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in view.rows(["p1", "p4"])}
    assert rows["p1"]["LINKS"] == "1/2" and rows["p3"]["STATE"] == "dead" and rows["p4"]["STATE"] == "absent"
    assert view.problem() == "" and view.problem(expected=["p1", "p2"]) == ""
    assert view.problem(expected=["p4", "p3", "p1"]) == "not in the mesh: p3, p4"
    assert view.is_complete(["p1", "p3"]) and not view.is_complete(["p4"]), "p4 may only be late"


def test_a_row_survives_figures_that_are_no_numbers() -> None:
    for odd in (math.nan, math.inf, -math.inf, True, "7", None, [1], 10**18):
        figures: dict[str, Any] = {
            "uptime_s": odd,
            "nodes": odd,
            "rates": {"in": odd},
            "refused": {"x": odd},
            "subscriptions": odd,
            "build": odd,
        }
        assert len(view_of(announcement("p1", **figures)).rows()[0]) == len(COLUMNS)


def test_totals_are_of_those_that_live() -> None:
    rates = {"in": 10.5, "out": 20, "relay": 3, "guest": 1}
    told: dict[str, Any] = {
        "rates": rates,
        "nodes": 4,
        "refused": {"size": 2, "topic": 1},
        "queued_bytes": 7,
        "slow_readers_cut": 1,
    }
    view = view_of(
        announcement("p1", peer("p2"), peer("p3", linked=False, dead=True), **told),
        announcement("p2", peer("p1"), peer("p3", linked=False), **told),
        announcement("p3", peer("p1"), peer("p2"), **told),
    )
    found = view.totals()
    assert (found.proxies, found.members, found.dead, found.linked, found.links) == (2, 2, 1, 2, 2)
    assert (found.nodes, found.refused, found.queued_bytes, found.readers_cut) == (8, 6, 14, 2)
    assert found.rates == {stream: 2 * rate for stream, rate in rates.items()}


def test_a_proxy_that_others_name_and_that_says_nothing_is_missing_in_the_totals() -> None:
    found = view_of(announcement("p1", peer("p2", linked=False))).totals()
    assert (found.proxies, found.members, found.linked, found.links) == (2, 1, 0, 2)


@pytest.mark.parametrize("value", [math.inf, math.nan, -1, "7", None, {"x": math.inf}])
def test_no_figure_of_a_peer_breaks_the_totals(value: Any) -> None:
    found = view_of(announcement("p1", rates={"in": value}, nodes=value, refused={"size": value})).totals()
    assert (found.rates["in"], found.nodes, found.refused) == (0, 0, 0)
