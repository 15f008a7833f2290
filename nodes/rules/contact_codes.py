"""Contact codes: what they look like, how they are drawn, and how a typed one is read.

A code is a short look-up key that a visitor reads out to an agent. It is never the session's secret, and it never
appears in a log or an error message: `log_code` stands for it there.
"""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import Protocol

from fabric.errors import expected
from nodes.rules.errors import UnknownContactCode

MAX_OCCUPANCY = 0.5
"""Largest part of all codes that may be live at once. A draw then succeeds within two tries on average."""

MAX_CODE_CHARS = 32

MAX_TYPED_CHARACTERS = 200
"""A longer input cannot be a code, even with spaces in it, and is not read."""


class RandomSource(Protocol):
    """The part of `random.Random` that is needed; a running system hands in `random.SystemRandom()`."""

    def randrange(self, stop: int, /) -> int: ...


@dataclass(frozen=True)
class CodeFormat:
    """Length and alphabet of codes.

    length:    characters, default 6 (a million codes of digits)
    alphabet:  characters in use, default the ten digits; no spaces or dashes, none twice, and no two that normalisation
               makes equal (an alphabet that holds letters of one case only is read in either case)
    """

    length: int = 6
    alphabet: str = "0123456789"

    def __post_init__(self) -> None:
        if not 1 <= self.length <= MAX_CODE_CHARS:
            raise ValueError(expected("code length", self.length, f"1 to {MAX_CODE_CHARS} characters"))
        bare = _bare(self.alphabet)
        if bare != self.alphabet or len(set(bare)) != len(bare) or len(bare) < 2 or not bare.isprintable():
            wanted = "two or more different characters, without spaces and dashes"
            raise ValueError(expected("alphabet", self.alphabet, wanted))

    @property
    def space(self) -> int:
        """How many codes there are."""
        return int(len(self.alphabet) ** self.length)

    def check_capacity(self, capacity: int) -> None:
        """Raise ValueError when `capacity` live codes would crowd this format, saying which length is enough."""
        if capacity < 1:
            raise ValueError(expected("capacity", capacity, "1 or more live codes"))
        if capacity <= self.space * MAX_OCCUPANCY:
            return
        enough = self.length
        while len(self.alphabet) ** enough * MAX_OCCUPANCY < capacity:
            enough += 1
        raise ValueError(
            f"capacity {capacity} is more than half of the {self.space} codes of length {self.length}:"
            f" expected codes of length {enough}"
        )

    def draw(self, source: RandomSource) -> str:
        """Return a random code, each equally likely."""
        number = source.randrange(self.space)
        characters = []
        for _ in range(self.length):
            number, index = divmod(number, len(self.alphabet))
            characters.append(self.alphabet[index])
        return "".join(characters)

    def normalise(self, typed: str) -> str:
        """Return the code that a person meant: no spaces, no dashes, full-width digits as plain ones.

        errors: UnknownContactCode when it cannot be a code; the message says what a code looks like, not what was typed
        """
        code = _bare(typed[: MAX_TYPED_CHARACTERS + 1])
        if self.alphabet == self.alphabet.upper():
            code = code.upper()
        elif self.alphabet == self.alphabet.lower():
            code = code.lower()
        if len(typed) > MAX_TYPED_CHARACTERS or len(code) != self.length:
            raise UnknownContactCode(f"a contact code has {self.length} characters; this has {len(code)}")
        if not set(code) <= set(self.alphabet):
            raise UnknownContactCode(f"a contact code has {self.length} characters, all of {self.alphabet!r}")
        return code


def log_code(code: str, salt: bytes) -> str:
    """Return what stands for a code or a session id in a log: equal values look equal within one `salt`.

    salt: 16 to 32 random bytes, one for each run. Without it the million codes could simply be tried.
    """
    return "#" + hashlib.blake2b(code.encode(), key=salt, digest_size=6).hexdigest()


def _bare(text: str) -> str:
    """Compatibility form (full-width digits become plain ones), without spaces and dashes of any kind."""
    plain = unicodedata.normalize("NFKC", text)
    return "".join(c for c in plain if unicodedata.category(c) not in ("Pd", "Zs", "Cf") and not c.isspace())
