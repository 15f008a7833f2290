"""Keepers, frame nodes, gateways and hosts of pages of a plan."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.deployment.description import Host
from nodes.deployment.process import Placed
from nodes.deployment.proxies import proxies_of
from nodes.deployment.services import SECRET, frames_of, gateways_of, keepers_of, pages_of

HOSTS = [Host(name, ("ssh", name), f"10.0.0.{at}", "fabric", "/s") for at, name in enumerate("ab", 1)]
PROXIES = [process for process, _ in proxies_of({"proxies": 2}, HOSTS)]


def words(placed: list[Placed]) -> list[str]:
    return [" ".join(process.command) for process, _ in placed]


def test_keepers_have_a_store_each_and_are_asked_by_their_name_or_another() -> None:
    tables: list[dict[str, Any]] = [{"filters": ["a/#", "b"]}, {"filters": ["c"], "keeper": "k", "store_file": "/f"}]
    found = keepers_of({"keepers": tables}, HOSTS, PROXIES)
    assert words(found) == [
        "fabric keep --store sqlite:////s/keeper-1.db --name keeper-1 a/# b",
        "fabric keep --store-file /f --name k c",
    ]
    assert found[1][0].members[:2] == ("--connect", "tcp://10.0.0.2:5570") and found[1][0].host.name == "b"
    (only,) = keepers_of({"keepers": tables[:1]}, HOSTS, PROXIES)
    assert only[0].name == "keeper", "which programs ask when they name none"


@pytest.mark.parametrize("filters", [None, [], ["--retained"]])
def test_a_keeper_says_what_it_keeps(filters: list[str] | None) -> None:
    table = {} if filters is None else {"filters": filters}
    with pytest.raises(ValueError, match=r"keepers\[1\]: invalid filters"):
        keepers_of({"keepers": [table]}, HOSTS, PROXIES)


def test_frame_nodes_with_a_store_in_a_file_stay_together() -> None:
    assert [each.host.name for each, _ in frames_of({"frames": 2}, HOSTS, PROXIES)] == ["a", "a"]
    shared = {"frames": 2, "store": "postgresql://u@h/d"}
    assert [each.host.name for each, _ in frames_of(shared, HOSTS, PROXIES)] == ["a", "b"]


def test_gateways_have_a_port_each_on_a_host_and_one_secret() -> None:
    found = gateways_of({"gateways": 3, "allow_origins": ["http://x", "http://y"], "agents": "/a"}, HOSTS, PROXIES)
    assert [(each.host.name, each.base) for each, _ in found] == [
        ("a", "http://127.0.0.1:8080"), ("b", "http://127.0.0.1:8080"), ("a", "http://127.0.0.1:8081"),
    ]  # fmt: skip
    assert {each.secret for each, _ in found} == {SECRET}
    assert words(found)[2] == (
        f"fabric gateway --listen http://127.0.0.1:8081 --name g3 --secret-file /s/keys/{SECRET} --ended /s/g3.ended "
        "--agents /a --allow-origin http://x --allow-origin http://y"
    )


def test_what_a_gateway_says_itself_counts_more() -> None:
    table = {"listen": "http://10.0.0.1:80", "secret_file": "/mine", "allow_origins": ["http://z"]}
    both = {"gateways": [table, {}], "allow_origins": ["http://x"], "gateway_listen": "http://0.0.0.0:9000"}
    (own, _), (other, _) = gateways_of(both, HOSTS[:1], PROXIES)
    assert own.secret == "" and "/mine" in own.command and own.command[-1] == "http://z"
    assert own.base == "http://10.0.0.1:80" and other.base == "http://0.0.0.0:9000"
    for listen in ("here", "http://h:x", "http://h:65535"):
        with pytest.raises(ValueError, match="invalid gateway_listen"):
            gateways_of({"gateways": 2, "gateway_listen": listen}, HOSTS[:1], PROXIES)


def test_pages_are_dealt_to_the_hosts() -> None:
    assert [(each.name, each.readies) for each, _ in pages_of({"pages": 5}, HOSTS, PROXIES)] == (
        [("pages1", 3), ("pages2", 2)]
    )
