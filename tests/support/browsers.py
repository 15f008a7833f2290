"""Browsers for tests: the bundles, and this machine's Chromium. Where one is missing, tests are skipped and say so.

    with stack(folder) as found:                 # a proxy, a frame node, a gateway with the demo shop, a browser
        visitor = found.visitor("/shop/")
        code = visitor.code()
        desk = found.desk("ada")
        desk.join(code)
        desk.sees("Made for wet weekends")

All of a visitor's and a desk's WebSocket frames are kept in `sent` and `received`, with compressed updates as the text
that they hold, and what was sent as it was in `raw`. Pictures go to var/screenshots.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from fabric import sockets
from fabric.endpoints import Endpoints
from tests.support.gateways import PASSWORD, GatewayProcess, agents_file, secret_file, start_gateway
from tests.support.locks import alone
from tests.support.processes import ROOT
from tests.support.site import Site, site
from tests.support.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Frame, Locator, Page

DIST = ROOT / "nodes" / "web" / "dist"
SHOTS = ROOT / "var" / "screenshots"
FOREIGN = "http://foreign.example"
"""A site of its own, whose pages may use the gateway; served out of the test."""
GZIP = b"\x1f\x8b\x08"
PACKED = re.compile(r'\{"\$bin":"([A-Za-z0-9+/=]+)"\}')
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # The foreign sites are made up, and the gateway is on loopback. The other two are pages of Chromium's address bar,
    # which nobody sees here: each window would load both, in a process that takes ten times the time of ours.
    "--disable-features=LocalNetworkAccessChecks,WebUIOmniboxPopup,WebUIOmniboxAimPopup",
]


@cache
def _built() -> str:
    """Why there are no bundles; empty when there are."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node.js is not installed, and the bundles for browsers are built by it"
    with alone(ROOT / "var" / "bundles.lock"):
        done = subprocess.run([ROOT / "scripts" / "build-web"], capture_output=True, text=True, timeout=300)
    if done.returncode == 3:
        return done.stderr.strip().splitlines()[-1]
    assert done.returncode == 0, done.stdout + done.stderr
    return ""


def built() -> Path:
    """Return the folder of the bundles, built."""
    if why := _built():
        pytest.skip(why)
    return DIST


def chromium() -> str:
    """Return the path of the browser; CHROMIUM=PATH names another one."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("Chromium is not installed; CHROMIUM=PATH names one")
    return found


def readable(frame: str) -> str:
    """Return a WebSocket frame with the text of each compressed update in its place."""

    def text(found: re.Match[str]) -> str:
        data = base64.b64decode(found[1])
        packed = data.startswith(GZIP)
        return json.dumps(gzip.decompress(data).decode(), ensure_ascii=False) if packed else found[0]

    return PACKED.sub(text, frame)


def unzipped(part: bytes) -> bytes:
    """Return a part of the fabric with the text of a compressed update behind it."""
    start = part.find(GZIP)
    return part if start < 0 else part + zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(part[start:])


class Tab:
    """A page in a browser of its own, with the frames of its WebSockets, and the errors of its scripts."""

    def __init__(self, page: Page) -> None:
        self.page, self.context = page, page.context
        self.page.set_default_timeout(PATIENCE_S * 1000)
        self.sent: list[str] = []
        self.received: list[str] = []
        self.raw: list[str] = []
        self.errors: list[str] = []
        self.page.on("websocket", self._listen)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _listen(self, socket: Any) -> None:
        socket.on("framesent", lambda data: self._sent(str(data)))
        socket.on("framereceived", lambda data: self.received.append(readable(str(data))))

    def _sent(self, frame: str) -> None:
        self.raw.append(frame)
        self.sent.append(readable(frame))

    def until(self, true: Callable[[], Any], what: str) -> Any:
        """Return the first true value of `true()`; meanwhile the browser's events come in."""
        end = time.monotonic() + PATIENCE_S
        while not (value := true()):
            if time.monotonic() > end:
                raise AssertionError(f"waited {PATIENCE_S:g} s until {what}\n{self.errors}\n{self.received[-3:]}")
            self.page.wait_for_timeout(20)
        return value

    def leave(self) -> None:
        """Before it is closed: what would live on for a while is ended."""

    def shot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        (SHOTS / f"{name}.png").write_bytes(self.page.screenshot())


OneTab = TypeVar("OneTab", bound=Tab)


class HelpFrame:
    """The help frame on `page`, as it is now. It may be loaded again at any moment, as when it has to leave
    a dialog: so it is looked for each time that it is used."""

    def __init__(self, page: Page) -> None:
        self._place = page.frame_locator("iframe[src$='/frame.html']")

    def locator(self, selector: str) -> Locator:
        return self._place.locator(selector)

    def get_by_role(self, role: Any, **wanted: Any) -> Locator:
        return self._place.get_by_role(role, **wanted)

    def get_by_text(self, text: str | re.Pattern[str], **wanted: Any) -> Locator:
        return self._place.get_by_text(text, **wanted)

    def get_by_label(self, text: str) -> Locator:
        return self._place.get_by_label(text)

    def evaluate(self, code: str, argument: Any = None) -> Any:
        """Run a function in it."""
        return self.locator("html").evaluate(f"(_, given) => ({code})(given)", argument)


class Visitor(Tab):
    """A visitor's page; `js` runs in it, `frame` is the help frame on it."""

    def goto(self, url: str) -> Visitor:
        self.page.goto(url)
        return self

    @property
    def frame(self) -> HelpFrame:
        self.until(self._document, "the frame is there")
        return HelpFrame(self.page)

    def _document(self) -> Frame | None:
        return next((each for each in self.page.frames if each.url.endswith("/frame.html")), None)

    def js(self, code: str, argument: Any = None) -> Any:
        return self.page.evaluate(code, argument)

    def listen(self, *filters: str) -> None:
        """Keep what comes under these filters in `heard`."""
        self.js(
            """filters => { window.heard ??= [];
            for (const each of filters) site_connect.subscribe(each, m => heard.push(m)); }""",
            list(filters),
        )

    def hears(self, topic: str, count: int = 1) -> Any:
        """Return the payload of the last of `count` messages under this topic."""
        look = "topic => heard.filter(m => m.topic === topic).map(m => m.payload)"
        found = self.until(lambda: len(all := self.js(look, topic)) >= count and all, f"{count} of {topic}")
        return found[count - 1]

    def code(self, other_than: str = "") -> str:
        """Return the contact code that the frame shows."""

        def shown() -> str:
            document = self._document()  # some pages let no driver look for elements
            text = "" if document is None else document.locator("#code").inner_text().replace(" ", "")
            return text if text.isdigit() and text != other_than else ""

        found: str = self.until(shown, "the frame shows a code")
        return found

    def view(self) -> tuple[str, float, float]:
        """Return how the frame is shown on the page, and its width and height in pixels."""
        found = self.js(
            """() => { const f = document.querySelector("site-connect").shadowRoot.querySelector("iframe");
            const box = f.getBoundingClientRect();
            return [f.style.display, box.width, box.height]; }"""
        )
        return found[0], found[1], found[2]

    def is_viewed(self) -> bool:
        found: bool = self.page.locator("site-connect #sign").is_visible()
        return found


class Desk(Tab):
    """An agent's console. While a fresh picture of the page is built, the one that is shown is looked at."""

    def sign_in(self, url: str, agent: str, password: str = PASSWORD) -> Desk:
        self.page.goto(f"{url}/agent/")
        self.page.get_by_label("Agent").fill(agent)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        return self

    def available(self, on: bool = True) -> Desk:
        switch = self.page.get_by_role("switch", name="Available")
        if (switch.get_attribute("aria-checked") == "true") is not on:
            switch.click()
        return self

    def join(self, code: str) -> Desk:
        self.page.get_by_label("Join by contact code").fill(code)
        self.page.keyboard.press("Enter")
        return self

    def leave(self) -> None:
        self.page.evaluate(
            "() => fetch('/agent/sign_out', {method: 'POST'}).then(() => 1, () => 0)"
        )  # its gateway may be gone

    def replayed(self) -> str:
        """Return the replayed page as HTML, with what its fields hold; empty when nothing is shown."""
        found: str = self.page.evaluate(
            """() => { const frame = document.querySelector("#stage .replay:first-child iframe");
            if (!frame?.contentDocument?.body) return "";
            const values = [...frame.contentDocument.querySelectorAll("input, textarea, select")].map(f => f.value);
            return frame.contentDocument.documentElement.outerHTML + JSON.stringify(values); }"""
        )
        return found

    def in_replay(self, code: str) -> Any:
        """Run `document => …` on the replayed document."""
        frame = 'document.querySelector("#stage .replay:first-child iframe")?.contentDocument'
        return self.page.evaluate(f"() => {{ const it = {frame}; return it?.body ? ({code})(it) : null; }}")

    def sees(self, text: str) -> None:
        self.until(lambda: text in self.replayed(), f"the agent sees {text!r}")


class Stack:
    """Processes and a browser; tabs are closed by `scene`."""

    def __init__(self, world: Site, gateway: GatewayProcess, browser: Browser) -> None:
        self.world, self.gateway, self.browser = world, gateway, browser
        self._tabs: list[Tab] = []

    @contextlib.contextmanager
    def another_gateway(self, *more: str) -> Iterator[GatewayProcess]:
        """Within, everything goes to a gateway of its own, which may be killed and started `again`.

        more: further options of it
        """
        shared, args = self.gateway, [*self.gateway.args, *more]
        args[args.index("--listen") + 1] = "http://127.0.0.1:0"
        self.gateway = GatewayProcess(args, self.world.folder)
        try:
            self.gateway.wait_ready()
            yield self.gateway
        finally:
            self.gateway.stop()
            self.gateway = shared

    def restart_gateway(self) -> None:
        """Kill it, and start it again at the same address."""
        self.gateway.kill()
        self.gateway = self.gateway.again().wait_ready()

    @property
    def url(self) -> str:
        return self.gateway.url

    def visitor(self, path: str = "/shop/", *, width: int = 1100, height: int = 760) -> Visitor:
        return self._keep(Visitor(self._page(width, height))).goto(self.url + path)

    def foreign(self, html: str, origin: str = FOREIGN) -> Visitor:
        """A visitor at a page of another site; `{url}` in it stands for the gateway's."""
        found = self._keep(Visitor(self._page(1100, 760)))
        body = html.replace("{url}", self.url)
        found.page.route(f"{origin}/**", lambda route: route.fulfill(body=body, content_type="text/html"))
        return found.goto(f"{origin}/")

    def desk(self, agent: str = "ada", *, width: int = 1440, height: int = 860) -> Desk:
        found = self._keep(Desk(self._page(width, height))).sign_in(self.url, agent)
        found.page.wait_for_selector("#desk:not([hidden])")
        return found

    def _page(self, width: int, height: int) -> Page:
        return self.browser.new_context(viewport={"width": width, "height": height}).new_page()

    def _keep(self, tab: OneTab) -> OneTab:
        self._tabs.append(tab)
        return tab

    @contextlib.contextmanager
    def scene(self) -> Iterator[Stack]:
        """Close what was opened within; no script of ours may have thrown."""
        try:
            yield self
            errors = [error for tab in self._tabs for error in tab.errors]
            assert not errors, errors
        finally:
            for tab in self._tabs:
                tab.leave()
                tab.context.close()
            self._tabs.clear()


@contextlib.contextmanager
def wire(base: str) -> Iterator[Callable[[], bytes]]:
    """Everything that leaves the proxy at `base` from now on; called, it returns what came so far."""
    context = sockets.new_context()
    socket = sockets.xsub(context, recv_hwm=0)
    parts: list[bytes] = []

    def captured() -> bytes:
        while socket.poll(0):
            parts.append(unzipped(socket.recv()))
        return b"\n".join(parts)

    try:
        socket.send(b"\x01")
        sockets.connect(socket, Endpoints.parse(base).guest)
        until(captured, "the capture hears its proxy")  # which announces itself every second
        yield captured
    finally:
        socket.close(0)
        context.term()


_running: list[Any] = []
"""What `_playwright` has started, once for each that uses it: a process can have but one."""


@contextlib.contextmanager
def _playwright() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    _running.append(_running[0] if _running else sync_playwright().start())
    try:
        yield _running[0]
    finally:
        last = _running.pop()
        if not _running:
            last.stop()


@contextlib.contextmanager
def stack(
    folder: Path, *gateway: str, frame: tuple[str, ...] = (), agents: tuple[str, ...] = ("ada", "bob")
) -> Iterator[Stack]:
    """A proxy, a frame node, a gateway with the demo shop, and a browser. `gateway`, `frame`: more options of each."""
    built()
    path = chromium()
    with site(folder, *frame) as world:
        options = ["--demo-shop", "--agents", agents_file(folder, *agents), "--allow-origin", FOREIGN]
        process = start_gateway(world, *options, "--secret-file", secret_file(folder), *gateway)
        with _playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=path, args=ARGS)
            try:
                yield Stack(world, process, browser)
            finally:
                browser.close()
