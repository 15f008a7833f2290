"""What do keys and rights cost a proxy for a published message, with one identity in the rules and with a thousand?

    python -m benchmarks.keys_cost [--messages N] [--blocks N]

CPU time of the proxy's process for each message of 64 bytes, from a plain PUSH, to no subscriber and to one. Without
keys, with keys and one identity, and with a thousand of which each has ten rights; the three in turns, medians.
Encryption is in it: about 1 us for each message in and out. What the rights cost is the difference between one and a
thousand, and the figure without encryption that the second line gives: what judging takes alone, within the switch.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import zmq

from benchmarks import lab
from fabric import sockets
from fabric.core._gate import Verdicts
from fabric.core.gate import Gate
from fabric.endpoints import Endpoints
from fabric.identity.keys import load, new_pair
from fabric.identity.rules import parse
from fabric.rights import tag_of
from fabric.sockets import Curve
from fabric.wire import encode

RIGHTS = 10
CASES = {"without keys": 0, "1 identity": 1, "1,000 identities": 1_000}


def make_folder(folder: Path, identities: int) -> Path:
    """Write a folder of keys by hand: a thousand changes to one file, each checked, would take minutes."""
    folder.mkdir()
    pairs = {"mesh": new_pair(), "p1": new_pair(), "me": new_pair()}
    for name, (_, secret) in pairs.items():
        path = folder / f"{name}.key"
        path.touch(0o600)
        path.write_text(secret)
    rights = ", ".join(f'"topic{number}/+/x"' for number in range(RIGHTS - 1))
    lines = [f'mesh = ["{pairs["mesh"][0]}"]', f'[roles.r]\npublish = [{rights}, "a/#"]\nsubscribe = ["a/#"]']
    others = {f"other-{number}": new_pair()[0] for number in range(identities - 1)}
    lines += [f'[identities.p1]\nkeys = ["{pairs["p1"][0]}"]\nroles = ["proxy"]']
    keys = {**others, "me": pairs["me"][0]}
    lines += [f'[identities.{name}]\nkeys = ["{key}"]\nroles = ["r"]' for name, key in keys.items()]
    (folder / "keys.toml").write_text("\n".join(lines))
    return folder


@contextmanager
def running(identities: int, at: Path) -> Iterator[Bench]:
    folder = make_folder(at / f"keys {identities}", identities) if identities else None
    with lab.proxy_processes(1, folder) as ((base, process),), zmq.Context() as context:
        yield Bench(context, base, process.pid, folder)
        context.destroy(linger=0)


class Bench:
    """One proxy, a PUSH and an XSUB at it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], base: str, pid: int, folder: Path | None) -> None:
        curve, tag = None, "00000001"
        if folder is not None:
            keys = load(folder, "me")
            curve, tag = Curve(keys.mesh[0], keys.public, keys.secret), tag_of(keys.public)
        self.pid, endpoints = pid, Endpoints.parse(base)
        self.sender, self.receiver = (sockets.with_keys(context.socket(kind), curve) for kind in (zmq.PUSH, zmq.XSUB))
        self.sender.sndhwm = self.receiver.rcvhwm = 0
        self.sender.connect(endpoints.ingress)
        self.receiver.connect(endpoints.out)
        self.part = encode("a/b", int(tag + "00000001", 16), 1, time.time_ns(), "x" * 64)
        self.last = encode("a/last", int(tag + "00000001", 16), 1, time.time_ns(), None)
        self.receiver.send(b"\x01a/last\0")
        while not self.receiver.poll(50):
            self.sender.send(self.last)

    def block(self, messages: int, subscribed: bool) -> float:
        """Return the proxy's CPU time of a message, in us."""
        self.receiver.send(bytes([subscribed]) + b"a/b\0")
        time.sleep(0.1)  # it is held, or not any more
        while self.receiver.poll(50):
            self.receiver.recv()
        before = lab.cpu_s(self.pid)
        for _ in range(messages):
            self.sender.send(self.part)
        self.sender.send(self.last)
        while not self.receiver.recv().startswith(b"a/last\0"):
            pass
        return (lab.cpu_s(self.pid) - before) / messages * 1e6


def judging_us(identities: int, at: Path, rounds: int = 200_000) -> float:
    """Return what a verdict takes, in us: the compiled table, called from Python, less a call that looks no further."""
    rules = parse((make_folder(at / f"judging {identities}", identities) / "keys.toml").read_text())
    verdicts = Verdicts(Gate(rules.permissions()))
    key = rules.identities["me"].keys[0]
    user = f"{1:016x}{key}".encode()
    body = b"\x95\x01\xcf" + bytes.fromhex(tag_of(key)) + b"0" * 64
    assert verdicts.refusal(5, user, b"a/b", body) is None

    def took(descriptor: int) -> float:
        start = time.process_time()
        for _ in range(rounds):
            verdicts.refusal(descriptor, user, b"a/b", body)
        return time.process_time() - start

    return (took(5) - took(-1)) / rounds * 1e6  # there is no such descriptor


@click.command(help=__doc__)
@click.option("--messages", default=50_000, show_default=True, help="in a block")
@click.option("--blocks", default=7, show_default=True)
def main(messages: int, blocks: int) -> None:
    took: dict[str, dict[str, list[float]]] = {case: {"nobody": [], "one": []} for case in CASES}
    with tempfile.TemporaryDirectory() as at, ExitStack() as stack:
        benches = {case: stack.enter_context(running(count, Path(at))) for case, count in CASES.items()}
        for _ in range(blocks):
            for case, bench in benches.items():
                took[case]["nobody"].append(bench.block(messages, False))
                took[case]["one"].append(bench.block(messages, True))
        judging = {str(count): round(judging_us(count, Path(at)), 3) for count in (1, 1_000)}
    rows = {case: {to: round(statistics.median(each), 2) for to, each in found.items()} for case, found in took.items()}
    print(lab.table(("proxy, CPU us", "to nobody", "to one"), [(case, *row.values()) for case, row in rows.items()]))
    print(f"judging alone, us: {judging}")
    print(f"written: {lab.write('keys_cost', {'rows': rows, 'judging_us': judging, 'took_us': took})}")


if __name__ == "__main__":
    main()
