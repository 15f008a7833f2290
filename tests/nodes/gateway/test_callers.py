"""Where requests come from: whose word is taken, and whose is not."""

from __future__ import annotations

from collections import Counter

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from nodes.gateway.callers import Callers


def request(**headers: str) -> web.Request:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return make_mocked_request("GET", "/agent/me", headers={"Host": "shop.example.org:8080", **named})


def test_the_gateway_s_origin_is_the_host_that_was_asked_for() -> None:
    assert Callers(False, Counter()).own_origin(request()) == "http://shop.example.org:8080"


@pytest.mark.parametrize(("behind_proxy", "scheme"), [(True, "https"), (False, "http")])
def test_a_header_s_scheme_counts_behind_a_proxy_only(behind_proxy: bool, scheme: str) -> None:
    found = Callers(behind_proxy, Counter()).own_origin(request(X_Forwarded_Proto="https"))
    assert found == f"{scheme}://shop.example.org:8080"


def test_a_host_that_names_nothing_is_refused() -> None:
    with pytest.raises(web.HTTPBadRequest):
        Callers(False, Counter()).own_origin(request(Host="a b/c"))


@pytest.mark.parametrize("origin", ["http://evil.example.org", "https://shop.example.org:8080", "null", ""])
def test_what_another_site_s_page_sends_is_refused_and_counted(origin: str) -> None:
    counts: Counter[str] = Counter()
    callers = Callers(False, counts)
    callers.check_origin(request(Origin="http://shop.example.org:8080"))
    assert not counts
    with pytest.raises(web.HTTPForbidden):
        callers.check_origin(request(Origin=origin))
    assert counts == {"wrong_origin": 1}


def test_a_proxy_s_own_word_is_the_last_and_a_browser_s_counts_for_nothing() -> None:
    behind = Callers(True, Counter())
    assert behind.address(request(X_Forwarded_For="6.6.6.6, 10.0.0.1")) == "10.0.0.1"
    assert behind.address(request()) == "unknown"
    assert Callers(False, Counter()).address(request(X_Forwarded_For="6.6.6.6")) != "6.6.6.6"
