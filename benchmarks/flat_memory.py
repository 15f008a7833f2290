"""Does the memory of the compiled modules stay flat, whatever comes and however much?

    python -m benchmarks.flat_memory [--messages N]     in this process; FABRIC_PURE=1 for the twins

An uplink publishes into a receiver of the same process: plain messages and maps on known topics, one by one and many
at once; ever new topics, large parts, gaps, duplicates, headers, garbage, and what nobody wants; handlers that raise;
subscriptions that come and go; confirmations. The resident memory is printed as it goes. It fails (exit code 1) when
it has grown, from the first tenth of the messages to the last, by more than 8 MiB.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click

from fabric import sockets
from fabric.core import BUILD
from fabric.node.receiver import Receiver
from fabric.node.uplink import Uplink
from fabric.wire import Encoder, Message

ALLOWED_BYTES = 8 * 2**20
TOPICS = [f"flat/{number:03d}/value" for number in range(500)]
MAP = {"k": [1, 2.5, "x", b"y", {"deep": [True, None]}]}
PAYLOADS: tuple[Any, ...] = (b"x" * 64, "text", 7, 1.5, None, MAP, "é" * 300)
ROUND = 10_000
"""Messages between two confirmations, at which the odd ones come as well."""


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


class Loop:
    """An uplink, its ingress, and a receiver that reads from it."""

    def __init__(self) -> None:
        self.random = random.Random(1)
        self.context = sockets.new_context()
        self.pull = sockets.pull(self.context, recv_hwm=0)
        self.pull.bind("inproc://ingress")
        self.up = Uplink(
            self.context,
            "0123",
            lambda: self.random.getrandbits(64),
            hwm_msgs=0,
            max_payload_bytes=2**20,
            max_unconfirmed_bytes=2**24,
            send_timeout_s=5.0,
        )
        self.up.open("inproc://ingress")
        self.up.proven(0.0, 0.5)
        self.receiver = Receiver(
            threading.RLock(),
            b"$ack/0123/",
            lambda raw, body: None,
            lambda gap: None,
            lambda notice: None,
            max_payload_bytes=2**20,
            reorder_window_s=0.5,
            max_entries=5_000,
        )
        self.receiver.broker.subscribe("flat/+/value", self.take)
        self.receiver.broker.subscribe("odd/#", self.take)
        self.prefixes = {topic: topic.encode() + b"\0" for topic in (*TOPICS, "unwanted/x")}
        self.heard = self.sent = self.now = 0
        self.ident = 0

    def take(self, message: Message) -> None:
        self.heard += 1
        if message.payload == "raise":
            raise ValueError("deliberately")

    def turn(self) -> None:
        """Send a round, let it arrive, and confirm it."""
        up, prefixes = self.up, self.prefixes
        messages = [(self.random.choice(TOPICS), self.random.choice(PAYLOADS)) for _ in range(ROUND // 2)]
        up.outlet.publish_many(messages, prefixes, self.otherwise)
        for topic, payload in messages[: ROUND // 4]:
            up.publish(prefixes[topic], payload)
            up.publish(prefixes["unwanted/x"], payload)
        self.send_odd()
        self.receiver.intake.drain(self.pull, 10**9)
        self.now += 1
        up.watermark_returned([1, up._unconfirmed.sent], float(self.now))
        up.tick(float(self.now))
        self.receiver.tick(float(self.now))
        self.sent += ROUND

    def otherwise(self, topic: str, payload: Any, timeout_s: float | None) -> int:
        raise AssertionError(topic)

    def send_odd(self) -> None:
        rng, encoder = self.random, Encoder(9)
        for number in range(20):
            topic = f"odd/{rng.randrange(10**9)}"
            part = encoder.part(topic.encode() + b"\0", 1, time.time_ns(), rng.choice(PAYLOADS))
            garbage = bytearray(part)
            garbage[rng.randrange(len(garbage))] = rng.randrange(256)
            for each in (part, part, bytes(garbage), part[: rng.randrange(len(part))]):
                self.receiver.intake.take(each)
            headers: dict[str, Any] = rng.choice([{"moved": True}, {"tail": True}, {"k": "v"}])
            self.up.publish(self.prefixes[TOPICS[number]], rng.choice(["raise", bytes(100_000)]), headers)
            self.up.publish(self.prefixes[TOPICS[number]], rng.choice(["raise", bytes(100_000), ["raise"]]))
        if self.ident:
            self.receiver.broker.unsubscribe(self.ident)
            self.receiver.forget(["flat/001/#"])
        self.ident = 0 if self.ident else self.receiver.broker.subscribe("flat/001/#", len)


@click.command(help=__doc__)
@click.option("--messages", default=2_000_000, show_default=True)
def main(messages: int) -> None:
    logging.disable(logging.CRITICAL)  # handlers raise on purpose
    loop, start, steps = Loop(), time.monotonic(), 10
    print(f"{BUILD}: {messages:,} messages")
    sizes = []
    for step in range(1, steps + 1):
        while loop.sent < messages * step / steps:
            loop.turn()
        gc.collect()
        sizes.append(resident_bytes())
        print(f"{loop.sent:>12,}  {sizes[-1] / 2**20:7.1f} MiB  {time.monotonic() - start:6.1f} s", flush=True)
    grown = sizes[-1] - sizes[0]
    print(f"grown by {grown / 2**20:.1f} MiB; {loop.heard:,} delivered, {loop.receiver.unmatched:,} unmatched")
    sys.exit(grown > ALLOWED_BYTES)


if __name__ == "__main__":
    main()
