"""Every kind of socket, with every kind of key, does each act: what happens is what the rules and the page say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.security_matrix import (
    AWAY,
    DOORS,
    HEARS,
    THROUGH,
    WHO,
    World,
    by_rules,
    play,
    tables,
    world,
    written,
)

Played = dict[tuple[str, str], dict[str, str]]


@pytest.fixture(scope="module")
def one() -> Iterator[World]:
    with world() as found:
        yield found


@pytest.fixture(scope="module")
def played(one: World) -> Played:
    return {(door, shown): play(one, door, shown) for door in DOORS for shown in WHO}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("shown", WHO)
def test_what_happens_is_what_the_rules_say(one: World, played: Played, door: str, shown: str) -> None:
    assert played[door, shown] == by_rules(one, door, shown)


def test_the_page_says_what_happens(played: Played) -> None:
    assert tables(played) == written(), "python -m tests.support.security_matrix"


def test_what_the_tables_must_say(played: Played) -> None:
    """Whatever the rules are: a table that says otherwise is a hole."""
    for door in DOORS:
        for shown in ("no key", "a stranger's", "own, for another mesh"):
            assert set(played[door, shown].values()) == {AWAY}
    got = {
        (shown, act)
        for door in ("in", "out", "guest")
        for shown in WHO
        for act, what in played[door, shown].items()
        if what in (THROUGH, HEARS)
    }
    nobody = {
        "answers another's marker",
        "sends back another's watermark",
        "tells another its rights",
        "announces a proxy",
        "writes in the audit",
        "says that another serves `frame`",
        "publishes on `orders/1` under another's id",
        "subscribes to another's inbox",
        "subscribes to all inboxes",
        "subscribes to another's watermarks",
    }
    assert not {each for each in got if each[1] in nobody}
    assert {shown for shown, act in got if act == "subscribes to the audit"} == {"role `operator`"}
    assert {shown for shown, act in got if act == "speaks as the frame of another's page"} == {"role `frame`"}
    assert ("role `shop`", "publishes on `orders/1`") in got and ("role `shop`", "subscribes to `orders/`") in got
    assert {what for (door, _), acts in played.items() for act, what in acts.items() if "record" in act} == {
        AWAY, "refused: `sender`", "refused: `guest`", "**taken in**"
    }  # fmt: skip
    assert {shown for (door, shown), acts in played.items() if "**taken in**" in acts.values()} == {"a proxy's"}
