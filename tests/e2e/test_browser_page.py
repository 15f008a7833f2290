"""A page, its frame and an agent in real browsers: the API, chat, who sees what, and what stays on the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fabric import Node
from tests.support.browsers import Stack, Visitor, stack
from tests.support.waiting import until

STUB = """<script>
window.site_connect = { calls: [] };
for (const name of ["subscribe", "unsubscribe", "publish", "stop_session", "frame", "retry", "configure"])
  site_connect[name] = (...args) => site_connect.calls.push([name, ...args]);
</script>"""
FOREIGN_PAGE = "<!doctype html><title>Elsewhere</title><script async src='{url}/site_connect.js'></script>"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(
        tmp_path_factory.mktemp("browser"), "--public-subscribe", "news/#", "--public-publish", "ask/+"
    ) as found:
        yield found


# --- frame


def test_the_frame_follows_its_topics_and_its_buttons(browsers: Stack) -> None:
    visitor = browsers.visitor()
    visitor.listen("~pagesession/#")
    visitor.code()
    assert visitor.view()[0] == "none"
    visitor.page.get_by_role("button", name="Help", exact=True).click()
    assert visitor.view()[0] == "block"
    shown = visitor.view()[2]
    visitor.shot("frame")
    visitor.js("() => site_connect.publish('~pagesession/minimize_frame')")
    assert visitor.view()[0] == "block" and visitor.view()[2] < shown / 3
    visitor.frame.get_by_role("button", name="Show the help window").press("Enter")
    visitor.hears("~pagesession/show_frame", 2)
    assert visitor.view()[2] == shown
    visitor.frame.get_by_role("button", name="Close").click()
    visitor.hears("~pagesession/hide_frame")
    assert visitor.view()[0] == "none"
    visitor.js("() => site_connect.publish('~pagesession/show_frame')")
    visitor.page.reload()
    visitor.until(lambda: visitor.view()[0] == "block", "it is shown after a reload, too")


def test_on_a_small_screen_as_at_200_percent_everything_can_be_reached(browsers: Stack) -> None:
    visitor = browsers.visitor(width=320, height=400)
    visitor.page.get_by_role("button", name="Help", exact=True).click()
    visitor.code()
    _, width, height = visitor.view()
    assert width <= 320 and height <= 400
    assert visitor.frame.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    desk = browsers.desk(width=720, height=430)
    assert desk.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    desk.shot("console_at_200_percent")
    for document in (visitor.frame, desk.page):
        nameless = (
            "all => all.filter(it => !(it.innerText || it.ariaLabel || it.labels?.length)).map(it => it.outerHTML)"
        )
        assert document.locator("button, input, textarea").evaluate_all(nameless) == []


def test_a_frame_that_is_loaded_when_the_page_asks(browsers: Stack) -> None:
    visitor = browsers.foreign(FOREIGN_PAGE.replace("async", "async data-frame=manual"))
    visitor.listen("~/site_connect/ready")
    assert visitor.js("() => document.querySelector('site-connect').shadowRoot.querySelector('iframe')") is None
    visitor.js("() => site_connect.publish('~/site_connect/load_frame')")
    assert visitor.hears("~/site_connect/ready")["code"] == visitor.code()


def test_a_frame_that_was_there_before_the_script(browsers: Stack) -> None:
    visitor = browsers.foreign("<!doctype html><iframe data-site-connect-frame src='{url}/frame.html'></iframe>")
    visitor.page.add_script_tag(url=f"{browsers.url}/site_connect.js")
    visitor.listen("~/site_connect/ready")
    assert visitor.hears("~/site_connect/ready")["code"] == visitor.code()
    visitor.js("() => site_connect.publish('~pagesession/show_frame')")
    assert visitor.js("() => document.querySelector('iframe').getBoundingClientRect().width") == 360


def test_a_page_with_a_strict_policy_of_its_own(browsers: Stack) -> None:
    policy = "default-src 'none'; script-src {url}; frame-src {url}"
    page = f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{policy}"><h1>Strict</h1>{FOREIGN_PAGE}'
    visitor = browsers.foreign(page)
    browsers.desk().join(visitor.code()).sees("Strict")
    assert visitor.is_viewed()


# --- the API


def test_what_is_called_before_the_script_is_there_is_done(browsers: Stack) -> None:
    before = """<script>
    window.heard = [];
    const id = site_connect.subscribe("~/x", m => heard.push(m));
    site_connect.subscribe("~/site_connect/ready", m => heard.push(m));
    site_connect.publish("~/x", 1);
    addEventListener("load", () => { site_connect.publish("~/x", 2); site_connect.unsubscribe(id);
                                     site_connect.publish("~/x", 3); });
    </script>"""
    visitor = browsers.foreign(STUB + before + FOREIGN_PAGE)
    assert visitor.hears("~/site_connect/ready")["code"] == visitor.code()
    assert visitor.js("() => heard.filter(m => m.topic === '~/x').map(m => m.payload)") == [1, 2]


def test_a_callback_that_throws_is_reported_and_harms_no_other(browsers: Stack) -> None:
    visitor = browsers.visitor()
    visitor.js("() => { site_connect.subscribe('~/x', () => { throw new Error('of the page'); }); }")
    visitor.listen("~/x")
    visitor.js("() => site_connect.publish('~/x', 1)")
    assert visitor.hears("~/x") == 1
    visitor.until(lambda: visitor.errors == ["of the page"], "the error is reported as the page's own")
    visitor.errors.clear()


def test_the_fabric_as_far_as_it_is_public(browsers: Stack) -> None:
    visitor = browsers.visitor()
    visitor.js(
        """() => { window.heard = []; window.acks = {};
        for (const filter of ["news/+", "secret/#"])
          site_connect.subscribe(filter, m => heard.push(m), ack => { acks[filter] = ack; });
        site_connect.subscribe("~/site_connect/refused", m => heard.push(m)); }"""
    )
    visitor.until(lambda: visitor.js("() => Object.keys(acks).length") == 2, "both are acked")
    assert visitor.js("() => [acks['news/+'].ok, acks['news/+'].covered]") == [True, ["p1"]]
    assert visitor.js("() => acks['secret/#'].ok") is False and visitor.js("() => acks['secret/#'].error")
    with Node(browsers.world.base) as node:
        asked: list[object] = []
        node.wait_ack(node.subscribe("ask/#", lambda message: asked.append(message.payload)), timeout_s=10)
        node.publish("news/today", {"text": "rain"})
        assert visitor.hears("news/today") == {"text": "rain"}
        visitor.js("() => { site_connect.publish('secret/x', 1); site_connect.publish('ask/me', {n: 2}); }")
        until(lambda: asked == [{"n": 2}], "what is public was published")
    assert visitor.hears("~/site_connect/refused")["what"] == "publish"


def test_topics_of_the_page_alone_are_on_no_socket(browsers: Stack) -> None:
    visitor = browsers.visitor()
    visitor.code()
    keep = "() => { window.crossed = []; addEventListener('message', e => crossed.push(JSON.stringify(e.data))); }"
    visitor.frame.evaluate(keep)
    visitor.js(keep)
    heard = visitor.js(
        """() => { let heard = 0; site_connect.subscribe("~/basket/#", () => { heard += 1; });
        for (let n = 0; n < 5000; n += 1) site_connect.publish(`~/basket/${n % 50}`, {secret: "Brook flask", n});
        site_connect.publish("~pagesession/after", "the last one"); return heard; }"""
    )
    assert heard == 5000
    visitor.until(lambda: any("the last one" in frame for frame in visitor.sent), "what is for the session leaves")
    assert [frame for frame in visitor.sent if "~/" in frame or "Brook flask" in frame] == []
    assert [frame for frame in visitor.received if "basket" in frame] == []
    browsers.desk().available()
    visitor.until(lambda: "enabled" in str(visitor.js("() => crossed")), "the frame says something, too")
    for crossed in (visitor.js("() => crossed"), visitor.frame.evaluate("() => crossed")):
        assert crossed and [message for message in crossed if "~/" in message] == []


# --- who may


def test_a_page_of_a_site_that_is_allowed_works_and_any_other_gets_nothing(browsers: Stack) -> None:
    allowed = browsers.foreign(FOREIGN_PAGE)
    allowed.code()
    other = browsers.foreign(FOREIGN_PAGE, "http://other.example")
    other.js("() => { window.heard = []; site_connect.subscribe('~/#', m => heard.push(m)); }")
    refused = other.js(
        """url => new Promise(done => { const s = new WebSocket(url.replace("http", "ws") + "/ws/page");
        s.onopen = () => done("open"); s.onerror = () => done("refused"); })""",
        browsers.url,
    )
    assert refused == "refused"
    assert other.sent == other.received == [] and other.js("() => heard") == []
    assert allowed.js("() => site_connect.publish('~pagesession/show_frame')") is None and allowed.view()[0] == "block"


def test_words_from_a_window_that_is_not_the_frame_are_not_heard(browsers: Stack) -> None:
    visitor = browsers.visitor()
    visitor.listen("~/#", "~pagesession/#")
    code = visitor.code()
    visitor.js(
        """() => { const stranger = document.body.appendChild(document.createElement("iframe"));
        const forged = [{t: "site", name: "ready", payload: {code: "666"}}, {t: "view", view: "shown"},
          {t: "message", topic: "~pagesession/forged", payload: 1}];
        const script = stranger.contentDocument.createElement("script");
        script.textContent = `for (const each of ${JSON.stringify(forged)})
          parent.postMessage({site_connect: 1, ...each}, "*"); parent.postMessage("done", "*");`;
        return new Promise(done => { addEventListener("message", e => e.data === "done" && done());
          stranger.contentDocument.body.append(script); }); }"""
    )
    visitor.frame.evaluate("() => window.postMessage({site_connect: 1, t: 'hello', subscriptions: [], view: 'shown'})")
    visitor.js("() => site_connect.publish('~pagesession/own', 1)")
    assert visitor.hears("~pagesession/own") == 1
    assert visitor.js("() => heard.filter(m => m.payload?.code === '666' || m.topic.endsWith('forged')).length") == 0
    assert visitor.code() == code and visitor.view()[0] == "none"


def test_a_second_tab_of_the_same_visitor_has_a_session_of_its_own(browsers: Stack) -> None:
    visitor = browsers.visitor()
    code = visitor.code()
    with visitor.page.expect_popup() as opened:
        visitor.js("() => { window.open(location.href); }")  # it begins with a copy of what the first one keeps
    second = Visitor(opened.value)
    assert second.code() != code and visitor.code() == code


# --- chat


def test_the_button_follows_the_agents(browsers: Stack) -> None:
    visitor = browsers.visitor()
    visitor.listen("~/site_connect/chat_button/+/+")
    button = visitor.page.get_by_role("button", name="Chat", exact=True)
    visitor.until(button.is_disabled, "there is no agent")
    desk = browsers.desk().available()
    visitor.until(button.is_enabled, "the agent is available")
    desk.page.get_by_role("button", name="Sign out").click()
    visitor.until(button.is_disabled, "the last agent has left")
    told = visitor.js("() => heard.map(m => [m.topic.split('/').at(-1), m.payload.button])")
    assert told[-2:] == [["enabled", "help"], ["disabled", "help"]]


def test_a_chat_both_ways_over_a_new_page_to_its_end(browsers: Stack) -> None:
    visitor = browsers.visitor()
    desk = browsers.desk().available()
    visitor.page.get_by_role("button", name="Chat", exact=True).click()
    visitor.frame.get_by_text("An agent will be with you").wait_for()
    desk.page.get_by_role("button", name="Accept").click()
    visitor.frame.get_by_label("Your message").fill("Are the boots warm?")
    visitor.frame.get_by_label("Your message").press("Enter")
    desk.page.locator("#log").get_by_text("Are the boots warm?").wait_for()
    desk.page.get_by_label("Your message").fill("Down to -5 °C.")
    desk.page.get_by_label("Your message").press("Enter")
    visitor.frame.locator(".log").get_by_text("Down to -5 °C.").wait_for()
    visitor.shot("chat")
    visitor.page.get_by_role("link", name="Cart").click()
    visitor.frame.locator(".log").get_by_text("Down to -5 °C.").wait_for()
    visitor.frame.get_by_label("Your message").fill("I take two.")
    visitor.frame.get_by_role("button", name="Send").click()
    desk.page.locator("#log").get_by_text("I take two.").wait_for()
    desk.page.get_by_role("button", name="End chat").click()
    visitor.frame.get_by_text("This chat has ended.").wait_for()
    assert visitor.view()[0] == "block", "what was said can be read still"
    desk.page.get_by_text("This chat has ended.").wait_for()


def test_an_agent_proposes_a_chat_to_who_is_viewed(browsers: Stack) -> None:
    visitor = browsers.visitor()
    visitor.listen("~pagesession/#")
    desk = browsers.desk().join(visitor.code())
    visitor.hears("~pagesession/show_frame")
    visitor.js("() => site_connect.publish('~pagesession/hide_frame')")
    desk.until(lambda: any('"visibility":"hidden"' in each for each in desk.received), "the frame node knows it")
    desk.page.get_by_role("button", name="Propose a chat").click()
    assert visitor.hears("~pagesession/proactive/trigger")["agent"] == "ada"
    visitor.until(lambda: visitor.view()[0] == "block", "the frame is shown")
    visitor.frame.get_by_role("button", name="Start chat").click()
    desk.page.get_by_label("Your message").fill("Hello, I am Ada. Are you looking for boots?")
    desk.page.get_by_role("button", name="Send").click()
    visitor.frame.locator(".log").get_by_text("Hello, I am Ada.").wait_for()
    assert visitor.hears("~pagesession/chat/message")["from"] == "Ada"
    visitor.frame.get_by_label("Your message").fill("Yes, for a wet weekend.")
    visitor.frame.get_by_role("button", name="Send").click()
    desk.page.locator("#log").get_by_text("Yes, for a wet weekend.").wait_for()
    desk.sees("Made for wet weekends")
    visitor.shot("page")
    desk.shot("console")
    visitor.frame.get_by_role("button", name="End chat").click()
    desk.page.get_by_text("This chat has ended.").wait_for()
