"""The verbs in scripts/: strict, quick when there is nothing to do, and clear about what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT

SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file()) + [ROOT / ".ci" / "run"]


def run(script: Path, *args: str, **changes: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHON", "PYTHONPATH")} | changes
    return subprocess.run([str(script), *args], env=env, capture_output=True, text=True, timeout=300)


def fake(path: Path, *lines: str) -> Path:
    """An executable of one's own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout with nothing in it but what scripts/setup reads."""
    shutil.copytree(ROOT / "scripts", tmp_path / "checkout" / "scripts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path / "checkout")
    return tmp_path / "checkout"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_is_executable_strict_and_says_what_it_does(script: Path) -> None:
    text = script.read_text()
    assert os.access(script, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n# ") and "\nset -euo pipefail\n" in text
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert not re.search(r"\b(pkill|killall)\b", text), "a script ends only what it started, by process id"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--fly"], "'--fly' is not known"),
        (["--minutes"], "--minutes: expected a value"),
        (["--minutes", "0"], "--minutes 0: expected 1 to 99999"),
        (["--seed", "x"], "--seed x: expected a whole number"),
        (["--seed", "1", "--minutes", "5"], "--seed goes alone"),
        (["--filters", "5"], "--filters goes with --nodes"),
        (["--pages", "0"], "--pages 0: expected 1 to 99999"),
        (["--pages", "5", "--minutes", "5"], "--pages goes alone"),
        (["--hostile", "x"], "--hostile x: expected 1 to 99999"),
        (["--hostile", "5", "--seed", "5"], "--hostile goes alone"),
    ],
)
def test_wrong_words_to_soak_are_one_line(args: list[str], words: str) -> None:
    done = run(ROOT / "scripts/soak", *args)
    assert (done.returncode, done.stdout) == (2, "") and words in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("script", SCRIPTS[:-1], ids=lambda path: path.name)
@pytest.mark.parametrize("word", ["-h", "--help"])
def test_help_prints_the_head_and_does_nothing(copy: Path, script: Path, word: str) -> None:
    done = run(copy / "scripts" / script.name, word)
    head = script.read_text().splitlines()[1].removeprefix("# ")
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(f"{head}\n")
    assert "set -euo" not in done.stdout and "shellcheck" not in done.stdout
    assert not (copy / ".venv").exists() and not (copy / "var").exists()


@pytest.mark.parametrize("name", ["bench", "build-web", "check", "demo", "fuzz", "lab", "setup", "soak", "status"])
@pytest.mark.parametrize("word", ["nonsense", "--nonsense"])
def test_a_word_that_is_not_known_is_one_line_and_nothing_happens(copy: Path, name: str, word: str) -> None:
    (copy / "nodes" / "web").mkdir(parents=True)
    done = run(copy / "scripts" / name, word)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"scripts/{name}: '{word}' is not known") and done.stderr.count("\n") == 1
    assert not (copy / ".venv").exists() and not (copy / "var").exists()


def test_help_of_the_tests_is_their_own_and_installs_nothing(copy: Path) -> None:
    done = run(copy / "scripts/test", "--help")
    assert done.returncode == 0 and done.stdout.startswith("Run the tests") and "scripts/test quick" in done.stdout
    assert not (copy / ".venv").exists()


def test_an_interpreter_that_is_too_old_is_named(copy: Path, tmp_path: Path) -> None:
    old = fake(tmp_path / "python3", 'case "$1" in --version) echo "Python 3.9.2" ;; *) exit 1 ;; esac')
    done = run(copy / "scripts/setup", PYTHON=str(old))
    assert done.returncode == 3 and done.stdout == ""
    assert "Python 3.11 or newer is needed" in done.stderr and "Python 3.9.2" in done.stderr and str(old) in done.stderr
    assert not (copy / ".venv/bin").exists()


def test_a_missing_interpreter_is_named(copy: Path) -> None:
    done = run(copy / "scripts/setup", PYTHON="/nowhere/python3")
    assert done.returncode == 3 and "/nowhere/python3" in done.stderr


def test_without_the_venv_module_it_says_how_to_get_it(copy: Path, tmp_path: Path) -> None:
    python = fake(tmp_path / "python3", 'case "$*" in *ensurepip*) exit 1 ;; esac', f'exec {sys.executable} "$@"')
    done = run(copy / "scripts/setup", PYTHON=str(python))
    assert done.returncode == 3 and "python3-venv" in done.stderr


def test_an_unknown_word_is_wrong_usage(copy: Path) -> None:
    done = run(copy / "scripts/setup", "everything")
    assert done.returncode == 2 and "'everything' is not known" in done.stderr


@pytest.fixture
def offline(copy: Path, tmp_path: Path) -> Path:
    """A python3 whose environments have a `pip` that only writes down what it was asked; returns that list."""
    calls = tmp_path / "calls"
    inner = f'case "$*" in *"pip install"*) [ ! -e {tmp_path}/broken ] || {{ echo no index >&2; exit 1; }}; '
    inner += f'echo "$*" >> {calls} ;; *) exec {sys.executable} "$@" ;; esac'
    template = fake(tmp_path / "template", inner)
    venv = f"mkdir -p .venv/bin && cp {template} .venv/bin/python"
    fake(tmp_path / "bin" / "python3", f'case "$*" in "-m venv .venv") {venv} ;; *) exec {sys.executable} "$@" ;; esac')
    calls.touch()
    return calls


def test_it_installs_once_and_again_when_pyproject_changes(copy: Path, offline: Path, tmp_path: Path) -> None:
    env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    assert run(copy / "scripts/setup", **env).returncode == 0
    assert len(offline.read_text().splitlines()) == 1 and offline.read_text().rstrip().endswith(
        "--editable .[store,ops]"
    )
    again = run(copy / "scripts/setup", **env)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert len(offline.read_text().splitlines()) == 1, "nothing has changed, so nothing is installed"
    run(copy / "scripts/setup", "test", **env)
    assert offline.read_text().splitlines()[1].endswith("--editable .[test]")
    with (copy / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    run(copy / "scripts/setup", "test", **env)
    run(copy / "scripts/setup", **env)  # what tests need holds what running needs
    run(copy / "scripts/setup", "web", **env)  # and what browsers need
    assert len(offline.read_text().splitlines()) == 3


def test_what_browsers_need_is_installed_beside_and_holds_what_running_needs(
    copy: Path, offline: Path, tmp_path: Path
) -> None:
    env = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    run(copy / "scripts/setup", **env)
    for extra in ([], ["web"], ["web"], []):
        assert run(copy / "scripts/setup", *extra, **env).returncode == 0
    asked = [line.rsplit("--editable ", 1)[1] for line in offline.read_text().splitlines()]
    assert asked == [".[store,ops]", ".[web,ops]"]


def test_two_at_once_install_once(copy: Path, offline: Path, tmp_path: Path) -> None:
    env = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    both = [subprocess.Popen([copy / "scripts/setup"], env=env, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [each.wait(60) for each in both] == [0, 0]
    assert len(offline.read_text().splitlines()) == 1


def test_a_lock_whose_owner_died_is_taken_over(copy: Path, offline: Path, tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (copy / ".venv").mkdir()
    (copy / ".venv/setup.pid").write_text(f"{ended.pid}\n")
    assert run(copy / "scripts/setup", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}").returncode == 0
    assert not (copy / ".venv/setup.pid").exists()


def test_when_pip_fails_its_words_are_shown_and_the_next_try_works(copy: Path, offline: Path, tmp_path: Path) -> None:
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    (tmp_path / "broken").touch()
    done = run(copy / "scripts/setup", PATH=path)
    assert done.returncode == 3 and "no index" in done.stderr and "is a package index reachable?" in done.stderr
    (tmp_path / "broken").unlink()
    assert run(copy / "scripts/setup", PATH=path).returncode == 0
    assert len(offline.read_text().splitlines()) == 1
