"""Ten thousand messages are recorded, played, and recorded again: the same topics, payloads, order and times."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from fabric import Message, Node
from nodes.cli.exits import Exit
from nodes.recording.files import read
from nodes.recording.lines import End, Entry, Head, Item
from nodes.recording.timing import Intended
from tests.support.processes import FabricProcess, ProxyProcess

COUNT = 10_000
TOPICS = 7
SPEED = 2.0
MS = 1_000_000
CLOCKS_NS = 50 * MS
"""The wall clock, by which messages are stamped, may be adjusted; the steady one, by which they are due, is not."""

Fabric = Callable[..., FabricProcess]
Mesh = list[ProxyProcess]


def publish(base: str, topic: str) -> None:
    """Two publishers in turn, in bursts of a few, over about two seconds."""
    with Node(base) as one, Node(base) as other:
        for k in range(COUNT):
            (one if k % 3 else other).publish(f"{topic}/{k % TOPICS}", {"k": k, "bytes": k.to_bytes(4, "big")})
            if k % 50 == 0:
                time.sleep(0.01)


def recording(fabric: Fabric, base: str, topic: str, path: Path, *more: str) -> FabricProcess:
    words = ("record", f"{topic}/#", "--count", str(COUNT), "--json", "--output", str(path), *more, "--connect", base)
    process = fabric(*words)
    process.wait_stderr("acknowledged")
    return process


def items(path: Path) -> list[Item]:
    with open(path, "rb") as file:
        return list(read(file))


def entries(path: Path) -> list[Entry]:
    head, *found, end = items(path)
    assert isinstance(head, Head) and end == End(COUNT, 0)
    assert all(isinstance(each, Entry) for each in found)
    return [each for each in found if isinstance(each, Entry)]


def by_topic(found: list[Entry], prefix: str = "") -> dict[str, list[object]]:
    topics = defaultdict(list)
    for each in found:
        topics[each.message.topic.removeprefix(prefix)].append(each.message.payload)
    return topics


@pytest.mark.parametrize("more", [(), ("--mcap",)], ids=["json", "mcap"])
def test_record_play_record(mesh: Mesh, fabric: Fabric, tmp_path: Path, more: tuple[str, ...]) -> None:
    topic = f"e2e/recorded{len(more)}"
    first, again = tmp_path / "first", tmp_path / "again"
    recorder = recording(fabric, mesh[0].base, topic, first, *more)
    publish(mesh[1].base, topic)
    assert recorder.wait(120) == Exit.DONE

    recorder = recording(fabric, mesh[1].base, f"copy/{topic}", again, *more)
    words = ("play", str(first), "--prefix", "copy", "--speed", str(SPEED), "--json", "--connect", mesh[0].base)
    player = fabric(*words)
    assert player.wait(120) == Exit.DONE and recorder.wait(120) == Exit.DONE
    told = json.loads(player.stdout[-1])
    assert (told["sent"], told["refused"], told["unconfirmed"], told["complete"]) == (COUNT, 0, 0, True)

    before, after = entries(first), entries(again)
    assert by_topic(after, "copy/") == by_topic(before)
    # One publisher sends it all, so the order of the whole file is kept, over all topics.
    assert [each.message.payload["k"] for each in after] == [each.message.payload["k"] for each in before]

    # Every message left when it was due or later, and no later than the player says: so do the differences.
    times = Intended()
    due = [times.time_ns(each) for each in before]
    off = [
        each.message.sent_ns - after[0].message.sent_ns - (due_ns - due[0]) / SPEED
        for each, due_ns in zip(after, due, strict=True)
    ]
    most_ns = told["worst_late_ms"] * MS + CLOCKS_NS
    assert -most_ns <= min(off) and max(off) <= most_ns
    assert (due[-1] - due[0]) / SPEED <= told["elapsed_s"] * 1e9 + CLOCKS_NS


def test_a_recorder_that_is_killed_leaves_what_it_wrote(mesh: Mesh, fabric: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    recorder = fabric("record", "e2e/killed/#", "--output", str(path), "--connect", mesh[0].base)
    recorder.wait_stderr("acknowledged")
    with Node(mesh[1].base) as node:
        for k in range(1000):
            node.publish("e2e/killed/a", k)
    while path.stat().st_size < 50_000:
        time.sleep(0.005)
    recorder.kill()
    with open(path, "rb+") as file:
        file.truncate(file.read(40_000).rindex(b"\n") - 10)  # within a line, as when the disk was full
    player = fabric("play", str(path), "--speed", "max", "--prefix", "copy", "--json", "--connect", mesh[0].base)
    assert player.wait() == Exit.DONE
    told = json.loads(player.stdout[-1])
    head, *found, cut_off = items(path)
    assert told["cut_off"] and not told["complete"] and told["sent"] == len(found) > 100
    assert [each.message for each in found if isinstance(each, Entry)] == [
        Message("e2e/killed/a", k, each.message.publisher, k + 1, each.message.sent_ns)
        for k, each in enumerate(found)
        if isinstance(each, Entry)
    ]
    assert any("is cut off" in line for line in player.stderr) and isinstance(head, Head)
    assert cut_off not in found
