"""`fabric wait`: wait until the mesh is ready, and until those are there whom a script is about to need."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Protocol

import click

from fabric.errors import expected
from fabric.node.census import Census
from fabric.node.node import Node
from fabric.payloads import dumps
from fabric.protocol import markers
from fabric.services.presence import Watcher
from fabric.topics import valid_name, validate_filter
from fabric.wire import Message
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.options import Connect, PositiveNumber, connect_option, open_node
from nodes.observe.mesh_view import MeshView

LOOK_S = 0.1
"""How long one condition is waited for before the others are looked at."""


class Condition(Protocol):
    """Something that is waited for."""

    def look(self, timeout_s: float) -> None:
        """Learn more, for at most so long."""

    def problem(self) -> str:
        """Return why it is not there; "" once it is."""

    def as_json(self) -> dict[str, Any]:
        """Return what was found, as fields of the object that is printed."""


class _Mesh:
    """All proxies are members and linked, and there are `proxies` of them or more."""

    def __init__(self, node: Node, proxies: int | None) -> None:
        self._view, self._proxies = MeshView(), proxies
        node.subscribe(f"{markers.ANNOUNCE}+", lambda message: self._view.hear(message.payload))

    def look(self, timeout_s: float) -> None:
        time.sleep(timeout_s if self.problem() else 0.0)

    def problem(self) -> str:
        return self._view.problem(self._proxies)

    def as_json(self) -> dict[str, Any]:
        return {"proxies": self._view.names}


class _Subscribers:
    def __init__(self, count: int, census: Census, topic_filter: str) -> None:
        self._count, self._census, self._filter = count, census, topic_filter
        self._are_there = False

    def look(self, timeout_s: float) -> None:
        self._are_there = self._are_there or self._census.wait(self._count, timeout_s)

    def problem(self) -> str:
        what = f"{self._census.count} of {self._count} subscribers of {self._filter} are there"
        return "" if self._are_there else what

    def as_json(self) -> dict[str, Any]:
        return {"subscribers": {self._filter: self._census.count}}


class _Service:
    def __init__(self, watcher: Watcher, name: str) -> None:
        watcher.watch(name)
        self._watcher, self._name = watcher, name

    def look(self, timeout_s: float) -> None:
        time.sleep(timeout_s if self.problem() else 0.0)

    def problem(self) -> str:
        return "" if self._instances() else f"no instance of service {self._name} is there"

    def as_json(self) -> dict[str, Any]:
        return {"services": {self._name: self._instances()}}

    def _instances(self) -> int:
        return sum(each.state == "serving" for each in self._watcher.live(self._name))


class _Retained:
    """A value that is kept when it asks, or that is set while it waits."""

    def __init__(self, node: Node, topic_filter: str) -> None:
        self._filter = topic_filter
        self._topics: set[str] = set()
        """That have a value. I/O thread adds and takes."""
        node.subscribe(topic_filter, self._heard, retained=True, as_published=True)

    def look(self, timeout_s: float) -> None:
        time.sleep(timeout_s if self.problem() else 0.0)

    def problem(self) -> str:
        return "" if self._topics else f"no value of {self._filter} is retained"

    def as_json(self) -> dict[str, Any]:
        return {"retained": {self._filter: len(self._topics)}}

    def _heard(self, message: Message) -> None:
        if message.payload is None:
            self._topics.discard(message.topic)
        elif "retain" in message.headers or "retained" in message.headers:
            self._topics.add(message.topic)


@click.command()
@connect_option
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), default=30.0, show_default=True,
              help="How long to wait for all of it.")  # fmt: skip
@click.option("--proxies", metavar="N", type=click.IntRange(1), help="The mesh is ready only with N proxies or more.")
@click.option("--subscribers", metavar="N FILTER", type=(click.IntRange(1), str), multiple=True,
              help="And N nodes subscribe to all that FILTER matches. May be given several times.")  # fmt: skip
@click.option("--service", "services", metavar="NAME", multiple=True,
              help="And an instance of the service NAME takes requests. May be given several times.")  # fmt: skip
@click.option("--retained", metavar="TOPIC", multiple=True,
              help="And a value of TOPIC, which may be a filter, is retained. May be given several times.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was found as one JSON object.")
def wait(
    connect: Connect,
    timeout_s: float,
    proxies: int | None,
    subscribers: tuple[tuple[int, str], ...],
    services: tuple[str, ...],
    retained: tuple[str, ...],
    as_json: bool,
) -> Exit:
    """Wait until the mesh is ready, and until subscribers, services and retained values are there.

    The mesh is ready when all its proxies are members, and linked with each other. Whatever else is asked for has to be
    there, too.

    Subscribers are nodes, counted once each, at whatever proxy: those with a filter that covers FILTER and was
    acknowledged. `load/#` and `#` cover `load/+`; `load/1` does not. With keys, to ask for them takes the role operator
    or observer.

    Ends with 0 when all of it is there, 1 when it is not in time, 4 when no proxy answered, and 5 when the rules of the
    mesh do not allow to ask.

    \b
    Examples:
      fabric wait --timeout 30 --proxies 2 && fabric pub truck/0001/temperature 21.5
      fabric wait --subscribers 4 'load/#' --service clock --retained truck/0001/state
    """
    for _, topic_filter in subscribers:
        validate_filter(topic_filter)
    for topic_filter in retained:
        validate_filter(topic_filter)
    for name in services:
        if not valid_name(name):
            raise click.UsageError(expected("service", name, "1 to 100 characters without / + # and NUL"))
    started = time.monotonic()
    with open_node(connect, timeout_s) as node, contextlib.ExitStack() as stack:
        _refuse_denied(node, services, retained)
        conditions = list(_conditions(node, stack, proxies, subscribers, services, retained))
        problems = _await(conditions, started + timeout_s)
        found = [each.as_json() for each in conditions]
    elapsed_s = time.monotonic() - started
    if as_json:
        click.echo(dumps(_merged({"ready": not problems, "problem": "; ".join(problems)}, found, elapsed_s)))
    names = ", ".join(found[0]["proxies"])
    say(f"not ready in {timeout_s:g} s: {'; '.join(problems)}" if problems else f"ready: {names}")
    return Exit.NOT_REACHED if problems else Exit.DONE


def _refuse_denied(node: Node, services: tuple[str, ...], retained: tuple[str, ...]) -> None:
    """Errors: Fail for what the rules of the mesh would never show this node."""
    whys = [node.why_not("subscribe", f"$fabric/service/{name}/+") for name in services]
    whys += [node.why_not("subscribe", each) for each in retained]
    for why in filter(None, whys):
        raise Fail(why, Exit.DENIED)


def _conditions(
    node: Node,
    stack: contextlib.ExitStack,
    proxies: int | None,
    subscribers: tuple[tuple[int, str], ...],
    services: tuple[str, ...],
    retained: tuple[str, ...],
) -> Iterator[Condition]:
    """Yield all that is waited for, the mesh first."""
    yield _Mesh(node, proxies)
    for count, topic_filter in subscribers:
        yield _Subscribers(count, stack.enter_context(Census(node, topic_filter)), topic_filter)
    if services:
        watcher = Watcher(node)
        stack.callback(watcher.close)
        for name in dict.fromkeys(services):
            yield _Service(watcher, name)
    for topic_filter in dict.fromkeys(retained):
        yield _Retained(node, topic_filter)


def _await(conditions: list[Condition], deadline: float) -> list[str]:
    """Look until all are there, or until `deadline`, monotonic; return what is not."""
    while True:
        for each in conditions:
            each.look(max(0.0, min(LOOK_S / len(conditions), deadline - time.monotonic())))
        problems = [problem for each in conditions if (problem := each.problem())]
        if not problems or time.monotonic() >= deadline:
            return problems


def _merged(first: dict[str, Any], found: list[dict[str, Any]], elapsed_s: float) -> dict[str, Any]:
    """Return one object: fields of the same name are maps, and become one map."""
    merged = dict(first)
    for each in found:
        for name, value in each.items():
            merged[name] = {**merged[name], **value} if name in merged else value
    return {**merged, "elapsed_s": round(elapsed_s, 3)}
