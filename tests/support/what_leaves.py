"""What leaves a page, for each kind of content and each mode: a table, made by recording pages in a browser.

`python -m tests.support.what_leaves` writes it into docs/reference/what-leaves-a-page.md; a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.processes import ROOT
from tests.support.recorded import Recorder, recorder

PAGE = ROOT / "docs" / "reference" / "what-leaves-a-page.md"
START, END = "<!-- the table: written by `python -m tests.support.what_leaves` -->", "<!-- end of the table -->"
MODES = {
    "no mark": ("", False),
    "masked": ("data-site-connect-mask", False),
    "shown": ("data-site-connect-show", False),
    "blocked": ("data-site-connect-block", False),
    "private page": ("", True),
}
"""Head of a column -> the mark around each content, and whether the page is private."""
AS_IT_IS, MASKED, NOTHING = "as it is", "masked", "nothing"
SHORTEST = 24
"""Characters of the shortest word: each row has a word of another length, by which its mask is known."""


@dataclass(frozen=True)
class Row:
    """One kind of content.

    html:   with the row's word as {}; it stands in the mark's element
    later:  script, run while the page is viewed, with `at`, the mark's element, and `word`
    top:    html that stands in no element, as in the head
    seen:   whether it is told as it is, from what was told and the word; by default, that the word is in it
    """

    name: str
    html: str = ""
    later: str = ""
    top: str = ""
    seen: Callable[[list[dict[str, Any]], str], bool] | None = None


def _checked(events: list[dict[str, Any]], word: str) -> bool:
    return any(node.get("attributes", {}).get("checked") for node in _nodes(events) if _is(node, "checkbox"))


def _moved(events: list[dict[str, Any]], word: str) -> bool:
    ids = {node["id"] for node in _nodes(events) if node.get("attributes", {}).get("id") == "mouse"}
    moves = [event["data"]["positions"] for event in events if event["data"].get("source") == 1]
    return any(position["id"] in ids for positions in moves for position in positions)


def _is(node: dict[str, Any], kind: str) -> bool:
    return bool(node.get("attributes", {}).get("type") == kind)


def _nodes(events: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    waiting = [event["data"]["node"] for event in events if "node" in event["data"]]
    waiting += [add["node"] for event in events for add in event["data"].get("adds", [])]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node.get("childNodes", [])


_TYPE = """const field = at.querySelector('input, textarea');
    field.value = word;
    field.dispatchEvent(new Event('input', {bubbles: true}));"""
ROWS = (
    Row("Text", "<p>{}</p>"),
    Row("Text that changes while it is viewed", "<p>x</p>", "at.firstChild.firstChild.data = word;"),
    Row("Text in SVG", "<svg><text>{}</text></svg>"),
    Row("Text of a button", "<button>{}</button>"),
    Row("`title`, `alt`, `aria-label` and the like", "<p title='{}' aria-label='{}'>x</p><img alt='{}'>"),
    Row("`data-…` and attributes that are not known", "<p data-x='{}' custom='{}'>x</p>"),
    Row("`class`, `id`, `role`, `part`", "<p class='{}' id='{}'>x</p>"),
    Row("Text in style, as `content`", "<style>.x::after {{ content: '{}' }}</style>"),
    Row("Custom properties of an element", "<p style='--x: \"{}\"'>x</p>"),
    Row("Typed text", "<label>Note <input name=note></label>", _TYPE),
    Row("Typed text of several lines", "<label>Remark <textarea name=remark></textarea></label>", _TYPE),
    Row("A rich text editor", "<div contenteditable>x</div>", "at.firstChild.textContent = word;"),
    Row("What a field says: placeholder, label", "<label>{} <input name=a placeholder='{}'></label>"),
    Row("The name of a field", "<input name='{}'>"),
    Row("A password", "<input type=password>", _TYPE),
    Row("A password that was made visible", "<input type=password>", "at.firstChild.type = 'text';" + _TYPE),
    Row("A card's number, by `autocomplete`", "<input autocomplete=cc-number>", _TYPE),
    Row("A card's code, by the label", "<label>Security code <input></label>", _TYPE),
    Row("A one-time code, by its name", "<input name=otp>", _TYPE),
    Row("Choices of a list", "<select><option>{}</option></select>"),
    Row("Which one is chosen", "<select name=a><option>x<option selected value='{}'>y</select>"),
    Row("Whether a box is ticked", "<input type=checkbox name=a checked>", seen=_checked),
    Row("Hidden fields", "<input type=hidden name=token value='{}'>"),
    Row("Path of a link's address", "<a href='https://other.example/{}'>x</a>"),
    Row("Query of a link's address", "<a href='https://other.example/?{}'>x</a>"),
    Row("Path of a picture's address", "<img src='/{}.png'>"),
    Row("Query of a picture's address", "<img src='/x.png?{}'>"),
    Row("A picture within the page, as a `data:` address", "<img src='data:image/svg+xml,<svg>{}</svg>'>"),
    Row("Pictures in style", "<p style='background: url(/{}.png)'>x</p>"),
    Row("Addresses of film and sound", "<video src='/{}.mp4' poster='/{}.png'></video><audio src='/{}.mp3'></audio>"),
    Row("What is drawn on a canvas", "<canvas></canvas>", "at.firstChild.getContext('2d').fillText(word, 0, 9);"),
    Row("Where a form goes", "<form action='/{}'><button formaction='/{}'>x</button></form>"),
    Row(
        "A frame of the same origin: its page", "<iframe></iframe>", "at.firstChild.contentDocument.body.append(word);"
    ),
    Row("A frame of the same origin: `name` and query", "<iframe name='{}' src='/other?{}'></iframe>"),
    Row("A frame with `srcdoc`: its page", "<iframe srcdoc='<p>{}</p>'></iframe>"),
    Row("A frame with `srcdoc`: the attribute", "<iframe sandbox srcdoc='<p>{}</p>'></iframe>"),
    Row("A frame of another origin", "<iframe src='https://other.example/'></iframe>"),
    Row("An open shadow root", "<x-a></x-a>", "at.firstChild.attachShadow({mode: 'open'}).textContent = word;"),
    Row("A closed shadow root", "<x-a></x-a>", "at.firstChild.attachShadow({mode: 'closed'}).textContent = word;"),
    Row(
        "What is put into a closed shadow root",
        "<x-a></x-a>",
        "at.firstChild.attachShadow({mode: 'closed'}).innerHTML = '<slot></slot>'; at.firstChild.append(word);",
    ),
    Row("Comments, scripts, `template`, `noscript`", "<!-- {} --><template>{}</template><noscript>{}</noscript>"),
    Row("The page's title", top="<title>{}</title>"),
    Row("`meta` and links to files that are no style", top="<meta name=csrf content='{}'><link rel=next href='/{}'>"),
    Row("Path of the page's address", later="history.replaceState(null, '', '/' + word);"),
    Row("Query of the page's address", later="history.replaceState(null, '', '?' + word);"),
    Row("Where the mouse is", "<p id=mouse>x</p>", seen=_moved),
)


def word(at: int) -> str:
    """Return the word of a row: letters, of a length that no other has."""
    return f"word{at:02}".ljust(SHORTEST + at, "q")


def column(browser: Recorder, mode: str) -> list[str]:
    """Return what leaves a page in this mode, for each of ROWS."""
    mark, is_private = MODES[mode]
    cells = [row.html.replace("{{", "{").replace("}}", "}").replace("{}", word(at)) for at, row in enumerate(ROWS)]
    head = "".join(row.top.replace("{}", word(at)) for at, row in enumerate(ROWS))
    body = "".join(f"<section><div class=at {mark}>{cell}</div></section>" for cell in cells)
    page = browser.open(f"<!doctype html>{head}<h1>Marker</h1>{body}", dataset={"private": ""} if is_private else {})
    page.record()
    page.settle(100)  # frames have loaded
    for at, row in enumerate(ROWS):
        code = f"([number, word]) => {{ const at = document.querySelectorAll('.at')[number]; {row.later} }}"
        page.js(code, [at, word(at)])
        page.settle()
    page.hover("#mouse")
    page.settle(200)
    page.snapshot()
    page.settle()
    told, events = page.told(), page.events()
    return [_verdict(row, word(at), told, events) for at, row in enumerate(ROWS)]


def _verdict(row: Row, its: str, told: str, events: list[dict[str, Any]]) -> str:
    if row.seen(events, its) if row.seen else its in told:
        return AS_IT_IS
    return MASKED if re.search(rf"(?<!\*)\*{{{len(its)}}}(?!\*)", told) else NOTHING


def table(browser: Recorder) -> str:
    """Return the table, in Markdown."""
    columns = [column(browser, mode) for mode in MODES]
    lines = [["on the page", *MODES], ["---"] * (1 + len(MODES))]
    lines += [[row.name, *(each[at] for each in columns)] for at, row in enumerate(ROWS)]
    return "\n".join(f"| {' | '.join(line)} |".replace("| --- ", "|---").replace("--- |", "---|") for line in lines)


def written() -> str:
    """Return the table as the page has it."""
    return PAGE.read_text(encoding="utf-8").split(START)[1].split(END)[0].strip()


def main() -> None:
    with recorder() as browser:
        made = table(browser)
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    PAGE.write_text(f"{before}{START}\n\n{made}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
