"""Round trips, acks with many filters held, storms of connections, and what each costs the server in memory."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import psutil

from benchmarks.peers.clients import client_class
from benchmarks.peers.figures import Figures, Work
from benchmarks.peers.servers import Servers, servers
from benchmarks.peers.workers import Worker, WorkerError, workers

LEVELS = (1, 1_000, 100_000)
PROXIES = (1, 2, 4, 8)
ACKS = 50
WARM_ACKS = 100
HOLD_S = 20.0
STORM = 500
STORM_PROCESSES = 5
WARM_TRIPS = 100
MAX_PREFIXES = 1_000  # of a Node, by default
FABRIC_HOLDS = (
    f"makes coarser prefixes of more than {MAX_PREFIXES:,} filters: its proxy holds no more than these, and the node "
    "sorts out what else arrives"
)
Say = Callable[[str], None]


def round_trip(rows: Sequence[str], repeats: int, rounds: int, say: Say) -> Work:
    """From one process to another and back, 64 bytes, each answer and each next question out of a callback."""
    work = Work("round_trip", "Round trip", "us, median", "lower", ["one at a time"])
    (setting,) = work.settings
    with contextlib.ExitStack() as stack:
        pings = {}
        for peer in rows:
            try:
                address = stack.enter_context(servers(peer)).addresses[0]
                ping, echo = stack.enter_context(workers(peer, 2))
                echo.do("echo", address)
                ping.do("ping", address, 64)
                ping.do("trips", WARM_TRIPS, 64)
                pings[peer] = ping
            except RuntimeError as error:
                work.of(setting, peer).note = str(error)
        times: dict[str, list[float]] = {peer: [] for peer in pings}
        for _ in range(repeats):
            for peer, ping in pings.items():
                figures = work.of(setting, peer)
                try:
                    found = ping.do("trips", rounds, 64)
                except WorkerError as error:
                    figures.note = str(error)
                    figures.values.append(0.0)
                    continue
                times[peer] += found
                figures.values.append(statistics.median(found))
    for peer, all_of_them in times.items():
        if not all_of_them:
            continue
        cuts = statistics.quantiles(all_of_them, n=1000)
        work.of(setting, peer).more = {"p99": cuts[989], "p99.9": cuts[998]}
        say(f"round trip: {peer} {statistics.median(all_of_them):,.0f} us, p99 {cuts[989]:,.0f} us")
    return work


@dataclass
class Holder:
    """One client that holds more and more filters, and its server."""

    servers: Servers
    worker: Worker
    rss: int = 0
    held: int = 0

    def hold(self, level: int) -> float:
        """Hold so many filters, or as many as there is time for; return the seconds it took."""
        self.held, took_s = self.worker.do("hold", self.servers.addresses[0], self.held, level, HOLD_S)
        self.rss = self.rss or _rss(self.servers.pids[0])  # with the first: a connection is not what is measured
        return float(took_s)

    def bytes_each(self) -> float:
        return (_rss(self.servers.pids[0]) - self.rss) / self.held


def acks(rows: Sequence[str], levels: Sequence[int], repeats: int, say: Say) -> tuple[Work, Work]:
    """From a new subscription to its ack, and what a subscription takes in the server."""
    work = Work("acks", "Subscription to ack", "us, median", "lower", [f"{level:,} held" for level in levels])
    memory = Work("subscription_memory", "Memory of a subscription in the server", "bytes", "lower", [])
    memory.settings = [f"{level:,} filters" for level in levels if level > 1]
    with contextlib.ExitStack() as stack:
        holders = {}
        for peer in rows:
            try:
                running = stack.enter_context(servers(peer))
                holders[peer] = Holder(running, stack.enter_context(workers(peer, 1))[0])
            except RuntimeError as error:
                work.of(work.settings[0], peer).note = str(error)
        for level, setting in zip(levels, work.settings, strict=True):
            for peer, holder in list(holders.items()):
                try:
                    say(f"acks: {peer} took {holder.hold(level):.2f} s to hold {holder.held:,} filters")
                except WorkerError as error:
                    work.of(setting, peer).note = str(error)
                    del holders[peer]
                    continue
                if level > 1:
                    work.of(setting, peer).note = _said_of(peer, holder.held, level)
                    if peer != "three":
                        grown = memory.of(f"{level:,} filters", peer)
                        grown.values.append(holder.bytes_each())
                        grown.note = work.of(setting, peer).note
            for repetition in range(repeats):
                for peer, holder in holders.items():
                    _time_acks(work.of(setting, peer), peer, holder, f"{level}-{repetition}")
    return work, memory


def _time_acks(figures: Figures, peer: str, holder: Holder, tag: str) -> None:
    if not client_class(peer).ack:
        figures.note = "has no ack"
        return
    try:
        figures.values.append(statistics.median(holder.worker.do("acks", ACKS, tag)))
    except WorkerError as error:
        figures.note = str(error)
        figures.values.append(0.0)


def ack_proxies(counts: Sequence[int], repeats: int, say: Say) -> Work:
    """From a new subscription to its ack by every proxy of a mesh: one after the other, at one of its nodes."""
    settings = [f"{count} prox{'y' if count == 1 else 'ies'}" for count in counts]
    work = Work("ack_proxies", "Subscription to ack, by the number of proxies", "us, median", "lower", settings)
    for count, setting in zip(counts, settings, strict=True):
        figures = work.of(setting, "fabric")
        with servers("fabric", count) as running, workers("fabric", 1) as (worker,):
            worker.do("hold", running.addresses[-1], 0, 1, HOLD_S)
            worker.do("acks", WARM_ACKS, "warm")
            times = [worker.do("acks", 2 * ACKS, str(repetition)) for repetition in range(repeats)]
        figures.values += [statistics.median(each) for each in times]
        figures.more = {"p99": statistics.quantiles(chain.from_iterable(times), n=100)[98]}
        say(f"acks, {setting}: {figures.median:,.0f} us")
    return work


def _said_of(peer: str, held: int, level: int) -> str:
    if held < level:
        return f"held only {held:,} filters after {HOLD_S:g} s, which the figure is for"
    return FABRIC_HOLDS if peer == "fabric" and level > MAX_PREFIXES else ""


def storm(rows: Sequence[str], crowd: int, repeats: int, say: Say) -> tuple[Work, Work]:
    """All connect at once, each with one subscription that is acked; and what a connection takes in the server."""
    work = Work("storm", "Connect storm", "s until all are ready", "lower", [f"{crowd} clients"])
    memory = Work("connection_memory", "Memory of a connection in the server", "kB", "lower", [f"{crowd} clients"])
    (setting,) = work.settings
    for _ in range(repeats):
        for peer in rows:
            try:
                took_s, bytes_each = _one_storm(peer, crowd)
            except RuntimeError as error:
                work.of(setting, peer).note = str(error)
                took_s = bytes_each = 0.0
            work.of(setting, peer).values.append(took_s)
            memory.of(setting, peer).values.append(bytes_each / 1000)
            say(f"storm: {peer}, {crowd} clients " + (f"ready in {took_s:.2f} s" if took_s else "were not ready"))
    return work, memory


def _one_storm(peer: str, crowd: int) -> tuple[float, float]:
    """Return the seconds until all were ready, and bytes of a connection in the server."""
    share = crowd // STORM_PROCESSES
    with servers(peer) as running, workers(peer, STORM_PROCESSES) as hands:
        before, began = _rss(running.pids[0]), time.monotonic()
        for number, each in enumerate(hands):
            each.ask("crowd", running.addresses[0], number * share, share)
        took_s = max(each.answer() for each in hands) - began
        return took_s, (_rss(running.pids[0]) - before) / crowd


def _rss(pid: int) -> int:
    """Bytes of a server in memory."""
    return int(psutil.Process(pid).memory_info().rss)
