"""Folders of keys for tests, and proxies and nodes that show them.

folder = KeyFolder(tmp_path, {"p1": "proxy", "shop": "shop"}, {"shop": {"publish": ["orders/#"]}})
with folder.proxy("p1") as proxy, folder.node(proxy, "shop") as node:
    ...
folder.revoke("shop")                      # the file changes; who looks at it sees that
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fabric import Node, Proxy
from fabric.identity.keys import FOLDER_VARIABLE, IDENTITY_VARIABLE, RULES_FILE, SUFFIX, Keys, new_pair
from fabric.identity.rules import MESH, Rules, parse
from fabric.rights import tag_of
from fabric.sockets import Curve
from tests.support.processes import free_base

WIDE = ("operator", "frame", "gateway")
"""Roles of a node that may do nearly everything."""


class KeyFolder:
    """A folder with `keys.toml` and the private keys of all who are in it.

    identities: roles by name, one or several
    roles:      rights by name
    """

    def __init__(
        self,
        path: Path,
        identities: Mapping[str, str | Sequence[str]],
        roles: Mapping[str, Mapping[str, Sequence[str]]] | None = None,
    ) -> None:
        self.path = path
        self.identities = {name: [each] if isinstance(each, str) else list(each) for name, each in identities.items()}
        self.roles = dict(roles or {})
        self.pairs = {name: new_pair() for name in self.identities}
        """(public, private) by name; who was revoked keeps it."""
        self.mesh = new_pair()
        path.mkdir(parents=True, exist_ok=True)
        for name, (_, secret) in {**self.pairs, MESH: self.mesh}.items():
            file = path / f"{name}{SUFFIX}"
            file.touch(0o600)
            file.write_text(secret + "\n")
        self.write()

    def text(self) -> str:
        """Return `keys.toml` as it should be now."""
        lines = [f"mesh = {json.dumps([self.mesh[0]])}"]
        for name, rights in self.roles.items():
            lines += [f"[roles.{name}]", *(f"{act} = {json.dumps(list(each))}" for act, each in rights.items())]
        for name, roles in self.identities.items():
            lines += [f"[identities.{name}]", f"keys = {json.dumps([self.pairs[name][0]])}"]
            lines += [f"roles = {json.dumps(roles)}"]
        return "\n".join(lines) + "\n"

    def write(self, text: str | None = None) -> None:
        """Replace the file whole, as an editor does."""
        new = self.path / "keys.new"
        new.write_text(self.text() if text is None else text)
        os.replace(new, self.path / RULES_FILE)

    def revoke(self, name: str) -> None:
        del self.identities[name]
        self.write()

    def rules(self) -> Rules:
        return parse(self.text())

    def keys(self, name: str) -> Keys:
        """Return what `identity.keys.load` does, whether or not the name is in the file."""
        public, secret = self.pairs[name]
        mesh_secret = self.mesh[1] if "proxy" in self.identities.get(name, ()) else None
        return Keys(self.path, name, public, secret, (self.mesh[0],), mesh_secret)

    def curve(self, name: str) -> Curve:
        """Return what a plain socket shows as this identity."""
        return Curve(self.mesh[0], *self.pairs[name])

    def tag(self, name: str) -> str:
        return tag_of(self.pairs[name][0])

    def proxy(self, name: str, **options: Any) -> Proxy:
        """Return a proxy on a free port, not started: it is a context manager."""
        return Proxy(free_base(), name=name, keys=self.keys(name), settle_s=0.3, **options)

    def node(self, proxy: Proxy, name: str, **options: Any) -> Node:
        return Node(proxy.endpoints.base, keys=self.keys(name), **options)


def stranger(folder: KeyFolder) -> Curve:
    """Return a key that nobody has, which knows the proxies' one."""
    return Curve(folder.mesh[0], *new_pair())


def variables(path: Path) -> dict[str, str]:
    """Make a folder of keys for all that tests start; return what names it in the environment.

    Whatever is told nothing else has a key then, see `processes.IDENTITY_OF`: one for proxies, one for frame nodes, one
    for gateways, and one for the tests themselves, which may do nearly everything.
    """
    identities = {"proxy": "proxy", "frame": "frame", "gateway": ("gateway", "public"), "tester": WIDE}
    public = {"publish": ["news/+", "ask/+", "truck/+"], "subscribe": ["news/#", "truck/#"]}
    folder = KeyFolder(path, identities, {"public": public})
    return {FOLDER_VARIABLE: str(folder.path), IDENTITY_VARIABLE: "tester"}
