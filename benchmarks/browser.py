"""How long does a change on a visitor's page take to the agent's replay, both in real browsers?

    python -m benchmarks.browser [--changes N] [--rate N]

The page adds an element RATE times a second, which carries the moment at which it was due, and the console's replay
is watched for it. So the time holds the recorder, which gathers changes for 40 ms, both WebSockets, the gateway, the
mesh, and the replay, which shows a change with the next picture of the screen. Page and agent are windows of one
Chromium (CHROMIUM=PATH, or the one on the PATH), so their clocks are the same; a proxy, a frame node (SQLite) and a
gateway are processes of their own. scripts/build-web has to be run before. A change that never shows makes the run
invalid.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from benchmarks import lab
from nodes.demo.browsers import AGENT, start
from nodes.demo.stage import Stage

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PATIENCE_MS = 20_000
NOW = "performance.timeOrigin + performance.now()"
WATCH = f"""() => {{ window.taken = [];
    const it = document.querySelector("#stage .replay:last-child iframe").contentDocument;
    new it.defaultView.MutationObserver(records => {{
        for (const {{addedNodes}} of records)
            for (const node of addedNodes) if (node.className === "stamp") taken.push({NOW} - Number(node.title));
    }}).observe(it, {{subtree: true, childList: true}}); }}"""
CHANGE = f"""([changes, rate]) => new Promise(done => {{
    const stamps = document.getElementById("stamps"), start = {NOW} + 200;
    let number = 0;
    const next = () => {{
        const due = start + number * 1000 / rate;
        stamps.append(Object.assign(document.createElement("i"), {{className: "stamp", title: String(due)}}));
        number += 1;
        if (number === changes) return done();
        setTimeout(next, Math.max(0, due + 1000 / rate - ({NOW})));
    }};
    setTimeout(next, 200); }})"""


def measure(url: str, password: str, changes: int, rate: float, chromium: str) -> list[float]:
    """Return the milliseconds that each change took."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGS)
        page, console = browser.new_context().new_page(), browser.new_context().new_page()
        for each in (page, console):
            each.set_default_timeout(PATIENCE_MS)
        page.goto(f"{url}/shop/")
        page.evaluate("() => { document.querySelector('h1').innerHTML = '<span id=stamps>0</span>'; }")
        page.get_by_role("button", name="Help", exact=True).click()
        frame = page.frame_locator("site-connect iframe")
        frame.locator("#code:not(.waiting)").wait_for()
        console.goto(f"{url}/agent/")
        console.get_by_label("Agent").fill(AGENT)
        console.get_by_label("Password").fill(password)
        console.get_by_role("button", name="Sign in").click()
        console.get_by_label("Join by contact code").fill(frame.locator("#code").inner_text())
        console.get_by_role("button", name="Join", exact=True).click()
        frame.get_by_role("button", name="Allow").click()
        console.frame_locator("#stage .replay iframe").locator("#stamps").wait_for()
        console.evaluate(WATCH)
        page.evaluate(CHANGE, [changes, rate])
        console.wait_for_function("changes => taken.length >= changes", arg=changes)
        taken: list[float] = console.evaluate("() => taken")
        browser.close()
    return taken


def figures(taken: list[float]) -> dict[str, float]:
    """Return percentiles in milliseconds."""
    ordered = sorted(taken)

    def at(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": ordered[-1]}


@click.command()
@click.option("--changes", default=600, show_default=True, type=click.IntRange(1))
@click.option("--rate", default=10.0, show_default=True, help="Changes a second.")
def main(changes: int, rate: float) -> None:
    """Measure, print a table, write benchmarks/out/browser.json."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise click.ClickException("there is no chromium here; CHROMIUM=PATH names one")
    stage = Stage()
    with tempfile.TemporaryDirectory(prefix="fabric-bench-") as folder:
        try:
            url, password = start(stage, Path(folder), 0)
            taken = measure(url, password, changes, rate, chromium)
        finally:
            stage.clear()
    if len(taken) != changes:
        raise click.ClickException(f"invalid: {len(taken)} of {changes} changes were shown once")
    result: dict[str, Any] = {"changes": changes, "rate": rate, "ms": figures(taken)}
    head = ("change to replay", *(f"{name} ms" for name in result["ms"]))
    click.echo(lab.table(head, [(f"{changes} at {rate:g}/s", *(f"{each:.0f}" for each in result["ms"].values()))]))
    click.echo(f"\nwritten to {lab.write('browser', result)}")


if __name__ == "__main__":
    main()
