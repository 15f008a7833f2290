"""`fabric keys` as an operator and a script use it; and what other commands say to who has no key, or no right."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fabric.identity.keys import load, public_of, read_rules
from nodes.cli import main
from nodes.cli.exits import Exit
from tests.support.processes import FabricProcess, ProxyProcess, environment, free_base
from tests.support.waiting import until

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is `keys`, where a command runs, unless something else is said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FABRIC_KEYS", raising=False)


def said(capsys: Capture, *args: str) -> tuple[int, str, str]:
    code = main.run(["keys", *args])
    out, err = capsys.readouterr()
    return code, out, err


def test_from_nothing_to_a_mesh_of_two(capsys: Capture) -> None:
    code, out, err = said(capsys, "init", "--proxy", "p1", "--proxy", "p2", "--operator", "me")
    assert code == Exit.DONE and out == "keys/keys.toml\n" and "private key of the mesh" in err
    assert load("keys", "p2", as_proxy=True).mesh_secret and load("keys").name == "me"
    code, out, _ = said(capsys, "add", "a", "b", "--role", "observer", "--role", "guest")
    assert code == Exit.DONE and out.splitlines() == [load("keys", name).public for name in "ab"]
    code, out, _ = said(capsys, "list")
    rows = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    assert rows[1] == ["p1", "proxy", "1", "here"] and rows[4] == ["a", "observer,guest", "1", "here"]


def test_everything_as_json(capsys: Capture) -> None:
    def told(*args: str, code: int = Exit.DONE) -> list[dict[str, object]]:
        found, out, err = said(capsys, *args, "--json")
        assert found == code, err
        return [json.loads(line) for line in out.splitlines()]

    (init,) = told("init", "--proxy", "p1")
    assert init == {"folder": "keys", "mesh": list(read_rules(Path("keys")).mesh), "identities": ["p1"]}
    (added,) = told("add", "shop")
    assert added == {"name": "shop", "public": load("keys", "shop").public, "private": "keys/shop.key"}
    (made,) = told("new", "far", "--keys", "elsewhere")
    (far,) = told("add", "far", "--public", str(made["public"]))
    assert far == {"name": "far", "public": made["public"], "private": None}
    assert [(each["name"], each["private"]) for each in told("list")] == [("p1", True), ("shop", True), ("far", False)]
    (shown,) = told("show", "shop")
    denied = {"deny_request": ["frame"], "deny_serve": ["frame", "keeper", "keeper-*"]}
    assert shown["rights"] == {"publish": ["#"], "subscribe": ["#"], "request": ["+"], "serve": ["+"], **denied}
    assert {each["role"] for each in told("show")} >= {"node", "observer", "proxy"}
    assert told("show", "mesh") == [{"name": "mesh", "keys": list(read_rules(Path("keys")).mesh)}]
    (new,) = told("rotate", "shop")
    assert new == {"name": "shop", "public": load("keys", "shop").public, "finished": False}
    assert told("rotate", "shop", "--finish") == [{**new, "finished": True}]
    (no,) = told("test", "shop", "serve", "frame", code=Exit.DENIED)
    assert no == {"name": "shop", "act": "serve", "what": "frame", "allowed": False, "role": "node", "right": "frame",
                  "why": "shop may not serve 'frame': it is denied; role 'node' denies 'frame'"}  # fmt: skip
    assert told("revoke", "shop") == [{"name": "shop", "revoked": [new["public"]]}]


def test_what_scripts_ask_again_and_again_changes_nothing_the_second_time(capsys: Capture) -> None:
    def twice() -> tuple[str, list[Path]]:
        assert said(capsys, "init", "--if-missing", "--proxy", "p1")[0] == Exit.DONE
        assert said(capsys, "add", "--if-missing", "f1", "f2", "--role", "frame")[0] == Exit.DONE
        return Path("keys/keys.toml").read_text(), sorted(Path("keys").iterdir())

    assert twice() == twice()
    code, _, err = said(capsys, "add", "--if-missing", "f1", "--role", "gateway")
    assert code == Exit.MISSING and "'f1' is there with the roles frame, and not gateway" in err


WRONG = [
    (["init"], Exit.MISSING, "keys/keys.toml is there already"),
    (["add", "p1"], Exit.MISSING, "'p1' is there already: `fabric keys rotate p1` changes its key"),
    (["add", "mesh"], Exit.USAGE, "it stands for the key of the mesh"),
    (["add", "a/b"], Exit.USAGE, "invalid name 'a/b'"),
    (["add", "x", "--role", "nope"], Exit.USAGE, "invalid role 'nope': expected one of frame"),
    (["add", "x", "--public", "nope"], Exit.USAGE, "invalid public key 'nope'"),
    (["add", "x", "y", "--public", "nope"], Exit.USAGE, "expected one, not x, y"),
    (["add", "x", "--keys", "nowhere"], Exit.MISSING, "nowhere: No such file or directory; `fabric keys init`"),
    (["show", "x"], Exit.MISSING, "nobody is called 'x'; `fabric keys list` names all"),
    (["revoke", "mesh"], Exit.USAGE, "it stands for the key of the mesh"),
    (["revoke", "x"], Exit.MISSING, "invalid identity 'x': expected one of p1"),
    (["rotate", "x"], Exit.MISSING, "invalid identity 'x'"),
    (["rotate", "p1", "--finish"], Exit.MISSING, "is not being changed: `fabric keys rotate p1` begins that"),
    (["rotate", "p1", "--finish", "--public", "x"], Exit.USAGE, "--finish takes no --public"),
    (["new", "p1"], Exit.MISSING, "keys/p1.key is there already, and is not replaced"),
    (["test", "x", "publish", "a"], Exit.MISSING, "nobody is called 'x'"),
    (["test", "p1", "publish", "a/+"], Exit.USAGE, "invalid topic 'a/+'"),
    (["test", "p1", "eat", "a"], Exit.USAGE, "'eat' is not one of 'publish', 'subscribe', 'request', 'serve'"),
    (["reload"], Exit.USAGE, "expected --keys DIR (or FABRIC_KEYS)"),
    ([], Exit.USAGE, "missing command: expected one of add, init, list, new, reload, revoke, rotate, show, test"),
]


@pytest.mark.parametrize(("args", "code", "why"), WRONG, ids=[" ".join(args) for args, _, _ in WRONG])
def test_what_is_wrong_is_said_in_a_line_and_changes_nothing(
    args: list[str], code: Exit, why: str, capsys: Capture
) -> None:
    said(capsys, "init", "--proxy", "p1")
    before = Path("keys/keys.toml").read_text(), sorted(Path("keys").iterdir())
    found, out, err = said(capsys, *args)
    assert (found, out, err.count("\n")) == (code, "", 1) and why in err
    assert before == (Path("keys/keys.toml").read_text(), sorted(Path("keys").iterdir()))


def test_a_wrong_file_is_named(capsys: Capture) -> None:
    said(capsys, "init")
    Path("keys/keys.toml").write_text("mesh = 7")
    for args in (["list"], ["add", "a"], ["test", "a", "publish", "b"], ["rotate", "mesh"]):
        code, _, err = said(capsys, *args)
        assert code == Exit.MISSING and "keys/keys.toml: mesh: invalid keys 7: expected an array" in err


# ── with proxies ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Mesh:
    """A mesh with keys, whose folder is its own. `run` a command as somebody, or `start` one."""

    folder: Path
    base: str
    proxies: list[ProxyProcess]
    run: Run
    start: Callable[..., FabricProcess]


@pytest.fixture
def keyed(tmp_path: Path, run_fabric: Run, fabric: Callable[..., FabricProcess]) -> Iterator[Mesh]:
    folder, bases = tmp_path / "keys", [free_base(), free_base()]
    assert run_fabric("keys", "init", "--proxy", "p1", "--proxy", "p2", "--operator", "me",
                      "--keys", str(folder)).returncode == Exit.DONE  # fmt: skip
    text = (folder / "keys.toml").read_text()
    role = '\n[roles.shop]\npublish = ["orders/#"]\nsubscribe = ["orders/#"]\n'
    (folder / "keys.toml").write_text(text + role)
    assert run_fabric("keys", "add", "shop", "--role", "shop", "--keys", str(folder)).returncode == Exit.DONE
    variables = {"FABRIC_KEYS": str(folder), "FABRIC_CONNECT": bases[0]}

    def run(who: str, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
        return run_fabric(*args, **{**variables, "FABRIC_IDENTITY": who, **more})

    def start(who: str, *args: str, **more: str) -> FabricProcess:
        return fabric(*args, **{**variables, "FABRIC_IDENTITY": who, **more})

    proxies = []
    for name, base, join in (("p1", bases[0], ()), ("p2", bases[1], ("--join", bases[0]))):
        proxy = fabric("proxy", "--listen", base, "--name", name, *join, "--keys", str(folder))
        proxy.wait_event("ready")
        proxies.append(proxy)
    yield Mesh(folder, bases[0], proxies, run, start)  # type: ignore[arg-type]


def test_rights_and_who_is_told(keyed: Mesh) -> None:
    assert keyed.run("me", "wait", "--proxies", "2").returncode == Exit.DONE
    sub = keyed.start("shop", "sub", "orders/#")
    sub.wait_stderr("acknowledged")
    assert keyed.run("shop", "pub", "orders/1", "7").returncode == Exit.DONE
    assert sub.wait_stdout("orders/1") == "orders/1\t7"
    denied = keyed.run("shop", "pub", "other", "7")
    assert denied.returncode == Exit.DENIED and "shop may not publish on 'other': it needs the right" in denied.stderr
    lines = '{"topic":"orders/2","payload":1}\n{"topic":"other","payload":1}\n'
    some = keyed.run("shop", "pub", "--json", input=lines)
    assert some.returncode == Exit.DENIED and "(denied 1)" in some.stderr
    assert json.loads(some.stdout)["sent"] == 1 and json.loads(some.stdout)["denied"] == 1
    held = keyed.run("shop", "sub", "orders/#", "other/#")
    assert held.returncode == Exit.DENIED and "shop may not subscribe to 'other/#'" in held.stderr
    asked = keyed.run("shop", "request", "clock", "now")
    assert asked.returncode == Exit.DENIED and "shop may not request 'clock'" in asked.stderr
    traced = keyed.run("shop", "why", "other")
    assert traced.returncode == Exit.DENIED and "shop may not publish on '$fabric/proxy/p1/ask'" in traced.stderr
    shown = keyed.run("me", "status")
    assert [line.split()[-1] for line in shown.stdout.splitlines()] == ["KEYS", "yes", "yes"]


def test_new_rules_end_what_they_do_not_allow(keyed: Mesh) -> None:
    sub = keyed.start("shop", "sub", "orders/#")
    sub.wait_stderr("acknowledged")
    rules = keyed.folder / "keys.toml"
    rules.write_text(rules.read_text().replace('subscribe = ["orders/#"]\n', 'subscribe = ["stock/#"]\n'))
    assert sub.wait() == Exit.DENIED
    assert any("shop may not subscribe to 'orders/#'" in line and "'stock/#'" in line for line in sub.stderr)
    done = keyed.run("me", "keys", "reload", "--json")
    assert done.returncode == Exit.DONE
    found = json.loads(done.stdout)
    assert found["proxies"] == ["p1", "p2"] and found["rules"] == read_rules(keyed.folder).digest


def test_a_wrong_file_leaves_the_rules_before_it_and_a_hang_up_ends_no_proxy(keyed: Mesh) -> None:
    rules = keyed.folder / "keys.toml"
    before = rules.read_text()
    rules.write_text(before + "\nnonsense\n")
    for proxy in keyed.proxies:
        proxy.signal(signal.SIGHUP)
        proxy.wait_stderr("the rules stay as they were: ")
    assert keyed.run("me", "keys", "reload").returncode == Exit.MISSING
    aside = keyed.folder.parent / "aside"
    aside.mkdir()
    (aside / "me.key").touch(0o600)
    (aside / "me.key").write_text((keyed.folder / "me.key").read_text())
    (aside / "keys.toml").write_text(before)
    stale = keyed.run("me", "keys", "reload", "--timeout", "2", FABRIC_KEYS=str(aside))
    assert stale.returncode == Exit.NOT_REACHED and "p1 finds its file wrong" in stale.stderr
    rules.write_text(before)
    assert keyed.run("me", "keys", "reload").returncode == Exit.DONE
    assert all(proxy.alive for proxy in keyed.proxies)


def test_who_was_just_added_comes_in_and_who_was_revoked_does_not(keyed: Mesh) -> None:
    """Without a pause: proxies look at the file four times a second."""
    assert keyed.run("me", "keys", "add", "late").returncode == Exit.DONE
    assert keyed.run("late", "pub", "a", "1").returncode == Exit.DONE
    secret = (keyed.folder / "late.key").read_text()
    assert keyed.run("me", "keys", "revoke", "late").returncode == Exit.DONE
    assert keyed.run("me", "keys", "reload").returncode == Exit.DONE
    thief = keyed.folder.parent / "thief"
    thief.mkdir()
    (thief / "late.key").touch(0o600)
    (thief / "late.key").write_text(secret)
    rules = (keyed.folder / "keys.toml").read_text()
    forged = rules.replace(load(keyed.folder, "me").public, public_of(secret.strip()))
    (thief / "keys.toml").write_text(forged.replace("identities.me", "identities.late"))
    os.utime(thief / "keys.toml", (0, 0))  # it has been there for long
    refused = keyed.run("late", "pub", "a", "1", FABRIC_KEYS=str(thief))
    assert refused.returncode == Exit.DENIED and "does not admit the key of 'late'" in refused.stderr


def test_without_keys_nobody_comes_in(keyed: Mesh) -> None:
    done = keyed.run("", "pub", "a", "1", FABRIC_KEYS="", FABRIC_IDENTITY="")
    assert done.returncode == Exit.NOBODY and "it may want keys (--keys, FABRIC_KEYS)" in done.stderr


def test_rotation_without_an_outage(keyed: Mesh) -> None:
    sub = keyed.start("shop", "sub", "orders/#")
    sub.wait_stderr("acknowledged")
    assert keyed.run("me", "keys", "rotate", "shop").returncode == Exit.DONE
    assert keyed.run("me", "keys", "reload").returncode == Exit.DONE
    assert keyed.run("shop", "pub", "orders/1", "1").returncode == Exit.DONE, "with the new key"
    sub.wait_stdout("orders/1")
    assert not any("connecting" in line for line in sub.stderr), "with the old one it goes on"
    assert keyed.run("me", "keys", "rotate", "shop", "--finish").returncode == Exit.DONE
    sub.wait_stderr("does not admit the key of 'shop'")
    assert keyed.run("shop", "pub", "orders/2", "1").returncode == Exit.DONE


def test_a_load_test_with_keys(keyed: Mesh) -> None:
    words = ("load", "--duration", "0.5", "--warm-up", "0.2", "--rate", "200", "--topics", "4", "--json")
    done = keyed.run("shop", *words, "--topic", "orders/{n}")
    assert done.returncode == Exit.DONE, done.stderr
    denied = keyed.run("shop", *words)
    assert denied.returncode == Exit.DENIED and "shop may not subscribe to 'load/+/value'" in denied.stderr


def test_keys_are_in_no_command_line_and_no_log(keyed: Mesh) -> None:
    secrets = [path.read_text().strip() for path in keyed.folder.glob("*.key")]
    sub = keyed.start("shop", "sub", "orders/#")
    sub.wait_stderr("acknowledged")
    for process in (sub, *keyed.proxies):
        line = Path(f"/proc/{process.pid}/cmdline").read_text() if Path("/proc/self/cmdline").exists() else ""
        said = line + "\n".join([*process.stdout, *process.stderr])
        assert not any(secret in said for secret in secrets)


def test_observe_lets_in_and_only_tells(keyed: Mesh, run_fabric: Run, fabric: Callable[..., FabricProcess]) -> None:
    base, folder = free_base(), keyed.folder
    assert run_fabric("keys", "add", "p3", "--role", "proxy", "--keys", str(folder)).returncode == Exit.DONE
    audit = folder.parent / "audit.jsonl"
    proxy = fabric("proxy", "--listen", base, "--name", "p3", "--keys", str(folder), "--observe", "--audit", str(audit))
    proxy.wait_event("ready")
    proxy.wait_stderr("rights are not enforced")
    assert keyed.run("shop", "pub", "other", "1", "--connect", base).returncode == Exit.DONE
    until(lambda: '"publish_denied"' in audit.read_text(), "it is told")
    assert keyed.run("me", "status", "--connect", base).stdout.splitlines()[-1].split()[-1] == "observing"


def test_the_environment_of_tests_has_no_keys() -> None:
    assert "FABRIC_KEYS" not in environment()


def test_a_gateway_that_may_not_do_what_it_promises_does_not_start(keyed: Mesh) -> None:
    pytest.importorskip("aiohttp")
    assert keyed.run("me", "keys", "add", "g1", "--role", "gateway").returncode == Exit.DONE
    for option, topic in (("--public-subscribe", "news/#"), ("--public-publish", "vote/+")):
        done = keyed.run("g1", "gateway", "--listen", "http://127.0.0.1:0", option, topic)
        assert done.returncode == Exit.DENIED and f"{option} {topic}" in done.stderr
        assert "g1 may not" in done.stderr and '"ready"' not in done.stdout


def test_a_frame_node_needs_the_role(keyed: Mesh, tmp_path: Path) -> None:
    pytest.importorskip("sqlalchemy")
    done = keyed.run("shop", "frame", "--store", f"sqlite:///{tmp_path}/x.db")
    assert done.returncode == Exit.DENIED and "shop may not serve 'frame'" in done.stderr
