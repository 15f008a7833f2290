"""What `fabric keys` shows of identities and roles: as rows, lines, and maps for JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fabric.errors import KeysError, shown
from fabric.identity.keys import RULES_FILE, SUFFIX
from fabric.identity.rules import Identity, Rules
from fabric.rights import Rights
from nodes.cli.exits import plain

COLUMNS = ("NAME", "ROLES", "KEYS", "PRIVATE")
"""Of `row_of`."""


def known(rules: Rules, name: str, folder: Path) -> Identity:
    """Return an identity. Errors: KeysError for a name that nobody has."""
    identity = rules.identities.get(name)
    if identity is None:
        raise KeysError(f"{folder / RULES_FILE}: nobody is called {shown(name)}; `fabric keys list` names all")
    return identity


def row_of(each: Identity, folder: Path) -> tuple[str, ...]:
    """Return an identity's row; PRIVATE says whether its private key is in the folder."""
    here = "here" if (folder / f"{each.name}{SUFFIX}").exists() else ""
    return (each.name, ",".join(each.roles), str(len(each.keys)), here)


def told_of(rules: Rules, each: Identity, folder: Path) -> dict[str, Any]:
    """Return an identity for JSON; `rights` are what its roles come to, its name filled in."""
    private = (folder / f"{each.name}{SUFFIX}").exists()
    rights = rights_of(rules.rights(each))
    return {"name": each.name, "keys": list(each.keys), "roles": list(each.roles), "private": private, "rights": rights}


def rights_of(rights: Rights) -> dict[str, list[str]]:
    """Return rights as they stand in a file, without those that are empty."""
    fields = {name: list(getattr(rights, name)) for name in Rights.__dataclass_fields__}
    return {name: filters for name, filters in fields.items() if filters}


def rights_text(rights: Rights) -> str:
    """Return rights in words, a line for each act."""
    lines = [f"  {name}: {plain(', '.join(filters))}" for name, filters in rights_of(rights).items()]
    return "\n".join(lines or ["  links proxies, and nothing else"])
