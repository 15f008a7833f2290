"""scripts/lab: three hosts of network namespaces; load across them, a cut, a heal, a rolling restart, nothing left.

Needs root and a kernel that lets it make namespaces, bridges and links; skipped with the reason where it does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import Node
from fabric.identity.keys import load as load_keys
from tests.faults.ledger import TOPICS, Books, Steady
from tests.support.processes import ROOT
from tests.support.stacks import SCRIPTS, Scripts, runs
from tests.support.waiting import Box, until

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Scripts]:
    """Scripts with a lab of a name and a network of their own."""
    scripts = Scripts(tmp_path)
    tag = f"t{os.getpid() % 10**7}"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    scripts.env |= {
        "TMPDIR": str(temporary),
        "FABRIC_LAB": tag,
        "FABRIC_LAB_NET": f"10.{random.randrange(100, 250)}.{random.randrange(250)}",
    }
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


def test_a_session_with_three_hosts(lab: Scripts, run_fabric: Run) -> None:
    """Up, load across them, a cut, a heal, a rolling restart without loss, down, and nothing is left."""
    before = files_of(ROOT)
    done = lab.run("lab", "up", "--frames", "1", "--pages", "3", timeout_s=120)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    net = lab.env["FABRIC_LAB_NET"]
    bases = [f"tcp://{net}.{number}:5570" for number in (1, 2, 3)]
    assert all(base in done.stdout for base in bases)
    assert net in lab.run("lab", "run", "h2", "ip", "address").stdout

    events = Box()
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(Node(bases[at:] + bases[:at], name=f"n{at}")) for at in range(3)]
        nodes[0].on_coverage(events)
        heard = Box()
        nodes[0].wait_ack(nodes[0].subscribe("load/#", heard), 15)
        with across(lab, bases) as told:
            heard.wait(3_000, 30)  # the measured span has begun
            assert lab.run("lab", "cut", "h2").returncode == 0
            events.wait_for(lambda items: bool(items) and "p2" in items[-1].missing, "p2 is missed")
            assert lab.run("lab", "heal", "h2").returncode == 0
            events.wait_for(lambda items: "p2" in items[-1].covered, "p2 is covered again")
            whole = run_fabric("wait", "--proxies", "3", "--connect", bases[0])
            assert whole.returncode == 0, whole.stderr
        result = told[-1]["result"]
        assert told[-1]["balances"] and result["lost"] + result["repaired"] > 0, "who was cut off got it, or was told"

        with load(nodes, "rolling") as settled:
            rolled = lab.run("rolling-restart", timeout_s=120)
            assert rolled.returncode == 0, rolled.stderr
        assert not any(books.total_lost for books in settled), "nothing was lost while each proxy was restarted"

    pids = lab.pids()
    assert pids.keys() == {"p1", "p2", "p3", "f1", "pages1", "pages2", "pages3"}
    down = lab.run("lab", "down", timeout_s=120)
    assert down.returncode == 0 and not lab.pids() and not left_of(lab.env["FABRIC_LAB"])
    assert not any(runs(pid) for pid in pids.values())
    assert {path.name for path in lab.state.iterdir()} == {"log", "run", "frame.db"}
    assert not list(Path(lab.env["TMPDIR"]).iterdir()) and files_of(ROOT) == before


@contextlib.contextmanager
def across(lab: Scripts, bases: list[str]) -> Iterator[list[dict[str, Any]]]:
    """`fabric load` on h1, over all proxies; at the end what it says is put into the list."""
    words = [word for base in bases for word in ("--connect", base)]
    words += [
        "--publishers",
        "3",
        "--subscribers",
        "3",
        "--topics",
        "30",
        "--rate",
        "600",
        "--duration",
        "12",
        "--max-loss",
        "1",
        "--json",
    ]
    running = lab.start("lab", "run", "h1", lab.fabric, "load", *words)
    told: list[dict[str, Any]] = []
    try:
        yield told
        told.append(json.loads(running.communicate(timeout=60)[0]))
        assert running.returncode == 0, told
    finally:
        running.terminate()
        running.wait()


@contextlib.contextmanager
def load(nodes: list[Node], root: str) -> Iterator[list[Books]]:
    """Every node publishes, and hears everybody; at the end books are settled, and put into the list."""
    settled: list[Books] = []
    names = [f"{root}/{node.name}" for node in nodes]
    books = [(name, Books(node, f"{name}/#")) for node in nodes for name in names]
    with contextlib.ExitStack() as stack:
        work = {
            name: stack.enter_context(Steady(node, rate=100, root=name))
            for name, node in zip(names, nodes, strict=True)
        }
        for _, each in books:
            until(lambda each=each: len(each.delivered) == TOPICS, "every topic was seen")  # type: ignore[misc]
        yield settled
    for name, each in books:
        each.settle(work[name].accepted, 30)
        settled.append(each)


@contextlib.contextmanager
def overheard(link: str) -> Iterator[list[bytes]]:
    """Yield all frames that pass a link, in both directions; they are there when the block has ended."""
    frames: list[bytes] = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)) as tap:  # every protocol
        tap.bind((link, 0))
        tap.settimeout(0.2)
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    frames.append(tap.recv(65_535))

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield frames
        finally:
            ended.set()
            thread.join()


def test_with_keys_nothing_on_the_wire_can_be_read_and_strangers_get_nothing(lab: Scripts, run_fabric: Run) -> None:
    keys = lab.folder / "keys"
    lab.env["FABRIC_KEYS"] = str(keys)
    done = lab.run("lab", "up", "--hosts", "2", timeout_s=180)
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    tag, net = lab.env["FABRIC_LAB"], lab.env["FABRIC_LAB_NET"]
    bases = [f"tcp://{net}.{number}:5570" for number in (1, 2)]
    assert run_fabric("keys", "add", "me", "--keys", str(keys)).returncode == 0
    assert lab.run("up").returncode == 0, "the new rules are taken to the hosts"
    assert run_fabric("status", "--connect", bases[0], "--connect-timeout", "2").returncode == 4
    heard = Box()
    with (
        overheard(f"{tag}h1") as frames,
        Node(bases[0], keys=load_keys(keys, "me")) as one,
        Node(bases[1], keys=load_keys(keys, "me")) as other,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain,
    ):
        other.wait_ack(other.subscribe("quite/readable/#", heard), 15)
        one.publish("quite/readable/topic", {"says": "readable payload"})
        heard.wait(1, 15)
        plain.sendto(b"said plainly", (f"{net}.1", 9))
    wire = b"".join(frames)
    assert len(wire) > 1_000 and b"said plainly" in wire, "the tap works"
    for words in (b"quite/readable", b"readable payload", b"$fabric/proxy", b"$ack/"):
        assert words not in wire
    assert lab.run("lab", "down", timeout_s=120).returncode == 0


def files_of(folder: Path) -> set[Path]:
    """Every file there, but for what Python and tools keep, and what tests beside this one build."""
    kept = {".git", ".venv", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", "__pycache__"}
    kept |= {"node_modules", "dist", "screenshots", "var"}
    return {path for path in folder.rglob("*") if not kept & set(path.relative_to(folder).parts)}


def test_after_a_lab_the_same_folder_starts_anything_else(lab: Scripts) -> None:
    """Also when its hosts went away by themselves, as with a restart of the machine."""
    for goes_away in (False, True):
        done = lab.run("lab", "up", "--hosts", "2", timeout_s=120)
        if done.returncode == 3:
            pytest.skip(done.stderr.strip())
        assert done.returncode == 0, done.stderr
        if goes_away:
            for pid in lab.pids().values():
                os.kill(pid, signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", f"{lab.env['FABRIC_LAB']}-h2"], check=True)
        down = lab.run("lab", "down", timeout_s=120)
        assert down.returncode == 0 and ("forgot p2, on h2" in down.stderr) == goes_away, down.stderr
        other = lab.run("up", "--proxies", "1", "--listen", lab.base, timeout_s=120)
        assert other.returncode == 0, other.stderr
        assert lab.run("down").returncode == 0


def test_hosts_are_taken_away_when_nothing_can_come_up_on_them(lab: Scripts) -> None:
    lab.use(": never ready; exit 1")
    done = lab.run("lab", "up", "--hosts", "1")
    if done.returncode == 3:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 1 and not left_of(lab.env["FABRIC_LAB"])


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, to be somebody else")
def test_without_rights_it_says_so_and_makes_nothing(lab: Scripts) -> None:
    folder = tempfile.mkdtemp()  # pytest's own folders are closed to others
    os.chown(folder, 65534, 65534)
    lab.env["FABRIC_STATE"] = folder
    words = ["setpriv", "--reuid=65534", "--clear-groups", str(SCRIPTS / "lab"), "up"]
    done = subprocess.run(words, env=lab.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "network namespaces need root" in done.stderr and len(done.stderr.splitlines()) == 1
    os.rmdir(folder)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["cut", "h1"], 3, "holds no lab: expected scripts/lab up first"),
        (["down"], 3, "holds no lab"),
        (["fly"], 2, "'fly' is not known: expected up, cut"),
        (["up", "--hosts", "0"], 2, "--hosts 0: expected 1 to 200"),
        (["up", "--hosts"], 2, "expected a number"),
        (["up", "--proxy", "3"], 2, "'--proxy' is not known"),
    ],
)
def test_wrong_words_are_one_line(lab: Scripts, args: list[str], code: int, words: str) -> None:
    done = lab.run("lab", *args)
    assert (done.returncode, done.stdout) == (code, "") and words in done.stderr and done.stderr.count("\n") == 1
