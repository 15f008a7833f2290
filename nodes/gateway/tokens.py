"""Tokens that let a browser have its session again: signed, rotated, bound to the page's origin. Pure.

A token names the session, its generation, and the home of the gateway that made it; every gateway with the same
secret can check it. Which generation counts is known where the session lives (`Rotation`): the newest one, and the one
before until 30 s after the newest was stored by the browser.

An agent's cookie is signed alike, with the agent's own credential in the key: a changed password ends it. So is a
device's, which says that an agent has signed in with this browser before; it opens nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

PREVIOUS_S = 30.0
"""How long the previous token lives on."""
ROTATE_S = 600.0
"""A token of an open socket is replaced after this time."""
TOKEN_S = 1_800.0
"""How old a token may be where its session is not known."""
COOKIE_S = 12 * 3600.0
DEVICE_S = 90 * 24 * 3600.0
MAX_DEVICE_AGENTS = 5
"""Agents who share a browser and are known to it; of more, the one who signed in first is forgotten."""
MAX_CHARS = 1_000


@dataclass(frozen=True)
class Token:
    """A token's content. `session`: its id among gateways, from which they derive its secret. `issued_at`: wall clock,
    in seconds."""

    session: str
    generation: int
    home: str
    issued_at: float


def write_token(secret: bytes, token: Token, origin: str) -> str:
    return _sign(secret, ["page", token.session, token.generation, token.home, token.issued_at], origin.encode())


def read_token(secret: bytes, text: str, origin: str) -> Token | None:
    """Return what a token says; None for one that was not made with this secret, for a page of this origin."""
    body = _verify(secret, text, origin.encode())
    if body is None or body[0] != "page":
        return None
    return Token(*body[1:])


def write_cookie(secret: bytes, agent: str, credential: str, issued_at: float, nonce: str) -> str:
    return _sign(secret, ["agent", agent, issued_at, nonce], credential.encode())


def agent_of(text: str) -> str | None:
    """Return whose cookie this claims to be; nothing is checked."""
    body = _body(text.partition(".")[0])
    return body[1] if body is not None and len(body) == 4 and isinstance(body[1], str) else None


def read_cookie(secret: bytes, text: str, credential: str, now: float) -> str | None:
    """Return the nonce of an agent's cookie that holds; None for any other."""
    body = _verify(secret, text, credential.encode())
    if body is None or body[0] != "agent" or not 0 <= now - body[2] < COOKIE_S:
        return None
    return str(body[3])


def secret_of(secret: bytes, kind: str, ident: str) -> str:
    """Return the secret of a page session, or of an agent, at all gateways of this secret: no browser holds it.

    kind, ident:  `page` and the session's id, or `agent` and the agent's
    """
    what = json.dumps(["secret", kind, ident], separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(hmac.new(secret, b"secret\0" + what, sha256).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Device:
    """A browser that agents have signed in with, the last one first. nonce: names it."""

    agents: tuple[str, ...]
    nonce: str


def write_device(secret: bytes, device: Device, issued_at: float) -> str:
    return _sign(secret, ["device", list(device.agents), issued_at, device.nonce], b"device")


def read_device(secret: bytes, text: str, now: float) -> Device | None:
    """Return what a device's cookie says that holds; None for any other."""
    body = _verify(secret, text, b"device")
    if body is None or body[0] != "device" or not 0 <= now - body[2] < DEVICE_S:
        return None
    return Device(tuple(body[1]), body[3])


def public_name(session: str) -> str:
    """Return a name for a session that can be shown and logged."""
    return sha256(session.encode()).hexdigest()[:12]


class Rotation:
    """The generations of one session's tokens.

    generation: the newest one that was handed out
    """

    def __init__(self, generation: int = 1) -> None:
        self.generation = generation
        """Only goes up, by `rotate`, and only when the newest was shown."""
        self._stored_at: float | None = None
        """When the browser first said that it has the newest, on the monotonic clock; None: not yet."""

    @property
    def is_stored(self) -> bool:
        return self._stored_at is not None

    def accepts(self, generation: int, now: float) -> bool:
        """Say whether a token of this generation is good now."""
        if generation == self.generation:
            return True
        previous = generation == self.generation - 1
        return previous and (self._stored_at is None or now - self._stored_at < PREVIOUS_S)

    def stored(self, now: float) -> None:
        """The browser has stored the newest."""
        if self._stored_at is None:
            self._stored_at = now

    def rotate(self, used: int, now: float) -> int:
        """Return the generation to hand out next. `used`: the one that was shown, or the newest if none was.

        The newest is used, so it was stored; then there is a new one. Else the browser has never got the newest, and
        is given it again: else each attempt would push out the token that it holds.
        """
        if used == self.generation:
            self.generation += 1
            self._stored_at = None
        return self.generation


def _sign(secret: bytes, body: list[Any], bound_to: bytes) -> str:
    text = base64.urlsafe_b64encode(json.dumps(body, separators=(",", ":")).encode()).rstrip(b"=")
    return (text + b"." + _mac(secret, text, bound_to)).decode()


def _verify(secret: bytes, text: str, bound_to: bytes) -> list[Any] | None:
    if len(text) > MAX_CHARS or not text.isascii():
        return None
    content, _, mac = text.partition(".")
    if not hmac.compare_digest(_mac(secret, content.encode(), bound_to), mac.encode()):
        return None
    return _body(content)


def _mac(secret: bytes, text: bytes, bound_to: bytes) -> bytes:
    digest = hmac.new(secret, len(text).to_bytes(4, "big") + text + bound_to, sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=")


def _body(text: str) -> list[Any] | None:
    try:
        body = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return body if isinstance(body, list) and body else None
