""".ci/run: what failed is run once more only while it is little, and is named as unsteady."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

FAKE_TEST = f"""#!{sys.executable}
import json, pathlib, sys
codes = json.loads(pathlib.Path("codes").read_text())
asked = json.loads(pathlib.Path("asked").read_text())
cache = pathlib.Path(".pytest_cache/v/cache")
cache.mkdir(parents=True, exist_ok=True)
shown = pathlib.Path("failed").read_text()
(cache / "lastfailed").write_text(shown)
pathlib.Path("asked").write_text(json.dumps([*asked, sys.argv[1:]]))
print("as pytest ends")
sys.exit(codes[len(asked)])
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout with nothing but .ci/run, a stand-in for scripts/test, and all that would be installed."""
    for folder in (".ci", "scripts", ".venv/bin", "tools"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    script(tmp_path / "scripts/setup", "#!/bin/sh\n")
    script(tmp_path / "scripts/sanitize", "#!/bin/sh\nexit 3\n")
    script(tmp_path / "scripts/test", FAKE_TEST)
    for name in ("initdb", "chromium", "ip", "shellcheck", "npm"):
        script(tmp_path / "tools" / name, "#!/bin/sh\n")
    return tmp_path


def script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def run(copy: Path, codes: list[int], failed: list[str]) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """Run it; return how it ended, and what scripts/test was given each time.

    codes:  exit codes of the stand-in, one a run
    failed: the tests that have failed in its first run
    """
    (copy / "codes").write_text(json.dumps(codes))
    (copy / "failed").write_text(json.dumps(dict.fromkeys(failed, True)))
    (copy / "asked").write_text("[]")
    env = os.environ | {"PATH": f"{copy / 'tools'}:{os.environ['PATH']}"}
    done = subprocess.run([copy / ".ci/run"], env=env, capture_output=True, text=True, timeout=60)
    return done, json.loads((copy / "asked").read_text())


@pytest.mark.parametrize("code", [0, 1, 3])
def test_what_sanitizers_find_ends_it_and_that_there_are_none_does_not(copy: Path, code: int) -> None:
    script(copy / "scripts/sanitize", f"#!/bin/sh\nexit {code}\n")
    done, asked = run(copy, [0], [])
    assert (done.returncode, asked) == ((1, []) if code == 1 else (0, [[]]))


def test_all_pass_at_once(copy: Path) -> None:
    done, asked = run(copy, [0], [])
    assert (done.returncode, done.stderr, asked) == (0, "", [[]]) and done.stdout.endswith("as pytest ends\n")


@pytest.mark.parametrize("second", [0, 1])
def test_a_few_that_fail_are_named_and_run_once_more(copy: Path, second: int) -> None:
    names = ["tests/a.py::test_x[with a space]", "tests/a.py::test_y", "tests/b.py::test_ä"]
    done, asked = run(copy, [1, second], names)
    assert done.returncode == second and asked == [[], ["-r", "fp", *names]]
    assert "UNSTEADY" in done.stderr and all(f"  {name}\n" in done.stderr for name in names)
    assert done.stdout.endswith("as pytest ends\n")


@pytest.mark.parametrize("count", [0, 7])
def test_many_that_fail_and_a_run_that_broke_have_failed(copy: Path, count: int) -> None:
    done, asked = run(copy, [2], [f"tests/a.py::test_{number}" for number in range(count)])
    assert done.returncode == 1 and asked == [[]] and "UNSTEADY" not in done.stderr
