"""Who may read a history: who may subscribe to its filter, by the rules that are there now."""

from __future__ import annotations

from pathlib import Path

import pytest

from fabric.identity import folder as key_folder
from fabric.rights import tag_of
from nodes.keep.readers import LOOK_S, Readers

ROLE = """
[roles.shop]
subscribe = ["orders/+/eur", "price/#"]
request = ["keeper"]
deny_subscribe = ["price/secret/#"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    key_folder.create(path)
    with open(path / "keys.toml", "a") as rules:
        rules.write(ROLE)
    return path


def publisher_of(public: str) -> int:
    return int(tag_of(public) + "0123abcd", 16)


def test_without_keys_everybody_may(tmp_path: Path) -> None:
    assert Readers(None).why_not(1, "#") is None


def test_who_may_subscribe_may_read(folder: Path) -> None:
    shop = publisher_of(key_folder.add(folder, "shop-1", ["shop"]))
    readers = Readers(folder)
    for allowed in ("price/eur/#", "price/a", "orders/7/eur"):
        assert readers.why_not(shop, allowed) is None
    for denied in ("#", "orders/#", "orders/+/eur", "price/#", "price/secret/a"):
        assert "shop-1 may not subscribe to" in (readers.why_not(shop, denied) or "")


def test_a_key_that_nobody_has_reads_nothing(folder: Path) -> None:
    assert Readers(folder).why_not(1, "price/a") == "the keeper does not know the key of who asks"


def test_rules_that_change_are_read_again_and_wrong_ones_change_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    readers = Readers(folder, clock=lambda: now)
    assert readers.why_not(1, "price/a")
    shop = publisher_of(key_folder.add(folder, "shop-1", ["shop"]))
    assert readers.why_not(shop, "price/a"), "it does not look at every request"
    now += LOOK_S
    assert readers.why_not(shop, "price/a") is None
    text = (folder / "keys.toml").read_text()
    (folder / "keys.toml").write_text(text + "[nonsense")
    now += LOOK_S
    assert readers.why_not(shop, "price/a") is None and "those before stay in force" in caplog.text
    (folder / "keys.toml").write_text(text.replace('"price/#"', '"prices/#"'))
    now += LOOK_S
    assert readers.why_not(shop, "price/a")
