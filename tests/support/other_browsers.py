"""Firefox and WebKit for tests, each driven by its own remote protocol. Where one is missing, tests are skipped.

    with firefox(folder) as browser:
        browser.goto("http://localhost:8000/")
        browser.js("document.title")                       # the value of an expression, as JSON has it
        browser.click(100, 20); browser.press("Tab")       # as a person's mouse and keyboard do

Chromium is in `browsers`, by a library that drives no browser of a distribution but Chromium.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.waiting import PATIENCE_S, until

KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c"}
MINI_BROWSERS = "webkit2gtk-4*/MiniBrowser"


class Person:
    """What a person does, as actions of WebDriver, which both protocols take."""

    def actions(self, actions: list[dict[str, Any]]) -> None:
        raise NotImplementedError

    def click(self, x: float, y: float) -> None:
        """Click at this place of the window, in pixels."""
        move = {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0}
        steps = [move, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        self.actions([{"type": "pointer", "id": "mouse", "actions": steps}])

    def press(self, key: str) -> None:
        """Press a key, by its name in KEYS."""
        steps = [{"type": "keyDown", "value": KEYS[key]}, {"type": "keyUp", "value": KEYS[key]}]
        self.actions([{"type": "key", "id": "keyboard", "actions": steps}])


class Firefox(Person):
    """One tab of Firefox, by WebDriver BiDi: JSON over a WebSocket, in a thread with an event loop."""

    name = "Firefox"

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._last = 0
        self._client, self._socket = self._await(self._connect(url))
        self._call("session.new", capabilities={})
        self._tab = self._call("browsingContext.create", type="tab")["context"]
        self._call("browsingContext.setViewport", context=self._tab, viewport={"width": 1100, "height": 760})

    async def _connect(self, url: str) -> tuple[aiohttp.ClientSession, aiohttp.ClientWebSocketResponse]:
        client = aiohttp.ClientSession()
        return client, await client.ws_connect(f"{url}/session", max_msg_size=0)

    def _await(self, awaitable: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result(PATIENCE_S)

    def _call(self, method: str, **params: Any) -> Any:
        self._last += 1
        answer = self._await(self._ask({"id": self._last, "method": method, "params": params}))
        assert answer["type"] == "success", answer
        return answer["result"]

    async def _ask(self, call: dict[str, Any]) -> dict[str, Any]:
        await self._socket.send_json(call)
        while True:
            answer: dict[str, Any] = json.loads((await self._socket.receive()).data)
            if answer.get("id") == call["id"]:
                return answer

    def goto(self, url: str) -> None:
        self._call("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    def js(self, expression: str) -> Any:
        code = f"JSON.stringify({{value: {expression}}})"
        found = self._call("script.evaluate", expression=code, target={"context": self._tab}, awaitPromise=False)
        assert found["type"] == "success", found
        return json.loads(found["result"]["value"]).get("value")

    def actions(self, actions: list[dict[str, Any]]) -> None:
        self._call("input.performActions", context=self._tab, actions=actions)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._call("browser.close")
        self._await(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()


class WebKit(Person):
    """One window of WebKitGTK, by WebDriver: JSON over HTTP."""

    name = "WebKit"

    def __init__(self, url: str, browser: Path) -> None:
        self._url = url
        options = {"webkitgtk:browserOptions": {"binary": str(browser), "args": ["--automation"]}}
        self._url = f"{url}/session/{self._post('session', capabilities={'alwaysMatch': options})['sessionId']}"
        self._post("window/rect", x=0, y=0, width=1100, height=760)

    def _post(self, path: str, **body: Any) -> Any:
        return self._ask(urllib.request.Request(f"{self._url}/{path}", json.dumps(body).encode(), method="POST"))

    def _ask(self, request: urllib.request.Request) -> Any:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)["value"]

    def goto(self, url: str) -> None:
        self._post("url", url=url)

    def js(self, expression: str) -> Any:
        found = self._post("execute/sync", script=f"return JSON.stringify({{value: {expression}}})", args=[])
        return json.loads(found).get("value")

    def actions(self, actions: list[dict[str, Any]]) -> None:
        self._post("actions", actions=actions)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._ask(urllib.request.Request(self._url, method="DELETE"))


@contextlib.contextmanager
def firefox(folder: Path) -> Iterator[Firefox]:
    """Start Firefox without a screen; FIREFOX=PATH names another one. `folder`: for its profile."""
    path = os.environ.get("FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
    if path is None:
        pytest.skip("Firefox is not installed; FIREFOX=PATH names one")
    words = [path, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port=0"]
    with _running(words, folder, HOME=str(folder)) as told:
        found = until(lambda: re.search(r"listening on (ws://\S+)", told.read_text()), "Firefox listens")
        browser = Firefox(found.group(1))
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def webkit(folder: Path) -> Iterator[WebKit]:
    """Start WebKitGTK's small browser on a screen that nobody sees."""
    driver, screen = shutil.which("WebKitWebDriver"), shutil.which("Xvfb")
    browser = next((each for lib in ("lib", "libexec") for each in Path("/usr", lib).glob(f"**/{MINI_BROWSERS}")), None)
    if driver is None or screen is None or browser is None:
        pytest.skip("WebKitWebDriver, its MiniBrowser or Xvfb is not installed")
    port = folder / "display"
    with port.open("w") as ready, _running([screen, "-displayfd", "1", "-nolisten", "tcp"], folder, stdout=ready):
        display = until(lambda: port.read_text().strip(), "there is a screen")
        free = _free_port()
        environment = {
            "DISPLAY": f":{display}",
            "HOME": str(folder),
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",  # it needs namespaces, which a container may not make
        }
        with _running([driver, f"--port={free}"], folder, **environment):
            url = f"http://127.0.0.1:{free}"
            until(lambda: _answers(f"{url}/status"), "WebKitWebDriver answers")
            found = WebKit(url, browser)
            try:
                yield found
            finally:
                found.close()


@contextlib.contextmanager
def pages(html: dict[str, str]) -> Iterator[str]:
    """Serve pages by their paths, on an origin that is not the gateway's; yields it. `html` may grow."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = html.get(self.path, "").encode()
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _running(words: list[str], folder: Path, stdout: Any = subprocess.DEVNULL, **environment: str) -> Iterator[Path]:
    """Run a process; yields the file of what it says on stderr."""
    told = folder / f"{Path(words[0]).name}.log"
    with told.open("w") as stderr:
        process = subprocess.Popen(words, stdout=stdout, stderr=stderr, env={**os.environ, **environment})
        try:
            yield told
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        return server.server_port


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False
