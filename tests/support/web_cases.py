"""The pages of tests/web_cases in Chromium: a visitor at one of them, and an agent who views it.

`later()` of a page is called when an agent sees it; its heading says "Marker".
"""

from __future__ import annotations

import re

from tests.support.browsers import FOREIGN, Desk, Stack, Visitor
from tests.support.processes import ROOT

CASES = ROOT / "tests" / "web_cases"
LEAKS = sorted(CASES.glob("[01]*.html"))
"""The pages whose secrets must not leave them; from 20 on they are those that must be seen."""
STOP = "Stop: the agent sees this page no more"
REPLAYED = """it => { const told = [];
    const walk = node => {
        if (node.nodeType === 3 || node.nodeType === 8) told.push(node.data);
        for (const each of node.attributes ?? []) told.push(each.name + "=" + each.value);
        if (typeof node.value === "string") told.push(node.value);
        for (const sheet of node.adoptedStyleSheets ?? []) told.push(...[...sheet.cssRules].map(r => r.cssText));
        if (node.shadowRoot) walk(node.shadowRoot);
        if (node.contentDocument) walk(node.contentDocument);
        for (const child of node.childNodes) walk(child);
    };
    walk(it);
    return told.join("\\n"); }"""


def case(name: str) -> str:
    return (CASES / f"{name}.html").read_text()


def viewed(browsers: Stack, name: str) -> tuple[Visitor, Desk, str]:
    """A visitor at a page of the cases that an agent sees, and the code it was joined by."""
    visitor = browsers.foreign(case(name))
    code = visitor.code()
    desk = browsers.desk().join(code)
    desk.sees("Marker")
    visitor.until(visitor.is_viewed, "there is a sign")
    return visitor, desk, code


def is_at_its_point(visitor: Visitor) -> bool:
    """Whether the sign's button is the element that a click in its middle would reach."""
    found: bool = visitor.js(
        """() => {
            const inside = root => [...root.querySelectorAll("*")].flatMap(each =>
                [each, ...(each.shadowRoot ? inside(each.shadowRoot) : [])]);
            const button = inside(document).find(each => each.matches("#sign button"));
            const box = button?.getBoundingClientRect();
            if (!box?.width) return false;
            let hit = null;
            for (let root = document; root; root = hit?.shadowRoot) {
                const inner = root.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                if (!inner || inner === hit) break;
                hit = inner;
            }
            return hit === button; }"""
    )
    return found


class Scene:
    """A visitor and an agent who views the page, with all that their sockets told."""

    def __init__(self, browsers: Stack, html: str, *, before: bool = False) -> None:
        """`before`: call `later()` of the page before the agent joins."""
        self._marks = 0
        self.visitor: Visitor = browsers.foreign(html)
        self._url = browsers.url
        if before:
            self.later()
        self.desk: Desk = browsers.desk()
        self.desk.join(self.visitor.code())
        self.desk.sees("Marker")

    def goto(self, path: str, html: str) -> None:
        """Go on to another page, which the agent views from its start."""
        body = html.replace("{url}", self._url)
        self.visitor.page.route(
            f"{FOREIGN}/{path}", lambda route: route.fulfill(body=body, content_type="text/html; charset=utf-8")
        )
        self.visitor.goto(f"{FOREIGN}/{path}")
        self.visitor.until(self.visitor.is_viewed, "the page is viewed again")
        self.settle()

    def later(self) -> None:
        self.visitor.js("() => later()")
        self.visitor.page.wait_for_timeout(150)  # pages go on by timers of their own

    def settle(self) -> None:
        """Return once the agent has seen all that the page told up to now."""
        self._marks += 1
        text = f"Marker {self._marks}."
        self.visitor.js("text => { document.querySelector('h1').textContent = text; }", text)
        self.desk.sees(text)

    def refresh(self) -> None:
        """Have a fresh snapshot made, and see it."""
        count = self.snapshots()
        self.desk.page.get_by_role("button", name="Refresh").click()
        self.desk.until(lambda: self.snapshots() > count, "another snapshot")
        self.settle()

    def snapshots(self) -> int:
        return sum('"snapshot":true' in each for each in self.desk.received)

    def replayed(self) -> str:
        found: str = self.desk.in_replay(REPLAYED)
        return found

    def leaks(self, what: str = "secret") -> set[str]:
        """Return the secrets that were told anywhere."""
        tabs = (self.visitor, self.desk)
        frames = [each for tab in tabs for each in (*tab.sent, *tab.received)]
        return set(re.findall(rf"{what}[-\w]*", "\n".join([*frames, self.replayed()])))
