"""scripts/up and its sisters for tests: a state folder of their own, and the processes they started by name.

scripts = Scripts(tmp_path)                  # with the fabric command of this checkout
scripts.run("up", "--proxies", "3", "--listen", scripts.base)
scripts.pids()                               # {"p1": 4711, …}: recorded, and running
"""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from tests.support.processes import FABRIC, ROOT, environment, free_base

SCRIPTS = ROOT / "scripts"
REAL = f'PYTHONPATH="{ROOT}" exec {" ".join(FABRIC)} "$@"'


class Scripts:
    """The scripts with a state folder of their own; whatever they started is ended when the test is over."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "it's a state"
        self.fabric = folder / "bin of mine" / "fabric"
        self.fabric.parent.mkdir()
        self.use(REAL)
        self.base = free_base(26)
        self.env = environment(FABRIC=str(self.fabric), FABRIC_STATE=str(self.state))

    def use(self, body: str) -> None:
        self.fabric.write_text(f"#!/bin/bash\n{body}\n")
        self.fabric.chmod(0o755)

    def run(self, verb: str, *args: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPTS / verb), *map(str, args)],
            env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, verb: str, *args: str | Path) -> subprocess.Popen[str]:
        """Begin a verb; the caller waits for it. What it says on stderr is kept in its folder."""
        with open(self.folder / f"{verb}.stderr", "w") as said:
            return subprocess.Popen(
                [str(SCRIPTS / verb), *map(str, args)],
                env=self.env, cwd=self.folder, stdout=subprocess.PIPE, stderr=said, text=True, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def up(self, *args: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run("up", *args)

    def describe(self, *lines: str) -> Path:
        path = self.folder / "fabric.toml"
        path.write_text("\n".join(lines))
        return path

    def pids(self) -> dict[str, int]:
        """What is recorded, and runs."""
        found = {path.stem: int(path.read_text().split()[0]) for path in (self.state / "run").glob("*.pid")}
        return {name: pid for name, pid in found.items() if runs(pid)}

    def log(self, name: str) -> str:
        return (self.state / "log" / f"{name}.log").read_text()


def runs(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False
