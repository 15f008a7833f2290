"""`fabric completion`: real shells complete with what it prints."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from nodes.cli import completion, main
from nodes.cli.exits import Exit
from tests.support.processes import FABRIC, ROOT, environment


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH on which `fabric` is that of this checkout."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "fabric"
    program.write_text(f'#!/bin/sh\ncd {shlex.quote(str(ROOT))} && exec {shlex.join(FABRIC)} "$@"\n')
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


def run(path: str, *command: str, home: Path | None = None) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    env = environment(PATH=path, **({} if home is None else {"HOME": str(home), "ZDOTDIR": str(home)}))
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


LINES = {
    "fabric st": ({"status"}, {"sub", "pub"}),
    "fabric sub --conn": ({"--connect", "--connect-timeout"}, {"--count"}),
    "fabric page --consent a": ({"ask"}, {"code"}),
    "fabric keys li": ({"list"}, {"init"}),
    "fabric completion ": ({"bash", "fish", "zsh"}, set()),
}
"""A line to the cursor, some of the words that can follow, and some that cannot."""


@pytest.mark.parametrize("line", LINES)
def test_bash(line: str, path: str) -> None:
    words = line.split(" ")
    script = f"""
        eval "$(fabric completion bash)"
        complete -p fabric >/dev/null || exit 1
        COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}
        _fabric_completion fabric
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    found = set(run(path, "bash", "--norc", "-c", script).split())
    wanted, unwanted = LINES[line]
    assert wanted <= found and not unwanted & found, found


@pytest.mark.parametrize("line", LINES)
def test_fish(line: str, path: str, tmp_path: Path) -> None:
    script = f"fabric completion fish | source; complete -C {shlex.quote(line)}"
    found = {each.split("\t")[0] for each in run(path, "fish", "-c", script, home=tmp_path).splitlines()}
    wanted, unwanted = LINES[line]
    assert wanted <= found and not unwanted & found, found


@pytest.mark.parametrize("line", LINES)
def test_zsh(line: str, path: str, tmp_path: Path) -> None:
    """The function runs in zsh; what hands its words to the line editor prints them, as there is no terminal."""
    words = line.split(" ")
    script = f"""
        compdef() {{ [[ $1 == _fabric_completion && $2 == fabric ]] }}
        _describe() {{ print -rl -- "${{completions_with_descriptions[@]}}" }}
        compadd() {{ print -rl -- "${{completions[@]}}" }}
        eval "$(fabric completion zsh)" || exit 1
        words=({shlex.join(words)}) CURRENT={len(words)}
        _fabric_completion
    """
    found = {each.split(":")[0] for each in run(path, "zsh", "-f", "-c", script, home=tmp_path).splitlines()}
    wanted, unwanted = LINES[line]
    assert wanted <= found and not unwanted & found, found


def test_files_are_left_to_the_shell(path: str) -> None:
    env = environment(PATH=path, COMP_WORDS="fabric plan x", COMP_CWORD="2", **{completion.VARIABLE: "bash_complete"})
    done = subprocess.run(FABRIC, env=env, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout == "file,x\n"


def test_another_shell_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", "tcsh"]) == Exit.USAGE
    assert "'tcsh' is not one of 'bash', 'fish', 'zsh'" in capsys.readouterr().err
