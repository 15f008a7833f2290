"""Whose word is taken for where a browser is, behind every common proxy, and several in a row."""

from __future__ import annotations

import pytest

from nodes.gateway.forwarded import Proxies

BROWSER, FORGED = "203.0.113.9", "6.6.6.6"
ONE, TWO = "10.0.0.1", "10.0.0.2"
TRUSTED = ("10.0.0.0/24", "2001:db8:ffff::/48")


@pytest.mark.parametrize(
    ("what", "trusted", "peer", "lines", "address"),
    [
        ("nginx, proxy_add_x_forwarded_for", (), ONE, [f"{FORGED}, {BROWSER}"], BROWSER),
        ("nginx, remote_addr", (), ONE, [BROWSER], BROWSER),
        ("HAProxy adds a line of its own", (), ONE, [FORGED, BROWSER], BROWSER),
        ("HAProxy behind two forged lines", (), ONE, [f"{FORGED}, 7.7.7.7", FORGED, BROWSER], BROWSER),
        ("Caddy drops a browser's", (), ONE, [BROWSER], BROWSER),
        ("IPv6", (), ONE, ["2001:db8::9"], "2001:db8::9"),
        ("with a port", (), ONE, [f"{BROWSER}:50123"], BROWSER),
        ("IPv6 with a port", (), ONE, ["[2001:db8::9]:50123"], "2001:db8::9"),
        ("IPv4 within IPv6", (), ONE, [f"::ffff:{BROWSER}"], BROWSER),
        ("an empty last word", (), ONE, [f"{BROWSER},"], "unknown"),
        ("no header", (), ONE, [], "unknown"),
        ("a proxy that does not know", (), ONE, [f"{FORGED}, unknown"], "unknown"),
        ("networks: one proxy", TRUSTED, ONE, [f"{FORGED}, {BROWSER}"], BROWSER),
        ("networks: two in a row", TRUSTED, ONE, [f"{FORGED}, {BROWSER}, {TWO}"], BROWSER),
        ("networks: HAProxy before nginx", TRUSTED, ONE, [FORGED, f"{BROWSER}, {TWO}"], BROWSER),
        ("networks: nginx before HAProxy", TRUSTED, ONE, [f"{FORGED}, {BROWSER}", TWO], BROWSER),
        ("networks: IPv6", TRUSTED, "2001:db8:ffff::1", [f"{FORGED}, 2001:db8::9, 2001:db8:ffff::2"], "2001:db8::9"),
        ("networks: a browser that comes past them", TRUSTED, FORGED, [BROWSER], FORGED),
        ("networks: one that claims to be a proxy", TRUSTED, ONE, [f"{TWO}, {BROWSER}"], BROWSER),
        ("networks: a proxy asks by itself", TRUSTED, ONE, [], ONE),
        ("networks: a word that is no address", TRUSTED, ONE, [f"{FORGED}, nonsense, {TWO}"], "unknown"),
        ("networks: a forged word is never reached", TRUSTED, ONE, [f"nonsense, {BROWSER}"], BROWSER),
        ("networks: mapped peers", TRUSTED, f"::ffff:{ONE}", [BROWSER], BROWSER),
        ("one hop: a second proxy is not looked through", (), ONE, [f"{BROWSER}, {TWO}"], TWO),
    ],
)  # fmt: skip
def test_x_forwarded_for(what: str, trusted: tuple[str, ...], peer: str, lines: list[str], address: str) -> None:
    assert Proxies.of(trusted).address(peer, lines) == address, what


@pytest.mark.parametrize(
    ("what", "trusted", "lines", "address"),
    [
        ("plain", (), [f"for={BROWSER}"], BROWSER),
        ("with other words", (), [f"proto=https;for={BROWSER};host=a.example;by={ONE}"], BROWSER),
        ("HAProxy, option forwarded", (), [f"for={FORGED}", f"proto=https;for={BROWSER}"], BROWSER),
        ("in capitals", (), [f"For={BROWSER};Proto=http"], BROWSER),
        ("IPv6 is quoted", (), ['for="[2001:db8::9]:4711"'], "2001:db8::9"),
        ("hidden", (), [f"for={FORGED}, for=_secret"], "unknown"),
        ("a forged quote that is left open", (), [f'for="{FORGED}, for={BROWSER}'], BROWSER),
        ("a forged quote in a line before", (), ['for="', f"for={BROWSER}"], BROWSER),
        ("no for", (), [f"for={FORGED}, proto=https"], "unknown"),
        ("no other word that ends so", (), [f"xfor={FORGED}"], "unknown"),
        ("two in a row", TRUSTED, [f"for={FORGED}, for={BROWSER}, for={TWO};proto=http"], BROWSER),
    ],
)  # fmt: skip
def test_forwarded(what: str, trusted: tuple[str, ...], lines: list[str], address: str) -> None:
    assert Proxies.of(trusted, "forwarded").address(ONE, lines) == address, what


def test_who_is_trusted() -> None:
    assert Proxies.of(()).trusts(FORGED), "whoever is connected"
    behind = Proxies.of(TRUSTED)
    assert behind.trusts(ONE) and behind.trusts("::ffff:10.0.0.9") and not behind.trusts(FORGED)
    assert not behind.trusts(None)


def test_a_long_row_of_proxies_ends() -> None:
    assert Proxies.of(TRUSTED).address(ONE, [f"{BROWSER}," + ",".join([TWO] * 100_000)]) == TWO


def test_what_is_no_network_is_refused() -> None:
    for wrong in ("10.0.0.1/24", "proxy.example.org", ""):
        with pytest.raises(ValueError, match=r"10\.0\.0\.0/24"):
            Proxies.of((wrong,))
