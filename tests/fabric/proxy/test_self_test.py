"""The self-test of a proxy with keys: closed doors pass, and each way in which one stands open is told."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from fabric import sockets
from fabric.errors import TransportError
from fabric.identity.doorkeeper import Doorkeeper
from fabric.identity.keys import new_pair
from fabric.proxy import self_test
from fabric.proxy.self_test import TEST_S, Finding, SelfTest, find_open_door
from tests.support.keys import KeyFolder, stranger
from tests.support.waiting import until

NAMES = ("in", "out", "link", "guest")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> KeyFolder:
    return KeyFolder(tmp_path_factory.mktemp("keys"), {"p1": "proxy", "wide": ["proxy", "operator"], "n": "node"})


class House:
    """The doors of a proxy, guarded or not."""

    def __init__(self, folder: KeyFolder, at: Path) -> None:
        self.folder, self.at = folder, at
        self.context = sockets.new_context()
        self.keeper: Doorkeeper | None = Doorkeeper(self.context, folder.rules())

    def open(self, door: str, secret: str | None, *, enforce: bool = True) -> None:
        socket = sockets.pull(self.context, recv_hwm=0) if door == "in" else sockets.xpub(self.context, send_hwm=0)
        sockets.guarded(socket, secret, door)
        if not enforce:
            socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 0)
        socket.bind(f"ipc://{self.at}/{door}")

    def find(self, who: str = "p1", enters: tuple[str, ...] = ("link",)) -> Finding | None:
        doors = {door: f"ipc://{self.at}/{door}" for door in NAMES}
        return find_open_door(doors, self.folder.keys(who), stranger(self.folder), enters)

    def close(self) -> None:
        if self.keeper is not None:
            self.keeper.close()
        self.context.destroy(linger=0)


@pytest.fixture
def house(folder: KeyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(self_test, "TIMEOUT_S", 1.0)
    found = House(folder, tmp_path)
    yield found
    found.close()


def open_all(house: House, but: str = "") -> None:
    for door in NAMES:
        if door != but:
            house.open(door, house.folder.mesh[1])


def test_closed_doors_pass(house: House) -> None:
    open_all(house)
    assert house.find() is None


@pytest.mark.parametrize("door", NAMES)
def test_a_door_without_keys_is_found(house: House, door: str) -> None:
    open_all(house, but=door)
    house.open(door, None)
    assert house.find() == Finding(f"the door `{door}` admits a client without keys", True)


@pytest.mark.parametrize("door", NAMES)
def test_a_door_that_shows_another_key_is_found(house: House, door: str) -> None:
    open_all(house, but=door)
    house.open(door, new_pair()[1])
    found = house.find()
    assert found and not found.is_open
    assert re.match(f"the door `{door}` (hangs up on|refuses) .*", found.why)


def test_without_a_handler_that_has_to_be_there_any_key_would_do(house: House) -> None:
    assert house.keeper is not None
    house.keeper.close()
    house.keeper = None
    for door in NAMES:
        house.open(door, house.folder.mesh[1], enforce=False)
    found = house.find()
    assert found and found.is_open and "admits a stranger's key" in found.why


def at_its_address(context: sockets.Context) -> sockets.Socket:
    """A socket at the address of a handler that was closed: libzmq gives it free a moment later."""
    found: list[sockets.Socket] = []

    def is_free() -> bool:
        with contextlib.suppress(TransportError):
            found.append(sockets.answering(context, "inproc://zeromq.zap.01"))
        return bool(found)

    until(is_free, "the address is free")
    return found[0]


def test_a_handler_that_does_not_answer_is_found(house: House) -> None:
    assert house.keeper is not None
    house.keeper.close()
    house.keeper = None
    silent = at_its_address(house.context)
    open_all(house)
    found = house.find()
    assert found and not found.is_open and "did not say yes or no to" in found.why
    silent.close()


def test_a_door_at_which_nobody_listens_is_found(house: House) -> None:
    open_all(house, but="guest")
    found = house.find()
    assert found and not found.is_open and found.why.startswith("the door `guest` did not say yes or no to")


def test_a_key_that_nobody_has_any_more_is_found(house: House) -> None:
    open_all(house)
    assert house.keeper is not None
    house.keeper.load(KeyFolder(house.at / "other", {"x": "proxy"}).rules())
    assert house.find() == Finding("the door `link` refuses the own key", False)


def test_an_identity_that_is_a_proxy_and_more_enters_other_doors_too(house: House) -> None:
    open_all(house)
    assert house.find("wide") == Finding("the door `in` admits the own key", True)
    assert house.find("wide", NAMES) is None


def schedule(house: House, enters: Callable[[], tuple[str, ...]] = lambda: ("link",)) -> SelfTest:
    doors = {door: f"ipc://{house.at}/{door}" for door in NAMES}
    return SelfTest(doors, house.folder.keys("p1"), stranger(house.folder), enters)


def test_what_is_found_is_told_once_and_the_next_try_comes_in_time(house: House) -> None:
    open_all(house, but="guest")
    house.open("guest", None)
    test = schedule(house)
    assert test.tick(100.0) is None, "it has only begun"
    test.close()
    found = test.tick(100.1)
    assert found is not None and found.is_open and "guest" in found.why
    assert test.tick(100.2) is None and test.tick(100.0 + TEST_S - 1) is None, "told once, and not tried again yet"
    test.tick(100.0 + TEST_S)
    test.close()
    assert test.tick(100.1 + TEST_S) == found


def test_new_rules_in_the_middle_of_a_try_make_it_say_nothing(house: House) -> None:
    open_all(house, but="out")
    house.open("out", None)
    rules = iter([("link",), ("link", "in")])
    assert schedule(house, lambda: next(rules)).run(NAMES) is None
    assert schedule(house).run(("in", "link", "guest")) is None, "only these were tried"
