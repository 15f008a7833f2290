"""`fabric history` and `fabric sub --since` on a real mesh."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fabric import Node
from fabric.protocol.histories import Hole, Kept, pack
from nodes.cli.exits import Exit
from nodes.keep.keeper import Keeper
from nodes.keep.store import KeepStore
from tests.support.processes import FabricProcess, ProxyProcess
from tests.support.waiting import PATIENCE_S

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Fabric = Callable[..., FabricProcess]
Mesh = list[ProxyProcess]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeepStore]:
    """What the keeper `h1` keeps on h1/#; a test may write to it as well."""
    store = KeepStore(f"sqlite:///{tmp_path}/keep.db")
    yield store
    store.close()


@pytest.fixture
def publisher(mesh: Mesh, store: KeepStore) -> Iterator[Node]:
    with Node(mesh[0].base) as node:
        keeper = Keeper(node, store, ["h1/#"], name="h1")
        assert keeper.wait_ready(PATIENCE_S)
        yield node
        keeper.close()


@pytest.fixture
def history(run_fabric: Run, mesh: Mesh, publisher: Node) -> Run:
    """history(*args): `fabric history --keeper h1 ARGS…` at the second proxy."""
    return lambda *args: run_fabric("history", "--keeper", "h1", "--connect", mesh[1].base, *args)


def test_topic_tab_json_oldest_first(history: Run, publisher: Node) -> None:
    for number in range(1200):
        publisher.publish(f"h1/{number % 2}", {"n": number})
    done = history("h1/#")
    assert done.returncode == Exit.DONE and done.stderr == ""
    assert done.stdout.splitlines() == [f'h1/{number % 2}\t{{"n":{number}}}' for number in range(1200)]
    assert history("--since", "2", "h1/#").stdout.splitlines() == [
        f'h1/{n % 2}\t{{"n":{n}}}' for n in range(1196, 1200)
    ]
    assert history("--since", "1h", "--limit", "1", "h1/1").stdout == 'h1/1\t{"n":1}\n'


def test_whole_messages_as_json(history: Run, publisher: Node) -> None:
    publisher.publish("h1/a", b"\x00", {"h": 1})
    (line,) = history("--json", "h1/+").stdout.splitlines()
    found = json.loads(line)
    assert (found["topic"], found["payload"], found["number"]) == ("h1/a", {"$bin": "AA=="}, 1)
    assert found["publisher"] == str(publisher.publisher) and found["headers"] == {"h": 1}


def test_what_the_keeper_never_got_is_told(history: Run, store: KeepStore) -> None:
    messages = [Kept("h1/a", 9, number, 0, pack(number), None) for number in (3, 8)]
    store.write(messages, [Hole("h1/a", 9, 4, 7, "too old")], 1)
    done = history("h1/a")
    assert done.stdout == "h1/a\t3\nh1/a\t8\n"
    assert done.stderr == "fabric history: lost 4 to 7 of h1/a from publisher 9 (too old)\n"


def test_nothing_found_ends_with_1(history: Run) -> None:
    done = history("h1/none")
    assert (done.returncode, done.stdout, done.stderr) == (Exit.NOT_REACHED, "", "")


def test_no_keeper_ends_with_4(run_fabric: Run, mesh: Mesh) -> None:
    done = run_fabric("history", "--keeper", "nobody", "--connect", mesh[0].base, "a/#")
    assert done.returncode == Exit.NOBODY and "no keeper 'nobody' answers" in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["a/#/b"], "invalid filter"), (["--since", "soon", "a"], "invalid since 'soon'"),
        (["--limit", "0", "a"], "--limit"), (["--keeper", "a/b", "a"], "invalid --keeper 'a/b'"),
    ],
)  # fmt: skip
def test_wrong_usage(run_fabric: Run, args: list[str], words: str) -> None:
    done = run_fabric("history", *args)
    assert done.returncode == Exit.USAGE and words in done.stderr


def test_sub_begins_with_the_history(fabric: Fabric, mesh: Mesh, publisher: Node) -> None:
    for number in range(5):
        publisher.publish("h1/a", number)
    args = ("--since", "1h", "--keeper", "h1", "--count", "7", "--connect", mesh[1].base)
    process = fabric("sub", "h1/#", "h1/a", *args)
    for topic_filter in ("h1/#", "h1/a"):
        process.wait_stderr(f"{topic_filter} acknowledged in ")
    publisher.publish("h1/a", 5)
    publisher.publish("h1/a", 6)
    assert process.wait() == Exit.DONE
    assert process.stdout == [f"h1/a\t{number}" for number in range(7)], "once, though two filters match"


def test_several_filters_are_one_history_with_each_message_once(history: Run, publisher: Node) -> None:
    for number in range(600):
        publisher.publish(f"h1/{number % 3}", number)
    done = history("h1/0", "h1/#", "h1/+", "h1/0")
    lines = [f"h1/{number % 3}\t{number}" for number in range(600)]
    assert (done.returncode, done.stderr, done.stdout.splitlines()) == (Exit.DONE, "", lines)
    assert (
        history("--limit", "5", "h1/2", "h1/1").stdout.splitlines()
        == [line for line in lines if not line.startswith("h1/0")][:5]
    )
    assert history("--since", "1", "h1/2", "h1/+").stdout.splitlines() == lines[-3:]


def test_a_hole_is_told_once_though_several_filters_match_it(history: Run, store: KeepStore) -> None:
    store.write([Kept("h1/a", 9, 8, 0, pack(8), None)], [Hole("h1/a", 9, 4, 7, "too old")], 1)
    done = history("h1/b", "h1/a", "h1/#")
    assert done.stderr == "fabric history: lost 4 to 7 of h1/a from publisher 9 (too old)\n"


def test_that_the_keeper_keeps_other_filters_is_said(history: Run, run_fabric: Run, mesh: Mesh) -> None:
    words = "keeper 'h1' keeps other filters: h1/#"
    done = history("h2/#")
    assert (done.returncode, done.stdout, done.stderr) == (Exit.NOT_REACHED, "", f"fabric history: {words}\n")
    done = run_fabric("sub", "--since", "1h", "--keeper", "h1", "--connect", mesh[1].base, "--timeout", "3", "h2/#")
    assert done.returncode == Exit.NOT_REACHED and f"no history: {words}\n" in done.stderr


def test_sub_says_that_no_keeper_has_answered_when_it_ends(run_fabric: Run, mesh: Mesh) -> None:
    args = ("--since", "1h", "--keeper", "nobody", "--connect", mesh[1].base, "--timeout", "1")
    done = run_fabric("sub", *args, "h3/a", "h3/b")
    assert done.returncode == Exit.NOT_REACHED
    for topic_filter in ("h3/a", "h3/b"):
        assert f"fabric sub: no history of {topic_filter}: no keeper 'nobody' has answered yet\n" in done.stderr
