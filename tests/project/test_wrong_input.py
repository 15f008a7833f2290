"""Wrong input to every command: one clear line on stderr, the exit code that says what kind, and nothing begun."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.cli import main
from nodes.cli.exits import Exit
from nodes.operate import logs
from tests.support.processes import free_base

AWAY = "tcp://192.0.2.1:5570"  # TEST-NET-1: an address of nobody, RFC 5737
NOBODY = ("--connect-timeout", "0.2", "--connect", "NOBODY")

USAGE = [
    (["nonsense"], "No such command 'nonsense'"),
    (["proxy", "extra"], "unexpected extra argument (extra)"),
    (["proxy", "--listen", "tcp://127.0.0.1"], "invalid address 'tcp://127.0.0.1': expected tcp://HOST:PORT"),
    (["proxy", "--listen", "FREE", "--name", "a/b"], "invalid name 'a/b'"),
    (["proxy", "--listen", "FREE", "--join", "p1"], "invalid address 'p1'"),
    (["proxy", "--insecure", "--listen", "tcp://*:15570"], "invalid --listen 'tcp://*:15570'"),
    (["proxy", "--http", "5575"], "invalid address '5575': expected http://HOST:PORT"),
    (
        ["proxy", "--listen", "FREE", "--http", "http://192.0.2.1:80"],
        "would answer anyone: expected a loopback address",
    ),
    (["proxy", "--listen", AWAY], "expected --keys DIR, which `fabric keys init` makes, or --insecure"),
    (["proxy", "--listen", "FREE", "--observe"], "--observe goes with --keys DIR (or FABRIC_KEYS)"),
    (["sub", "a", "--identity", "me"], "--identity me: expected --keys DIR (or FABRIC_KEYS), which has its key"),
    (["frame"], "Missing option '--store'"),
    (["frame", "--store", "mysql://h/d"], "expected sqlite:///path/to/file or postgresql://user@host/database"),
    (["frame", "--store", "sqlite://", "--capacity", "0"], "Invalid value for '--capacity': 0 is not in the range"),
    (["frame", "--store", "sqlite://", "--name", "a b"], "invalid --name 'a b': expected 1 to 64 letters"),
    (
        ["page", "--buttons", "a b/c"],
        "invalid --buttons ['a b/c']: expected a list of at most 100 chat button ids",
    ),
    (["page", "--lease", "0.01"], "invalid --lease 0.01: expected seconds, from 0.5 to 600"),
    (["page", "--updates", "EMPTY"], "is empty: expected a line of JSON for each update"),
    (["agent", "a/b"], "invalid ID 'a/b': expected an agent's id, 1 to 64 letters"),
    (["agent", "ada", "--name", "\x1b"], "invalid --name '\\x1b': expected a name"),
    (["sub", "a/#/b"], "'#' only as the last level, not as level 2 of 3"),
    (["sub", "~x/y"], "invalid scope '~x'"),
    (["sub", "a", "--timeout", "0"], "invalid number '0': expected a number above 0"),
    (["pub", "a/+", "1"], "wildcards are for filters"),
    (["ping", "--count", "0"], "0 is not in the range"),
    (["why", "a/#"], "wildcards are for filters"),
    (["top", "--interval", "nan"], "invalid number 'nan'"),
    (["wait", "--proxies", "0"], "0 is not in the range"),
    (["plan", "BAD"], "not TOML"),
    (["plan", "--proxies", "2", "--listen", "ipc:///tmp/x"], "has room for one proxy on this machine"),
    (["match", "a/#/b", "a"], "'#' only as the last level"),
]
MISSING = [
    (["proxy", "--listen", "TAKEN"], "cannot listen at tcp://127.0.0.1:"),
    (["proxy", "--insecure", "--listen", AWAY], f"cannot listen at {AWAY}: "),
    (
        ["proxy", "--insecure", "--listen", "tcp://no.such.host.invalid:5570"],
        "no such interface or host name on this machine",
    ),
    (["proxy", "--listen", "ipc:///nowhere/p"], "cannot listen at ipc:///nowhere/p.out: No such file or directory"),
    (["sub", "a", "--keys", "/nowhere"], "/nowhere/keys.toml: No such file or directory; `fabric keys init` makes"),
    (["proxy", "--listen", "FREE", "--keys", "/nowhere"], "/nowhere/keys.toml: No such file or directory"),
    (
        ["frame", "--store", "sqlite:////nowhere/x.db"],
        "cannot open the store sqlite:////nowhere/x.db: OperationalError: unable to open",
    ),
    (["page", "--updates", "/nowhere"], "/nowhere cannot be read"),
    (["pub", "--csv", "/nowhere", "--topic", "a"], "cannot read /nowhere"),
    (["plan", "/nowhere.toml"], "/nowhere.toml cannot be read: No such file or directory"),
]
CONNECTING = (["frame", "--store", "STORE"], ["page"], ["agent", "ada"], ["sub", "a"], ["pub", "a", "1"], ["status"],
              ["ping"], ["why", "a"], ["top", "--once"], ["services"], ["request", "a", "b"])  # fmt: skip


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root, command = logging.getLogger(), logging.getLogger(logs.COMMAND)
    before = root.level, root.handlers[:], command.level
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    command.setLevel(before[2])


@pytest.fixture
def words(tmp_path: Path) -> Iterator[dict[str, str]]:
    """What the words in capitals stand for."""
    (tmp_path / "empty").touch()
    (tmp_path / "bad.toml").write_text("proxies = ")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield {
            "FREE": free_base(),
            "TAKEN": f"tcp://127.0.0.1:{taken.getsockname()[1]}",
            "NOBODY": free_base(),
            "EMPTY": str(tmp_path / "empty"),
            "BAD": str(tmp_path / "bad.toml"),
            "STORE": f"sqlite:///{tmp_path}/store.db",
        }


def said(args: list[str], words: dict[str, str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code, and the one line it said."""
    code = main.run([words.get(arg, arg) for arg in args])
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("fabric"), err
    return code, err


@pytest.mark.parametrize(("args", "why"), USAGE, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_wrong_usage(args: list[str], why: str, words: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, line = said(args, words, capsys)
    assert code == Exit.USAGE and why in line


@pytest.mark.parametrize(("args", "why"), MISSING, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_a_local_prerequisite_that_is_missing(
    args: list[str], why: str, words: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = said(args, words, capsys)
    assert code == Exit.MISSING and why in line


@pytest.mark.parametrize("args", CONNECTING, ids=lambda args: args[0])
def test_nobody_there(args: list[str], words: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    code, line = said([*args, *NOBODY], words, capsys)
    assert code == Exit.NOBODY and f"no proxy answered at {words['NOBODY']} within 0.2 s" in line
