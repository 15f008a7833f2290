"""`fabric sub` on a real mesh: what it prints, what it says, how it ends."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from fabric import Node
from fabric.node.coverage import Ack, CoverageEvent
from fabric.node.gaps import Gap
from fabric.node.node import NodeState
from fabric.wire import Message
from nodes.cli import sub
from nodes.cli.exits import Exit
from nodes.cli.sub import Printer
from tests.support.processes import FABRIC, ROOT, FabricProcess, ProxyProcess, environment

Fabric = Callable[..., FabricProcess]
Mesh = list[ProxyProcess]


def subscribed(process: FabricProcess, *filters: str) -> FabricProcess:
    for topic_filter in filters:
        process.wait_stderr(f"{topic_filter} acknowledged in ")
    return process


def publish(base: str, *messages: tuple[str, Any]) -> None:
    with Node(base) as node:
        for topic, payload in messages:
            node.publish(topic, payload)


def test_topic_tab_json_through_two_proxies(mesh: Mesh, fabric: Fabric) -> None:
    sub = subscribed(fabric("sub", "s1/#", "--count", "4", "--connect", mesh[1].base), "s1/#")
    publish(
        mesh[0].base, ("s1/a", 1.5), ("s2/a", 0), ("s1", None), ("s1/é", {"a": [b"\x00", "ü"]}), ("s1/\t\x1b", "\n")
    )
    assert sub.wait() == Exit.DONE
    assert sub.stdout == ["s1/a\t1.5", "s1\tnull", 's1/é\t{"a":[{"$bin":"AA=="},"ü"]}', 's1/\\u0009\\u001b\t"\\n"']


def test_it_says_what_the_ack_covers(mesh: Mesh, fabric: Fabric) -> None:
    sub = fabric("sub", "s3/a", "s3/+", "--connect", mesh[0].base)
    for topic_filter in ("s3/a", "s3/+"):
        assert sub.wait_stderr(f"fabric sub: {topic_filter} acknowledged in ").endswith(" ms by p1, p2")


def test_what_is_retained_comes_first_and_marked(mesh: Mesh, fabric: Fabric) -> None:
    for payload in ("1", '{"n": 2}'):
        assert fabric("pub", "kept/a", payload, "--retain", "--connect", mesh[0].base).wait() == Exit.DONE
    assert fabric("pub", "kept/b", "x", "--retain", "--expires", "3600", "--connect", mesh[0].base).wait() == Exit.DONE
    sub = fabric("sub", "kept/#", "--retained", "--count", "3", "--connect", mesh[1].base)
    subscribed(sub, "kept/#")
    assert fabric("pub", "kept/b", "--retain", "--connect", mesh[0].base).wait() == Exit.DONE
    assert sub.wait() == Exit.DONE
    assert sub.stdout == ['kept/a\t{"n":2}\tretained', 'kept/b\t"x"\tretained', "kept/b\tnull"]
    again = fabric("sub", "kept/#", "--retained", "--json", "--count", "1", "--connect", mesh[1].base)
    assert again.wait() == Exit.DONE
    assert json.loads(again.stdout[0])["headers"] == {"retained": True}


def test_whole_messages_as_json(mesh: Mesh, fabric: Fabric) -> None:
    sub = subscribed(fabric("sub", "s4", "--json", "--count", "2", "--connect", mesh[0].base), "s4")
    before = time.time_ns()
    publish(mesh[0].base, ("s4", "a"), ("s4", "b"))
    sub.wait()
    first, second = [json.loads(line) for line in sub.stdout]
    assert set(first) == {"topic", "payload", "publisher", "number", "sent_ns"}
    assert (first["payload"], first["number"], second["number"]) == ("a", 1, 2)
    assert first["publisher"] == second["publisher"] and int(first["publisher"]) > 0
    assert before <= int(first["sent_ns"]) <= time.time_ns()


def test_a_message_that_matches_several_filters_is_printed_once(mesh: Mesh, fabric: Fabric) -> None:
    sub = fabric("sub", "s5/#", "s5/a", "s5/+", "s5/a", "--count", "3", "--connect", mesh[0].base)
    subscribed(sub, "s5/#", "s5/a", "s5/+")
    publish(mesh[0].base, ("s5/a", 1), ("s5/a", 1), ("s5/b/c", 2))
    assert sub.wait() == Exit.DONE
    assert sub.stdout == ["s5/a\t1", "s5/a\t1", "s5/b/c\t2"]


def test_exactly_as_many_as_asked_for(mesh: Mesh, fabric: Fabric) -> None:
    sub = subscribed(fabric("sub", "s6", "--count", "1000", "--connect", mesh[0].base), "s6")
    publish(mesh[0].base, *(("s6", n) for n in range(3000)))
    assert sub.wait() == Exit.DONE
    assert sub.stdout == [f"s6\t{n}" for n in range(1000)]


@pytest.mark.parametrize(
    ("published", "count", "code"),
    [(0, None, Exit.NOT_REACHED), (1, None, Exit.DONE), (1, "2", Exit.NOT_REACHED)],
)
def test_when_the_time_is_over(mesh: Mesh, fabric: Fabric, published: int, count: str | None, code: Exit) -> None:
    topic = f"s7/{published}/{count}"
    counting = ["--count", count] if count else []
    sub = subscribed(fabric("sub", topic, "--timeout", "1.5", *counting, "--connect", mesh[0].base), topic)
    publish(mesh[0].base, *[(topic, 1)] * published)
    assert sub.wait(6) == code
    assert len(sub.stdout) == published


def test_quiet(mesh: Mesh, run_fabric: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = run_fabric("sub", "s8", "--quiet", "--timeout", "0.5", "--connect", mesh[0].base)
    assert (done.returncode, done.stdout, done.stderr) == (Exit.NOT_REACHED, "", "")


def test_it_ends_when_the_reader_has_gone_though_nothing_comes(mesh: Mesh) -> None:
    command = [*FABRIC, "sub", "s9", "--connect", mesh[0].base]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), cwd=ROOT)
    assert child.stdout and child.stderr
    try:
        assert b"acknowledged" in child.stderr.readline()
        child.stdout.close()
        assert child.wait(5) == Exit.DONE
        assert child.stderr.read() == b""
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


def test_coverage_before_the_first_ack_is_left_to_the_ack(capsys: pytest.CaptureFixture[str]) -> None:
    printer = sub.Printer(as_json=False, quiet=False)
    printer.coverage(CoverageEvent(("p1",), (), (), ("p1",)))
    printer.ack("a/#", Ack(True, ("p1",), (), 0.001))
    printer.coverage(CoverageEvent((), ("p1",), ("p1",), ()))
    printer.flush()
    assert capsys.readouterr().err.splitlines() == [
        "fabric: a/# acknowledged in 1.0 ms by p1",
        "fabric: coverage: lost p1; now none; not covered: p1",
    ]


def test_loss_of_coverage_is_said(proxies: Callable[..., Mesh], fabric: Fabric) -> None:
    first, second = proxies(2)
    sub = subscribed(fabric("sub", "a", "--connect", first.base), "a")
    second.kill()
    assert "now p1" in sub.wait_stderr("coverage: lost p2", 10)


def test_losses_are_said(mesh: Mesh, fabric: Fabric) -> None:
    """A peer that jumps in its numbers, as one whose messages were lost does."""
    import zmq

    from fabric.endpoints import Endpoints
    from fabric.wire import encode

    sub = subscribed(fabric("sub", "s10/a", "--connect", mesh[0].base, "--count", "2"), "s10/a")
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(Endpoints.parse(mesh[0].base).ingress)
        for number in (1, 5):
            push.send(encode("s10/a", 7, number, 1, number))
        assert sub.wait() == Exit.DONE
    assert "fabric sub: lost 3 of s10/a: 2 to 4 of publisher 7, publisher gone" in sub.stderr


@pytest.mark.parametrize(("topic", "wanted"), [("truck/1", True), ("$fabric/proxy/p1", False), ("$fabric", False)])
def test_a_loss_concerns_who_asked_for_the_topic(topic: str, wanted: bool) -> None:
    """Not of what the node itself hears of the mesh."""
    assert sub._is_wanted(topic, ["truck/#", "a"]) == wanted
    assert sub._is_wanted("$fabric/proxy/p1", ["$fabric/#"]) and not sub._is_wanted("$fabric/proxy/p1", ["#"])


def test_words_for_what_a_node_tells() -> None:
    assert sub.ack_words("a/#", Ack(True, ("p1",), ("p2",), 0.00125)) == (
        "a/# acknowledged in 1.2 ms by p1; not covered: p2"
    )
    assert sub.ack_words("a/#", Ack(False, (), ("p1",), 5.0, "no proxy answered")) == (
        "a/# not acknowledged in 5.0 s: no proxy answered; not covered: p1"
    )
    assert sub.coverage_words(CoverageEvent((), ("p2",), ("p2",), ())) == (
        "coverage: lost p2; now none; not covered: p2"
    )
    assert sub.coverage_words(CoverageEvent(("p1", "p2"), (), (), ("p2",))) == "coverage: gained p2; now p1, p2"
    assert sub.gap_words(Gap("t", 9, 2, 4, 3)) == "lost 3 of t: 2 to 4 of publisher 9"
    assert sub.state_words(NodeState("connecting", "tcp://h:1", "silent", 3)) == (
        "connecting tcp://h:1, 3 messages uncertain: silent"
    )


def test_what_stdout_does_not_take_is_counted(monkeypatch: pytest.MonkeyPatch, capfdbinary: Any) -> None:
    monkeypatch.setattr(sub, "MAX_WAITING_MSGS", 3)
    printer = Printer(as_json=False, quiet=False)
    for number in range(5):
        printer.message(Message("a", number, 1, number + 1, 0))
    printer.words("still said")
    printer.flush(most=2)
    assert (printer.printed, printer.stats()["dropped"]) == (2, 2)
    printer.flush()
    out, err = capfdbinary.readouterr()
    assert out == b"a\t0\na\t1\na\t2\n" and b"still said" in err


def test_given_two_proxies_it_moves_to_the_second_and_says_so(proxies: Callable[..., Mesh], fabric: Fabric) -> None:
    first, second = proxies(2)
    sub = subscribed(fabric("sub", "a", "--connect", first.base, "--connect", second.base), "a")
    first.kill()
    sub.wait_stderr(f"connected {second.base}")
    sub.wait_stderr("coverage: gained p2; now p2")
    publish(second.base, ("a", "still here"))
    assert sub.wait_lines(1) == ['a\t"still here"']


def test_a_template_says_what_is_printed_and_a_condition_when_it_ends(mesh: Mesh, fabric: Fabric) -> None:
    sub = fabric("sub", "s9/#", "--output", r"{topic}\t{payload.temp}", "--until", "payload.temp>=90", "--connect",
                 mesh[1].base)  # fmt: skip
    subscribed(sub, "s9/#")
    publish(mesh[0].base, ("s9/a", {"temp": 21.5}), ("s9/b", "x"), ("s9/a", {"temp": 90}), ("s9/a", {"temp": 91}))
    assert sub.wait() == Exit.DONE
    assert sub.stdout == ["s9/a\t21.5", "s9/b\t-", "s9/a\t90"]


def test_a_condition_that_nothing_meets_in_time(mesh: Mesh, fabric: Fabric) -> None:
    sub = fabric("sub", "s10/#", "--until", "payload=stop", "--timeout", "2", "--json", "--connect", mesh[1].base)
    subscribed(sub, "s10/#")
    publish(mesh[0].base, ("s10/a", "go"))
    assert sub.wait() == Exit.NOT_REACHED and len(sub.stdout) == 1


def test_rates_in_place_of_messages(mesh: Mesh, fabric: Fabric) -> None:
    sub = fabric("sub", "s11/#", "--rate", "--json", "--count", "500", "--connect", mesh[1].base)
    subscribed(sub, "s11/#")
    publish(mesh[0].base, *((f"s11/{number % 5}", number) for number in range(500)))
    assert sub.wait() == Exit.DONE
    lines = [json.loads(line) for line in sub.stdout]
    assert sum(each["messages"] for each in lines) == 500 == lines[-1]["total"] and lines[-1]["topics"] == 5


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--output", "{payload:x}"), "invalid template '{payload:x}'"),
        (("--until", "nothing"), "invalid field 'nothing'"),
        (("--output", "{topic}", "--json"), "--output is instead of"),
        (("--output", "{topic}", "--rate"), "--output is instead of"),
    ],
)
def test_templates_and_conditions_that_are_none(
    run_fabric: Callable[..., subprocess.CompletedProcess[str]], args: tuple[str, ...], words: str
) -> None:
    done = run_fabric("sub", "a", *args)
    assert done.returncode == Exit.USAGE and words in done.stderr, done.stderr
