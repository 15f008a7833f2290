"""How many sessions have a place at a gateway, in all, of each host and of each network. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from nodes.gateway.addresses import network_of
from nodes.gateway.budgets import NETWORK_TIMES


class Guest(Protocol):
    """What has a place. address: its host, `addresses.host_of`; it does not change."""

    @property
    def address(self) -> str: ...


class Places:
    """Who has one. A guest is known by its identity."""

    def __init__(self) -> None:
        self._taken: dict[int, Guest] = {}
        """By identity."""
        self._hosts: Counter[str] = Counter()
        self._networks: Counter[str] = Counter()
        """How many of `_taken` are of each; none stays at 0."""

    def __len__(self) -> int:
        return len(self._taken)

    def has_room(self, host: str, most: int, most_of_host: int) -> bool:
        """Say whether there is a place for one more of this host. most: of all."""
        of_network = self._networks[network_of(host)]
        return len(self) < most and self._hosts[host] < most_of_host and of_network < NETWORK_TIMES * most_of_host

    def take(self, guest: Guest) -> None:
        """Give a place; nothing for one that has it."""
        if id(guest) not in self._taken:
            self._taken[id(guest)] = guest
            self._count(guest, 1)

    def free(self, guest: Guest) -> None:
        """Take the place back; nothing for one that has none."""
        if self._taken.pop(id(guest), None) is not None:
            self._count(guest, -1)

    def _count(self, guest: Guest, by: int) -> None:
        for counter, key in ((self._hosts, guest.address), (self._networks, network_of(guest.address))):
            counter[key] += by
            if not counter[key]:
                del counter[key]
