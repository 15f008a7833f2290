"""A page of `fabric top`, for any width and height."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.observe import mesh_view, top_view
from nodes.observe.mesh_view import Totals
from nodes.observe.top_screen import Picture, Span, page
from nodes.observe.top_view import NodeRow, Order

TOTALS = Totals(3, 3, 0, 6, 6, 4, {"in": 1_200.0, "out": 98_765.0, "relay": 0.0, "guest": 0.0}, 0, 0, 0)


def proxy(name: str, state: str = "member", links: str = "2/2", refused: str = "0") -> tuple[str, ...]:
    figures = {
        "LINKS": links,
        "REFUSED": refused,
        "IN/s": "12,345",
        "OUT/s": "234,567",
        "RELAY/s": "98,765",
        "UP": "3d04h",
    }
    base = "tcp://host-with-a-name.example.org:5570"
    shown = {"PROXY": name, "STATE": state, "BASE": base, "NODES": "120", "BUILD": "compiled", **figures}
    return tuple(shown.get(column, "0") for column in mesh_view.COLUMNS)


def node(name: str, lost: int = 0, lag_s: float = 0.001, refused: int = 0) -> NodeRow:
    figures = ("12,345", "234,567", "12", f"{lost:,}", "0", f"{refused}")
    return NodeRow((name, "p1", f"{lag_s * 1000:.3f}", *figures), lag_s, lost, lost > 0, refused, (1.0, 50.0, 100.0))


PICTURE = Picture(
    clock="12:34:56",
    every_s=2.0,
    totals=TOTALS,
    trends={"in": (0.0, 1_300.0, 1_200.0), "out": (7.0,), "relay": (0.0,), "guest": (), "received": (98_765.0,)},
    proxies=[proxy(f"p{number}") for number in (1, 2, 3)],
    nodes=[node(f"sub-471{number}@host") for number in range(4)],
    order=Order(),
)


def text(lines: list[list[Span]]) -> str:
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


def styled(lines: list[list[Span]], style: str) -> list[str]:
    return [span.text.strip() for line in lines for span in line if span.style == style]


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("height", [10, 24, 50])
@pytest.mark.parametrize("proxies", [1, 3, 40])
@pytest.mark.parametrize("nodes", [0, 3, 200])
def test_it_is_one_page_and_says_what_it_left_out(width: int, height: int, proxies: int, nodes: int) -> None:
    rows = [node(f"load-publisher-{number}@a-host-with-a-long-name", lost=number) for number in range(nodes)]
    lines = page(replace(PICTURE, proxies=[proxy(f"p{n}") for n in range(proxies)], nodes=rows), width, height)
    assert len(lines) <= height and all(len(line.rstrip()) <= width for line in text(lines).splitlines())
    shown = text(lines)
    assert "IN/s" in shown and "OUT/s" in shown and "q quit" in shown
    counted = [shown.count("compiled") or shown.count(" member "), shown.count("load-publisher")]
    for total, count, what in ((proxies, counted[0], "proxies"), (nodes, counted[1], "nodes")):
        assert count == total or (count < total and f"and {total - count:,} more {what}" in shown) or height == 10


def test_what_matters_stays_where_there_is_no_room_for_all() -> None:
    narrow, wide = (text(page(PICTURE, width, 40)).splitlines() for width in (80, 120))
    (head,) = [line for line in narrow if line.startswith("PROXY")]
    assert {"STATE", "LINKS", "NODES", "IN/s", "OUT/s", "RELAY/s"} <= set(head.split()) and "BASE" not in head
    (head,) = [line for line in wide if line.startswith("PROXY")]
    assert "BASE" in head
    for lines in (narrow, wide):
        (head,) = [line for line in lines if line.startswith("NODE ")]
        assert {"LOST", "IN/s", "OUT/s", "IN+OUT"} <= set(head.split())


def test_totals_and_curves_say_what_they_count() -> None:
    lines = text(page(PICTURE, 120, 40)).splitlines()
    assert lines[1] == "proxies 3/3  links 6/6  nodes 4  lost 0  refused 0"
    assert lines[2].split()[:3] == ["published", "1,200/s", "▁▇▇"] and lines[2].endswith("max 1,300; each message once")
    assert lines[3].split()[:2] == ["received", "98,765/s"] and lines[3].endswith("max 98,765; by nodes, each copy")
    assert lines[4] == "", "nothing was relayed"
    relayed = text(page(replace(PICTURE, trends={"relay": (5.0, 0.0)}), 120, 40)).splitlines()
    assert [line.split()[0] for line in relayed[2:5]] == ["published", "relayed", "received"]


def test_losses_are_marked_in_the_row_and_in_the_totals_and_nothing_is_when_all_is_well() -> None:
    assert styled(page(PICTURE, 120, 40), "bad") == styled(page(PICTURE, 120, 40), "warn") == []
    losing = page(replace(PICTURE, nodes=[node("a", lost=1_510), node("b"), node("c", lost=2)]), 120, 40)
    assert styled(losing, "bad") == ["1,512 at 2", "1,510", "2"]
    assert "nodes 4 (3 answered)" in text(losing)


def test_what_waits_for_slow_readers_is_told_only_where_there_is_some() -> None:
    totals = replace(TOTALS, queued_bytes=70 << 20, readers_cut=3)
    assert (
        text(page(replace(PICTURE, totals=totals), 120, 40)).splitlines()[1].endswith("waiting 70 MiB  readers cut 3")
    )


def test_what_is_not_as_it_should_be_is_marked() -> None:
    proxies = [proxy("p1", links="1/2", refused="7"), proxy("p2", state="dead"), proxy("p3", state="joining")]
    nodes = [node("a", lag_s=0.2), node("b", lag_s=3.0), node("c", refused=9)]
    totals = replace(TOTALS, proxies=2, members=1, dead=1, linked=1, links=2, refused=7)
    lines = page(replace(PICTURE, totals=totals, proxies=proxies, nodes=nodes), 150, 40)
    assert styled(lines, "bad") == ["1", "dead", "3000.000"]
    assert styled(lines, "warn") == ["1/2", "1/2", "7", "1/2", "7", "joining", "200.000", "9"]


@pytest.mark.parametrize(
    ("order", "head"),
    [(Order(), "LAG ms▼"), (Order("lost", True), "LOST▲"), (Order("name"), "NODE▲"), (Order("name", True), "NODE▼")],
)
def test_the_column_that_sorts_is_marked(order: Order, head: str) -> None:
    shown = text(page(replace(PICTURE, order=order), 120, 40))
    assert head in shown and shown.count("▼") + shown.count("▲") == 1
    assert text(page(replace(PICTURE, order=order), 120, 40, ascii_only=True)).isascii()


def test_topics_in_the_place_of_nodes() -> None:
    rows = [(f"truck/{number:04}/position/of/a/long/name", "1,234", "99,999", "2", "gps-1@h1") for number in range(30)]
    for width in (60, 80, 120):
        lines = text(page(replace(PICTURE, topics=rows), width, 24)).splitlines()
        assert len(lines) == 24 and max(map(len, lines)) <= width and lines[-1].startswith("and ")
        (head,) = [line for line in lines if line.startswith("TOPIC")]
        assert "MSG/s" in head and ("MESSAGES" in head or width == 60) and "NODE " not in "".join(lines)
    assert "no topic carries traffic" in text(page(replace(PICTURE, topics=[]), 80, 24))


def test_before_any_answer() -> None:
    assert "no node has answered yet" in text(page(replace(PICTURE, nodes=[]), 80, 24))


@given(
    st.integers(1, 250),
    st.integers(0, 60),
    st.integers(0, 30),
    st.lists(st.text(max_size=80), max_size=40),
    st.booleans(),
)
def test_no_size_and_no_name_break_it(width: int, height: int, proxies: int, names: list[str], plain: bool) -> None:
    picture = replace(PICTURE, proxies=[proxy(f"p{n}") for n in range(proxies)], nodes=[node(name) for name in names])
    lines = page(picture, width, height, ascii_only=plain)
    assert len(lines) <= height and all(sum(len(span.text) for span in line) <= width for line in lines)


def test_the_columns_are_those_of_the_views() -> None:
    assert len(proxy("p1")) == len(mesh_view.COLUMNS) and len(node("a").cells) == len(top_view.COLUMNS)
