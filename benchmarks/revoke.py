"""How long does somebody who is revoked go on sending and hearing, and does anybody else lose a message?

    python -m benchmarks.revoke [--rounds N] [--rate N]

Two proxies with keys, under load: one node publishes `--rate` messages a second, another gets them by the other proxy.
In each round an identity of its own publishes and hears by plain sockets, which do not stop by themselves as a node
would. Then `keys.toml` changes, as `fabric keys revoke` does it. All by one clock, which Linux has for all processes:

    last in   from the change to the last of its messages that somebody got
    last out  from the change to the last message that it got
"""

from __future__ import annotations

import multiprocessing
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click
import zmq

from benchmarks import lab
from fabric import Message, Node, sockets
from fabric.endpoints import Endpoints
from fabric.identity import folder as key_folder
from fabric.identity.keys import Keys, load
from fabric.rights import tag_of
from fabric.sockets import Curve
from fabric.wire import Encoder

SETTLE_S = 1.5
"""After a change: within a second new rules hold, says the manual."""
context = multiprocessing.get_context("spawn")


def eve(base: str, keys: Keys, ready: Any, stop: Any, told: Any) -> None:
    """Publish and hear without a pause for as long as it goes; tell when the last message came."""
    with zmq.Context() as own:
        curve, endpoints = Curve(keys.mesh[0], keys.public, keys.secret), Endpoints.parse(base)
        receiver, sender = (sockets.with_keys(own.socket(kind), curve) for kind in (zmq.XSUB, zmq.PUSH))
        receiver.linger = sender.linger = 0
        receiver.connect(endpoints.out)
        receiver.send(b"\x01load/")
        sender.connect(endpoints.ingress)
        encoder = Encoder(int(tag_of(keys.public) + "00000001", 16))
        last = 0.0
        for number in range(1, 1 << 40):
            if stop.is_set():
                break
            sender.poll(1, zmq.POLLOUT)
            try:
                sender.send(encoder.part(b"eve/x\0", number, time.time_ns(), None), zmq.NOBLOCK)
            except zmq.Again:
                pass
            while receiver.poll(0):
                receiver.recv()
                last = time.monotonic()
                ready.set()
            time.sleep(0.0005)
        told.put(last)
        receiver.close()
        sender.close()


def load_it(base: str, keys: Keys, rate: int, stop: Any, told: Any) -> None:
    """Publish so many a second; tell how many in all."""
    with Node(base, keys=keys) as node:
        count, since = 0, time.monotonic()
        while not stop.is_set():
            while count < (time.monotonic() - since) * rate:
                node.publish("load/1", count)
                count += 1
            time.sleep(0.001)
        told.put((count, node.stats()["reconnects"]))


class Witness:
    """What an honest node gets: when the last message of each topic came, and how many."""

    def __init__(self) -> None:
        self.last_eve, self.loads = 0.0, 0
        self.heard_eve = threading.Event()

    def take(self, message: Message) -> None:
        if message.topic == "eve/x":
            self.last_eve = time.monotonic()
            self.heard_eve.set()
        else:
            self.loads += 1


def one_round(folder: Path, base: str, name: str, witness: Witness) -> tuple[float, float]:
    """Return (last in, last out) in ms."""
    ready, stop, told = context.Event(), context.Event(), context.Queue()
    witness.heard_eve.clear()
    partner = context.Process(target=eve, args=(base, load(folder, name), ready, stop, told), daemon=True)
    partner.start()
    if not (ready.wait(30) and witness.heard_eve.wait(30)):
        raise click.ClickException(f"{name} was not heard, or hears nothing")
    key_folder.revoke(folder, name)
    changed = time.monotonic()
    time.sleep(SETTLE_S)
    stop.set()
    last_out = told.get(timeout=30)
    partner.join(10)
    return max(0.0, witness.last_eve - changed) * 1000, max(0.0, last_out - changed) * 1000


@click.command(help=__doc__)
@click.option("--rounds", default=10, show_default=True)
@click.option("--rate", default=2_000, show_default=True, help="messages a second of the load")
def main(rounds: int, rate: int) -> None:
    with tempfile.TemporaryDirectory() as at:
        folder = Path(at) / "keys"
        key_folder.create(folder)
        for name, role in {"p1": "proxy", "p2": "proxy", "load": "node", "witness": "node"}.items():
            key_folder.add(folder, name, (role,))
        for number in range(rounds):
            key_folder.add(folder, f"eve-{number}")
        stop, told = context.Event(), context.Queue()
        witness = Witness()
        with (
            lab.proxy_processes(2, folder) as ((first, _), (second, _)),
            Node(second, keys=load(folder, "witness")) as node,
        ):
            gaps: list[object] = []
            node.on_gap(gaps.append)
            for topic in ("eve/x", "load/1"):
                assert node.wait_ack(node.subscribe(topic, witness.take), 10).ok
            loader = context.Process(target=load_it, args=(first, load(folder, "load"), rate, stop, told), daemon=True)
            loader.start()
            took = [one_round(folder, (first, second)[n % 2], f"eve-{n}", witness) for n in range(rounds)]
            stop.set()
            sent, reconnects = told.get(timeout=30)
            loader.join(10)
            end = time.monotonic() + 10
            while witness.loads < sent and time.monotonic() < end:
                time.sleep(0.01)
            others = {
                "sent": sent,
                "lost": sent - witness.loads,
                "gaps": len(gaps),
                "reconnects": reconnects + node.stats()["reconnects"],
            }
    rows = {
        what: {"median_ms": round(statistics.median(times), 1), "longest_ms": round(max(times), 1)}
        for what, times in zip(("last in", "last out"), zip(*took, strict=True), strict=True)
    }
    print(lab.table(("", "median ms", "longest ms"), [(what, *row.values()) for what, row in rows.items()]))
    print(f"others: {others}")
    print(f"written: {lab.write('revoke', {'rows': rows, 'took_ms': took, 'others': others, 'rate': rate})}")


if __name__ == "__main__":
    main()
