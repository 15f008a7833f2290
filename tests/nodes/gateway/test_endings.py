"""What has ended stays ended: in the file, at the others, and at those that were not there."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from fabric import private_files
from nodes.gateway import endings as module
from nodes.gateway.ended import Ended
from nodes.gateway.endings import SHARE_EVERY_S, EndedFile, Endings

HOUR_S = 3_600.0


class Net:
    """Gateways that hear each other, while they are connected."""

    def __init__(self) -> None:
        self.all: list[StandIn] = []


class StandIn:
    def __init__(self, net: Net, file: EndedFile | None = None) -> None:
        self._net = net
        self.handlers: dict[str, Callable[[Any], object]] = {}
        self.hub = Mock(connection={"connected": True}, counts=Counter())
        self.said: list[str] = []
        self.endings = Endings(self.hub, self, file)  # type: ignore[arg-type]
        net.all.append(self)

    def on(self, word: str, handler: Callable[[Any], object]) -> None:
        self.handlers[word] = handler

    def tell(self, word: str, what: Any) -> None:
        self.said.append(word)
        what = json.loads(json.dumps(what))
        for other in self._net.all:
            if other is not self and other.hub.connection["connected"] and self.hub.connection["connected"]:
                other.handlers[word](what)

    def connect(self, connected: bool) -> None:
        self.hub.connection = {"connected": connected}


def tick(*gateways: StandIn, now: float = 0.0) -> None:
    async def story() -> None:
        for each in gateways:
            await each.endings.tick(now)

    asyncio.run(story())


def test_the_others_hear_of_it_at_once() -> None:
    net = Net()
    one, two = StandIn(net), StandIn(net)
    one.endings.end("cookie a", time.time() + HOUR_S)
    assert "cookie a" in one.endings and "cookie a" in two.endings and two.said == [], (
        "who hears it does not say it again"
    )


def test_one_that_begins_or_is_connected_again_asks_and_tells() -> None:
    net = Net()
    one, two = StandIn(net), StandIn(net)
    tick(one, two)
    two.connect(False)
    one.endings.end("cookie while two was away", time.time() + HOUR_S)
    two.endings.end("cookie at two", time.time() + HOUR_S)
    assert "cookie at two" not in one.endings
    tick(one, two, now=10.0)
    two.connect(True)
    tick(two, one, now=20.0)
    assert "cookie while two was away" in two.endings and "cookie at two" in one.endings
    three = StandIn(net)
    tick(three, one, two, now=30.0)
    assert "cookie at two" in three.endings and "cookie while two was away" in three.endings


def test_who_asks_again_and_again_is_answered_now_and_then() -> None:
    net = Net()
    one, two = StandIn(net), StandIn(net)
    one.endings.end("cookie a", time.time() + HOUR_S)
    tick(one)
    one.said.clear()
    for now in range(1, 5):
        two.tell("asks", None)
        tick(one, now=float(now))
    assert one.said == []
    tick(one, now=SHARE_EVERY_S)
    assert one.said == ["ended"]


def test_any_number_of_sessions_makes_no_cookie_good_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Ended", lambda: Ended(100))
    one = StandIn(Net())
    one.endings.end("cookie a", time.time() + HOUR_S)
    for number in range(1_000):
        one.endings.end(f"session {number}", time.time() + HOUR_S)
    assert "cookie a" in one.endings and "session 0" not in one.endings and "session 999" in one.endings


def test_very_many_are_told_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_SHARED", 1_200)
    net = Net()
    one, two = StandIn(net), StandIn(net)
    two.connect(False)
    for number in range(2_000):
        one.endings.end(f"session {number}", time.time() + HOUR_S)
    two.connect(True)
    one.said.clear()
    tick(one, now=10.0)
    assert one.said.count("ended") == 3 and "session 1999" in two.endings and "session 0" not in two.endings


def test_it_outlives_a_restart_and_what_is_over_does_not(tmp_path: Path) -> None:
    path = tmp_path / "ended"

    async def story() -> None:
        first = StandIn(Net(), EndedFile(path))
        first.endings.end("cookie a", time.time() + HOUR_S)
        later = time.time() + HOUR_S
        nonsense = [["of another kind", later], "nonsense", [1, 2], ["x"], ["session over", 1.0]]
        first.handlers["ended"]([["token from another", later], *nonsense])
        await first.endings.written()
        again = StandIn(Net(), EndedFile(path))
        assert (
            "cookie a" in again.endings
            and "token from another" in again.endings
            and "session over" not in again.endings
        )
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    asyncio.run(story())


def test_a_line_that_a_crash_has_cut_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "ended"
    file = EndedFile(path)
    file.add([("a", 10.0)], 0.0)
    with path.open("a") as raw:
        raw.write('["b", 10.0]\n["cut\n[1]\n{}\n["old", 1.0]\n')
    assert file.read(5.0) == [("a", 10.0), ("b", 10.0)]


def test_a_file_that_grew_large_is_written_again_without_what_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGE_BYTES", 1_000)
    file = EndedFile(tmp_path / "ended")
    for number in range(100):
        file.add([(f"name {number}", 10.0 + number)], float(number))
    assert (tmp_path / "ended").stat().st_size < 1_100
    assert [name for name, _ in file.read(99.5)] == [f"name {number}" for number in range(90, 100)]


def test_a_file_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "ended"
    path.write_text("")
    path.chmod(0o644)
    with pytest.raises(private_files.Exposed):
        EndedFile(path).read(0.0)


def test_what_cannot_be_written_holds_all_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        folder = tmp_path / "gone"
        folder.mkdir()
        one = StandIn(Net(), EndedFile(folder / "ended"))
        (folder / "ended").unlink()
        folder.rmdir()
        one.endings.end("cookie a", time.time() + HOUR_S)
        await one.endings.written()
        assert "cookie a" in one.endings
        assert one.hub.counts == {"endings_unwritten": 1}

    asyncio.run(story())
