"""From the head of an HTTP request to the whole answer: as much of HTTP as a status page needs. Pure.

It knows GET and HEAD, no body, and one request a connection. Every input has an answer, and none raises.

source: RFC 9112 §3 (request line), RFC 9110 §15 (status codes)
"""

from __future__ import annotations

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
