"""Who asks: a request's origin and address, as they are seen behind a proxy or without one."""

from __future__ import annotations

from collections import Counter

from aiohttp import web

from nodes.gateway.policy import origin_of


class Callers:
    """Judges where requests come from.

    behind_proxy:  whether a proxy that is trusted passes every request on, and says in headers whose it is
    counts:        where requests of other sites' pages are counted, as `wrong_origin`
    """

    def __init__(self, behind_proxy: bool, counts: Counter[str]) -> None:
        self._behind_proxy, self._counts = behind_proxy, counts

    def own_origin(self, request: web.Request) -> str:
        """Return this gateway's origin as the browser sees it. Errors: HTTPBadRequest."""
        scheme = request.headers.get("X-Forwarded-Proto", request.scheme) if self._behind_proxy else request.scheme
        try:
            return origin_of(f"{scheme}://{request.host}")
        except ValueError:
            raise web.HTTPBadRequest(text="invalid Host: expected this gateway's name and port\n") from None

    def check_origin(self, request: web.Request) -> None:
        """Refuse what another site's page sends. Errors: HTTPForbidden."""
        if request.headers.get("Origin") != self.own_origin(request):
            self._counts["wrong_origin"] += 1
            raise web.HTTPForbidden(text="this is for pages of the gateway itself\n")

    def address(self, request: web.Request) -> str:
        """Return the address that pages and wrong passwords are counted by.

        A browser may send the header with any words; the proxy adds its own word at the end.
        """
        if self._behind_proxy:
            return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() or "unknown"
        return request.remote or "unknown"
