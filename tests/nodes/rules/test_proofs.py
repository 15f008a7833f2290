"""Proofs by a shared key: what they hold for, and that nothing else passes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from nodes.rules.fields import is_key, is_session
from nodes.rules.proofs import (
    derived,
    key_of,
    name_of,
    proof,
    proven_request,
    proves,
    proves_renewal,
    proves_request,
    renewal_proof,
)
from tests.support.payload_strategies import PAYLOADS

KEY, OTHER = key_of("secret"), key_of("another")
BODY: dict[str, Any] = {"session": name_of(KEY), "epoch": 1, "agent": None, "buttons": ["a", "b"], "lease_s": 30.0}


def test_a_name_follows_from_a_key_and_a_key_from_a_secret() -> None:
    assert is_key(KEY) and is_session(name_of(KEY)) and len({"secret", KEY, name_of(KEY), derived(KEY, "x")}) == 4
    assert key_of("secret") == KEY != OTHER and name_of(KEY) != name_of(OTHER)


@given(PAYLOADS, PAYLOADS)
def test_a_proof_is_of_this_by_this_key_and_of_nothing_else(what: Any, else_: Any) -> None:
    told = proof(KEY, "what", what)
    assert is_key(told) and proves(KEY, told, "what", what)
    assert not proves(OTHER, told, "what", what) and not proves(KEY, told, "for", what)
    assert proves(KEY, told, "what", else_) == (told == proof(KEY, "what", else_))
    assert derived(KEY, "what", what) != told, "what is derived is told, and proves nothing"


@pytest.mark.parametrize("told", [None, 5, b"x", "", "0" * 32, "é" * 32, ["0" * 32], {}])
def test_what_is_no_proof_is_none(told: object) -> None:
    assert not proves(KEY, told, "what") and not proves_request(KEY, "stop", {**BODY, "proof": told})


def test_a_request_is_proven_with_all_it_says() -> None:
    asked = proven_request(KEY, "stop", BODY, 5.0, "once")
    assert proves_request(KEY, "stop", dict(reversed(asked.items())))
    assert not proves_request(KEY, "release_page", asked) and not proves_request(OTHER, "stop", asked)
    for changed in (
        {"session": name_of(OTHER)},
        {"epoch": 2},
        {"epoch": True},
        {"agent": "ada"},
        {"buttons": ["ab"]},
        {"at": 6.0},
        {"once": "twice"},
        {"more": 1},
    ):
        assert not proves_request(KEY, "stop", {**asked, **changed}), changed
    for name in asked:
        assert not proves_request(KEY, "stop", {key: value for key, value in asked.items() if key != name})


def test_a_page_proves_its_renewal_at_one_moment() -> None:
    told = renewal_proof(KEY, 5.0)
    assert proves_renewal(KEY, told, 5.0)
    assert not proves_renewal(KEY, told, 5.5) and not proves_renewal(OTHER, told, 5.0)
    assert not proves_request(KEY, "renew", {**BODY, "at": 5.0, "once": "x", "proof": told})


def test_what_is_derived_differs_by_what_it_is_for() -> None:
    assert derived(KEY, "handle", "ada") == derived(KEY, "handle", "ada") != derived(KEY, "handle", "bob")
    assert derived(KEY, "handle", "ada") != derived(OTHER, "handle", "ada")
