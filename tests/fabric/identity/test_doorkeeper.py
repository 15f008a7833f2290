"""The doorkeeper: what it decides, and that libzmq does as it says, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from fabric import sockets
from fabric.core.gate import SERIAL_CHARS
from fabric.identity.doorkeeper import ENDPOINT, MAX_NEWS, Decision, Doorkeeper
from fabric.identity.keys import new_pair
from fabric.sockets import FAILED_EVENTS, Curve
from tests.support.keys import KeyFolder, stranger
from tests.support.waiting import until

SUCCEEDED = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
REFUSED = int(zmq.EVENT_HANDSHAKE_FAILED_AUTH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> KeyFolder:
    return KeyFolder(tmp_path_factory.mktemp("keys"), {"p1": "proxy", "shop": "node", "bi": "guest"})


class House:
    """A doorkeeper, and one PULL that asks it at each door."""

    def __init__(self, folder: KeyFolder, at: Path, observe: bool = False) -> None:
        self.folder, self.at = folder, at
        self.context = sockets.new_context()
        self.keeper = Doorkeeper(self.context, folder.rules(), observe=observe)
        self.doors = {door: sockets.pull(self.context, recv_hwm=0) for door in ("in", "out", "link", "guest", "attic")}
        for door, socket in self.doors.items():
            sockets.guarded(socket, folder.mesh[1], door)
            socket.rcvtimeo = 20_000
            socket.bind(f"ipc://{at}/{door}")

    def knock(self, door: str, curve: Curve | None) -> tuple[sockets.Socket, int]:
        """Connect; return the socket and how the handshake ended."""
        socket = sockets.with_keys(sockets.push(self.context, send_hwm=0, timeout_ms=0), curve)
        events = sockets.monitor(self.context, socket, SUCCEEDED | FAILED_EVENTS)
        socket.connect(f"ipc://{self.at}/{door}")
        event = until(lambda: next(iter(sockets.events_of(events)), None), "yes or no")[0]
        socket.disable_monitor()
        events.close()
        return socket, event

    def close(self) -> None:
        self.keeper.close()
        self.context.destroy(linger=0)


@pytest.fixture
def house(folder: KeyFolder, tmp_path: Path) -> Iterator[House]:
    found = House(folder, tmp_path)
    yield found
    found.close()


def test_who_is_admitted_where(house: House, folder: KeyFolder) -> None:
    wanted = {
        ("in", "shop"): True,
        ("out", "shop"): True,
        ("guest", "shop"): True,
        ("link", "shop"): False,
        ("in", "p1"): False,
        ("out", "p1"): False,
        ("guest", "p1"): False,
        ("link", "p1"): True,
        ("in", "bi"): False,
        ("out", "bi"): False,
        ("guest", "bi"): True,
        ("link", "bi"): False,
        ("attic", "shop"): False,
        ("attic", "p1"): False,
    }
    for (door, who), admitted in wanted.items():
        assert house.knock(door, folder.curve(who))[1] == (SUCCEEDED if admitted else REFUSED), (door, who)
    news = house.keeper.take_news()
    assert [(each.door, each.name, not each.why) for each in news] == [
        (door, who, admitted) if door != "attic" else (door, "", False) for (door, who), admitted in wanted.items()
    ]
    assert house.keeper.take_news() == []
    assert house.keeper.counts["guest", "admitted"] == 2 and house.keeper.counts["guest", "refused"] == 1
    assert house.keeper.answered == len(wanted)


@pytest.mark.parametrize("observe", [False, True])
def test_strangers_and_those_without_keys_are_told_no(folder: KeyFolder, tmp_path: Path, observe: bool) -> None:
    house = House(folder, tmp_path, observe)
    try:
        assert house.knock("in", stranger(folder))[1] == (SUCCEEDED if observe else REFUSED)
        assert house.knock("in", None)[1] != SUCCEEDED
        wrong_server = Curve(new_pair()[0], *folder.pairs["shop"])
        socket = sockets.with_keys(sockets.push(house.context, send_hwm=1, timeout_ms=0), wrong_server)
        socket.connect(f"ipc://{tmp_path}/in")
        assert house.knock("in", folder.curve("shop"))[1] == SUCCEEDED
        news = house.keeper.take_news()
        assert [(each.name, each.why) for each in news] == [("", "nobody has this key"), ("shop", "")]
    finally:
        house.close()


def test_what_comes_by_a_connection_carries_a_number_of_its_own_and_the_key(house: House, folder: KeyFolder) -> None:
    users = []
    for _ in range(2):
        push, _ = house.knock("in", folder.curve("shop"))
        for _ in range(2):
            push.send(b"x")
            frame = house.doors["in"].recv(copy=False)
            users.append(str(frame.get("User-Id")))
    assert users[0] == users[1] != users[2] == users[3]
    assert {user[SERIAL_CHARS:] for user in users} == {folder.pairs["shop"][0]}
    assert all(int(user[:SERIAL_CHARS], 16) > 0 for user in users)


def test_new_rules_hold_for_the_next_connection(house: House, folder: KeyFolder) -> None:
    assert house.knock("in", folder.curve("bi"))[1] == REFUSED
    house.keeper.load(KeyFolder(house.at / "other", {"x": "node"}).rules())
    assert house.knock("in", folder.curve("shop"))[1] == REFUSED
    house.keeper.load(folder.rules())
    assert house.knock("in", folder.curve("shop"))[1] == SUCCEEDED


def test_when_it_has_ended_nobody_is_admitted(house: House, folder: KeyFolder) -> None:
    house.keeper.close()
    push = sockets.with_keys(sockets.push(house.context, send_hwm=1, timeout_ms=0), folder.curve("shop"))
    events = sockets.monitor(house.context, push, SUCCEEDED | FAILED_EVENTS | zmq.EVENT_DISCONNECTED)
    push.connect(f"ipc://{house.at}/in")
    assert until(lambda: next(iter(sockets.events_of(events)), None), "it is turned away")[0] != SUCCEEDED
    house.keeper = Doorkeeper(house.context, folder.rules())
    assert house.knock("in", folder.curve("shop"))[1] == SUCCEEDED


def test_news_that_nobody_reads_are_bounded_and_counted(house: House, folder: KeyFolder) -> None:
    asking = sockets.asking(house.context, ENDPOINT)
    for _ in range(MAX_NEWS + 5):
        asking.send_multipart([b"1.0", b"1", b"in", b"::1", b"", b"NULL"])
        version, ident, code, why, user, _ = asking.recv_multipart()
        assert (version, ident, code, why, user) == (b"1.0", b"1", b"400", b"no key was shown", b"")
    assert len(house.keeper.take_news()) == MAX_NEWS
    assert house.keeper.counts["in", "refused"] == MAX_NEWS + 5


@pytest.mark.parametrize(
    "request_",
    [[b"1.0"], [b"", b"", b"", b"", b"", b"CURVE"], [b"1.0", b"1", b"\xff", b"\xff", b"", b"CURVE", b"x" * 31]],
)
def test_whatever_is_asked_gets_an_answer(house: House, request_: list[bytes]) -> None:
    asking = sockets.asking(house.context, ENDPOINT)
    asking.rcvtimeo = 20_000
    asking.send_multipart(request_)
    assert asking.recv_multipart()[2] == b"400"


def test_what_it_decides_in_words(house: House, folder: KeyFolder) -> None:
    key = folder.pairs["bi"][0]
    assert house.keeper.decide("in", "::1", b"CURVE", key, 0.0) == Decision(
        "in", "::1", key, "bi", "its roles (guest) do not enter here"
    )
    assert house.keeper.decide("in", "::1", b"PLAIN", key, 0.0).why == "no key was shown"
    assert house.keeper.decide("cellar", "::1", b"CURVE", key, 0.0).why == "no such door"
