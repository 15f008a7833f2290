"""A person who types what a page of the documentation shows, from top to bottom.

    sh           each line is a command. Those that run on are started and awaited, the others must end with 0
    python       run as one program
    json NAME    typed into the process `fabric NAME` (none named: the one started last)
    text NAME    what that process prints; none named: a `fabric sub`, page or agent started last, or what the block
                 before it printed. `…` stands for anything. Of a page or an agent other lines may come between
    toml         a description of a fabric, read by `fabric plan`; with [[rules]], the file rules.toml; with [[phases]],
                 the file run.toml; with [roles.…], more of keys/keys.toml
    html, js     for browsers; tests/e2e/test_docs_web_site.py and test_privacy_rules.py run them
    (no word)    a drawing, or commands that a page only names

`<!-- not run: WHY -->` on the line before a block keeps it from being run. Ports, files and the contact code that a
page shows stand for others, see `_here`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

from nodes.deployment.description import read
from nodes.deployment.plan import make
from tests.support.browsers import built
from tests.support.processes import PORTS_OF_A_PROXY, ROOT, FabricProcess, Process, environment, free_base

KINDS = ("sh", "python", "json", "text", "toml", "html", "js", "")
RUN_ON = {
    "proxy": "ready", "frame": "ready", "keep": "ready", "serve": "ready", "gateway": "ready", "page": "page",
    "agent": "signed_in",
}  # fmt: skip
"""Command -> the event after which the next line is typed."""
STARTED = {*RUN_ON, "record"}
"""Commands that are not waited for; a `text record` block waits for what `fabric record` prints at its end."""
DRIVEN = ("page", "agent")
ANY = "…"
TIMEOUT_S = 120
SHOWN_PORTS = {5570: PORTS_OF_A_PROXY, 5580: PORTS_OF_A_PROXY, 8080: 1}
"""First port of a range that pages show -> how many."""
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n)?```(?P<kind>\w*)(?: (?P<name>\w+))?\n(?P<text>.*?)^```$", re.M | re.S
)


class Block(NamedTuple):
    """One fenced block of a page; `why`: the reason why it is not run, else empty."""

    kind: str
    name: str
    text: str
    why: str

    def commands(self) -> list[str]:
        """The commands of a block of kind `sh`, without comments; a line that ends with a backslash goes on."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if shlex.split(line, comments=True)]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page in their order."""
    found = [Block(b["kind"], b["name"] or "", b["text"], b["why"] or "") for b in _BLOCK.finditer(page.read_text())]
    fences = len(re.findall(r"^```", page.read_text(), re.M))
    assert fences == 2 * len(found), f"{page}: a block that is not closed, or not read by this test"
    return found


class Reader:
    """Reads one page. `started`: processes that the caller stops; `folder`: where files go."""

    def __init__(self, folder: Path, started: list[Process]) -> None:
        self._folder, self._started = folder, started
        self._ports: dict[int, int] = {}
        for shown, count in SHOWN_PORTS.items():
            first = int(free_base(count).rpartition(":")[2])
            self._ports |= {shown + step: first + step for step in range(count)}
        self._running: dict[str, FabricProcess] = {}
        self._last = ""
        """What a `text` block without a name is about: a command that runs on, else empty."""
        self._printed: list[str] = []
        self._read: dict[str, int] = {}
        """Command -> lines of its stdout that were compared already."""
        self._uses_state = False
        changes = {"FABRIC_CONNECT": self._here("tcp://127.0.0.1:5570"), "FABRIC_STATE": str(folder / "var")}
        changes["FABRIC"] = str(Path(sys.executable).with_name("fabric"))
        changes["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env = environment(**changes)

    def read(self, page: list[Block]) -> None:
        """Do what the page says; AssertionError where something else happens than it shows."""
        try:
            for block in page:
                if not block.why and block.kind in ("sh", "python", "json", "text", "toml"):
                    getattr(self, f"_{block.kind}")(block)
        finally:
            if self._uses_state:
                self._run([str(ROOT / "scripts" / "down")])

    def _here(self, text: str) -> str:
        """`text` with what stands for something else: ports, files, the contact code."""
        for number, port in self._ports.items():
            text = text.replace(f"127.0.0.1:{number}", f"127.0.0.1:{port}")
        for shown, path in {
            "ipc:///tmp/fabric-readme": f"ipc://{self._folder}/p",
            "sqlite:///frame.db": f"sqlite:///{self._folder}/frame.db",
            "sqlite:///keep.db": f"sqlite:///{self._folder}/keep.db",
            "agents.jsonl": f"{self._folder}/agents.jsonl",
            "trucks.jsonl": f"{self._folder}/trucks.jsonl",
            " rules.toml": f" {self._folder}/rules.toml",
            "nodes/demo/data": f"{ROOT}/nodes/demo/data",
        }.items():
            text = text.replace(shown, path)
        return re.sub(r"^scripts/", f"{ROOT}/scripts/", text).replace('"482913"', json.dumps(self._code()))

    def _code(self) -> str:
        page = getattr(self, "_running", {}).get("page")
        return str(page.wait_event("ready")["payload"]["code"]) if page else "482913"

    def _sh(self, block: Block) -> None:
        self._printed, self._last = [], ""
        for line in block.commands():
            here = self._here(line)
            words = shlex.split(here, comments=True)
            if words[0] == "export":
                name, value = words[1].split("=")
                self.env[name] = str(self._folder / value)
            elif words[0] == "fabric" and (words[1] in STARTED or (words[1] == "sub" and "--count" not in words)):
                self._start(words[1:])
            elif words[0] == "curl":
                with urllib.request.urlopen(words[1], timeout=TIMEOUT_S) as answer:
                    self._printed += answer.read().decode().splitlines()
            else:
                if words[0].endswith("scripts/up") and "--listen" not in words:
                    here += self._here(" --listen tcp://127.0.0.1:5570")
                if "--gateways" in words:
                    built()  # or the test is skipped: gateways serve it
                    here += f" --gateway-listen http://127.0.0.1:{free_base(2).rpartition(':')[2]}"
                self._uses_state |= "/scripts/" in words[0]
                self._printed += self._run(["bash", "-c", here])

    def _start(self, words: list[str]) -> None:
        process = FabricProcess(words, self._folder, env=self.env)
        self._started.append(process)
        self._running[words[0]] = process
        self._read.pop(words[0], None)
        if words[0] in ("sub", "record"):
            process.wait_stderr("acknowledged")
        else:
            process.wait_event(RUN_ON[words[0]])
        if words[0] in (*DRIVEN, "sub"):
            self._last = words[0]

    def _python(self, block: Block) -> None:
        self._printed, self._last = self._run([sys.executable, "-c", self._here(block.text)]), ""

    def _run(self, command: list[str]) -> list[str]:
        done = subprocess.run(
            command, env=self.env, cwd=self._folder, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S
        )
        assert done.returncode == 0, f"{command[-1]}\nended with {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.splitlines()

    def _json(self, block: Block) -> None:
        process = self._running[block.name or self._last]
        for line in block.text.splitlines():
            process.send(self._here(line))

    def _text(self, block: Block) -> None:
        expected = self._here(block.text).splitlines()
        name = block.name or self._last or ("" if self._printed else "sub")
        if not name:
            assert len(self._printed) == len(expected), self._printed
            assert [line for line, each in zip(self._printed, expected, strict=True) if not _fits(each, line)] == []
            return
        process = self._running[name]
        for line in expected:
            after = self._read.get(name, 0)
            if name in DRIVEN:
                found = process.wait_stdout(lambda said, line=line: _fits(line, said), after=after)  # type: ignore[misc]
                self._read[name] = process.stdout.index(found, after) + 1
            else:
                said = process.wait_lines(after + 1)[after]
                assert _fits(line, said), f"{said!r} is not {line!r}"
                self._read[name] = after + 1

    def _toml(self, block: Block) -> None:
        if "[[rules]]" in block.text:
            (self._folder / "rules.toml").write_text(block.text, encoding="utf-8")
        elif "[[phases]]" in block.text:
            (self._folder / "run.toml").write_text(block.text, encoding="utf-8")
        elif "[roles." in block.text:
            with open(self._folder / "keys" / "keys.toml", "a", encoding="utf-8") as rules:
                rules.write(f"\n{block.text}")
        else:
            assert make(read(block.text), fabric="fabric", state="/s").processes


def _fits(expected: str, line: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, expected.split(ANY))), line) is not None
