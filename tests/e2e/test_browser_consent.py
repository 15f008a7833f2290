"""Consent in real browsers: nothing of a page leaves, and nothing is recorded, before its visitor has allowed it.

What is declined counts against the agent, so each test that declines has an agent of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.support.browsers import Desk, Stack, Visitor, stack
from tests.support.web_cases import case, is_at_its_point

ASK = ("--consent", "ask")
AGENTS = ("ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida")
SHOP = "Made for wet weekends"
AT_HOME = """() => [...document.querySelectorAll("html > site-connect")]
    .some(each => each.shadowRoot.querySelector("iframe"))"""
"""Whether the help frame is where it is while it asks nothing."""
UNKNOWN = "No page has this code"
ASKING = re.compile("Asking .* to show the page")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("consent"), *ASK, agents=AGENTS) as found:
        yield found


def asked(browsers: Stack, agent: str = "ada") -> tuple[Visitor, Desk, str]:
    """A visitor whom an agent asks who has the code."""
    visitor = browsers.visitor()
    code = visitor.code()
    visitor.listen("~pagesession/cobrowsing/+")
    desk = browsers.desk(agent).join(code)
    card_of(visitor, agent)
    return visitor, desk, code


def card_of(visitor: Visitor, agent: str) -> None:
    visitor.frame.get_by_role("alertdialog", name=f"{agent.title()} asks to see this page").wait_for()


def press(visitor: Visitor, answer: str) -> None:
    visitor.frame.get_by_role("button", name=answer, exact=True).click()


def in_chat(browsers: Stack, agent: str, *, accepted: bool = True) -> tuple[Visitor, Desk]:
    """A visitor whose chat is open with an agent, or is offered to it."""
    desk = browsers.desk(agent).available()
    visitor = browsers.visitor()
    visitor.code()
    visitor.listen("~pagesession/cobrowsing/+")
    visitor.page.get_by_role("button", name="Chat").click()
    accept = desk.page.get_by_role("button", name="Accept")
    accept.wait_for()
    if accepted:
        accept.click()
        visitor.frame.get_by_role("button", name="End chat").wait_for()
    return visitor, desk


def nothing_left(visitor: Visitor) -> None:
    """No update, no recorder, no request for a snapshot."""
    assert not visitor.is_viewed()
    assert [frame for frame in visitor.sent if '"t":"update"' in frame] == []
    assert [frame for frame in visitor.received if "snapshot_request" in frame] == []
    assert visitor.js("() => performance.getEntriesByType('resource').filter(r => r.name.includes('recorder'))") == []
    assert visitor.js("() => typeof window.site_connect_recorder") == "undefined"


def declined(visitor: Visitor, reason: str) -> None:
    assert visitor.hears("~pagesession/cobrowsing/declined")["reason"] == reason
    visitor.until(lambda: not visitor.frame.locator("#asked").is_visible(), "the card is gone")
    nothing_left(visitor)


# --- by code


def test_an_agent_with_the_code_sees_nothing_before_the_visitor_has_allowed_it(browsers: Stack) -> None:
    visitor, desk, _ = asked(browsers)
    desk.page.get_by_role("heading", name=ASKING).wait_for()
    desk.page.get_by_text("Asking for 0:0").wait_for()
    visitor.page.get_by_role("button", name="Add Tarn boots to cart").click()
    nothing_left(visitor)
    visitor.shot("consent-card")
    desk.shot("consent-asking")
    press(visitor, "Allow")
    desk.sees(SHOP)
    visitor.until(visitor.is_viewed, "the page says that it is viewed")
    assert visitor.hears("~pagesession/cobrowsing/start")["epoch"] == 1
    visitor.frame.get_by_text("Ada is viewing this page").wait_for()
    asks = [frame for frame in visitor.received if '"topic":"~pagesession/cobrowsing/asked"' in frame]
    assert asks and '"name":"Ada"' in asks[0] and '"by":"code"' in asks[0]


def test_not_now_shows_nothing_and_brings_another_code(browsers: Stack) -> None:
    visitor, desk, code = asked(browsers, "bob")
    press(visitor, "Not now")
    declined(visitor, "declined")
    desk.page.get_by_role("heading", name="Declined").wait_for()
    desk.page.get_by_text("chose “Not now”").first.wait_for()
    desk.shot("consent-declined")
    assert visitor.view()[0] == "none", "the window was closed before, and is again"
    visitor.page.get_by_role("button", name="Help").click()
    assert visitor.code(other_than=code) != code
    visitor.frame.get_by_text("You chose not to show this page").wait_for()
    visitor.shot("consent-after-not-now")
    desk.join(code).page.get_by_text(UNKNOWN).wait_for()


def test_an_answer_to_an_older_request_does_nothing(browsers: Stack) -> None:
    visitor, desk, code = asked(browsers, "cyd")
    press(visitor, "Not now")
    declined(visitor, "declined")
    desk.join(visitor.code(other_than=code))
    card_of(visitor, "cyd")
    assert visitor.hears("~pagesession/cobrowsing/asked", 2)["epoch"] == 2
    visitor.js("() => site_connect.publish('~pagesession/cobrowsing/allow', { epoch: 1 })")
    visitor.js("() => site_connect.publish('~pagesession/cobrowsing/decline', { epoch: 1 })")
    visitor.js("() => site_connect.publish('~pagesession/x', 'a message that the gateway takes after these')")
    visitor.until(lambda: any('"~pagesession/x"' in frame for frame in visitor.sent), "all of it has left")
    card_of(visitor, "cyd")
    nothing_left(visitor)
    press(visitor, "Allow")
    desk.sees(SHOP)


def test_with_the_keyboard_alone(browsers: Stack) -> None:
    """The card has the keyboard, no key that was meant for the page answers, Escape is Not now, and the page has the
    keyboard again."""
    visitor = browsers.visitor("/shop/checkout.html")
    code = visitor.code()
    visitor.listen("~pagesession/cobrowsing/+")
    field = visitor.page.get_by_label("Month")
    field.select_option("11")
    field.focus()
    desk = browsers.desk("dan").join(code)
    card_of(visitor, "dan")
    focused = "() => document.activeElement.id"
    visitor.until(lambda: visitor.frame.evaluate(focused) == "asked", "the card has the keyboard")
    for key in ("Enter", "Space", "a"):
        visitor.page.keyboard.press(key)
    card_of(visitor, "dan")
    assert field.input_value() == "11"
    visitor.page.keyboard.press("Escape")
    declined(visitor, "declined")
    assert field.evaluate("it => it === document.activeElement"), "the field has the keyboard again"
    desk.join(visitor.code(other_than=code))
    card_of(visitor, "dan")
    visitor.until(lambda: visitor.frame.evaluate(focused) == "asked", "the card has the keyboard again")
    visitor.page.keyboard.press("Tab")
    assert visitor.frame.evaluate(focused) == "allow"
    visitor.page.keyboard.press("Enter")
    desk.sees("Delivery")


WRITERS = """<!doctype html><h1>Marker</h1><input id=field><p id=editor contenteditable></p><x-a></x-a>
<iframe srcdoc="<body contenteditable>"></iframe><script>
  const inner = document.querySelector("x-a").attachShadow({mode: "open"});
  inner.innerHTML = "<textarea></textarea>";
  const places = {
    field: () => field, editor: () => editor, component: () => inner.firstChild,
    frame: () => document.querySelector("iframe").contentDocument.body,
  };
  const written = name => places[name]().value ?? places[name]().textContent;
</script><script async src='{url}/site_connect.js'></script>"""


@pytest.mark.parametrize("where", ["field", "editor", "component", "frame"])
def test_who_is_typing_on_the_page_keeps_the_keyboard_and_hears_of_the_question(browsers: Stack, where: str) -> None:
    visitor = browsers.foreign(WRITERS)
    code = visitor.code()
    visitor.js("name => places[name]().focus()", where)
    visitor.page.keyboard.type("An")
    desk = browsers.desk().join(code)
    card_of(visitor, "ada")
    visitor.frame.get_by_role("alert").get_by_text("Ada asks to see this page").wait_for(state="attached")
    visitor.until(lambda: visitor.view()[0] == "block", "the card is shown")
    visitor.page.keyboard.type("na ")
    assert visitor.js("name => written(name)", where).strip() == "Anna"
    if where == "field":
        visitor.page.keyboard.press("Tab")
        visitor.until(lambda: visitor.frame.evaluate("() => document.activeElement.id") == "asked", "Tab leads there")
        visitor.page.keyboard.press("Tab")
        visitor.page.keyboard.press("Enter")
    else:
        press(visitor, "Allow")
    desk.sees("Marker")


def test_a_reload_while_an_agent_asks_keeps_the_request(browsers: Stack) -> None:
    visitor, desk, _ = asked(browsers)
    visitor.page.reload()
    card_of(visitor, "ada")
    nothing_left(visitor)
    press(visitor, "Allow")
    desk.sees(SHOP)


def test_the_agent_cancels_and_one_who_leaves_asks_no_more(browsers: Stack) -> None:
    visitor, desk, code = asked(browsers, "eve")
    desk.page.get_by_role("button", name="Cancel the request").click()
    declined(visitor, "withdrawn")
    desk.page.get_by_text("You have cancelled the request").first.wait_for()
    desk.join(visitor.code(other_than=code))
    card_of(visitor, "eve")
    desk.page.get_by_role("button", name="Sign out").click()
    assert visitor.hears("~pagesession/cobrowsing/declined", 2)["reason"] == "agent_lost"
    declined(visitor, "withdrawn")


def test_the_console_is_loaded_again_while_it_asks(browsers: Stack) -> None:
    visitor, desk, _ = asked(browsers)
    desk.page.reload()
    desk.page.get_by_role("heading", name=ASKING).wait_for()
    press(visitor, "Allow")
    desk.sees(SHOP)


def test_strangers_who_decline_lock_the_agent_out(browsers: Stack) -> None:
    visitor, desk, _ = asked(browsers, "fay")
    press(visitor, "Not now")
    declined(visitor, "declined")
    visitor.page.get_by_role("button", name="Help").click()
    right = visitor.code()
    for wrong in [code for code in ("000001", "000002", "000003", "000004", "000005") if code != right][:4]:
        desk.join(wrong).page.get_by_text(UNKNOWN).wait_for()
        desk.page.get_by_label("Join by contact code").fill("")
    desk.join(right).page.get_by_text("Too many codes were wrong, or were not allowed").wait_for()
    nothing_left(visitor)


@pytest.mark.parametrize("moment", ["before", "meanwhile"])
@pytest.mark.parametrize("name", ["20-modal-dialog", "31-dialog-of-a-component", "34-full-screen"])
def test_over_what_lies_above_all_else_on_the_page(browsers: Stack, name: str, moment: str) -> None:
    visitor = browsers.foreign(case(name))
    code = visitor.code()
    visitor.listen("~pagesession/cobrowsing/+")
    opens = visitor.page.locator("#full").click if name == "34-full-screen" else lambda: visitor.js("() => later()")
    if moment == "before":
        opens()
    desk = browsers.desk().join(code)
    visitor.hears("~pagesession/cobrowsing/asked")
    if moment == "meanwhile":
        opens()
    press(visitor, "Allow")
    desk.sees("Marker")
    visitor.until(lambda: is_at_its_point(visitor), "the sign can be used there, too")
    visitor.until(lambda: visitor.js(AT_HOME), "the frame is where it was before")


def test_a_modal_dialog_that_is_removed_while_an_agent_asks_takes_nothing_with_it(browsers: Stack) -> None:
    visitor = browsers.foreign(case("20-modal-dialog"))
    code = visitor.code()
    visitor.js("() => later()")
    desk = browsers.desk().join(code)
    within = "() => document.querySelector('dialog').querySelector('site-connect') !== null"
    visitor.until(lambda: visitor.js(within), "the frame is in the dialog")
    visitor.js("() => document.querySelector('dialog').remove()")
    visitor.until(lambda: visitor.js(AT_HOME), "the frame is back")
    visitor.until(lambda: visitor.frame.locator("#allow").is_visible(), "loaded again, it asks")
    press(visitor, "Allow")
    desk.sees("Marker")


# --- what the card says is hidden


def test_the_card_says_what_settings_and_address_hide(browsers: Stack) -> None:
    visitor = browsers.foreign(
        "<!doctype html><h1>Pay</h1><script src='{url}/site_connect.js' data-address=path></script>"
    )
    browsers.desk().join(visitor.code())
    card_of(visitor, "ada")
    words = visitor.frame.locator("#asked_hidden")
    plain = "passwords; card numbers; one-time codes; what you type, except what this site shows on purpose;"
    visitor.until(lambda: plain in words.inner_text(), "what is hidden on every page")
    assert "address" not in words.inner_text()
    visitor.js("() => site_connect.configure({ private: true, block: ['h1'], address: 'site' })")
    visitor.until(lambda: "all text and all that you type" in words.inner_text(), "it says so at once")
    assert "parts of this page that this site leaves out; the address of this page" in words.inner_text()


# --- from a chat


def test_from_a_chat_without_a_code_and_the_chat_goes_on_after_it(browsers: Stack) -> None:
    visitor, desk = in_chat(browsers, "gus")
    assert visitor.code(), "it can be read out during a chat"
    visitor.shot("consent-code-in-chat")
    desk.shot("consent-ask-from-chat")
    desk.page.get_by_role("button", name="Ask to see the page").click()
    card_of(visitor, "gus")
    visitor.frame.get_by_text("They are the agent of your chat").wait_for()
    visitor.shot("consent-card-in-chat")
    nothing_left(visitor)
    press(visitor, "Not now")
    declined(visitor, "declined")
    visitor.code()
    again = desk.page.get_by_role("button", name="Ask again")
    assert again.is_disabled()
    again.focus()
    described = "it => document.getElementById(it.getAttribute('aria-describedby')).textContent"
    assert "has just been asked" in str(again.evaluate(described))
    shown = "it => document.activeElement === it && getComputedStyle(it, '::after').content"
    assert "has just been asked" in str(again.evaluate(shown)), "who uses the keyboard reads it"
    desk.shot("consent-rest")
    desk.page.keyboard.press("Enter")
    desk.page.reload()  # what this console knows of the rest is lost; the frame node knows
    desk.page.get_by_role("button", name="Ask to see the page").click()
    desk.page.locator("#notices").get_by_text(re.compile(r"You can ask again in \d+ s")).wait_for()
    asks = "() => heard.filter(m => m.topic === '~pagesession/cobrowsing/asked').length"
    assert visitor.js(asks) == 1
    ask = desk.page.get_by_role("button", name="Ask to see the page")
    assert ask.is_disabled()
    ask.click()  # once it can be used
    card_of(visitor, "gus")
    press(visitor, "Allow")
    desk.sees(SHOP)
    desk.page.get_by_role("button", name="Stop viewing").click()
    visitor.until(lambda: not visitor.is_viewed(), "the viewing is over")
    desk.page.get_by_role("button", name="Ask to see the page").wait_for()
    desk.page.get_by_label("Your message").fill("Are you still there?")
    desk.page.keyboard.press("Enter")
    visitor.frame.get_by_text("Are you still there?").wait_for()
    visitor.frame.get_by_role("button", name="End chat").wait_for()
    assert visitor.code()


def test_from_the_list_of_those_who_wait(browsers: Stack) -> None:
    visitor, desk = in_chat(browsers, "hal", accepted=False)
    desk.page.locator("#waiting").get_by_role("button", name="Ask to see the page").click()
    card_of(visitor, "hal")
    press(visitor, "Allow")
    desk.sees(SHOP)
    desk.page.get_by_role("button", name="Accept").click()
    visitor.frame.get_by_role("button", name="End chat").wait_for()
    assert visitor.is_viewed()


# --- the site's own dialog

OWN = """answer => site_connect.on_consent(request => new Promise((done, fail) => {
    (window.requests ??= []).push(request); window.answer = { done, fail }; }))"""


def test_a_site_asks_by_a_dialog_of_its_own(browsers: Stack) -> None:
    visitor = browsers.visitor()
    code = visitor.code()
    visitor.listen("~pagesession/cobrowsing/+")
    visitor.js(OWN)
    desk = browsers.desk("ida").join(code)
    visitor.until(lambda: visitor.js("() => window.requests?.length === 1"), "the site is asked")
    about = {"epoch": 1, "agent": "ida", "name": "Ida", "capability": "view", "by": "code"}
    assert visitor.js("() => requests[0]") == about
    nothing_left(visitor)
    assert visitor.view()[0] == "none" and not visitor.frame.locator("#asked").is_visible()
    visitor.js("() => answer.fail(new Error('the dialog broke'))")
    declined(visitor, "declined")
    desk.join(visitor.code(other_than=code))
    visitor.until(lambda: visitor.js("() => requests.length === 2"), "the site is asked again")
    visitor.js("() => answer.done('yes')")
    assert visitor.hears("~pagesession/cobrowsing/declined", 2)["reason"] == "declined"
    nothing_left(visitor)
    visitor.until(lambda: visitor.code() != code, "another code")
    desk.join(visitor.code())
    visitor.until(lambda: visitor.js("() => requests.length === 3"), "the site is asked once more")
    visitor.js("() => answer.done(true)")
    desk.sees(SHOP)
    visitor.errors.clear()  # what the dialog threw is reported


def test_a_dialog_that_comes_while_an_agent_asks_takes_over_from_the_frame(browsers: Stack) -> None:
    visitor, desk, _ = asked(browsers)
    visitor.js(OWN)
    visitor.until(lambda: not visitor.frame.locator("#asked").is_visible(), "the frame asks no more")
    visitor.js("() => answer.done(true)")
    desk.sees(SHOP)


@pytest.mark.parametrize(("width", "height"), [(390, 700), (550, 380)], ids=["phone", "desktop at 200 %"])
def test_on_a_small_screen_the_page_is_dimmed_and_both_answers_are_in_sight(
    browsers: Stack, width: int, height: int
) -> None:
    visitor = browsers.visitor(width=width, height=height)
    browsers.desk().join(visitor.code())
    card_of(visitor, "ada")
    visitor.shot(f"consent-{width}")
    sizes = "() => [...document.querySelectorAll('#allow, #decline')].map(b => b.getBoundingClientRect().toJSON())"
    allow, decline = visitor.frame.evaluate(sizes)
    assert (allow["width"], allow["height"]) == (decline["width"], decline["height"]) and allow["height"] >= 44
    assert visitor.frame.evaluate("() => document.getElementById('panel').scrollTop") == 0
    assert decline["bottom"] <= visitor.frame.evaluate("() => innerHeight")
    look = "() => document.querySelector('site-connect').shadowRoot.querySelector('iframe').style.boxShadow"
    assert "100vmax" in visitor.js(look)
    press(visitor, "Allow")
    visitor.until(visitor.is_viewed, "it is viewed")
    assert "100vmax" not in visitor.js(look)
