"""Where proxies listen, and in which order a node is told of them."""

from __future__ import annotations

from nodes.deployment.description import Host
from nodes.deployment.proxies import bases_for, proxies_of

HERE, THERE = (Host(name, ("ssh", name), f"10.0.0.{at}", "fabric", "/s") for at, name in enumerate("ab", 1))


def test_each_joins_all_others_and_its_table_goes_with_it() -> None:
    tables = [{"name": "x"}, {"listen": "tcp://10.0.0.2:7000"}]
    found = proxies_of({"proxies": tables}, [HERE, THERE])
    assert [(process.name, process.base, process.members) for process, _ in found] == [
        ("x", "tcp://10.0.0.1:5570", ("--join", "tcp://10.0.0.2:7000")),
        ("p2", "tcp://10.0.0.2:7000", ("--join", "tcp://10.0.0.1:5570")),
    ]
    assert [table for _, table in found] == tables


def test_own_host_first_and_each_node_from_another_one_on() -> None:
    proxies = [process for process, _ in proxies_of({"proxies": 4}, [HERE, THERE])]
    assert bases_for(HERE, proxies, 1) == [
        "tcp://10.0.0.1:5570", "tcp://10.0.0.1:5580", "tcp://10.0.0.2:5570", "tcp://10.0.0.2:5580",
    ]  # fmt: skip
    assert bases_for(HERE, proxies, 3)[0] == "tcp://10.0.0.1:5580" and bases_for(THERE, proxies, 1)[0] == (
        "tcp://10.0.0.2:5570"
    )
