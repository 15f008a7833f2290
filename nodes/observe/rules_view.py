"""Which proxies of a mesh have which rules, as they announce it. Pure."""

from __future__ import annotations

from typing import Any

from nodes.observe.mesh_view import MeshView


class RulesView:
    """What the proxies announce, compared with the rules that they are to have.

    view:   takes the announcements
    digest: of the rules, see `fabric.identity.rules.Rules.digest`
    """

    def __init__(self, view: MeshView, digest: str) -> None:
        self._view, self._digest = view, digest

    def hear(self, payload: Any) -> None:
        """Take one announcement."""
        self._view.hear(payload)

    @property
    def names(self) -> list[str]:
        """The proxies that are there."""
        return self._view.names

    def problem(self) -> str:
        """Return why the rules are not in force everywhere; "" when they are."""
        if not self._view.is_complete():
            return "not all proxies have announced themselves"
        others = self._others()
        return "; ".join(f"{name} {why}" for name, why in others.items())

    def as_json(self) -> dict[str, list[str]]:
        others = self._others()
        return {"proxies": [name for name in self.names if name not in others], "others": sorted(others)}

    def _others(self) -> dict[str, str]:
        """By name, what is wrong with the rules of a proxy."""
        found = {}
        for each in self._view.as_json():
            identity = each.get("identity")
            told = identity if isinstance(identity, dict) else {}
            if told.get("keys") is not True:
                found[each["id"]] = "has no keys"
            elif told.get("rules_stale") is True:
                found[each["id"]] = "finds its file wrong, and keeps the rules before it: its log says why"
            elif told.get("rules") != self._digest:
                found[each["id"]] = "has other rules"
        return {name: why for name, why in found.items() if name in self.names}
