"""`fabric keep` as a process: what it takes, what it keeps, how it ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from fabric import Node
from nodes.cli.exits import Exit
from tests.support.processes import FabricProcess, ProxyProcess
from tests.support.waiting import until

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Fabric = Callable[..., FabricProcess]
Mesh = list[ProxyProcess]


@pytest.fixture
def keep(fabric: Fabric, mesh: Mesh, tmp_path: Path) -> Callable[..., FabricProcess]:
    """keep(*args): `fabric keep` on SQLite at the first proxy, ready. Its name is the file's, as the mesh is shared."""

    def start(*args: str) -> FabricProcess:
        process = fabric("keep", "--store", f"sqlite:///{tmp_path}/keep.db", "--connect", mesh[0].base, *args)
        process.wait_event("ready")
        return process

    return start


def kept(node: Node, topic_filter: str, name: str) -> list[object]:
    return [message.payload for message in node.history(topic_filter, keeper=name)]


def test_its_ready_line_means_that_it_keeps_and_can_be_asked(keep: Fabric, mesh: Mesh) -> None:
    process = keep("--name", "q1", "q1/#", "q1b/+")
    ready = json.loads(process.stdout[0])
    assert (ready["event"], ready["name"], ready["filters"]) == ("ready", "q1", ["q1/#", "q1b/+"])
    process.wait_stderr("keeper q1 keeps q1/#, q1b/+")
    with Node(mesh[1].base) as node:
        node.publish("q1/a", 1)
        node.publish("q1b/a", 2)
        assert kept(node, "#", "q1") == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_it_what_it_took_is_there_afterwards(
    keep: Fabric, mesh: Mesh, number: signal.Signals, tmp_path: Path
) -> None:
    name = f"q2-{number.name}"
    process = keep("--name", name, f"{name}/#")
    with Node(mesh[0].base) as node:
        node.publish(f"{name}/a", 0)
        assert until(lambda: kept(node, "#", name), "the first one is there") == [0]
        for each in range(1, 20_000):
            node.publish(f"{name}/a", each)
        process.signal(number)
        assert process.wait() == Exit.DONE and process.stderr[-1] == "fabric keep: draining"
        keep("--name", name, f"{name}/#")
        node.publish(f"{name}/a", 20_000)
        found = until(lambda: [each for each in [kept(node, "#", name)] if each and each[-1] == 20_000], "the last one")
    assert found[0] == list(range(20_001)), "what the first one did not take, the second one asked for"


def test_what_a_keeper_that_was_killed_had_not_written_comes_from_the_publisher(keep: Fabric, mesh: Mesh) -> None:
    process = keep("--name", "q6", "q6/#")
    with Node(mesh[0].base) as node:
        node.publish("q6/a", 0)
        assert until(lambda: kept(node, "#", "q6"), "the first one is there") == [0]
        for each in range(1, 10_000):
            node.publish("q6/a", each)
        process.signal(signal.SIGKILL)
        process.wait()
        for each in range(10_000, 11_000):
            node.publish("q6/a", each)
        keep("--name", "q6", "q6/#")
        node.publish("q6/a", 11_000)
        found = until(lambda: [each for each in [kept(node, "#", "q6")] if each and each[-1] == 11_000], "the last one")
    assert found[0] == list(range(11_001))


def test_what_is_kept_no_longer(keep: Fabric, mesh: Mesh) -> None:
    keep("--name", "q3", "--last", "2", "--for", "1h", "--max-bytes", "10M", "q3/#")
    with Node(mesh[0].base) as node:
        for each in range(10):
            node.publish("q3/a", each)
        until(lambda: kept(node, "q3/#", "q3") == [8, 9], "the others are deleted")


@pytest.mark.parametrize(("option", "values"), [("--retained", "1.0"), ("--no-retained", "0.0")])
def test_it_keeps_retained_values_unless_told_otherwise(keep: Fabric, mesh: Mesh, option: str, values: str) -> None:
    name = f"q7{option}"
    process = keep("--name", name, "--http", "http://127.0.0.1:0", option, f"{name}/#")
    base = process.wait_stderr("status page at ").rpartition(" ")[2]
    with Node(mesh[0].base) as node:
        node.publish(f"{name}/a", 1, retain=True)
        assert kept(node, f"{name}/#", name) == [1]
    with urllib.request.urlopen(f"{base}/metrics") as answer:
        assert f"fabric_keep_values_total {values}" in answer.read().decode()


def test_its_status_page(keep: Fabric, mesh: Mesh) -> None:
    process = keep("--name", "q4", "--http", "http://127.0.0.1:0", "q4/#")
    said = process.wait_stderr("status page at ")
    base = said.rpartition(" ")[2]
    with Node(mesh[0].base) as node:
        node.publish("q4/a", 1)
        assert kept(node, "q4/#", "q4") == [1]
    with urllib.request.urlopen(f"{base}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    values = {re.split("[{ ]", line)[0]: line.rpartition(" ")[2] for line in lines if not line.startswith("#")}
    assert (
        values["fabric_keep_written_total"] == values["fabric_kept_messages"] == values["fabric_keep_store_up"] == "1.0"
    )
    with urllib.request.urlopen(f"{base}/readyz") as answer:
        assert answer.status == 200


def test_shares(keep: Fabric, fabric: Fabric, mesh: Mesh, tmp_path: Path) -> None:
    keep("--name", "q5", "--share", "1/2", "q5/#")
    other = ("keep", "--store", f"sqlite:///{tmp_path}/two.db", "--connect", mesh[1].base)
    fabric(*other, "--name", "q5", "--share", "2/2", "q5/#").wait_event("ready")
    with Node(mesh[0].base) as node:
        for each in range(40):
            node.publish(f"q5/{each}", each)
        assert sorted(kept(node, "q5/#", "q5"), key=str) == sorted(range(40), key=str)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["a/#"], "Missing option '--store': expected it, --store-file FILE or FABRIC_STORE"),
        (["--store", "mysql://h/d", "a"], "--store cannot be used: invalid start of the store URL 'mysql'"),
        (["--store", "sqlite:///x.db"], "Missing argument 'FILTER...'"),
        (["--store", "sqlite:///x.db", "a/#/b"], "invalid filter 'a/#/b'"),
        (["--store", "sqlite:///x.db", "--name", "a/b", "a"], "invalid --name 'a/b'"),
        (["--store", "sqlite:///x.db", "--for", "10", "a"], "invalid time '10': expected a number with s, m, h or d"),
        (["--store", "sqlite:///x.db", "--max-bytes", "0", "a"], "invalid size '0': expected a number of bytes"),
        (["--store", "sqlite:///x.db", "--share", "3/2", "a"], "invalid share '3/2': expected K/N"),
        (["--store", "sqlite:///x.db", "--last", "0", "a"], "--last"),
    ],
)
def test_wrong_usage(run_fabric: Run, args: list[str], words: str) -> None:
    done = run_fabric("keep", *args)
    assert done.returncode == Exit.USAGE and words in done.stderr


def test_a_store_that_cannot_be_opened_is_named(run_fabric: Run, tmp_path: Path) -> None:
    for file in (tmp_path, tmp_path / "none" / "x.db"):
        done = run_fabric("keep", "--store", f"sqlite:///{file}", "a")
        words = f"fabric keep: cannot open the store sqlite:///{file}: OperationalError: unable to open database file\n"
        assert (done.returncode, done.stderr) == (Exit.MISSING, words)


def test_a_local_filter_cannot_be_kept(run_fabric: Run, mesh: Mesh, tmp_path: Path) -> None:
    done = run_fabric("keep", "--store", f"sqlite:///{tmp_path}/x.db", "~/a", "--connect", mesh[0].base)
    assert done.returncode == Exit.USAGE and "is local and never leaves its node" in done.stderr
