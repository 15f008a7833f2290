"""Hosts and networks of addresses, in every form that sockets and proxies write."""

from __future__ import annotations

import pytest

from nodes.gateway.addresses import UNKNOWN, host_of, network_of


@pytest.mark.parametrize(
    ("address", "host", "network"),
    [
        ("203.0.113.9", "203.0.113.9", "203.0.113.0/24"),
        (" 203.0.113.9:4711 ", "203.0.113.9", "203.0.113.0/24"),
        ("::ffff:203.0.113.9", "203.0.113.9", "203.0.113.0/24"),
        ("[::ffff:203.0.113.9]:80", "203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("[2001:db8:1:2::1]:4711", "2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/64", "fe80::/48"),
        *((nonsense, UNKNOWN, UNKNOWN) for nonsense in ("", "unknown", "_hidden", "1.2.3", "::g", "1:2:3")),
    ],
)
def test_an_address_has_a_host_and_a_network(address: str, host: str, network: str) -> None:
    assert (host_of(address), network_of(address)) == (host, network)
    assert network_of(host_of(address)) == network
