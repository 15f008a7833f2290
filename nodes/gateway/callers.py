"""Who asks: a request's origin and address, as they are seen behind proxies or without one."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web

from nodes.gateway.addresses import UNKNOWN, host_of
from nodes.gateway.forwarded import Proxies
from nodes.gateway.policy import origin_of


class Callers:
    """Judges where requests come from.

    proxies:     that pass requests on, and say in headers whose they are; None: there is none
    counts:      where requests of other sites' pages are counted, as `wrong_origin`
    public:      this gateway's origin as browsers see it; None: the one that they ask for
    loopback:    whether only this machine can ask: then a name that leads here is none of the gateway's
    """

    def __init__(
        self, proxies: Proxies | None, counts: Counter[str], public: str | None = None, loopback: bool = False
    ) -> None:
        self._proxies, self._counts, self._public = proxies, counts, public
        self._loopback = loopback and proxies is None and public is None

    def own_origin(self, request: web.Request) -> str:
        """Return this gateway's origin as the browser sees it. Errors: HTTPBadRequest, HTTPMisdirectedRequest."""
        if self._public is not None:
            return self._public
        try:
            origin = origin_of(f"{self._scheme(request)}://{request.host}")
        except ValueError:
            raise web.HTTPBadRequest(text="invalid Host: expected this gateway's name and port\n") from None
        if self._loopback and not _is_loopback(urlsplit(origin).hostname or ""):
            raise web.HTTPMisdirectedRequest(text="this gateway has no such name; --public-url gives it one\n")
        return origin

    def is_secure(self, request: web.Request) -> bool:
        """Whether the browser is connected by TLS, as far as can be said."""
        return (self._public or f"{self._scheme(request)}:").startswith("https:")

    def check_origin(self, request: web.Request) -> None:
        """Refuse what another site's page sends. Errors: HTTPForbidden, and those of `own_origin`."""
        if request.headers.get("Origin") != self.own_origin(request):
            self._counts["wrong_origin"] += 1
            raise web.HTTPForbidden(text="this is for pages of the gateway itself\n")

    def address(self, request: web.Request) -> str:
        """Return the host, as `host_of` has it, that pages and wrong passwords are counted by."""
        if self._proxies is None:
            return host_of(request.remote or UNKNOWN)
        return host_of(self._proxies.address(request.remote, request.headers.getall(self._proxies.header, [])))

    def _scheme(self, request: web.Request) -> str:
        if self._proxies is None or not self._proxies.trusts(request.remote):
            return request.scheme
        said = ",".join(request.headers.getall("X-Forwarded-Proto", [])).rpartition(",")[2].strip().lower()
        return said if said in ("http", "https") else request.scheme


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
