"""The metrics: what is exported is what METRICS says, and the values are the figures'."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nodes.operate.metrics import METRICS, families, node_figures, proxy_figures
from tests.support.gateways import start_gateway
from tests.support.processes import FabricProcess, ProxyProcess, free_base
from tests.support.site import Site, site
from tests.support.status_pages import ASK, StatusPage
from tests.support.waiting import until

EMPTY_WHILE_ALL_IS_WELL = {
    "fabric_proxy_refused_total", "fabric_node_refused_total", "fabric_page_dropped_total",
    "fabric_gateway_refused_total", "fabric_auth_total", "fabric_denied_total",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, StatusPage]]:
    """A page in session with an agent, a subscriber, and a keeper; the status page of each process."""
    with site(tmp_path_factory.mktemp("site"), "none", proxies=0) as found:
        yield pages_of(found)


def pages_of(found: Site) -> dict[str, StatusPage]:
    proxy = ProxyProcess(free_base(), [*ASK, "--audit", str(found.folder / "audit")], found.folder, name="p1")
    found.started.append(proxy)
    found.proxies.append(proxy)
    proxy.wait_ready()
    found.start_frame(*ASK)
    page = found.page(*ASK)
    code = page.event("ready")["payload"]["code"]
    agent = found.agent("ada", "--join", code, *ASK)
    agent.event("joined")
    sub = FabricProcess(["sub", "$site_connect/#", "--connect", found.base, *ASK], found.folder)
    found.started.append(sub)
    sub.wait_lines(1)
    gateway = start_gateway(found, *ASK)
    store = f"sqlite:///{found.folder}/keep.db"
    keep = FabricProcess(["keep", "#", "--store", store, "--connect", found.base, *ASK], found.folder)
    found.started.append(keep)
    keep.wait_event("ready")
    named = {"proxy": proxy, "frame": found.frames[0], "page": page, "agent": agent, "sub": sub, "gateway": gateway}
    named["keep"] = keep
    return {name: StatusPage.of(process) for name, process in named.items()}


def test_what_processes_export_is_what_is_written(world: dict[str, StatusPage]) -> None:
    types: dict[str, str] = {}
    names: set[str] = set()
    for page in world.values():
        types |= page.types()
        names |= {name.partition("{")[0] for name in page.metrics() if name.startswith("fabric_")}
    assert types == {"fabric_info": "gauge"} | {each.name: each.kind for each in METRICS}
    assert types.keys() - names <= EMPTY_WHILE_ALL_IS_WELL


def test_every_process_is_alive_and_ready_and_says_what_it_is(world: dict[str, StatusPage]) -> None:
    for program, page in world.items():
        until(lambda page=page: page.get("/readyz")[0] == 200, f"{program} is ready")  # type: ignore[misc]
        assert page.get("/healthz") == (200, "alive") and page.get("/readyz") == (200, "ready")
        assert any(name.startswith("fabric_info") and f'program="{program}"' in name for name in page.metrics())


def test_the_values_are_true(world: dict[str, StatusPage]) -> None:
    until(lambda: world["proxy"].metrics()["fabric_proxy_nodes"] == 6, "the proxy has announced its six nodes")
    proxy, frame, page = (world[name].metrics() for name in ("proxy", "frame", "page"))
    assert proxy['fabric_info{name="p1",program="proxy"}'] == 1 and proxy["fabric_proxy_member"] == 1
    assert proxy['fabric_proxy_links{state="linked"}'] == 0
    assert proxy['fabric_proxy_bytes_total{stream="in"}'] > proxy['fabric_proxy_messages_total{stream="in"}'] > 0
    assert frame["fabric_store_page_leases"] == frame["fabric_store_agent_leases"] == 1
    assert frame["fabric_store_sessions"] == 1 and frame["fabric_frame_store_up"] == 1
    taken = frame["fabric_store_codes"] + frame["fabric_store_codes_resting"]
    assert frame["fabric_store_codes_free"] == 1_000_000 - taken
    assert frame["fabric_frame_handled_total"] >= 3 and frame["fabric_frame_request_wait_seconds_total"] > 0
    assert page['fabric_page_hosted{state="ready"}'] == 1 and page['fabric_page_hosted{state="other"}'] == 0
    assert world["agent"].metrics()["fabric_agent_pages"] == 1
    assert world["sub"].metrics()["fabric_sub_printed_total"] >= 1


def test_links_are_counted_by_what_they_are() -> None:
    peers = [{"linked": True, "dead": False}, {"linked": True, "dead": True}, {"linked": False, "dead": False}]
    found = proxy_figures({"peers": peers, "state": "joining"})
    assert (found["peers"], found["state"], found["member"]) == (peers, "joining", False)
    assert found["links"] == {"linked": 1, "unlinked": 1, "dead": 1}
    assert proxy_figures({"state": "member"})["links"] == {"linked": 0, "unlinked": 0, "dead": 0}


def test_what_a_proxy_counts_of_keys_is_told_by_what_and_where() -> None:
    identity = {"keys": True, "insecure": False, "observe": False, "rules_stale": True, "rules": "ab", "cut": 2,
                "admitted_in": 3, "refused_link": 4, "denied_publish": 5, "refused_file": 6}  # fmt: skip
    found = {each.metric.name: each.values for each in families({"proxy": proxy_figures({"identity": identity})})}
    assert found["fabric_auth_total"] == ((("admitted", "in"), 3.0), (("refused", "link"), 4.0))
    assert found["fabric_denied_total"] == ((("publish",), 5.0),) and found["fabric_cut_total"] == (((), 2.0),)
    assert found["fabric_rules_stale"] == (((), 1.0),) and found["fabric_insecure"] == (((), 0.0),)


def test_a_proxy_without_keys_says_whether_others_reach_it() -> None:
    identity = {"keys": False, "insecure": True}
    found = {each.metric.name: each.values for each in families({"proxy": proxy_figures({"identity": identity})})}
    assert found["fabric_insecure"] == (((), 1.0),) and found["fabric_auth_total"] == ()


@pytest.mark.parametrize(("state", "connected"), [("connected", True), ("moving", True), ("connecting", False)])
def test_a_node_that_moves_is_connected(state: str, connected: bool) -> None:
    assert node_figures({"state": state})["connected"] is connected


def test_a_figure_that_is_lacking_is_a_metric_without_a_value() -> None:
    found = {metric.name: values for metric, values in families({"proxy": {"nodes": 2, "counts": {"out": 1, "in": 3}}})}
    assert found["fabric_proxy_nodes"] == (((), 2.0),)
    assert found["fabric_proxy_messages_total"] == ((("in",), 3.0), (("out",), 1.0))
    assert found["fabric_proxy_open_files"] == () and "fabric_node_lost_total" not in found


def test_names_are_given_once() -> None:
    names = [each.name for each in METRICS]
    assert len(names) == len(set(names))
