"""Pages whose secrets must stay on them, made from a seed: marks x kinds of content x nestings x moments. Pure.

    page = made_page(7)
    page.html, page.secrets, page.plain     # no secret may leave, every plain word must

The same seed is the same page. What plays the cells in a browser is made_page.html beside this.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CELLS = 12
RULES: dict[str, Any] = {
    "private": False,
    "rules": [{"paths": ["*"], "mask": [".masked-by-rule"], "block": ["[data-blocked-by-rule]"]}],
}
"""Of the operator, on all these pages."""

HIDES = ("mask", "block", "class", "rule_mask", "rule_block")
STEPS = ("div", "span", "form", "details", "table", "custom", "shadow", "nested", "slot", "frame")
MOMENTS = (
    "before", "added", "changed", "soon", "marked", "marked_soon", "moved", "moved_soon", "replaced", "adopted",
    "again",
)  # fmt: skip
KINDS = {
    "text": "<p>{}</p>",
    "deep": "<div><b><i>{}</i> and {}</b></div>",
    "title": "<p title='{}'>x</p>",
    "aria": "<p aria-label='{}' aria-description='{}' aria-valuetext='{}'>x</p>",
    "alt": "<img src='data:,' alt='{}'>",
    "src": "<img src='/{}.png' srcset='/{}.png 2x'>",
    "data": "<p data-x='{}' custom='{}'>x</p>",
    "button": "<input type=submit value='{}'><button value='{}' name='{}'>{}</button>",
    "input": "<input value='{}'>",
    "placeholder": "<input placeholder='{}' list='{}' name='{}'>",
    "area": "<textarea>{}</textarea>",
    "editor": "<div contenteditable>{} <b title='{}'>x</b></div>",
    "option": "<select><option value='{}'>{}</option></select>",
    "label": "<select><optgroup label='{}'><option label='{}'>x</option></optgroup></select>",
    "datalist": "<input list=l><datalist id=l><option value='{}'>{}</option></datalist>",
    "details": "<details><summary>{}</summary>{}</details>",
    "table": "<table summary='{}'><caption>{}</caption><tr><td abbr='{}'>{}</td></tr></table>",
    "gauge": "<meter value=1 title='{}'>{}</meter><progress>{}</progress><output>{}</output>",
    "svg": "<svg><title>{}</title><desc>{}</desc><text>{}</text><a href='/{}'><text>x</text></a></svg>",
    "math": "<math><mi>{}</mi><mtext>{}</mtext></math>",
    "style": "<p style='--x: \"{}\"; background: url(/{}.png)'>x</p>",
    "sheet": "<style>.x::after { content: '{}'; --word: 'x' } .x { background: url(/{}.png) }</style>",
    "link": "<a href='https://other.example/{}' download='{}' ping='/{}'>x</a>",
    "area map": "<map><area href='/{}' alt='{}'></map>",
    "frame": "<iframe src='/x?{}' name='{}' title='{}'></iframe>",
    "srcdoc": "<iframe srcdoc='<p>{}</p>'></iframe>",
    "object": "<object data='/{}' name='{}'>{}</object><embed src='/{}'>",
    "media": "<video src='/{}.mp4' poster='/{}.png'>{}</video><audio src='/{}.mp3'></audio>",
    "canvas": "<canvas>{}</canvas>",
    "form": "<form action='/{}' name='{}'><fieldset><legend>{}</legend></fieldset></form>",
    "image button": "<input type=image src='/{}.png' alt='{}' formaction='/{}'>",
    "hidden": "<input type=hidden value='{}' name='{}'>",
    "template": "<template><p>{}</p></template><noscript>{}</noscript><!-- {} -->",
    "meta": "<meta name=csrf content='{}'><link rel=x href='/{}' title='{}'>",
    "ruby": "<ruby>{}<rt>{}</rt></ruby>",
    "role": "<div role=textbox>{}</div>",
}
SECRET_KINDS = {
    "password": "<input type=password value='{}'>",
    "card": "<input autocomplete='cc-number' value='{}'>",
    "code": "<label>Security code <input value='{}'></label>",
    "once": "<input name='otp' value='{}'>",
    "month": "<select autocomplete='cc-exp-month'><option>x</option><option selected value='{}'>{}</option></select>",
    "card area": "<textarea autocomplete='cc-number'>{}</textarea>",
}
"""What stays on the page also where it is marked as shown."""
PLAIN_KINDS = ("text", "deep", "title", "alt", "input", "area", "option", "svg")
"""What leaves the page where it is marked as shown, if the word in it does."""
_QUIET = ("again", "marked_soon", "moved_soon", "soon", "replaced")
"""Moments whose word may not come where it is looked for: with them nothing is expected to leave."""


@dataclass(frozen=True)
class MadePage:
    """secrets: words that may not leave. plain: words that must."""

    html: str
    secrets: frozenset[str]
    plain: frozenset[str]


def made_page(seed: int) -> MadePage:
    """Return the page of a seed, the same each time."""
    draw = random.Random(seed)
    cells = [_cell(draw, f"{seed}-{number}") for number in range(CELLS)]
    template = (Path(__file__).parent / "made_page.html").read_text(encoding="utf-8")
    html = template.replace("CELLS", json.dumps(cells).replace("</", "<\\/"), 1)
    return MadePage(
        html,
        frozenset(cell["word"] for cell in cells if cell["word"].startswith("secret")),
        frozenset(cell["word"] for cell in cells if cell["word"].startswith("plain")),
    )


def _cell(draw: random.Random, name: str) -> dict[str, Any]:
    steps = [draw.choice(STEPS) for _ in range(draw.randint(1, 4))]
    moment = draw.choice(MOMENTS)
    what = draw.random()
    marks = [draw.choice(("none", "none", "show")) for _ in steps]
    if what < 0.15 and moment not in _QUIET:  # it must leave, or the others would prove nothing
        marks[0] = "show"
        kind = draw.choice(PLAIN_KINDS)
        word = "plain"
    elif what < 0.35:
        kind = draw.choice(tuple(SECRET_KINDS))
        word = "secret"
    else:
        marks[draw.randrange(len(marks))] = draw.choice(HIDES)
        kind = draw.choice(tuple(KINDS))
        word = "secret"
    html = {**KINDS, **SECRET_KINDS}[kind]
    return {
        "steps": steps,
        "marks": marks,
        "html": html,
        "moment": moment,
        "word": f"{word}-{name}-{kind.replace(' ', '')}",
    }
