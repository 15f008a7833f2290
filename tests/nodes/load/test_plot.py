"""The plots as files: of its kind, with title and what it is of, light and dark."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from nodes.load.plot import View, svg, wrapped, write, write_each
from nodes.load.theme import DARK, LIGHT, THEMES
from tests.nodes.load.test_charts import ONE, tried

VIEW = View("fabric load: 1,000 messages a second", "2 publishers · 64 B payloads · host h1", ONE)
SEARCH = replace(VIEW, tried=tried(2e3), best=2e3, limit_ms=20.0)


def said(drawn: str) -> str:
    """The text of an SVG stands in comments beside its outlines."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", drawn))


@pytest.mark.parametrize(("view", "title"), [(VIEW, "Latency, from the moment"), (SEARCH, "holds: 2,000/s")])
def test_one_picture_of_all_says_what_it_is_of(view: View, title: str, tmp_path: Path) -> None:
    write(tmp_path / "a.svg", view, LIGHT)
    found = said((tmp_path / "a.svg").read_text())
    for words in (view.title, "64 B payloads", "host h1", title, "Latency by percentile", "latency over time"):
        assert words in found
    write(tmp_path / "a.png", view, DARK)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_each_chart_by_itself(tmp_path: Path) -> None:
    files = write_each(tmp_path / "new", SEARCH, THEMES)
    assert sorted(each.name for each in files) == sorted(
        f"{name}-{theme}.{kind}"
        for name in ("over-time", "percentiles", "heat-map", "over-rate")
        for theme in ("light", "dark")
        for kind in ("svg", "png")
    )
    assert all(each.stat().st_size > 5000 for each in files)
    dark, light = (tmp_path / "new" / f"percentiles-{name}.svg" for name in ("dark", "light"))
    assert DARK.paper in dark.read_text() and DARK.paper not in light.read_text()


def test_a_chart_for_a_page_says_nothing_twice() -> None:
    bare = svg(VIEW, "percentiles", LIGHT, bare=True)
    assert bare.startswith("<svg") and VIEW.title not in said(bare) and "Latency by percentile" in said(bare)
    assert VIEW.title in said(svg(VIEW, "percentiles", LIGHT))
    assert VIEW.names == ("over time", "percentiles", "heat map")


def test_the_same_figures_give_the_same_picture() -> None:
    assert svg(VIEW, "percentiles", LIGHT) == svg(VIEW, "percentiles", LIGHT)


def test_long_words_are_wrapped_between_their_parts() -> None:
    assert wrapped("aaa · bb · cccccccccccc · d", 9) == ["aaa · bb", "cccccccccccc", "d"]
