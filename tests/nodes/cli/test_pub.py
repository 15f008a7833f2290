"""`fabric pub` on a real mesh: what it sends, what it refuses, how it ends."""

from __future__ import annotations

import gzip
import json
import os
import pty
import queue
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fabric import Message, Node
from nodes.cli.exits import Exit
from tests.support.processes import FABRIC, ROOT, FabricProcess, ProxyProcess, environment

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Mesh = list[ProxyProcess]


@contextmanager
def hearing(base: str, topic_filter: str) -> Iterator[Callable[[int], list[tuple[str, Any]]]]:
    """A subscriber, acked; yields a function that returns the next so many messages as (topic, payload)."""
    arrived: queue.Queue[Message] = queue.Queue()
    with Node(base) as node:
        assert node.wait_ack(node.subscribe(topic_filter, arrived.put), 5).ok

        def take(count: int) -> list[tuple[str, Any]]:
            return [(message.topic, message.payload) for message in (arrived.get(timeout=10) for _ in range(count))]

        yield take
        assert arrived.empty(), "more came than was asked for"


@pytest.mark.parametrize(
    ("args", "payload"),
    [
        (["21.5"], 21.5),
        (["-5"], -5),
        (["-0.5"], -0.5),
        (["hello"], "hello"),
        (['{"a": [1]}'], {"a": [1]}),
        (['{"$bin": "AAE="}'], b"\x00\x01"),
        (["21.5", "--raw"], b"21.5"),
        (["--", "--raw"], "--raw"),
        ([], None),
    ],
)
def test_one_message(mesh: Mesh, run_fabric: Run, args: list[str], payload: Any) -> None:
    with hearing(mesh[1].base, "one/+") as take:
        done = run_fabric("pub", "--connect", mesh[0].base, "one/a", *args)
        assert (done.returncode, done.stdout, done.stderr) == (Exit.DONE, "", "")
        assert take(1) == [("one/a", payload)]


@pytest.mark.parametrize("option", ["--expires", "--rate", "--connect-timeout"])
def test_a_negative_value_of_an_option_is_no_payload(option: str, run_fabric: Run) -> None:
    done = run_fabric("pub", "a", "-5", option, "-1")
    assert done.returncode == Exit.USAGE and f"Invalid value for '{option}': invalid number '-1'" in done.stderr


def test_standard_input_as_one_payload(mesh: Mesh, run_fabric: Run) -> None:
    with hearing(mesh[1].base, "whole") as take:
        assert run_fabric("pub", "whole", "--raw", "--connect", mesh[0].base, input="two\nlines\n").returncode == 0
        assert take(1) == [("whole", b"two\nlines\n")]


def test_lines_of_json_and_the_bad_ones_among_them(mesh: Mesh, run_fabric: Run) -> None:
    lines = [
        '{"topic": "lines/a", "payload": 1}',
        "nonsense",
        '{"topic": "lines/+", "payload": 2}',
        '{"topic": "$lines/a", "payload": 3}',
        '{"topic": "~/lines", "payload": 4}',
        '{"topic": "lines/b", "payload": 99999999999999999999}',
        '{"topic": "lines/c", "payload": {"$bin": "AA=="}}',
    ]
    with hearing(mesh[1].base, "lines/#") as take:
        done = run_fabric("pub", "--connect", mesh[0].base, input="\n".join(lines))
        assert take(2) == [("lines/a", 1), ("lines/c", b"\x00")]
    assert done.returncode == Exit.NOT_REACHED and done.stdout == ""
    words = done.stderr.splitlines()
    assert [re.search(r"line (\d)", line)[1] for line in words[:-1]] == ["2", "3", "4", "5", "6"]  # type: ignore[index]
    assert "a line looks like" in words[0] and "expected one without ~/" in words[3]
    assert words[-1].startswith("fabric pub: sent 2, skipped 0, refused 5 in ")


def test_only_the_first_bad_lines_are_named(mesh: Mesh, run_fabric: Run) -> None:
    done = run_fabric("pub", "--json", "--connect", mesh[0].base, input="bad\n" * 100)
    assert len(done.stderr.splitlines()) == 12 and "only counted from here" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["sent"], summary["refused"], summary["unconfirmed"]) == (0, 100, 0)


def test_what_sub_prints_pub_reads(mesh: Mesh, fabric: Callable[..., Any], run_fabric: Run) -> None:
    sub = fabric("sub", "copy/#", "--json", "--count", "2", "--connect", mesh[0].base)
    sub.wait_stderr("acknowledged")
    run_fabric("pub", "copy/a", '{"x": {"$bin": "AA=="}}', "--connect", mesh[0].base)
    run_fabric("pub", "copy/b", "text", "--connect", mesh[0].base)
    assert sub.wait() == Exit.DONE
    with hearing(mesh[1].base, "copy/+") as take:
        assert run_fabric("pub", "--connect", mesh[0].base, input="\n".join(sub.stdout)).returncode == Exit.DONE
        assert take(2) == [("copy/a", {"x": b"\x00"}), ("copy/b", "text")]


CSV = "carrier,tail,delay\nUA,N1,2\nAA,NA,5\nB6,,6\nUA,N2,NA\nUA,x/y,7\nUA,N3,-1.5\n"
TEMPLATES = ("--topic", "csv/{carrier}/{tail}/delay", "--payload", "{delay}")
ROWS = [("csv/UA/N1/delay", 2), ("csv/UA/N2/delay", None), ("csv/UA/N3/delay", -1.5)]


@pytest.mark.parametrize("kind", ["file", "gz", "-", "nothing"])
def test_csv(mesh: Mesh, run_fabric: Run, tmp_path: Path, kind: str) -> None:
    file = tmp_path / ("a.csv.gz" if kind == "gz" else "a.csv")
    file.write_bytes(gzip.compress(CSV.encode()) if kind == "gz" else b"\xef\xbb\xbf" + CSV.encode())
    source = {"-": ["-"], "nothing": []}.get(kind, [str(file)])
    with hearing(mesh[1].base, "csv/#") as take:
        done = run_fabric("pub", "--connect", mesh[0].base, "--csv", *source, *TEMPLATES, "--json", input=CSV)
        assert take(3) == ROWS
    assert done.returncode == Exit.NOT_REACHED, "one row was refused"
    assert {key: value for key, value in json.loads(done.stdout).items() if key != "elapsed_s"} == {
        "sent": 3,
        "skipped": 2,
        "refused": 1,
        "denied": 0,
        "unconfirmed": 0,
    }
    assert "line 6: invalid tail 'x/y'" in done.stderr


def test_text_that_is_no_utf8_is_refused_by_the_line(mesh: Mesh, run_fabric: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\nx,\xff\n\xff,1\ny,2\n")
    with hearing(mesh[1].base, "utf/#") as take:
        arguments = ("--csv", str(tmp_path / "a.csv"), "--topic", "utf/{a}", "--payload", "{b}")
        done = run_fabric("pub", "--connect", mesh[0].base, *arguments)
        assert take(1) == [("utf/y", 2)]
    assert done.returncode == Exit.NOT_REACHED and "line 2" in done.stderr and "line 3" in done.stderr


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["--csv", "/nowhere.csv", "--topic", "a"], Exit.MISSING, "cannot read /nowhere.csv: "),
        (["--csv", "pyproject.toml.gz", "--topic", "a"], Exit.MISSING, "cannot read"),
        (["--csv", "-", "--topic", "a/{c}"], Exit.USAGE, "invalid column 'c': expected one of a, b"),
        (["--csv", "-", "--topic", "a/{"], Exit.USAGE, "invalid template"),
        (["~/a", "1"], Exit.USAGE, "expected one without ~/"),
        (["$a", "1"], Exit.USAGE, "belong to the fabric"),
        (["~mine/a", "1"], Exit.USAGE, "invalid scope '~mine'"),
    ],
)
def test_what_cannot_work(mesh: Mesh, run_fabric: Run, args: list[str], code: Exit, words: str) -> None:
    done = run_fabric("pub", "--connect", mesh[0].base, *args, input="a,b\n")
    assert done.returncode == code and done.stdout == "" and words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_gz_file_that_is_none_or_cut_off_is_lacking(mesh: Mesh, run_fabric: Run, tmp_path: Path) -> None:
    whole = gzip.compress(("carrier,tail,delay\n" + "UA,N1,1\n" * 50_000).encode(), compresslevel=0)
    for content in (CSV.encode(), whole[: len(whole) // 2]):
        (tmp_path / "a.csv.gz").write_bytes(content)
        done = run_fabric("pub", "--connect", mesh[0].base, "--csv", str(tmp_path / "a.csv.gz"), *TEMPLATES)
        assert done.returncode == Exit.MISSING and "Traceback" not in done.stderr
        assert f"cannot read {tmp_path}/a.csv.gz: " in done.stderr


def test_at_a_rate(mesh: Mesh, run_fabric: Run) -> None:
    """40 messages at 50 a second: the last one 39 intervals, 0.78 s, after the first."""
    at: list[float] = []
    with Node(mesh[1].base) as node:
        assert node.wait_ack(node.subscribe("rate/+", lambda message: at.append(message.sent_ns / 1e9)), 5).ok
        lines = "\n".join(json.dumps({"topic": "rate/a", "payload": n}) for n in range(40))
        assert run_fabric("pub", "--rate", "50", "--connect", mesh[0].base, input=lines).returncode == Exit.DONE
        deadline = time.monotonic() + 5
        while len(at) < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
    # From the intended times: never early, and late only by what the machine did at that moment.
    assert 0.77 <= at[-1] - at[0] <= 1.5
    assert all(moment - at[0] >= n / 50 - 0.02 for n, moment in enumerate(at))


def test_progress_is_shown_to_a_person_who_watches(mesh: Mesh) -> None:
    master, terminal = pty.openpty()
    lines = "\n".join(json.dumps({"topic": "watched", "payload": n}) for n in range(90)).encode()
    command = [*FABRIC, "pub", "--rate", "50", "--connect", mesh[0].base]
    try:
        subprocess.run(command, input=lines, stderr=terminal, env=environment(), cwd=ROOT, timeout=30, check=True)
        shown = os.read(master, 100_000).decode()
    finally:
        os.close(master)
        os.close(terminal)
    assert re.search(r"\rfabric pub: sent \d+|\rsent \d+", shown), shown
    assert "sent 90, skipped 0, refused 0" in shown.splitlines()[-1]


def test_when_its_only_proxy_dies_it_ends_and_says_after_how_many(
    proxies: Callable[..., Mesh], fabric: Callable[..., Any]
) -> None:
    (proxy,) = proxies(1)
    pub = fabric("pub", "--json", "--connect", proxy.base)
    with Node(proxy.base) as node:
        heard: queue.Queue[Message] = queue.Queue()
        assert node.wait_ack(node.subscribe("a", heard.put), 5).ok
        pub.send('{"topic": "a", "payload": 1}')
        heard.get(timeout=10)
    proxy.kill()
    for _ in range(3):  # the first may still be taken into the queue of a connection that is only just lost
        pub.send('{"topic": "a", "payload": 2}')
    pub.close_stdin()
    assert pub.wait(40) in (Exit.NOBODY, Exit.NOT_REACHED)
    summary = json.loads(pub.stdout[-1])
    assert summary["sent"] >= 1 and "Traceback" not in "\n".join(pub.stderr)
    assert any("messages)" in line or "not known to have arrived" in line for line in pub.stderr), pub.said()


def test_with_strict_json_what_is_not_json_is_refused(mesh: Mesh, run_fabric: Run, tmp_path: Path) -> None:
    for text in ("{bad json", "hello", "NaN"):
        done = run_fabric("pub", "a/b", text, "--strict-json", "--connect", mesh[0].base)
        assert done.returncode == Exit.USAGE and f"fabric pub: invalid payload '{text}': expected JSON" in done.stderr
    rows = tmp_path / "rows.csv"
    rows.write_text("name,value\na,1\nb,x\nc,\n")
    args = ("--csv", str(rows), "--topic", "strict/{name}", "--payload", "{value}", "--strict-json", "--json")
    with hearing(mesh[1].base, "strict/+") as take:
        done = run_fabric("pub", *args, "--connect", mesh[0].base)
        assert take(1) == [("strict/a", 1)]
    assert done.returncode == Exit.NOT_REACHED and json.loads(done.stdout)["refused"] == 2
    assert "line 3: invalid payload 'x': expected JSON" in done.stderr


@pytest.mark.parametrize("args", [("a/b", "--raw", "x"), ("--csv", "x.csv", "--topic", "{a}")])
def test_strict_json_goes_with_what_is_read_as_json(run_fabric: Run, args: tuple[str, ...]) -> None:
    done = run_fabric("pub", *args, "--strict-json")
    assert done.returncode == Exit.USAGE and "--strict-json goes with" in done.stderr


def test_a_stray_quote_takes_no_rows_uncounted(mesh: Mesh, run_fabric: Run) -> None:
    rows = ["name,value", *(f"n{number},{number}" for number in range(5_000))]
    rows[100] = 'n99,"99'
    args = ("--csv", "--topic", "stray/{name}", "--payload", "{value}", "--json")
    done = run_fabric("pub", *args, "--connect", mesh[0].base, input="\n".join(rows))
    found = json.loads(done.stdout)
    assert done.returncode == Exit.NOT_REACHED and found["sent"] + found["refused"] == 5_000 and found["sent"] == 99
    assert "lines 101 to 5,001: not CSV" in done.stderr


def test_lines_are_sent_as_they_come(mesh: Mesh, fabric: Callable[..., FabricProcess]) -> None:
    """Not when there are enough of them."""
    with hearing(mesh[1].base, "live/+") as take:
        pub = fabric("pub", "--connect", mesh[0].base)
        for number in range(3):
            pub.send(json.dumps({"topic": "live/a", "payload": number}))
            assert take(1) == [("live/a", number)]
        pub.send(json.dumps({"topic": "a/+", "payload": 1}))
        pub.wait_stderr("line 4: invalid topic 'a/+'")
        pub.send(json.dumps({"topic": "live/a", "payload": 3}))
        assert take(1) == [("live/a", 3)]
        assert pub.popen.stdin
        pub.popen.stdin.close()
        assert pub.wait() == Exit.NOT_REACHED
    assert "sent 4, skipped 0, refused 1" in pub.stderr[-1]
