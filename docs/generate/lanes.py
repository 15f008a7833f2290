"""Drawings of state machines: each state a vertical line, each transition an arrow between two lines. Pure.

docs/machines.md holds each machine as a Mermaid diagram, which code hosts draw. Mermaid in these pages would be three
megabytes of script from another host. This is SVG with the text's own colours, and needs no layout: no two arrows
cross, however many there are.
"""

from __future__ import annotations

import re
from html import escape
from typing import NamedTuple

_BLOCK = re.compile(r"^```mermaid\nstateDiagram-v2\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ARROW = re.compile(r"^\s*(\S+) --> (\S+?)(?:: (.*))?$")
LANE_PX, ROW_PX, HEAD_PX, CHAR_PX = 118, 30, 34, 7.2


class Transition(NamedTuple):
    """`event` leads from `before` to `after`."""

    before: str
    after: str
    event: str


def draw_diagrams(markdown: str) -> str:
    """Return `markdown` with every Mermaid state diagram replaced by its drawing."""
    return _BLOCK.sub(lambda block: draw(*parse(block[1])), markdown)


def parse(lines: str) -> tuple[str, list[Transition]]:
    """Return the first state and all transitions of a state diagram; ValueError for any other line."""
    start, found = "", []
    for line in lines.splitlines():
        arrow = _ARROW.match(line)
        if arrow is None:
            raise ValueError(f"invalid line {line!r}: expected STATE --> STATE: EVENT")
        if arrow[1] == "[*]":
            start = arrow[2]
        else:
            found.append(Transition(arrow[1], arrow[2], arrow[3] or ""))
    return start, found


def draw(start: str, transitions: list[Transition]) -> str:
    """Return the machine as one `<figure>` of SVG; the states from left to right as they first occur."""
    states = list(dict.fromkeys([start, *(state for each in transitions for state in each[:2])]))
    lane_px = max(LANE_PX, *(_width(each.event) for each in transitions), *(_width(state) for state in states))
    middle = {state: round((index + 0.5) * lane_px) for index, state in enumerate(states)}
    width, height = round(lane_px * len(states)), HEAD_PX + ROW_PX * (len(transitions) + 1)
    parts = [_lane(state, middle[state], height, state == start) for state in states]
    for row, each in enumerate(transitions):
        parts.append(_arrow(each, middle, HEAD_PX + ROW_PX * (row + 1)))
    title = f"State machine with the states {', '.join(states)}, of which {start} is the first"
    words = f'role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<figure class="lanes"><svg xmlns="http://www.w3.org/2000/svg" {words}>{"".join(parts)}</svg></figure>'


def _width(text: str) -> int:
    return round(len(text) * CHAR_PX) + 26


def _lane(state: str, x: int, height: int, first: bool) -> str:
    half = _width(state) // 2 - 4
    box = f'<rect class="{"first" if first else "state"}" x="{x - half}" y="2" width="{2 * half}" height="24" rx="12"/>'
    line = f'<line class="lane" x1="{x}" y1="26" x2="{x}" y2="{height}"/>'
    return f'{line}{box}<text x="{x}" y="18">{escape(state)}</text>'


def _arrow(each: Transition, middle: dict[str, int], y: int) -> str:
    """From line to line, the event above it; a loop beside the line for an event that changes no state."""
    begin, end = middle[each.before], middle[each.after]
    if begin == end:
        path = f"M{begin} {y - 8}h14a6 6 0 0 1 0 12h-12"
        head = f"M{begin + 8} {y}l-7 4 7 4z"
        words = f'<text class="loop" x="{begin + 26}" y="{y + 2}">{escape(each.event)}</text>'
    else:
        way = 1 if end > begin else -1
        path = f"M{begin} {y}H{end - way * 2}"
        head = f"M{end - way * 8} {y - 4}l{way * 7} 4 {-way * 7} 4z"
        words = f'<text x="{begin + way * (abs(end - begin) // 2)}" y="{y - 5}">{escape(each.event)}</text>'
    dot = f'<circle class="dot" cx="{begin}" cy="{y if begin != end else y - 8}" r="2.5"/>'
    return f'{dot}<path class="way" d="{path}"/><path class="head" d="{head}"/>{words}'
