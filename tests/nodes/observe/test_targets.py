"""Targets for Prometheus out of what processes say of their pages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.observe.targets import Target, merged, read, target, within_reach
from nodes.operate.metrics import METRICS

TOLD = {"url": "http://10.0.0.1:9101", "program": "frame", "process": "f1", "host": "h1"}
F1 = Target("f1", "10.0.0.1:9101", "h1")
P1 = Target("p1", "127.0.0.1:5575", "h1", is_local=True)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://10.0.0.1:9101", F1),
        ("https://10.0.0.1:9101", Target("f1", "10.0.0.1:9101", "h1", is_tls=True)),
        ("http://127.0.0.1:9101", Target("f1", "127.0.0.1:9101", "h1", is_local=True)),
        ("http://[::1]:9101", Target("f1", "[::1]:9101", "h1", is_local=True)),
        ("http://[2001:db8::7]:9101", Target("f1", "[2001:db8::7]:9101", "h1")),
        ("http://0.0.0.0:9101", Target("f1", "h1:9101", "h1")),
        ("http://[::]:9101", Target("f1", "h1:9101", "h1")),
    ],
)
def test_an_address_that_prometheus_can_ask(url: str, wanted: Target) -> None:
    assert target({**TOLD, "url": url}) == wanted
    assert read([wanted.to_map()]) == [wanted]


def test_the_form_is_that_of_a_file_of_prometheus() -> None:
    assert F1.to_map() == {"targets": ["10.0.0.1:9101"], "labels": {"process": "f1", "host": "h1"}}
    assert Target("f1", "a:1", "h1", is_tls=True).to_map()["labels"]["__scheme__"] == "https"


def test_no_metric_has_a_label_of_these() -> None:
    """Prometheus would call the metric's own `exported_…`."""
    assert not {"process", "host", "job", "instance"} & {
        label for metric in METRICS for label in metric.label.split(",")
    }


@pytest.mark.parametrize(
    "told",
    [None, 7, {}, {**TOLD, "url": "ftp://a:1"}, {**TOLD, "url": "http://a"}, {**TOLD, "url": "http://a:99999"},
     {**TOLD, "url": "http://[::1:7"}, {**TOLD, "url": "http://a b:1"}, {**TOLD, "process": ""}, {**TOLD, "host": 7},
     {**TOLD, "process": "x" * 256}, {**TOLD, "process": "a\nb"}, {**TOLD, "host": "a b"}, {**TOLD, "url": "http://:1"}],
)  # fmt: skip
def test_what_is_no_page_is_passed_over(told: Any) -> None:
    assert target(told) is None


@given(
    st.dictionaries(st.sampled_from(["url", "process", "host"]), st.text() | st.binary() | st.integers() | st.none())
)
def test_nothing_that_a_peer_says_breaks_it(told: dict[str, Any]) -> None:
    found = target({**TOLD, **told})
    assert found is None or json.dumps(found.to_map())


@pytest.mark.parametrize("entries", [{}, None, [7], [{"targets": []}], [{"targets": ["a:1", "b:2"], "labels": {}}],
                                     [{"targets": ["a:1"], "labels": {"process": "p"}}]])  # fmt: skip
def test_a_file_of_something_else_is_refused(entries: Any) -> None:
    with pytest.raises(ValueError, match="something else than targets"):
        read(entries)


def test_pages_on_the_loopback_of_other_machines_are_out_of_reach() -> None:
    assert within_reach([P1, F1, P1], "h1") == ([F1, P1], []) and within_reach([P1, F1], "h2") == ([F1], [P1])


def test_who_does_not_answer_stays_until_another_has_its_address() -> None:
    assert merged([P1, F1], [F1]) == [F1, P1]
    other = Target("p9", "127.0.0.1:5575", "h1", is_local=True)
    assert merged([P1], [other]) == [other]
    elsewhere = Target("p9", "127.0.0.1:5575", "h2", is_local=True)
    assert merged([P1], [elsewhere]) == [P1, elsewhere]
