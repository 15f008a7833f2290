"""`fabric ping`, on real processes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable

from nodes.cli.exits import Exit
from tests.support.processes import FabricProcess, ProxyProcess, free_base

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Proxies = Callable[..., list[ProxyProcess]]


def test_a_row_for_each_proxy(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    done = run_fabric("ping", "--count", "3", "--interval", "0.01", "--connect", mesh[0].base)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    assert lines[0].split("  ")[0] == "PROXY" and lines[0].endswith("MAX ms")
    assert [re.match(r"(p\d) +3 +0( +[\d.]+){3}$", line)[1] for line in lines[1:]] == ["p1", "p2"]  # type: ignore[index]


def test_one_that_does_not_answer_is_1(proxies: Proxies, run_fabric: Run) -> None:
    first, second = proxies(2)
    second.kill()
    first.wait_stderr("peer dead p2")
    words = ["ping", "--json", "--count", "2", "--timeout", "0.5", "--connect", first.base]
    done = run_fabric(*words)
    here, gone = map(json.loads, done.stdout.splitlines())
    assert done.returncode == Exit.NOT_REACHED and done.stderr == "fabric ping: no answer from p2\n"
    assert (here["proxy"], here["sent"], here["lost"]) == ("p1", 2, 0) and 0 < here["min_s"] <= here["max_s"]
    assert gone == {"proxy": "p2", "sent": 2, "lost": 2, "min_s": None, "p50_s": None, "max_s": None}


def test_interrupted_it_shows_what_there_is(mesh: list[ProxyProcess], fabric: Callable[..., FabricProcess]) -> None:
    answers = fabric("sub", "$inbox/#", "--connect", mesh[1].base)
    answers.wait_stderr("acknowledged")
    pinging = fabric("ping", "--count", "100000", "--interval", "0.01", "--connect", mesh[0].base)
    answers.wait_lines(10)
    pinging.signal(signal.SIGINT)
    assert pinging.wait() == Exit.INTERRUPTED
    assert pinging.stdout[0].startswith("PROXY") and len(pinging.stdout) == 3


def test_nobody_there(run_fabric: Run) -> None:
    done = run_fabric("ping", "--connect-timeout", "0.3", "--connect", free_base())
    assert done.returncode == Exit.NOBODY and "no proxy answered" in done.stderr
