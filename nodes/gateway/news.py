"""What gateways tell each other, sealed with the secret that they share. Pure.

    payload = sealed(secret, {"window": "ada"}, home, time.time(), nonce)
    found = Opener(secret, own_home).opened(payload, time.time())   # None for what no gateway with this secret said

Any node of the fabric can publish where gateways listen. Without the seal it could close every console.
"""

from __future__ import annotations

import hmac
import json
from collections import OrderedDict
from hashlib import sha256
from typing import Any

FRESH_S = 300.0
"""How old news may be, and how far the clocks of two gateways may be apart."""
MOST_HEARD = 100_000


def sealed(secret: bytes, said: dict[str, Any], home: str, at: float, nonce: str) -> dict[str, str]:
    """Return what is published. nonce: drawn for each; at: wall clock."""
    text = json.dumps([home, at, nonce, said], separators=(",", ":"))
    return {"news": text, "seal": _seal(secret, text)}


class Opener:
    """Reads what others have sealed, each once. home: one's own, whose news are no news."""

    def __init__(self, secret: bytes, home: str) -> None:
        self._secret, self._home = secret, home
        self._heard: OrderedDict[str, float] = OrderedDict()
        """Nonces of the last `FRESH_S`, and when each was heard, in that order; at most `MOST_HEARD`."""

    def is_own(self, payload: object) -> bool:
        """Whether this is what one has said oneself, as far as it says so."""
        body = _body(payload)
        return body is not None and body[0] == self._home

    def opened(self, payload: object, now: float) -> tuple[str, dict[str, Any]] | None:
        """Return whose home says it, and what; None for what is not sealed so, is old, or was heard before."""
        body = _body(payload)
        if body is None or not isinstance(payload, dict):
            return None
        if not hmac.compare_digest(_seal(self._secret, payload["news"]), payload["seal"]):
            return None
        home, at, nonce, said = body
        while self._heard and now - next(iter(self._heard.values())) > 2 * FRESH_S:
            self._heard.popitem(last=False)
        if abs(now - at) > FRESH_S or nonce in self._heard or not isinstance(said, dict):
            return None
        self._heard[nonce] = now
        while len(self._heard) > MOST_HEARD:
            self._heard.popitem(last=False)
        return home, said


def _seal(secret: bytes, text: str) -> str:
    return hmac.new(secret, b"gateways\0" + text.encode("utf-8", "surrogatepass"), sha256).hexdigest()


def _body(payload: object) -> list[Any] | None:
    """Return home, time, nonce and what is said, as far as this has the form of news."""
    match payload:
        case {"news": str(text), "seal": str(seal)} if seal.isascii():
            try:
                body = json.loads(text)
            except (ValueError, RecursionError):
                return None
            match body:
                case [str(home), int() | float() as at, str(nonce), said]:
                    return [home, at, nonce, said]
    return None
