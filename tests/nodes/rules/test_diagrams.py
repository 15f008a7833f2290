"""The drawn page says what the tables say."""

from __future__ import annotations

from pathlib import Path

from nodes.rules import cobrowse
from nodes.rules.diagrams import FABRIC, MODULES, document, mermaid

PAGE = Path(__file__).parents[3] / "docs" / "machines.md"


def test_the_page_in_the_repository_is_up_to_date() -> None:
    assert PAGE.read_text() == document(), "run: python -m nodes.rules.diagrams > docs/machines.md"


def test_every_transition_of_every_machine_is_drawn() -> None:
    tables = [module.TRANSITIONS for module in MODULES] + [machine.transitions for machine, _ in FABRIC]
    for table in tables:
        for (before, event), after in table.items():
            assert f"    {before} --> {after}: {event}" in document()


def test_a_raised_epoch_is_marked() -> None:
    drawn = mermaid(cobrowse.MACHINE, cobrowse.RAISING)
    assert "joined --> stopping: stop (epoch + 1)" in drawn
    assert "stopping --> stopping: stop\n" in drawn
