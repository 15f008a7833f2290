"""What a node shows of itself and may do: asking for rights, refusals and pauses, by a clock of the test."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import pytest

from fabric.identity.keys import Keys
from fabric.node.credentials import ASK_S, RETRY_FIRST_S, RETRY_LAST_S, Credentials
from fabric.rights import Permissions, rights_from, tag_of
from fabric.sockets import Curve

PUBLIC, SECRET, OLD, NEW = (letter * 40 for letter in "psxy")
TAG = tag_of(PUBLIC)
KEYS = Keys(Path("keys"), "bob", PUBLIC, SECRET, (OLD, NEW))


def told(tag: str = TAG, **rights: Any) -> dict[str, Any]:
    return Permissions("bob", tag, rights_from(rights)).to_map()


@pytest.fixture
def bob() -> Credentials:
    return Credentials(KEYS, secrets.token_hex)


def test_without_keys_everything_is_allowed_and_nothing_is_asked() -> None:
    plain = Credentials(None, secrets.token_hex)
    assert plain.curve is None and plain.may_begin and plain.tag == ""
    assert len(plain.new_token()) == 32 and plain.new_publisher() < 2**64
    plain.attached(0.0)
    assert not plain.asks(100.0) and not plain.is_waiting
    assert not plain.rights_heard(told()) and plain.permissions is None
    assert plain.why_not_publish("$x") is plain.why_not_subscribe("#", [b""]) is None and plain.may_hold(b"")


def test_tokens_and_publishers_begin_with_the_tag(bob: Credentials) -> None:
    tokens, publishers = {bob.new_token() for _ in range(50)}, {bob.new_publisher() for _ in range(50)}
    assert len(tokens) == len(publishers) == 50
    assert all(len(token) == 32 and token.startswith(TAG) for token in tokens)
    assert all(publisher.to_bytes(8, "big").hex().startswith(TAG) for publisher in publishers)


def test_rights_are_asked_for_at_each_connection_until_they_are_told(bob: Credentials) -> None:
    assert not bob.may_begin and not bob.asks(0.0)
    bob.attached(1.0)
    assert bob.is_waiting
    times = [now / 100 for now in range(100, 140) if bob.asks(now / 100)]
    assert times == pytest.approx([1.0, 1.0 + ASK_S, 1.0 + 2 * ASK_S, 1.0 + 3 * ASK_S], abs=0.011)
    assert bob.rights_heard(told(publish=["a"])) and bob.may_begin and not bob.is_waiting
    assert not bob.asks(9.0)
    bob.attached(10.0)
    assert bob.asks(10.0) and bob.may_begin, "what was told before holds meanwhile"
    assert not bob.rights_heard(told(publish=["a"])), "they are the same"
    assert not bob.asks(11.0)


def test_rights_change_when_they_are_told_unasked(bob: Credentials) -> None:
    bob.rights_heard(told(publish=["a"], subscribe=["b"]))
    assert bob.why_not_publish("a") is bob.why_not_subscribe("b", [b"b\0"]) is None
    assert bob.may_hold(b"b\0") and not bob.may_hold(b"b/") and not bob.may_hold(b"")
    assert bob.why_not_publish("b") == "bob may not publish on 'b': it needs the right, and has 'a'"
    assert bob.rights_heard(told(publish=["b"]))
    assert bob.why_not_publish("b") is None and bob.why_not_publish("a") and bob.why_not_subscribe("b", [b"b\0"])
    bob.rights_heard({**told(), "observe": True})
    assert bob.may_hold(b"") and bob.why_not_subscribe("#", [b""]) is None


@pytest.mark.parametrize("payload", [None, {}, [], told("deadbeef"), {**told(), "rights": 1}, {**told(), "tag": 7}])
def test_what_says_nothing_of_this_key_changes_nothing(bob: Credentials, payload: object) -> None:
    bob.attached(0.0)
    assert not bob.rights_heard(payload)
    assert bob.asks(1.0) and not bob.may_begin


def test_after_a_refusal_it_tries_again_later_and_later_with_the_other_key_of_the_mesh(bob: Credentials) -> None:
    assert bob.curve == Curve(OLD, PUBLIC, SECRET)
    pauses, now = [], 0.0
    for turn in range(7):
        bob.refused(now, "no")
        assert bob.retry_at is not None and bob.refusal == "no" and bob.is_waiting
        pauses.append(bob.retry_at - now)
        now = bob.retry_at
        assert bob.curve.server == (NEW, OLD)[turn % 2]
        bob.attached(now)
        assert bob.retry_at is None
    assert pauses[:3] == [RETRY_FIRST_S, 2 * RETRY_FIRST_S, 4 * RETRY_FIRST_S]
    assert pauses[-1] == RETRY_LAST_S == max(pauses)
    bob.rights_heard(told())
    assert bob.refusal == ""
    bob.refused(now, "no")
    assert bob.retry_at == now + RETRY_FIRST_S, "once it was let in the pauses begin again"


def test_keys_of_the_mesh_change_as_the_proxy_tells_them(bob: Credentials) -> None:
    third = "z" * 40
    bob.rights_heard({**told(), "mesh": [third, OLD]})
    assert bob.curve == Curve(OLD, PUBLIC, SECRET), "the one in use stays so while it is among them"
    bob.rights_heard({**told(), "mesh": [third]})
    assert bob.curve == Curve(third, PUBLIC, SECRET)
    for wrong in ([], ["short"], "x", [third] * 3, None):
        bob.rights_heard({**told(), "mesh": wrong})
        assert bob.curve == Curve(third, PUBLIC, SECRET)
    bob.refused(0.0, "no", mesh=(NEW, OLD))
    assert bob.curve.server in (NEW, OLD)


def test_without_keys_a_refusal_is_tried_again_too() -> None:
    plain = Credentials(None, secrets.token_hex)
    plain.refused(5.0, "it may want keys")
    assert plain.retry_at == 5.0 + RETRY_FIRST_S and plain.curve is None
