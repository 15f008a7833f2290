"""Measure the fabric beside its peers, and write benchmarks/RESULTS.md with its plots.

    python -m benchmarks.peers.run [--quick] [--peers fabric,nats] [--works fan_out,acks]

Peers take turns within every repetition, and ratios are taken there: the speed of a machine drifts by a third from
minute to minute, ratios hold. Peers whose server or client lacks are named and left out. Run it on an idle machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

import click

from benchmarks import lab
from benchmarks.peers import connections, fan, keeping, repair, report
from benchmarks.peers.clients import CLOSED, KEEPING, PEERS, peer_of, with_variants
from benchmarks.peers.closed import closed_folder
from benchmarks.peers.costs import Costs
from benchmarks.peers.figures import Results, Work
from benchmarks.peers.matching import matching
from benchmarks.peers.servers import lacks, versions

FANS = {
    "fan_out": ("Fan-out of 64 B", "deliveries/s", fan.FAN_OUT),
    "payloads": ("Payloads, to one subscriber", "deliveries/s", fan.PAYLOADS),
    "wildcard": ("A leading wildcard that matches 1 % of the traffic", "messages/s sorted out", fan.WILDCARD),
    "topics": ("10,000 topics, 64 B", "deliveries/s", fan.TOPICS_10_000),
    "nobody": ("What nobody wants, 64 B", "messages/s", fan.NOBODY),
    "pair": ("Two servers between, 64 B", "deliveries/s", fan.PAIR),
    "repair_cost": ("With what was sent kept to be asked for, 64 B", "deliveries/s", fan.REPAIR_COST),
}
WORKS = (*FANS, "round_trip", "acks", "ack_proxies", "storm", "matcher", "repair", "keeping")
VARIANTS = {"fan_out": ("async",), "round_trip": ("libzmq", "async"), "acks": ("three",),
            "repair_cost": tuple(KEEPING)}  # fmt: skip
"""Works with rows besides those of the peers."""
CLOSED_WORKS = ("fan_out", "round_trip", "acks")
"""Works with rows of closed servers, with `--closed`."""


def say(words: str) -> None:
    print(f"benchmarks.peers: {words}", file=sys.stderr, flush=True)


def names(_context: click.Context, option: click.Parameter, value: str) -> list[str]:
    """A list with commas, of what there is."""
    known = PEERS if option.name == "peers" else WORKS
    found = value.split(",")
    for each in found:
        if each not in known:
            raise click.BadParameter(f"{each!r} is not known; there are {', '.join(known)}")
    return [each for each in known if each in found]


def fan_works(wanted: list[str], peers: list[str], quick: bool) -> list[Work]:
    """The works with publishers and subscribers; those with one server share its processes. Last what they cost."""
    repeats, run_s = (1, 0.3) if quick else (5, 0.6)
    done, costs = [], Costs()
    for servers in (1, 2):
        of_these = [name for name in wanted if name in FANS and (name == "pair") == (servers == 2)]
        if of_these:
            settings = [each for name in of_these for each in FANS[name][2]]
            rows = with_variants(peers, [row for name in of_these for row in VARIANTS.get(name, ())])
            givers, takers = max(each.publishers for each in settings), max(each.subscribers for each in settings)
            with fan.fields(rows, givers, takers, servers) as found:
                for name in of_these:
                    title, unit, settings = FANS[name]
                    of_it = {row: found[row] for row in with_variants(peers, VARIANTS.get(name, ()))}
                    done.append(Work(name, title, unit, "higher", []))
                    fan.measure(done[-1], of_it, settings, repeats, run_s, say, costs)
    return done + costs.works


def connection_works(wanted: list[str], peers: list[str], quick: bool) -> list[Work]:
    """Round trips, acks, storms, and the matcher alone. Raw ZeroMQ has no ack, and so only the first of them."""
    done: list[Work] = []
    acked = [peer for peer in peers if peer != "raw"]
    if "round_trip" in wanted:
        rows = with_variants(peers, VARIANTS["round_trip"])
        done.append(connections.round_trip(rows, 2 if quick else 5, 200 if quick else 1_000, say))
    if "acks" in wanted:
        rows = with_variants(acked, VARIANTS["acks"])
        done += connections.acks(rows, (1, 1_000) if quick else connections.LEVELS, 1 if quick else 5, say)
    if "ack_proxies" in wanted and "fabric" in peers:
        done.append(connections.ack_proxies((1, 2) if quick else connections.PROXIES, 1 if quick else 5, say))
    if "storm" in wanted:
        done += connections.storm(acked, 100 if quick else connections.STORM, 1 if quick else 3, say)
    if "matcher" in wanted and {"fabric", "mosquitto"} <= set(peers):
        done.append(matching(1_000 if quick else 100_000, 1 if quick else 5, say))
    if "repair" in wanted:
        rows = [row for row in repair.ROWS if peer_of(row) in peers]
        done.append(repair.repair(rows, (0.2,) if quick else (0.2, 1.0), 1 if quick else 10, say))
    if "keeping" in wanted:
        done.append(keeping.keeping(peers, 5_000 if quick else 100_000, 1 if quick else 5, say))
    return done


@click.command(help=__doc__)
@click.option("--quick", is_flag=True, help="small settings, once each: to see that all works, not to be quoted")
@click.option("--peers", default=",".join(PEERS), show_default=True, callback=names)
@click.option("--works", default=",".join(WORKS), show_default=True, callback=names)
@click.option(
    "--closed", is_flag=True, help=f"with rows of servers that want keys or certificates, for {', '.join(CLOSED_WORKS)}"
)
@click.option("--into", type=click.Path(exists=True, file_okay=False, writable=True),
              help="folder for RESULTS.md and its plots  [default: benchmarks, or its folder closed]")  # fmt: skip
def main(quick: bool, peers: list[str], works: list[str], closed: bool, into: str | None) -> None:
    skipped = {peer: why for peer in peers if (why := lacks(peer))}
    for peer, why in skipped.items():
        say(f"{peer} is left out: {why} lacks here")
    taking_part = [peer for peer in peers if peer not in skipped]
    environment = lab.environment() | {"load": round(os.getloadavg()[0], 2), "date": time.strftime("%Y-%m-%d")}
    results = Results(environment, {peer: versions(peer) for peer in taking_part}, skipped)
    began = time.monotonic()
    with closed_folder() if closed else contextlib.nullcontext():
        if closed:
            works = [work for work in works if work in CLOSED_WORKS]
            VARIANTS.update({work: (*VARIANTS[work], *CLOSED) for work in CLOSED_WORKS})
        results.works += fan_works(works, taking_part, quick)
        results.works += connection_works(works, taking_part, quick)
    results.environment["took_s"] = round(time.monotonic() - began)
    results.environment["quick"] = quick
    target = Path(into) if into else report.FOLDER / "closed" if closed else report.FOLDER
    figures = target / "out" / "peers.json"
    figures.parent.mkdir(exist_ok=True, parents=True)
    figures.write_text(json.dumps(results.as_map(), indent=2) + "\n")
    for written in report.write(results, target):
        say(f"written: {written}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by way of the blocks that end the servers
    try:
        main(standalone_mode=False)
    except click.UsageError as error:
        say(error.format_message())
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
