"""A Ctrl-C at each place where one can strike: CPython looks for signals at the start of a function, behind a call of
something that is not Python, and where a loop goes back."""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import fabric

_STRUCK = (str(Path(fabric.__file__).parent), threading.__file__)
_LOOKING = ("CALL", "CALL_KW", "CALL_FUNCTION_EX", "JUMP_BACKWARD")
"""Instructions behind which CPython looks for signals."""


class Interrupted(BaseException):
    """What is raised, in the place of KeyboardInterrupt."""


class _Striker:
    """Raises at one of the places that a thread comes by in `fabric` and in `threading`.

    at: which, from 1
    """

    def __init__(self, at: int) -> None:
        self._at = at
        self.places = 0
        """That it came by so far."""
        self._last: tuple[FrameType, int] | None = None
        """The instruction that was traced last, if nothing else was since: its frame and its place."""

    def __call__(self, frame: FrameType, event: str, arg: object) -> Any:
        code = frame.f_code
        if not code.co_filename.startswith(_STRUCK):
            return None
        before, self._last = self._last, None
        if event == "call":
            frame.f_trace_opcodes = True
            self._strike()
        elif event == "opcode":
            self._last = frame, frame.f_lasti
            if before is not None and before[0] is frame and before[1] in _looking(code):
                self._strike()
        elif event == "line":
            self._last = before
        return self

    def _strike(self) -> None:
        self.places += 1
        if self.places == self._at:
            raise Interrupted


@cache
def _looking(code: CodeType) -> frozenset[int]:
    return frozenset(each.offset for each in dis.get_instructions(code) if each.opname in _LOOKING)


def struck(at: int, fun: Callable[..., object], *args: object) -> bool:
    """Call `fun(*args)`, and interrupt it at the place of this number, from 1; return whether it came so far.

    What it returns is lost, and an `Interrupted` that it lets through is caught.
    """
    striker, before = _Striker(at), sys.gettrace()
    sys.settrace(striker)
    try:
        fun(*args)
    except Interrupted:
        pass
    finally:
        sys.settrace(before)
    return striker.places >= at
