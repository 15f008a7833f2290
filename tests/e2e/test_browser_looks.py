"""How frame, sign and console look, in all their states, light and dark: axe-core finds nothing, and pictures are kept.

Each state is looked at by axe-core, in Chromium. Pictures of it go to var/screenshots: at 1280 and at 390 pixels, and
at a zoom of 200 %, which is half of the pixels.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.browsers import Desk, HelpFrame, Stack, Visitor
from tests.support.processes import ROOT
from tests.support.web_cases import case

if TYPE_CHECKING:
    from playwright.sync_api import Page

AXE = ROOT / "nodes" / "web" / "node_modules" / "axe-core" / "axe.min.js"
SIZES = {"1280": (1280, 800), "390": (390, 844), "200": (640, 400)}
"""Width and height in pixels of style."""
RUN = """async ([source, within]) => {
    if (!window.axe) (0, eval)(source);
    const found = await axe.run(within ?? document, {iframes: false, resultTypes: ["violations"]});
    const where = nodes => nodes.map(n => n.html.slice(0, 160)).join(" | ");
    return found.violations.map(({id, help, nodes}) => `${id}: ${help}: ${where(nodes)}`); }"""


@cache
def axe() -> str:
    return Path(AXE).read_text()


class Looks:
    """What was found in all states. It is asserted at the end: the whole list says more than its first entry."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def at(self, state: str, page: Page, frame: HelpFrame | None = None, within: Any = None) -> None:
        """Look at a state of `page`, or of a frame in it, in light and dark, and keep pictures of it."""
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            violations = (frame or page).evaluate(RUN, [axe(), within])
            self.found += [f"{state}, {scheme}: {each}" for each in violations]
            for name, size in SIZES.items():
                if scheme == "dark" and name != "1280":
                    continue
                picture(page, f"{state}-{name}{'-dark' if scheme == 'dark' else ''}", *size)
        page.emulate_media(color_scheme="light")


def picture(page: Page, name: str, width: int, height: int) -> None:
    folder = ROOT / "var" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    before = page.viewport_size
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(300)  # what stands by the size of the window has moved
    (folder / f"{name}.png").write_bytes(page.screenshot())
    if before is not None:
        page.set_viewport_size(before)


@contextlib.contextmanager
def looks() -> Iterator[Looks]:
    found = Looks()
    yield found
    assert not found.found, "\n".join(found.found)


def opened(visitor: Visitor) -> HelpFrame:
    visitor.js("() => site_connect.publish('~pagesession/show_frame')")
    visitor.until(lambda: visitor.view()[0] == "block", "the frame is shown")
    return visitor.frame


def joined(browsers: Stack) -> tuple[Visitor, Desk]:
    visitor = browsers.visitor()
    desk = browsers.desk().join(visitor.code())
    desk.sees("Made for wet weekends")
    desk.page.locator("#live").get_by_text("Live").wait_for()
    return visitor, desk


def test_the_console_in_all_its_states(browsers: Stack) -> None:
    with looks() as look:
        desk = browsers.desk()
        look.at("console-empty", desk.page)
        desk.join("000000")
        desk.page.locator("#join_words:not(:empty)").wait_for()
        look.at("console-wrong-code", desk.page)
        visitor = browsers.visitor()
        desk.join(visitor.code()).sees("Made for wet weekends")
        desk.page.locator("#live").get_by_text("Live").wait_for()
        look.at("console-live", desk.page)
        desk.available()
        desk.page.get_by_role("button", name="Propose a chat").click()
        opened(visitor).get_by_role("button", name="Start chat").click()
        desk.page.get_by_label("Your message").fill("Good morning, how may I help you?")
        desk.page.keyboard.press("Enter")
        visitor.frame.get_by_text("Good morning").wait_for()
        visitor.frame.get_by_label("Your message").fill("Which of these boots are for wide feet?")
        visitor.page.keyboard.press("Enter")
        desk.page.get_by_text("wide feet").wait_for()
        look.at("console-chat", desk.page)
        other = browsers.visitor()
        opened(other).get_by_role("button", name="Chat with us").click()
        desk.page.get_by_role("button", name="Accept").wait_for()
        look.at("console-chat-waits", desk.page)
        other.frame.get_by_role("button", name="Stop waiting").click()
        desk.page.get_by_role("button", name="Accept").wait_for(state="detached")
        visitor.page.goto("about:blank")
        desk.until(lambda: "closed or away" in desk.page.locator("#live").inner_text(), "the agent is told")
        look.at("console-away", desk.page)
        desk.page.get_by_role("button", name="Sign out").click()
        desk.page.get_by_label("Password").fill("wrong")
        desk.page.get_by_role("button", name="Sign in").click()
        desk.page.locator("#door_words:not(:empty)").wait_for()
        look.at("console-door", desk.page)


def test_the_frame_in_all_its_states(browsers: Stack) -> None:
    with looks() as look:
        visitor = browsers.visitor()
        frame = opened(visitor)
        visitor.code()
        look.at("frame-code", visitor.page, frame)
        desk = browsers.desk().available()
        desk.join(visitor.code()).sees("Made for wet weekends")
        frame.get_by_text("An agent is viewing this page").wait_for()
        look.at("frame-viewed", visitor.page, frame)
        frame.get_by_role("button", name="Minimise").click()
        visitor.until(lambda: visitor.view()[2] < 100, "it is small")
        look.at("frame-minimised", visitor.page, frame)
        frame.get_by_role("button", name="Show the help window").click()
        frame.get_by_role("button", name="Stop viewing").click()
        frame.get_by_role("button", name="Chat with us").click()
        frame.get_by_text("An agent will be with you").wait_for()
        look.at("frame-chat-waits", visitor.page, frame)
        desk.page.get_by_role("button", name="Accept").click()
        frame.get_by_label("Your message").fill("Hello, is anybody there?")
        visitor.page.keyboard.press("Enter")
        desk.page.get_by_text("anybody there").wait_for()
        desk.page.get_by_label("Your message").fill("Good morning, how may I help you?")
        desk.page.keyboard.press("Enter")
        frame.get_by_text("Good morning").wait_for()
        look.at("frame-chat", visitor.page, frame)
        frame.get_by_role("button", name="End chat").click()
        look.at("frame-chat-ended", visitor.page, frame)


def test_the_frame_where_something_is_in_the_way(browsers: Stack) -> None:
    with looks() as look, browsers.another_gateway() as gateway:
        paused = browsers.foreign(case("30b-too-many-elements"))
        frame = opened(paused)
        desk = browsers.desk().join(paused.code())
        frame.get_by_text("too large").wait_for()
        look.at("frame-paused", paused.page, frame)
        look.at("console-paused", desk.page)
        visitor = browsers.visitor()
        frame = opened(visitor)
        visitor.code()
        gateway.kill()
        frame.get_by_text("Connecting…").wait_for()
        assert not any(each.isdigit() for each in frame.locator("#code").inner_text()), "a code that may have lapsed"
        look.at("frame-connecting", visitor.page, frame)
        desk.page.get_by_text("Reconnecting…").wait_for()
        look.at("console-reconnecting", desk.page)
        browsers.gateway = gateway.again().wait_ready()


def test_a_question_and_who_waits_for_its_answer(browsers: Stack) -> None:
    with looks() as look, browsers.another_gateway("--consent", "ask"):
        visitor = browsers.visitor()
        desk = browsers.desk().join(visitor.code())
        frame = visitor.frame
        frame.get_by_role("button", name="Allow").wait_for()
        look.at("frame-asked", visitor.page, frame)
        look.at("console-asking", desk.page)
        frame.get_by_role("button", name="Not now").click()
        frame.get_by_role("button", name="Not now").wait_for(state="hidden")
        look.at("frame-declined", visitor.page, frame)
        look.at("console-declined", desk.page)


def test_the_sign_in_all_its_states(browsers: Stack) -> None:
    within = {"include": [["site-connect", "#sign"]]}
    with looks() as look:
        visitor, desk = joined(browsers)
        words = visitor.page.locator("site-connect #words")
        words.get_by_text("An agent is viewing this page").wait_for()
        look.at("sign-viewing", visitor.page, within=within)
        box = visitor.page.locator("site-connect #move").bounding_box()
        assert box is not None
        visitor.page.mouse.move(box["x"] + 5, box["y"] + 15)
        visitor.page.mouse.down()
        visitor.page.mouse.move(300, 500, steps=5)
        visitor.page.mouse.up()
        look.at("sign-moved", visitor.page, within=within)
        desk.page.goto("about:blank")
        words.get_by_text("An agent is connecting to this page").wait_for()
        look.at("sign-connecting", visitor.page, within=within)
