"""Tokens and cookies: what holds, what does not, and how they rotate."""

from __future__ import annotations

import base64
import json
import random

import pytest

from nodes.gateway.tokens import (
    COOKIE_S,
    DEVICE_S,
    MAX_CHARS,
    MAX_DEVICE_AGENTS,
    PREVIOUS_S,
    Device,
    Rotation,
    Token,
    agent_of,
    public_name,
    read_cookie,
    read_device,
    read_token,
    write_cookie,
    write_device,
    write_token,
)

SECRET, ORIGIN = b"s" * 32, "https://shop.example.org"
TOKEN = Token("session-of-a-page-1", 3, "ab12", 1_700_000_000.5)


def test_a_token_says_what_was_put_into_it() -> None:
    assert read_token(SECRET, write_token(SECRET, TOKEN, ORIGIN), ORIGIN) == TOKEN


@pytest.mark.parametrize(
    ("secret", "origin"), [(b"t" * 32, ORIGIN), (SECRET, "https://other.example.org"), (SECRET, "")]
)
def test_it_holds_with_its_secret_and_for_its_origin_only(secret: bytes, origin: str) -> None:
    assert read_token(secret, write_token(SECRET, TOKEN, ORIGIN), origin) is None


def test_no_changed_character_passes() -> None:
    text, draw = write_token(SECRET, TOKEN, ORIGIN), random.Random(1)
    for at in range(len(text)):
        changed = text[:at] + draw.choice([c for c in "abcXYZ019-_." if c != text[at]]) + text[at + 1 :]
        assert read_token(SECRET, changed, ORIGIN) is None, at


@pytest.mark.parametrize("text", ["", ".", "a.b", "é.b", "a" * 2_000, "W10.", "\ud800.x", "bnVsbA.bnVsbA"])
def test_nonsense_is_no_token_and_no_cookie(text: str) -> None:
    assert read_token(SECRET, text, ORIGIN) is None and read_cookie(SECRET, text, "hash", 0.0) is None
    assert agent_of(text) is None


def test_a_session_of_ones_own_choice_cannot_be_signed_by_anothers_token() -> None:
    content, _, mac = write_token(SECRET, TOKEN, ORIGIN).partition(".")
    body = json.loads(base64.urlsafe_b64decode(content + "=="))
    body[1] = "another-session-of-a-page"
    forged = base64.urlsafe_b64encode(json.dumps(body, separators=(",", ":")).encode()).decode().rstrip("=")
    assert read_token(SECRET, f"{forged}.{mac}", ORIGIN) is None


def test_a_cookie_is_no_token_and_a_token_no_cookie() -> None:
    cookie = write_cookie(SECRET, "ada", "hash", 1_000.0, "nonce")
    assert read_token(SECRET, cookie, "hash") is None
    assert read_cookie(SECRET, write_token(SECRET, TOKEN, ORIGIN), ORIGIN, 1_700_000_001.0) is None


def test_a_cookie_holds_for_its_time_and_its_password() -> None:
    cookie = write_cookie(SECRET, "ada", "hash", 1_000.0, "nonce")
    assert agent_of(cookie) == "ada"
    assert read_cookie(SECRET, cookie, "hash", 1_000.0) == "nonce"
    assert read_cookie(SECRET, cookie, "hash", 999.0 + COOKIE_S) == "nonce"
    assert read_cookie(SECRET, cookie, "hash", 1_000.0 + COOKIE_S) is None
    assert read_cookie(SECRET, cookie, "hash", 999.0) is None, "made in the future"
    assert read_cookie(SECRET, cookie, "a new hash", 1_000.0) is None


def test_the_previous_token_lives_30_s_after_the_newest_was_stored() -> None:
    rotation = Rotation()
    rotation.stored(0.0)
    assert rotation.rotate(1, 10.0) == 2
    assert rotation.accepts(1, 10_000.0), "nobody knows whether the browser has got the newest"
    rotation.stored(20.0)
    rotation.stored(40.0)
    assert rotation.accepts(1, 19.9 + PREVIOUS_S) and not rotation.accepts(1, 20.0 + PREVIOUS_S)
    assert rotation.accepts(2, 10_000.0) and not rotation.accepts(0, 20.0) and not rotation.accepts(3, 20.0)


def test_a_browser_that_never_got_the_newest_is_given_it_again() -> None:
    rotation = Rotation(5)
    assert rotation.rotate(5, 0.0) == 6
    assert [rotation.rotate(5, float(second)) for second in range(1, 4)] == [6, 6, 6]
    assert rotation.accepts(5, 3.0) and rotation.accepts(6, 3.0)
    assert rotation.rotate(6, 4.0) == 7 and not rotation.accepts(5, 4.0)


def test_the_public_name_does_not_tell_the_session() -> None:
    assert public_name("secret session") == public_name("secret session") != public_name("secret sessioN")
    assert len(public_name("x")) == 12


def test_a_device_s_cookie_says_who_has_signed_in_there_for_ninety_days() -> None:
    device = Device(("ada", "bob"), "nonce")
    text = write_device(SECRET, device, 1_000.0)
    assert read_device(SECRET, text, 1_000.0) == read_device(SECRET, text, 1_000.0 + DEVICE_S - 1) == device
    assert read_device(SECRET, text, 1_000.0 + DEVICE_S) is None and read_device(SECRET, text, 999.0) is None
    assert read_device(b"t" * 32, text, 1_000.0) is None and read_device(SECRET, text + "x", 1_000.0) is None
    assert read_token(SECRET, text, "device") is None, "no token, even for a page of this odd origin"
    assert read_device(SECRET, write_token(SECRET, Token("s" * 22, 1, "home", 1_000.0), "device"), 1_000.0) is None
    assert len(write_device(SECRET, Device(("a" * 64,) * MAX_DEVICE_AGENTS, "n" * 22), 1e9)) <= MAX_CHARS
