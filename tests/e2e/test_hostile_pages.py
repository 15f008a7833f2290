"""What a page may put on an agent's screen: a hand-made page says it, through a real gateway, to a console in Chromium.

Nothing of it runs, leads elsewhere or takes the keyboard, and nothing is asked of a host that was not named.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import http.server
import itertools
import json
import threading
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import Any

import pytest

from tests.support.browsers import FOREIGN, Desk, Stack
from tests.support.gateways import Browser
from tests.support.waiting import PATIENCE_S

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="


class HandMade:
    """A page without a browser, in a thread with a loop of its own: the driver of the console has the test's."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._browser = Browser(url, page=FOREIGN)
        self._ids = itertools.count(100)
        self._sent = 0
        self._run(self._browser.__aenter__())

    def _run(self, story: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(story, self._loop).result(PATIENCE_S)

    def code(self) -> str:
        self._run(self._browser.hello())
        return str(self._run(self._browser.told("~/site_connect/ready"))["code"])

    def wanted(self) -> None:
        """Wait until a snapshot is wanted."""
        self._run(self._browser.told("~pagesession/cobrowsing/snapshot_request"))

    def send(self, events: list[dict[str, Any]], *, snapshot: bool) -> None:
        text = json.dumps([{**event, "timestamp": 0} for event in events])
        packed = {"$bin": base64.b64encode(gzip.compress(text.encode())).decode()}
        self._sent += 1
        self._run(self._browser.send("update", epoch=1, n=self._sent, event=packed, snapshot=snapshot))

    def close(self) -> None:
        self._run(self._browser.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # ── what it says ─────────────────────────────────────────────────────────────────────────────────────────────

    def element(
        self, tag: str, attributes: dict[str, Any] | None = None, *children: Any, **more: Any
    ) -> dict[str, Any]:
        return {"type": 2, "id": next(self._ids), "tagName": tag, "attributes": attributes or {},
                "childNodes": list(children), **more}  # fmt: skip

    def text(self, text: str, **more: Any) -> dict[str, Any]:
        return {"type": 3, "id": next(self._ids), "textContent": text, **more}

    def page(self, *body: dict[str, Any], href: str = f"{FOREIGN}/cart") -> list[dict[str, Any]]:
        html = {**self.element("html", {}, self.element("head"), {**self.element("body", {}, *body), "id": 3}), "id": 2}
        document = {"type": 0, "id": 1, "childNodes": [{"type": 1, "id": 4, "name": "html"}, html]}
        return [
            {"type": 4, "data": {"href": href, "width": 800, "height": 600}},
            {"type": 2, "data": {"node": document, "initialOffset": {"left": 0, "top": 0}}},
        ]

    def change(self, adds: list[dict[str, Any]], attributes: dict[int, dict[str, Any]] | None = None) -> dict[str, Any]:
        """A mutation: nodes that are added to the body, and attributes of elements by id."""
        changed = [{"id": ident, "attributes": each} for ident, each in (attributes or {}).items()]
        added = [add for node in adds for add in self._added(3, node)]
        data = {"source": 0, "texts": [], "removes": [], "adds": added, "attributes": changed}
        return {"type": 3, "data": data}

    def _added(self, parent: int, node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Each node by itself, as a recorder tells what is added."""
        yield {"parentId": parent, "nextId": None, "node": {**node, "childNodes": []}}
        for child in node.get("childNodes", []):
            yield from self._added(node["id"], child)


class Trap(http.server.BaseHTTPRequestHandler):
    """A host that nobody named; what it is asked for is kept."""

    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def trap() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Trap)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def made(browsers: Stack) -> Iterator[HandMade]:
    found = HandMade(browsers.url)
    yield found
    found.close()


def vectors(page: HandMade, elsewhere: str, own: str) -> list[dict[str, Any]]:
    """Every kind of what runs, leads elsewhere, takes the keyboard or asks somebody, once."""
    mark = "top.document.title = 'forged'"
    run, e, text = f"javascript:{mark}", page.element, page.text
    css = f"@import url({elsewhere}/import); @font-face{{font-family:f;src:url({elsewhere}/font)}} "
    css += f"body{{background:url({elsewhere}/css);font-family:f}} p{{cursor:url({elsewhere}/cursor),auto}}"
    rels = "stylesheet prefetch preload modulepreload manifest icon preconnect dns-prefetch prerender"
    return [
        e("script", {"src": f"{elsewhere}/script"}, text(mark)), e("SCRIPT", {}, text(mark)),
        e("script", {}, text(mark), isSVG=True), e("img", {"src": "x:", "onerror": mark, "ONLOAD": mark}),
        *svg(page, elsewhere, run),
        e("a", {"href": run, "target": "_top"}, text("link")), e("a", {"href": f" java\nscript:{mark}"}),
        e("form", {"action": f"{elsewhere}/form", "target": "_top"},
          e("button", {"formaction": run, "autofocus": True}, text("go")),
          e("input", {"type": "image", "src": f"{elsewhere}/button", "autofocus": ""})),
        e("iframe", {"srcdoc": f"<script>{mark}</script>"}), e("iframe", {"src": run}),
        *(e("iframe", {"src": src}) for src in (f"{own}/frame.html", f"{own}/shop/", "data:text/html,x")),
        e("frame", {"src": f"{elsewhere}/frame"}), e("object", {"data": f"{elsewhere}/object"}),
        e("embed", {"src": f"{elsewhere}/embed"}), e("applet", {"code": "x", "archive": f"{elsewhere}/applet"}),
        e("base", {"href": f"{elsewhere}/base/"}), e("meta", {"name": "referrer", "content": "unsafe-url"}),
        e("meta", {"http-equiv": "refresh", "content": f"0;url={elsewhere}/refresh"}),
        *(e("link", {"rel": rel, "href": f"{elsewhere}/{rel}", "as": "image"}) for rel in rels.split()),
        e("style", {"_cssText": css}), e("style", {}, text(css, isStyle=True)), e("link", {"_cssText": css}),
        e("p", {"style": f"background:url({elsewhere}/style);background-image:image-set('{elsewhere}/set' 1x)"}),
        e("img", {"src": f"{elsewhere}/img", "srcset": f"{elsewhere}/srcset 1x", "referrerpolicy": "unsafe-url"}),
        e("picture", {}, e("source", {"srcset": f"{elsewhere}/source"}), e("img", {"src": f"{elsewhere}/picture"})),
        e("video", {"src": f"{elsewhere}/video", "poster": f"{elsewhere}/poster", "autoplay": ""}),
        e("audio", {"src": f"{elsewhere}/audio", "autoplay": "", "rr_mediaState": "played"}),
        e("canvas", {"rr_dataURL": f"{elsewhere}/canvas"}), e("img", {"rr_dataURL": f"{elsewhere}/rr"}),
        e("table", {"background": f"{elsewhere}/table"}), e("input", {"autofocus": "", "onfocus": mark}),
        e("div", {}, e("img", {"src": f"{elsewhere}/shadow"}, isShadow=True), isShadowHost=True),
        e("details", {"ontoggle": mark, "open": ""}), e("marquee", {"onstart": mark}),
        e("noscript", {}, e("img", {"src": f"{elsewhere}/noscript"})),
        e("template", {}, e("img", {"src": f"{elsewhere}/template"})),
        e("div", {"onbeforetoggle": mark, "popover": "", "contenteditable": "", "accesskey": "s"}, text("Marker")),
    ]  # fmt: skip


def svg(page: HandMade, elsewhere: str, run: str) -> list[dict[str, Any]]:
    def e(tag: str, said: dict[str, Any] | None = None, *children: Any) -> dict[str, Any]:
        return page.element(tag, said, *children, isSVG=True)

    return [
        e("svg", {"onload": run}, e("a", {"xlink:href": run}), e("image", {"href": f"{elsewhere}/svg"})),
        e("svg", {}, e("a", {"id": "x"}, e("animate", {"attributeName": "href", "values": run}))),
        e("svg", {}, e("use", {"href": f"{elsewhere}/use#a"}), e("set", {"attributeName": "onclick", "to": run})),
        e("svg", {}, e("foreignobject", {}, page.element("iframe", {"src": f"{elsewhere}/foreign"}))),
    ]


FOUND = """it => { const found = [];
    const walk = node => {
        for (const { name, value } of node.attributes ?? []) {
            const plain = value.replace(/[\\u0000-\\u0020]/g, "").toLowerCase();
            const isName = /^(on|(srcdoc|http-equiv|(form)?action|target|auto(focus|play)|ping|accesskey)$)/i
                .test(name);
            const isValue = /(^|;)(javascript|data:text|data:application)/.test(plain);
            if (isName || isValue) found.push(`${node.localName} ${name}=${value}`);
        }
        const { localName } = node;
        if (["script", "object", "embed", "applet", "base", "frame"].includes(localName)) found.push(localName);
        if (localName === "link" && node.rel !== "stylesheet") found.push(node.rel);
        if (localName === "iframe" && node.hasAttribute("src")) found.push(`iframe ${node.src}`);
        if (node.shadowRoot) walk(node.shadowRoot);
        if (node.contentDocument) walk(node.contentDocument);
        for (const child of [...node.childNodes, ...(node.content?.childNodes ?? [])]) walk(child);
    };
    walk(it);
    return found; }"""
"""What of the vectors stands in the rebuilt document."""


def joined(browsers: Stack, page: HandMade) -> Desk:
    desk = browsers.desk().join(page.code())
    page.wanted()
    return desk


def settle(desk: Desk) -> None:
    """Wait until whatever the replay asks for was asked for: the requests of a probe come behind those before it."""
    for path in ("/shop/shop.css", "/shop/shop.js"):
        desk.page.evaluate("path => fetch(path).then(answer => answer.text())", path)
    desk.page.wait_for_load_state("networkidle")


def test_nothing_that_a_snapshot_or_a_change_holds_runs_leads_elsewhere_or_asks_a_host_that_was_not_named(
    browsers: Stack, made: HandMade, trap: str
) -> None:
    desk = joined(browsers, made)
    dialogs: list[str] = []
    desk.page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    Trap.asked.clear()
    forged = vectors(made, trap, browsers.url)
    made.send(made.page(made.element("h1", {}, made.text("Snapshot")), *forged), snapshot=True)
    desk.sees("Snapshot")
    settle(desk)
    assert desk.in_replay(FOUND) == []
    frame = made.element("iframe")
    link = made.element("link", {"rel": "stylesheet", "href": f"{browsers.url}/shop/shop.css"})
    added = [made.element("h2", {}, made.text("Change")), frame, link, *vectors(made, trap, browsers.url)]
    made.send([made.change(added)], snapshot=False)
    desk.sees("Change")
    heading = added[0]["id"]
    changes: dict[int, dict[str, Any]] = {
        frame["id"]: {"src": f"{browsers.url}/frame.html", "srcdoc": "<p>x"},
        link["id"]: {"rel": "prefetch", "href": f"{trap}/changed"},
        heading: {"onclick": "x", "style": {"background": f"url({trap}/changed)"}, "title": "Changed",
                        "xlink:href": "javascript:x", "autofocus": ""},
    }  # fmt: skip
    made.send([made.change([], changes)], snapshot=False)
    canvas = {"source": 9, "id": heading, "type": 0, "commands": []}
    font = {"source": 10, "family": "g", "fontSource": f"url({trap}/face)", "buffer": False}
    made.send([{"type": 3, "data": canvas}, {"type": 3, "data": font}], snapshot=False)
    desk.sees("Changed")
    settle(desk)
    assert desk.in_replay(FOUND) == []
    assert Trap.asked == [], "no host that was not named is asked for anything"
    assert "forged" not in desk.page.title() and dialogs == []
    assert desk.page.url == f"{browsers.url}/agent/" and len(desk.context.pages) == 1
    sandbox = desk.page.locator("#stage iframe").first.get_attribute("sandbox")
    assert sandbox == "allow-same-origin", "no script, no form, no way out; the canvas is never replayed by commands"
    focused = desk.page.evaluate("() => document.activeElement.tagName")
    assert focused != "IFRAME"
    inner = "it => [...it.querySelectorAll('iframe')].map(f => f.contentDocument?.URL ?? 'elsewhere')"
    assert set(desk.in_replay(inner)) == {"about:blank"}
    desk.errors.clear()  # of the library, at some of these


def test_what_a_page_is_made_of_is_loaded_from_where_it_may_be(browsers: Stack, made: HandMade) -> None:
    desk = joined(browsers, made)
    asked: list[str] = []
    desk.page.on("request", lambda request: asked.append(request.url))
    desk.page.route(f"{FOREIGN}/**", lambda route: route.fulfill(body="", content_type="image/png"))
    pictures = [made.element("img", {"src": src}) for src in (f"{FOREIGN}/a.png", f"{browsers.url}/shop/b.png", PIXEL)]
    made.send(made.page(made.element("h1", {}, made.text("Pictures")), *pictures), snapshot=True)
    desk.sees("Pictures")
    desk.until(lambda: {f"{FOREIGN}/a.png", f"{browsers.url}/shop/b.png"} <= set(asked), "both are asked")
    loaded = "it => [...it.images].filter(image => image.naturalWidth === 1).length"
    desk.until(lambda: desk.in_replay(loaded) == 1, "the picture in the page itself is there")


def has_text(place: Any, text: str) -> bool:
    return bool(place.inner_text() == text)


def test_the_address_is_the_origin_that_was_verified_and_not_the_page_s_word(browsers: Stack, made: HandMade) -> None:
    desk = joined(browsers, made)
    address = desk.page.locator("#address")
    for href, shown in (
        ("https://www.your-bank.example/login", FOREIGN),
        (f"{FOREIGN}.evil.example/", FOREIGN),
        (f"{FOREIGN}/cart", f"{FOREIGN}/cart"),
        ("javascript:alert(1)", FOREIGN),
    ):
        made.send(made.page(made.element("h1", {}, made.text(f"At {href}")), href=href), snapshot=True)
        desk.sees(f"At {href}")
        desk.until(partial(has_text, address, shown), f"the address is {shown}")


def test_of_a_page_without_end_a_part_is_shown_and_the_agent_is_told(browsers: Stack, made: HandMade) -> None:
    desk = joined(browsers, made)
    made.send(made.page(made.element("h1", {}, made.text("Large"))), snapshot=True)
    desk.sees("Large")
    for _ in range(8):
        made.send([made.change([made.element("i") for _ in range(20_000)])], snapshot=False)
    words = desk.page.get_by_text("too large to be shown whole").or_(desk.page.get_by_text("refreshed less often"))
    words.first.wait_for()
    assert desk.in_replay("it => it.querySelectorAll('i').length") <= 150_000
