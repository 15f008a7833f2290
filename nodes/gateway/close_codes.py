"""Why a gateway closes a WebSocket, and when the browser comes back: every close code, once. Pure, but for being run.

    line.end(CloseCode.ENDED_ELSEWHERE, "another window of this agent was opened")

What a browser does next depends on the number alone, so a number stands for one rule. It may be given for several
reasons; the words that are sent with it say which. Below 4000 the codes mean what RFC 6455 §7.4.1 says; the others are
ours. A code that is not here, such as 1006 for a connection that was lost, means BACK_OFF.

`python -m nodes.gateway.close_codes` writes the table into `docs/web-protocol.md`, and the module that browsers read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "web-protocol.md"
SCRIPT = ROOT / "nodes" / "web" / "src" / "shared" / "close_codes.js"
COMMAND = "python -m nodes.gateway.close_codes"
BEGIN = f"<!-- close codes: written by `{COMMAND}` -->"
END = "<!-- end of the close codes -->"


class CloseCode(IntEnum):
    """The number in the WebSocket's close frame."""

    GOODBYE = 1000
    TOO_LARGE = 1009
    FAILED = 1011
    RESTARTING = 1012
    TRY_LATER = 1013
    HELLO_EXPECTED = 4000
    ENDED_ELSEWHERE = 4001
    WRONG_ORIGIN = 4003
    OVER_LIMIT = 4008
    TOO_SLOW = 4009


class Reconnect(StrEnum):
    """When a browser opens its next socket. Each begins with a `hello` that shows the last token."""

    BACK_OFF = "back_off"
    """After the usual back-off."""
    NEVER = "never"
    """Not by itself; the page is told why."""


@dataclass(frozen=True)
class Rule:
    """What a code stands for.

    reason:     in words; sent with the code where the caller has none that are more exact
    reconnect:  when the browser comes back
    least_s:    the shortest wait until then, in seconds; beyond it the back-off decides
    note:       what else a browser should know of its way back
    """

    reason: str
    reconnect: Reconnect
    least_s: int = 0
    note: str = ""


RULES: Mapping[CloseCode, Rule] = {
    CloseCode.GOODBYE: Rule("`bye` was said", Reconnect.NEVER),
    CloseCode.TOO_LARGE: Rule("a message is larger than the hard limit of 8 MiB", Reconnect.BACK_OFF),
    CloseCode.FAILED: Rule("an error of the gateway", Reconnect.BACK_OFF),
    CloseCode.RESTARTING: Rule("the gateway restarts", Reconnect.BACK_OFF, note="to any gateway; see `drain`"),
    CloseCode.TRY_LATER: Rule(
        "no `hello` came in time, or there is no place for another page of this address at present", Reconnect.BACK_OFF
    ),
    CloseCode.HELLO_EXPECTED: Rule("the first message must be `hello`", Reconnect.NEVER),
    CloseCode.ENDED_ELSEWHERE: Rule(
        "a newer document has this session, here or at another gateway; or a newer window has this agent, "
        "or the agent has signed out",
        Reconnect.NEVER,
    ),
    CloseCode.WRONG_ORIGIN: Rule("pages of this origin may not use this gateway", Reconnect.NEVER),
    CloseCode.OVER_LIMIT: Rule("the browser went on past a limit", Reconnect.BACK_OFF, least_s=30),
    CloseCode.TOO_SLOW: Rule(
        "more waits for this browser than may wait, or a console did not confirm a stop in time", Reconnect.BACK_OFF
    ),
}


def table() -> str:
    """Return the codes as a table in Markdown."""
    rows = [f"| {code:d} | `{code.name.lower()}` | {rule.reason} | {_then(rule)} |" for code, rule in RULES.items()]
    return "\n".join(["| close code | name | meaning | then |", "|---|---|---|---|", *rows])


def javascript() -> str:
    """Return the module that page and console read: code -> {name, reconnect, least_s}."""
    rows = [
        f'  {code:d}: {{ name: "{code.name.lower()}", reconnect: "{rule.reconnect}", least_s: {rule.least_s} }},'
        for code, rule in RULES.items()
    ]
    head = [
        f"// Written by `{COMMAND}` from its table; do not edit. A code that is not here means back_off.",
        '// reconnect: "back_off" or "never" · least_s: the shortest wait before the next try, in seconds',
    ]
    return "\n".join([*head, "export const CLOSE_CODES = {", *rows, "};", ""])


def inserted(document: str) -> str:
    """Return a document with the table between its two markers. Errors: ValueError when they are not there once."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"invalid document: expected {BEGIN} once, and {END} once after it")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _then(rule: Rule) -> str:
    if rule.reconnect is Reconnect.NEVER:
        return "do not come back"
    least = f" after {rule.least_s} s at the earliest" if rule.least_s else ""
    return f"come back{least}{', ' + rule.note if rule.note else ''}"


if __name__ == "__main__":
    PAGE.write_text(inserted(PAGE.read_text()))
    SCRIPT.parent.mkdir(exist_ok=True)
    SCRIPT.write_text(javascript())
