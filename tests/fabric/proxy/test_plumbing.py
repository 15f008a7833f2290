"""Plumbing: the sockets of a proxy, and what may be changed at them while the streams run."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator

import pytest
import zmq

from fabric import sockets
from fabric.endpoints import Endpoints
from fabric.errors import TransportError
from fabric.proxy.plumbing import Plumbing
from tests.support.processes import free_base
from tests.support.waiting import Box, until

PART = b"a/b\0body"


class Proxyless:
    """Plumbing that runs without a control thread, and plain sockets for what is around it."""

    def __init__(self) -> None:
        self.endpoints = Endpoints.parse(free_base())
        self.deaths = Box()
        self.plumbing = Plumbing(
            self.endpoints, secrets.token_hex(8), hwm_msgs=1_000, max_part_bytes=100_000, on_death=self.deaths
        )
        self.context = sockets.new_context()

    def subscriber(self, endpoint: str) -> sockets.Socket:
        found = sockets.xsub(self.context, recv_hwm=0)
        sockets.connect(found, endpoint)
        found.send(b"\x01a/")
        found.rcvtimeo = 100
        return found

    def publisher(self) -> sockets.Socket:
        found = sockets.push(self.context, send_hwm=100, timeout_ms=10_000)
        sockets.connect(found, self.endpoints.ingress)
        return found

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


def test_what_it_says_reaches_subscribers_and_its_own_ear(running: Proxyless) -> None:
    running.plumbing.ear.send(b"\x01a/")
    subscriber = running.subscriber(running.endpoints.out)
    assert until(lambda: running.heard(subscriber), "the subscription is there") == PART
    assert until(lambda: list(sockets.read_waiting(running.plumbing.ear)), "the own ear")[0] == PART
    assert running.plumbing.counts()["ingress"].back_out > 0


def test_nobody_publishes_before_admit_and_everybody_after(running: Proxyless) -> None:
    subscriber = running.subscriber(running.endpoints.out)
    until(lambda: running.heard(subscriber), "the subscription is there")
    host, _, port = running.endpoints.ingress.removeprefix("tcp://").rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)))
    running.plumbing.admit()
    publisher = running.publisher()
    publisher.send(b"a/late\0")
    assert until(lambda: running.heard(subscriber) == b"a/late\0", "a publisher is heard")


def test_linked_it_passes_on_to_its_own_subscribers_only(running: Proxyless) -> None:
    other = Proxyless()
    try:
        other.plumbing.start()
        running.plumbing.link(other.endpoints.link)
        subscriber = running.subscriber(running.endpoints.relay)
        until(lambda: other.heard(subscriber), "the link carries")
        running.plumbing.unlink(other.endpoints.link)
        until(lambda: other.heard(subscriber) is None, "the link is gone")
        with pytest.raises(zmq.ZMQError):
            running.plumbing.link("tcp://nowhere")
        assert running.plumbing.counts()["relay"].back_out > 0, "a change that failed harms no stream"
    finally:
        other.plumbing.stop(linger_ms=0)
        other.context.destroy(linger=0)


def test_what_a_stray_cancel_took_away_is_subscribed_anew(running: Proxyless) -> None:
    beacon = running.plumbing.beacons["relay"]
    subscriber = running.subscriber(running.endpoints.relay)
    until(lambda: b"\x01a/" in list(sockets.read_waiting(beacon)), "the subscription passes the relay")
    running.plumbing.subscribe_relay([b"x/"])
    until(lambda: b"\x01x/" in list(sockets.read_waiting(beacon)), "the relay subscribes by itself")
    subscriber.close(0)


def test_addresses_in_use_are_told_and_nothing_is_left(running: Proxyless) -> None:
    with pytest.raises(TransportError, match="cannot listen at"):
        Plumbing(running.endpoints, secrets.token_hex(8), hwm_msgs=10, max_part_bytes=1_000, on_death=print)


def test_one_that_never_started_is_closed_by_abandon() -> None:
    found = Proxyless()
    found.plumbing.abandon()
    again = Plumbing(found.endpoints, secrets.token_hex(8), hwm_msgs=10, max_part_bytes=1_000, on_death=print)
    again.abandon()
    found.context.destroy(linger=0)
