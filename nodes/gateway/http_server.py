"""How aiohttp serves a gateway. A caller that is silent, slow or speaks no HTTP is let go, and costs little."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from aiohttp import web, web_response
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Middleware

from fabric.payloads import dumps
from nodes.gateway.files import COMMON, Handler

IDLE_S = 30.0
"""How long a connection may be open without the whole head of a request; precedent: nginx's 60 s, Apache's 20 s."""
BODY_S = 10.0
"""How long the body of a request may take; they have 16 kB at most."""
SECURE = {"Strict-Transport-Security": "max-age=31536000"}
SERVER = "fabric"
END_S = 1.0
"""How long the rest of a request is still read that was answered, and requests that run are waited for at the end."""


def runner(app: web.Application, counts: Counter[str], idle_s: float = IDLE_S) -> web.AppRunner:
    """Return what serves the application. `counts`: where what is not a request is counted, as `no_requests`."""
    # Of all answers, also those to what is no request, which no hook sees: versions are nobody's business.
    setattr(web_response, "SERVER_SOFTWARE", SERVER)  # noqa: B010 - it is meant to be read only
    return web.AppRunner(
        app,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=END_S,
        keepalive_timeout=idle_s,
        lingering_time=END_S,
        logger=_Log(logging.getLogger("nodes.gateway"), counts),
    )


async def body(request: web.Request, most_s: float = BODY_S) -> bytes:
    """Return a request's body. Errors: HTTPRequestTimeout; HTTPRequestEntityTooLarge; HTTPBadRequest: it broke off."""
    try:
        async with asyncio.timeout(most_s):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body took too long\n", headers={"Connection": "close"}) from None
    except ConnectionError:
        raise web.HTTPBadRequest(text="the body broke off\n") from None


def json_answer(body: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return an answer of one line of JSON."""
    text = dumps(body) + "\n"
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


def common_headers(is_secure: Callable[[web.Request], bool]) -> Middleware:
    """Return what gives every answer the usual headers, errors too.

    is_secure:  whether a request came by TLS: then its browser is to come by nothing else from now on
    """

    @web.middleware
    async def add(request: web.Request, handler: Handler) -> web.StreamResponse:
        usual = {**COMMON, **(SECURE if is_secure(request) else {})}
        try:
            response = await handler(request)
        except web.HTTPException as error:
            error.headers.update({name: value for name, value in usual.items() if name not in error.headers})
            raise
        if not response.prepared:
            for name, value in usual.items():
                response.headers.setdefault(name, value)
        return response

    return add


class _Log(logging.LoggerAdapter[logging.Logger]):
    """What is wrong with the gateway; what is wrong with a request is counted, since anybody may send any number."""

    def __init__(self, logger: logging.Logger, counts: Counter[str]) -> None:
        super().__init__(logger)
        self._counts = counts

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if isinstance(kwargs.get("exc_info"), HttpProcessingError):
            self._counts["no_requests"] += 1
        else:
            super().log(level, msg, *args, **kwargs)
