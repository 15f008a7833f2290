"""`fabric why`, on real processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodes.cli.exits import Exit
from tests.support.processes import FabricProcess, ProxyProcess
from tests.support.waiting import mesh, stop_all

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mesh of two: at the first one who wants all of a truck, at the second one who wants another's."""
    folder: Path = tmp_path_factory.mktemp("mesh")
    subscribers: list[FabricProcess] = []
    with mesh(folder, 2) as proxies:
        for proxy, topic_filter in zip(proxies, ("truck/1/#", "truck/+/temperature"), strict=True):
            subscribers.append(FabricProcess(["sub", topic_filter, "--connect", proxy.base], folder))
            subscribers[-1].wait_stderr("acknowledged")
        wait_for_nodes(proxies)
        yield proxies[0].base
        assert all(not each.stdout for each in subscribers), "a trace is for no program to see"
        stop_all(subscribers)


def wait_for_nodes(proxies: list[ProxyProcess]) -> None:
    """Until each has announced its node, so that `why` knows for how many answers to wait."""
    for proxy in proxies:
        listener = FabricProcess(["sub", f"$fabric/proxy/{proxy.name}", "--connect", proxy.base], proxy.log_dir)
        listener.wait_stdout(lambda line: '"nodes":2' in line)
        listener.stop()


def test_who_gets_it_and_who_does_not(base: str, run_fabric: Run) -> None:
    done = run_fabric("why", "truck/1/door", "--timeout", "20", "--connect", base)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    assert lines[0].split() == ["PROXY", "NODES", "ANSWERED", "WANT", "IT", "GOT", "IT"]
    assert lines[1].split()[-3:] == ["1", "1", "1"] and lines[2].split()[-3:] == ["1", "0", "0"]
    assert lines[5].endswith("matches: '#' takes 'door'")
    assert lines[6].endswith("no match: level 3 is 'door', the filter wants 'temperature'")


def test_as_json_to_all(base: str, run_fabric: Run) -> None:
    done = run_fabric("why", "truck/1/temperature", "--json", "--timeout", "20", "--connect", base)
    found = json.loads(done.stdout)
    assert done.returncode == Exit.DONE and found["topic"] == "truck/1/temperature"
    assert {each["filters"][0]["filter"] for each in found["nodes"]} == {"truck/1/#", "truck/+/temperature"}
    assert all(each["got_s"] > 0 for each in found["nodes"])


def test_to_nobody_is_1(base: str, run_fabric: Run) -> None:
    done = run_fabric("why", "car/1", "--connect", base)
    assert done.returncode == Exit.NOT_REACHED and "the filter wants 'truck'" in done.stdout


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("~/x", "never leaves the page"),
        ("a/+", "wildcards are for filters"),
        ("~other/x", "invalid scope"),
        ("", "expected at least one character"),
    ],
)
def test_what_cannot_be_published_is_wrong_usage(run_fabric: Run, topic: str, words: str) -> None:
    done = run_fabric("why", topic)
    assert done.returncode == Exit.USAGE and words in done.stderr and done.stdout == ""
