"""The drawn page says what the tables say."""

from __future__ import annotations

from pathlib import Path

from nodes.rules import cobrowse
from nodes.rules.diagrams import MODULES, document, mermaid

PAGE = Path(__file__).parents[3] / "docs" / "machines.md"


def test_the_page_in_the_repository_is_up_to_date() -> None:
    assert PAGE.read_text() == document(), "run: python -m nodes.rules.diagrams > docs/machines.md"


def test_every_transition_of_every_machine_is_drawn() -> None:
    for module in MODULES:
        for (before, event), after in module.TRANSITIONS.items():
            assert f"    {before} --> {after}: {event}" in document()


def test_a_raised_epoch_is_marked() -> None:
    drawn = mermaid(cobrowse.MACHINE, cobrowse.RAISING)
    assert "joined --> stopping: stop (epoch + 1)" in drawn
    assert "stopping --> stopping: stop\n" in drawn
