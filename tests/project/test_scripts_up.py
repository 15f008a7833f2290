"""scripts/up and its sisters: what they start, what they end, and what they say when something is wrong.

Most tests use a stand-in for the fabric command, which is ready at once or does what a test wants; the first one and
the last one use the real one.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.stacks import REAL, SCRIPTS, Scripts, runs
from tests.support.waiting import until

STAND_IN = f"""
case "$1 $*" in
    plan* | keys*) {REAL} ;;
    wait* | status*) exit 0 ;;
    *"--name stubborn"*) trap '' TERM; echo '{{"event":"ready"}}'; while true; do sleep 0.1; done ;;
    *"--name mute"*) echo here I am; exec sleep 600 ;;
    *"--name broken"*) echo "cannot start: no room"; exit 3 ;;
    *) echo '{{"event":"ready"}}'; exec sleep 600 ;;
esac
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    found = Scripts(tmp_path)
    found.use(STAND_IN)
    yield found
    for pid in found.pids().values():
        os.kill(pid, signal.SIGKILL)


pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="these tests read Linux's /proc")


def test_a_whole_fabric_up_looked_at_restarted_and_down(scripts: Scripts) -> None:
    """With the real command, frame nodes and pages where their store is installed."""
    scripts.use(REAL)
    nodes = ["--frames", "1", "--pages", "3"] if can_store() else []
    done = scripts.up("--proxies", "2", "--listen", scripts.base, *nodes)
    assert done.returncode == 0, done.stderr
    before = scripts.pids()
    assert set(before) == {"p1", "p2", *(["f1", "pages"] if nodes else [])}
    assert all(re.search(rf"^{name} .*pid {pid}\b", done.stdout, re.MULTILINE) for name, pid in before.items())
    assert f"export FABRIC_CONNECT='{scripts.base} " in done.stdout

    shown = scripts.run("status")
    assert shown.returncode == 0 and "running" in shown.stdout and re.search(r"p2 +member", shown.stdout)

    again = scripts.run("restart", "p1")
    assert again.returncode == 0, again.stderr
    after = scripts.pids()
    assert after.pop("p1") != before.pop("p1") and after == before
    assert '"peers":["p2"]' in scripts.log("p1"), "it joined its mesh, and began none of its own"

    down = scripts.run("down")
    assert down.returncode == 0 and not scripts.pids() and not list((scripts.state / "run").iterdir())
    assert scripts.run("status").returncode == 1
    assert {path.name for path in scripts.state.iterdir()} <= {"plan", "run", "log", "frame.db"}


def test_a_whole_fabric_with_keys(
    scripts: Scripts, run_fabric: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """They are made, placed and used; none is on a command line, in an environment, in the plan or in a log."""
    scripts.use(REAL)
    keys, nodes = scripts.folder / "all keys", ["--frames", "1", "--pages", "2"] if can_store() else []
    done = scripts.up("--keys", keys, "--proxies", "2", "--listen", scripts.base, *nodes)
    assert done.returncode == 0, done.stderr
    assert re.search(r"p2 +member", scripts.run("status").stdout)
    assert run_fabric("status", "--connect", scripts.base, "--connect-timeout", "2").returncode == 4, "without a key"
    asked = run_fabric("status", "--connect", scripts.base, FABRIC_KEYS=str(keys), FABRIC_IDENTITY="scripts")
    assert asked.returncode == 0, asked.stderr

    private = {path.read_text().strip() for path in keys.glob("*.key")}
    told = [
        path.read_text()
        for path in (scripts.state / "plan", *scripts.state.glob("log/*"), *scripts.state.glob("run/*"))
    ]
    for pid in scripts.pids().values():
        told += [Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "environ")]
    assert len(private) == 4 + len(nodes) // 2 and not [text for text in told if any(key in text for key in private)]
    assert not [path for path in (scripts.state / "keys").iterdir() if path.stat().st_mode & 0o077]

    before = scripts.pids()
    assert run_fabric("keys", "add", "shop-1", "--keys", str(keys)).returncode == 0
    assert scripts.up().returncode == 0 and scripts.pids() == before
    assert "shop-1" in (scripts.state / "keys" / "keys.toml").read_text(), (
        "new rules are taken to where proxies see them"
    )
    assert scripts.run("rolling-restart").returncode == 0


def test_a_host_has_the_keys_of_what_runs_there_and_no_others(scripts: Scripts) -> None:
    runner = scripts.folder / "to"
    runner.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    runner.chmod(0o755)
    hosts = [
        f"[hosts.{name}]\naddress = '10.0.0.{number}'\nstate = '{scripts.folder}/{name} s'"
        for number, name in enumerate("ab")
    ]
    nodes = ("proxies = [{host = 'a'}]", "frames = [{host = 'b'}]", "pages = [{host = 'b'}]")
    file = scripts.describe(*nodes, "keys = 'all'", f'runner = "{runner} {{host}}"', *hosts)
    done = scripts.up(file)
    assert done.returncode == 0, done.stderr
    placed = {name: {path.name for path in (scripts.folder / f"{name} s" / "keys").iterdir()} for name in "ab"}
    assert placed == {
        "a": {"keys.toml", "p1.key", "mesh.key", "scripts.key"},
        "b": {"keys.toml", "f1.key", "pages.key"},
    }
    for name in ("p1.key", "keys.toml"):
        assert (scripts.folder / "a s" / "keys" / name).read_bytes() == (scripts.folder / "all" / name).read_bytes()
    assert scripts.run("down").returncode == 0


def test_what_the_environment_says_of_keys_is_not_handed_on(scripts: Scripts) -> None:
    """The plan says who has which. The folder may be the one where they are placed."""
    scripts.use(STAND_IN.replace("*) echo", "*) env | grep ^FABRIC_; echo"))
    keys = scripts.state / "keys"
    scripts.env |= {"FABRIC_KEYS": str(keys), "FABRIC_IDENTITY": "me"}
    assert scripts.up("--proxies", "1").returncode == 0
    assert "FABRIC_KEYS" not in scripts.log("p1") and "FABRIC_IDENTITY" not in scripts.log("p1")
    made = {path.name: path.read_bytes() for path in keys.iterdir() if path.suffix}
    assert made.keys() == {"keys.toml", "p1.key", "mesh.key", "scripts.key"} and all(made.values())
    assert scripts.up().returncode == 0
    assert {path.name: path.read_bytes() for path in keys.iterdir() if path.suffix} == made


def can_store() -> bool:
    return subprocess.run([sys.executable, "-c", "import sqlalchemy"], capture_output=True).returncode == 0


def test_what_runs_already_is_left_alone_and_what_ended_is_started_again(scripts: Scripts) -> None:
    assert scripts.up("--proxies", "3").returncode == 0
    before = scripts.pids()
    os.kill(before["p2"], signal.SIGKILL)
    until(lambda: not runs(before["p2"]), "it is dead")
    shown = scripts.run("status")
    assert shown.returncode == 1 and re.search(r"^p2 +proxy +here +killed KILL +- ", shown.stdout, re.MULTILINE)
    assert re.search(r"^p1 +proxy +here +running +\d+ +\d+s +0 ", shown.stdout, re.MULTILINE)
    done = scripts.up()
    assert done.returncode == 0 and "p1 runs already" in done.stderr and "p2 runs already" not in done.stderr
    after = scripts.pids()
    assert after.pop("p2") != before.pop("p2") and after == before


def test_growing_leaves_what_runs_and_shrinking_is_refused(scripts: Scripts) -> None:
    assert scripts.up("--proxies", "1").returncode == 0
    before = scripts.pids()
    grown = scripts.up("--proxies", "2")
    assert grown.returncode == 0 and grown.stderr == "scripts/up: p1 runs already\n"
    assert "changed" not in scripts.run("status").stdout, "proxies learn of new ones by themselves"
    assert scripts.pids().keys() == {"p1", "p2"} and scripts.pids()["p1"] == before["p1"]
    refused = scripts.up("--proxies", "1")
    assert refused.returncode == 3 and "p2 runs, and the new plan does not have it" in refused.stderr
    assert not (scripts.state / "plan.new").exists()
    assert scripts.run("down", "p2").returncode == 0
    assert scripts.up("--proxies", "1").returncode == 0 and scripts.pids() == before
    moved = scripts.up(scripts.describe("proxies = [{args = ['--drain', '7']}]"))
    assert moved.returncode == 0 and "scripts/restart p1 starts it with that" in moved.stderr
    assert re.search(r"^p1 +proxy +here +changed ", scripts.run("status").stdout, re.MULTILINE)


def test_how_a_process_ended_is_shown(scripts: Scripts) -> None:
    ends = """*"--name p2"*) echo '{"event":"ready"}'; read -r -t 1 < <(sleep 3); exit 7 ;; *"--name stubborn"*"""
    scripts.use(STAND_IN.replace('*"--name stubborn"*', ends))
    assert scripts.up("--proxies", "3").returncode == 0
    assert scripts.run("down", "p3").returncode == 0
    until(lambda: scripts.pids().keys() == {"p1"}, "p2 has ended")
    shown = scripts.run("status")
    words = {line.split()[0]: line.split()[3:5] for line in shown.stdout.splitlines() if line.startswith("p")}
    assert shown.returncode == 1 and words["p1"][0] == "running"
    assert words["p2"] == ["ended", "7"] and words["p3"][0] == "stopped"
    (scripts.state / "run" / "p2.end").unlink()
    assert "lost" in scripts.run("status").stdout, "as after a restart of the machine"
    down = scripts.run("down")
    assert down.returncode == 0 and down.stderr == "scripts/down: stopped p1\n", "it says only what it did"
    again = scripts.run("down")
    assert again.returncode == 0 and again.stderr == "scripts/down: nothing of it runs\n"


def test_a_host_that_is_gone_for_good_is_forgotten(scripts: Scripts) -> None:
    """Until then nothing is known of it, and nobody says that something runs there."""
    runner = scripts.folder / "to"
    runner.write_text(f'#!/bin/sh\nhost="$1"; shift\n[ ! -e "{scripts.folder}/$host" ] || exit 255\nexec "$@"\n')
    runner.chmod(0o755)
    hosts = "\n".join(f'[hosts.{name}]\naddress = "10.0.0.{at}"' for at, name in enumerate("abc", 1))
    file = scripts.describe("proxies = 3", "insecure = true", f'runner = "{runner} {{host}}"', hosts)
    assert scripts.up(file).returncode == 0
    gone = scripts.pids()["p3"]
    os.kill(gone, signal.SIGKILL)
    (scripts.folder / "c").touch()
    hint = "scripts/down --forget c when that is gone for good"
    shown = scripts.run("status")
    assert shown.returncode == 1 and re.search(r"^p3 +proxy +c +unknown ", shown.stdout, re.MULTILINE)
    file.write_text(file.read_text().replace("proxies = 3", "proxies = 2").partition("[hosts.c]")[0])
    refused = scripts.up(file)
    assert refused.returncode == 3 and hint in refused.stderr, refused.stderr
    assert "p3 on c is not in the new plan, and cannot be asked whether it runs" in refused.stderr
    ended = scripts.run("down", "p3")
    assert (
        ended.returncode == 1
        and f"p3 on c cannot be asked whether it runs: expected its host to answer, or {hint}" in (ended.stderr)
    )
    assert scripts.run("down", "--forget").returncode == scripts.run("down", "--forget", "h9").returncode == 2
    done = scripts.run("down", "--forget", "c")
    assert (done.returncode, done.stderr) == (0, "scripts/down: forgot p3, on c\n")
    kept = (scripts.state / "plan").read_text()
    assert "10.0.0.3" not in kept and "10.0.0.2" in kept and set(scripts.pids()) == {"p1", "p2"}
    shown = scripts.run("status")
    assert shown.returncode == 0 and "changed" not in shown.stdout, "the others go on, by the commands that they have"
    assert scripts.up(file).returncode == 0
    assert scripts.run("down").returncode == 0 and not scripts.pids()


def test_a_plan_of_another_version_is_named(scripts: Scripts) -> None:
    scripts.state.mkdir(mode=0o700)
    (scripts.state / "plan").write_text("30\x1f10\x1f\n")
    done = scripts.run("status")
    assert done.returncode == 3 and "is of another version of these scripts" in done.stderr


def test_only_the_first_of_a_mesh_that_is_not_there_may_begin_one(scripts: Scripts) -> None:
    scripts.use(STAND_IN.replace("*) echo", '*) echo "$@"; echo'))
    assert scripts.up("--proxies", "2").returncode == 0
    assert "--first" in scripts.log("p1") and "--first" not in scripts.log("p2")
    assert scripts.run("restart", "p1").returncode == 0
    assert "--first" not in scripts.log("p1"), "the other one runs: it joins that"


def test_a_start_that_fails_shows_why_and_leaves_nothing_of_this_call(scripts: Scripts) -> None:
    assert scripts.up("--proxies", "1").returncode == 0
    before = scripts.pids()
    file = scripts.describe("proxies = [{}, {}, {name = 'broken'}]")
    done = scripts.up(file)
    assert done.returncode == 1 and "broken ended before it was ready" in done.stderr
    assert "broken| cannot start: no room" in done.stderr
    assert scripts.pids() == before, "p2 is ended again, p1 was there before"


def test_a_process_that_is_never_ready_has_failed(scripts: Scripts) -> None:
    done = scripts.up(scripts.describe("proxies = [{name = 'mute'}]", "ready_s = 1"))
    assert done.returncode == 1 and "was not ready in 1 s" in done.stderr and "mute| here I am" in done.stderr
    assert not scripts.pids()


def test_down_ends_what_an_up_that_was_killed_had_started(scripts: Scripts) -> None:
    file = scripts.describe("proxies = [{}, {name = 'mute'}]", "ready_s = 3")
    up = subprocess.Popen([SCRIPTS / "up", file], env=scripts.env, stderr=subprocess.PIPE)
    until(lambda: len(scripts.pids()) == 2, "both are started")
    up.kill()
    up.wait()
    assert up.stderr
    up.stderr.close()
    done = scripts.run("down")
    assert done.returncode == 0 and "stopped mute" in done.stderr and not scripts.pids()
    until(lambda: not list(scripts.state.glob("lock")), "its lock was taken over")


def test_an_up_that_is_interrupted_ends_what_it_started(scripts: Scripts) -> None:
    file = scripts.describe("proxies = [{}, {name = 'mute'}]")
    up = subprocess.Popen([SCRIPTS / "up", file], env=scripts.env, stderr=subprocess.PIPE, start_new_session=True)
    until(lambda: len(scripts.pids()) == 2, "both are started")
    os.killpg(up.pid, signal.SIGTERM)
    _, said = up.communicate(timeout=30)
    assert up.returncode == 130 and b"interrupted" in said and not scripts.pids()


def test_two_at_once_do_not_get_into_each_others_way(scripts: Scripts) -> None:
    file = scripts.describe("proxies = [{name = 'mute'}]", "ready_s = 20")
    up = subprocess.Popen([SCRIPTS / "up", file], env=scripts.env, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        until(lambda: scripts.pids(), "it is at work")
        other = scripts.run("down")
        assert other.returncode == 3 and f"process {up.pid} works on" in other.stderr
    finally:
        os.killpg(up.pid, signal.SIGTERM)
        up.wait(30)


def test_down_ends_only_the_very_process_that_was_recorded(scripts: Scripts) -> None:
    """Another process was given the same id later: its start time is another one."""
    assert scripts.up("--proxies", "1").returncode == 0
    (pid,) = scripts.pids().values()
    with subprocess.Popen(["sleep", "600"]) as bystander:
        try:
            record = scripts.state / "run" / "p1.pid"
            record.write_text(record.read_text().replace(str(pid), str(bystander.pid)))
            assert scripts.run("down").returncode == 0
            assert bystander.poll() is None
        finally:
            bystander.kill()
            os.kill(pid, signal.SIGKILL)


def test_what_does_not_heed_sigterm_is_killed_after_its_grace(scripts: Scripts) -> None:
    assert scripts.up(scripts.describe("proxies = [{name = 'stubborn'}]", "grace_s = 1")).returncode == 0
    done = scripts.run("down")
    assert done.returncode == 0 and "did not end in 1 s and was killed" in done.stderr and not scripts.pids()
    (line,) = map(json.loads, (scripts.state / "log" / "audit.jsonl").read_text().splitlines())
    assert (line["event"], line["who"], line["count"]) == ("killed", getpass.getuser(), 1)
    assert line["why"] == "stubborn did not end in time" and datetime.fromisoformat(line["at"])


def test_hosts_are_reached_through_the_runner_alone(scripts: Scripts) -> None:
    runner = scripts.folder / "to"
    runner.write_text(f'#!/bin/sh\nhost="$1"; shift\necho "$host" >> {scripts.folder}/hosts\nexec "$@"\n')
    runner.chmod(0o755)
    hosts = '[hosts.a]\naddress = "127.0.0.2"\n[hosts.b]\naddress = "127.0.0.3"'
    file = scripts.describe("proxies = 2", "insecure = true", f'runner = "{runner} {{host}}"', hosts)
    assert "cannot reach" in scripts.up(file).stderr, "loopback is no address for another host"
    file.write_text(file.read_text().replace("127.0.0.", "10.0.0."))
    done = scripts.up(file)
    assert done.returncode == 0, done.stderr
    assert "a, pid" in done.stdout and "tcp://10.0.0.3:5570" in done.stdout
    assert set((scripts.folder / "hosts").read_text().split()) == {"a", "b"}
    assert scripts.run("logs", "p2").stdout == '{"event":"ready"}\n'
    assert scripts.run("rolling-restart").returncode == 0
    assert scripts.run("down").returncode == 0 and not scripts.pids()


@pytest.mark.parametrize(
    ("verb", "args", "code", "words"),
    [
        ("up", ["--proxies", "0"], 2, "--proxies"),
        ("up", ["--bogus"], 2, "scripts/up: No such option '--bogus'"),
        (
            "up",
            ["--pages", "3"],
            2,
            "scripts/up: pages need a frame node: expected --frames 1 or more (see scripts/up --help)",
        ),
        ("up", ["BAD"], 2, "not TOML"),
        ("up", ["/nowhere.toml"], 3, "/nowhere.toml cannot be read"),
        ("up", ["HOST"], 3, "cannot run anything on nowhere"),
        ("up", ["LACKS"], 3, "the command /nowhere/fabric is missing"),
        ("status", [], 3, "nothing was started from"),
        ("restart", ["p1"], 3, "expected scripts/up first"),
        ("rolling-restart", [], 3, "expected scripts/up first"),
        ("logs", [], 3, "expected scripts/up first"),
        ("down", [], 0, "nothing was started from"),
    ],
)
def test_wrong_input_is_one_line_and_starts_nothing(
    scripts: Scripts, verb: str, args: list[str], code: int, words: str
) -> None:
    files = {
        "BAD": "proxies = ",
        "HOST": 'insecure = true\nrunner = "ip netns exec {host}"\n[hosts.nowhere]\naddress = "10.0.0.1"',
        "LACKS": 'insecure = true\nrunner = "env"\n[hosts.h]\naddress = "10.0.0.1"\nfabric = "/nowhere/fabric"',
    }
    done = scripts.run(verb, *(scripts.describe(files[word]) if word in files else word for word in args))
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert not scripts.pids() and not (scripts.state / "lock").exists()


def test_names_that_are_not_known_and_a_command_that_is_not_there(scripts: Scripts) -> None:
    assert scripts.up("--proxies", "1").returncode == 0
    for verb in ("restart", "rolling-restart", "logs", "down"):
        done = scripts.run(verb, "p9")
        assert done.returncode == 2 and "'p9' is not known: expected one of p1" in done.stderr
    assert scripts.run("restart").returncode == 2
    assert "no other to which its nodes could move" in scripts.run("rolling-restart").stderr
    assert len(scripts.pids()) == 1
    scripts.env["FABRIC"] = "/nowhere/fabric"
    done = scripts.up()
    assert done.returncode == 3 and "FABRIC=/nowhere/fabric cannot be run" in done.stderr


def test_a_port_that_is_taken(scripts: Scripts) -> None:
    scripts.use(REAL)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(scripts.base.rpartition(":")[2]) + 10))
        taken.listen()
        done = scripts.up("--proxies", "2", "--listen", scripts.base)
    assert done.returncode == 1 and re.search(r"^p2\| .*cannot listen at ", done.stderr, re.MULTILINE)
    assert not scripts.pids()


VERBS = sorted(path for path in SCRIPTS.glob("**/*") if path.is_file() and path.suffix in ("", ".sh"))
VERBS.append(ROOT / ".ci" / "run")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    done = subprocess.run(["shellcheck", "-x", *VERBS], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
