"""Which proxies have which rules, by what they announce."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.observe.mesh_view import MeshView
from nodes.observe.rules_view import RulesView


def announcement(name: str, *peers: str, identity: Any) -> dict[str, Any]:
    others = [{"id": each, "incarnation": "0" * 32, "base": f"tcp://{each}:1", "linked": True, "dead": False}
              for each in peers]  # fmt: skip
    return {"id": name, "incarnation": "0" * 32, "base": f"tcp://{name}:1", "state": "member", "peers": others,
            "identity": identity}  # fmt: skip


def view_of(*announcements: dict[str, Any]) -> RulesView:
    view = RulesView(MeshView(), "d1")
    for each in announcements:
        view.hear(each)
    return view


NOW = {"keys": True, "rules": "d1", "rules_stale": False}


def test_it_waits_for_all_proxies() -> None:
    assert view_of().problem() and view_of(announcement("p1", "p2", identity=NOW)).problem()
    whole = view_of(announcement("p1", "p2", identity=NOW), announcement("p2", "p1", identity=NOW))
    assert whole.problem() == "" and whole.as_json() == {"proxies": ["p1", "p2"], "others": []}


@pytest.mark.parametrize(
    ("identity", "why"),
    [
        ({**NOW, "rules": "d0"}, "p2 has other rules"),
        ({**NOW, "rules_stale": True}, "p2 finds its file wrong"),
        ({"keys": False}, "p2 has no keys"),
        (None, "p2 has no keys"),
        ([7], "p2 has no keys"),
    ],
)
def test_a_proxy_that_has_others_is_named(identity: Any, why: str) -> None:
    view = view_of(announcement("p1", "p2", identity=NOW), announcement("p2", "p1", identity=identity))
    assert view.problem().startswith(why)
    assert view.as_json() == {"proxies": ["p1"], "others": ["p2"]}
    view.hear(announcement("p2", "p1", identity=NOW))
    assert view.problem() == ""
