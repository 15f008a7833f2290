"""Site-connect told as transcripts: tests/transcripts/site_*.txt, through real processes. One for each row of
the table of topics in docs/reference/site-connect-topics.md, and for what goes wrong.

    start NAME COMMAND ARGS…     `fabric COMMAND ARGS…` on this site; `$x` is what was noted as x
    NAME < WHAT field=value …    a command to a page or an agent
    NAME > EVENT field=value …   the next event of this name must have these fields; `field=$x` notes x, or compares
    NAME never EVENT             this event has not come
    kill NAME                    kill -9
    again NAME                   the same command once more, after it was killed
    stop NAME                    SIGTERM; it ends with 0
    proxies N, frame ARGS…       at the beginning; without `frame` there is one, with no options

Values are JSON, or else plain strings; `payload.code` is a field within a field. A line `# …` is a comment.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ROOT, FabricProcess
from tests.support.site import Driven, Site, site

TRANSCRIPTS = sorted((ROOT / "tests" / "transcripts").glob("site_*.txt"))


class Telling:
    """One transcript as it is played."""

    def __init__(self, world: Site) -> None:
        self._world = world
        self._who: dict[str, Any] = {}
        self._noted: dict[str, Any] = {}
        if world.frames:
            self._who["frame"] = world.frames[0]

    def line(self, line: str) -> None:
        words = shlex.split(line)
        match words:
            case ["start", name, "frame", *args]:
                self._who[name] = self._world.start_frame(*args)
            case ["start", name, "page", *args]:
                self._who[name] = self._world.page(*map(self._filled, args))
            case ["start", name, "agent", *args]:
                self._who[name] = self._world.agent(name, *map(self._filled, args))
            case ["kill", name]:
                self._who[name].kill()
            case ["stop", name]:
                assert self._who[name].stop() == 0, self._who[name].said()
            case ["again", "frame"]:
                self._who["frame"] = self._world.restart_frame()
            case ["again", name]:
                self._who[name] = self._world.again(self._who[name])
            case [name, "<", what, *fields]:
                self._driven(name).do(what, **{key: self._value(text) for key, text in self._pairs(fields)})
            case [name, ">", event, *fields]:
                self._expect(self._driven(name).event(event), fields)
            case [name, "never", event]:
                assert event not in self._driven(name).names(), self._driven(name).said()
            case _:
                raise ValueError(f"{line!r} is no line of a transcript")

    def _expect(self, found: dict[str, Any], fields: list[str]) -> None:
        for key, text in self._pairs(fields):
            value: Any = found
            for part in key.split("."):
                value = value[part]
            if text.startswith("$") and text[1:] not in self._noted:
                assert value is not None, f"{key} of {found}"
                self._noted[text[1:]] = value
            elif text.startswith("!$"):
                assert value != self._noted[text[2:]], f"{key} of {found}"
            else:
                assert value == self._value(text), f"{key} of {found}, wanted {text}"

    def _driven(self, name: str) -> Driven:
        found = self._who[name]
        assert isinstance(found, Driven), name
        return found

    def _pairs(self, fields: list[str]) -> list[tuple[str, str]]:
        return [(key, text) for key, _, text in (field.partition("=") for field in fields)]

    def _filled(self, word: str) -> str:
        return str(self._noted[word[1:]]) if word.startswith("$") else word

    def _value(self, text: str) -> Any:
        if text.startswith("$"):
            return self._noted[text[1:]]
        try:
            return json.loads(text)
        except ValueError:
            return text


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path, tmp_path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    proxies, frame = 1, []
    while lines[0].split()[0] in ("proxies", "frame"):
        word, *args = lines.pop(0).split()
        if word == "proxies":
            proxies = int(args[0])
        else:
            frame = args
    with site(tmp_path, *frame, proxies=proxies) as world:
        telling = Telling(world)
        for line in lines:
            try:
                telling.line(line)
            except (AssertionError, KeyError) as error:
                said = "\n".join(process.said() for process in world.started if isinstance(process, FabricProcess))
                raise AssertionError(f"{path.name}: {line}\n{error}\n{said}") from None


def test_every_row_of_the_table_and_everything_that_goes_wrong_has_its_transcript() -> None:
    told = "\n".join(path.read_text() for path in TRANSCRIPTS)
    events = {line.split()[2] for line in told.splitlines() if " > " in line}
    assert events >= {
        "ready", "retry", "error", "new_code", "cobrowsing/start", "cobrowsing/stop", "show_frame", "minimize_frame",
        "hide_frame", "chat_button/help/enabled", "chat_button/help/disabled", "chat/trigger", "proactive/trigger",
        "cobrowsing/asked", "cobrowsing/declined", "cobrowsing/snapshot_request", "update", "chat/accepted",
        "chat/message", "chat/stop",
    }  # fmt: skip
    assert len(TRANSCRIPTS) >= 20
