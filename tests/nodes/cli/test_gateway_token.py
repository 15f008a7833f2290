"""`fabric gateway-token`: the line it prints, the password it says once."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

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
