"""What a field of a message may hold: every pattern and limit once, for frame node, gateway and commands. Pure.

AGENT.fits("ada")        # True
AGENT.expected           # "an agent's id, 1 to 64 letters, digits or _ . : @ -"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nodes.rules.cobrowse import CAPABILITIES, CONSENTS
from nodes.rules.contact_codes import MAX_TYPED_CHARACTERS

Check = Callable[[Any], bool]

MAX_BUTTONS = 100
"""Chat buttons of one agent, or of one page."""
MAX_SESSIONS = 1_000
"""Pages that one `renew_many` may renew; a host of more pages sends several."""
MIN_LEASE_S = 0.5
MAX_LEASE_S = 600.0
MAX_WHOLE = 2**53
"""The largest whole number that every language on the wire reads exactly."""

REQUIRED: Any = object()
"""The default of a field that must be there."""


@dataclass(frozen=True)
class Field:
    """One field of a message.

    fits:      whether a value is right
    expected:  the right values, in words that follow "expected"
    secret:    whether error messages leave its value out
    default:   its value when it is left out; REQUIRED when it must not be
    payload:   whether it carries a payload, as JSON writes it (`{"$bin": …}`)
    """

    fits: Check
    expected: str
    secret: bool = False
    default: Any = REQUIRED
    payload: bool = False

    @property
    def optional(self) -> bool:
        return self.default is not REQUIRED


# --- checks


def matching(pattern: str) -> Check:
    """Strings that match the whole of `pattern`."""
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def whole(least: int, most: int = MAX_WHOLE) -> Check:
    """Whole numbers from `least` to `most`, without true and false."""
    return lambda value: type(value) is int and least <= value <= most


def string(most_chars: int) -> Check:
    """Strings of at most so many characters."""
    return lambda value: isinstance(value, str) and len(value) <= most_chars


def list_of(each: Check, most: int) -> Check:
    """Lists of at most `most` values, each of which fits."""
    return lambda value: isinstance(value, list | tuple) and len(value) <= most and all(map(each, value))


def or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def is_true_or_false(value: Any) -> bool:
    return isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Ints and floats, without true and false."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 255 and value.isprintable()


is_id = matching(r"[A-Za-z0-9_.:@-]{1,64}")
"""Ids that people choose: agents, chat buttons, frame nodes, gateways."""
is_session = matching(r"[A-Za-z0-9_-]{16,64}")
"""Ids that are drawn: page sessions, documents."""

ID_WORDS = "1 to 64 letters, digits or _ . : @ -"
SESSION_WORDS = "16 to 64 letters, digits or _ -"

is_key = matching(r"[0-9a-f]{32}")
"""Keys and proofs, see `nodes.rules.proofs`."""

# --- fields

SESSION = Field(is_session, f"a session id, {SESSION_WORDS}", secret=True)
SESSIONS = Field(list_of(is_session, MAX_SESSIONS), f"a list of at most {MAX_SESSIONS} session ids", secret=True)
HOME = Field(matching(r"[A-Za-z0-9_.:@-]{1,255}"), "the page's home, 1 to 255 letters, digits or _ . : @ -")
AGENT = Field(is_id, f"an agent's id, {ID_WORDS}")
BY_AGENT = Field(is_id, AGENT.expected, default=None)
"""The agent who asks for what a page may ask for, too; a page leaves it out."""
BUTTON = Field(is_id, f"a chat button's id, {ID_WORDS}")
BUTTONS = Field(list_of(is_id, MAX_BUTTONS), f"a list of at most {MAX_BUTTONS} chat button ids, each {ID_WORDS}")
NAME = Field(is_name, "a name, 1 to 255 printable characters")
LEASE_S = Field(
    lambda value: is_number(value) and MIN_LEASE_S <= value <= MAX_LEASE_S,
    f"seconds, from {MIN_LEASE_S:g} to {MAX_LEASE_S:g}",
)
EPOCH = Field(whole(0), "an epoch, a whole number from 0")
ON = Field(is_true_or_false, "true or false")
CONSENT = Field(lambda value: value in CONSENTS, "'ask' or 'code'", default=None)
"""How a page's visitor consents to who has the code. A page that does not say cannot be asked."""
CAPABILITY = Field(lambda value: value in CAPABILITIES, " or ".join(map(repr, CAPABILITIES)), default=None)
VISIBILITY_EVENT = Field(
    lambda value: value in ("show", "minimise", "hide", "announce"), "'show', 'minimise', 'hide' or 'announce'"
)
CODE = Field(string(MAX_TYPED_CHARACTERS), "a contact code as typed, a string", secret=True)
