"""What does viewing a page cost, in bytes, CPU and delay, by each way to compress its updates?

    python -m benchmarks.picture [--seconds N] [--ways none,deflate,page] [--works shop,table,typing,elements] [--write]

ways    none     updates leave as text
        deflate  permessage-deflate of WebSockets: the gateway inflates and deflates
        page     the frame compresses long updates (gzip), the console unpacks them; the gateway passes bytes on
works   shop     a visitor goes through the demo shop, from page to page
        table    a table of 1,600 rows is made anew 3 times a second: 2 MB of changes a second
        typing   a key is held in a text of 53 kB, which is masked
        elements 30,000 elements are added, and the agent asks for a fresh snapshot

While the work goes on, an element is added 10 times a second that carries the moment at which it was due, and the
console looks for it with each picture of its screen: that is the delay of those that were seen. Where updates pass
the limit of 1 MB a second the page pauses, and most are not. Pauses and snapshots that the console heard of are
counted. How long the console stands still is the longest task of its page (Long Tasks API), 0 if none took 50 ms.

Bytes are counted on the wire, by a relay between the browsers and the gateway, to it and from it. Visitor and agent
have a Chromium each (CHROMIUM=PATH, or the one on the PATH), so that their CPU time can be told apart. `--write` puts
the table into benchmarks/picture.md, with the load of the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from benchmarks import lab
from benchmarks.browser import ARGS, figures
from benchmarks.relay import Relay, relay
from fabric import private_files
from nodes.demo.browsers import AGENT, ready
from nodes.demo.stage import Stage
from nodes.gateway.credentials import SALT_BYTES, make

if TYPE_CHECKING:
    from playwright.sync_api import Page

WAYS, WORKS = ("none", "deflate", "page"), ("shop", "table", "typing", "elements")
REPORT = Path(__file__).with_name("picture.md")
BEGIN, END = "<!-- figures: by `python -m benchmarks.picture --write` -->\n", "<!-- end of figures -->\n"
PAUSED, SNAPSHOT = "~pagesession/cobrowsing/paused", '"snapshot":true'
DEFLATING = """import functools, nodes.gateway.socket as it
plain = it.web.WebSocketResponse
it.web.WebSocketResponse = lambda **options: plain(**{**options, "compress": True})
from nodes.cli.main import main
main()"""
PATIENCE_MS = 30_000
SETTLE_MS = 8_000  # for what is still on its way when the work ends
NOW = "Date.now()"  # each browser process has a clock of its own beside this
TICKS = os.sysconf("SC_CLK_TCK")
STAMPS = f"""() => {{ const place = document.createElement("p"); document.body.prepend(place);
    let due = {NOW};
    const next = () => {{
        if (place.childElementCount > 400) place.firstChild.remove();
        place.append(Object.assign(document.createElement("i"), {{className: "stamp", title: String(due)}}));
        due += 100;
        setTimeout(next, Math.max(0, due - ({NOW}))); }};
    setTimeout(next, 0); }}"""
LOOK = f"""() => {{ window.taken = new Map(); window.longest = 0;
    new PerformanceObserver(list => {{
        for (const {{duration}} of list.getEntries()) longest = Math.max(longest, duration); }})
        .observe({{entryTypes: ["longtask"]}});
    const look = () => {{
    const it = document.querySelector("#stage .replay:last-child iframe")?.contentDocument;
    for (const each of it?.querySelectorAll(".stamp") ?? [])
        if (!taken.has(each.title)) taken.set(each.title, {NOW} - Number(each.title));
    requestAnimationFrame(look); }}; look(); }}"""
TABLE = """() => { const table = document.createElement("table"); document.body.append(table); let n = 0;
    setInterval(() => { let rows = ""; n += 1;
        for (let i = 0; i < 1600; i++) rows += `<tr><td class=sym>SYM${i}</td><td class=px>${
            (Math.random() * 1000).toFixed(2)}</td><td>${n}</td></tr>`;
        table.innerHTML = rows; }, 350); }"""
TEXT = """() => { const area = document.createElement("textarea"); area.id = "area";
    area.value = "All work and no play makes Jack a dull boy.\\n".repeat(1200);
    document.body.append(area); area.focus(); }"""
ELEMENTS = """() => { const place = document.createElement("div"); document.body.append(place);
    for (let n = 0; n < 10_000; n++) { const row = document.createElement("p");
        row.innerHTML = `<b>${n}</b><i>of many</i>`;
        place.append(row); } }"""
ALL_THERE = """() => document.querySelector("#stage .replay:last-child iframe")?.contentDocument
    ?.querySelectorAll("div p, div b, div i").length >= 30_000"""


@dataclass
class Scene:
    """A gateway, a visitor and an agent in browsers of their own, and what is measured of them.

    heard:  how often the console has heard of a pause, and of a snapshot, by what tells of it
    """

    wire: Relay
    gateway: subprocess.Popen[str]
    visitor: Page
    desk: Page
    heard: dict[str, int]

    def spent(self) -> dict[str, float]:
        """CPU seconds of each since its start, and bytes."""
        return {
            "gateway": cpu_s(self.gateway.pid),
            "visitor": cpu_s(pid_of("visitor")),
            "desk": cpu_s(pid_of("desk")),
            "up": self.wire.up,
            "down": self.wire.down,
        }


def mark(name: str) -> str:
    """A word on a browser's command line by which it is found."""
    return f"--bench-{name}-{os.getpid()}"


def pid_of(name: str) -> int:
    """The process of the browser that was started with this mark."""
    for each in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (each / "cmdline").read_text().split("\0") if each.name.isdigit() else []
            if mark(name) in words and not any(word.startswith("--type=") for word in words):
                return int(each.name)
    raise click.ClickException(f"the browser of the {name} is not there")


def cpu_s(root: int) -> float:
    """CPU seconds of a process and all below it."""
    spent: dict[int, float] = {}
    below: dict[int, list[int]] = {}
    for each in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = (each / "stat").read_text().rsplit(")", 1)[1].split()
            pid = int(each.name)
            below.setdefault(int(fields[1]), []).append(pid)
            spent[pid] = sum(map(int, fields[11:15])) / TICKS
    total, todo = 0.0, [root]
    while todo:
        pid = todo.pop()
        total += spent.get(pid, 0.0)
        todo += below.get(pid, [])
    return total


@contextlib.contextmanager
def scene(way: str, chromium: str, folder: Path) -> Iterator[Scene]:
    """Start everything for one way, and let the agent join."""
    from playwright.sync_api import sync_playwright

    stage, password = Stage(), "bench-password"
    base, agents = f"ipc://{folder}/p1", folder / "agents.jsonl"
    line = make(AGENT, "Ada", ["help"], password, b"s" * SALT_BYTES).to_line()
    private_files.write(agents, f"{line}\n".encode())
    with contextlib.ExitStack() as stack:
        stack.callback(stage.clear)
        ready(stage.start("proxy", "proxy", "--listen", base, "--name", "p1"))
        ready(stage.start("frame node", "frame", "--store", f"sqlite:///{folder}/frame.db", "--connect", base))
        gateway = start_gateway(way, base, agents)
        stack.callback(gateway.wait, 20)
        stack.callback(gateway.terminate)
        assert gateway.stdout is not None
        where = urlsplit(str(json.loads(gateway.stdout.readline())["url"]))
        wire = stack.enter_context(relay("127.0.0.1", where.port or 80))
        playwright = stack.enter_context(sync_playwright())
        pages = {}
        for name in ("visitor", "desk"):
            browser = playwright.chromium.launch(executable_path=chromium, args=[*ARGS, mark(name)])
            stack.callback(browser.close)
            pages[name] = browser.new_context(viewport={"width": 1200, "height": 800}).new_page()
            pages[name].set_default_timeout(PATIENCE_MS)
        heard = counted(pages["desk"])
        if way != "page":
            pages["visitor"].add_init_script("delete window.CompressionStream")
        join(pages["visitor"], pages["desk"], f"http://127.0.0.1:{wire.port}", password)
        yield Scene(wire, gateway, pages["visitor"], pages["desk"], heard)


def counted(desk: Page) -> dict[str, int]:
    """Count from now on what the console's sockets hear of."""
    heard = {PAUSED: 0, SNAPSHOT: 0}

    def hear(data: str | bytes) -> None:
        for each in heard:
            heard[each] += each in str(data)

    desk.on("websocket", lambda socket: socket.on("framereceived", hear))
    return heard


def start_gateway(way: str, base: str, agents: Path) -> subprocess.Popen[str]:
    options = ["gateway", "--listen", "http://127.0.0.1:0", "--connect", base, "--agents", str(agents)]
    options += ["--demo-shop", "--consent", "code"]
    program = ["-c", DEFLATING] if way == "deflate" else ["-m", "nodes.cli"]
    return subprocess.Popen([sys.executable, *program, *options], stdout=subprocess.PIPE, encoding="utf-8")


def join(visitor: Page, desk: Page, url: str, password: str) -> None:
    visitor.goto(f"{url}/shop/")
    visitor.get_by_role("button", name="Help", exact=True).click()
    frame = visitor.frame_locator("site-connect iframe")
    frame.locator("#code:not(.waiting)").wait_for()
    desk.goto(f"{url}/agent/")
    desk.get_by_label("Agent").fill(AGENT)
    desk.get_by_label("Password").fill(password)
    desk.get_by_role("button", name="Sign in").click()
    desk.get_by_label("Join by contact code").fill(frame.locator("#code").inner_text())
    desk.get_by_role("button", name="Join", exact=True).click()
    desk.frame_locator("#stage .replay iframe").get_by_text("Made for wet weekends").wait_for()
    desk.evaluate(LOOK)


def work(name: str, found: Scene, seconds: float) -> None:
    """Do it for so long; stamps are added meanwhile."""
    visitor, desk = found.visitor, found.desk
    end = time.monotonic() + seconds
    if name == "shop":
        while time.monotonic() < end:
            visitor.evaluate(STAMPS)
            visitor.get_by_role("button", name="Add Tarn boots to cart").click()
            visitor.mouse.wheel(0, 400)
            visitor.wait_for_timeout(1_000)
            visitor.get_by_role("link", name="Cart").click()
            visitor.wait_for_timeout(500)
            visitor.get_by_role("link", name="Products").click()
            visitor.get_by_role("button", name="Add Tarn boots to cart").wait_for()
        return
    visitor.evaluate(STAMPS)
    visitor.evaluate({"table": TABLE, "typing": TEXT, "elements": ELEMENTS}[name])
    if name == "elements":
        desk.wait_for_function(ALL_THERE)
        before = found.heard[SNAPSHOT]
        desk.get_by_role("button", name="Refresh").click()
        give_up = time.monotonic() + PATIENCE_MS / 1000
        while found.heard[SNAPSHOT] == before and time.monotonic() < give_up:
            desk.wait_for_timeout(100)
    while time.monotonic() < end:
        if name == "typing":
            visitor.keyboard.press("x")
        visitor.wait_for_timeout(33)


def measure(name: str, way: str, seconds: float, chromium: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="fabric-bench-") as folder, scene(way, chromium, Path(folder)) as found:
        before, heard, start = found.spent(), dict(found.heard), time.monotonic()
        work(name, found, seconds)
        took_s, after = time.monotonic() - start, found.spent()
        found.desk.wait_for_timeout(SETTLE_MS)
        taken: list[float] = found.desk.evaluate("() => [...taken.values()]")
        counts = {key: found.heard[word] - heard[word] for key, word in (("pauses", PAUSED), ("snapshots", SNAPSHOT))}
        longest_ms = float(found.desk.evaluate("() => longest"))
    if not taken:
        raise click.ClickException(f"invalid: none of the stamps of {name} by {way} was seen")
    spent = {key: (after[key] - before[key]) / took_s for key in after}
    seen = {"seen_a_second": len(taken) / took_s, "ms": figures(taken), "longest_ms": longest_ms}
    return {"work": name, "way": way, **seen, **counts, "a_second": spent}


HEAD = (
    "work",
    "way",
    "kB/s up",
    "kB/s down",
    "CPU % page",
    "gateway",
    "console",
    "p50 ms",
    "p99 ms",
    "seen/s",
    "pauses",
    "snapshots",
    "longest task ms",
)


def row(result: dict[str, Any]) -> tuple[str, ...]:
    spent = result["a_second"]
    size = [f"{spent[key] / 1000:.1f}" for key in ("up", "down")]
    cpu = [f"{spent[key] * 100:.0f}" for key in ("visitor", "gateway", "desk")]
    delays = [f"{result['ms'][key]:.0f}" for key in ("p50", "p99")]
    counts = [str(result[key]) for key in ("pauses", "snapshots")]
    seen = f"{result['seen_a_second']:.1f}"
    return (result["work"], result["way"], *size, *cpu, *delays, seen, *counts, f"{result['longest_ms']:.0f}")


def write_report(rows: list[tuple[str, ...]], seconds: float, loads: list[float]) -> None:
    """Put the table between its marks in the report."""
    text = REPORT.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    lines = [f"| {' | '.join(each)} |" for each in (HEAD, ("---", "---", *["---:"] * (len(HEAD) - 2)), *rows)]
    about = (
        f"{seconds:g} s of each, on {os.cpu_count()} cores; load (1 minute) from {min(loads):.1f} to {max(loads):.1f} "
        f"meanwhile, some 2 of it by the run itself."
    )
    REPORT.write_text(f"{text[:begin]}\n{about}\n\n" + "\n".join(lines) + f"\n\n{text[end:]}")


@click.command()
@click.option("--seconds", default=20.0, show_default=True, help="Of each work by each way.")
@click.option("--ways", default=",".join(WAYS), show_default=True)
@click.option("--works", default=",".join(WORKS), show_default=True)
@click.option("--write", is_flag=True, help="Put the table into benchmarks/picture.md.")
def main(seconds: float, ways: str, works: str, write: bool) -> None:
    """Measure, print a table, write benchmarks/out/picture.json."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise click.ClickException("there is no chromium here; CHROMIUM=PATH names one")
    results, loads = [], [os.getloadavg()[0]]
    for name in works.split(","):
        for way in ways.split(","):
            results.append(measure(name, way, seconds, chromium))
            loads.append(os.getloadavg()[0])
    rows = [row(each) for each in results]
    click.echo(lab.table(HEAD, rows))
    if write:
        write_report(rows, seconds, loads)
    click.echo(f"\nwritten to {lab.write('picture', {'seconds': seconds, 'loads': loads, 'results': results})}")


if __name__ == "__main__":
    main()
