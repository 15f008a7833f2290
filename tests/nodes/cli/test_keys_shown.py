"""Identities and rights as `fabric keys` shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabric.errors import KeysError
from fabric.identity.keys import new_pair
from fabric.identity.rules import parse
from fabric.rights import Rights
from nodes.cli.keys_shown import COLUMNS, known, rights_of, rights_text, row_of, told_of

OLD, NEW = new_pair()[0], new_pair()[0]
RULES = parse(f"""
mesh = ["{new_pair()[0]}"]
[roles.shop]
publish = ["desk/{{name}}/#"]
[identities.a]
keys = ["{NEW}", "{OLD}"]
roles = ["shop", "guest"]
""")


def test_a_row_says_whether_the_key_is_changed_and_whether_the_private_one_is_here(tmp_path: Path) -> None:
    identity = known(RULES, "a", tmp_path)
    assert dict(zip(COLUMNS, row_of(identity, tmp_path), strict=True)) == {
        "NAME": "a", "ROLES": "shop,guest", "KEYS": "2", "PRIVATE": ""
    }  # fmt: skip
    (tmp_path / "a.key").touch()
    assert row_of(identity, tmp_path)[-1] == "here"
    told = told_of(RULES, identity, tmp_path)
    assert (told["keys"], told["private"]) == ([NEW, OLD], True)
    assert told["rights"]["publish"] == ["desk/a/#"] and told["rights"]["subscribe"] == ["#"]


def test_nobody_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match=r"keys\.toml: nobody is called 'b'; `fabric keys list` names all"):
        known(RULES, "b", tmp_path)


def test_rights_in_words_cannot_drive_the_terminal() -> None:
    assert rights_of(Rights(serve=("till",))) == {"serve": ["till"]}
    assert rights_text(Rights(publish=("a/\x1b[2J", "b"))) == "  publish: a/\\u001b[2J, b"
    assert rights_text(Rights()) == "  links proxies, and nothing else"
