"""Where a node finds who reads histories for it."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest

import fabric
from fabric.node import histories
from fabric.services.histories import Histories


def test_the_face_of_the_package_says_who_reads() -> None:
    node = Mock(spec=fabric.Node)
    reader = histories.reader_of(node)
    assert isinstance(reader, Histories)
    assert histories.reader_of(node) is not reader, "a node keeps the one that it has asked for"


def test_it_is_made_when_it_is_asked_for_and_by_who_was_named_last(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    reader: Any = object()

    def make(node: Any) -> Any:
        made.append(node)
        return reader

    monkeypatch.setattr(histories, "_make", None)
    with pytest.raises(AssertionError, match="provides it"):
        histories.reader_of("a")
    histories.provide(make)
    assert made == []
    assert histories.reader_of("a") is reader and made == ["a"]
