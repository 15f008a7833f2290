"""`--audit`: where a command's audit stream goes. What is in it: `nodes.operate.audit`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from nodes.cli.exits import Exit, Fail
from nodes.cli.options import Command
from nodes.operate.audit import Audit, open_sink
from nodes.operate.status import Status

Note = Callable[[Mapping[str, Any]], None]


def audit_option(command: Command) -> Command:
    """Add --audit: the argument `audit`, for `audit_stream`."""
    return click.option(
        "--audit",
        metavar="FILE|syslog|-",
        help="Write who came, what was refused and who ended it, a line of JSON each; made for its owner only.",
    )(command)


@contextlib.contextmanager
def audit_stream(target: str | None) -> Iterator[Audit | None]:
    """Keep the stream that --audit names while the block runs; None without one. Errors: Fail."""
    if target is None:
        yield None
        return
    try:
        sink = open_sink(target)
    except OSError as error:
        raise Fail(f"no audit stream at {target}: {error.strerror or error}", Exit.MISSING) from None
    with Audit(sink) as audit:
        yield audit


def noting(audit: Audit | None) -> Note:
    """Return what takes a note of the fields in a map; without a stream it does nothing."""
    return (lambda fields: None) if audit is None else audit.note


def watch(status: Status, audit: Audit | None) -> None:
    """Export its figures."""
    if audit is not None:
        status.watch("audit", audit.figures)
