"""What a proxy with keys enforces: who connects, what each may do, and what happens when the rules change.

The doorkeeper admits connections, in a thread of its own; the gate judges what comes by them, in the switch's. This is
the control thread's side of both: it reads the rules again, tells nodes their rights, cuts connections, and has every
decision told to the audit.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fabric import sockets
from fabric.core.gate import Gate, shut
from fabric.core.steering import Place
from fabric.errors import KeysError
from fabric.identity.doorkeeper import Doorkeeper
from fabric.identity.keys import RULES_FILE, Keys, new_pair, read_rules
from fabric.identity.rules import DOORS, Rules
from fabric.protocol.markers import node_prefix
from fabric.rights import TAG_CHARS, Permissions, Rights

log = logging.getLogger("fabric.proxy")

PATIENCE_S = 0.4
"""How long a node has to let go of what it may not hold any more, before it is cut: an honest one needs no cut."""
LOOK_S = 0.25
"""How often it looks whether the file has changed. New rules hold within a second."""
_WHY = {"publish": "no such right", "subscribe": "no such right", "control": "no part of a subscriber"}
BAR_S = 60.0
"""How long a key is turned away that sent what takes the turn of others' subscriptions, see `fabric.core.gate`: those
have to connect again each time. What is connected already may do so once for each connection."""
_LET_IN = ("connection_refused", "publish_denied", "subscribe_denied")
"""What is only told, and let in all the same, by a guard that observes."""
MAX_NODES, MAX_NODES_OF_ONE = 100_000, 10_000
"""Nodes that are told when their rights change: of all keys, and of one."""


class Guard:
    """The guard of one proxy. For its control thread, but for what says otherwise.

    keys:     with the private key of the mesh
    on_audit: called with a flat map: `event`, and `who`, `from`, `door`, `topic` or `filter`, `why` where they apply
    observe:  admit and let in everything, and only tell what would have been refused
    errors:   KeysError for rules that cannot be used
    """

    def __init__(self, keys: Keys, on_audit: Callable[[dict[str, Any]], None], *, observe: bool = False) -> None:
        self.keys, self.observe, self._on_audit = keys, observe, on_audit
        self._rules: Rules = read_rules(keys.folder)
        """In force. Replaced as a whole, by `look`."""
        self._permissions = self._rules.permissions()
        """By public key, of `_rules`."""
        self._by_tag = {each.tag: each for each in self._permissions.values()}
        self._former: dict[str, str] = {}
        """Names of those who had a key that is not in the rules any more, by key: for the audit."""
        self._seen = self._stamp()
        """What the file looked like when it was last read, or tried."""
        self._next_look = 0.0
        self.problem = ""
        """Why the file as it is now cannot be used, while the rules before it stay in force; "" when they are its."""
        self._nodes: dict[str, None] = {}
        """Tokens of nodes that asked for their rights, at most `MAX_NODES`. `node_left` forgets them."""
        self._of_tag: Counter[str] = Counter()
        """How many of `_nodes` have each tag."""
        self.counts: Counter[str] = Counter()
        """`denied_publish`, `denied_subscribe`, `denied_control`, `cut`, `reloaded`, `refused_file` since the start."""
        self.gate = Gate(self._permissions, observe=observe)
        """The switch's."""
        self.stranger = sockets.Curve(keys.shown, *new_pair())
        """A key that nobody has, with which this proxy tries its own doors."""
        self._tried = {self.stranger.public, keys.public}
        """Public keys whose refusals are no news: this proxy tries its doors with them."""
        self._tries: Counter[str] = Counter()
        """How often each address of another proxy was tried."""
        self._doorkeeper: Doorkeeper | None = None
        """Made by `open`."""
        self._cut_at: float | None = None
        """When those are cut who hold what they may not any more; None: there are no new rules."""

    @property
    def secret(self) -> str | None:
        """What is shown to those who connect."""
        return self.keys.mesh_secret

    @property
    def curve(self) -> sockets.Curve:
        """What is shown to other proxies."""
        return sockets.Curve(self.keys.mesh[0], self.keys.public, self.keys.secret)

    def own_doors(self) -> tuple[str, ...]:
        """Return the doors at which this proxy's own key is let in, by the rules in force. Any thread."""
        own = self._rules.by_key().get(self.keys.public)
        return tuple(door for door in DOORS if own is not None and own.may_enter(door))

    def mesh_key(self, where: str) -> str:
        """Return the key to expect of the proxy there: while it is changed the one, then the other."""
        self._tries[where] += 1
        return self._rules.mesh[(self._tries[where] - 1) % len(self._rules.mesh)]

    def open(self, context: sockets.Context) -> None:
        """Answer for this context from now on."""
        self._doorkeeper = Doorkeeper(context, self._rules, observe=self.observe)

    def close(self) -> None:
        """Admit nobody any more."""
        if self._doorkeeper is not None:
            self._doorkeeper.close()
            self._doorkeeper = None

    # ── nodes ────────────────────────────────────────────────────────────────────────────────────────────────────

    def rights_wanted(self, token: str) -> dict[str, Any]:
        """A node asks for its rights, and the keys of proxies; return what it is told.

        Only its owner hears the answer: the token begins with the tag of the key.
        """
        permissions = self._by_tag.get(token[:TAG_CHARS])
        if permissions is None and self.observe:  # a stranger was let in
            permissions = Permissions("unknown", token[:TAG_CHARS], Rights())
        if permissions is None:
            return {}
        tag = token[:TAG_CHARS]
        # A node listens before it asks, and when it leaves that is heard: what nobody listens to is not remembered.
        listens = token not in self._nodes and self.gate.is_held(Place.OUT, node_prefix(token))
        if listens and len(self._nodes) < MAX_NODES and self._of_tag[tag] < MAX_NODES_OF_ONE:
            self._nodes[token] = None
            self._of_tag[tag] += 1
        return {**replace(permissions, observe=self.observe).to_map(), "mesh": list(self._rules.mesh)}

    def node_left(self, token: str) -> None:
        """It told, or libzmq did, that nobody listens to it here any more."""
        if token in self._nodes:
            del self._nodes[token]
            tag = token[:TAG_CHARS]
            self._of_tag[tag] -= 1
            if not self._of_tag[tag]:
                del self._of_tag[tag]

    # ── what was decided ─────────────────────────────────────────────────────────────────────────────────────────

    def tell_news(self, now: float) -> None:
        """Tell the audit what doorkeeper and gate decided since the last call; who sent what nobody may is barred."""
        for decision in self._doorkeeper.take_news() if self._doorkeeper is not None else ():
            if decision.why and decision.key in self._tried:
                continue  # by this proxy itself
            event = "connection_refused" if decision.why else "connected"
            self._tell(event, who=decision.name or self._name_of(decision.key), door=decision.door, why=decision.why,
                       **{"from": decision.address})  # fmt: skip
        for denied in self.gate.take_denied():
            permissions = self._permissions.get(denied.key)
            self.counts[f"denied_{denied.act}"] += 1
            if denied.act == "control" and permissions is not None and self._doorkeeper is not None:
                self._doorkeeper.bar(denied.key, now + BAR_S)
            what = denied.what.decode(errors="replace")
            if denied.act == "subscribe":
                what = what.removesuffix("\0") if what.endswith("\0") else f"{what}#"
            why = _WHY[denied.act] if permissions is not None else "revoked, or unknown"
            self._tell(f"{denied.act}_denied", who=self._name_of(denied.key), door=denied.door,
                       topic=what, why=why)  # fmt: skip

    def figures(self) -> dict[str, Any]:
        """What is announced: counts, and whether the rules in force are those of the file."""
        doors = self._doorkeeper.counts if self._doorkeeper is not None else {}
        admitted = {f"{what}_{door}": count for (door, what), count in list(doors.items())}
        state = {"keys": True, "insecure": False, "observe": self.observe, "rules": self._rules.digest}
        return {**state, "rules_stale": bool(self.problem), **admitted, **self.counts}

    # ── new rules ────────────────────────────────────────────────────────────────────────────────────────────────

    def look(self, now: float, *, asked: bool = False) -> list[str] | None:
        """Read the rules again if they have changed, or if asked.

        returns: None: nothing has changed; else tokens of the nodes whose rights did. The switch is to be told then,
                 and after that `cut` called, then and at each tick
        """
        if now < self._next_look and not asked:
            return None
        self._next_look = now + LOOK_S
        stamp = self._stamp()
        if stamp == self._seen and not asked:
            return None
        self._seen = stamp
        try:
            rules = read_rules(self.keys.folder)
            own = rules.by_key().get(self.keys.public)
            if own is None or not own.may_enter("link"):
                raise KeysError(f"the key of this proxy, {self.keys.name!r}, is not in it, or not one of a proxy")
        except KeysError as error:
            self.problem = str(error)
            self.counts["refused_file"] += 1
            self._tell("rules_refused", who=self.keys.name, why=self.problem)
            log.error("the rules stay as they were: %s", error)
            return None
        self._cut_at = now + PATIENCE_S
        return self._take(rules)

    def _take(self, rules: Rules) -> list[str]:
        before, mesh_before, self._rules = self._permissions, self._rules.mesh, rules
        self._permissions = rules.permissions()
        self._by_tag = {each.tag: each for each in self._permissions.values()}
        if self.problem:
            log.warning("the rules are those of the file again")
        self.problem = ""
        self.counts["reloaded"] += 1
        self.gate.load(self._permissions)
        if self._doorkeeper is not None:
            self._doorkeeper.load(rules)
        for key in before.keys() - self._permissions.keys():
            self._former[key] = before[key].name
            self._tell("key_revoked", who=before[key].name)
        for key in self._permissions.keys() - before.keys():
            self._tell("key_added", who=self._permissions[key].name)
        changed = {each.tag for key, each in self._permissions.items() if before.get(key) != each}
        self._tell("rules_reloaded", who=self.keys.name)
        return [token for token in self._nodes if token[:TAG_CHARS] in changed or rules.mesh != mesh_before]

    def cut(self, now: float) -> None:
        """Cut who has no key any more, or no role that enters; a little later, who holds what it may not."""
        if self._cut_at is None:
            return
        over: set[int] = set()
        if now >= self._cut_at:
            self._cut_at = None
            over.update(self.gate.overreaching())
        by_key = self._rules.by_key()
        for descriptor, met in self.gate.connections().items():
            identity = by_key.get(met.key)
            door = "in" if met.place.name == "PULL" else met.place.name.lower()
            if identity is not None and identity.may_enter(door) and descriptor not in over:
                continue
            if shut(descriptor, met.inode):
                self.counts["cut"] += 1
                self._tell("cut", who=self._name_of(met.key), door=door,
                           why="its rights have shrunk" if identity else "revoked")  # fmt: skip

    def _name_of(self, key: str) -> str:
        """Of who has this key, or had it; the key itself, if nobody had."""
        permissions = self._permissions.get(key)
        return permissions.name if permissions is not None else self._former.get(key, key)

    def _stamp(self) -> tuple[int, ...]:
        try:
            found = os.stat(self.keys.folder / RULES_FILE)
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _tell(self, event: str, **fields: Any) -> None:
        if self.observe and event in _LET_IN:
            fields["why"] = f"{fields['why']}; let in all the same"
        self._on_audit({"event": event, **{name: value for name, value in fields.items() if value != ""}})
