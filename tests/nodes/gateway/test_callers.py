"""Where requests come from: whose word is taken, and whose is not."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from nodes.gateway.callers import Callers
from nodes.gateway.forwarded import Proxies


def request(**headers: str) -> web.Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("GET", "/agent/me", headers={"Host": "shop.example.org:8080", **named})


BEHIND = Proxies.of(())


def callers(proxies: Proxies | None = None, counts: Counter[str] | None = None, **options: Any) -> Callers:
    return Callers(proxies, Counter() if counts is None else counts, **options)


def test_the_gateway_s_origin_is_the_host_that_was_asked_for() -> None:
    assert callers().own_origin(request()) == "http://shop.example.org:8080"


@pytest.mark.parametrize(("proxies", "scheme"), [(BEHIND, "https"), (None, "http"), (Proxies.of(("9.9.9.9",)), "http")])
def test_a_header_s_scheme_counts_from_a_proxy_only(proxies: Proxies | None, scheme: str) -> None:
    found = callers(proxies).own_origin(request(X_Forwarded_Proto="https"))
    assert found == f"{scheme}://shop.example.org:8080"
    assert callers(proxies).is_secure(request(X_Forwarded_Proto="https")) is (scheme == "https")


@pytest.mark.parametrize(
    ("lines", "scheme"),
    [(["https"], "https"), (["HTTPS"], "https"), (["http, https"], "https"), (["https", "http"], "http"),
     (["javascript"], "http"), (["", "https"], "https"), ([], "http")],
)  # fmt: skip
def test_of_several_schemes_the_nearest_proxy_s_counts(lines: list[str], scheme: str) -> None:
    headers = CIMultiDict([("Host", "shop.example.org"), *(("X-Forwarded-Proto", line) for line in lines)])
    asked = make_mocked_request("GET", "/agent/me", headers=headers)
    assert callers(BEHIND).own_origin(asked) == f"{scheme}://shop.example.org"


def test_a_host_that_names_nothing_is_refused() -> None:
    with pytest.raises(web.HTTPBadRequest):
        callers().own_origin(request(Host="a b/c"))


@pytest.mark.parametrize("origin", ["http://evil.example.org", "https://shop.example.org:8080", "null", ""])
def test_what_another_site_s_page_sends_is_refused_and_counted(origin: str) -> None:
    counts: Counter[str] = Counter()
    found = callers(counts=counts)
    found.check_origin(request(Origin="http://shop.example.org:8080"))
    assert not counts
    with pytest.raises(web.HTTPForbidden):
        found.check_origin(request(Origin=origin))
    assert counts == {"wrong_origin": 1}


def test_a_name_that_was_led_here_does_not_pass_when_the_public_one_is_known() -> None:
    """A page of evil.example.org whose name now has this gateway's address: Host and Origin agree."""
    rebound = request(Host="evil.example.org", Origin="http://evil.example.org")
    found = callers(public="https://gate.example.org")
    with pytest.raises(web.HTTPForbidden):
        found.check_origin(rebound)
    found.check_origin(request(Host="evil.example.org", Origin="https://gate.example.org"))
    assert found.own_origin(rebound) == "https://gate.example.org" and found.is_secure(rebound)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "a.localhost", "[::1]:8080", "127.9.9.9"])
def test_at_loopback_only_names_of_this_machine_are_the_gateway_s(host: str) -> None:
    found = callers(loopback=True)
    found.check_origin(request(Host=host, Origin=f"http://{host}"))
    for rebound in ("evil.example.org", "localhost.evil.example.org", "10.0.0.1"):
        with pytest.raises(web.HTTPMisdirectedRequest):
            found.check_origin(request(Host=rebound, Origin=f"http://{rebound}"))
    callers(BEHIND, loopback=True).check_origin(request(Host="gate.example.org", Origin="http://gate.example.org"))


def test_a_proxy_s_own_word_is_the_last_and_a_browser_s_counts_for_nothing() -> None:
    assert callers(BEHIND).address(request(X_Forwarded_For="6.6.6.6, 10.0.0.1")) == "10.0.0.1"
    assert callers(BEHIND).address(request(X_Forwarded_For="2001:db8::9")) == "2001:db8::/64"
    assert callers(BEHIND).address(request()) == "unknown"
    assert callers().address(request(X_Forwarded_For="6.6.6.6")) != "6.6.6.6"


def test_a_header_of_several_lines_is_read_whole_and_only_the_one_that_proxies_write() -> None:
    """HAProxy adds its own line behind the browser's."""
    lines = [("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=7.7.7.7"), ("X-Forwarded-For", "10.0.0.1")]
    asked = make_mocked_request("GET", "/", headers=CIMultiDict([("Host", "x"), *lines]))
    assert callers(BEHIND).address(asked) == "10.0.0.1"
    assert callers(Proxies.of((), "forwarded")).address(asked) == "7.7.7.7"
