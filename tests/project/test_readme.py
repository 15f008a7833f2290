"""What README.md shows is run here, from top to bottom, on two real proxies.

`sh`: each line is a command. `fabric proxy` and a `fabric sub` without --count run on, the others must end with 0.
`python`: run as a program of its own. `text`: what the block before it prints; after `sh`, what the `fabric sub`
prints. The ports of the README stand for free ones.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import FABRIC, ROOT, FabricProcess, Process, environment, free_base

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(sh|python|text)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


class Reader:
    """A person who types what the README says."""

    def __init__(self, folder: Path, start: Callable[[list[str]], FabricProcess]) -> None:
        self._bases = {"tcp://127.0.0.1:5570": free_base(), "tcp://127.0.0.1:5580": free_base()}
        self._bases["ipc:///tmp/fabric-readme"] = f"ipc://{folder}/p"
        self._start = start
        self._subscriber: FabricProcess | None = None
        self.printed: list[str] = []
        self.env = environment(FABRIC_CONNECT=self._bases["tcp://127.0.0.1:5570"])

    def _here(self, text: str) -> str:
        for theirs, ours in self._bases.items():
            text = text.replace(theirs, ours)
        return text

    def sh(self, block: str) -> None:
        for line in block.splitlines():
            words = shlex.split(self._here(line), comments=True)
            assert words[0] == "fabric", f"{line!r}: this test knows only the fabric command"
            if words[1] == "proxy":
                self._start(words[1:]).wait_event("ready")
            elif words[1] == "sub" and "--count" not in words:
                self._subscriber = self._start(words[1:])
                self._subscriber.wait_stderr("acknowledged")
            else:
                self._run([*FABRIC, *words[1:]])

    def python(self, block: str) -> None:
        self.printed = self._run([sys.executable, "-c", self._here(block)]).splitlines()

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=60)
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}{done.stderr}"
        return done.stdout

    def text(self, block: str, after: str) -> None:
        expected = block.splitlines()
        if after == "python":
            assert self.printed == expected
        else:
            assert self._subscriber is not None
            assert self._subscriber.wait_lines(len(expected)) == expected


def test_the_tour_works_as_it_is_written(tmp_path_factory: pytest.TempPathFactory, started: list[Process]) -> None:
    folder = tmp_path_factory.mktemp("r")

    def start(words: list[str]) -> FabricProcess:
        started.append(FabricProcess(words, folder, env=reader.env))
        assert isinstance(started[-1], FabricProcess)
        return started[-1]

    reader, before = Reader(folder, start), ""
    for kind, block in BLOCKS:
        if kind == "text":
            reader.text(block, before)
        else:
            getattr(reader, kind)(block)
        before = kind
    assert {kind for kind, _ in BLOCKS} == {"sh", "python", "text"}


def test_every_file_it_names_is_there() -> None:
    named = re.findall(r"\]\(((?!https?:)[^)]+)\)", README) + re.findall(r"^(scripts/[\w-]+)", README, re.MULTILINE)
    assert len(named) > 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_tour_shows_the_commands_for_messages() -> None:
    shown = {words.split()[1] for _, block in BLOCKS for words in block.splitlines() if words.startswith("fabric ")}
    assert shown >= {"proxy", "wait", "status", "sub", "pub", "match"}
