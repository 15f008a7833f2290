"""What gateways tell each other: taken from those that share the secret, once, while it is fresh."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.gateway.news import FRESH_S, Opener, sealed

SECRET = b"s" * 32
SAID = {"window": "ada"}
HEARD = "there", SAID


def test_what_another_gateway_said_is_opened_once() -> None:
    opener, payload = Opener(SECRET, "here"), sealed(SECRET, SAID, "there", 1_000.0, "n1")
    assert opener.opened(payload, 1_001.0) == HEARD
    assert opener.opened(payload, 1_002.0) is None, "said again by anybody"
    assert opener.opened(sealed(SECRET, SAID, "there", 1_000.0, "n2"), 1_002.0) == HEARD


@pytest.mark.parametrize(
    ("now", "is_fresh"), [(1_000 + FRESH_S, True), (1_000 - FRESH_S, True), (1_301, False), (699, False)]
)
def test_old_news_are_none(now: float, is_fresh: bool) -> None:
    assert (Opener(SECRET, "here").opened(sealed(SECRET, SAID, "there", 1_000.0, "n"), now) == HEARD) is is_fresh


def test_news_that_are_old_enough_to_be_refused_are_forgotten_and_not_before() -> None:
    opener, payload = Opener(SECRET, "here"), sealed(SECRET, SAID, "there", 1_000.0, "n1")
    for at in range(700, 1_300, 7):
        assert (opener.opened(payload, float(at)) == HEARD) is (at == 700)
        opener.opened(sealed(SECRET, SAID, "there", float(at), f"x{at}"), float(at))


@pytest.mark.parametrize(
    "payload",
    [None, 1, "x", [], {}, {"window": "ada", "home": "there"}, {"news": 1, "seal": ""}, {"news": "", "seal": ""},
     {"news": "[]", "seal": "é"}, {"news": "[" * 100_000, "seal": "x"}, {"news": '["a",1,"b",{}]', "seal": "0" * 64},
     {"news": '["a",1,"b",{}]', "seal": "x", "more": 1}],
)  # fmt: skip
def test_what_is_not_sealed_is_none(payload: Any) -> None:
    assert Opener(SECRET, "here").opened(payload, 1.0) is None and Opener(SECRET, "here").is_own(payload) is False


def test_neither_another_secret_nor_other_words_fit_a_seal() -> None:
    payload = sealed(SECRET, SAID, "there", 1_000.0, "n")
    assert Opener(b"t" * 32, "here").opened(payload, 1_000.0) is None
    forged = {**payload, "news": payload["news"].replace("ada", "bob")}
    assert Opener(SECRET, "here").opened(forged, 1_000.0) is None


def test_its_own_are_known() -> None:
    assert Opener(SECRET, "here").is_own(sealed(SECRET, SAID, "here", 1.0, "n"))
    assert not Opener(SECRET, "here").is_own(sealed(SECRET, SAID, "there", 1.0, "n"))
