"""The errors of site-connect reach the asking side as what they are, and `fabric` need not know them."""

from __future__ import annotations

import pickle

import pytest

from fabric.errors import ServiceError
from fabric.services.messages import error_from_map, error_to_map
from nodes.rules import errors
from nodes.rules.errors import AskedTooSoon, LeaseExpired, UnknownContactCode
from tests.support.processes import ROOT

OWN = [each for each in vars(errors).values() if isinstance(each, type) and each.__module__ == "nodes.rules.errors"]


@pytest.mark.parametrize("cls", OWN)
def test_each_travels_as_what_it_is(cls: type[ServiceError]) -> None:
    found = error_from_map(error_to_map(cls("ask for a code again")))
    assert type(found) is cls and str(found) == "ask for a code again"
    assert type(pickle.loads(pickle.dumps(found))) is cls and cls.__doc__


def test_these_are_all() -> None:
    assert set(OWN) == {UnknownContactCode, LeaseExpired, AskedTooSoon}


@pytest.mark.parametrize(("words", "left_s"), [("again in 12 s", 12), ("again in 12 s, or later", 0), ("", 0)])
def test_the_time_that_is_left_is_in_the_words_that_travel(words: str, left_s: int) -> None:
    found = error_from_map(error_to_map(AskedTooSoon(words)))
    assert isinstance(found, AskedTooSoon) and found.retry_after_s == left_s


def test_the_fabric_knows_neither() -> None:
    sources = [path.read_text() for path in (ROOT / "fabric").rglob("*.py")]
    assert len(sources) > 30
    assert not any(cls.__name__ in text for cls in OWN for text in sources)
