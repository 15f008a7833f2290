"""Agents that may sign in: lines of JSON with hashes."""

from __future__ import annotations

import json

import pytest

from nodes.gateway.credentials import NOBODY, is_right, make, read_agents

SALT = bytes(range(16))


def test_a_line_that_was_made_is_read_and_takes_its_password_only() -> None:
    made = make("ada", "Ada Ö.", ["help", "sales"], "correct horse", SALT)
    read = read_agents(f"# agents\n\n{made.to_line()}\n")["ada"]
    assert read == made and read.buttons == ("help", "sales") and "correct" not in made.to_line()
    assert is_right(read, "correct horse")
    assert not is_right(read, "correct horsE") and not is_right(read, "") and not is_right(read, "correct horse\0")


def test_the_same_password_with_another_salt_is_another_hash() -> None:
    assert make("a", "A", [], "correct horse", SALT).hashed != make("a", "A", [], "correct horse", bytes(16)).hashed


def test_nobody_has_a_password_and_an_endless_one_is_not_hashed_in_full() -> None:
    assert not is_right(NOBODY, "correct horse")
    long = "x" * 1_000
    assert is_right(make("a", "A", [], long, SALT), long)
    assert not is_right(make("a", "A", [], long, SALT), long + "x" * 10_000_000)


@pytest.mark.parametrize("password", ["", "short", "x" * 1_001])
def test_a_password_has_a_length(password: str) -> None:
    with pytest.raises(ValueError, match="8 to 1000 characters") as caught:
        make("ada", "Ada", [], password, SALT)
    assert not password or password not in str(caught.value)


GOOD = json.loads(make("ada", "Ada", ["help"], "correct horse", SALT).to_line())


@pytest.mark.parametrize(
    "changed",
    [
        {"agent": ""}, {"agent": "a b"}, {"agent": None}, {"name": ""}, {"name": "\n"}, {"name": 7},
        {"buttons": "help"},
        {"buttons": ["a/b"]}, {"buttons": [1]}, {"scrypt": "x"}, {"scrypt": None}, {"scrypt": GOOD["scrypt"] + "0"},
    ],
)  # fmt: skip
def test_a_wrong_line_is_named_by_its_number(changed: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"line 2: .*gateway-token"):
        read_agents(f"\n{json.dumps({**GOOD, **changed})}")


@pytest.mark.parametrize("line", ["{", "[]", "7", "{}", '{"agent":"a"}'])
def test_what_is_no_line_at_all(line: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        read_agents(line)


def test_an_agent_is_there_once_and_its_name_may_be_left_out() -> None:
    line = json.dumps({key: GOOD[key] for key in ("agent", "scrypt")})
    assert read_agents(line)["ada"].name == "ada"
    with pytest.raises(ValueError, match=r"line 2: .*twice"):
        read_agents(f"{line}\n{line}")
