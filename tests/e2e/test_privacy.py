"""What is masked or blocked leaves no page: in no WebSocket frame, in no replay, whenever the agent comes.

The pages of tests/web_cases, a grid of marks, elements, nestings and moments, and pages that are private by default.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.browsers import FOREIGN, Stack
from tests.support.web_cases import LEAKS, Scene

PLAIN = """<!doctype html><h1>Marker</h1><script>function later() {}</script>
<script async src="{url}/site_connect.js"></script>"""


def test_the_pages_tell_no_secret_to_an_agent_who_was_there_before(browsers: Stack) -> None:
    scene = Scene(browsers, PLAIN)
    for case in LEAKS:
        scene.goto(case.stem, case.read_text())
        scene.later()
        scene.settle()
        assert scene.leaks() == set(), case.stem
        scene.refresh()
        assert scene.leaks() == set(), f"{case.stem}: in a fresh snapshot"
    assert len(LEAKS) >= 16


@pytest.mark.parametrize("case", LEAKS, ids=[case.stem for case in LEAKS])
@pytest.mark.parametrize("before", [False, True], ids=["while", "before"])
def test_the_pages_tell_no_secret_to_an_agent_who_comes_later(browsers: Stack, case: Path, before: bool) -> None:
    """`later()` is called while the agent views the page, or before; then a fresh snapshot is asked for."""
    scene = Scene(browsers, case.read_text(), before=before)
    if not before:
        scene.later()
    scene.settle()
    assert scene.leaks() == set()
    scene.refresh()
    assert scene.leaks() == set(), "in a fresh snapshot"


KINDS = {
    "text": "<p>{}</p>",
    "title": "<p title='{}'>x</p>",
    "aria": "<p aria-label='{}'>x</p>",
    "alt": "<img src='data:,' alt='{}'>",
    "data": "<p data-x='{}'>x</p>",
    "button": "<input type=submit value='{}'>",
    "input": "<input value='{}'>",
    "area": "<textarea>{}</textarea>",
    "editor": "<div contenteditable>{}</div>",
    "option": "<select><option>{}</option></select>",
    "label": "<select><optgroup label='{}'><option>x</option></optgroup></select>",
    "svg": "<svg><text>{}</text></svg>",
    "style": "<p style='--x: \"{}\"'>x</p>",
    "sheet": "<style>.x::after { content: '{}' }</style>",
    "link": "<a href='https://other.example/?{}'>x</a>",
}
NESTINGS = ("own", "deep", "shadow", "frame")
MOMENTS = ("before", "added", "changed", "marked", "moved")
MARKS = {
    "block": ("data-site-connect-block", ""),
    "class": ("class", "site-connect-block"),
    "mask": ("data-site-connect-mask", ""),
    "shown": ("data-site-connect-show", ""),  # the mark around, within which all is shown; it must be told
}
GRID = """<!doctype html><meta charset=utf-8><h1>Marker</h1><div id=all></div>
<script>
const cells = CELLS, after = [];
// The text of an element is changed wherever it stands.
const change = (root, from, to) => {
  const walk = node => {
    if (node.nodeType === 3 && node.data.includes(from)) node.data = node.data.replace(from, to);
    for (const each of node.attributes ?? [])
      if (each.value.includes(from)) node.setAttribute(each.name, each.value.replace(from, to));
    node.childNodes.forEach(walk);
  };
  walk(root);
};
for (const {id, mark: [name, value], html, nesting, moment, word} of cells) {
  const place = all.appendChild(document.createElement("section"));
  const outer = document.createElement("div");
  const set = () => outer.setAttribute(name, value);
  const below = (parent, tag) => parent.appendChild(document.createElement(tag));
  let root = outer;
  place.append(outer);
  if (nesting === "deep") root = below(below(outer, "div"), "div");
  if (nesting === "shadow") root = below(outer, "div").attachShadow({mode: "open"});
  if (nesting === "frame") root = below(outer, "iframe").contentDocument.body;
  const fill = text => root.innerHTML = html.replace("{}", text);
  const secret = `${word}-${id}`;
  if (moment === "before") { set(); fill(secret); }
  if (moment === "added") { set(); after.push(() => fill(secret)); }
  if (moment === "changed") { set(); fill("first"); after.push(() => change(root, "first", secret)); }
  if (moment === "marked") { fill("first"); after.push(() => { set(); change(root, "first", secret); }); }
  if (moment === "moved") {
    const inner = document.createElement("div");
    place.append(inner);
    inner.innerHTML = html.replace("{}", "first");
    set();
    after.push(() => { root.append(inner); change(inner, "first", secret); });
  }
}
function later() { for (const each of after) each(); }
</script>
<script async src='{url}/site_connect.js'></script>"""


def grid(marks: tuple[str, ...], word: str) -> tuple[str, set[str]]:
    """Return a page with a cell for each mark, nesting, moment and kind of element, and the secrets in it.

    To keep the page small, each mark, nesting and moment has five of the kinds, in turn, so that each pair is there.
    """
    cells: list[dict[str, Any]] = []
    kinds, turn = list(KINDS), 0
    for mark in marks:
        for nesting in NESTINGS:
            for moment in MOMENTS:
                for step in range(5):
                    kind = kinds[(turn + 3 * step) % len(kinds)]
                    cell = {"id": f"{mark}-{nesting}-{moment}-{kind}", "mark": MARKS[mark], "html": KINDS[kind]}
                    cells.append({**cell, "nesting": nesting, "moment": moment, "word": word})
                turn += 1
    html = GRID.replace("CELLS", json.dumps(cells).replace("</", "<\\/"))
    return html, {f"{word}-{cell['id']}" for cell in cells}


@pytest.mark.parametrize("before", [False, True], ids=["while", "before"])
def test_no_mark_lets_any_kind_of_element_through(browsers: Stack, before: bool) -> None:
    html, secrets = grid(("block", "class", "mask"), "secret")
    assert len(secrets) >= 60
    scene = Scene(browsers, html, before=before)
    if not before:
        scene.later()
    scene.settle()
    assert scene.leaks() == set()
    scene.refresh()
    assert scene.leaks() == set(), "in a fresh snapshot"


def test_what_is_marked_as_shown_is_shown(browsers: Stack) -> None:
    """The same grid, so that the one before tests something: all words arrive, but those in queries of addresses."""
    html, words = grid(("shown",), "plain")
    scene = Scene(browsers, html)
    scene.later()
    scene.settle()
    scene.refresh()
    expected = {word for word in words if not word.endswith("-link")}
    assert expected - scene.leaks("plain") == set()


def test_a_mark_that_comes_takes_back_what_the_agent_saw(browsers: Stack) -> None:
    html = """<!doctype html><h1>Marker</h1><div id=box><p>secret-seen</p></div>
    <p id=other data-site-connect-mask>secret-not</p>
    <script async src='{url}/site_connect.js'></script>"""
    scene = Scene(browsers, html)
    assert "secret-seen" in scene.replayed() and "secret-not" not in scene.replayed()
    scene.visitor.js("() => box.setAttribute('data-site-connect-mask', '')")
    scene.desk.until(lambda: "secret-seen" not in scene.replayed(), "what is masked now is gone from the replay")
    scene.visitor.js("() => { box.removeAttribute('data-site-connect-mask'); other.dataset.siteConnectBlock = ''; }")
    scene.desk.until(lambda: "secret-seen" in scene.replayed(), "the mark is gone, and it is seen again")
    scene.visitor.js("() => { other.after(box); other.append(box); }")
    scene.desk.until(lambda: "secret-seen" not in scene.replayed(), "it was moved to where all is blocked")
    assert "secret-not" not in "".join([*scene.desk.received, scene.replayed()])


PRIVATE = """<!doctype html><title>secret-title</title><h1 data-site-connect-show>Marker</h1>
<style>h1 {{ color: rgb(1, 2, 3) }} p::after {{ content: "secret-style" }}</style>
<p title=secret-attribute class=looks>secret-text</p><button>secret-button</button><img alt=secret-alt src=/secret.png>
<p data-site-connect-show>plain-text <input value=plain-field><b data-site-connect-mask>secret-within</b></p>
<script>function later() {{ document.querySelector("p").firstChild.data = "secret-later"; }}</script>
<script async src='{{url}}/site_connect.js' {}></script>"""


def plays_private(scene: Scene) -> None:
    scene.later()
    scene.settle()
    scene.refresh()
    assert scene.leaks() == set()
    assert {"plain-text", "plain-field"} <= scene.leaks("plain")
    assert scene.desk.in_replay("it => getComputedStyle(it.querySelector('h1')).color") == "rgb(1, 2, 3)"
    assert scene.desk.in_replay("it => it.querySelector('p.looks').textContent") == "*" * len("secret-later")


def test_a_private_page_shows_only_what_it_marks(browsers: Stack) -> None:
    plays_private(Scene(browsers, PRIVATE.format("data-private")))


def test_a_private_gateway_makes_all_its_pages_private(browsers: Stack) -> None:
    with browsers.another_gateway("--private"):
        plays_private(Scene(browsers, PRIVATE.format("")))


def test_a_page_chooses_which_addresses_are_told(browsers: Stack) -> None:
    html = """<!doctype html><h1>Marker</h1><img src="/kept/a.png?width=3"><img src="/cut/a.png?width=4">
    <script>history.replaceState(null, "", "/shown/path?secret-query");</script>
    <script async src='{url}/site_connect.js' data-address=path data-queries="%s/kept/"></script>"""
    scene = Scene(browsers, html % FOREIGN)
    assert scene.leaks() == set()
    told = "".join(scene.desk.received)
    assert f"{FOREIGN}/shown/path" in told
    assert "kept/a.png?width=3" in told and "cut/a.png" in told and "width=4" not in told


def test_a_key_in_a_long_text_costs_little(browsers: Stack) -> None:
    """The mask of 53 kB is in ASCII, and of a field that waits only the newest is told: at most 50 kB a second."""
    html = """<!doctype html><h1>Marker</h1><textarea id=area></textarea>
    <script>area.value = "All work and no play makes Jack a dull boy.\\n".repeat(1200);</script>
    <script async src='{url}/site_connect.js'></script>"""
    scene = Scene(browsers, html)
    scene.settle()
    before, began = len("".join(scene.visitor.sent).encode()), time.monotonic()
    scene.visitor.js(
        """async () => { area.focus(); for (let keys = 0; keys < 80; keys += 1) {
            area.setRangeText("x", 0, 0, "end");
            area.dispatchEvent(new Event("input", {bubbles: true}));
            await new Promise(done => setTimeout(done, 30));
        } }"""
    )
    long = scene.visitor.js("() => area.value.length")
    scene.desk.until(
        lambda: scene.desk.in_replay("it => it.querySelector('textarea').value.length") == long, "the mask is as long"
    )
    sent = len("".join(scene.visitor.sent).encode()) - before
    took_s = time.monotonic() - began  # on a machine that has other work, keys come slowly: each could be told
    assert sent < (took_s + 5) * 60_000, (took_s, sent)
    assert "Jack" not in "".join([*scene.visitor.sent, scene.replayed()])
