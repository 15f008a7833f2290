"""Firefox and WebKit as visitors: nothing masked leaves their pages, and a visitor can see and stop who views them.

The agent's console runs in Chromium, and all that its socket hears is looked through.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.browsers import Desk, Stack, stack
from tests.support.other_browsers import Firefox, WebKit, firefox, pages, webkit
from tests.support.waiting import until
from tests.support.web_cases import LEAKS, case

PLAIN = """<!doctype html><title>Plain</title><h1>Marker</h1>
<script async src="{url}/site_connect.js"></script>"""
RULED = """<!doctype html><title>Ruled</title><h1>Marker</h1><p class=a title=secret-title>secret-masked</p>
<p class=b>secret-blocked</p><p data-state=secret-state>plain-shown</p><div id=d></div>
<script>function later() { d.innerHTML = "<p class=a>secret-late</p>"; }</script>
<script async src="{url}/site_connect.js"></script>"""
RULES = """[[rules]]
pages = ["*/ruled"]
mask = [".a"]
block = [".b"]
deny_attributes = ["data-state"]
"""
BUTTON = """(() => { for (const each of document.querySelectorAll("site-connect")) {
    const button = each.shadowRoot.querySelector("#sign button");
    if (button) { const box = button.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }
} return null; })()"""
CODE = """(() => { window.code ??= (site_connect.subscribe("~/site_connect/#", m => {
    if (m.payload?.code) window.code = m.payload.code; }), ""); return window.code; })()"""

Start = Callable[[Path], AbstractContextManager[Firefox | WebKit]]


class Scene:
    """A visitor at a page, and an agent who views it."""

    def __init__(self, browser: Firefox | WebKit, desk: Desk, html: dict[str, str], origin: str, url: str) -> None:
        self.browser, self.desk = browser, desk
        self._html, self._origin, self._url = html, origin, url
        self._marks = 0

    def goto(self, name: str, html: str) -> None:
        self._html[f"/{name}"] = html.replace("{url}", self._url)
        self.browser.goto(f"{self._origin}/{name}")

    def join(self) -> None:
        until(lambda: self.browser.js("Boolean(window.site_connect)"), "the script is there")
        self.desk.join(self.desk.until(lambda: self.browser.js(CODE), "there is a code"))
        self.settle()

    def settle(self) -> None:
        """Return once the agent has seen all that the page told up to now."""
        self._marks += 1
        text = f"Marker {self._marks}."
        self.browser.js(f"void (document.querySelector('h1').textContent = {text!r})")
        self.desk.sees(text)

    def refresh(self) -> None:
        count = self.snapshots()
        self.desk.page.get_by_role("button", name="Refresh").click()
        self.desk.until(lambda: self.snapshots() > count, "another snapshot")
        self.settle()

    def snapshots(self) -> int:
        return sum('"snapshot":true' in each for each in self.desk.received)

    def leaks(self) -> set[str]:
        return set(re.findall(r"secret[-\w]*", "\n".join(self.desk.received)))


Started = tuple[Firefox | WebKit, Stack, dict[str, str], str]


@pytest.fixture(scope="module", params=[firefox, webkit])
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    start: Start = request.param
    html: dict[str, str] = {}
    rules = tmp_path_factory.mktemp("rules") / "rules.toml"
    rules.write_text(RULES)
    with (
        pages(html) as origin,
        start(tmp_path_factory.mktemp("browser")) as browser,
        stack(tmp_path_factory.mktemp("stack"), "--allow-origin", origin, "--privacy", str(rules)) as found,
    ):
        yield browser, found, html, origin


@pytest.fixture
def scene(started: Started) -> Iterator[Scene]:
    browser, found, html, origin = started
    with found.scene():
        scene = Scene(browser, found.desk(), html, origin, found.url)
        scene.goto("plain", PLAIN)
        scene.join()
        yield scene


def test_no_page_of_the_cases_tells_a_secret(scene: Scene) -> None:
    for page in LEAKS:
        scene.goto(page.stem, page.read_text())
        scene.settle()
        scene.browser.js("void later()")
        scene.settle()
        assert scene.leaks() == set(), page.stem
        scene.refresh()
        assert scene.leaks() == set(), f"{page.stem}: in a fresh snapshot"
    assert len(LEAKS) >= 16


def test_what_a_rule_of_the_operator_hides_does_not_leave(scene: Scene) -> None:
    scene.goto("ruled", RULED)
    scene.settle()
    scene.browser.js("void later()")
    scene.settle()
    scene.refresh()
    assert scene.leaks() == set()
    assert "plain-shown" in "\n".join(scene.desk.received), "the rest is shown"
    scene.goto("elsewhere", RULED.replace("secret", "seen"))
    scene.settle()
    assert "seen-masked" in "\n".join(scene.desk.received), "of another address"


def test_the_sign_is_there_and_its_button_stops_also_over_a_dialog(scene: Scene) -> None:
    scene.goto("modal", case("20-modal-dialog"))
    scene.settle()
    scene.browser.js("void later()")
    until(lambda: scene.browser.js("document.querySelector('dialog').open"), "the dialog is open")
    usable = f"(([x, y]) => document.elementFromPoint(x, y)?.localName === 'site-connect')({BUTTON})"
    until(lambda: scene.browser.js(usable), "the button can be reached")
    x, y = scene.browser.js(BUTTON)
    scene.browser.click(x, y)
    scene.desk.until(lambda: scene.desk.replayed() == "", "nothing is on the agent's screen")
    assert scene.browser.js(BUTTON) is None, "the sign is gone"
