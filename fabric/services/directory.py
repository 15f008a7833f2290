"""Which services are there, as far as this node has heard: their instances, their leases, whom to ask. Pure.

announcement  `$fabric/service/<name>/<instance>`, every second and at each change; payload `Instance.to_map()`
question      `$fabric/who/<name>`, or `$fabric/who` for all: those who serve announce at once; payload nil

An announcement holds for its lease, by the clock of who hears it. `expire` is to be called only when nothing waits to
be read: a process that stood still, or a callback that took long, must read what came before it judges.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from fabric.payloads import flaw
from fabric.protocol.inboxes import is_inbox
from fabric.protocol.markers import PROTOCOL
from fabric.topics import valid_name

SERVICE = "$fabric/service/"
WHO = "$fabric/who"
STATES = ("serving", "draining", "gone")
MAX_LEASE_S = 60.0
MAX_INSTANCES = 10_000
MAX_INFO_BYTES = 64 * 1024
MAX_VERSION_CHARS = 100


@dataclass(frozen=True)
class Instance:
    """One running instance of a service, as it announces itself.

    id:      new with each run
    inbox:   topic of its requests; empty when it takes none
    load:    0 idle, 1 at its limit
    state:   `serving`; `draining`: finishes what it has; `gone`: its last word
    lease_s: how long this holds when nothing more is heard
    info:    whatever the service says of itself
    """

    service: str
    id: str
    inbox: str = ""
    version: str = ""
    load: float = 0.0
    state: str = "serving"
    lease_s: float = 3.5
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def topic(self) -> str:
        return f"{SERVICE}{self.service}/{self.id}"

    def to_map(self) -> dict[str, Any]:
        return {
            "protocol": list(PROTOCOL),
            "name": self.service,
            "instance": self.id,
            "inbox": self.inbox,
            "version": self.version,
            "load": self.load,
            "state": self.state,
            "lease_s": self.lease_s,
            "info": dict(self.info),
        }


def instance_from(topic: str, payload: object) -> Instance | None:
    """Read an announcement; None for anything else. Input from a peer never raises."""
    if not isinstance(payload, dict) or not _speaks(payload.get("protocol")):
        return None
    name, ident, inbox = payload.get("name"), payload.get("instance"), payload.get("inbox")
    version, state, info = payload.get("version"), payload.get("state"), payload.get("info", {})
    load, lease_s = _finite(payload.get("load")), _finite(payload.get("lease_s"))
    if not (valid_name(name) and valid_name(ident) and topic == f"{SERVICE}{name}/{ident}"):
        return None
    if not (isinstance(version, str) and len(version) <= MAX_VERSION_CHARS and state in STATES):
        return None
    if not isinstance(info, dict) or flaw(info, MAX_INFO_BYTES) is not None:
        return None
    if not (inbox == "" or is_inbox(inbox)):
        return None
    if load is None or load < 0 or lease_s is None or lease_s <= 0:
        return None
    return Instance(str(name), str(ident), str(inbox), version, load, str(state), min(lease_s, MAX_LEASE_S), info)


def _speaks(protocol: object) -> bool:
    if not (isinstance(protocol, list) and len(protocol) == 2 and all(type(each) is int for each in protocol)):
        return False
    return bool(protocol[0] <= PROTOCOL[1] and protocol[1] >= PROTOCOL[0])


def _finite(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


@dataclass(frozen=True)
class Change:
    """An instance `appeared` (also: serves again), `changed`, or `left` (gone, or its lease ran out)."""

    kind: Literal["appeared", "changed", "left"]
    instance: Instance


@dataclass
class _Entry:
    """A live instance."""

    instance: Instance
    """As it last announced itself."""
    until: float
    """When its lease runs out, monotonic."""
    suspect: bool = False
    """It was silent when it was asked; until it announces itself again."""


class Directory:
    """The live instances, by service. Bounded: beyond `max_instances` a new one is refused, and counted."""

    def __init__(self, *, max_instances: int = MAX_INSTANCES) -> None:
        self._max_instances = max_instances
        self._services: dict[str, dict[str, _Entry]] = {}
        """By service, then by instance, in the order they appeared. No service is empty."""
        self._count = 0
        """Entries over all services; at most `_max_instances`."""
        self.refused = 0
        """Announcements that were none, or too many."""

    def announcement_heard(self, topic: str, payload: object, now: float) -> Change | None:
        """Take an announcement. Returns None for anything else, and when it says nothing new."""
        instance = instance_from(topic, payload)
        if instance is None:
            self.refused += 1
            return None
        entries = self._services.get(instance.service, {})
        entry = entries.get(instance.id)
        if instance.state == "gone":
            return self._remove(entry.instance) if entry is not None else None
        if entry is None:
            if self._count >= self._max_instances:
                self.refused += 1
                return None
            self._services.setdefault(instance.service, entries)[instance.id] = _Entry(instance, now + instance.lease_s)
            self._count += 1
            return Change("appeared", instance)
        before = entry.instance
        entry.instance, entry.until, entry.suspect = instance, now + instance.lease_s, False
        if instance.state == "serving" != before.state:
            return Change("appeared", instance)
        return Change("changed", instance) if instance != before else None

    def expire(self, now: float) -> list[Change]:
        """Let go of those whose lease ran out. Only when nothing waits to be read. Cost: O(instances)."""
        over = [e.instance for entries in self._services.values() for e in entries.values() if e.until <= now]
        return [self._remove(instance) for instance in over]

    def suspect(self, service: str, ident: str) -> None:
        """It did not answer: others are preferred until it is heard of again."""
        entry = self._services.get(service, {}).get(ident)
        if entry is not None:
            entry.suspect = True

    def get(self, service: str, ident: str) -> Instance | None:
        """Return one live instance; None when it is not there."""
        entry = self._services.get(service, {}).get(ident)
        return None if entry is None else entry.instance

    def is_suspect(self, instance: Instance) -> bool:
        entry = self._services.get(instance.service, {}).get(instance.id)
        return entry is not None and entry.suspect

    def live(self, service: str | None = None) -> list[Instance]:
        """Return the live instances of one service, or of all, in the order they appeared."""
        names = list(self._services) if service is None else [service]
        return [entry.instance for name in names for entry in self._services.get(name, {}).values()]

    def __len__(self) -> int:
        return self._count

    def _remove(self, instance: Instance) -> Change:
        entries = self._services[instance.service]
        del entries[instance.id]
        self._count -= 1
        if not entries:
            del self._services[instance.service]
        return Change("left", instance)


def weight(key: str, ident: str) -> int:
    """Rendezvous hashing: of the instances that are there, a key belongs to the one of greatest weight.

    When one comes or goes, only its own share of the keys moves. Cost: 1 us.
    """
    return int.from_bytes(blake2b(f"{key}\0{ident}".encode("utf-8", "replace"), digest_size=8).digest(), "big")
