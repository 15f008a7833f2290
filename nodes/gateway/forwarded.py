"""Where a browser is, when proxies pass its requests on: whose word is taken for it. Pure.

Each proxy adds, at the end, the address that it was asked from. A browser may send the same header with any words, and
these stand before. So the words are read from the end, and only as far as they are those of proxies that are trusted:

    browser 203.0.113.9 ──► 10.0.0.2 ──► 10.0.0.1 ──► gateway      X-Forwarded-For: 8.8.8.8, 203.0.113.9, 10.0.0.2
                                                                   forged ────────┘        │            │
                                                                   word of 10.0.0.2 ───────┘            │
                                                                   word of 10.0.0.1 ────────────────────┘

nginx and Caddy write one line; HAProxy adds a line behind the browser's. All lines of the header count, in their order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

from fabric.errors import expected
from nodes.gateway.addresses import UNKNOWN, parsed

Network = IPv4Network | IPv6Network
HEADERS = ("x-forwarded-for", "forwarded")
MAX_WORDS = 20
"""So many proxies in a row at most are looked through."""
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("?)([^";,]*)\1\s*(?:;|$)', re.IGNORECASE)


@dataclass(frozen=True)
class Proxies:
    """Those that may say where a browser is.

    trusted:  networks of proxies; what comes from elsewhere is a browser's own. None: whoever is connected is a proxy,
              and the only one
    header:   one of `HEADERS`, the one that they all write; a browser's words in the other count for nothing
    """

    trusted: tuple[Network, ...] | None = None
    header: str = HEADERS[0]

    @classmethod
    def of(cls, trusted: Iterable[str], header: str = HEADERS[0]) -> Proxies:
        """Take an operator's words; no network: whoever is connected. Errors: ValueError."""
        found = tuple(map(_network, trusted))
        return cls(found or None, header)

    def trusts(self, peer: str | None) -> bool:
        """Whether the headers of a request count that comes from this address."""
        return self.trusted is None or self._is_one(peer or "")

    def address(self, peer: str | None, lines: Sequence[str]) -> str:
        """Return where a browser is, or `UNKNOWN`.

        peer:   the address at the other end of the connection
        lines:  of the header, in their order
        """
        words = [_said(word, self.header) for line in lines for word in line.split(",")]
        if self.trusted is None:
            return _address(words)
        found = peer or UNKNOWN
        for _ in range(MAX_WORDS):
            if not self._is_one(found) or not words:  # without words a proxy asks by itself
                break
            found = _address(words)
        return found

    def _is_one(self, address: str) -> bool:
        found = parsed(address)
        return found is not None and any(found in network for network in self.trusted or ())


def _address(words: list[str]) -> str:
    """Take the last word, and return the address in it."""
    address = parsed(words.pop()) if words else None
    return UNKNOWN if address is None else str(address)


def _said(word: str, header: str) -> str:
    """Return the address in one proxy's words."""
    if header == "x-forwarded-for":
        return word.strip()
    found = _FOR.search(word)  # RFC 7239, section 4: no `for`, `host` or `proto` that a proxy writes holds a comma
    return found[2].strip() if found else ""


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(expected("network of proxies", text, "one such as 10.0.0.0/24, or an address")) from None
