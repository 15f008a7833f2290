"""The switch, compiled and in plain Python: the same tests, and the same arbitrary frames, for both."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from fabric import sockets
from fabric.core import _retained, _switch, retained, steering, switch
from fabric.core.gate import Gate, Grant
from fabric.core.retained import address_of
from fabric.core.steering import MAX_AHEAD, PART_BYTES, Counts, Place
from fabric.identity.doorkeeper import Doorkeeper
from fabric.protocol.markers import answer_topic, decode_marker, encode_marker
from fabric.protocol.views import Record
from fabric.wire import decode
from tests.support.keys import KeyFolder
from tests.support.retained import retained_part
from tests.support.waiting import until

TOKEN = "0123-1"
OWN, NEWS = b"$ack/me/", b"$fabric/proxy/"
MAX_BODY = 1_000
BUILDS = {"plain": switch.Switch, "compiled": _switch.Switch}
TABLES = {"plain": retained.Table, "compiled": _retained.Table}


zmq.Frame(b"weighed", copy=False, track=True)  # pyzmq begins a thread for these, once, and keeps it


class Board:
    """A running switch, plain sockets around it, and its control thread's end.

    keys: of a proxy with keys; what connects shows one of them, see `connected`
    """

    def __init__(
        self, build: str, folder: Path, spin_us: int = 0, keys: KeyFolder | None = None, pause_bytes: int = 0
    ) -> None:
        self.folder = folder
        folder.mkdir()
        self.context = context = sockets.new_context()
        inner, self.control = sockets.pair(context, "inproc://control")
        pull, relay = sockets.pull(context, recv_hwm=0), sockets.relay_in(context)
        out, link, guest = (sockets.xpub(context, send_hwm=0) for _ in range(3))
        self.keys = keys
        secret = keys.mesh[1] if keys is not None else None
        rules = keys.rules() if keys is not None else None
        self.gate = Gate(rules.permissions()) if rules is not None else None
        self.doorkeeper = Doorkeeper(context, rules) if rules is not None else None
        for name, socket in (("in", pull), ("out", out), ("link", link), ("guest", guest)):
            sockets.guarded(socket, secret, name, by_hand=name in ("out", "guest"))
            sockets.bind(socket, self.endpoint(name), max_part_bytes=100_000)
        self.switch = BUILDS[build](
            (inner, pull, out, relay, link, guest),
            own=OWN,
            news=NEWS,
            max_body_bytes=MAX_BODY,
            spin_us=spin_us,
            gate=self.gate,
            pause_bytes=pause_bytes,
            retained=TABLES[build](1_000, 1 << 30),
        )
        self.result: list[int] = []
        self.thread = threading.Thread(target=lambda: self.result.append(self.switch.run()), daemon=True)
        self.thread.start()
        self.control.rcvtimeo = 20_000
        self.serial = 0
        self.peer = self.make(zmq.XPUB, "peer")
        """Another proxy's link, to which the relay is connected."""
        self.peer.bind(self.endpoint("peer"))
        self.tell(steering.connect(Place.RELAY, self.endpoint("peer")))
        self.publisher = self.connected(zmq.PUSH, "in")

    def endpoint(self, name: str) -> str:
        return f"ipc://{self.folder}/{name}"

    def make(self, kind: int, name: str) -> sockets.Socket:
        socket: sockets.Socket = self.context.socket(kind)
        socket.linger, socket.rcvtimeo, socket.sndhwm, socket.rcvhwm = 0, 20_000, 0, 0
        return socket

    def connected(self, kind: int, name: str, who: str = "") -> sockets.Socket:
        """who: of the keys; default: one who may enter there"""
        socket = self.make(kind, name)
        if self.keys is not None:
            sockets.with_keys(socket, self.keys.curve(who or ("p1" if name == "link" else "op")))
        socket.connect(self.endpoint(name))
        return socket

    def subscriber(self, name: str, *prefixes: bytes, who: str = "") -> sockets.Socket:
        """One at `out`, `link` or `guest` that has subscribed when this returns."""
        socket = self.connected(zmq.XSUB, name, who)
        before = self.counts().prefixes[name]
        for prefix in prefixes:
            socket.send(b"\x01" + prefix)
        until(lambda: self.counts().prefixes[name] >= before + len(prefixes), f"it has subscribed at {name}")
        return socket

    def counts(self) -> Counts:
        return self.switch.counts()

    def tell(self, command: bytes) -> None:
        self.control.send(command)

    def reports(self) -> list[bytes]:
        """All reports so far: an echo comes behind them."""
        self.serial += 1
        word = b"%d" % self.serial
        self.tell(steering.echo(word))
        found: list[bytes] = []
        while (report := self.control.recv()) != b"\0E" + word:
            found.append(report)
        self.switch.heard += len(found) + 1
        return found

    def upstream(self) -> list[bytes]:
        """What has left by the relay; behind it, what `send` sent there."""
        self.serial += 1
        word = b"\x02end %d" % self.serial
        self.tell(steering.send(Place.RELAY, word))
        found: list[bytes] = []
        while (part := self.peer.recv()) != word:
            found.append(part)
        return found

    def link_up(self) -> None:
        """Until the relay hears the peer: it subscribes to everything."""
        self.tell(steering.send(Place.RELAY, b"\x01"))
        until(lambda: self.peer.poll(10) and self.peer.recv() == b"\x01", "the relay has subscribed at the peer")

    def close(self) -> None:
        if self.thread.is_alive():
            self.tell(steering.END)
        self.thread.join(20)
        assert not self.thread.is_alive()
        if self.doorkeeper is not None:
            self.doorkeeper.close()
        self.context.destroy(linger=0)


@pytest.fixture(params=BUILDS)
def board(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Board]:
    found = Board(request.param, tmp_path / "board")
    yield found
    found.close()
    assert found.result == [0]


def received(socket: sockets.Socket, last: bytes) -> list[bytes]:
    """All that comes up to `last`, without it."""
    found = []
    while (part := socket.recv()) != last:
        found.append(part)
    return found


PLAIN = encode_marker(TOKEN, b"nonce", None)
HEADS = {Place.OUT: (b"at out ", b" end"), Place.LINK: (b"at link ", b" END")}


def make_ready(board: Board) -> None:
    for place, (head, tail) in HEADS.items():
        board.tell(steering.answer_with(place, head, tail))
    board.reports()


def queue_at(board: Board, size: int, count: int) -> sockets.Socket:
    """Have so many parts wait for a subscriber that reads nothing; return it."""
    stalled = board.make(zmq.XSUB, "out")
    stalled.rcvhwm = 1
    stalled.connect(board.endpoint("out"))
    before = board.counts().prefixes["out"]
    stalled.send(b"\x01q/")
    until(lambda: board.counts().prefixes["out"] > before, "it has subscribed")
    for _ in range(count):
        board.publisher.send(b"q/x\0" + bytes(size))
    return stalled


@pytest.mark.parametrize("size", [20, 900])
def test_what_waits_for_a_reader_is_counted_in_bytes_until_it_is_let_go(board: Board, size: int) -> None:
    count = 2_000_000 // (size + PART_BYTES)
    until(lambda: board.counts().prefixes["out"] == 0 and board.counts().queued == 0, "nothing waits")
    stalled = queue_at(board, size, count)
    until(lambda: board.counts().parts["in"] == count, "all have come in")
    assert 1_000_000 < board.counts().queued < 2_500_000, "2 MB, less what the system has taken"
    stalled.close()
    until(lambda: board.counts().queued < 100_000, "it is let go with its reader")


def test_what_nobody_waits_for_is_not_counted(board: Board) -> None:
    reader = board.subscriber("out", b"q/")
    for _ in range(1_000):
        board.publisher.send(b"q/x\0" + bytes(900))
        board.publisher.send(b"other\0" + bytes(900))
    for _ in range(1_000):
        reader.recv()
    until(lambda: board.counts().queued == 0, "all was let go")


@pytest.mark.parametrize("build", BUILDS)
def test_while_too_much_waits_publishers_wait_and_commands_do_not(tmp_path: Path, build: str) -> None:
    with contextlib.closing(Board(build, tmp_path / "board", pause_bytes=500_000)) as board:
        stalled = queue_at(board, 900, 4_000)
        until(lambda: board.counts().queued > 500_000, "it is full")
        board.reports()
        taken = board.counts().parts["in"]
        board.reports()
        assert board.counts().parts["in"] == taken < 4_000, "nothing more is read"
        stalled.close()
        until(lambda: board.counts().parts["in"] == 4_000, "publishers go on")


def answer(place: Place) -> bytes:
    head, tail = HEADS[place]
    return answer_topic(TOKEN).encode() + b"\0" + head + b"\xc4\x05nonce" + tail


# --- streams


def test_what_publishers_say_goes_to_nodes_links_and_guests(board: Board) -> None:
    subscribers = [board.subscriber(name, b"a/") for name in ("out", "link", "guest")]
    for part in (b"a/1\0x", b"b\0x", b"a/2\0y"):
        board.publisher.send(part)
    for subscriber in subscribers:
        assert [subscriber.recv(), subscriber.recv()] == [b"a/1\0x", b"a/2\0y"]
    counts = board.counts()
    assert counts.parts == {"in": 3, "out": 3, "relay": 0, "guest": 3}
    assert counts.bytes == {"in": 13, "out": 13, "relay": 0, "guest": 13}
    assert counts.refused == {}


def test_what_comes_by_the_relay_goes_to_nodes_and_guests_and_to_no_link(board: Board) -> None:
    here, guest, link = (board.subscriber(name, b"") for name in ("out", "guest", "link"))
    board.link_up()
    board.peer.send(b"a\0far")
    assert here.recv() == guest.recv() == b"a\0far"
    board.publisher.send(b"a\0near")
    assert link.recv() == guest.recv() == b"a\0near", "and nothing before it"
    assert board.counts().parts == {"in": 1, "out": 1, "relay": 1, "guest": 2}


@pytest.mark.parametrize(("part", "kind"), [(b"a", "no_topic"), (b"a/#\0", "bad_topic"), (b"~/x\0", "local_scope")])
def test_what_may_not_enter_is_counted_by_kind(board: Board, part: bytes, kind: str) -> None:
    subscriber = board.subscriber("out", b"")
    for each in (part, b"a\0" + b"x" * (MAX_BODY + 1), b"$SYS/x\0", b"$ack/0/m\0", part, b"end\0"):
        board.publisher.send(each)
    assert subscriber.recv() == b"end\0"
    assert board.counts().refused == {kind: 2, "too_large": 1, "system": 2}
    assert board.counts().parts["in"] == 1


def test_parts_of_several_frames_are_refused_whole(board: Board) -> None:
    subscriber = board.subscriber("out", b"")
    board.publisher.send_multipart([b"a\0", b"b\0", b"c\0"])
    board.publisher.send(b"one\0")
    assert subscriber.recv() == b"one\0"
    board.link_up()
    board.peer.send_multipart([b"a\0", b"b\0"])
    board.peer.send(b"two\0")
    assert subscriber.recv() == b"two\0"
    assert board.counts().refused == {"several": 2}


def test_what_is_addressed_to_the_proxy_and_news_from_others_are_reported(board: Board) -> None:
    subscriber = board.subscriber("out", b"")
    board.reports()
    board.link_up()
    for part in (b"$ack/me/q\0x", NEWS + b"p1\0by a publisher", b"a\0"):
        board.publisher.send(part)
    received(subscriber, b"a\0")
    assert board.reports() == [b"\x01$ack/me/q\0x"]
    for part in (b"$ack/me/m\0x", NEWS + b"p1\0x", b"$ack/mean/m\0", b"a\0"):
        board.peer.send(part)
    received(subscriber, b"a\0")
    assert board.reports() == [b"\x03$ack/me/m\0x", b"\x03" + NEWS + b"p1\0x"]


# --- upstream


def test_subscriptions_and_markers_pass_on_in_their_order(board: Board) -> None:
    make_ready(board)
    board.link_up()
    node = board.connected(zmq.XSUB, "out")
    for part in (b"\x01$ack/0123", b"\x01a/", PLAIN, b"\x00a/", b"\x01b/", PLAIN):
        node.send(part)
    assert [node.recv(), node.recv()] == [answer(Place.OUT)] * 2
    assert board.upstream() == [b"\x01$ack/0123", b"\x01a/", PLAIN, b"\x00a/", b"\x01b/", PLAIN]
    assert board.reports() == [b"\x02\x01$ack/0123", b"\x02\x01a/", b"\x02\x00a/", b"\x02\x01b/"]
    counts = board.counts()
    assert counts.prefixes == {"out": 2, "link": 0, "guest": 0} and counts.answered == 2


def test_a_marker_at_a_link_is_answered_there_and_goes_no_further(board: Board) -> None:
    make_ready(board)
    board.link_up()
    relay = board.subscriber("link", b"$ack/0123-1/")
    relay.send(PLAIN)
    assert relay.recv() == answer(Place.LINK)
    assert board.upstream() == [] and board.reports() == []
    assert board.counts().prefixes["link"] == 1


def test_before_an_answer_is_ready_markers_are_reported(board: Board) -> None:
    node = board.connected(zmq.XSUB, "out")
    node.send(PLAIN)
    assert until(board.reports, "the marker") == [b"\x02" + PLAIN]
    assert board.counts().answered == 0


@pytest.mark.parametrize(("port", "place"), [("out", b"\x02"), ("link", b"\x04")])
def test_markers_with_news_are_reported_and_not_answered(board: Board, port: str, place: bytes) -> None:
    make_ready(board)
    node = board.subscriber(port, b"$ack/")
    board.reports()
    news = [encode_marker(TOKEN, b"n", Record("p", "0", "tcp://x:1")), encode_marker(TOKEN, b"n", None, [b"a/"])]
    for part in (*news, b"\x02garbage", PLAIN):
        node.send(part)
    node.recv()
    assert board.reports() == [place + part for part in (*news, b"\x02garbage")]
    assert board.counts().answered == 1


def test_a_new_answer_takes_the_place_of_the_old_one(board: Board) -> None:
    make_ready(board)
    node = board.subscriber("out", b"$ack/")
    for number in range(100):
        board.tell(steering.answer_with(Place.OUT, b"%d" % number * number, b"tail"))
    board.reports()
    node.send(PLAIN)
    assert node.recv() == b"$ack/0123-1/m\0" + b"99" * 99 + b"\xc4\x05noncetail"


def test_what_no_subscriber_should_send_is_counted_by_kind(board: Board) -> None:
    make_ready(board)
    board.link_up()
    for port in ("out", "link"):
        node = board.subscriber(port, b"$ack/")
        node.send(b"user message")
        node.send_multipart([b"\x02one", b"\x02two"])
        node.send(b"")
        node.send(PLAIN)
        node.recv()
    guest = board.subscriber("guest", b"a/")
    guest.send(b"\x02x")
    guest.send(b"y")
    until(lambda: board.counts().refused.get("guest") == 2, "guests are counted")
    refused = board.counts().refused
    assert refused == {"not_control": 4, "several": 2, "guest": 2}
    told = [report for report in board.reports() if report[1:2] == b"\x02"]
    assert told == [b"\x02\x02two", b"\x04\x02two"], "the last frame is a part for itself"
    assert board.upstream() == [b"\x01$ack/", PLAIN]


def test_where_it_turns_away_nothing_is_taken_and_all_else_goes_on(board: Board) -> None:
    node = board.subscriber("out", b"a/")
    board.publisher.send(b"a/before\0")
    assert node.recv() == b"a/before\0"
    for _ in range(2):
        board.tell(steering.turn_away(Place.PULL))
    board.reports()  # it has heard that
    for _ in range(3):
        board.publisher.send(b"a/behind\0")
    board.tell(steering.say(b"a/own\0"))
    assert node.recv() == b"a/own\0"
    board.reports()
    assert not node.poll(50) and board.counts().parts["in"] == 1


def test_what_guests_subscribe_to_is_only_reported(board: Board) -> None:
    board.link_up()
    board.subscriber("guest", b"a/").close(0)
    until(lambda: board.counts().prefixes["guest"] == 0, "it has gone")
    assert board.upstream() == []
    assert board.reports() == [b"\x05\x01a/", b"\x05\x00a/"]


# --- retained values

WANTING = encode_marker(TOKEN, b"nonce", None, wanted=[b"a/"])


def batch(node: sockets.Socket) -> dict[str, Any]:
    """The payload of the next part, which is a batch."""
    message = decode(node.recv(), max_payload_bytes=1 << 24)
    assert message.topic == f"$ack/{TOKEN}/t" and message.payload["nonce"] == b"nonce"
    found: dict[str, Any] = message.payload
    return found


@pytest.mark.parametrize("door", ["out", "link"])
def test_a_marker_that_wants_retained_values_is_answered_behind_them(board: Board, door: str) -> None:
    make_ready(board)
    board.link_up()
    node = board.subscriber(door, b"$ack/", b"a/")
    parts = [retained_part(topic, 1, 10, "x") for topic in ("a/1", "a/2", "b")]
    for part in parts:
        board.publisher.send(part)
    assert [node.recv(), node.recv()] == parts[:2], "they are live as well"
    node.send(WANTING)
    told = batch(node)
    assert (told["parts"], told["index"], told["last"]) == (parts[:2], 0, True)
    assert node.recv() == answer(Place[door.upper()])
    assert board.upstream()[2 if door == "out" else 0 :] == ([WANTING] if door == "out" else [])
    assert board.counts().retained["values"] == 3 and board.counts().retained["tours"] == 0


def test_where_nothing_matches_one_empty_batch_says_so(board: Board) -> None:
    make_ready(board)
    node = board.subscriber("out", b"$ack/")
    for wanted in ([b"a/"], []):
        node.send(encode_marker(TOKEN, b"nonce", None, wanted=wanted))
        told = batch(node)
        assert (told["parts"], told["last"]) == ([], True)
        assert node.recv() == answer(Place.OUT)


def test_a_large_answer_is_sent_in_slices_and_comes_last(board: Board) -> None:
    make_ready(board)
    node = board.subscriber("out", b"$ack/")
    parts = [retained_part(f"a/{number:03}", 1, 10, b"x" * 900) for number in range(900)]
    for part in parts:
        board.publisher.send(part)
    until(lambda: board.counts().retained["values"] == 900, "all are kept")
    node.send(WANTING)
    found: list[bytes] = []
    for index in range(100):
        told = batch(node)
        assert told["index"] == index
        found += told["parts"]
        if told["last"]:
            break
    assert found == parts and index > 9
    assert node.recv() == answer(Place.OUT)
    board.reports()
    assert board.counts().retained["batches"] == index + 1


def test_what_is_not_kept_is_told_to_its_publisher(board: Board) -> None:
    node = board.subscriber("out", b"$ack/")
    for publisher, sent_ns in ((1, 10), (2, 9)):
        board.publisher.send(retained_part("a", publisher, sent_ns, "x"))
    told = decode(node.recv())
    assert (told.topic, told.payload["why"]) == ("$ack/0000000000000002/k", "newer")


@pytest.mark.parametrize("headers", [{}, {"held": True}])
def test_a_value_from_the_future_is_delivered_and_not_kept_and_its_publisher_is_told(
    board: Board, headers: dict[str, Any]
) -> None:
    node = board.subscriber("out", b"a\0")
    publisher = board.subscriber("out", b"$ack/0000000000000001/")
    kept = retained_part("a", 2, 10, "x")
    ahead = [
        retained_part("a", 1, sent_ns, "ahead", headers=headers)
        for sent_ns in (time.time_ns() + 3_600 * 10**9, 2**63, 2**64 - 1)
    ]
    for part in (kept, *ahead):
        board.publisher.send(part)
        assert node.recv() == part, "it is live"
    for part in ahead:
        told = decode(publisher.recv()).payload
        assert told == {"topic": "a", "sent_ns": decode(part).sent_ns, "why": "clock"}
    later = retained_part("a", 2, 11, "y")
    board.publisher.send(later)
    until(lambda: board.counts().retained["kept"] == 2, "the value is replaced")
    assert board.counts().retained["clock"] == 3 and board.counts().retained["values"] == 1


def test_claims_go_to_the_other_proxies_and_theirs_to_nobody_else(board: Board) -> None:
    link, node = board.subscriber("link", b"$fabric/retained\0"), board.subscriber("out", b"")
    board.link_up()
    board.publisher.send(retained_part("a", 1, 10, "x"))
    claim = link.recv()
    assert decode(claim).payload == [[b"a", 10, 1]]
    node.recv()
    board.peer.send(b"$fabric/retained\0garbage")
    board.peer.send(claim.replace((10).to_bytes(8, "big"), (11).to_bytes(8, "big")))
    board.peer.send(b"a\0live")
    assert node.recv() == b"a\0live", "and nothing before it"
    until(lambda: board.counts().retained["yielded"] == 1, "it has yielded")
    assert board.counts().refused == {"failed": 1}
    assert board.counts().retained["values"] == 0


def test_another_proxy_is_told_all_claims_and_handed_all_values(board: Board) -> None:
    address = address_of("0123")
    link = board.subscriber("link", address)
    parts = [retained_part(topic, 1, 10, "x") for topic in ("$site_connect/a", "a")]
    for part in parts:
        board.publisher.send(part)
    until(lambda: board.counts().retained["values"] == 2, "both are kept")
    board.tell(steering.claim_all(address))
    assert decode(link.recv()).payload == [[b"$site_connect/a", 10, 1], [b"a", 10, 1]]
    board.tell(steering.hand_over(address, address_of("back")))
    told = link.recv()
    assert decode(told).payload["parts"] == parts
    board.publisher.send(retained_part("a", 1, 11, None))
    board.link_up()
    board.peer.send(told)
    until(lambda: board.counts().retained["older"] == 1, "it was handed what it has")
    assert board.counts().retained["repeated"] == 1
    back = board.subscriber("link", address_of("back"))
    board.peer.send(told)
    confirmation = back.recv()
    board.peer.send(confirmation)
    until(lambda: board.counts().retained["confirmed"] == 1, "it hears that the other one has all")


def test_what_runs_out_is_seen_to_when_it_is_told_to(board: Board) -> None:
    board.publisher.send(retained_part("a", 1, 10, "x", expires_s=1))
    until(lambda: board.counts().retained["values"] == 1, "it is kept")

    def is_over() -> bool:
        board.tell(steering.AGE)
        board.reports()
        return board.counts().retained["values"] == 0

    until(is_over, "its time is over")
    assert board.counts().retained["tombstones"] == 1


# --- steering


def test_said_and_sent_by_the_proxy_itself(board: Board) -> None:
    here, link, guest = (board.subscriber(name, b"") for name in ("out", "link", "guest"))
    board.tell(steering.say(b"$fabric/proxy/me\0x"))
    assert here.recv() == link.recv() == guest.recv() == b"$fabric/proxy/me\0x"
    board.tell(steering.send(Place.OUT, b"a/#\0notice"))
    assert here.recv() == b"a/#\0notice"
    board.tell(steering.send(Place.LINK, b"\x02at link"))
    assert link.recv() == b"\x02at link"
    assert board.counts().parts == {"in": 0, "out": 3, "relay": 0, "guest": 1}


def test_what_libzmq_refuses_is_reported_and_harms_nothing(board: Board) -> None:
    board.tell(steering.connect(Place.RELAY, "tcp://nowhere"))
    board.tell(steering.disconnect(Place.RELAY, board.endpoint("never")))
    board.tell(steering.bind(Place.PULL, board.endpoint("missing/folder")))
    found = [steering.read_failure(report) for report in board.reports()]
    assert [(each.letter, each.place, each.endpoint) for each in found] == [
        ("C", Place.RELAY, "tcp://nowhere"),
        ("D", Place.RELAY, board.endpoint("never")),
        ("B", Place.PULL, board.endpoint("missing/folder")),
    ]
    assert all(each.number for each in found)
    subscriber = board.subscriber("out", b"")
    board.publisher.send(b"a\0")
    assert subscriber.recv() == b"a\0"


def test_a_second_address_may_be_bound_and_a_link_taken_away(board: Board) -> None:
    subscriber = board.subscriber("out", b"")
    board.tell(steering.bind(Place.PULL, board.endpoint("second")))
    board.connected(zmq.PUSH, "second").send(b"a\0")
    assert subscriber.recv() == b"a\0"
    board.link_up()
    board.tell(steering.disconnect(Place.RELAY, board.endpoint("peer")))
    assert board.reports()[1:] == []

    def gone() -> bool:
        board.peer.send(b"b\0")
        return not subscriber.poll(50)

    until(gone, "the peer is not heard any more")


def test_a_flood_of_reports_is_cut_but_subscriptions_are_told(board: Board) -> None:
    node = board.connected(zmq.XSUB, "out")
    for number in range(MAX_AHEAD + 500):
        node.send(b"\x02%d" % number)
    node.send(b"\x01a/")
    until(lambda: board.counts().prefixes["out"], "all is read")
    assert 0 < board.counts().refused["flooded"] <= 500
    reports = board.reports()
    assert reports[-1] == b"\x02\x01a/"
    flooded = board.counts().refused["flooded"]
    assert len(reports) + flooded == MAX_AHEAD + 501
    node.send(b"\x02again")
    assert until(board.reports, "who has read is told again") == [b"\x02\x02again"]


def test_it_ends_when_the_context_is_ended(tmp_path: Path) -> None:
    for build in BUILDS:
        board = Board(build, tmp_path / build)
        board.switch.counts()
        for socket in (board.control, board.peer, board.publisher):
            socket.close(0)
        terminator = threading.Thread(target=board.context.term)
        terminator.start()
        board.thread.join(20)
        assert board.result == [zmq.ETERM]
        del board.switch
        for socket in list(board.context._sockets):
            socket.close(0)
        terminator.join(20)
        assert not terminator.is_alive()


def test_a_socket_that_is_closed_is_refused(tmp_path: Path) -> None:
    board = Board("compiled", tmp_path / "board")
    closed = board.make(zmq.PULL, "x")
    closed.close()
    with pytest.raises((ValueError, zmq.ZMQError)):
        _switch.Switch((closed,) * 6, own=OWN, news=NEWS, max_body_bytes=1, spin_us=0)
    with pytest.raises(ValueError, match="expected 6, not 1"):
        _switch.Switch((board.peer,), own=OWN, news=NEWS, max_body_bytes=1, spin_us=0)
    board.close()


# --- with keys

RIGHTS = {
    "shop": {"publish": ["orders/#"], "subscribe": ["orders/#", "price/+/eur"]},
    "desk": {"subscribe": ["desk/{name}/#"]},
}
WHO = {"p1": "proxy", "op": "operator", "shop": "shop", "b": "desk", "c": "desk", "g": "guest"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyFolder:
    return KeyFolder(tmp_path_factory.mktemp("keys"), WHO, RIGHTS)


@pytest.fixture(params=BUILDS)
def secured(request: pytest.FixtureRequest, tmp_path: Path, keys: KeyFolder) -> Iterator[Board]:
    found = Board(request.param, tmp_path / "board", keys=keys)
    yield found
    found.close()
    assert found.result == [0]


def of(keys: KeyFolder, who: str, topic: bytes, rest: bytes = b"12345678") -> bytes:
    """A part with a publisher's id of this identity, as far as a switch looks."""
    return topic + b"\0\x95\x01\xcf" + bytes.fromhex(keys.tag(who)) + rest


def within(control: bytes) -> list[bytes]:
    """A control part as a node with keys sends it."""
    return [b"\x01" + control, b"\x00" + control]


def test_with_keys_each_publishes_what_it_may_and_under_its_own_id(secured: Board, keys: KeyFolder) -> None:
    assert secured.gate is not None
    listener = secured.subscriber("out", b"")
    shop = secured.connected(zmq.PUSH, "in", "shop")
    good = of(keys, "shop", b"orders/1")
    for part in (
        good,
        of(keys, "shop", b"secret/1"),
        of(keys, "op", b"orders/1"),
        b"orders/1\0\x95",
        of(keys, "shop", b"$ack/%b0123/w" % keys.tag("op").encode()),
        of(keys, "shop", b"$SYS/x"),
        of(keys, "shop", b"orders"),
    ):
        shop.send(part)
    assert [listener.recv(), listener.recv()] == [good, of(keys, "shop", b"orders")]
    assert secured.counts().refused == {"not_allowed": 2, "forged": 2, "system": 1}
    told = [(each.door, each.key, each.act, each.what) for each in secured.gate.take_denied()]
    key = keys.pairs["shop"][0]
    assert told == [
        ("in", key, "publish", what)
        for what in (b"secret/1", b"orders/1", b"orders/1", b"$ack/%b0123/w" % keys.tag("op").encode())
    ]


def test_with_keys_everything_is_held_without_what_begins_with_a_sign(secured: Board, keys: KeyFolder) -> None:
    listener = secured.subscriber("out", b"")
    for part in (b"$fabric/proxy/x\0", b"~pagesession/h/s\0", b"a\0", "ä/€/😀\0".encode(), b"\x01\0", b"\x7f\0"):
        secured.tell(steering.say(part))
    assert [listener.recv() for _ in range(4)] == [b"a\0", "ä/€/😀\0".encode(), b"\x01\0", b"\x7f\0"]


@pytest.mark.parametrize("door", ["out", "guest"])
def test_with_keys_nothing_is_held_that_may_not_be(secured: Board, keys: KeyFolder, door: str) -> None:
    assert secured.gate is not None
    shop = secured.connected(zmq.XSUB, door, "shop")
    refused = [b"", b"secret/", b"price/", b"orders", b"$inbox/", b"$ack/", b"$fabric/audit/", b"~pagesession/"]
    for prefix in refused:
        shop.send(b"\x01" + prefix)
    shop.send(b"\x01orders/")
    until(lambda: secured.counts().prefixes[door] == 1, "it holds one")
    for topic in (
        b"secret/1",
        b"price/btc/eur",
        b"$inbox/x",
        b"$fabric/audit/p1/cut",
        b"~pagesession/h/s",
        b"orders/1",
    ):
        secured.tell(steering.say(topic + b"\0"))
    assert shop.recv() == b"orders/1\0"
    assert secured.counts().refused == {"not_allowed": len(refused)}
    assert [each.what for each in secured.gate.take_denied()] == refused
    assert secured.reports() == [bytes([Place[door.upper()]]) + b"\x01orders/"]
    shop.close(0)
    until(lambda: secured.counts().prefixes[door] == 0, "it has gone")
    assert secured.reports() == [bytes([Place[door.upper()]]) + b"\x00orders/"]


def test_with_keys_a_cancel_harms_only_who_sent_it(secured: Board, keys: KeyFolder) -> None:
    secured.link_up()
    first, second = (secured.connected(zmq.XSUB, "out", who) for who in ("op", "shop"))
    first.send(b"\x01orders/")
    until(lambda: secured.counts().prefixes["out"] == 1, "the first")
    for part in (b"\x00orders/", b"\x00secret/", b"\x01orders/", b"\x01orders/", b"\x00orders/", b"\x00orders/"):
        second.send(part)
    for end in within(PLAIN):
        second.send(end)
    second.send(b"\x01orders/2")
    until(lambda: secured.counts().prefixes["out"] == 2, "all is read")
    secured.tell(steering.say(b"orders/1\0"))
    assert first.recv() == b"orders/1\0"
    secured.tell(steering.say(b"orders/2\0"))
    assert second.recv() == b"orders/2\0"
    assert [part for part in secured.upstream() if part[0] < 2] == [b"\x01orders/", b"\x01orders/2"]


@pytest.mark.parametrize("door", ["out", "guest"])
def test_with_keys_control_parts_come_as_subscriptions(secured: Board, keys: KeyFolder, door: str) -> None:
    make_ready(secured)
    secured.link_up()
    node = secured.connected(zmq.XSUB, door, "op")
    claim = encode_marker(TOKEN, b"n", None, [b"a/"])
    for part in (*within(PLAIN), *within(claim), b"\x01a/"):
        node.send(part)
    until(lambda: secured.counts().prefixes[door] == 1, "all is read")
    reports, at = secured.reports(), bytes([Place[door.upper()]])
    if door == "out":
        assert reports == [at + claim, at + b"\x01a/"]
        assert secured.upstream() == [PLAIN, b"\x01a/"]
        assert secured.counts().answered == 1 and secured.counts().refused == {}
    else:
        assert reports == [at + b"\x01a/"] and secured.upstream() == []
        assert secured.counts().refused == {"guest": 2}


@pytest.mark.parametrize("door", ["out", "guest"])
def test_with_keys_what_one_sends_never_has_another_hold_what_it_may_not(
    secured: Board, keys: KeyFolder, door: str
) -> None:
    """libzmq takes the next subscription's turn for a part that is none: see `fabric.core.gate`."""
    gate = secured.gate
    assert gate is not None
    attacker, b, c = (secured.connected(zmq.XSUB, door, who) for who in ("op", "b", "c"))
    for end in (attacker, b, c):
        end.rcvtimeo = 20
    judge, held, go = gate.subscribed, threading.Event(), threading.Event()

    def subscribed(place: Place, descriptor: int, user: bytes, prefix: bytes) -> Grant:
        if prefix == b"stop":
            held.set()
            assert go.wait(20)
        return judge(place, descriptor, user, prefix)

    gate.subscribed = subscribed  # type: ignore[method-assign]

    arrive_ms = 20

    def round_is_unsure() -> bool:
        """All three speak while the switch stands still; whether it read them together."""
        nonlocal arrive_ms
        before = secured.counts().refused.get("not_control", 0)
        held.clear()
        go.clear()
        stopper = secured.connected(zmq.XSUB, door, "op")
        stopper.send(b"\x01stop")
        assert held.wait(20)
        attacker.send(b"no subscription")
        b.send(b"\x01desk/b/")
        c.send(b"\x01desk/c/")
        attacker.poll(arrive_ms)  # nothing comes: so long they have to arrive; twice as long in the next round
        arrive_ms = min(2 * arrive_ms, 2_000)
        go.set()
        until(lambda: secured.counts().refused.get("not_control", 0) > before, "the attacker was read")
        stopper.close(0)
        for name, mine, other in (("b", b, c), ("c", c, b)):

            def heard(name: str = name, mine: sockets.Socket = mine) -> bool:
                secured.tell(steering.say(b"desk/%b/1\0" % name.encode()))
                with contextlib.suppress(zmq.Again):
                    return bool(mine.recv() == b"desk/%b/1\0" % name.encode())
                return False

            until(heard, f"{name} hears its own, if need be by a new connection")
            while other.poll(0):
                assert other.recv() == b"desk/%b/1\0" % (b"c" if name == "b" else b"b")
        for end, own in ((b, b"b"), (c, b"c")):
            end.send(b"\x00desk/%b/" % own)
        until(lambda: secured.counts().prefixes[door] == 0, "all have cancelled")
        for end in (b, c):
            while end.poll(0):
                end.recv()
        return secured.counts().refused.get("unsure", 0) > 0

    until(round_is_unsure, "they were read together")
    assert {each.act for each in gate.take_denied()} == {"control"}


def test_with_keys_new_rules_hold_for_those_who_are_connected(secured: Board, keys: KeyFolder) -> None:
    assert secured.gate is not None
    listener = secured.subscriber("out", b"")
    shop = secured.connected(zmq.PUSH, "in", "shop")
    shop.send(of(keys, "shop", b"orders/1"))
    listener.recv()
    left = {key: each for key, each in keys.rules().permissions().items() if each.name != "shop"}
    secured.gate.load(left)
    secured.tell(steering.RULES)
    secured.reports()
    shop.send(of(keys, "shop", b"orders/2"))
    secured.publisher.send(of(keys, "op", b"end"))
    assert listener.recv() == of(keys, "op", b"end")
    until(lambda: secured.counts().refused == {"not_allowed": 1}, "it is refused")
    secured.gate.load(keys.rules().permissions())
    secured.tell(steering.RULES)
    secured.reports()
    shop.send(of(keys, "shop", b"orders/3"))
    assert listener.recv() == of(keys, "shop", b"orders/3")


def test_with_keys_other_proxies_are_known_so_that_they_can_be_cut(secured: Board, keys: KeyFolder) -> None:
    assert secured.gate is not None
    make_ready(secured)
    link = secured.subscriber("link", b"a/")
    for _ in range(2):
        link.send(PLAIN)
    link.send(b"\x01$ack/")
    link.send(PLAIN)
    assert link.recv() == answer(Place.LINK)
    assert [(met.place, met.key) for met in secured.gate.connections().values()] == [(Place.LINK, keys.pairs["p1"][0])]


def test_with_keys_retained_values_are_given_where_they_could_be_subscribed_to(secured: Board, keys: KeyFolder) -> None:
    assert secured.gate is not None
    make_ready(secured)
    secured.link_up()
    token = keys.tag("shop") + "-1"
    node = secured.subscriber("out", f"$ack/{token}/".encode(), who="shop")
    publisher = secured.connected(zmq.PUSH, "in", "shop")
    for topic in ("orders/1", "secret/1"):
        publisher.send(retained_part(topic, int(keys.tag("shop"), 16) << 32, 10, topic))
    secured.publisher.send(retained_part("secret/2", int(keys.tag("op"), 16) << 32, 10, 0))
    until(lambda: secured.counts().retained["values"] == 2, "what may be published is kept")
    marker = encode_marker(token, b"nonce", None, wanted=[b"", b"orders/", b"secret/", b"price/"])
    for part in within(marker):
        node.send(part)
    payload = decode(node.recv()).payload
    assert payload["last"] and [decode(each).topic for each in payload["parts"]] == ["orders/1"]
    passed_on = [part for part in secured.upstream() if part[0] == 2]
    assert [decode_marker(part).wanted for part in passed_on] == [(b"orders/",)]
    assert [each.what for each in secured.gate.take_denied() if each.act == "subscribe"] == [b"", b"secret/", b"price/"]


# --- no message is left lying


@pytest.mark.parametrize("spin_us", [0, 100])
@pytest.mark.parametrize("build", BUILDS)
def test_one_message_at_a_time_is_never_left_lying(build: str, spin_us: int, tmp_path: Path) -> None:
    """Both directions in turn, so that each wakes it while it has just sent at the other socket."""
    with contextlib.closing(Board(build, tmp_path / "board", spin_us)) as board:
        make_ready(board)
        node = board.subscriber("out", b"$ack/", b"a/")
        node.rcvtimeo = 4_000  # a wake-up that got lost is made good after 5 s: that would be too late
        for number in range(3_000):
            board.publisher.send(b"a/%d\0" % number)
            node.send(PLAIN)
            assert {node.recv(), node.recv()} == {b"a/%d\0" % number, answer(Place.OUT)}


@pytest.mark.parametrize("build", BUILDS)
def test_under_load_nothing_is_lost_and_markers_are_answered_meanwhile(build: str, tmp_path: Path) -> None:
    with contextlib.closing(Board(build, tmp_path / "board", 50)) as board:
        make_ready(board)
        total = 20_000
        reader, asker = board.subscriber("out", b"a/"), board.subscriber("out", b"$ack/")

        def send() -> None:
            for number in range(total):
                board.publisher.send(b"a/\0%d" % number)

        sender = threading.Thread(target=send)
        sender.start()
        answers = 0
        while sender.is_alive():
            asker.send(PLAIN)
            assert asker.recv() == answer(Place.OUT)
            answers += 1
        assert [int(reader.recv()[3:]) for _ in range(total)] == list(range(total))
        assert board.counts().answered == answers > 0


# --- differential


def arbitrary_frames(chance: random.Random) -> list[bytes]:
    """What may come at any socket: topics good and bad, subscriptions, markers, what begins like one of them."""
    topic = chance.choice([b"a/b", b"", b"~/x", b"$ack/me/q", b"$ack/x/m", NEWS + b"p", b"\xff", b"a/+", b"x" * 300])
    if chance.random() < 0.2:
        payload = chance.choice([None, 1, b"y" * 400])
        return [
            retained_part(chance.choice(["a/b", "c", "$inbox/x"]), chance.randrange(2), chance.randrange(9), payload)
        ]
    good = topic + b"\0" + chance.randbytes(chance.choice([0, 3, 40, MAX_BODY + 1]))
    marker = chance.choice(
        [PLAIN, WANTING, encode_marker(TOKEN, b"", None, [b"k"]), PLAIN[: chance.randrange(len(PLAIN))]]
    )
    spoiled = bytearray(PLAIN)
    spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
    prefix = chance.choice([b"\x01", b"\x00"]) + chance.choice([b"a/", b"", b"b\0", b"$ack/0123", chance.randbytes(2)])
    frame = chance.choice([good, good, marker, bytes(spoiled), prefix, prefix, chance.randbytes(5)])
    return [frame] if chance.random() < 0.9 else [frame, chance.randbytes(3), prefix]


def play(build: str, seed: int, folder: Path) -> dict[str, Any]:
    """Send arbitrary frames to every socket, one socket after the other; return all that came out, and all counts."""
    chance = random.Random(seed)
    board = Board(build, folder)
    with contextlib.closing(board):
        make_ready(board)
        board.link_up()
        ends = {name: board.subscriber(name, b"") for name in ("out", "link", "guest")}
        found: dict[str, list[bytes]] = {name: [] for name in (*ends, "relay", "control")}
        strangers = {name: board.connected(zmq.XSUB, name) for name in ends}
        sources = {"in": board.publisher, "peer": board.peer, **strangers}
        for step in range(40):
            name = chance.choice(list(sources))
            for _ in range(chance.randrange(1, 8)):
                sources[name].send_multipart(arbitrary_frames(chance))
            middle, end = b"middle/%d" % step, b"end/%d\0" % step
            if name in ("out", "link"):
                strangers[name].send(encode_marker(TOKEN, middle, None))
                found[name] += received(
                    ends[name], answer(Place[name.upper()]).replace(b"\x05nonce", b"%c%b" % (len(middle), middle))
                )
            elif name == "guest":
                strangers[name].send(b"\x01" + middle)
                while b"\x05\x01" + middle not in found["control"]:
                    found["control"] += board.reports()
            else:
                sources[name].send(middle + b"\0")
                found["out"] += received(ends["out"], middle + b"\0")
            board.tell(steering.say(end))
            for each, socket in ends.items():
                found[each] += received(socket, end)
            found["control"] += board.reports()
            found["relay"] += board.upstream()
        until(lambda: board.counts().retained["tours"] == 0, "all answers are given")
        board.tell(steering.say(b"end\0"))
        for each, socket in ends.items():
            found[each] += received(socket, b"end\0")
        return {**told_by_turns(found), "counts": without_claims(board.counts(), found["link"])}


def told_by_turns(found: dict[str, list[bytes]]) -> dict[str, list[Any]]:
    """What is told of retained values at the end of a turn, apart from the rest: how much comes in a turn is chance."""
    apart: dict[str, list[Any]] = {}
    for name, parts in found.items():
        turns: list[Any] = []
        for part in parts:
            if part.startswith(b"$fabric/retained\0"):
                turns += [("claim", *each) for each in decode(part).payload]
            elif part.startswith(f"$ack/{TOKEN}/t\0".encode()):
                turns.append(("batch", *(decode(part).payload[key] for key in ("nonce", "index", "last"))))
            elif part == answer(Place.OUT) or part == answer(Place.LINK) or b"/k\0" in part:
                turns.append(("told", part))
        apart[name] = [part for part in parts if not part.startswith((b"$fabric/retained", b"$ack/0"))]
        apart[f"{name}, by turns"] = sorted(turns, key=repr)
    return apart


def without_claims(counts: Counts, at_link: list[bytes]) -> Counts:
    claims = [part for part in at_link if part.startswith(b"$fabric/retained\0")]
    parts, octets = dict(counts.parts), dict(counts.bytes)
    parts["out"] -= len(claims)
    octets["out"] = 0  # what is in an answer is chance, too
    return counts._replace(parts=parts, bytes=octets, queued=0)  # what waits just now is chance


@pytest.mark.parametrize("seed", range(6))
def test_both_do_the_same_with_arbitrary_frames(seed: int, tmp_path: Path) -> None:
    plain, compiled = (play(build, seed, tmp_path / build) for build in BUILDS)
    for what, happened in plain.items():
        assert compiled[what] == happened, what
    assert plain["counts"].refused and plain["counts"].answered and plain["relay"] and plain["control"]
    assert plain["link, by turns"] and plain["counts"].retained["kept"]
