"""Who gets what through which door of a proxy with keys: every kind of socket, with every kind of key, does each act.

    python -m tests.support.security_matrix        # plays it all, and writes the tables in docs/reference

`play` does it with plain sockets against a running proxy, and tells what happened; `by_rules` says what should have,
by `fabric.identity.rules` alone. Plain sockets: what is sent is not what our nodes would send, they would refuse it.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import zmq

from fabric import sockets
from fabric.core import entry
from fabric.identity.keys import new_pair
from fabric.protocol.markers import encode_marker, encode_rights_wanted
from fabric.protocol.views import Record
from fabric.proxy.proxy import Proxy
from fabric.rights import Permissions
from fabric.sockets import Curve
from fabric.wire import encode
from tests.support.keys import KeyFolder, stranger
from tests.support.processes import ROOT, free_base
from tests.support.waiting import until

PAGE = ROOT / "docs" / "reference" / "security-matrix.md"
START, END = "<!-- the tables: written by `python -m tests.support.security_matrix` -->", "<!-- end of the tables -->"
IDENTITIES = {"p1": "proxy", "p2": "proxy", "guest": "guest", "shop": "shop", "frame": "frame", "operator": "operator"}
ROLES = {"shop": {"publish": ["orders/#"], "subscribe": ["orders/#"], "request": ["stock"]}}
WHO = {
    "no key": "",
    "a stranger's": "",
    "own, for another mesh": "shop",
    "a proxy's": "p2",
    "a guest's": "guest",
    "role `shop`": "shop",
    "role `frame`": "frame",
    "role `operator`": "operator",
}
"""Columns: what is shown, and who has that right."""
AWAY, THROUGH, HEARS, NOTHING = "turned away", "**through**", "**hears it**", "nothing"


class Say(NamedTuple):
    """Something to publish.

    topic: with {me}, {other}, {operator} and {proxy} for tags and the proxy's incarnation
    as_other: under another's publisher id
    """

    words: str
    topic: str
    as_other: bool = False


class Hear(NamedTuple):
    """Something to subscribe to; whether it is held is tried by what `sender` says on `topic`."""

    words: str
    prefix: str
    sender: str
    topic: str


class Do(NamedTuple):
    """Another part to send at a subscriber's end."""

    words: str
    act: str


SAYINGS = (
    Say("publishes on `orders/1`", "orders/1"),
    Say("publishes on `secret/1`", "secret/1"),
    Say("publishes on `orders/1` under another's id", "orders/1", True),
    Say("answers another's marker", "$ack/{other}0-1/m"),
    Say("sends back its own watermark", "$ack/{me}0/w"),
    Say("sends back another's watermark", "$ack/{other}0/w"),
    Say("tells another its rights", "$ack/{other}0/r"),
    Say("asks a publisher for what it lost of `orders/1`", "$repair/{other}00000000/{me}0/orders/1"),
    Say("asks a publisher for what it lost of `secret/1`", "$repair/{other}00000000/{me}0/secret/1"),
    Say("asks a publisher for what another lost", "$repair/{other}00000000/{other}0/orders/1"),
    Say("sends another what that lost", "$ack/{other}0/p"),
    Say("asks a proxy", "$ack/{proxy}/q"),
    Say("asks all nodes of a proxy", "$fabric/proxy/p1/ask"),
    Say("announces a proxy", "$fabric/proxy/p1"),
    Say("writes in the audit", "$fabric/audit/p1/cut"),
    Say("asks for service `stock`", "$inbox/{other}0/requests/stock"),
    Say("asks for service `frame`", "$inbox/{other}0/requests/frame"),
    Say("says that it serves `frame`", "$fabric/service/frame/{me}0"),
    Say("says that another serves `frame`", "$fabric/service/frame/{other}0"),
    Say("speaks as the frame of another's page", "~pagesession/{other}0/s/frame/state"),
    Say("speaks in another's page", "~pagesession/{other}0/s/form"),
    Say("speaks as a gateway", "$site_connect/gateways"),
)
HEARINGS = (
    Hear("subscribes to everything", "", "operator", "plain/1"),
    Hear("subscribes to `orders/`", "orders/", "operator", "orders/1"),
    Hear("subscribes to `secret/`", "secret/", "operator", "secret/1"),
    Hear("subscribes to the beginning of `secret/`", "se", "operator", "secret/1"),
    Hear("subscribes to another's inbox", "$inbox/{other}0", "operator", "$inbox/{other}0/replies"),
    Hear("subscribes to all inboxes", "$inbox/", "operator", "$inbox/{other}0/replies"),
    Hear("subscribes to another's watermarks", "$ack/{other}0", "frame", "$ack/{other}0/w"),
    Hear(
        "subscribes to what another is asked for",
        "$repair/{other}",
        "operator",
        "$repair/{other}00000000/{operator}0/orders/1",
    ),
    Hear("subscribes to another's page", "~pagesession/{other}0/", "frame", "~pagesession/{other}0/s/form"),
    Hear("subscribes to what gateways say", "$site_connect/", "frame", "$site_connect/gateways"),
    Hear("subscribes to the audit", "$fabric/audit/", "", "$fabric/audit/p1/publish_denied"),
)
DOINGS = (
    Do("cancels what another holds", "cancel"),
    Do("sends a marker, as a node does", "marker"),
    Do("sends a marker with a proxy's record", "record"),
    Do("claims what another holds", "claim"),
    Do("sends a part that is no subscription", "part"),
)
DOORS = {"in": SAYINGS, "out": (*HEARINGS, *DOINGS), "link": (*HEARINGS, *DOINGS), "guest": (*HEARINGS, *DOINGS)}
OTHER = "frame"
"""Whose things others are after. For itself it is the operator."""


class Table(NamedTuple):
    """What happened at one door: by act and what was shown."""

    door: str
    cells: dict[tuple[str, str], str]


class Peer:
    """A plain socket at a door; `admitted` says how its handshake ended."""

    def __init__(self, world: World, door: str, curve: Curve | None) -> None:
        self.door = door
        kind = zmq.PUSH if door == "in" else zmq.XSUB
        self.socket: sockets.Socket = world.context.socket(kind)
        self.socket.setsockopt(zmq.SNDHWM, 0)
        sockets.with_keys(self.socket, curve)
        events = sockets.monitor(world.context, self.socket, zmq.EVENT_HANDSHAKE_SUCCEEDED | sockets.FAILED_EVENTS)
        self.socket.connect(world.endpoint(door))
        event = until(lambda: next(iter(sockets.events_of(events)), None), "yes or no")[0]
        self.socket.disable_monitor()
        events.close()
        self.admitted = event == zmq.EVENT_HANDSHAKE_SUCCEEDED

    def heard(self) -> list[bytes]:
        found = []
        while self.socket.poll(0):
            found.append(self.socket.recv())
        return found

    def close(self) -> None:
        self.socket.close(0)


class World:
    """A proxy with keys, and a link that hears all that enters it."""

    def __init__(self, folder: Path) -> None:
        self.folder = KeyFolder(folder, IDENTITIES, ROLES)
        self.permissions = {each.name: each for each in self.folder.rules().permissions().values()}
        self.serial = itertools.count(1)
        self.phantoms: list[str] = []
        self.context = sockets.new_context()
        self.proxy = Proxy(free_base(), name="p1", keys=self.folder.keys("p1"), settle_s=0.1)
        self.proxy.start()
        assert self.proxy.wait_ready(30)
        self.link = Peer(self, "link", self.folder.curve("p2"))
        self.link.socket.send(b"\x01")
        self.senders = {who: Peer(self, "in", self.folder.curve(who)) for who in ("operator", "frame", "shop")}
        self.holder = Peer(self, "out", self.folder.curve("operator"))
        self.holder.socket.send(b"\x01held/")
        self.fence(self.holder, "operator")

    def close(self) -> None:
        self.context.destroy(linger=0)
        self.proxy.close()

    def endpoint(self, door: str) -> str:
        endpoints = self.proxy.endpoints
        return {"in": endpoints.ingress, "out": endpoints.out, "link": endpoints.link, "guest": endpoints.guest}[door]

    def curve(self, shown: str) -> Curve | None:
        if shown == "no key":
            return None
        if shown == "a stranger's":
            return stranger(self.folder)
        own = self.folder.curve(WHO[shown])
        return own._replace(server=new_pair()[0]) if "another mesh" in shown else own

    def fill(self, text: str, me: str) -> str:
        other = OTHER if me != OTHER else "operator"
        tags = {"me": self.folder.tag(me) if me else "00000000", "other": self.folder.tag(other)}
        tags["operator"] = self.folder.tag("operator")
        return text.format(**tags, proxy=self.proxy.ready_line()["name"])

    def part(self, topic: str, who: str, word: str) -> bytes:
        publisher = int(self.folder.tag(who) + "00000001", 16) if who else 1
        body = encode("x", publisher, 1, time.time_ns(), word).partition(b"\0")[2]
        return topic.encode() + b"\0" + body

    def phantom(self) -> str:
        """The name of a proxy that does not exist, and was never named before."""
        self.phantoms = [f"phantom-{next(self.serial)}"]
        return self.phantoms[0]

    def knows_a_phantom(self) -> bool:
        """Whether the one named last was taken in."""
        return any(name in self.proxy._membership.peers for name in self.phantoms)

    def word(self) -> str:
        """One that was never said before."""
        return f"word {next(self.serial)}."

    def refused(self) -> dict[str, int]:
        """What was refused so far, by kind; read when all that was sent before has been."""
        return {**self.proxy._plumbing.counts().refused, **self.proxy.refused}

    def fence(self, peer: Peer, who: str) -> list[bytes]:
        """Wait until all that this peer sent was read, and all that was said before has reached it; return what did."""
        word = self.word()
        if peer.door == "in":
            peer.socket.send(self.part("$fabric/who", who, word))
            return self.hear(self.link, word)
        topic = f"$fabric/who/{word}"
        peer.socket.send(b"\x01" + topic.encode() + b"\0")
        found: list[bytes] = []

        def said() -> bool:
            self.senders["operator"].socket.send(self.part(topic, "operator", word))
            peer.socket.poll(20)
            found.extend(peer.heard())
            return any(word.encode() in part for part in found)

        until(said, "the fence is heard")
        return found

    def hear(self, peer: Peer, word: str) -> list[bytes]:
        found: list[bytes] = []

        def heard() -> bool:
            peer.socket.poll(20)
            found.extend(peer.heard())
            return any(word.encode() in part for part in found)

        until(heard, f"{word!r} is heard")
        return found


# ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────────────


def play(world: World, door: str, shown: str) -> dict[str, str]:
    """Do every act at a door; return what happened, by act."""
    who = WHO[shown]
    peer = Peer(world, door, world.curve(shown))
    try:
        if not peer.admitted:
            return _turned_away(world, peer, door, who)
        acts: dict[type, Callable[[World, Peer, str, tuple[str, ...]], str]] = {Say: _say, Hear: _hear, Do: _do}
        found = {}
        for act in DOORS[door]:
            found[act.words] = acts[type(act)](world, peer, who, tuple(act))  # type: ignore[arg-type]
        return found
    finally:
        peer.close()


def _turned_away(world: World, peer: Peer, door: str, who: str) -> dict[str, str]:
    """It sends all the same; nothing may arrive, there or anywhere."""
    word = world.word()
    for act in DOORS[door]:
        with contextlib.suppress(zmq.Again):
            if isinstance(act, Say):
                peer.socket.send(world.part(world.fill(act.topic, who), who, word), zmq.NOBLOCK)
            elif isinstance(act, Hear):
                peer.socket.send(b"\x01" + world.fill(act.prefix, who).encode(), zmq.NOBLOCK)
            else:
                for part in _parts(world, who, act.act):
                    peer.socket.send(part, zmq.NOBLOCK)
    said = world.word()
    world.senders["operator"].socket.send(world.part("orders/1", "operator", said))
    everything = world.hear(world.link, said)
    assert not any(word.encode() in part for part in everything) and not peer.socket.poll(50)
    assert not world.knows_a_phantom()
    return dict.fromkeys((act.words for act in DOORS[door]), AWAY)


def _say(world: World, peer: Peer, who: str, act: tuple[str, ...]) -> str:
    say, word, before = Say(*act), world.word(), world.refused()  # type: ignore[arg-type]
    other = OTHER if who != OTHER else "operator"
    peer.socket.send(world.part(world.fill(say.topic, who), other if say.as_other else who, word))
    if any(word.encode() in part for part in world.fence(peer, who)):
        return THROUGH
    return _kind(world, before)


def _hear(world: World, peer: Peer, who: str, act: tuple[str, ...]) -> str:
    hear, before = Hear(*act), world.refused()
    prefix = world.fill(hear.prefix, who).encode()
    peer.socket.send(b"\x01" + prefix)
    world.fence(peer, who)
    refused = _kind(world, before)
    sender, topic, word = hear.sender, world.fill(hear.topic, who), world.word()
    if who == sender == OTHER and "{other}" in hear.topic:
        sender = "operator"  # whose it is
    if not sender:  # the proxy itself, of what it refuses
        word = topic
        world.senders["shop"].socket.send(world.part("secret/1", "shop", "for the audit"))
    else:
        world.senders[sender].socket.send(world.part(topic, sender, word))
    world.hear(world.link, word)
    came = any(word.encode() in part for part in world.fence(peer, who))
    peer.socket.send(b"\x00" + prefix)
    return HEARS if came else refused


def _parts(world: World, who: str, act: str) -> list[bytes]:
    token = (world.folder.tag(who) if who else "00000000") + "0"
    phantom = Record(world.phantom(), "0" * 32, f"tcp://127.0.0.{next(world.serial) % 200 + 2}:9")
    marker = {
        "marker": encode_marker(f"{token}-1", b"nonce", None),
        "record": encode_marker(f"{token}-1", b"nonce", phantom),
        "claim": encode_marker(f"{token}-1", b"nonce", None, [b"held/"]),
    }
    if act == "cancel":
        return [b"\x00held/"] * 2
    if act == "part":
        return [b"no subscription"]
    return [b"\x01$ack/" + token.encode(), b"\x01" + marker[act], b"\x00" + marker[act]]


def _do(world: World, peer: Peer, who: str, act: tuple[str, ...]) -> str:
    do, before = Do(*act), world.refused()
    parts = _parts(world, who, do.act)
    if peer.door == "link" and do.act not in ("cancel", "part"):
        parts = [parts[0], parts[1][1:]]  # as proxies send it: there nobody needs to be told apart
    for part in parts:
        peer.socket.send(part)
    if do.act == "part" and peer.door != "link":
        return _is_turned_away(world, peer, before)
    heard = world.fence(peer, who)
    if peer.door == "out":
        token = world.folder.tag(who) + "1"
        wanted = encode_rights_wanted(token)
        for part in (b"\x01$ack/" + token.encode(), b"\x01" + wanted, b"\x00" + wanted):
            peer.socket.send(part)
        heard += world.hear(peer, f"$ack/{token}/r")  # the control thread has seen to all that came before
    elif peer.door == "link" and do.act in ("record", "claim") and not any(b"/m\0" in part for part in heard):
        heard += world.hear(peer, "/m\0")
    word = world.word()
    world.senders["operator"].socket.send(world.part("held/1", "operator", word))
    world.hear(world.holder, word)  # or the test ends here: it was taken away from who holds it
    if do.act == "record" and world.knows_a_phantom():
        return "**taken in**"
    if any(b"/m\0" in part for part in heard):
        return "answered"
    return _kind(world, before)


def _is_turned_away(world: World, peer: Peer, before: dict[str, int]) -> str:
    """Who sent that is cut, and turned away for a while; return what was counted. After that it may come again."""
    until(lambda: _kind(world, before) != NOTHING, "it is counted")
    assert world.proxy._guard and world.proxy._guard._doorkeeper
    barred = world.proxy._guard._doorkeeper._barred
    until(lambda: barred, "its key is barred")
    barred.clear()
    return _kind(world, before) + ", and cut"


def _kind(world: World, before: dict[str, int]) -> str:
    """What was counted as refused since; the control thread may be a little behind the switch."""
    new = [kind for kind, count in world.refused().items() if count > before.get(kind, 0) and kind != "handshake"]
    return f"refused: `{new[0]}`" if new else NOTHING


# ── what should happen ───────────────────────────────────────────────────────────────────────────────────────────────


def by_rules(world: World, door: str, shown: str) -> dict[str, str]:
    """Return what the rules say of every act at a door."""
    who = WHO[shown]
    identity = world.folder.rules().identities.get(who)
    if identity is None or "another mesh" in shown or not identity.may_enter(door):
        return dict.fromkeys((act.words for act in DOORS[door]), AWAY)
    may = world.permissions[who]
    return {act.words: _rule(world, door, may, act) for act in DOORS[door]}


def _rule(world: World, door: str, may: Permissions, act: Say | Hear | Do) -> str:
    if isinstance(act, Say):
        topic = world.fill(act.topic, may.name)
        if entry.refusal(topic.encode() + b"\0", 0):
            return "refused: `system`"
        if may.why_not_publish(topic) is not None:
            return "refused: `not_allowed`"
        return "refused: `forged`" if act.as_other else THROUGH
    if isinstance(act, Hear):
        allowed = door == "link" or may.granted(world.fill(act.prefix, may.name).encode())
        if not allowed:
            return "refused: `not_allowed`"
        # In place of everything come topics without a sign; these are the only ones tried with it.
        return HEARS
    return {
        "cancel": NOTHING,
        "marker": "refused: `guest`" if door == "guest" else "answered",
        "record": {"guest": "refused: `guest`", "out": "refused: `sender`"}.get(door, "**taken in**"),
        "claim": {"guest": "refused: `guest`", "out": "refused: `claims`"}.get(door, "answered"),
        "part": "refused: `not_control`" + (", and cut" if door != "link" else ""),
    }[act.act]


# ── the page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        found = World(Path(folder) / "keys")
        try:
            yield found
        finally:
            found.close()


def tables(played: dict[tuple[str, str], dict[str, str]]) -> str:
    """Return the tables, in Markdown. played: by door and what was shown"""
    lines: list[str] = []
    for door, acts in DOORS.items():
        lines += [f"### At `{door}`", "", f"| it | {' | '.join(WHO)} |", "|---" * (1 + len(WHO)) + "|"]
        lines += [f"| {act.words} | {' | '.join(played[door, shown][act.words] for shown in WHO)} |" for act in acts]
        lines.append("")
    return "\n".join(lines).strip()


def written() -> str:
    """Return the tables as the page has them."""
    return PAGE.read_text(encoding="utf-8").split(START)[1].split(END)[0].strip()


def main() -> None:
    with world() as found:
        made = tables({(door, shown): play(found, door, shown) for door in DOORS for shown in WHO})
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    PAGE.write_text(f"{before}{START}\n\n{made}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
