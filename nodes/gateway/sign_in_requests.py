"""Signing in and out by HTTP, and whom a cookie belongs to. `sign_in` decides."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from nodes.gateway.callers import Callers
from nodes.gateway.credentials import Credential
from nodes.gateway.http_server import body, json_answer
from nodes.gateway.sign_in import Refused, SignIn
from nodes.gateway.tokens import COOKIE_S, DEVICE_S

COOKIE = "site_connect_agent"
DEVICE = "site_connect_device"
"""Of a browser that an agent has signed in with. It outlives signing out, and opens nothing."""


class SignInRequests:
    """The paths under which agents sign in and out.

    sign_out:  called with an agent and the nonce of the cookie that ends; has it ended when it returns
    """

    def __init__(
        self, sign_in: SignIn, callers: Callers, counts: Counter[str], sign_out: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self._sign_in, self._callers, self._counts, self._sign_out = sign_in, callers, counts, sign_out

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/agent/sign_in", self._post_sign_in),
            web.post("/agent/sign_out", self._post_sign_out),
            web.get("/agent/me", self._get_me),
        ]

    def agent(self, request: web.Request) -> Credential | None:
        """Return who asks, if the request has a cookie that holds."""
        return self._sign_in.agent(request.cookies.get(COOKIE))

    async def _post_sign_in(self, request: web.Request) -> web.StreamResponse:
        self._callers.check_origin(request)
        try:
            said = json.loads(await body(request))
            agent, password = said["agent"], said["password"]
        except (ValueError, TypeError, KeyError, RecursionError):
            agent = password = None
        if not isinstance(agent, str) or not isinstance(password, str):
            return json_answer(
                {"ok": False, "why": "invalid body: expected a JSON object with agent and password"}, 400
            )
        try:
            credential, cookie, device = await self._sign_in.sign_in(
                agent[:100], password, self._callers.address(request), request.cookies.get(DEVICE)
            )
        except Refused as refused:
            locked = {"Retry-After": str(int(refused.retry_after_s) + 1)} if refused.retry_after_s else {}
            self._counts["sign_ins_refused"] += 1
            return json_answer({"ok": False, "why": refused.why}, 429 if locked else 401, locked)
        response = json_answer({"ok": True, **_shown(credential)})
        secure = self._callers.is_secure(request)
        for name, value, age_s, path in ((COOKIE, cookie, COOKIE_S, "/"), (DEVICE, device, DEVICE_S, "/agent/")):
            response.set_cookie(
                name, value, max_age=int(age_s), path=path, httponly=True, samesite="Strict", secure=secure
            )
        return response

    async def _post_sign_out(self, request: web.Request) -> web.StreamResponse:
        self._callers.check_origin(request)
        cookie = request.cookies.get(COOKIE, "")
        credential, nonce = self._sign_in.agent(cookie), self._sign_in.nonce(cookie)
        if credential is not None and nonce is not None:
            await self._sign_out(credential.agent, nonce)
        response = json_answer({"ok": True})
        response.del_cookie(COOKIE, path="/")
        return response

    async def _get_me(self, request: web.Request) -> web.StreamResponse:
        credential = self.agent(request)
        return json_answer({"why": "not signed in"}, 401) if credential is None else json_answer(_shown(credential))


def _shown(credential: Credential) -> dict[str, Any]:
    return {"agent": credential.agent, "name": credential.name, "buttons": list(credential.buttons)}
