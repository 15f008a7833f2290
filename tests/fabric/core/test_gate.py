"""The gate: what may enter, by twin and compiled table alike; what subscriptions bring, and what passes on."""

from __future__ import annotations

import os
import random
import socket as plain_socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.core import gate as gates
from fabric.core._gate import Verdicts
from fabric.core.gate import MAX_DENIED, SERIAL_CHARS, Denied, Gate, shut
from fabric.core.steering import Place
from fabric.identity.keys import new_pair
from fabric.rights import FIRST_BYTES, Permissions, rights_from, tag_of

SHOP, DESK, NOBODY = (letter * 40 for letter in "sdn")
RIGHTS: dict[str, dict[str, list[str]]] = {
    SHOP: {"publish": ["orders/#", "a/+/b"], "subscribe": ["#"], "deny_publish": ["orders/internal/#"]},
    DESK: {"publish": ["desk"], "subscribe": ["desk/#", "a/+/b"], "deny_subscribe": ["desk/x/#"]},
}
PERMISSIONS = {
    key: Permissions(name, tag_of(key), rights_from(RIGHTS[key])) for name, key in (("shop", SHOP), ("desk", DESK))
}
Refusal = Callable[[int, bytes, bytes, bytes], str | None]


def user(key: str, serial: int = 1) -> bytes:
    return f"{serial:0{SERIAL_CHARS}x}{key}".encode()


def body(key: str, head: bytes = b"\x95\x01\xcf") -> bytes:
    return head + bytes.fromhex(tag_of(key)) + b"rest"


@pytest.fixture(params=["plain", "compiled"])
def refusal(request: pytest.FixtureRequest) -> Refusal:
    """refusal(descriptor, user, topic, body) of either build."""
    gate = Gate(PERMISSIONS)
    if request.param == "plain":
        return lambda descriptor, *rest: gate.refusal(*rest)
    verdicts = Verdicts(gate)
    found: Refusal = verdicts.refusal
    return found


# --- publishers


@pytest.mark.parametrize(
    ("who", "topic", "kind"),
    [
        (SHOP, b"orders/1", None),
        (SHOP, b"orders", None),
        (SHOP, b"a/x/b", None),
        (SHOP, b"a//b", None),
        (SHOP, b"a/x/b/c", "not_allowed"),
        (SHOP, b"orders/internal/x", "not_allowed"),
        (SHOP, b"orders/internal", "not_allowed"),
        (SHOP, b"secret", "not_allowed"),
        (SHOP, b"", "not_allowed"),
        (DESK, b"desk", None),
        (DESK, b"desk/x", "not_allowed"),
        (NOBODY, b"orders/1", "not_allowed"),
        (DESK, b"$repair/%016d/%b0/desk/1" % (1, tag_of(DESK).encode()), None),
        (DESK, b"$repair/%016d/%b0/desk/x/1" % (1, tag_of(DESK).encode()), "not_allowed"),
        (DESK, b"$repair/%016d/%b0/orders/1" % (1, tag_of(DESK).encode()), "not_allowed"),
        (DESK, b"$repair/%016d/%b0/desk/1" % (1, tag_of(SHOP).encode()), "not_allowed"),
        (DESK, b"$repair/%016d/%b" % (1, tag_of(DESK).encode()), "not_allowed"),
        (SHOP, b"$repair/%016d/%b0/$inbox/1" % (1, tag_of(SHOP).encode()), "not_allowed"),
        (SHOP, b"$ack/%b0/p" % tag_of(DESK).encode(), None),
    ],
)
def test_who_may_publish_what(refusal: Refusal, who: str, topic: bytes, kind: str | None) -> None:
    assert refusal(7, user(who), topic, body(who)) == kind


@pytest.mark.parametrize(
    "forged",
    [
        body(DESK),
        b"",
        b"\x95",
        body(SHOP)[:6],
        body(SHOP, b"\x95\x02\xcf"),
        body(SHOP, b"\x95\x01\xce"),
        body(SHOP, b"\x95\x01\xcf\0"),
    ],
)
def test_a_publishers_id_begins_with_the_tag_of_its_key(refusal: Refusal, forged: bytes) -> None:
    assert refusal(7, user(SHOP), b"orders/1", forged) == "forged"
    assert refusal(7, user(SHOP), b"orders/1", body(SHOP)) is None
    assert refusal(7, user(SHOP), b"secret", forged) == "not_allowed"


@pytest.mark.parametrize("bad", [b"", b"x", user(SHOP)[:-1], user(SHOP) + b"x", b"\xff" * 56])
def test_who_has_no_proper_user_id_is_nobody(refusal: Refusal, bad: bytes) -> None:
    assert refusal(7, bad, b"orders/1", body(SHOP)) == "not_allowed"


def test_a_descriptor_that_another_connection_has_now_is_looked_up_again(refusal: Refusal) -> None:
    for serial, who, kind in ((1, SHOP, None), (2, DESK, "not_allowed"), (3, SHOP, None), (4, NOBODY, "not_allowed")):
        assert refusal(9, user(who, serial), b"orders/1", body(who)) == kind


@given(
    st.integers(-2, 70),
    st.sampled_from([SHOP, DESK, NOBODY]) | st.text(max_size=45).filter(lambda text: "\0" not in text),
    st.lists(
        st.sampled_from(["orders", "a", "b", "x", "", "desk", "internal", "é", "$ack", "~pagesession"]), max_size=4
    ),
    st.sampled_from([SHOP, DESK]),
    st.sampled_from([b"\x95\x01\xcf", b"\x96\x01\xcf", b"\x95\x02\xcf", b"\x95"]),
    st.integers(1, 5),
)
def test_both_judge_arbitrary_parts_alike(
    descriptor: int, who: str, levels: list[str], id_of: str, head: bytes, serial: int
) -> None:
    gate = Gate(PERMISSIONS)
    verdicts = Verdicts(gate)
    topic, id_ = "/".join(levels).encode(), user(who, serial)
    asks = [b"$repair/%b/%b" % (some, topic) for some in (b"0/%b1" % tag_of(SHOP).encode(), b"0", b"", b"0/" + topic)]
    for each in (topic, b"$ack/%b9/w" % tag_of(SHOP).encode(), b"orders/1", *asks):
        plain = gate.refusal(id_, each, body(id_of, head))
        assert verdicts.refusal(descriptor, id_, each, body(id_of, head)) == (
            plain if descriptor >= 0 else "not_allowed"
        )


@pytest.mark.parametrize("seed", range(3))
def test_both_judge_alike_with_many_identities_and_new_rules_in_between(seed: int) -> None:
    chance = random.Random(seed)
    keys = [new_pair()[0] for _ in range(200)]
    words = ["a", "b", "c", "+"]

    def rules() -> dict[str, Permissions]:
        found = {}
        for key in chance.sample(keys, 150):
            filters = ["/".join(chance.choices(words, k=chance.randrange(1, 4))) for _ in range(chance.randrange(4))]
            rights = rights_from({"publish": filters, "deny_publish": filters[:1] if chance.random() < 0.3 else []})
            found[key] = Permissions(f"n{keys.index(key)}", tag_of(key), rights)
        return found

    gate = Gate(rules())
    verdicts = Verdicts(gate)
    kinds: Counter[str | None] = Counter()
    for _ in range(20):
        for _ in range(300):
            at = chance.randrange(len(keys))
            topic = "/".join(chance.choices(words[:3], k=chance.randrange(1, 4))).encode()
            claimed = keys[at] if chance.random() < 0.9 else chance.choice(keys)
            id_ = user(keys[at], at)
            kind = gate.refusal(id_, topic, body(claimed))
            assert verdicts.refusal(at % 50, id_, topic, body(claimed)) == kind
            kinds[kind] += 1
        gate.load(rules())
        verdicts.load()
    assert set(kinds) == {None, "not_allowed", "forged"} and min(kinds.values()) > 20


def test_what_is_denied_is_told_at_most_so_often_and_cut() -> None:
    gate = Gate(PERMISSIONS)
    for number in range(MAX_DENIED + 7):
        gate.refusal(user(SHOP), b"x%d" % number, body(SHOP))
    told = gate.take_denied()
    assert len(told) == MAX_DENIED and told[0] == Denied("in", SHOP, "publish", b"x7")
    assert gate.take_denied() == []
    gate.refusal(user(SHOP), b"y" * 1_000, body(SHOP))
    assert len(gate.take_denied()[0].what) == 300


# --- subscribers

OUT = Place.OUT


@pytest.fixture
def gate() -> Gate:
    return Gate(PERMISSIONS)


def passed(gate: Gate, act: str, descriptor: int, who: str, prefix: bytes) -> tuple[tuple[bytes, ...], bool, bool]:
    return tuple(getattr(gate, act)(OUT, descriptor, user(who, descriptor), prefix))


def test_only_the_first_and_the_last_pass_on(gate: Gate) -> None:
    desk = (b"desk/y/",)
    assert passed(gate, "subscribed", 1, DESK, b"desk/y/") == (desk, True, False)
    assert passed(gate, "subscribed", 2, DESK, b"desk/y/") == (desk, False, False)
    assert passed(gate, "subscribed", 2, DESK, b"desk/y/") == ((), False, False), "twice is once"
    assert passed(gate, "cancelled", 1, DESK, b"desk/y/") == (desk, False, False)
    assert passed(gate, "cancelled", 1, DESK, b"desk/y/") == ((), False, False), "it holds it no more"
    assert passed(gate, "cancelled", 2, DESK, b"desk/y/") == (desk, True, False)
    assert gate.take_denied() == []


def test_places_are_counted_each_for_itself(gate: Gate) -> None:
    assert gate.subscribed(Place.OUT, 1, user(SHOP), b"a/").passes
    assert gate.subscribed(Place.GUEST, 2, user(SHOP, 2), b"a/").passes
    assert gate.cancelled(Place.OUT, 1, user(SHOP), b"a/").passes


def test_everything_is_held_by_first_bytes_and_a_cancel_leaves_what_is_held_besides(gate: Gate) -> None:
    assert passed(gate, "subscribed", 1, SHOP, b"") == (FIRST_BYTES, True, False)
    assert passed(gate, "subscribed", 1, SHOP, b"a") == ((b"a",), True, False)
    granted, passes, _ = passed(gate, "cancelled", 1, SHOP, b"")
    assert passes and set(granted) == set(FIRST_BYTES) - {b"a"}
    assert passed(gate, "cancelled", 1, SHOP, b"a") == ((b"a",), True, False)


def test_a_part_of_everything_that_is_cancelled_stays_held_by_everything(gate: Gate) -> None:
    passed(gate, "subscribed", 1, SHOP, b"")
    passed(gate, "subscribed", 1, SHOP, b"a")
    assert passed(gate, "cancelled", 1, SHOP, b"a")[0] == ()
    assert set(passed(gate, "cancelled", 1, SHOP, b"")[0]) == set(FIRST_BYTES)


def test_what_is_refused_holds_nothing_and_is_told(gate: Gate) -> None:
    assert passed(gate, "subscribed", 1, DESK, b"") == ((), False, True)
    assert passed(gate, "subscribed", 1, DESK, b"desk/") == ((), False, True), "some of it is denied"
    assert passed(gate, "subscribed", 2, NOBODY, b"desk/y/") == ((), False, True)
    assert passed(gate, "cancelled", 1, DESK, b"desk/") == ((), False, False)
    assert gate.take_denied() == [
        Denied("out", DESK, "subscribe", b""),
        Denied("out", DESK, "subscribe", b"desk/"),
        Denied("out", NOBODY, "subscribe", b"desk/y/"),
    ]


def test_when_peers_leave_the_last_passes_on_and_refused_ones_take_nothing_with_them(gate: Gate) -> None:
    passed(gate, "subscribed", 1, SHOP, b"a/")
    passed(gate, "subscribed", 2, SHOP, b"a/")
    passed(gate, "subscribed", 3, DESK, b"a/")  # refused, and libzmq cancels it, too, when its peer leaves
    assert [gate.left(OUT, b"a/") for _ in range(4)] == [False, False, True, False]
    assert not gate.left(OUT, b"never")


def test_a_descriptor_that_is_used_again_begins_with_nothing(gate: Gate) -> None:
    passed(gate, "subscribed", 1, SHOP, b"a/")
    assert gate.cancelled(OUT, 1, user(SHOP, 99), b"a/").prefixes == (), "that was another connection"
    assert gate.subscribed(OUT, 1, user(SHOP, 99), b"a/").prefixes == (b"a/",)


def test_who_only_observes_lets_everything_in_and_tells(gate: Gate) -> None:
    gate = Gate(PERMISSIONS, observe=True)
    assert gate.refusal(user(NOBODY), b"x", b"") is None
    assert gate.subscribed(OUT, 1, user(DESK), b"secret/") == ((b"secret/",), True, False)
    assert gate.subscribed(OUT, 1, user(DESK), b"") == ((b"",), True, False)
    assert [(each.act, each.what) for each in gate.take_denied()] == [
        ("publish", b"x"),
        ("subscribe", b"secret/"),
        ("subscribe", b""),
    ]
    assert gate.cancelled(OUT, 1, user(DESK), b"secret/") == ((b"secret/",), True, False)


def test_after_new_rules_those_are_found_who_hold_too_much(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fstat", lambda descriptor: os.stat("/"))  # all of them are there
    gate.subscribed(OUT, 1, user(SHOP, 1), b"")
    gate.subscribed(OUT, 2, user(DESK, 2), b"desk/y/")
    gate.subscribed(OUT, 3, user(DESK, 3), b"secret/")  # refused: it holds nothing
    gate.subscribed(Place.GUEST, 4, user(DESK, 4), b"desk/z/")
    assert gate.overreaching() == []
    desk = Permissions("desk", tag_of(DESK), rights_from({"subscribe": ["desk/z/#"]}))
    gate.load({**PERMISSIONS, DESK: desk})
    assert gate.overreaching() == [2]
    gate.cancelled(OUT, 2, user(DESK, 2), b"desk/y/")
    assert gate.overreaching() == [], "an honest one lets go"
    gate.load({DESK: desk})
    assert gate.overreaching() == [1]


# --- connections


@pytest.fixture
def ends() -> Iterator[tuple[Any, Any]]:
    a, b = plain_socket.socketpair()
    b.settimeout(10)
    yield a, b
    a.close()
    b.close()


def is_cut(end: Any) -> bool:
    end.setblocking(False)
    try:
        return bool(end.recv(1) == b"")
    except BlockingIOError:
        return False


def test_one_connection_is_shut_and_no_other_that_has_its_descriptor_now(ends: Any) -> None:
    a, b = ends
    inode = os.fstat(a.fileno()).st_ino
    assert not shut(a.fileno(), inode + 1) and not is_cut(b)
    assert shut(a.fileno(), inode) and is_cut(b)
    shut(a.fileno(), inode)  # it has ended: no error
    number = a.fileno()
    a.close()
    assert not shut(number, inode)


@pytest.mark.parametrize("subscribed", [False, True])
def test_whose_subscription_may_be_anothers_is_cut_and_holds_nothing(gate: Gate, ends: Any, subscribed: bool) -> None:
    a, b = ends
    who = user(SHOP, 5)
    gate.subscribed(OUT, 900, user(SHOP, 1), b"a/")
    if not subscribed:
        gate.subscribed(OUT, a.fileno(), who, b"a/")
    assert not gate.unsure(OUT, a.fileno(), who, b"a/", subscribed=subscribed)
    assert is_cut(b)
    if subscribed:  # libzmq has noted it, and cancels it when the peer leaves
        assert not gate.left(OUT, b"a/")
    assert gate.left(OUT, b"a/"), "of the other one"


def test_a_cancel_that_may_be_anothers_passes_on_all_the_same(gate: Gate, ends: Any) -> None:
    gate.subscribed(OUT, ends[0].fileno(), user(SHOP), b"a/")
    assert gate.unsure(OUT, ends[0].fileno(), user(SHOP), b"a/", subscribed=False)


def test_a_second_subscription_to_the_same_changes_nothing_and_cuts_nobody(gate: Gate, ends: Any) -> None:
    gate.subscribed(OUT, ends[0].fileno(), user(SHOP), b"a/")
    assert not gate.unsure(OUT, ends[0].fileno(), user(SHOP), b"a/", subscribed=True)
    assert not is_cut(ends[1])
    assert gate.left(OUT, b"a/")


def test_who_sends_what_nobody_may_is_cut_and_told(gate: Gate, ends: Any) -> None:
    gate.spoke(OUT, ends[0].fileno(), user(SHOP), b"\x02" + b"x" * 1_000)
    assert is_cut(ends[1])
    assert gate.take_denied() == [Denied("out", SHOP, "control", b"\x02" + b"x" * 299)]


def test_connections_are_known_by_descriptor_place_key_and_inode(gate: Gate, ends: Any) -> None:
    a, _ = ends
    gate.meet(Place.PULL, a.fileno(), user(SHOP))
    met = gates.Connection(Place.PULL, user(SHOP), os.fstat(a.fileno()).st_ino)
    assert gate.connections() == {a.fileno(): met}
    assert gate.meet(Place.OUT, 1_000_000, user(DESK)) == DESK.encode(), "gone already"
    assert gate.connections() == {a.fileno(): met}
    gate.subscribed(OUT, a.fileno(), user(DESK), b"a")
    assert gate.connections()[a.fileno()].key == DESK


def test_who_sends_more_prefixes_than_a_node_ever_would_is_cut(
    gate: Gate, ends: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libzmq keeps all that a connection sends until it leaves, also what is refused."""
    ours, theirs = ends
    monkeypatch.setattr(gates, "MAX_HELD_BYTES", 1_000)
    for number in range(20):
        gate.subscribed(Place.OUT, theirs.fileno(), user(DESK), b"desk/%02d\0" % number)
        gate.cancelled(Place.OUT, theirs.fileno(), user(DESK), b"desk/%02d\0" % number)
    assert not is_cut(ours), "what is cancelled makes room"
    grants = [passed(gate, "subscribed", theirs.fileno(), DESK, b"desk/%02d\0" % number) for number in range(20)]
    assert grants[0] == ((b"desk/00\0",), True, False) and grants[-1] == ((), False, True) and is_cut(ours)


def test_those_who_have_left_are_forgotten_and_nobody_else(gate: Gate, ends: Any) -> None:
    ours, theirs = ends
    stays, leaves = ours.fileno(), os.dup(theirs.fileno())
    for descriptor, serial in ((stays, 1), (leaves, 2)):
        gate.subscribed(Place.OUT, descriptor, user(DESK, serial), b"desk/1\0")
    gate.sweep()
    assert set(gate.connections()) == {stays, leaves}
    os.close(leaves)
    gate.sweep()
    assert set(gate.connections()) == {stays} and set(gate._held) == {(Place.OUT, stays)}
    assert not gate.left(Place.OUT, b"desk/1\0") and gate.left(Place.OUT, b"desk/1\0"), (
        "what it held is let go when libzmq says"
    )
    assert gate.is_held(Place.OUT, b"desk/1\0") is False
