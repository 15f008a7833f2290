"""The systemd units: systemd takes them, and the commands in them are commands that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from nodes.cli import main
from tests.support.processes import ROOT

UNITS = sorted((ROOT / "scripts" / "deploy").glob("*.service"))
OURS = [each for each in UNITS if each.name != "fabric-run@.service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_takes_it(unit: Path, tmp_path: Path) -> None:
    """With a program that is there on this machine: systemd looks for it."""
    here = tmp_path / unit.name
    here.write_text(re.sub(r"(?<=^ExecStart=)\S+", "/bin/true", unit.read_text(), flags=re.MULTILINE))
    done = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", OURS, ids=lambda path: path.name)
def test_its_command_is_one_of_ours_and_tells_when_it_is_ready(unit: Path) -> None:
    text = unit.read_text()
    (command,) = re.findall(r"^ExecStart=/opt/fabric/bin/fabric (\w+) --name %i", text, re.MULTILINE)
    known = {option for each in main.command(command).params for option in each.opts}
    shown = set(
        re.findall(r"--[a-z-]+", "\n".join(line for line in text.splitlines() if line.startswith(("# ", "Exec"))))
    )
    assert shown - {"--now", "--system", "--home-dir", "--home"} <= known
    assert "\nType=notify\n" in text and f"{command}@" in unit.name


def test_there_are_units() -> None:
    """For every kind of process that a plan has, but for hosted pages, which stand for browsers in tests."""
    assert {each.name for each in UNITS} == {
        f"fabric-{name}@.service" for name in ("proxy", "keep", "frame", "gateway", "run")
    }
