"""From the head of an HTTP request to the whole answer: as much of HTTP as a status page needs. Pure.

It knows GET and HEAD, no body, and one request a connection. Every input has an answer, and none raises.

source: RFC 9112 §3 (request line), RFC 9110 §15 (status codes), RFC 6750 §2.1 (bearer tokens)
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import NamedTuple

MAX_HEAD_BYTES = 8 * 1024
"""Of a request line with its headers; the limit of nginx and Apache."""
END_OF_HEAD = b"\r\n\r\n"
TEXT = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """One answer."""

    status: int
    body: bytes
    content_type: str = TEXT


def text(status: int, words: str) -> Page:
    """A page of one line."""
    return Page(status, f"{words}\n".encode())


def refusal(head: bytes, token: str) -> str:
    """Return why a request may not be answered, for counting: `token_missing` or `token_wrong`; empty when it may.

    head:  whole, see `answer`
    token: that it has to show in `Authorization: Bearer TOKEN`; empty: none
    cost:  the same wherever a wrong token differs
    """
    if not token:
        return ""
    fields = [line.partition(b":") for line in head.partition(END_OF_HEAD)[0].split(b"\r\n")[1:]]
    shown = [value.strip() for name, _, value in fields if name.lower() == b"authorization"]
    if not shown:
        return "token_missing"
    scheme, _, given = shown[0].partition(b" ")
    is_right = hmac.compare_digest(given.strip(), token.encode()) and scheme.lower() == b"bearer" and len(shown) == 1
    return "" if is_right else "token_wrong"


def refused() -> bytes:
    """Return the answer to a request that shows no token, or a wrong one: it tells nothing of the pages."""
    return _packed(text(401, "expected the token of this status page"), "WWW-Authenticate: Bearer")


def answer(head: bytes, pages: Mapping[str, Callable[[], Page]]) -> bytes:
    """Return the answer to a request.

    head:  what came up to the end of its head, or until it was too long or nothing more came
    pages: by path; a page is made only when it is asked for
    """
    if END_OF_HEAD not in head:
        status = 431 if len(head) >= MAX_HEAD_BYTES else 400
        return _packed(text(status, "incomplete request"))
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _packed(text(400, "not a request of HTTP/1"))
    method, target = words[0], words[1].partition(b"?")[0].decode("latin-1")
    if method not in (b"GET", b"HEAD"):
        return _packed(text(405, "expected GET or HEAD"), "Allow: GET, HEAD")
    page = pages.get(target)
    if page is None:
        return _packed(text(404, f"not found: expected one of {', '.join(pages)}"))
    return _packed(page(), has_body=method == b"GET")


def _packed(page: Page, *more: str, has_body: bool = True) -> bytes:
    lines = [
        f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *more,
    ]
    return "\r\n".join(lines).encode() + END_OF_HEAD + (page.body if has_body else b"")
