"""The table of what leaves a page is what leaves it: each cell is recorded in a browser."""

from __future__ import annotations

from tests.support.recorded import recorder
from tests.support.what_leaves import MASKED, MODES, NOTHING, ROWS, table, word, written


def test_the_table_in_the_documentation_is_what_leaves_a_page() -> None:
    with recorder() as browser:
        assert table(browser) == written(), "python -m tests.support.what_leaves"


def test_what_the_table_must_say() -> None:
    """Whatever is recorded: a table that says otherwise is a leak."""
    rows = {cells[0]: cells[1:] for line in written().splitlines()[2:] if (cells := line[2:-2].split(" | "))}
    assert len(rows) == len(ROWS) and len({word(at) for at in range(len(ROWS))}) == len(ROWS)
    blocked = list(MODES).index("blocked")
    assert {name for name, told in rows.items() if told[blocked] != NOTHING} == set()
    for name in ("A password", "A password that was made visible", "A card's code, by the label"):
        assert set(rows[name]) == {MASKED, NOTHING}
    assert set(rows["Hidden fields"]) == set(rows["The page's title"]) == {NOTHING}
