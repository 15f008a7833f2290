"""The answer to a request: which page, which status, and never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.operate.http_answer import END_OF_HEAD, MAX_HEAD_BYTES, Page, answer, refusal, refused, text

PAGES = {"/healthz": lambda: text(200, "alive"), "/readyz": lambda: text(503, "joining: not linked with é")}


def asked(line: str, *headers: str) -> tuple[str, dict[str, str], str]:
    """Status line, headers and body of the answer to a request with this first line."""
    head, _, body = answer("\r\n".join([line, *headers, "", ""]).encode(), PAGES).partition(END_OF_HEAD)
    status, *fields = head.decode().split("\r\n")
    return status, dict(field.split(": ", 1) for field in fields), body.decode()


def test_a_page_with_its_length_in_bytes() -> None:
    status, headers, body = asked("GET /readyz HTTP/1.1", "Host: h")
    assert (status, body) == ("HTTP/1.1 503 Service Unavailable", "joining: not linked with é\n")
    assert headers["Content-Length"] == str(len(body.encode())) and headers["Connection"] == "close"
    assert headers["Content-Type"] == "text/plain; charset=utf-8"


def test_head_has_the_length_and_no_body() -> None:
    status, headers, body = asked("HEAD /healthz HTTP/1.0")
    assert (status, headers["Content-Length"], body) == ("HTTP/1.1 200 OK", "6", "")


def test_a_query_changes_nothing() -> None:
    assert asked("GET /healthz?verbose=1 HTTP/1.1")[2] == "alive\n"


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("GET / HTTP/1.1", "404 Not Found", "expected one of /healthz, /readyz"),
        ("POST /healthz HTTP/1.1", "405 Method Not Allowed", "GET or HEAD"),
        ("GET /healthz", "400 Bad Request", "not a request of HTTP/1"),
        ("GET /healthz HTTP/2", "400 Bad Request", "not a request of HTTP/1"),
        ("", "400 Bad Request", "not a request of HTTP/1"),
    ],
)
def test_what_is_wrong_is_said(line: str, status: str, words: str) -> None:
    found, _, body = asked(line)
    assert found == f"HTTP/1.1 {status}" and words in body


def test_a_head_without_an_end() -> None:
    assert answer(b"GET /healthz HTTP/1.1\r\n", PAGES).startswith(b"HTTP/1.1 400 ")
    assert answer(b"a" * MAX_HEAD_BYTES, PAGES).startswith(b"HTTP/1.1 431 ")


def test_only_the_page_that_is_asked_for_is_made() -> None:
    made: list[str] = []

    def page(name: str) -> Page:
        made.append(name)
        return text(200, name)

    answer(b"GET /a HTTP/1.1\r\n\r\n", {"/a": lambda: page("a"), "/b": lambda: page("b")})
    assert made == ["a"]


TOKEN = "0123456789abcdef"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([], "token_missing"),
        (["X-Authorization: Bearer 0123456789abcdef"], "token_missing"),
        (["Authorization:"], "token_wrong"),
        (["Authorization: 0123456789abcdef"], "token_wrong"),
        (["Authorization: Basic 0123456789abcdef"], "token_wrong"),
        (["Authorization: Bearer 0123456789abcdeF"], "token_wrong"),
        (["Authorization: Bearer 0123456789abcdef0"], "token_wrong"),
        (["Authorization: Bearer \xff"], "token_wrong"),
        (["Authorization: Bearer x", "Authorization: Bearer 0123456789abcdef"], "token_wrong"),
        (["Authorization: Bearer 0123456789abcdef", "Authorization: Bearer 0123456789abcdef"], "token_wrong"),
        (["Host: h", "Authorization: Bearer 0123456789abcdef"], ""),
        (["authorization:bearer   0123456789abcdef "], ""),
    ],
)
def test_who_shows_the_token_may_ask(headers: list[str], why: str) -> None:
    head = "\r\n".join(["GET /healthz HTTP/1.1", *headers, "", ""]).encode()
    assert refusal(head, TOKEN) == why and refusal(head, "") == ""


def test_a_token_in_the_address_or_behind_the_head_is_none() -> None:
    head = b"GET /?Authorization:Bearer0123456789abcdef HTTP/1.1\r\n\r\nAuthorization: Bearer 0123456789abcdef\r\n"
    assert refusal(head[: head.index(END_OF_HEAD)] + END_OF_HEAD, TOKEN) == "token_missing"
    assert refusal(head, TOKEN) == "token_missing"


def test_who_is_refused_learns_nothing_of_the_pages() -> None:
    assert refused().startswith(b"HTTP/1.1 401 Unauthorized\r\n") and b"WWW-Authenticate: Bearer\r\n" in refused()
    assert b"healthz" not in refused()


@given(st.binary(max_size=300))
def test_whatever_comes_there_is_an_answer(head: bytes) -> None:
    for each in (head, head + END_OF_HEAD):
        assert answer(each, PAGES).startswith(b"HTTP/1.1 ") and refusal(each, TOKEN)
