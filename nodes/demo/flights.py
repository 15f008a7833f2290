"""The first demo: real flights and weather through two meshed proxies, checked against the files.

    publisher ─► p1 ═══ p2 ─► four subscribers, one filter each

Each is a process of the `fabric` command; this module starts them, reads what they print, and stops them, also when it
fails or is interrupted. A few lines here, which share no code with the fabric, read from the files what the subscribers
must receive. `scripts/demo` runs this; the exit code is 0 only if every message came, in order.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from nodes.demo.stage import START_TIMEOUT_S, Child, Failed, Received, Stage

DATA = Path(__file__).parent / "data"
"""New York's flights and weather of January 2013, 445 kB; part of the package, so that an installed one has it."""
FLIGHTS = DATA / "nyc_flights_2013_01.csv.gz"
WEATHER = DATA / "nyc_weather_2013_01.csv.gz"
EXACT = "flight/UA/N14228/dep_delay"
RECEIVE_TIMEOUT_S = 60.0
EXTRA_S = 0.3
"""How long to wait, after the last expected message, for one too many."""


def rows(path: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of one of our files; they hold no quotes and no commas within fields."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        header = next(lines).rstrip("\n").split(",")
        for line in lines:
            yield dict(zip(header, line.rstrip("\n").split(","), strict=True))


def number(text: str) -> float | None:
    return None if text in ("", "NA") else float(text)


def expected() -> tuple[dict[str, list[Received]], int]:
    """Return what each filter must receive, in order, and how many flights have no tail number and so no topic."""
    known = [row for row in rows(FLIGHTS) if row["tailnum"] not in ("", "NA")]
    flights = [(f"flight/{row['carrier']}/{row['tailnum']}/dep_delay", number(row["dep_delay"])) for row in known]
    weather: list[Received] = [(f"airport/{row['origin']}/temp", number(row["temp"])) for row in rows(WEATHER)]
    wanted: dict[str, list[Received]] = {
        "flight/+/+/dep_delay": list(flights),
        "flight/UA/#": [each for each in flights if each[0].startswith("flight/UA/")],
        "+/+/temp": weather,
        EXACT: [each for each in flights if each[0] == EXACT],
    }
    return wanted, sum(1 for _ in rows(FLIGHTS)) - len(known)


def run(stage: Stage, folder: Path) -> bool:
    """Play it and print the report; True when everything came as it should."""
    p1, p2 = f"ipc://{folder}/p1", f"ipc://{folder}/p2"
    started = time.monotonic()
    stage.start("p1", "proxy", "--listen", p1, "--name", "p1")
    stage.start("p2", "proxy", "--listen", p2, "--name", "p2", "--join", p1)
    stage.start("wait", "wait", "--connect", p2, "--proxies", "2", "--timeout", f"{START_TIMEOUT_S:g}").wait_end(
        START_TIMEOUT_S + 5
    )
    print(f"p1 and p2 are one mesh after {time.monotonic() - started:.1f} s; subscribers at p2, publisher at p1\n")

    wanted, without_tail = expected()
    subscribers = {each: stage.start(f"subscriber of {each}", "sub", each, "--connect", p2) for each in wanted}
    for each, child in subscribers.items():
        child.wait_until(functools.partial(_is_acked, child), f"the ack of {each}", START_TIMEOUT_S)

    replays = (
        ("flights", FLIGHTS, "flight/{carrier}/{tailnum}/dep_delay", "{dep_delay}"),
        ("weather", WEATHER, "airport/{origin}/temp", "{temp}"),
    )
    for what, path, topic, payload in replays:
        arguments = ("pub", "--connect", p1, "--csv", str(path), "--topic", topic, "--payload", payload, "--json")
        sent = json.loads(stage.start(f"publisher of {what}", *arguments).wait_end(RECEIVE_TIMEOUT_S))
        rate = sent["sent"] / sent["elapsed_s"]
        print(
            f"sent {sent['sent']:>7,} of {what}, {rate:,.0f} a second; {sent['skipped']} rows without a topic skipped"
        )
        if what == "flights" and sent["skipped"] != without_tail:
            raise Failed(f"{without_tail:,} flights have no tail number, and {sent['skipped']:,} were skipped")

    print("\na second: sent, until the proxy has all of it; received, from the first message to the last")
    print(f"{'filter':28}{'in the file':>12}{'received':>10}{'a second':>10}")
    verdicts = [_check(each, wanted[each], child) for each, child in subscribers.items()]  # a line for each, also
    return all(verdicts)  # after the first that is wrong


def _is_acked(child: Child) -> bool:
    return any(" acknowledged in " in words and words.endswith("by p1, p2") for words in child.words)


def _check(topic_filter: str, wanted: list[Received], child: Child) -> bool:
    """Wait for all that this subscriber must receive, print its line of the report, and say whether it is right."""
    with contextlib.suppress(Failed):  # too few: the report says so
        child.wait_until(lambda: len(child.lines) >= len(wanted), "its messages", RECEIVE_TIMEOUT_S)
    with contextlib.suppress(Failed):  # none too many is what we hope for
        child.wait_until(lambda: len(child.lines) > len(wanted), "one too many", EXTRA_S)
    lines = list(child.lines)
    received = [(topic, json.loads(payload)) for topic, _, payload in (line.partition("\t") for _, line in lines)]
    took_s = lines[-1][0] - lines[0][0] if len(lines) > 1 else 0.0
    verdict = "all, in order" if received == wanted else "NOT what the file says"
    rate = f"{len(lines) / took_s:,.0f}" if took_s > 0 else "-"
    print(f"{topic_filter:28}{len(wanted):>12,}{len(received):>10,}{rate:>10}  {verdict}")
    return received == wanted


def main() -> int:
    """Run the demo; 0 when every message came, 1 when not, 130 when interrupted."""
    for number_ in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number_, lambda number, frame: sys.exit(128 + number))
    stage = Stage()
    with tempfile.TemporaryDirectory(prefix="fabric-demo-") as folder:
        try:
            good = run(stage, Path(folder))
        except Failed as error:
            print(f"demo: {error}", file=sys.stderr)
            good = False
        except KeyboardInterrupt:
            return 130
        finally:
            stage.clear()
    print("\nEvery message came, in order." if good else "\nThe demo failed.", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
