"""Names with several addresses, and the words for what was not reached."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from fabric import Proxy
from fabric.addresses import Names, addresses, base_meant, expanded, why_not_reached
from tests.support.processes import free_base
from tests.support.waiting import until

V4, V6 = socket.AF_INET, socket.AF_INET6


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[int, str]]]:
    """A name server of the test's."""
    known: dict[str, list[tuple[int, str]]] = {}

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "not known")
        return [(family, socket.SOCK_STREAM, 6, "", (address, 0)) for family, address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def test_families_take_turns_and_the_name_stays_at_the_end(hosts: Any) -> None:
    hosts["many"] = [(V6, "::1"), (V6, "::2"), (V4, "127.0.0.1"), (V6, "::3"), (V4, "127.0.0.1")]
    bases = ("tcp://[::1]:5570", "tcp://127.0.0.1:5570", "tcp://[::2]:5570", "tcp://[::3]:5570")
    assert addresses("tcp://many:5570") == bases
    assert expanded(["tcp://many:5570", "ipc:///p"]) == (*bases, "tcp://many:5570", "ipc:///p")


def test_a_name_with_one_address_stays_a_name_and_so_does_one_that_is_not_known(hosts: Any) -> None:
    hosts["one"] = [(V4, "10.0.0.1")]
    assert expanded(["tcp://one:5570", "tcp://nobody:5570", "tcp://one:5570"]) == (
        "tcp://one:5570",
        "tcp://nobody:5570",
    )


@pytest.mark.parametrize("base", ["tcp://127.0.0.1:5570", "tcp://[::1]:5570", "ipc:///run/p", "tcp://*:5570"])
def test_what_is_no_name_is_not_looked_up(monkeypatch: pytest.MonkeyPatch, base: str) -> None:
    monkeypatch.delattr(socket, "getaddrinfo")
    assert addresses(base) == () and expanded([base]) == (base,) and Names([base]).of(base) == (base,)


def test_a_name_server_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    away = threading.Event()

    def look_up(*_: Any, **__: Any) -> list[Any]:
        away.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    since = time.monotonic()
    assert expanded(["tcp://slow:5570"], 0.05) == ("tcp://slow:5570",)
    names = Names(["tcp://slow:5570"], 0.05)
    assert names.of("tcp://slow:5570") == ("tcp://slow:5570",) and time.monotonic() - since < 10
    away.set()
    monkeypatch.undo()
    until(lambda: not [each for each in threading.enumerate() if each.name == "fabric-resolve"], "all have ended")


def test_names_follow_the_name_server(hosts: Any) -> None:
    hosts["many"] = [(V4, "10.0.0.1")]
    names = Names(["tcp://many:5570"])
    assert names.of("tcp://many:5570") == ("tcp://10.0.0.1:5570",) and not names.is_several("tcp://many:5570")
    hosts["many"] = [(V4, "10.0.0.1"), (V4, "10.0.0.2")]
    until(lambda: len(names.of("tcp://many:5570")) == 2, "it is looked up again")
    assert names.is_several("tcp://many:5570")
    del hosts["many"]
    assert len(names.of("tcp://many:5570")) == 2, "what is not found now was found before"


def test_each_address_is_named_with_what_happened_there(tmp_path: Path) -> None:
    with socket.socket() as listener, socket.socket() as dead:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        dead.bind(("127.0.0.1", 0))
        base, refused = (f"tcp://127.0.0.1:{each.getsockname()[1] - 1}" for each in (listener, dead))
        found = why_not_reached([base, refused, "tcp://nobody.invalid:5570", f"ipc://{tmp_path}/p", base])
    assert found == [
        f"{base}: something listens there, and no proxy that is a member of a mesh answered",
        f"{refused}: refused: nothing listens there",
        "tcp://nobody.invalid:5570: no such host",
        f"ipc://{tmp_path}/p: no such file or directory",
    ]


def test_another_port_of_a_proxy_names_its_base() -> None:
    with Proxy(free_base()) as proxy:
        assert proxy.wait_ready(10)
        front, _, port = proxy.endpoints.base.rpartition(":")
        for offset in (1, 3, 4, 5):
            wrong = f"{front}:{int(port) + offset}"
            assert base_meant(wrong) == proxy.endpoints.base
            assert why_not_reached([wrong]) == [
                f"{wrong}: that is another port of the proxy at {proxy.endpoints.base}: expected its base"
            ]
        assert base_meant(f"{front}:{int(port) + 6}") is None
        assert base_meant(proxy.endpoints.base) is None, "this is the base itself"
    assert base_meant("ipc:///nowhere/p") is None and base_meant("tcp://127.0.0.1:1") is None


def test_what_does_not_greet_is_no_proxy() -> None:
    base = free_base()
    with contextlib.ExitStack() as stack:
        for offset in (1, 3, 4):
            strange = stack.enter_context(socket.socket())
            strange.bind(("127.0.0.1", int(base.rpartition(":")[2]) + offset))
            strange.listen()
        assert base_meant(f"{base.rpartition(':')[0]}:{int(base.rpartition(':')[2]) + 1}") is None
