"""What of an internet address is counted by: the host, and the network that it is in. Pure.

One customer has an IPv4 address, or a /64 of IPv6 and may choose among 2**64 addresses in it. So a *host* is a /32 or a
/64; its *network*, which one organisation or one data centre has, a /24 or a /48.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

HOST_BITS = {4: 32, 6: 64}
NETWORK_BITS = {4: 24, 6: 48}
UNKNOWN = "unknown"
"""Of whoever has no address that can be told: they are counted together."""


def parsed(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address as a socket or a proxy writes it, perhaps with a port; None for what is none.

    An IPv4 address that is written as an IPv6 one is the IPv4 one.
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def host_of(address: str) -> str:
    """Return the host that an address belongs to, as text that names it."""
    return _block(address, HOST_BITS)


def network_of(address: str) -> str:
    """Return the network that an address belongs to, as text that names it. `address`: also one of `host_of`."""
    return _block(address.partition("/")[0], NETWORK_BITS)


def _block(address: str, bits: dict[int, int]) -> str:
    found = parsed(address)
    if found is None:
        return UNKNOWN
    block = ip_network((found, bits[found.version]), strict=False)
    return str(found) if block.num_addresses == 1 else str(block)
