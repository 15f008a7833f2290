"""The guard: rights that are told, rules that are read again, who is cut, and what the audit hears.

First by a clock of the test and socket pairs in the place of peers; then a proxy, with nodes that lose their rights.
"""

from __future__ import annotations

import os
import socket as plain_socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zmq.utils.z85 import decode

from fabric import Node, Proxy, sockets
from fabric.core.steering import Place
from fabric.errors import KeysError, NotAllowed
from fabric.identity.doorkeeper import ENDPOINT
from fabric.proxy.guard import BAR_S, LOOK_S, PATIENCE_S, Guard
from tests.support.keys import KeyFolder
from tests.support.processes import free_base
from tests.support.waiting import Box, until

ROLES = {"shop": {"publish": ["orders/#"], "subscribe": ["orders/#", "price/#"]}}
WHO = {"p1": "proxy", "p2": "proxy", "op": "operator", "shop": "shop", "desk": "shop", "bi": "guest"}


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys", WHO, ROLES)


class Hand:
    """A guard, what it told, and peers that it can cut."""

    def __init__(self, folder: KeyFolder) -> None:
        self.folder, self.told = folder, Box()
        self.guard = Guard(folder.keys("p1"), self.told)
        self.pairs: list[tuple[Any, Any]] = []

    def meet(self, place: Place, who: str) -> Any:
        """A peer is met at a place; return its end."""
        pair = plain_socket.socketpair()
        pair[1].setblocking(False)
        self.pairs.append(pair)
        self.guard.gate.meet(place, pair[0].fileno(), self.user(who, pair[0]))
        return pair[1]

    def user(self, who: str, end: Any) -> bytes:
        return f"{end.fileno():016x}{self.folder.pairs[who][0]}".encode()

    def subscribe(self, end: Any, who: str, prefix: bytes) -> None:
        ours = next(a for a, b in self.pairs if b is end)
        assert self.guard.gate.subscribed(Place.OUT, ours.fileno(), self.user(who, ours), prefix).prefixes

    def events(self) -> list[str]:
        return [event["event"] for event in self.told.items]

    def close(self) -> None:
        for pair in self.pairs:
            for end in pair:
                end.close()


@pytest.fixture
def hand(folder: KeyFolder) -> Iterator[Hand]:
    found = Hand(folder)
    yield found
    found.close()


def is_cut(end: Any) -> bool:
    try:
        return bool(end.recv(1) == b"")
    except BlockingIOError:
        return False


def change(folder: KeyFolder, **rights: list[str]) -> None:
    folder.roles["shop"] = rights
    folder.write()


def listen(hand: Hand, folder: KeyFolder, name: str, token: str) -> None:
    """A node of this identity listens to what is addressed to it."""
    user = b"0" * 16 + folder.pairs[name][0].encode()
    assert hand.guard.gate.subscribed(Place.OUT, 1_000, user, f"$ack/{token}".encode()).prefixes


def test_who_asks_is_told_its_rights_and_told_again_when_they_change(hand: Hand, folder: KeyFolder) -> None:
    token, other = folder.tag("shop") + "0" * 24, folder.tag("op") + "0" * 24
    told = hand.guard.rights_wanted(token)
    assert told["name"] == "shop" and told["rights"]["publish"] == ["orders/#"] and told["mesh"] == [folder.mesh[0]]
    assert hand.guard.rights_wanted(other)["name"] == "op"
    assert hand.guard.rights_wanted("deadbeef" + "0" * 24) == {}
    change(folder, publish=["x"])
    assert hand.guard.look(0.0) == [], "nobody listens: what anybody may ask in anybody's name is not remembered"
    listen(hand, folder, "shop", token)
    listen(hand, folder, "op", other)
    for each in (token, other, token):
        hand.guard.rights_wanted(each)
    change(folder, publish=["y"])
    assert hand.guard.look(LOOK_S) == [token], "nobody else's have changed"
    hand.guard.node_left(token)
    hand.guard.node_left(token)
    change(folder, publish=["z"])
    assert hand.guard.look(3 * LOOK_S) == []


def test_what_is_let_in_all_the_same_is_told_so_and_nothing_else(folder: KeyFolder) -> None:
    told: list[dict[str, Any]] = []
    guard = Guard(folder.keys("p1"), told.append, observe=True)
    guard.gate.denied(Place.PULL, b"0" * 16 + folder.pairs["shop"][0].encode(), b"secret/x")
    guard.gate.spoke(Place.OUT, 1_000, b"0" * 16 + folder.pairs["shop"][0].encode(), b"\x02x")
    guard.tell_news(0.0)
    folder.write("mesh = 1")
    assert guard.look(1.0) is None
    assert [(each["event"], each["why"].endswith("no such right; let in all the same")) for each in told] == [
        ("publish_denied", True), ("control_denied", False), ("rules_refused", False)
    ]  # fmt: skip


def test_of_one_key_only_so_many_nodes_are_told(hand: Hand, folder: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabric.proxy.guard.MAX_NODES_OF_ONE", 2)
    tokens = [folder.tag("shop") + f"{number:024x}" for number in range(3)]
    for token in tokens:
        listen(hand, folder, "shop", token)
        assert hand.guard.rights_wanted(token)["name"] == "shop"
    change(folder, publish=["x"])
    assert hand.guard.look(0.0) == tokens[:2]
    hand.guard.node_left(tokens[0])
    hand.guard.rights_wanted(tokens[2])
    change(folder, publish=["y"])
    assert hand.guard.look(LOOK_S) == tokens[1:]


def test_the_file_is_looked_at_now_and_then_and_read_when_it_changed(hand: Hand, folder: KeyFolder) -> None:
    assert hand.guard.look(0.0) is None
    change(folder, publish=["x"])
    assert hand.guard.look(LOOK_S / 2) is None, "not yet"
    assert hand.guard.look(LOOK_S) == [] and hand.guard.counts["reloaded"] == 1
    assert hand.guard.look(9.0) is None
    assert hand.guard.look(9.0, asked=True) == [], "asked, it is read though it did not change"
    assert hand.events() == ["rules_reloaded", "rules_reloaded"]


@pytest.mark.parametrize("wrong", ["mesh = [", "", "gone", "without this proxy", "this one is no proxy"])
def test_a_wrong_file_changes_nothing_and_is_told_once(hand: Hand, folder: KeyFolder, wrong: str) -> None:
    good = folder.text()
    path = folder.path / "keys.toml"
    if wrong == "gone":
        path.unlink()
    elif wrong == "without this proxy":
        folder.write(good.replace("[identities.p1]", "[identities.p9]").replace(folder.pairs["p1"][0], "x" * 40))
    elif wrong == "this one is no proxy":
        folder.write(good.replace('roles = ["proxy"]', 'roles = ["operator"]', 1))
    else:
        folder.write(wrong)
    for now in (0.0, 1.0, 2.0):
        assert hand.guard.look(now) is None
    assert hand.guard.figures()["rules_stale"] and hand.guard.counts["refused_file"] == 1
    assert hand.events() == ["rules_refused"] and hand.told.items[0]["why"] == hand.guard.problem
    assert hand.guard.rights_wanted(folder.tag("shop"))
    folder.write(good)
    assert hand.guard.look(3.0) == [] and not hand.guard.figures()["rules_stale"]


def test_a_proxy_does_not_begin_with_rules_that_cannot_be_used(folder: KeyFolder) -> None:
    folder.write("mesh = 1")
    with pytest.raises(KeysError, match=r"keys\.toml: mesh: invalid keys 1"):
        Guard(folder.keys("p1"), lambda event: None)


def test_who_was_revoked_is_cut_at_once_and_nobody_else(hand: Hand, folder: KeyFolder) -> None:
    places = (Place.PULL, Place.OUT, Place.GUEST)
    revoked = [hand.meet(place, "shop") for place in places] + [hand.meet(Place.LINK, "p2")]
    others = [hand.meet(place, "desk") for place in places] + [hand.meet(Place.LINK, "p1")]
    del folder.identities["p2"]
    folder.revoke("shop")
    hand.guard.look(0.0)
    hand.guard.cut(0.0)
    assert all(map(is_cut, revoked)) and not any(map(is_cut, others))
    assert hand.guard.counts["cut"] == 4
    told = [(event["event"], event.get("who"), event.get("door")) for event in hand.told.items]
    assert [event for event in told if event[0] == "cut"] == [
        ("cut", name, door) for name, door in (("shop", "in"), ("shop", "out"), ("shop", "guest"), ("p2", "link"))
    ]
    assert {event for event in told if event[0] == "key_revoked"} == {
        ("key_revoked", "shop", None),
        ("key_revoked", "p2", None),
    }
    hand.guard.cut(PATIENCE_S)
    hand.guard.cut(100.0)
    assert not any(map(is_cut, others))


def test_whose_role_does_not_enter_any_more_is_cut(hand: Hand, folder: KeyFolder) -> None:
    out, guest = hand.meet(Place.OUT, "desk"), hand.meet(Place.GUEST, "desk")
    folder.identities["desk"] = ["guest"]
    folder.write()
    hand.guard.look(0.0)
    hand.guard.cut(0.0)
    assert is_cut(out) and not is_cut(guest)


def test_who_holds_too_much_has_a_moment_to_let_go(hand: Hand, folder: KeyFolder) -> None:
    greedy, honest, fine = (hand.meet(Place.OUT, who) for who in ("shop", "desk", "op"))
    for end, who in ((greedy, "shop"), (honest, "desk"), (fine, "op")):
        hand.subscribe(end, who, b"price/")
    hand.subscribe(honest, "desk", b"orders/")
    change(folder, subscribe=["orders/#"])
    hand.guard.look(0.0)
    hand.guard.cut(0.0)
    assert not is_cut(greedy)
    ours = next(a for a, b in hand.pairs if b is honest)
    hand.guard.gate.cancelled(Place.OUT, ours.fileno(), hand.user("desk", ours), b"price/")
    hand.guard.cut(PATIENCE_S)
    assert is_cut(greedy) and not is_cut(honest) and not is_cut(fine)
    assert hand.told.items[-1] == {"event": "cut", "who": "shop", "door": "out", "why": "its rights have shrunk"}


def test_what_one_held_who_has_gone_is_not_laid_to_who_has_its_descriptor_now(hand: Hand, folder: KeyFolder) -> None:
    end = hand.meet(Place.OUT, "shop")
    hand.subscribe(end, "shop", b"price/")
    ours = hand.pairs[0][0]
    hand.guard.gate.meet(Place.PULL, ours.fileno(), hand.user("op", ours))
    change(folder, subscribe=["orders/#"])
    hand.guard.look(0.0)
    hand.guard.cut(PATIENCE_S)
    assert not is_cut(end)


def test_a_descriptor_that_belongs_to_another_by_now_is_left_alone(hand: Hand, folder: KeyFolder) -> None:
    hand.meet(Place.OUT, "shop")
    ours, theirs = hand.pairs.pop()
    number = ours.fileno()
    ours.close()
    theirs.close()
    other = os.open("/dev/null", os.O_RDONLY)
    assert other == number or os.dup2(other, number) == number
    folder.revoke("shop")
    hand.guard.look(0.0)
    hand.guard.cut(0.0)
    assert hand.guard.counts["cut"] == 0
    for descriptor in {other, number}:
        os.close(descriptor)


def test_what_was_denied_is_told_with_names_and_counted(hand: Hand, folder: KeyFolder) -> None:
    gate = hand.guard.gate
    shop = f"{1:016x}{folder.pairs['shop'][0]}".encode()
    gate.refusal(shop, b"secret/\xff", b"")
    gate.subscribed(Place.GUEST, 900, shop, b"secret/")
    gate.spoke(Place.OUT, 901, shop, b"\x02abc")
    gate.refusal(f"{2:016x}{'x' * 40}".encode(), b"a", b"")
    hand.guard.tell_news(0.0)
    shop_is = {"who": "shop", "why": "no such right"}
    assert hand.told.items == [
        {"event": "publish_denied", "door": "in", "topic": "secret/\ufffd", **shop_is},
        {"event": "subscribe_denied", "door": "guest", "topic": "secret/#", **shop_is},
        {"event": "control_denied", "door": "out", "topic": "\x02abc", "who": "shop", "why": "no part of a subscriber"},
        {"event": "publish_denied", "door": "in", "topic": "a", "who": "x" * 40, "why": "revoked, or unknown"},
    ]
    figures = hand.guard.figures()
    assert (figures["denied_publish"], figures["denied_subscribe"], figures["denied_control"]) == (2, 1, 1)
    folder.revoke("shop")
    hand.guard.look(0.0)
    gate.refusal(shop, b"orders/1", b"")
    hand.guard.tell_news(0.0)
    assert hand.told.items[-1] == {**hand.told.items[3], "topic": "orders/1", "who": "shop"}, "it had that name"


def test_who_connects_is_told_but_for_the_proxys_own_tries(hand: Hand, folder: KeyFolder) -> None:
    context = sockets.new_context()
    hand.guard.open(context)
    asking = sockets.asking(context, ENDPOINT)
    for door, key in (("in", "shop"), ("link", "shop"), ("in", "p1"), ("link", "p2")):
        raw = decode(folder.pairs[key][0].encode())
        asking.send_multipart([b"1.0", b"1", door.encode(), b"::1", b"", b"CURVE", raw])
        asking.recv_multipart()
    asking.close()
    hand.guard.tell_news(0.0)
    hand.guard.close()
    context.term()
    assert [(event["event"], event["who"], event["door"], event["from"]) for event in hand.told.items] == [
        ("connected", "shop", "in", "::1"),
        ("connection_refused", "shop", "link", "::1"),
        ("connected", "p2", "link", "::1"),
    ]
    assert hand.told.items[1]["why"] == "its roles (shop) do not enter here"


def test_who_sends_what_nobody_may_is_turned_away_for_a_while(hand: Hand, folder: KeyFolder) -> None:
    context = sockets.new_context()
    hand.guard.open(context)
    keeper, key, other = hand.guard._doorkeeper, folder.pairs["shop"][0], folder.pairs["desk"][0]
    assert keeper is not None
    hand.guard.gate.spoke(Place.OUT, 901, f"{1:016x}{key}".encode(), b"\x02abc")
    hand.guard.gate.spoke(Place.OUT, 902, f"{2:016x}{'x' * 40}".encode(), b"\x02abc")
    hand.guard.tell_news(5.0)
    assert keeper.decide("out", "::1", b"CURVE", key, 5.0 + BAR_S - 0.1).why.startswith("it sent what nobody may")
    assert keeper.decide("out", "::1", b"CURVE", key, 5.0 + BAR_S).why == ""
    assert keeper.decide("out", "::1", b"CURVE", other, 6.0).why == ""
    hand.guard.close()
    context.term()


# --- a proxy


def test_new_rules_hold_within_a_second_for_who_is_connected(folder: KeyFolder) -> None:
    audit = Box()
    with folder.proxy("p1", on_audit=audit) as proxy:
        assert proxy.wait_ready(30)
        with folder.node(proxy, "shop") as shop, folder.node(proxy, "op") as op:
            box, denied = Box(), Box()
            op.subscribe("orders/#", box)
            shop.on_denied(lambda topic_filter, why: denied((topic_filter, why)))
            for topic_filter in ("orders/#", "price/#"):
                assert shop.wait_ack(shop.subscribe(topic_filter, lambda message: None), 10).ok
            shop.publish("orders/1", 1)
            box.wait()
            change(folder, publish=["price/#"], subscribe=["orders/#"])
            assert denied.wait()[0][0] == "price/#"
            with pytest.raises(NotAllowed, match="shop may not publish on 'orders/2'"):
                shop.publish("orders/2", 2)
            assert shop.wait_ack(shop.subscribe("orders/3", lambda message: None), 10).ok, "it was not cut"
            assert shop.stats()["reconnects"] == 0
            folder.revoke("shop")
            audit.wait_for(lambda events: any(event["event"] == "cut" for event in events), "it is cut")
            # The other way it may have closed by itself, by then.
            until(lambda: shop.state.state == "connecting" and "does not admit" in shop.state.reason, "it is told")
            assert op.state.state == "connected" and op.stats()["reconnects"] == 0
            shop.close(0)


def test_a_proxy_that_was_revoked_hears_no_more(folder: KeyFolder, tmp_path: Path) -> None:
    with folder.proxy("p1") as first:
        assert first.wait_ready(30)
        other = KeyFolder(tmp_path / "keys of p2", {})
        other.pairs, other.mesh = folder.pairs, folder.mesh
        other.identities, other.roles = dict(folder.identities), dict(folder.roles)
        other.write()  # it goes on by rules of its own
        keys = replace(folder.keys("p2"), folder=other.path)
        events = Box()
        join = [first.endpoints.base]
        with Proxy(free_base(), name="p2", keys=keys, settle_s=0.3, join=join, on_event=events) as second:
            assert second.wait_ready(30)
            with folder.node(first, "op") as here, Node(second.endpoints.base, keys=folder.keys("op")) as there:
                box = Box()
                assert there.wait_ack(there.subscribe("a", box), 10).covered == ("p1", "p2")
                here.publish("a", 1)
                box.wait()
                folder.revoke("p2")
                until(lambda: first.stats()["identity"].get("cut", 0) >= 1, "its link is cut")
                count = len(box)
                here.publish("a", 2)
                events.wait_for(lambda all_: any(each["event"] == "link_down" for each in all_), "it has lost the link")
                assert len(box) == count
