"""The lines of a chat as the visitor's frame keeps them: sealed, so that it can give them back, and invent none. Pure.

A gateway holds a chat in memory only. One that is started again, or that a session moves to, has it from the frame,
which says it with its `hello`. What a frame says is a visitor's word; the seal, by the secret that gateways share, is
the gateway's: over the session, the agent, and the whole line.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from nodes.page.page_chat import Kept
from nodes.rules.fields import is_id, list_of
from nodes.rules.transcript import MAX_LINES, ChatLine, line_of

SEAL_BYTES = 16


def is_chat(value: Any) -> bool:
    """Say whether it is what a `hello` may give back: `{agent, lines}`; each line is looked at by `opened`."""
    is_line = list_of(lambda each: isinstance(each, dict), MAX_LINES)
    return isinstance(value, dict) and is_id(value.get("agent")) and is_line(value.get("lines"))


def sealing(secret: bytes, session: str, agent: str, line: ChatLine) -> dict[str, Any]:
    """Return what a frame adds to a line of the chat with `agent`, which it knows by its id."""
    return {"id": line.ident, "n": line.n, "at": line.at, "agent": agent, "seal": _seal(secret, session, agent, line)}


def sealed_chat(secret: bytes, session: str, kept: Kept) -> dict[str, Any]:
    """Return all of a chat as the frame keeps it."""
    lines = [{**line.as_map(), "seal": _seal(secret, session, kept.agent, line)} for line in kept.lines]
    return {"agent": kept.agent, "lines": lines, "dropped": kept.dropped}


def opened(secret: bytes, session: str, chat: Mapping[str, Any]) -> Kept | None:
    """Return the lines whose seals hold, in the order of their numbers; None when there is none."""
    agent, lines = str(chat["agent"]), {}
    for each in chat["lines"]:
        line = line_of(each, agent)
        seal = each.get("seal")
        if line is None or not isinstance(seal, str) or not seal.isascii():
            continue
        if hmac.compare_digest(seal, _seal(secret, session, agent, line)):
            lines[line.n] = line
    return Kept(agent, tuple(lines[n] for n in sorted(lines))) if lines else None


def _seal(secret: bytes, session: str, agent: str, line: ChatLine) -> str:
    what = json.dumps(["line", session, agent, *line], separators=(",", ":")).encode()
    digest = hmac.new(secret, b"chat line\0" + what, sha256).digest()[:SEAL_BYTES]
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
