"""Who gets a topic and why not, from answers."""

from __future__ import annotations

import time
from typing import Any

import pytest

from nodes.observe.why_view import NO_FILTER, NODE_COLUMNS, PROXY_COLUMNS, Why


def said(publisher: int, node: str, proxy: str, *matches: str, near: tuple[str, ...] = ()) -> dict[str, Any]:
    told = {"matches": list(matches), "near": list(near)}
    return {"answer": "why", "publisher": publisher, "node": node, "proxy": proxy, **told}


def got(publisher: int, node: str, proxy: str) -> dict[str, Any]:
    return {"answer": "trace", "publisher": publisher, "node": node, "proxy": proxy}


@pytest.fixture
def why() -> Why:
    """Of four nodes one gets it, one should have, one holds nothing near, one is silent."""
    found = Why("a/b", {"p1": 2, "p2": 2})
    found.hear(0.002, got(1, "n1", "p1"))
    found.hear(0.001, said(1, "n1", "p1", "a/#"))
    found.hear(0.001, said(2, "n2", "p1", near=("a/c", "x")))
    found.hear(0.001, said(3, "n3", "p2", "a/b"))
    return found


def test_by_proxy(why: Why) -> None:
    assert why.proxies() == [("p1", 2, 2, 1, 1), ("p2", 2, 1, 1, 0)]
    assert len(PROXY_COLUMNS) == len(why.proxies()[0])


def test_by_node_those_who_got_it_first(why: Why) -> None:
    assert why.rows() == [
        ("n1", "p1", "2.00", "a/#", "matches: '#' takes 'b'"),
        ("n3", "p2", "-", "a/b", "matches: the filter is the topic itself"),
        ("n2", "p1", "-", "a/c", "no match: level 2 is 'b', the filter wants 'c'"),
        ("", "", "", "x", "no match: level 1 is 'a', the filter wants 'x'"),
    ]
    assert len(NODE_COLUMNS) == len(why.rows()[0])


def test_who_got_it_and_who_should_have(why: Why) -> None:
    assert why.got == ["n1"] and why.missed == ["n3"]


def test_it_is_whole_when_all_have_answered_and_the_trace_is_everywhere(why: Why) -> None:
    assert not why.is_whole
    why.hear(0.001, said(4, "n4", "p2"))
    assert not why.is_whole
    why.hear(0.001, got(3, "n3", "p2"))
    assert why.is_whole and why.missed == []
    assert why.rows()[-1] == ("n4", "p2", "-", "", NO_FILTER)


def test_nodes_of_one_name_are_two(why: Why) -> None:
    why.hear(0.001, said(9, "n1", "p1", "a/+"))
    assert [row[0] for row in why.rows()].count("n1") == 2
    assert why.proxies()[0] == ("p1", 3, 3, 2, 1), "more have answered than were announced"


def test_as_json(why: Why) -> None:
    found = why.as_json()
    assert found["topic"] == "a/b"
    assert found["proxies"][0] == {"proxy": "p1", "nodes": 2, "answered": 2, "want_it": 1, "got_it": 1}
    first = {"filter": "a/#", "why": "matches: '#' takes 'b'"}
    assert found["nodes"][0] == {"node": "n1", "proxy": "p1", "got_s": 0.002, "filters": [first]}


@pytest.mark.parametrize("change", [{"node": 1}, {"proxy": None}, {"answer": "else"}, {"near": "x"}, {"near": [1]}])
def test_what_is_no_answer_raises_nothing(change: dict[str, Any]) -> None:
    why = Why("a/b", {})
    why.hear(0.1, {**said(1, "n", "p", near=("a",)), **change})
    assert all(row[3] in ("", "a") for row in why.rows())


def test_a_filter_that_was_cut_is_shown_with_what_is_wrong_with_it() -> None:
    why = Why("a/b", {})
    why.hear(0.1, said(1, "n", "p", near=("a/#/x",)))
    assert "'#' only as the last level, not as level 2 of 3" in why.rows()[0][4]


def test_a_node_that_tells_more_than_the_rules_allow_is_cut_short() -> None:
    found = Why("a/b", {"p1": 1})
    found.hear(0.001, said(1, "n1", "p1", *["a/" + "x" * 5_000] * 50))
    assert [len(row[3]) for row in found.rows()] == [200] * 3


def test_peers_that_claim_to_be_at_as_many_proxies_cost_one_pass() -> None:
    found = Why("a/b", {})
    for number in range(20_000):
        found.hear(0.001, said(number, "n", f"p{number}", "a/b"))
    begun = time.process_time()
    assert len(found.proxies()) == 20_000
    assert time.process_time() - begun < 3.0, "it would be minutes, if each proxy looked at all nodes"
