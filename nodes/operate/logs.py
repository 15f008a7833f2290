"""Logs of the long-running commands: words on stderr, or, with `--log-json`, one JSON object a line.

    {"ts": "2026-01-31T12:00:00.123Z", "level": "info", "logger": "fabric.proxy", "event": "link_up", "fields": {…}}

`event` is what happened, `fields` what belongs to it: a record that gives both (`extra={"event": …, "fields": …}`) is
written by them, any other by its words. By default only warnings, errors and what a command says are written.

Words begin with the time where stderr is a file: `2026-01-31T13:00:00.123+01:00 fabric proxy: …` (RFC 3339). A terminal
shows when they come, and what reads a pipe (systemd, a container's runtime) writes its own times.
"""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

COMMAND = "fabric.command"
"""Name of the logger of what a command says on stderr."""
_EVENT, _FIELDS = "event", "fields"


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of strict JSON, whatever it holds."""

    def format(self, record: logging.LogRecord) -> str:
        fields, event = dict(getattr(record, _FIELDS, {})), getattr(record, _EVENT, None)
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        line = {
            "ts": utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            _EVENT: record.getMessage() if event is None else event,
            _FIELDS: fields,
        }
        try:
            return json.dumps(line, ensure_ascii=False, allow_nan=False, default=str)
        except ValueError:  # not a number, or a circle
            return json.dumps({**line, _FIELDS: {"unreadable": repr(fields)}}, ensure_ascii=False)


class WordsFormatter(logging.Formatter):
    """Writes a record as a line of words, after the command's name."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command
        self._timed = _is_file()

    def format(self, record: logging.LogRecord) -> str:
        return f"{local(record.created) + ' ' if self._timed else ''}{self._command}: {super().format(record)}"


def utc(seconds: float) -> str:
    """Return a time in UTC, RFC 3339 with milliseconds: `2026-01-31T12:00:00.123Z`. seconds: since the epoch"""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def local(seconds: float) -> str:
    """The same as the clock on the wall shows it here: `2026-01-31T13:00:00.123+01:00`."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="milliseconds")


def stamp(seconds: float) -> str:
    """Return what stands before a line of words that is written now: the time, where stderr is a file; else nothing."""
    return f"{local(seconds)} " if _is_file() else ""


def _is_file() -> bool:
    try:
        return stat.S_ISREG(os.fstat(sys.stderr.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):  # closed, or no descriptor
        return False


def named(event: str, **fields: Any) -> dict[str, Any]:
    """Return the `extra` of a record that gives its event and fields by name."""
    return {_EVENT: event, _FIELDS: fields}


def begin(command: str, *, as_json: bool, verbose: bool = False) -> None:
    """Have this process log to stderr. `command` stands before each line of words."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else WordsFormatter(command))
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[handler], force=True)
    # What a command says is always written: as JSON by this logger, as words by cli.exits.say.
    logging.getLogger(COMMAND).setLevel(logging.INFO if as_json else logging.WARNING)


def tell(event: str, fields: Mapping[str, Any] | None = None) -> bool:
    """Log what a command says. False when logs are words, and the command has to write them itself."""
    log = logging.getLogger(COMMAND)
    if not log.isEnabledFor(logging.INFO):
        return False
    log.info("%s", event, extra={_FIELDS: fields or {}})
    return True
