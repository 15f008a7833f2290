"""Endpoints: five addresses from one base, and a clear word about every base that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.endpoints import DEFAULT_BASE, MAX_IPC_BYTES, Endpoints
from fabric.topics import valid_name

SUFFIXES = ("in", "out", "link", "guest", "http")


def every_endpoint(found: Endpoints) -> list[str]:
    return [found.ingress, found.out, found.link, found.guest, found.http]


def test_tcp_counts_up_from_the_port() -> None:
    assert every_endpoint(Endpoints.parse("tcp://10.1.2.3:5570")) == [
        "tcp://10.1.2.3:5570",
        "tcp://10.1.2.3:5571",
        "tcp://10.1.2.3:5573",
        "tcp://10.1.2.3:5574",
        "tcp://10.1.2.3:5575",
    ]


def test_ipc_appends_a_suffix() -> None:
    assert every_endpoint(Endpoints.parse("ipc:///run/p1")) == [f"ipc:///run/p1.{suffix}" for suffix in SUFFIXES]


def test_the_default_is_a_local_address() -> None:
    assert Endpoints.parse(DEFAULT_BASE).is_local


@pytest.mark.parametrize(
    ("base", "host", "wildcard", "local"),
    [
        ("tcp://127.0.0.1:5570", "127.0.0.1", False, True),
        ("tcp://127.9.9.9:5570", "127.9.9.9", False, True),
        ("tcp://localhost:5570", "localhost", False, True),
        ("tcp://[::1]:5570", "::1", False, True),
        ("tcp://[fe80::1%eth0]:5570", "fe80::1%eth0", False, False),
        ("tcp://10.0.0.1:5570", "10.0.0.1", False, False),
        ("tcp://proxy.example.org:5570", "proxy.example.org", False, False),
        ("tcp://*:5570", "*", True, False),
        ("tcp://0.0.0.0:5570", "0.0.0.0", True, False),
        ("tcp://[::]:5570", "::", True, False),
        ("ipc:///run/p1", None, False, True),
    ],
)
def test_who_can_reach_it(base: str, host: str | None, wildcard: bool, local: bool) -> None:
    found = Endpoints.parse(base)
    assert (found.host, found.is_wildcard, found.is_local) == (host, wildcard, local)


@pytest.mark.parametrize(
    "base",
    [
        "",
        "127.0.0.1:5570",
        "tcp://",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:",
        "tcp://:5570",
        "tcp://::1:5570",
        "tcp://a b:5570",
        "tcp://a/b:5570",
        "tcp://a\0b:5570",
        "tcp://a\x1bb:5570",
        "tcp://eth0;10.0.0.1:5570",
        "tcp://a:5570 ",
        "tcp://a:5570\n",
        "tcp://a:\u0665\u0665\u0667\u0660",
        "TCP://a:5570",
        "udp://a:5570",
        "inproc://a",
        "tcp://a:" + "9" * 5000,
        "ipc://",
        "ipc://a\0b",
        "ipc://a\nb",
    ],
)
def test_no_address(base: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid address .*: expected "):
        Endpoints.parse(base)


@pytest.mark.parametrize("port", [1, 65530])
def test_six_ports_fit(port: int) -> None:
    assert Endpoints.parse(f"tcp://a:{port}").http == f"tcp://a:{port + 5}"


@pytest.mark.parametrize("port", ["0", "65531", "65536", "999999999"])
def test_six_ports_do_not_fit(port: str) -> None:
    with pytest.raises(ValueError, match=r"^invalid port .*: expected 1 to 65530"):
        Endpoints.parse(f"tcp://a:{port}")


def test_the_longest_ipc_path_is_counted_in_bytes_with_its_suffix() -> None:
    longest = "/" + "é" * ((MAX_IPC_BYTES - len("/.guest")) // 2)
    assert len(f"{longest}.guest".encode()) in (MAX_IPC_BYTES - 1, MAX_IPC_BYTES)
    Endpoints.parse(f"ipc://{longest}")
    with pytest.raises(ValueError, match=f"expected at most {MAX_IPC_BYTES} bytes"):
        Endpoints.parse(f"ipc://{longest}é")


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("tcp://127.0.0.1:5570", "127.0.0.1:5570"),
        ("tcp://[::1]:5570", "[::1]:5570"),
        ("tcp://*:5570", "*:5570"),
        ("ipc:///run/fabric/p1", "run-fabric-p1"),
        ("ipc:///~$x#+ y", "x-y"),
        ("ipc:////", "proxy"),
    ],
)
def test_default_name(base: str, name: str) -> None:
    assert Endpoints.parse(base).default_name() == name


@given(st.one_of(st.text(), st.text().map("tcp://{}:5570".format), st.text().map("ipc://{}".format)))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        found = Endpoints.parse(text)
    except ValueError:
        return
    endpoints = every_endpoint(found)
    assert len(set(endpoints)) == 5
    assert all(each.isprintable() and each.startswith(("tcp://", "ipc://")) for each in endpoints)
    assert not found.default_name()[101:] and valid_name(found.default_name())
