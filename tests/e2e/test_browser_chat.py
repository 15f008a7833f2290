"""A chat in real browsers: it survives what happens on the way, can be read when it is over, and each side knows of the
other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.browsers import Desk, HelpFrame, Stack, Visitor, stack

if TYPE_CHECKING:
    from playwright.sync_api import Page


def in_chat(browsers: Stack, agent: str = "ada") -> tuple[Visitor, Desk]:
    """A visitor who has pressed the shop's own button, and the agent who has accepted."""
    visitor = browsers.visitor()
    desk = browsers.desk(agent).available()
    ask(visitor)
    desk.page.get_by_role("button", name="Accept").click()
    visitor.frame.get_by_text(f"{agent.title()} joined").wait_for()
    return visitor, desk


def ask(visitor: Visitor) -> None:
    visitor.page.get_by_role("button", name="Chat", exact=True).click()


def write(where: Page | HelpFrame, text: str) -> None:
    where.get_by_label("Your message").fill(text)
    where.get_by_role("button", name="Send").click()  # as soon as there is a connection


def lines(where: Page | HelpFrame) -> list[str]:
    """What was said, as one reads it, without who and when."""
    found: list[str] = where.locator("li .said").all_inner_texts()
    return found


def label(desk: Desk) -> str:
    return desk.page.locator("#visitors .open").first.evaluate("it => it.firstChild.textContent")  # type: ignore[no-any-return]


def agrees(visitor: Visitor, desk: Desk, wanted: list[str]) -> None:
    desk.until(lambda: lines(desk.page) == wanted, f"the agent reads {wanted}, not {lines(desk.page)}")
    visitor.until(lambda: lines(visitor.frame) == wanted, f"the visitor reads {wanted}, not {lines(visitor.frame)}")


# --- it survives


def test_it_survives_the_agents_reload_and_a_second_device_and_the_visitors_next_page(browsers: Stack) -> None:
    visitor, desk = in_chat(browsers)
    write(visitor.frame, "one")
    write(desk.page, "two")
    agrees(visitor, desk, ["one", "two"])
    name = label(desk)
    desk.page.reload()
    agrees(visitor, desk, ["one", "two"])
    second = browsers.desk()
    agrees(visitor, second, ["one", "two"])
    assert label(second) == name, "the same visitor"
    desk.page.get_by_text("opened in another window").wait_for()
    visitor.page.get_by_role("link", name="Cart").click()
    write(visitor.frame, "three")
    write(second.page, "four")
    agrees(visitor, second, ["one", "two", "three", "four"])


def test_it_survives_a_gateway_that_is_killed_and_started_again(browsers: Stack) -> None:
    with browsers.another_gateway():
        visitor, desk = in_chat(browsers, "bob")  # who is signed in still when that gateway ends
        write(visitor.frame, "one")
        write(desk.page, "two")
        agrees(visitor, desk, ["one", "two"])
        browsers.restart_gateway()
        write(visitor.frame, "three")
        agrees(visitor, desk, ["one", "two", "three"])
        desk.page.reload()  # so nothing of it is the browser's own
        agrees(visitor, desk, ["one", "two", "three"])
        write(desk.page, "four")
        agrees(visitor, desk, ["one", "two", "three", "four"])


def test_what_was_said_is_in_no_file(browsers: Stack) -> None:
    visitor, desk = in_chat(browsers)
    write(visitor.frame, "written-nowhere")
    agrees(visitor, desk, ["written-nowhere"])
    files = [path for path in browsers.world.folder.rglob("*") if path.is_file()]
    assert files and [path.name for path in files if b"written-nowhere" in path.read_bytes()] == []


# --- when it is over


def test_it_can_be_read_at_both_ends_until_it_is_dismissed_and_another_one_begins_from_there(browsers: Stack) -> None:
    visitor, desk = in_chat(browsers)
    write(visitor.frame, "one")
    agrees(visitor, desk, ["one"])
    desk.page.get_by_role("button", name="End chat").click()
    for where in (visitor.frame, desk.page):
        where.get_by_text("This chat has ended.").wait_for()
    assert visitor.view()[0] == "block" and lines(visitor.frame) == lines(desk.page) == ["one"]
    visitor.shot("chat_ended")
    visitor.page.reload()
    desk.page.reload()
    agrees(visitor, desk, ["one"])
    visitor.frame.get_by_role("button", name="Start a new chat").click()
    desk.page.get_by_role("button", name="Accept").click()
    visitor.frame.get_by_text("Ada joined").wait_for()
    agrees(visitor, desk, [])
    write(desk.page, "two")
    agrees(visitor, desk, ["two"])
    visitor.frame.get_by_role("button", name="End chat").click()
    desk.page.get_by_text("This chat has ended.").wait_for()
    visitor.frame.get_by_role("button", name="Dismiss").click()
    visitor.until(lambda: visitor.view()[0] == "none", "the window is closed")
    desk.page.get_by_role("button", name="Dismiss").click()
    desk.until(lambda: desk.page.locator("#visitors .open").count() == 0, "nothing is left")
    visitor.page.reload()
    desk.page.reload()
    visitor.code()
    desk.page.wait_for_selector("#desk:not([hidden])")
    assert lines(visitor.frame) == lines(desk.page) == []


def test_a_visitor_who_closes_the_tab_is_away_within_5_s_and_what_was_said_stays(browsers: Stack) -> None:
    visitor, desk = in_chat(browsers)
    write(visitor.frame, "one")
    agrees(visitor, desk, ["one"])
    begin = time.monotonic()
    visitor.page.close()
    desk.page.get_by_text("The visitor is away").wait_for()
    assert time.monotonic() - begin < 5.0
    assert lines(desk.page) == ["one"]
    desk.page.locator("#chat_words").get_by_text("The visitor has left.").wait_for(timeout=60_000)
    assert lines(desk.page) == ["one"]
    desk.page.get_by_role("button", name="Dismiss").click()
    desk.until(lambda: desk.page.locator("#visitors .open").count() == 0, "it is dismissed")


# --- who has closed the window


def test_who_has_closed_the_window_sees_new_messages_announced_and_the_agent_knows(browsers: Stack) -> None:
    visitor, desk = in_chat(browsers)
    visitor.listen("~/site_connect/chat/unread")
    visitor.frame.get_by_role("button", name="Close").click()
    desk.page.get_by_text("The visitor has closed the help window.").wait_for()
    assert visitor.view()[0] == "none"
    write(desk.page, "one")
    assert visitor.hears("~/site_connect/chat/unread") == {"count": 1}
    visitor.until(lambda: visitor.view()[0] == "block" and visitor.view()[2] < 60, "a bar is there")
    visitor.frame.locator("#pill_text").get_by_text("1 new message").wait_for()
    visitor.shot("chat_announced")
    write(desk.page, "two")
    assert visitor.hears("~/site_connect/chat/unread", 2) == {"count": 2}
    visitor.js("() => site_connect.subscribe('~/site_connect/chat/unread', m => { window.late = m.payload.count; })")
    assert visitor.js("() => late") == 2
    visitor.page.reload()
    visitor.frame.locator("#pill_text").get_by_text("2 new messages").wait_for()
    visitor.frame.get_by_role("button", name="Show the help window").click()
    visitor.until(lambda: lines(visitor.frame) == ["one", "two"], "all is there")
    visitor.listen("~/site_connect/chat/unread")
    desk.until(lambda: "help window" not in desk.page.locator("#chat_words").inner_text(), "the agent knows")


def test_the_newest_line_is_in_sight_when_a_minimised_window_is_shown_again(browsers: Stack) -> None:
    visitor, desk = in_chat(browsers)
    for number in range(20):
        write(desk.page, f"line {number}")
    visitor.frame.get_by_text("line 19").wait_for()
    newest = "it => it.scrollTop > 0 && it.scrollHeight - it.scrollTop - it.clientHeight < 4"
    for where in (visitor.frame, desk.page):
        assert where.locator(".log, #log").evaluate(newest)
    visitor.frame.get_by_role("button", name="Minimise").click()
    desk.page.get_by_text("The visitor has minimised the help window.").wait_for()
    write(desk.page, "newest")
    visitor.frame.locator("#pill_text").get_by_text("1 new message").wait_for()
    visitor.page.reload()
    visitor.frame.locator("#pill_text").get_by_text("1 new message").wait_for()
    visitor.frame.get_by_role("button", name="Show the help window").click()
    log = visitor.frame.locator(".log")
    visitor.until(lambda: log.evaluate(newest), "the newest line is in sight")
    log.evaluate("it => { it.scrollTop = 0; }")
    visitor.page.set_viewport_size({"width": 1100, "height": 500})
    visitor.until(lambda: visitor.view()[2] < 500, "the window is smaller")
    assert log.evaluate("it => it.scrollTop") == 0, "who reads on further up is left there"


# --- beginning


def test_who_has_accepted_a_chat_may_write_at_once(browsers: Stack) -> None:
    _, desk = in_chat(browsers)
    box = desk.page.get_by_label("Your message")
    desk.until(lambda: box.evaluate("it => it === document.activeElement"), "the box has the keyboard")
    desk.page.keyboard.type("Hello")
    assert box.input_value() == "Hello"


def test_a_proposal_while_the_page_is_viewed_is_in_sight_with_its_buttons(browsers: Stack) -> None:
    visitor = browsers.visitor()
    code = visitor.code()
    visitor.js("() => site_connect.publish('~pagesession/show_frame')")
    desk = browsers.desk().available().join(code)
    desk.sees("Made for wet weekends")
    desk.page.get_by_role("button", name="Propose a chat").click()
    button = visitor.frame.get_by_role("button", name="No, thank you")
    button.wait_for()
    ends = "it => it.getBoundingClientRect().bottom <= innerHeight && innerHeight"
    visitor.until(lambda: button.evaluate(ends), "the buttons are in sight")
    button.click()
    visitor.until(lambda: visitor.view()[0] == "none", "the window is closed")
    visitor.js("() => site_connect.publish('~pagesession/show_frame')")
    visitor.frame.get_by_role("button", name="Stop viewing").click()
    visitor.frame.get_by_text("Viewing has stopped. Nobody sees this page.").wait_for()
    desk.page.locator("#empty").get_by_text("The visitor has stopped the viewing.").wait_for()
    ask(visitor)
    visitor.frame.get_by_role("button", name="Stop waiting").wait_for()
    assert visitor.frame.locator("#status").inner_text() == "", "that is no news any more"


def test_a_proposal_that_is_declined_is_told_and_so_is_who_joined(browsers: Stack) -> None:
    visitor = browsers.visitor()
    desk = browsers.desk().join(visitor.code())
    desk.sees("Made for wet weekends")
    desk.page.get_by_role("button", name="Propose a chat").click()
    visitor.frame.get_by_role("button", name="No, thank you").click()
    desk.page.locator("#chat_words").get_by_text("The visitor does not want to chat now.").wait_for()
    desk.page.get_by_role("button", name="Propose a chat").click()
    visitor.frame.get_by_role("button", name="Start chat").click()
    visitor.frame.get_by_text("Ada joined").wait_for()
    box = visitor.frame.get_by_label("Your message")
    visitor.until(lambda: box.evaluate("it => it === document.activeElement"), "who has agreed may write at once")


def test_a_visitor_who_is_viewed_and_asks_for_a_chat_stays_in_the_list(browsers: Stack) -> None:
    visitor = browsers.visitor()
    desk = browsers.desk().available().join(visitor.code())
    desk.sees("Made for wet weekends")
    name = label(desk)
    ask(visitor)
    desk.page.locator("#waiting").get_by_text(name).wait_for()
    assert label(desk) == name
    desk.page.get_by_role("button", name="Accept").click()
    visitor.frame.get_by_text("Ada joined").wait_for()
    box = visitor.frame.get_by_label("Your message")
    visitor.until(lambda: box.evaluate("it => it === document.activeElement && document.hasFocus()"), "the box has it")
    assert label(desk) == name


def test_a_visitor_who_writes_on_the_page_keeps_the_keyboard(browsers: Stack) -> None:
    visitor = browsers.visitor()
    desk = browsers.desk().available()
    ask(visitor)
    visitor.js(
        "() => { document.body.append(Object.assign(document.createElement('input'), {id: 'own'})); own.focus(); }"
    )
    desk.page.get_by_role("button", name="Accept").click()
    visitor.frame.get_by_text("Ada joined").wait_for()
    visitor.page.keyboard.type("abc")
    assert visitor.js("() => own.value") == "abc"


# --- what is read


def test_addresses_are_links_that_cannot_harm_and_times_are_told(browsers: Stack) -> None:
    visitor, desk = in_chat(browsers)
    text = "See https://example.org/a?b=1. Not javascript:alert(1) <b>nor this</b>"
    write(desk.page, text)
    agrees(visitor, desk, [text])
    for where in (visitor.frame, desk.page):
        link = where.locator("li .said a")
        assert [link.get_attribute(name) for name in ("href", "target", "rel")] == [
            "https://example.org/a?b=1",
            "_blank",
            "noopener noreferrer",
        ]
        assert where.locator("li:has(.said) time").inner_text()
    assert visitor.frame.locator("li.system").inner_text().startswith("Ada joined")


def test_no_raw_reason_is_on_a_screen(tmp_path: Path) -> None:
    with stack(tmp_path) as found, found.scene() as browsers:
        visitor = browsers.visitor()
        desk = browsers.desk()
        visitor.code()
        desk.join("000000x")
        desk.page.get_by_text("No page has this code.").wait_for()
        visitor.js("() => site_connect.publish('~pagesession/show_frame')")
        visitor.js("() => site_connect.publish('~pagesession/chat/message', {text: 'x'})")
        visitor.frame.get_by_text("Your last message was not sent.").wait_for()
        browsers.world.frames[-1].kill()
        desk.join("111111")
        desk.page.get_by_text("The service does not answer at present.").wait_for()
        desk.shot("no_frame_node")
