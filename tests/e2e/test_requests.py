"""Request and reply between processes: two instances of a service, killed, stopped and restarted under requests."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabric import Node
from fabric.errors import RequestTimeout
from fabric.services import Client
from tests.support.processes import Process, ProxyProcess
from tests.support.waiting import PATIENCE_S, mesh, stop_all, until

STOP, CONTINUE = 19, 18


class Service(Process):
    """`python -m tests.support.service`; `handled` are the requests that its handler was given."""

    def __init__(self, base: str, log_dir: Path, name: str = "work") -> None:
        super().__init__([sys.executable, "-m", "tests.support.service", base, name], log_dir, name="service")
        self.instance: str = self.wait_event("ready")["instance"]

    def end(self) -> None:
        """Have it end by itself; then all it said has been read."""
        self.close_stdin()
        assert self.wait() == 0

    def handled(self, op: str) -> list[dict[str, object]]:
        events = [json.loads(line) for line in list(self.stdout)]
        return [event for event in events if event.get("op") == op]


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    """Two meshed proxies, for the tests that leave them as they are."""
    with mesh(tmp_path_factory.mktemp("proxies"), 2) as proxies:
        yield proxies


@contextlib.contextmanager
def one_at_each(proxies: list[ProxyProcess], log_dir: Path) -> Iterator[list[Service]]:
    found: list[Service] = []
    try:
        for proxy in proxies:
            found.append(Service(proxy.base, log_dir))
        yield found
    finally:
        for service in found:
            if service.alive:
                service.signal(CONTINUE)
                service.send("go")
        stop_all(found)


@pytest.fixture
def services(proxies: list[ProxyProcess], tmp_path: Path) -> Iterator[list[Service]]:
    """One instance at each proxy."""
    with one_at_each(proxies, tmp_path) as found:
        yield found


@pytest.fixture
def client(proxies: list[ProxyProcess]) -> Iterator[Client]:
    with Node([proxy.base for proxy in proxies], name="client") as node, Client(node) as client:
        yield client


def both_known(client: Client) -> None:
    until(lambda: len(client.instances("work")) == 2, "both instances are known")


def holder(services: list[Service], count: int = 1) -> tuple[Service, Service]:
    """Return (the instance that holds the request, the other)."""
    until(lambda: sum(len(service.handled("hold")) for service in services) == count, "a handler has it")
    first, second = services
    return (first, second) if first.handled("hold") else (second, first)


def test_both_instances_work(client: Client, services: list[Service]) -> None:
    both_known(client)
    futures = [client.submit("work", "who") for _ in range(40)]
    answers = [future.result(PATIENCE_S) for future in futures]
    assert set(answers) == {service.instance for service in services}


def test_an_instance_killed_in_mid_request(client: Client, services: list[Service]) -> None:
    """The other one answers, once; the request keeps its key. It is asked when presence ends, long before a slice."""
    both_known(client)
    future = client.submit("work", "hold", {"order": 7}, deadline_s=8 * PATIENCE_S, key="order-7")
    victim, other = holder(services)
    other.send("go")
    victim.kill()
    assert future.result(PATIENCE_S) == {"order": 7}
    until(lambda: [each.id for each in client.instances("work")] == [other.instance], "the dead one is gone")
    assert client.request("work", "hold", {"order": 7}, deadline_s=PATIENCE_S, key="order-7") == {"order": 7}
    other.end()
    assert [event["key"] for event in other.handled("hold")] == ["order-7"], "done once, also when asked again"


def test_an_instance_that_stands_still_is_passed_over(client: Client, services: list[Service]) -> None:
    """SIGSTOP: connected, announced a moment ago, and silent. A slice of the deadline later the other is asked."""
    both_known(client)
    services[0].signal(STOP)
    began = time.monotonic()
    answers = {client.request("work", "who", deadline_s=2.0) for _ in range(6)}
    assert answers == {services[1].instance}
    assert time.monotonic() - began < 2.0, "it costs one slice at most: then it is suspected"
    services[0].signal(CONTINUE)
    until(
        lambda: services[0].instance in {client.request("work", "who", deadline_s=PATIENCE_S) for _ in range(4)},
        "it is asked again once it is heard of",
    )


def test_a_request_that_waited_while_the_server_stood_still_is_refused(client: Client, services: list[Service]) -> None:
    """Its deadline is over, and the client has told so: it must not be done now."""
    services[1].end()
    until(lambda: [each.id for each in client.instances("work")] == [services[0].instance], "one is left")
    services[0].signal(STOP)
    with pytest.raises(RequestTimeout):
        client.request("work", "echo", "late", deadline_s=0.5)
    time.sleep(1.5)  # the time that passes is what is tested: more than the skew that is allowed between clocks
    services[0].signal(CONTINUE)
    assert client.request("work", "echo", "now", deadline_s=PATIENCE_S) == "now"
    services[0].end()
    assert [event["body"] for event in services[0].handled("echo")] == ["now"]


def test_a_thousand_at_once(client: Client, services: list[Service]) -> None:
    both_known(client)
    began = time.monotonic()
    futures = [client.submit("work", "echo", number, deadline_s=PATIENCE_S) for number in range(1_000)]
    assert [future.result(PATIENCE_S) for future in futures] == list(range(1_000))
    print(f"1,000 requests at once to two instances: {time.monotonic() - began:.3f} s")
    until(lambda: sum(len(service.handled("echo")) for service in services) == 1_000, "each was done once")
    assert min(len(service.handled("echo")) for service in services) > 200, "both had their share"


def test_the_proxy_dies_under_requests(tmp_path: Path) -> None:
    """The client moves to the other proxy, where the other instance is; every request is answered.

    With one slice, silence alone has nobody asked again: what was lost is, as the mesh is reached again.
    """
    with (
        mesh(tmp_path, 2) as proxies,
        one_at_each(proxies, tmp_path) as services,
        Node([proxy.base for proxy in proxies]) as node,
        Client(node, attempts=1) as client,
    ):
        both_known(client)
        futures = []
        for number in range(300):
            futures.append(client.submit("work", "echo", number, deadline_s=2 * PATIENCE_S))
            if number == 150:
                proxies[0].kill()
        assert [future.result(2 * PATIENCE_S) for future in futures] == list(range(300))
        assert client.request("work", "who", deadline_s=PATIENCE_S) == services[1].instance


def test_round_trip(client: Client, services: list[Service]) -> None:
    """Measures, and asserts only what cannot depend on the machine."""
    both_known(client)
    times = []
    for number in range(500):
        began = time.perf_counter()
        assert client.request("work", "echo", number) == number
        times.append((time.perf_counter() - began) * 1_000)
    times.sort()
    print(f"round trip through two meshed proxies: p50 {times[250]:.2f} ms, p99 {times[495]:.2f} ms")
    assert client.stats()["retries"] == 0 and client.stats()["late"] == 0
