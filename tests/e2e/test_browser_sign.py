"""The visitor's sign can be moved out of the way, and the help frame is where the keyboard looks for it."""

from __future__ import annotations

from tests.support.browsers import Stack, Visitor
from tests.support.web_cases import STOP, is_at_its_point, viewed

FORM = """<!doctype html><meta charset=utf-8><title>Form</title><h1>Marker</h1>
<button id=before>Before</button>
<button id=help onclick="site_connect.publish('~pagesession/show_frame')">Help</button>
<button disabled>Not now</button><a id=after href="#after">After</a><input>
<script async data-buttons=help src='{url}/site_connect.js'></script>"""


Place = tuple[float, float, float, float]


def place(visitor: Visitor) -> Place:
    """Left, top, right and bottom of the sign in the window."""
    box = visitor.page.locator("site-connect #sign").bounding_box()
    assert box is not None
    return round(box["x"]), round(box["y"]), box["x"] + box["width"], box["y"] + box["height"]


def in_window(visitor: Visitor) -> bool:
    size = visitor.page.viewport_size
    assert size is not None
    left, top, right, bottom = place(visitor)
    return left >= 0 and top >= 0 and right <= size["width"] and bottom <= size["height"]


def drag(visitor: Visitor, x: float, y: float) -> None:
    left, top, *_ = place(visitor)
    mouse = visitor.page.mouse
    mouse.move(left + 60, top + 10)  # at its words
    mouse.down()
    mouse.move(left + 60 + x / 2, top + 10 + y / 2)
    mouse.move(left + 60 + x, top + 10 + y)
    mouse.up()


def test_the_sign_can_be_moved_by_pointer_and_stays_in_the_window(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "26-removed")
    before = place(visitor)
    drag(visitor, 120, 300)
    assert place(visitor)[:2] == (before[0] + 120, before[1] + 300)
    drag(visitor, 5_000, 5_000)
    assert in_window(visitor) and place(visitor)[3] > 759, "at the edge"
    for width, height in ((390, 844), (800, 300), (1100, 760)):
        visitor.page.set_viewport_size({"width": width, "height": height})
        visitor.until(lambda: in_window(visitor) and is_at_its_point(visitor), f"it can be used at {width} by {height}")
    drag(visitor, -5_000, -5_000)
    assert place(visitor)[:2] == (0, 0)
    visitor.page.get_by_role("button", name=STOP).click()
    desk.until(lambda: desk.replayed() == "", "nothing is on the agent's screen")


def test_the_sign_can_be_moved_by_keyboard(browsers: Stack) -> None:
    visitor, _, _ = viewed(browsers, "26-removed")
    left, top, *_ = place(visitor)
    visitor.page.get_by_role("button", name="Move this sign").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowLeft", "a", "Enter"):
        visitor.page.keyboard.press(key)
    assert place(visitor)[:2] == (left - 24, top + 48)
    visitor.page.keyboard.press("Tab")
    focused = "() => document.activeElement.shadowRoot.activeElement.textContent"
    assert visitor.js(focused) == "Stop"


def test_a_site_that_keeps_every_pointer_to_itself_does_not_keep_the_sign_in_place(browsers: Stack) -> None:
    visitor, _, _ = viewed(browsers, "26-removed")
    visitor.js(
        """() => { for (const each of ["pointerdown", "pointermove", "pointerup", "mousedown", "keydown"])
        document.addEventListener(each, e => { e.preventDefault(); e.stopImmediatePropagation(); }, true); }"""
    )
    before = place(visitor)
    drag(visitor, 0, 200)
    assert place(visitor)[1] == before[1] + 200


def where(visitor: Visitor) -> str:
    """What has the keyboard: an element of the page, or `frame: …` within the frame."""
    found: str = visitor.js("() => document.activeElement.id || document.activeElement.localName")
    if found != "site-connect":
        return found
    return "frame: " + str(
        visitor.frame.evaluate("() => document.activeElement.id || document.activeElement.localName")
    )


def test_the_frame_comes_right_after_its_opener_and_gives_the_keyboard_back(browsers: Stack) -> None:
    visitor = browsers.foreign(FORM)
    visitor.code()
    page = visitor.page
    page.locator("#help").focus()
    page.keyboard.press("Enter")
    visitor.until(lambda: visitor.view()[0] == "block", "the frame is shown")
    assert where(visitor) == "help", "where it was"
    page.keyboard.press("Tab")
    visitor.until(lambda: where(visitor) == "frame: minimise", "the frame's first control comes next")
    page.keyboard.press("Shift+Tab")
    visitor.until(lambda: where(visitor) == "help", "and before it is its opener")
    page.keyboard.press("Tab")
    visitor.until(lambda: where(visitor) == "frame: minimise", "again")
    for _ in range(8):
        if not where(visitor).startswith("frame"):
            break
        page.keyboard.press("Tab")
        page.wait_for_timeout(100)
    visitor.until(lambda: where(visitor) == "after", "what comes after the opener on the page")
    page.keyboard.press("Shift+Tab")
    visitor.until(lambda: where(visitor).startswith("frame"), "back into the frame")
    page.keyboard.press("Escape")
    visitor.until(lambda: visitor.view()[0] == "none", "it is closed")
    visitor.until(lambda: where(visitor) == "help", "its opener has the keyboard")
    page.keyboard.press("Tab")
    assert where(visitor) == "after"


def test_escape_makes_the_frame_small_while_something_goes_on_in_it(browsers: Stack) -> None:
    visitor = browsers.foreign(FORM)
    desk = browsers.desk().join(visitor.code())
    desk.sees("Marker")
    visitor.page.locator("#help").click()
    visitor.frame.get_by_role("button", name="Stop viewing").focus()
    visitor.page.keyboard.press("Escape")
    visitor.until(lambda: visitor.view()[2] < 100 and visitor.view()[0] == "block", "it is small")
    visitor.until(lambda: where(visitor) == "help", "its opener has the keyboard")
    visitor.frame.get_by_role("button", name="help window").press("Enter")
    visitor.until(lambda: visitor.view()[2] > 100, "it is large again")
    visitor.until(lambda: where(visitor) == "frame: minimise", "and the keyboard is in it")


def test_viewing_is_said_only_while_the_console_goes_on_saying_that_it_shows_the_page(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "26-removed")
    words = visitor.page.locator("site-connect #words")
    words.get_by_text("An agent is viewing this page").wait_for()
    visitor.page.wait_for_timeout(7_000)  # longer than one word of the console holds
    assert words.inner_text() == "An agent is viewing this page"
    desk.page.goto("about:blank")
    words.get_by_text("An agent is connecting to this page").wait_for()
    assert visitor.frame.locator("#viewing_head").inner_text() == "An agent is connecting to this page"


def test_what_is_said_of_typing_is_true(browsers: Stack) -> None:
    visitor = browsers.foreign(FORM.replace("<input>", "<input><div id=more></div>"))
    desk = browsers.desk().join(visitor.code())
    desk.sees("Marker")
    words = visitor.frame.locator("#hidden")
    words.get_by_text("What you type on this page is hidden from them.").wait_for(state="attached")
    visitor.js("() => { more.innerHTML = '<p data-site-connect-show><input type=password></p>'; }")
    desk.until(lambda: 'type="password"' in desk.replayed(), "a password that is marked as shown, and is not")
    assert "What you type on this page is hidden" in str(words.text_content())
    visitor.js("() => { more.innerHTML = '<p data-site-connect-show><textarea></textarea></p>'; }")
    words.get_by_text("This site lets them see what you type in some fields.").wait_for(state="attached")
