"""Descriptors: counted, kept in reserve, and connections at one address cut, newest first."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path

import pytest

from fabric.proxy import descriptors as module
from fabric.proxy.descriptors import RESERVE, Looker, cut, cut_connections, descriptors, open_files, to_be_cut
from fabric.proxy.readers import Seen
from tests.support.waiting import until


def test_open_files_grow_with_each() -> None:
    before = open_files()
    with open(os.devnull):
        assert open_files() == before + 1


def test_none_left_to_count_them_with_is_told_as_all_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(folder: str) -> list[str]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "listdir", full)
    assert open_files() == descriptors()["limit"]


@pytest.mark.parametrize(("limit", "enough"), [(65_536, 65_536 - RESERVE), (256, 224)])
def test_a_reserve_of_descriptors_is_kept_which_is_small_where_there_are_few(
    monkeypatch: pytest.MonkeyPatch, limit: int, enough: int
) -> None:
    monkeypatch.setattr(module, "descriptor_limit", lambda: limit)
    found = descriptors()
    assert found["limit"] == limit and found["enough"] == enough and found["used"] == open_files()


def test_too_many_and_half_of_the_reserve_have_to_go() -> None:
    assert to_be_cut({"used": 896, "enough": 896, "limit": 1_024}) == 0
    assert to_be_cut({"used": 897, "enough": 896, "limit": 1_024}) == 1 + 64
    assert to_be_cut({"used": 256, "enough": 224, "limit": 256}) == 32 + 16
    assert to_be_cut({"used": -1, "enough": 224, "limit": 256}) == 0, "unknown"


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_connections_at_one_address_are_cut_newest_first_and_nothing_else(kind: str, tmp_path: Path) -> None:
    family = socket.AF_INET if kind == "tcp" else socket.AF_UNIX
    listeners, endpoints = [socket.socket(family) for _ in range(2)], []
    opened = list(listeners)
    for number, listener in enumerate(listeners):
        listener.bind(("127.0.0.1", 0) if kind == "tcp" else str(tmp_path / str(number)))
        listener.listen()
        name = listener.getsockname()
        endpoints.append(f"tcp://127.0.0.1:{name[1]}" if kind == "tcp" else f"ipc://{name}")
    clients = [socket.socket(family) for _ in range(6)]
    accepted = []
    for number, client in enumerate(clients):
        client.connect(listeners[number % 2].getsockname())
        accepted.append(listeners[number % 2].accept()[0])
        client.settimeout(0.05)
    opened += [*clients, *accepted]
    try:
        assert cut_connections(endpoints[0], 2) == 2
        assert [is_open(client) for client in clients] == [True, True, False, True, False, True]
        for cut in (accepted[2], accepted[4]):
            cut.close()
        assert cut_connections(endpoints[0], 10) == 1 and not is_open(clients[0])
        client = socket.socket(family)
        opened.append(client)
        client.connect(listeners[0].getsockname())
        assert cut_connections("tcp://127.0.0.1:1", 10) == 0 and is_open(clients[1])
    finally:
        for each in opened:
            each.close()


@pytest.mark.parametrize("kind", ["tcp", "ipc"])
def test_a_look_says_who_takes_something_and_who_does_not(kind: str, tmp_path: Path) -> None:
    family = socket.AF_INET if kind == "tcp" else socket.AF_UNIX
    with contextlib.ExitStack() as stack:

        def opened() -> socket.socket:
            return stack.enter_context(socket.socket(family))

        listener = opened()
        listener.bind(("127.0.0.1", 0) if kind == "tcp" else str(tmp_path / "p"))
        listener.listen()
        name = listener.getsockname()
        looker = Looker({"out": f"tcp://127.0.0.1:{name[1]}" if kind == "tcp" else f"ipc://{name}", "link": "ipc:///x"})
        assert looker.look() == []
        client = opened()
        client.connect(name)
        accepted = stack.enter_context(listener.accept()[0])
        accepted.setblocking(False)
        (seen,) = looker.look()
        assert (seen.number, seen.door, seen.is_full) == (accepted.fileno(), "out", False)
        assert seen.peer == (f"127.0.0.1:{client.getsockname()[1]}" if kind == "tcp" else f"ipc, process {os.getpid()}")
        with contextlib.suppress(BlockingIOError):
            while True:
                accepted.send(bytes(100_000))

        def still() -> list[Seen]:
            found = looker.look()
            return found if found == looker.look() else []

        (full,) = until(still, "the system has moved what it can")
        assert full.is_full
        client.recv(1_000_000)
        until(lambda: looker.look()[0].taken != full.taken, "it is seen that something was taken")
        assert not cut(full.number, full.inode + 1) and not cut(10**6, full.inode)
        assert cut(full.number, full.inode)
        with pytest.raises(OSError, match="pipe"):
            accepted.send(b"x")


def is_open(client: socket.socket) -> bool:
    try:
        return client.recv(1) != b""
    except TimeoutError:
        return True
