"""Plumbing: the sockets of a proxy, and what may be changed at them while the switch runs."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from fabric import sockets
from fabric.core.steering import END, Place, read_failure
from fabric.endpoints import Endpoints
from fabric.errors import TransportError
from fabric.proxy.plumbing import Plumbing
from tests.support.processes import free_base
from tests.support.waiting import Box, until

PART = b"a/b\0body"
OPTIONS: dict[str, Any] = {
    "own": b"$ack/me/",
    "news": b"$fabric/proxy/",
    "hwm_msgs": 1_000,
    "max_body_bytes": 10_000,
    "max_part_bytes": 100_000,
}


class Proxyless:
    """Plumbing that runs without a control thread, and plain sockets for what is around it."""

    def __init__(self) -> None:
        self.endpoints = Endpoints.parse(free_base())
        self.deaths = Box()
        self.plumbing = Plumbing(self.endpoints, on_death=self.deaths, **OPTIONS)
        self.context = sockets.new_context()

    def subscriber(self, endpoint: str) -> sockets.Socket:
        found = sockets.xsub(self.context, recv_hwm=0)
        sockets.connect(found, endpoint)
        found.send(b"\x01a/")
        found.rcvtimeo = 100
        return found

    def publisher(self) -> sockets.Socket:
        """Of a proxy that has been told to admit; waits until it listens, since a PUSH of ours connects once only."""
        until(self.admits, "it listens")
        found = sockets.push(self.context, send_hwm=100, timeout_ms=10_000)
        sockets.connect(found, self.endpoints.ingress)
        return found

    def admits(self) -> bool:
        host, _, port = self.endpoints.ingress.removeprefix("tcp://").rpartition(":")
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, int(port))):
            return True
        return False

    def heard(self, subscriber: sockets.Socket) -> bytes | None:
        """Say something beside what publishers send, and return what the subscriber has heard of it."""
        self.plumbing.say(PART)
        try:
            return subscriber.recv()
        except zmq.Again:
            return None


@pytest.fixture
def running() -> Iterator[Proxyless]:
    found = Proxyless()
    found.plumbing.start()
    yield found
    found.plumbing.stop(linger_ms=0)
    found.context.destroy(linger=0)
    assert found.deaths.items == []


def test_what_it_says_reaches_subscribers_at_every_port(running: Proxyless) -> None:
    for endpoint in (running.endpoints.out, running.endpoints.link, running.endpoints.guest):
        subscriber = running.subscriber(endpoint)
        assert until(lambda subscriber=subscriber: running.heard(subscriber), "it is said") == PART  # type: ignore[misc]
    assert running.plumbing.counts().parts["out"] >= 3


def test_what_it_sends_reaches_one_place_only(running: Proxyless) -> None:
    here, link = running.subscriber(running.endpoints.out), running.subscriber(running.endpoints.link)
    for subscriber in (here, link):
        until(lambda subscriber=subscriber: running.heard(subscriber), "the subscription is there")  # type: ignore[misc]
    while link.poll(50):
        link.recv()
    running.plumbing.send(Place.OUT, b"a/only\0")
    until(lambda: here.recv() == b"a/only\0", "it came")
    assert not link.poll(50)


def test_nobody_publishes_before_admit_and_everybody_after(running: Proxyless) -> None:
    subscriber = running.subscriber(running.endpoints.out)
    until(lambda: running.heard(subscriber), "the subscription is there")
    assert not running.admits()
    running.plumbing.admit()
    publisher = running.publisher()
    publisher.send(b"a/late\0")
    assert until(lambda: running.heard(subscriber) == b"a/late\0", "a publisher is heard")


def test_linked_it_passes_on_to_its_own_subscribers_only(running: Proxyless) -> None:
    other = Proxyless()
    try:
        other.plumbing.start()
        running.plumbing.link(other.endpoints.link)
        subscriber = running.subscriber(running.endpoints.out)
        until(lambda: other.heard(subscriber), "the link carries")
        assert running.plumbing.counts().parts["relay"] > 0
        running.plumbing.unlink(other.endpoints.link)
        until(lambda: other.heard(subscriber) is None, "the link is gone")
        running.plumbing.link("tcp://nowhere")
        failed = until(lambda: [each for each in running.plumbing.reports() if each[0] == Place.CONTROL], "its refusal")
        assert read_failure(failed[0]).endpoint == "tcp://nowhere"
        assert running.heard(subscriber) == PART, "a change that failed harms nothing"
    finally:
        other.plumbing.stop(linger_ms=0)
        other.context.destroy(linger=0)


def test_the_relay_subscribes_for_the_proxy_itself_and_takes_it_back(running: Proxyless) -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as peer:
        peer.linger, peer.rcvtimeo = 0, 10_000
        port = peer.bind_to_random_port("tcp://127.0.0.1")
        running.plumbing.link(f"tcp://127.0.0.1:{port}")
        assert {peer.recv(), peer.recv()} == {b"\x01" + OPTIONS["own"], b"\x01" + OPTIONS["news"]}
        running.plumbing.subscribe_relay([b"x/", b"y/"])
        running.plumbing.cancel_relay(b"x/")
        assert [peer.recv() for _ in range(3)] == [b"\x01x/", b"\x01y/", b"\x00x/"]


def test_subscriptions_and_echoes_are_reported(running: Proxyless) -> None:
    running.subscriber(running.endpoints.out)
    until(lambda: b"\x02\x01a/" in list(running.plumbing.reports()), "the subscription")
    running.plumbing.echo(b"word")
    assert until(lambda: list(running.plumbing.reports()), "the echo") == [b"\x00Eword"]


def test_addresses_in_use_are_told_and_nothing_is_left(running: Proxyless) -> None:
    with pytest.raises(TransportError, match="cannot listen at"):
        Plumbing(running.endpoints, on_death=print, **OPTIONS)


def test_one_that_never_started_is_closed_by_abandon() -> None:
    found = Proxyless()
    found.plumbing.abandon()
    again = Plumbing(found.endpoints, on_death=print, **OPTIONS)
    again.abandon()
    found.context.destroy(linger=0)


def test_it_says_when_the_switch_ends_unasked() -> None:
    found = Proxyless()
    found.plumbing.start()
    found.plumbing._command(END)
    assert found.deaths.wait() == ["the switch ended unasked"]
    found.plumbing.stop(linger_ms=0)
    found.context.destroy(linger=0)
