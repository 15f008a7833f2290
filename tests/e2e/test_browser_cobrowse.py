"""Co-browsing in real browsers: what the agent sees, what is never seen anywhere, and what a stop does."""

from __future__ import annotations

import itertools
import json
import re

import pytest

from tests.support.browsers import Desk, Stack, Visitor, wire

SECRETS = ("hunter2-correct", "4929 1234 5678 9012", "5678 9", "csc 737", "Happy birthday", "ada@example.org")


def viewed(browsers: Stack, path: str = "/shop/") -> tuple[Visitor, Desk, str]:
    """A visitor whose page an agent sees, and the code it was joined by."""
    visitor = browsers.visitor(path)
    code = visitor.code()
    desk = browsers.desk().join(code)
    desk.sees("Alder &amp; Finch")
    visitor.until(visitor.is_viewed, "the page says that it is viewed")
    return visitor, desk, code


def test_what_the_visitor_does_appears_in_the_replay(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers)
    visitor.page.get_by_role("button", name="Add Tarn boots to cart").click()
    desk.until(lambda: desk.in_replay("it => it.getElementById('count').textContent") == "1", "the item is counted")
    visitor.page.mouse.wheel(0, 300)
    desk.until(
        lambda: desk.in_replay("it => it.documentElement.scrollTop") == visitor.js("() => scrollY") > 0, "scroll"
    )
    visitor.page.get_by_role("link", name="Cart").click()
    desk.sees("1 \N{MULTIPLICATION SIGN} Tarn boots")
    welcomes = [frame for frame in visitor.received if frame.startswith('{"t":"welcome"')]
    assert len(welcomes) == 2 and len({re.findall(r'"session":"(\w+)"', frame)[0] for frame in welcomes}) == 1
    assert visitor.is_viewed() and desk.in_replay("it => it.querySelector('site-connect #sign')") is None


def test_what_is_typed_is_masked_but_in_fields_marked_for_it(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "/shop/checkout.html")
    visitor.page.get_by_label("Name", exact=True).press_sequentially("Ada Lovelace")
    visitor.page.get_by_label("Delivery note").press_sequentially("ring twice")
    desk.sees("ring twice")
    desk.until(lambda: desk.in_replay("it => it.querySelector('form input').value") == "*" * 12, "a mask as long")
    assert "Lovelace" not in "".join([desk.replayed(), *visitor.sent, *desk.received])


def test_secrets_appear_nowhere(browsers: Stack) -> None:
    """Not in the replay, in no WebSocket frame, in nothing that the mesh carries; and what is marked does."""
    with wire(browsers.world.base) as captured:
        visitor, desk, _ = viewed(browsers, "/shop/checkout.html")
        page = visitor.page
        page.get_by_label("Password for your account").press_sequentially(SECRETS[0])
        page.get_by_label("Card number").press_sequentially(SECRETS[1])  # the field is marked to be shown, in vain
        page.get_by_label("Security code").press_sequentially("csc 737")
        page.get_by_label("E-mail").press_sequentially("ada@example.org")
        page.get_by_label("Gift message").fill("Happy birthday")
        page.get_by_label("Month").select_option("11")
        visitor.js("() => { document.querySelector('[name=password]').type = 'text'; }")
        visitor.js("() => { document.querySelector('[name=card]').setAttribute('value', '4929 1234 5678 9012'); }")
        page.get_by_label("Password for your account").press_sequentially("!")
        visitor.js("() => { const gift = document.querySelector('[name=gift]'); gift.contentEditable = 'true'; }")
        page.get_by_label("Delivery note").fill("ring twice")
        desk.sees("ring twice")
        desk.page.get_by_role("button", name="Refresh").click()  # and in a snapshot of the filled form
        desk.until(lambda: sum('"snapshot":true' in each for each in desk.received) >= 2, "another snapshot")
        desk.until(lambda: captured().count(b"ring twice") >= 2, "the mesh has carried it, too")
        places = {
            "replay": desk.until(lambda: "ring twice" in (text := desk.replayed()) and text, "the new picture"),
            "page's socket": "".join([*visitor.sent, *visitor.received]),
            "console's socket": "".join([*desk.sent, *desk.received]),
            "fabric": captured().decode(errors="replace"),
        }
    for place, text in places.items():
        assert "ring twice" in text, place
        assert [secret for secret in SECRETS if secret in text] == [], place
        assert "in 1881" not in text, f"{place}: what is blocked"  # the digits alone may be part of an id
    assert desk.in_replay("it => it.querySelectorAll('form input')[2].value") == "*" * (len(SECRETS[0]) + 1)


FIELDS = """<!doctype html><title>Fields</title><h1>Fields</h1>
<input id=text><input id=tel type=tel><input id=search type=search><input id=number type=number>
<input id=date type=date><input id=hidden type=hidden value=secret-hidden><input id=emptied value=secret-emptied>
<input id=toggled type=password>
<textarea id=area>secret-area-before</textarea><textarea id=gone>secret-gone</textarea>
<select id=choice><option>open</option><option>chosen</option></select>
<div id=editable contenteditable>secret-editable</div>
<div contenteditable data-site-connect-show id=shown>shown-text</div>
<section data-site-connect-show><input id=marked name=note><input id=card autocomplete="billing CC-number">
<input id=pass type=password><p data-site-connect-mask>secret-masked</p></section>
<p class=site-connect-block>secret-blocked</p><p data-site-connect-block><input value=secret-inside></p>
<div id=host></div><iframe id=inner srcdoc="<input id=nested>"></iframe>
<script>
  document.getElementById("host").attachShadow({mode: "open"}).innerHTML = "<input id=shadowed>";
  document.getElementById("emptied").value = "";
  document.getElementById("gone").value = "";
</script><script async src='{url}/site_connect.js'></script>"""
TYPE = """stage => { const all = root => [...root.querySelectorAll("input, textarea")];
    const fields = [...all(document), ...all(host.shadowRoot), ...all(inner.contentDocument)];
    for (const it of fields.filter(f => !["emptied", "gone", "number", "date", "marked"].includes(f.id))) {
        it.value = `secret-${stage}-${it.id}`;
        if (stage === "attribute") it.setAttribute("value", it.value);
        it.dispatchEvent(new Event("input", {bubbles: true}));
    }
    choice.value = "chosen"; choice.dispatchEvent(new Event("change", {bubbles: true}));
    editable.append(`secret-${stage}`); editable.firstChild.data = `secret-data-${stage}`;
    toggled.type = stage === "before" ? "text" : "password";
    marked.value = `marked-${stage}`; marked.dispatchEvent(new Event("input", {bubbles: true})); }"""


def test_no_kind_of_field_tells_what_is_in_it(browsers: Stack) -> None:
    """Typed before and while it is viewed, set by scripts, in shadow trees and inner pages; emptied or hidden."""
    visitor = browsers.foreign(FIELDS)
    visitor.js(TYPE, "before")
    desk = browsers.desk().join(visitor.code())
    desk.sees("marked-before")
    for stage in ("while", "attribute"):
        visitor.js(TYPE, stage)
        visitor.js("() => document.body.append(document.getElementById('area').cloneNode(true))")
        desk.sees(f"marked-{stage}")
    desk.page.get_by_role("button", name="Refresh").click()
    desk.until(lambda: sum('"snapshot":true' in each for each in desk.received) >= 2, "another snapshot")
    desk.sees("marked-attribute")
    desk.until(lambda: desk.page.locator("#stage .replay").count() == 1, "the old picture is gone")
    said = "".join([*visitor.sent, *desk.received, desk.replayed()])
    assert "shown-text" in said
    assert set(re.findall(r"secret[-\w]*", said)) == set()
    assert "selected" not in said and desk.in_replay("it => it.getElementById('choice').value") != "chosen"


@pytest.mark.parametrize("who", ["page", "button", "agent"])
def test_a_stop_ends_it_at_once_for_both_and_brings_a_new_code(browsers: Stack, who: str) -> None:
    visitor, desk, code = viewed(browsers)
    visitor.listen("~pagesession/cobrowsing/stop")
    if who == "page":
        assert visitor.js("() => site_connect.stop_session()") is True
    elif who == "button":
        visitor.page.get_by_role("button", name="Stop: the agent sees this page no more").click()
    else:
        desk.page.get_by_role("button", name="Stop viewing").click()
    assert visitor.hears("~pagesession/cobrowsing/stop")["epoch"] == 1
    visitor.frame.evaluate("() => 1")  # behind what the frame has sent: the driver tells that in its own time
    sent = sum('"t":"update"' in frame for frame in visitor.sent)
    desk.until(lambda: not desk.page.locator("#stage").is_visible() and desk.replayed() == "", "the stage is empty")
    assert not visitor.is_viewed()
    visitor.page.get_by_role("button", name="Add Tarn boots to cart").click()
    visitor.page.mouse.wheel(0, 300)
    assert visitor.code(other_than=code) != code
    assert sum('"t":"update"' in frame for frame in visitor.sent) == sent, "no update after the stop"
    assert visitor.js("() => [typeof window.site_connect_recorder, document.scripts.length]") == ["undefined", 3]


def test_a_reload_keeps_the_session_the_code_and_the_viewing(browsers: Stack) -> None:
    visitor = browsers.visitor()
    code = visitor.code()
    visitor.page.reload()
    assert visitor.code() == code
    desk = browsers.desk().join(code)
    desk.sees("Made for wet weekends")
    visitor.page.reload()
    visitor.until(visitor.is_viewed, "it is viewed again")
    visitor.js("() => { document.querySelector('h1').textContent = 'Loaded again'; }")
    desk.sees("Loaded again")
    sessions = re.findall(r'"t":"welcome","session":"(\w+)"', "".join(visitor.received))
    assert len(sessions) == 3 and len(set(sessions)) == 1


def test_a_long_session_is_begun_afresh_now_and_then(browsers: Stack) -> None:
    """So that the replay does not keep every event of a day."""
    visitor, desk, _ = viewed(browsers)
    visitor.js(
        """async () => { const h1 = document.querySelector("h1");
        for (let n = 0; n < 6000; n += 1) {
            h1.textContent = `Change ${n}`;
            await new Promise(done => { const {port1, port2} = new MessageChannel(); port1.onmessage = done;
                                        port2.postMessage(0); });
        } }"""
    )
    desk.until(lambda: sum('"snapshot":true' in each for each in desk.received) >= 2, "another snapshot")
    desk.sees("Change 5999")


def test_a_page_that_is_too_large_is_not_tried_again_and_again(browsers: Stack) -> None:
    visitor = browsers.visitor()
    """Of text that nothing can compress."""
    visitor.js(
        """() => { const drawn = () => crypto.getRandomValues(new Uint8Array(50_000)).map(each => 48 + (each & 63));
        const some = () => String.fromCharCode(...drawn());
        document.querySelector("h1").textContent = Array.from({length: 90}, some).join(""); }"""
    )
    visitor.js(
        """() => { window.tries = [];
        site_connect.subscribe("~/site_connect/refused", m => tries.push([m.payload.what, performance.now()])); }"""
    )
    desk = browsers.desk().join(visitor.code())
    desk.page.get_by_text("This page cannot be shown: it is too large to be sent.").wait_for()
    asked = sum("snapshot_request" in each for each in visitor.received)
    desk.until(
        lambda: sum("snapshot_request" in each for each in visitor.received) >= asked + 4, "the agent asks again"
    )
    tries = visitor.js("() => tries")
    assert {what for what, _ in tries} == {"record"}, "the site hears of each try once"
    rests = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(tries)]
    assert tries and all(rest_ms >= 10_000 for rest_ms in rests), "not as often as the agent asks"


def test_what_a_page_forges_harms_no_console(browsers: Stack) -> None:
    """A hand-made page sends no JSON, a snapshot that is none, and one with scripts; the next real one is shown."""
    visitor, desk, _ = viewed(browsers)
    node = {"type": 2, "id": 2, "tagName": "html", "attributes": {"onclick": "x"}, "childNodes": []}
    script = {"type": 2, "id": 3, "tagName": "script", "attributes": {}, "childNodes": []}
    script["childNodes"] = [{"type": 3, "id": 4, "textContent": "top.document.title = 'forged'"}]
    image = {"type": 2, "id": 5, "tagName": "img", "childNodes": []}
    image["attributes"] = {"src": "x:", "onerror": "top.document.title = 'forged'"}
    node["childNodes"] = [script, image]
    meta = {"type": 4, "data": {"href": "javascript:alert(1)", "width": 1e9, "height": -1}, "timestamp": 0}
    page = {
        "type": 2,
        "data": {"node": {"type": 0, "id": 1, "childNodes": [node]}, "initialOffset": {}},
        "timestamp": 0,
    }
    for event in ("no JSON", "[{}]", "[null]", json.dumps([meta, {"type": 2, "data": {}}]), json.dumps([meta, page])):
        visitor.frame.evaluate(
            """event => { const said = {site_connect: 1, t: "update", epoch: 1, event, snapshot: true};
            dispatchEvent(new MessageEvent("message", {data: said, origin: location.origin, source: parent})); }""",
            event,
        )
    desk.page.get_by_text("cannot be shown").wait_for()
    desk.page.get_by_role("button", name="Refresh").click()
    desk.sees("Made for wet weekends")
    assert "forged" not in desk.page.title()
    desk.errors.clear()  # the replay itself throws at some of these


def test_after_its_gateway_was_killed_the_page_is_viewed_on(browsers: Stack) -> None:
    with browsers.another_gateway():
        visitor, desk, _ = viewed(browsers)
        visitor.listen("~/site_connect/connection", "~pagesession/cobrowsing/+")
        browsers.restart_gateway()
        visitor.js("() => { document.querySelector('h1').textContent = 'While nobody listened'; }")
        desk.sees("While nobody listened")
        told = [each["connected"] for each in visitor.js("() => heard.map(m => m.payload)") if "connected" in each]
        assert told[:2] == [False, True]
        assert visitor.is_viewed() and visitor.js("() => heard.filter(m => m.topic.endsWith('/stop')).length") == 0
