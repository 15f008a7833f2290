"""Metrics as text, read back by Prometheus's own reader."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from nodes.operate.exposition import Exposition

PROXY = {"counts": {"in": 5, "out": 7}, "member": True, "refused": {}, "descriptors": {"used": 60}}


def test_the_text_says_what_the_figures_say_at_that_moment() -> None:
    figures = {"proxy": {**PROXY, "nodes": 3}}
    exposition = Exposition("proxy", lambda: figures)
    assert sample(exposition, "fabric_proxy_nodes") == {(): 3.0}
    figures["proxy"]["nodes"] = 4
    assert sample(exposition, "fabric_proxy_nodes") == {(): 4.0}
    assert sample(exposition, "fabric_proxy_messages_total") == {("in",): 5.0, ("out",): 7.0}
    assert sample(exposition, "fabric_proxy_member") == {(): 1.0}
    assert sample(exposition, "fabric_info") == {("proxy", 'p"1'): 1.0}


def test_counters_are_counters_and_each_metric_says_what_it_is() -> None:
    text = Exposition("proxy", lambda: {"proxy": PROXY}).text("p1").decode()
    kinds = {family.name: (family.type, family.documentation) for family in text_string_to_metric_families(text)}
    assert kinds["fabric_proxy_messages"] == ("counter", "messages by stream, with those of the fabric itself")
    assert kinds["fabric_proxy_member"] == ("gauge", "1 while it is a member of its mesh")


def test_each_process_has_its_own_and_the_process_itself_is_in_it() -> None:
    one, other = Exposition("proxy", lambda: {"proxy": PROXY}), Exposition("proxy", dict)
    assert sample(one, "fabric_proxy_messages_total") and not sample(other, "fabric_proxy_messages_total")
    assert sample(other, "process_resident_memory_bytes")


def sample(exposition: Exposition, name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric by their labels."""
    found = text_string_to_metric_families(exposition.text('p"1').decode())
    return {
        tuple(value for _, value in sorted(each.labels.items(), reverse=True)): each.value
        for family in found
        for each in family.samples
        if each.name == name
    }
