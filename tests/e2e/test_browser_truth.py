"""What visitors and agents are told is true, in real browsers: the sign, the stop, the picture, the connection.

The pages are in tests/web_cases: each is of a site on an origin of its own. `later()` of a page is called when an agent
sees it.
"""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.browsers import Stack, Visitor
from tests.support.waiting import PATIENCE_S
from tests.support.web_cases import STOP, case, is_at_its_point, viewed

if TYPE_CHECKING:
    from playwright.sync_api import Route


def session_names(visitor: Visitor) -> set[str]:
    return set(re.findall(r'"t":"welcome","session":"(\w+)"', "".join(visitor.received)))


# --- the sign and its button


STOPPABLE = [
    "20-modal-dialog",
    "26-removed",
    "26b-document-open",
    "28-popover",
    "31-dialog-of-a-component",
    "32-filter",
    "32b-transform",
    "32c-not-displayed",
]


@pytest.mark.parametrize("name", STOPPABLE)
def test_the_stop_can_be_clicked(browsers: Stack, name: str) -> None:
    visitor, desk, code = viewed(browsers, name)
    visitor.js("() => later()")
    visitor.until(lambda: is_at_its_point(visitor), "the button is what lies at its place in the window")
    box = visitor.page.get_by_role("button", name=STOP).bounding_box()
    assert box is not None and 0 <= box["y"] < 100
    visitor.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    desk.until(lambda: desk.replayed() == "", "nothing is on the agent's screen")
    assert not visitor.is_viewed()
    assert visitor.code(other_than=code) != code
    assert len(session_names(visitor)) == 1


def test_the_stop_can_be_reached_by_keyboard_in_a_modal_dialog(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "20-modal-dialog")
    visitor.js("() => later()")
    visitor.until(lambda: is_at_its_point(visitor), "the button is above the dialog")
    for _ in range(6):
        visitor.page.keyboard.press("Tab")
        if visitor.js("() => document.activeElement.shadowRoot?.activeElement?.textContent") == "Stop":
            break
    visitor.page.keyboard.press("Enter")
    desk.until(lambda: desk.replayed() == "", "nothing is on the agent's screen")


def test_the_stop_is_there_in_full_screen(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "34-full-screen")
    visitor.page.locator("#full").click()
    visitor.until(lambda: visitor.js("() => document.fullscreenElement?.id") == "film", "it fills the screen")
    visitor.until(lambda: is_at_its_point(visitor), "the button is above it")
    visitor.page.get_by_role("button", name=STOP).click()
    desk.until(lambda: desk.replayed() == "", "nothing is on the agent's screen")


def test_a_page_that_keeps_every_click_to_itself_can_be_stopped(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "32c-not-displayed")
    keep = "addEventListener(each, e => { e.preventDefault(); e.stopImmediatePropagation(); }, true)"
    visitor.js(f"() => {{ for (const each of ['mousedown', 'pointerdown', 'mouseup', 'click']) document.{keep}; }}")
    visitor.page.get_by_role("button", name=STOP).click()
    desk.until(lambda: desk.replayed() == "", "nothing is on the agent's screen")


def test_what_was_removed_comes_back_and_the_session_goes_on(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "26-removed")
    visitor.js("() => later()")
    visitor.js("() => { document.querySelector('h1').textContent = 'Changed'; site_connect.frame(); }")
    desk.sees("Changed")
    visitor.js("() => { document.querySelector('h1').textContent = 'And again'; }")
    desk.sees("And again")
    assert len(session_names(visitor)) == 1 and visitor.is_viewed()


def test_a_document_that_was_opened_again_is_viewed_on(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "26b-document-open")
    visitor.js("() => later()")
    visitor.js("() => { document.body.append('Written afterwards'); }")
    desk.sees("Written afterwards")
    assert len(session_names(visitor)) == 1 and visitor.is_viewed()


def test_where_the_sign_cannot_be_seen_nothing_is_and_both_are_told(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "37-nothing-above")
    visitor.listen("~pagesession/cobrowsing/#")
    visitor.js("() => later()")
    why = visitor.hears("~pagesession/cobrowsing/paused")["why"]
    desk.page.get_by_text(why).wait_for()
    visitor.frame.get_by_text("Viewing is paused").wait_for(state="attached")
    sent = sum('"t":"update"' in each for each in visitor.sent)
    visitor.js("() => { document.querySelector('h1').textContent = 'Not to be seen'; }")
    visitor.page.wait_for_timeout(500)  # longer than an update takes
    assert sum('"t":"update"' in each for each in visitor.sent) == sent
    visitor.js("() => again()")
    visitor.hears("~pagesession/cobrowsing/resumed")
    desk.sees("Not to be seen")
    desk.page.locator("#live").get_by_text("Live").wait_for()


# --- pages with policies and habits of their own


@pytest.mark.parametrize("name", ["21-trusted-types", "22-nonce", "24-array-tojson", "33-crossorigin", "33b-module"])
def test_a_page_with_habits_of_its_own_is_seen_and_can_be_stopped(browsers: Stack, name: str) -> None:
    visitor, desk, _ = viewed(browsers, name)
    visitor.js("() => { document.querySelector('h1').textContent = 'Seen'; }")
    desk.sees("Seen")
    visitor.page.get_by_role("button", name=STOP).click()
    desk.until(lambda: desk.replayed() == "", "nothing is on the agent's screen")


def test_lists_stay_lists_where_arrays_have_a_tojson(browsers: Stack) -> None:
    visitor = browsers.foreign(case("24-array-tojson"))
    visitor.code()
    visitor.js("() => site_connect.publish('~pagesession/basket', { items: [1, 'two'] })")
    visitor.until(lambda: any('"items":[1,"two"]' in each for each in visitor.sent), "it leaves as it is")
    assert visitor.js("() => JSON.stringify([1])") == '"[1]"', "the page's own arrays are as they were"


def test_a_policy_that_does_not_list_ours_is_said_to_both(browsers: Stack) -> None:
    visitor = browsers.foreign(case("21-trusted-types").replace("trusted-types site-connect", "trusted-types other"))
    visitor.listen("~/site_connect/refused")
    desk = browsers.desk().join(visitor.code())
    assert "site-connect" in visitor.hears("~/site_connect/refused")["why"]
    desk.page.get_by_text("This page cannot be shown").wait_for()


# --- the console


def test_a_gateway_that_answers_no_more_is_seen_within_seconds(browsers: Stack) -> None:
    """Stopped, and not ended: every socket stays open. What is on the screen is grey, and nothing can be asked for."""
    with browsers.another_gateway() as gateway:
        visitor, desk, _ = viewed(browsers, "26-removed")
        live = desk.page.locator("#live")
        live.get_by_text("Live").wait_for()
        gateway.signal(signal.SIGSTOP)
        try:
            stopped_at = time.monotonic()
            desk.until(lambda: re.fullmatch(r"Last seen \d+ s ago", live.inner_text()), "it says since when")
            assert time.monotonic() - stopped_at < 8
            assert "grayscale" in str(desk.page.locator(".replay").first.evaluate("it => getComputedStyle(it).filter"))
            desk.page.locator("#quality").get_by_text("No answer for").wait_for()
            for name in ("Refresh", "Stop viewing", "Propose a chat", "Join"):
                assert desk.page.get_by_role("button", name=name).is_disabled(), name
            assert desk.page.get_by_role("switch", name="Available").is_disabled()
            assert desk.page.get_by_role("button", name="Sign out").is_enabled()
        finally:
            gateway.signal(signal.SIGCONT)
        desk.until(lambda: live.inner_text() == "Live", "it is current again")
        desk.until(lambda: desk.page.get_by_role("button", name="Refresh").is_enabled(), "and works")
        visitor.js("() => { document.querySelector('h1').textContent = 'Afterwards'; }")
        desk.sees("Afterwards")


def test_a_tab_that_closes_is_told_within_five_seconds(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "26-removed")
    live = desk.page.locator("#live")
    live.get_by_text("Live").wait_for()
    visitor.page.close()
    closed_at = time.monotonic()
    desk.until(lambda: "closed or away" in live.inner_text(), "the agent is told")
    assert time.monotonic() - closed_at < 5


BURST = 90
"""Fewer than the messages over a limit that close a socket: none more is sent before the gateway has read these."""
FLOOD = "count => { for (let n = 0; n < count; n += 1) site_connect.publish('~pagesession/flood', n); }"


def pass_the_rate(visitor: Visitor) -> None:
    """Publish more than the gateway takes in a second, at whatever pace this machine has."""

    def is_told() -> bool:
        return any('"what":"rate"' in each for each in visitor.received)

    def is_read() -> bool:
        return sum('"t":"done"' in each for each in visitor.received) >= sent

    sent = sum('"t":"done"' in each for each in visitor.received)
    until_s = time.monotonic() + PATIENCE_S
    while not is_told():
        assert time.monotonic() < until_s, f"{sent} messages, and no limit was passed"
        sent += BURST
        visitor.js(FLOOD, BURST)
        visitor.until(lambda: is_told() or is_read(), "the gateway has read them")


def test_a_picture_that_lacks_updates_is_not_live_and_is_made_good(browsers: Stack) -> None:
    """The gateway drops what is beyond its limit, and the page falls silent then: nothing else would tell."""
    visitor, desk, _ = viewed(browsers, "26-removed")
    live = desk.page.locator("#live")
    live.get_by_text("Live").wait_for()
    snapshots = sum('"snapshot":true' in each for each in desk.received)
    desk.page.evaluate(
        """() => { window.said = []; const live = document.getElementById("live");
        new MutationObserver(() => said.push(live.textContent)).observe(live, {childList: true}); }"""
    )
    visitor.listen("~pagesession/cobrowsing/#")
    pass_the_rate(visitor)
    visitor.hears("~pagesession/cobrowsing/paused")
    visitor.js("() => { document.querySelector('h1').textContent = 'Changed while it rests'; }")
    desk.until(
        lambda: "Paused: the page changes faster than can be sent." in desk.page.evaluate("() => said"),
        "the agent is told",
    )
    desk.sees("Changed while it rests")
    assert sum('"snapshot":true' in each for each in desk.received) > snapshots, "a snapshot was asked for"
    desk.until(lambda: live.inner_text() == "Live", "it is current again")


def test_the_replay_takes_no_focus_no_keys_and_leads_nowhere(browsers: Stack) -> None:
    visitor = browsers.visitor()
    desk = browsers.desk().join(visitor.code())
    desk.sees("Made for wet weekends")
    desk.page.get_by_role("button", name="Stop viewing").focus()
    for _ in range(20):
        desk.page.keyboard.press("Tab")
        focused = desk.page.evaluate("() => document.activeElement.localName")
        assert focused != "iframe", "the keyboard is in the replay"
    desk.page.locator("#stage").click(position={"x": 200, "y": 20})
    desk.page.keyboard.press("Enter")
    heading = "it => it.querySelector('h1').textContent"  # the title of a page is not told
    assert desk.in_replay(heading) == visitor.js(f"() => ({heading})(document)")


def test_a_replay_that_was_led_elsewhere_is_built_again(browsers: Stack) -> None:
    visitor = browsers.visitor()
    desk = browsers.desk().join(visitor.code())
    desk.sees("Made for wet weekends")
    lead = "() => { document.querySelector('#stage iframe').contentWindow.location = '/shop/cart.html'; }"
    desk.page.evaluate(lead)
    desk.until(lambda: sum('"snapshot":true' in each for each in desk.received) >= 2, "a fresh snapshot was asked for")
    desk.sees("Made for wet weekends")
    visitor.page.get_by_role("button", name="Add Tarn boots to cart").click()
    desk.until(lambda: desk.in_replay("it => it.getElementById('count').textContent") == "1", "and it goes on")


def test_viewing_is_said_once_the_console_shows_the_page(browsers: Stack) -> None:
    visitor = browsers.foreign(case("26-removed"))
    desk = browsers.desk()
    held: list[Route] = []
    desk.page.route("**/assets/replay.js", lambda route: held.append(route))
    desk.join(visitor.code())
    visitor.until(visitor.is_viewed, "there is a sign")
    sign = visitor.page.locator("site-connect #sign")
    desk.until(lambda: held and any('"snapshot":true' in each for each in desk.received), "it has all but the replay")
    assert "is connecting to this page" in sign.inner_text()
    assert visitor.frame.locator("#viewing_head").inner_text() == "An agent is connecting to this page"
    held[0].continue_()
    sign.get_by_text("is viewing this page").wait_for()
    visitor.frame.get_by_text("An agent is viewing this page").wait_for()


# --- what a site is told when its page may not have the frame


def test_a_page_that_may_not_hold_the_frame_is_told_why_and_so_is_the_log(browsers: Stack) -> None:
    visitor = browsers.foreign(case("26-removed"), "http://forgotten.example")
    visitor.listen("~/site_connect/#")
    visitor.js("() => site_connect.publish('~pagesession/show_frame')")
    assert visitor.view()[0] == "none", "nothing broken is on the screen"
    reason = visitor.hears("~/site_connect/error")["reason"]
    assert "http://forgotten.example (--allow-origin)" in reason
    assert visitor.view()[0] == "none"
    line = "--allow-origin http://forgotten.example"
    visitor.page.reload()
    visitor.until(lambda: visitor.js("() => Boolean(window.site_connect)"), "it is loaded again")
    browsers.desk()  # it was served later than the frame
    logged = [each for each in browsers.gateway.stderr if line in each]
    assert len(logged) == 1, logged


def test_a_page_that_forbids_the_frame_is_told_why(browsers: Stack) -> None:
    policy = "<meta http-equiv=Content-Security-Policy content=\"frame-src 'none'\"><h1>"
    visitor = browsers.foreign(case("26-removed").replace("<h1>", policy))
    visitor.listen("~/site_connect/#")
    visitor.js("() => site_connect.publish('~pagesession/show_frame')")
    assert "frame-src" in visitor.hears("~/site_connect/error")["reason"]
    assert visitor.view()[0] == "none"
