"""What the commands share that read a recording: the file, and the speed at which it is played."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import Any, cast

import click

from nodes.cli.options import PositiveNumber


class Speed(PositiveNumber):
    """Times as fast as recorded; `max` or 0, which become None: as fast as it goes."""

    name = "SPEED"
    wanted = "a number above 0; or max or 0, as fast as it goes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if value in ("max", "0", 0, None) else super().convert(value, param, ctx)


def opened(name: str) -> contextlib.AbstractContextManager[io.BufferedReader]:
    """Return a recording to be read; - is standard input. Errors: OSError."""
    if name != "-":
        return open(name, "rb")
    return contextlib.nullcontext(cast(io.BufferedReader, sys.stdin.buffer))
