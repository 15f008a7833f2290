"""What each field takes and refuses; that its words name the limits it has."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.rules import fields
from nodes.rules.fields import Field

RIGHT: list[tuple[Field, list[Any]]] = [
    (fields.SESSION, ["a" * 16, "Az09_-" * 10]),
    (fields.SESSIONS, [[], ["a" * 16] * fields.MAX_SESSIONS]),
    (fields.HOME, ["h", "h" * 255, "a.b:c@d-e_f"]),
    (fields.AGENT, ["a", "ada@example.org", "x" * 64]),
    (fields.BUTTONS, [[], ("help",), ["b"] * fields.MAX_BUTTONS]),
    (fields.NAME, ["A", "Ада Лавлейс", "n" * 255]),
    (fields.LEASE_S, [fields.MIN_LEASE_S, 30, fields.MAX_LEASE_S]),
    (fields.EPOCH, [0, 1, fields.MAX_WHOLE]),
    (fields.ON, [True, False]),
    (fields.VISIBILITY_EVENT, ["show", "minimise", "hide"]),
    (fields.CODE, ["", "123 456", "٣٣٣٣٣٣"]),
]
WRONG: list[tuple[Field, list[Any]]] = [
    (fields.SESSION, ["a" * 15, "a" * 65, "a" * 15 + "/", "a" * 16 + "\n", 5, None]),
    (fields.SESSIONS, [["a" * 16] * (fields.MAX_SESSIONS + 1), "a" * 16, [None], {"a" * 16}]),
    (fields.HOME, ["", "h" * 256, "a/b", "a b"]),
    (fields.AGENT, ["", "x" * 65, "a/b", "+", "é", None, True]),
    (fields.BUTTONS, [["b"] * (fields.MAX_BUTTONS + 1), ["a/b"], "help", None]),
    (fields.NAME, ["", "n" * 256, "a\nb", 5]),
    (fields.LEASE_S, [fields.MIN_LEASE_S - 0.01, fields.MAX_LEASE_S + 1, True, "30", float("nan")]),
    (fields.EPOCH, [-1, fields.MAX_WHOLE + 1, 1.0, True, "1"]),
    (fields.ON, [0, 1, "true", None]),
    (fields.VISIBILITY_EVENT, ["shown", "", None, ["show"]]),
    (fields.CODE, ["1" * 201, 123456, None]),
]


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in RIGHT for value in values])
def test_what_fits(field: Field, value: Any) -> None:
    assert field.fits(value)


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in WRONG for value in values])
def test_what_does_not(field: Field, value: Any) -> None:
    assert not field.fits(value)


def test_the_words_name_the_limits() -> None:
    assert str(fields.MAX_BUTTONS) in fields.BUTTONS.expected and str(fields.MAX_SESSIONS) in fields.SESSIONS.expected
    assert fields.LEASE_S.expected == "seconds, from 0.5 to 600"


def test_a_field_with_a_default_may_be_left_out() -> None:
    assert fields.BY_AGENT.optional and not fields.AGENT.optional
    assert fields.or_none(fields.is_id)(None) and not fields.or_none(fields.is_id)("a/b")


def test_what_is_secret_says_so() -> None:
    assert {field for field, _ in RIGHT if field.secret} == {fields.SESSION, fields.SESSIONS, fields.CODE}
