"""What to install: one line, with the extra that brings it."""

from __future__ import annotations

from nodes.operate.extras import not_installed


def test_it_names_the_package_and_the_extra() -> None:
    said = "sqlalchemy is not installed; install it with: pip install 'site-connect-fabric[store]'"
    assert not_installed("sqlalchemy.exc", "store") == said
