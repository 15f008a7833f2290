"""A page in Chromium, recorded by the recorder that sites load, without processes: what would leave it, as text.

with recorder() as browser:
    page = browser.open("<p data-site-connect-mask>secret</p>")
    page.record()
    page.js("() => { … }")
    page.snapshot()
    assert "secret" not in page.told()
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.browsers import ARGS, built, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

SITE = "http://tried.example"
_BEGIN = """([dataset, rules]) => { window.told = []; window.held = []; window.problems = []; window.errors = [];
    window.tried = site_connect_try({dataset, rules, send: text => told.push(text), report: e => errors.push(String(e)),
        held: why => held.push(why), problem: why => problems.push(why)}); }"""
_SETTLED = "() => new Promise(done => setTimeout(done, 60))"  # a page's own timers, and the 40 ms of the recorder


class Recorded:
    """One page. It has the script of the page from its end on, and is recorded from `record` on."""

    def __init__(self, page: Page, dataset: dict[str, str], rules: dict[str, Any]) -> None:
        self._page = page
        self.js(_BEGIN, [dataset, rules])

    def js(self, code: str, argument: Any = None) -> Any:
        return self._page.evaluate(code, argument)

    def record(self) -> None:
        self.js("() => { window.recording = tried.record(); }")

    def record_again(self) -> None:
        """The agent leaves, and another one comes."""
        self.js("() => { recording.stop(); window.recording = tried.record(); }")

    def settle(self, wait_ms: int = 0) -> None:
        """Return once the page's short timers have run, and what waited is told."""
        self._page.wait_for_timeout(wait_ms)
        self.js(_SETTLED)

    def hover(self, selector: str) -> None:
        """Move the mouse there, and about."""
        self._page.hover(selector)
        self._page.mouse.move(5, 5)
        self._page.hover(selector)

    def snapshot(self) -> None:
        """Have a fresh one made; the recorder makes no two within a quarter of a second."""
        self._page.wait_for_timeout(260)
        self.js("() => recording.snapshot()")

    def events(self) -> list[dict[str, Any]]:
        return [event for text in self.js("() => told") for event in json.loads(text)]

    def told(self) -> str:
        """Return all that would have left the page, up to now."""
        errors = self.js("() => errors")
        assert not errors, errors
        return "\n".join(self.js("() => [...told, ...held, ...problems].filter(Boolean)"))

    def forget(self) -> None:
        self.js("() => { told.length = 0; }")


class Recorder:
    """A browser for many pages, one after the other in one tab."""

    def __init__(self, browser: Browser) -> None:
        dist = built()
        self._scripts = {
            "/page.js": (dist / "privacy" / "page.js").read_text(),
            "/recorder.js": (dist / "assets" / "recorder.js").read_text(),
        }
        self._html = ""
        """Of the page that is opened next."""
        self._page = browser.new_context(viewport={"width": 900, "height": 700}).new_page()
        self._page.route("**/*", self._serve)

    def _serve(self, route: Route) -> None:
        path = route.request.url.removeprefix(SITE)
        if path in self._scripts:
            route.fulfill(body=self._scripts[path], content_type="text/javascript")
        elif route.request.is_navigation_request() and route.request.frame.parent_frame is None:
            route.fulfill(body=self._html, content_type="text/html; charset=utf-8")
        else:
            route.fulfill(body="<!doctype html><p>another</p>", content_type="text/html")

    def open(
        self,
        html: str,
        *,
        path: str = "/",
        dataset: dict[str, str] | None = None,
        rules: dict[str, Any] | None = None,
        head: bool = False,
    ) -> Recorded:
        """`head`: the script stands before all of the page, not after it."""
        scripts = "<script src=/page.js></script><script src=/recorder.js></script>"
        self._html = scripts + html if head else html + scripts
        self._page.goto(f"{SITE}{path}", wait_until="load")
        return Recorded(self._page, dataset or {}, rules or {"private": False, "rules": []})


@contextmanager
def recorder() -> Iterator[Recorder]:
    built()
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGS)
        try:
            yield Recorder(browser)
        finally:
            browser.close()
