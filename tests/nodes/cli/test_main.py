"""The `fabric` command as a whole: exit codes, `match`, what every command has; the others have files of their own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from fabric import Node
from fabric.core import BUILD
from fabric.errors import FabricError, HighWaterMarkReached, InvalidTopic, LocalWireError, NotConnected
from nodes.cli import keep, main, match, play
from nodes.cli.exits import Exit, Fail
from nodes.cli.options import PositiveNumber, Size
from tests.support.processes import FABRIC, ROOT, FabricProcess, ProxyProcess, environment, free_base


def test_the_commands() -> None:
    """Every module here that makes a command is in the list, which is sorted, or belongs to a group of it."""
    modules = Path(main.__file__).parent.glob("*.py")
    is_command = re.compile(r"^@click\.(command|group)", re.MULTILINE)
    texts = {path.stem: path.read_text() for path in modules if path.stem != "main"}
    made = [name.replace("_", "-") for name, text in texts.items() if is_command.search(text)]
    assert main.command("load").commands.keys() == {"compare", "run"}  # type: ignore[attr-defined]
    assert sorted({*made} - {"load-compare", "load-phases"}) == list(main.COMMANDS)
    assert [main.command(name).name for name in main.COMMANDS] == list(main.COMMANDS)


HEAVY = frozenset({
    "zmq", "fabric.core.build", "fabric.node.node", "fabric.proxy.proxy", "fabric.services.client", "asyncio",
    "sqlalchemy", "aiohttp", "rich", "matplotlib", "prometheus_client", "importlib.metadata",
})  # fmt: skip
"""What costs a start most, by `python -X importtime`: a command imports it when it comes to need it."""
NEEDS = {
    "agent": {"zmq", "fabric.core.build", "fabric.node.node", "fabric.services.client"},
    "events": {"zmq", "fabric.core.build", "fabric.node.node"},
    "gateway": {"asyncio"},
    "load": {"zmq", "fabric.core.build", "fabric.node.node", "fabric.services.client"},
    "page": {"zmq", "fabric.core.build", "fabric.node.node", "fabric.services.client"},
    "proxy": {"zmq", "fabric.core.build", "fabric.proxy.proxy"},
    "serve": {"zmq", "fabric.core.build", "fabric.node.node"},
    "wait": {"zmq", "fabric.core.build", "fabric.node.node"},
}
"""Of these, what a command imports before it has read its arguments: its --help and its completion wait for that."""


def imported_by(code: str) -> set[str]:
    """The modules that a new interpreter has imported, once it has done this."""
    code = f"import sys; from nodes.cli import main; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("command", main.COMMANDS)
def test_a_command_imports_what_it_needs_and_no_other(command: str) -> None:
    found = imported_by(f"main.command({command!r})")
    others = {f"nodes.cli.{each.replace('-', '_')}" for each in main.COMMANDS} & found
    shared = {"play": "pub", "record": "sub", "sub": "history", "top": "status"}
    allowed = {command, shared.get(command, command), "history" if command == "record" else command}
    assert others == {f"nodes.cli.{each.replace('-', '_')}" for each in allowed} & found
    assert f"nodes.cli.{command.replace('-', '_')}" in found
    assert found & HEAVY == NEEDS.get(command, set())


@pytest.mark.parametrize("args", [["match", "a", "a"], ["plan"], ["--help"], ["plan", "--help"], []])
def test_what_asks_nobody_starts_without_zeromq(args: list[str]) -> None:
    """Nor does it import what logs: nothing is said."""
    found = imported_by(f"main.run({args!r})")
    assert not found & (HEAVY | ({"logging"} if args else set())), found & HEAVY
    assert args != ["--help"] or not {f"nodes.cli.{each}" for each in main.COMMANDS} & found


def test_the_help_says_what_each_command_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == Exit.DONE
    shown = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert [tuple(line.split(None, 1)) for line in shown] == list(main.COMMANDS.items())
    assert all(len(words) <= 60 and words[0].isupper() and words[-1] != "." for words in main.COMMANDS.values())


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([command, "--help"]) == Exit.DONE
    help_text = capsys.readouterr().out
    assert help_text.startswith(f"Usage: fabric {command} ") and len(help_text.splitlines()) > 8


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "fabric: missing command: expected one of "),
        (["nothing"], "fabric: No such command 'nothing'."),
        (["match", "a"], "fabric match: Missing argument 'TOPIC"),
        (["match", "a/#/b", "a"], "fabric match: invalid filter 'a/#/b': expected '#' only as the last level"),
        (["match", "#", "a/+"], "fabric match: invalid topic 'a/+'"),
        (["sub"], "fabric sub: Missing argument 'FILTER"),
        (["sub", "a#"], "fabric sub: invalid filter 'a#'"),
        (["sub", "~/a"], "fabric sub: invalid filter '~/a': expected one without ~/, which never leaves"),
        (["sub", "~mine/a"], "fabric sub: invalid scope '~mine'"),
        (["sub", "a", "--count", "0"], "fabric sub: Invalid value for '--count'"),
        (["sub", "a", "--timeout", "nan"], "invalid number 'nan': expected a number above 0"),
        (["sub", "a", "--timeout", "-1"], "invalid number '-1'"),
        (["sub", "a", "--connect", "127.0.0.1:5570"], "expected tcp://HOST:PORT or ipc://PATH"),
        (["pub", "a/+", "1"], "fabric pub: invalid topic 'a/+'"),
        (["pub", "a", "1", "2"], "fabric pub: Got unexpected extra argument (2)"),
        (["pub", "a", '{"$bin": 1}'], 'fabric pub: invalid "$bin" 1: expected base64'),
        (["pub", "--raw"], "--raw needs a TOPIC"),
        (["pub", "--topic", "a"], "--topic and --payload go with --csv"),
        (["pub", "--csv", "-"], "--csv needs --topic"),
        (["pub", "a", "--csv", "-", "--topic", "b"], "--csv takes its topics from --topic"),
        (["pub", "a", "--rate", "0"], "invalid number '0'"),
        (["pub", "a", "--nonsense"], "No such option"),
        (["proxy", "--listen", "tcp://127.0.0.1:65533"], "invalid port 65533: expected 1 to 65530"),
        (["proxy", "--listen", "ipc://" + "x" * 120], "expected at most 100 bytes"),
        (["proxy", "--insecure", "--listen", "tcp://*:5570"], "invalid --listen 'tcp://*:5570': expected a host"),
        (["proxy", "--name", "a/b"], "invalid name 'a/b'"),
        (["wait", "--proxies", "0"], "fabric wait: Invalid value for '--proxies'"),
    ],
)
def test_wrong_usage_is_2_in_one_line_on_stderr(
    args: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(args) == Exit.USAGE
    out, err = capsys.readouterr()
    assert out == "" and words in err
    lines = [line for line in err.splitlines() if "can be reached from other machines" not in line]
    assert len(lines) == 1, err


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (Fail("no", Exit.MISSING), Exit.MISSING),
        (NotConnected("no"), Exit.NOBODY),
        (InvalidTopic("no"), Exit.USAGE),
        (LocalWireError("no"), Exit.USAGE),
        (HighWaterMarkReached("no"), Exit.MISSING),
        (FabricError("no"), Exit.MISSING),
        (OSError("no"), Exit.MISSING),
        (click.UsageError("no"), Exit.USAGE),
        (click.Abort(), Exit.INTERRUPTED),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
    ],
)
def test_every_end_has_its_code(raised: BaseException, code: Exit, monkeypatch: pytest.MonkeyPatch) -> None:
    def explain(*_: Any) -> str:
        raise raised

    monkeypatch.setattr(match, "explain", explain)
    assert main.run(["match", "a", "a"]) == code


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == Exit.DONE
    assert re.fullmatch(rf"fabric \S.* \({BUILD}\)\n", capsys.readouterr().out)


@pytest.mark.parametrize("command", [["status"], ["sub", "a"], ["pub", "a", "1"]])
def test_nobody_there_is_4(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    base = free_base()
    assert main.run([*command, "--connect", base, "--connect-timeout", "0.3"]) == Exit.NOBODY
    out, err = capsys.readouterr()
    assert out == "" and base in err and len(err.splitlines()) == 1


def test_fabric_connect_may_hold_several(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = free_base(), free_base()
    monkeypatch.setenv("FABRIC_CONNECT", f" {first}, {second} ")
    assert main.run(["status", "--connect-timeout", "0.3"]) == Exit.NOBODY
    err = capsys.readouterr().err
    assert first in err and second in err
    monkeypatch.setenv("FABRIC_CONNECT", "nonsense")
    assert main.run(["status"]) == Exit.USAGE


def test_a_closed_pipe_is_silent_and_done() -> None:
    topics = [f"a/{n}" for n in range(5_000)]
    command = [*FABRIC, "match", "a/#", *topics]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=ROOT)
    assert process.stdout and process.stderr
    process.stdout.readline()
    process.stdout.close()
    assert (process.stderr.read(), process.wait(20)) == (b"", Exit.DONE)
    process.stderr.close()


@pytest.mark.parametrize("command", [["sub", "a"], ["pub"], ["wait", "--proxies", "9"]])
def test_ctrl_c_is_130_without_a_traceback(
    command: list[str], proxies: Callable[..., list[ProxyProcess]], fabric: Callable[..., FabricProcess]
) -> None:
    (proxy,) = proxies(1)
    process = fabric(*command, "--connect", proxy.base)
    if command[0] == "sub":
        process.wait_stderr("acknowledged")
    else:  # what it does is to wait: ready once it has its handlers, which it has when it is connected
        wait_connected(proxy)
    process.signal(signal.SIGINT)
    assert process.wait() == Exit.INTERRUPTED
    assert "Traceback" not in "\n".join(process.stderr)


def wait_connected(proxy: ProxyProcess) -> None:
    """Wait until a node besides our own is at this proxy."""
    two = threading.Event()
    with Node(proxy.base) as node:
        node.subscribe("$fabric/proxy/+", lambda message: two.set() if message.payload["nodes"] >= 2 else None)
        assert two.wait(10)


def test_a_port_that_is_taken_is_3_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    base = free_base()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(base.rpartition(":")[2]) + 1))  # `out`
        taken.listen()
        assert main.run(["proxy", "--listen", base]) == Exit.MISSING
    out, err = capsys.readouterr()
    assert out == "" and "the address is in use" in err and len(err.splitlines()) == 1


def test_completion_for_the_shell() -> None:
    env = environment(_FABRIC_COMPLETE="bash_complete", COMP_WORDS="fabric st", COMP_CWORD="1")
    done = subprocess.run(FABRIC, env=env, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("plain,status\n")


def every_command() -> Iterator[tuple[list[str], click.Command]]:
    for name in main.COMMANDS:
        found = main.command(name)
        yield [name], found
        for sub_name, each in getattr(found, "commands", {}).items():
            yield [name, sub_name], each


KINDS = (PositiveNumber, click.IntRange, click.FloatRange, Size, keep.Size, keep.Duration, play.TimeIn)
ANY = (click.types.IntParamType, click.types.FloatParamType)
"""No option takes these: a range says what is right."""
MEANS_A_NUMBER = [
    pytest.param([*words, option.opts[0]], id=" ".join([*words, option.opts[0]]))
    for words, found in every_command()
    for option in found.params
    if isinstance(option, click.Option) and not option.is_flag and isinstance(option.type, (*KINDS, *ANY))
]


@pytest.mark.parametrize("value", ["-1", "nan", "x"])
@pytest.mark.parametrize("words", MEANS_A_NUMBER)
def test_an_option_that_is_no_number_of_its_range_is_named(
    words: list[str], value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run([*words, value]) == Exit.USAGE
    said = capsys.readouterr().err
    assert f"Invalid value for '{words[-1]}'" in said and value in said


@pytest.mark.parametrize(
    ("args", "name"),
    [
        (["pub", "a/+", "1"], "fabric pub"), (["sub", "a/#/b"], "fabric sub"), (["history", "a/#/b"], "fabric history"),
        (["keep", "--store", "sqlite:///x.db", "a/#/b"], "fabric keep"), (["record", "a/#/b"], "fabric record"),
        (["keys", "show", "--keys", "/nowhere"], "fabric keys show"), (["play", "/nowhere/file"], "fabric play"),
        (["status", "--connect-timeout", "0.1", "--connect", "tcp://127.0.0.1:1"], "fabric status"),
        (["nothing"], "fabric"),
    ],
)  # fmt: skip
def test_every_refusal_begins_with_the_name_of_the_command(
    args: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(args) != Exit.DONE
    assert capsys.readouterr().err.startswith(f"{name}: ")
