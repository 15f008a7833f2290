"""`fabric gateway-token`: the line it prints, the password it says once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nodes.cli.exits import Exit
from nodes.cli.main import run
from nodes.gateway.credentials import is_right, read_agents

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_a_token_is_a_line_whose_password_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["gateway-token", "ada", "--name", "Ada", "--buttons", "help,sales"]) == Exit.DONE
    line, said = capfd.readouterr()
    agent = read_agents(line)["ada"]
    password = said.split()[-1]
    assert (agent.name, agent.buttons) == ("Ada", ("help", "sales"))
    assert is_right(agent, password) and password not in line


def test_a_password_of_ones_own_comes_from_stdin(run_fabric: Run) -> None:
    done = run_fabric("gateway-token", "ada", "--password-stdin", input="correct horse\n")
    assert done.returncode == Exit.DONE and done.stderr == ""
    assert is_right(read_agents(done.stdout)["ada"], "correct horse")
    done = run_fabric("gateway-token", "ada", "--password-stdin", input="short\n")
    assert done.returncode == Exit.USAGE and "8 to 1000" in done.stderr and "short" not in done.stderr
    assert run(["gateway-token", "a b"]) == Exit.USAGE


def test_the_line_is_added_to_a_file_for_its_owner_only(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "agents.jsonl"
    for agent in ("ada", "bob"):
        assert run(["gateway-token", agent, "--agents", str(path)]) == Exit.DONE
    assert path.stat().st_mode & 0o777 == 0o600 and capfd.readouterr().out == ""
    before = path.read_bytes()
    assert list(read_agents(before.decode())) == ["ada", "bob"]
    assert run(["gateway-token", "ada", "--agents", str(path)]) == Exit.MISSING
    assert "has ada already" in capfd.readouterr().err and path.read_bytes() == before
    path.chmod(0o644)
    assert run(["gateway-token", "cyd", "--agents", str(path)]) == Exit.MISSING
    said = capfd.readouterr().err
    assert "expected chmod 600" in said and "password" not in said and path.read_bytes() == before
