"""The status page's server: answers, and what those who misbehave cannot do to it."""

from __future__ import annotations

import contextlib
import errno
import http.client
import select
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric.errors import TransportError
from nodes.operate import http_server
from nodes.operate.http_answer import Page, text
from nodes.operate.http_server import MAX_CONNECTIONS, Address, Guard, StatusServer
from tests.support.waiting import until

LOOPBACK = Address("127.0.0.1", 0)


def broken() -> Page:
    raise RuntimeError("no figures")


@pytest.fixture
def server() -> Iterator[StatusServer]:
    with StatusServer(LOOPBACK, {"/healthz": lambda: text(200, "alive"), "/broken": broken}) as server:
        yield server


def open_to(server: StatusServer) -> socket.socket:
    return socket.create_connection((server.address.host, server.address.port), 10)


def answered(connection: socket.socket) -> bytes:
    """All that comes until the end; nothing when the other side let go at once."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := connection.recv(65_536):
            found += chunk
    return found


def get(server: StatusServer, path: str = "/healthz") -> bytes:
    with open_to(server) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(f"GET {path} HTTP/1.1\r\n\r\n".encode())
        return answered(connection)


def workers() -> int:
    return sum(thread.name == "http-status" for thread in threading.enumerate()) - 1


@pytest.mark.parametrize(
    ("url", "address", "local"),
    [
        ("http://127.0.0.1:9100", Address("127.0.0.1", 9100), True),
        ("localhost:80/", Address("localhost", 80), True),
        ("http://[::1]:0", Address("::1", 0), True),
        ("http://*:9100", Address("0.0.0.0", 9100), False),
        ("http://host.example:9100", Address("host.example", 9100), False),
        ("https://127.0.0.1:9100", Address("127.0.0.1", 9100, True), True),
    ],
)
def test_addresses(url: str, address: Address, local: bool) -> None:
    assert Address.parse(url) == address and address.is_local is local
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize("url", ["", "9100", "http://h", "http://h:99999", "httpx://h:1", "tcp://h:1", "http://h:1/x"])
def test_no_addresses(url: str) -> None:
    with pytest.raises(ValueError, match="expected http://HOST:PORT, such as http://127"):
        Address.parse(url)


def test_it_answers_and_a_page_that_fails_harms_no_other(server: StatusServer) -> None:
    assert get(server).endswith(b"\r\n\r\nalive\n")
    assert get(server, "/broken").startswith(b"HTTP/1.1 500 ")
    assert get(server).startswith(b"HTTP/1.1 200 ")


def test_a_port_that_is_taken_is_named(server: StatusServer) -> None:
    with pytest.raises(TransportError, match=rf"cannot listen at {server.address}: Address already in use"):
        StatusServer(server.address, {})


def test_a_host_that_is_not_known_is_named() -> None:
    with pytest.raises(TransportError, match=r"cannot listen at http://no\.such\.host\.invalid:0: "):
        StatusServer(Address("no.such.host.invalid", 0), {})


def test_closed_it_can_be_opened_again_at_once(server: StatusServer) -> None:
    get(server)
    server.close()
    with StatusServer(server.address, {"/a": lambda: text(200, "again")}) as again:
        assert get(again, "/a").endswith(b"again\n")


def test_those_who_ask_slowly_or_not_at_all_keep_no_probe_out(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "PAUSE_S", 10.0)
    slow = [open_to(server) for _ in range(MAX_CONNECTIONS)]
    for connection in slow:
        connection.sendall(b"GET /healthz HT")
    until(lambda: workers() == MAX_CONNECTIONS, "all slots are taken")
    assert get(server).endswith(b"alive\n")
    assert sum(bool(select.select([each], [], [], 0)[0]) for each in slow) == 1, "one has made room"
    for connection in slow:
        connection.close()
    until(lambda: workers() == 0, "all have ended")


def test_those_who_ask_slowly_or_not_at_all_have_no_more_than_their_slots_and_their_time(
    server: StatusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "CONNECTION_S", 2.0)
    slow = [open_to(server) for _ in range(MAX_CONNECTIONS + 1)]
    until(lambda: workers() == MAX_CONNECTIONS, "all slots are taken")
    for connection in slow:
        assert answered(connection) == b""
        connection.close()


def test_one_byte_at_a_time_does_not_buy_more_time(server: StatusServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CONNECTION_S", 0.5)
    with open_to(server) as connection, contextlib.suppress(OSError):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            connection.sendall(b"a")
            connection.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                assert connection.recv(1) == b""
                break
        else:
            pytest.fail("it was listened to for 20 s")
    until(lambda: workers() == 0, "its thread has ended")


def test_one_that_does_not_read_its_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CONNECTION_S", 0.5)
    with StatusServer(LOOPBACK, {"/big": lambda: Page(200, bytes(50_000_000))}) as server, open_to(server) as deaf:
        deaf.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        until(lambda: workers() == 1, "it is being answered")
        until(lambda: workers() == 0, "it was let go")


@pytest.mark.parametrize("garbage", [b"\0" * 20_000, b"\r\n\r\n", b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\n\r\n"])
def test_garbage_is_answered_or_let_go(server: StatusServer, garbage: bytes) -> None:
    with open_to(server) as connection:
        connection.sendall(garbage)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        assert answered(connection)[:10] in (b"HTTP/1.1 4", b"")
    assert get(server).startswith(b"HTTP/1.1 200 ")


TOKEN = "0123456789abcdef"


def asked(server: StatusServer, *headers: str) -> bytes:
    with open_to(server) as connection:
        connection.sendall("\r\n".join(["GET /healthz HTTP/1.1", *headers, "", ""]).encode())
        return answered(connection)


def test_only_who_shows_the_token_is_answered_and_the_others_are_counted() -> None:
    with StatusServer(LOOPBACK, {"/healthz": lambda: text(200, "alive")}, Guard(TOKEN)) as server:
        assert asked(server).startswith(b"HTTP/1.1 401 ")
        assert asked(server, "Authorization: Bearer wrong").startswith(b"HTTP/1.1 401 ")
        assert asked(server, f"Authorization: Bearer {TOKEN}").endswith(b"alive\n")
        assert server.figures() == {"requests": 1, "refused": {"token_missing": 1, "token_wrong": 1, "tls": 0}}
    assert TOKEN not in repr(Guard(TOKEN))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `own` and `other`: certificates that sign themselves, with their keys."""
    folder = tmp_path_factory.mktemp("certificates")
    for name in ("own", "other"):
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={name}",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / f"{name}.key",
             "-out", folder / f"{name}.pem"],
            capture_output=True, check=False,
        )  # fmt: skip
        if made.returncode:
            pytest.skip("openssl cannot make a certificate here")
    return folder


def client(certificates: Path, own: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates / "own.pem"))
    if own:
        context.load_cert_chain(certificates / f"{own}.pem", certificates / f"{own}.key")
    return context


def test_over_tls_only_clients_with_a_certificate_are_answered(certificates: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "own.pem", certificates / "own.key")
    assert not Guard(tls=tls).keeps_others_out
    tls.load_verify_locations(certificates / "own.pem")
    tls.verify_mode = ssl.CERT_REQUIRED
    assert Guard(tls=tls).keeps_others_out
    address = Address("127.0.0.1", 0, True)
    with StatusServer(address, {"/healthz": lambda: text(200, "alive")}, Guard(tls=tls)) as server:
        url = f"{server.address}/healthz"
        assert url.startswith("https://127.0.0.1:")
        with urllib.request.urlopen(url, context=client(certificates, "own"), timeout=10) as answer:
            assert answer.read() == b"alive\n"
        for context in (client(certificates), client(certificates, "other")):
            with pytest.raises((OSError, http.client.HTTPException)):
                urllib.request.urlopen(url, context=context, timeout=10)
        assert not get(server).startswith(b"HTTP")  # without TLS
        until(lambda: server.figures() == {"requests": 1, "refused": {"token_missing": 0, "token_wrong": 0, "tls": 3}},
              "they are counted")  # fmt: skip


def test_a_handshake_that_drips_in_has_no_more_than_its_time(
    certificates: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "CONNECTION_S", 0.5)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates / "own.pem", certificates / "own.key")
    with StatusServer(Address("127.0.0.1", 0, True), {}, Guard(tls=tls)) as server:
        slow = [open_to(server) for _ in range(MAX_CONNECTIONS)]
        until(lambda: workers() == MAX_CONNECTIONS, "all slots are taken")
        slow[0].sendall(b"\x16\x03\x01\x02")
        until(lambda: workers() == 0, "all were let go")
        for connection in slow:
            connection.close()


class Starved:
    """A listener that finds no descriptor for the first three connections."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener, self.failures = listener, 3

    def accept(self) -> Any:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return self._listener.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)


def test_out_of_descriptors_it_says_so_once_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    listen = http_server._listen
    monkeypatch.setattr(http_server, "_listen", lambda address: Starved(listen(address)))
    monkeypatch.setattr(http_server, "PAUSE_S", 0.001)
    with StatusServer(LOOPBACK, {"/healthz": lambda: text(200, "alive")}) as server:
        assert get(server).endswith(b"alive\n")
    assert [record.getMessage() for record in caplog.records] == [
        "cannot accept a connection: [Errno 24] Too many open files; will keep trying"
    ]
