"""scripts/lab: three hosts of network namespaces; a fabric over them, a cut, a heal, a rolling restart, nothing left.

Needs root and a kernel that lets it make namespaces, bridges and links; skipped with the reason where it does not.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fabric import Node
from tests.stacks import SCRIPTS, Scripts
from tests.waiting import Box

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Scripts]:
    """Scripts with a lab of a name and a network of their own."""
    scripts = Scripts(tmp_path)
    tag = f"t{os.getpid() % 10**7}"
    scripts.env |= {"FABRIC_LAB": tag, "FABRIC_LAB_NET": f"10.{random.randrange(100, 250)}.{random.randrange(250)}"}
    yield scripts
    for pid in scripts.pids().values():
        os.kill(pid, signal.SIGKILL)
    if (scripts.state / "lab").exists():
        scripts.run("lab", "down")
    assert not left_of(tag)


def left_of(tag: str) -> list[str]:
    """Namespaces and links of this lab."""
    if shutil.which("ip") is None:
        return []
    said = [
        subprocess.run(["ip", *words], capture_output=True, text=True).stdout for words in (["netns"], ["-br", "link"])
    ]
    return [line for text in said for line in text.splitlines() if line.startswith(tag)]


def test_three_hosts_a_cut_a_heal_a_rolling_restart_and_nothing_left(lab: Scripts, run_fabric: Run) -> None:
    done = lab.run("lab", "up", timeout_s=120)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    net = lab.env["FABRIC_LAB_NET"]
    bases = [f"tcp://{net}.{number}:5570" for number in (1, 2, 3)]
    assert all(base in done.stdout for base in bases)
    assert net in lab.run("lab", "run", "h2", "ip", "address").stdout

    box = Box()
    with Node(bases[0], name="publisher") as publisher, Node(bases[2], name="subscriber") as subscriber:
        ack = subscriber.wait_ack(subscriber.subscribe("a/#", box), 15)
        assert ack.ok and set(ack.covered) == {"p1", "p2", "p3"}
        publisher.publish("a/1", "between hosts")
        box.wait(1)

    events = Box()
    with Node(bases[0], name="watcher") as watcher:
        watcher.on_coverage(events)
        watcher.wait_ack(watcher.subscribe("b", lambda message: None), 15)
        assert lab.run("lab", "cut", "h2").returncode == 0
        events.wait_for(lambda items: bool(items) and "p2" in items[-1].missing, "p2 is missed")
        assert lab.run("lab", "heal", "h2").returncode == 0
        events.wait_for(lambda items: "p2" in items[-1].covered, "p2 is covered again")
    whole = run_fabric("wait", "--proxies", "3", "--connect", bases[0])
    assert whole.returncode == 0, whole.stderr

    rolled = lab.run("rolling-restart", "p2", timeout_s=120)
    assert rolled.returncode == 0, rolled.stderr
    down = lab.run("lab", "down", timeout_s=120)
    assert down.returncode == 0 and not lab.pids() and not left_of(lab.env["FABRIC_LAB"])
    assert {path.name for path in lab.state.iterdir()} == {"log", "plan", "run"}


def test_hosts_are_taken_away_when_nothing_can_come_up_on_them(lab: Scripts) -> None:
    lab.use(": never ready; exit 1")
    done = lab.run("lab", "up", "--hosts", "1")
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 1 and not left_of(lab.env["FABRIC_LAB"])


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to be somebody else")
def test_without_rights_it_says_so_and_makes_nothing(lab: Scripts) -> None:
    folder = tempfile.mkdtemp()  # pytest's own folders are closed to others
    os.chmod(folder, 0o777)
    lab.env["FABRIC_STATE"] = folder
    words = ["setpriv", "--reuid=65534", "--clear-groups", str(SCRIPTS / "lab"), "up"]
    done = subprocess.run(words, env=lab.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "network namespaces need root" in done.stderr and len(done.stderr.splitlines()) == 1
    os.rmdir(folder)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["cut", "h1"], 3, "holds no lab; right would be scripts/lab up first"),
        (["down"], 3, "holds no lab"),
        (["fly"], 2, "'fly' is not known; there are up, cut"),
        (["up", "--hosts", "0"], 2, "--hosts 0: right would be 1 to 200"),
        (["up", "--hosts"], 2, "right would be a number behind it"),
        (["up", "--proxy", "3"], 2, "'--proxy' is not known"),
    ],
)
def test_wrong_words_are_one_line(lab: Scripts, args: list[str], code: int, words: str) -> None:
    done = lab.run("lab", *args)
    assert (done.returncode, done.stdout) == (code, "") and words in done.stderr and done.stderr.count("\n") == 1
