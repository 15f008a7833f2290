"""`fabric topics`: what carries traffic, over two proxies, while nobody subscribes."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from fabric import Node
from nodes.cli.exits import Exit
from tests.support.processes import ProxyProcess

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def publishing(mesh: list[ProxyProcess]) -> Iterator[None]:
    """`truck/1` from both proxies, 100 a second together; `truck/2` is quiet; and 2,500 topics `many/…`."""
    ended = threading.Event()

    def publish(node: Node) -> None:
        while not ended.wait(0.02):
            node.publish("truck/1", 1)

    with Node(mesh[0].base, name="first") as first, Node(mesh[1].base, name="second") as second:
        first.publish("truck/2", 1)
        first.publish("~/local", 1)
        for number in range(2_500):
            second.publish(f"many/{number}", 1)
        threads = [threading.Thread(target=publish, args=(each,)) for each in (first, second)]
        for thread in threads:
            thread.start()
        yield
        ended.set()
        for thread in threads:
            thread.join()


def test_topics_with_traffic(mesh: list[ProxyProcess], publishing: None, run_fabric: Run) -> None:
    done = run_fabric("topics", "--interval", "1", "--connect", mesh[0].base)
    assert done.returncode == Exit.DONE and done.stderr == ""
    head, row = done.stdout.splitlines()
    assert head.split() == ["TOPIC", "MSG/s", "MESSAGES", "PUBLISHERS", "LAST", "PUBLISHER"]
    topic, rate, messages, publishers, last = row.split()
    assert (topic, publishers) == ("truck/1", "2") and last in ("first", "second") and int(messages) > 10
    assert 20 < float(rate) < 110  # 50/s each, and less on a busy machine


def test_all_of_them_page_by_page_as_json(mesh: list[ProxyProcess], publishing: None, run_fabric: Run) -> None:
    done = run_fabric("topics", "--all", "--most", "9999", "--interval", "0.5", "--json", "--connect", mesh[0].base)
    found = {each["topic"]: each for each in map(json.loads, done.stdout.splitlines())}
    assert set(found) == {"truck/1", "truck/2", *(f"many/{number}" for number in range(2_500))}
    assert found["truck/2"]["rate"] == 0.0 and found["truck/2"]["last_publisher"] == "first"
    assert found["many/2499"] == {
        "topic": "many/2499", "rate": 0.0, "messages": 1, "publishers": 1, "last_publisher": "second", "proxy": "p2"
    }  # fmt: skip
    assert done.stderr == ""


def test_what_is_left_out_is_said(mesh: list[ProxyProcess], publishing: None, run_fabric: Run) -> None:
    args = ("topics", "many/#", "--all", "--most", "10", "--per-node", "1000", "--interval", "0.3")
    done = run_fabric(*args, "--connect", mesh[0].base)
    assert len(done.stdout.splitlines()) == 11
    assert "10 of 1,000 topics are shown: --most shows more" in done.stderr
    assert "1 nodes have more topics than were asked for" in done.stderr


def test_without_traffic_it_ends_with_1(mesh: list[ProxyProcess], publishing: None, run_fabric: Run) -> None:
    done = run_fabric("topics", "many/+", "--interval", "0.3", "--connect", mesh[0].base)
    assert (done.returncode, done.stdout) == (Exit.NOT_REACHED, "")
    assert done.stderr == "fabric topics: no topic that many/+ matches carries traffic\n"


@pytest.mark.parametrize("given", ["a/#/b", "~/a", "$fabric/#", "~pagesession/a/b/c"])
def test_wrong_usage(run_fabric: Run, given: str) -> None:
    done = run_fabric("topics", given)
    assert done.returncode == Exit.USAGE and "invalid filter" in done.stderr, done.stderr
