"""A page's session at a gateway, on a real node and without a socket: what goes out, in which order, what is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from fabric import Node
from fabric.errors import FabricError
from nodes.gateway.hub import Hub, Settings
from nodes.gateway.limits import Limits
from nodes.gateway.page_session import PageSession, refused
from nodes.gateway.policy import Policy
from tests.support.site import Site, site

Story = Callable[[Hub], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def play(world: Site) -> Callable[[Story], None]:
    def run(story: Story) -> None:
        async def with_hub() -> None:
            policy = Policy.of(["news/#"], ["news/+"], [])
            settings = Settings(secret=b"s" * 32, policy=policy, limits=Limits(queue_frames=20))
            await story(Hub(node, settings))

        with Node(world.base) as node:
            asyncio.run(with_hub())

    return run


class Window:
    """What a socket is to a session; it takes frames when it is woken, unless it is stuck."""

    def __init__(self, session: PageSession) -> None:
        self._session = session
        self.frames: list[dict[str, Any]] = []
        self.ended: list[int] = []
        self.is_stuck, self.quiet_s = False, 0.0
        self._changed = asyncio.Event()

    def woken(self) -> None:
        if not self.is_stuck:
            self.frames += map(json.loads, self._session.take())
            self._changed.set()

    def end(self, code: int, why: str, last: str = "") -> None:
        self.ended.append(code)
        self._changed.set()

    async def is_alive(self) -> bool:
        return True

    async def get(self, kind: str, **wanted: Any) -> dict[str, Any]:
        async with asyncio.timeout(20):
            while True:
                for frame in self.frames:
                    if frame["t"] == kind and all(frame.get(name) == value for name, value in wanted.items()):
                        return frame
                self._changed.clear()
                await self._changed.wait()


def hello(instance: str, seen: int | None = None) -> dict[str, Any]:
    return {"t": "hello", "instance": instance * 16, "seen": seen, "buttons": ["help"]}


def test_the_welcome_comes_first_and_numbers_go_up(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = PageSession(hub, "https://a.org", ("help",))
        window = Window(session)
        session.join(window, hello("a"), 0, False, None)
        await window.get("site", topic="~/site_connect/ready")
        await window.get("retained")
        assert window.frames[0]["t"] == "welcome" and window.frames[0]["seq"] == 0
        numbers = [frame["seq"] for frame in window.frames[1:] if "seq" in frame]
        assert numbers == list(range(1, len(numbers) + 1))
        session.close(release=True)

    play(story)


def test_what_was_said_while_nobody_was_there_comes_with_the_next_window(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = PageSession(hub, "https://a.org", ())
        first = Window(session)
        session.join(first, hello("a"), 0, False, None)
        await first.get("site", topic="~/site_connect/ready")
        session.leave(first)
        assert session.line is None and session.left_at is not None
        session.do({"t": "publish", "id": 1, "topic": "~pagesession/show_frame", "payload": None})
        second = Window(session)
        session.join(second, hello("a", seen=0), 1, True, None)
        await second.get("site", topic="~/site_connect/ready")
        assert second.frames[0]["resumed"] and not second.frames[0]["missed"]
        assert not [frame for frame in second.frames if frame["t"] == "done"], "answers are for the socket that asked"
        third = Window(session)
        session.join(third, hello("b"), 2, True, None)
        assert second.ended == [4001] and session.rotation.generation == 3
        session.close(release=True)

    play(story)


def test_its_own_publishes_do_not_come_back_and_others_do(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = PageSession(hub, "https://a.org", ())
        window = Window(session)
        session.join(window, hello("a"), 0, False, None)
        session.do({"t": "subscribe", "id": 1, "filter": "news/#"})
        session.do({"t": "subscribe", "id": 2, "filter": "~pagesession/#"})
        assert (await window.get("ack", id=1))["ok"] and (await window.get("ack", id=2))["ok"]
        session.do({"t": "publish", "id": 3, "topic": "~pagesession/mine", "payload": 1})
        wire = f"~pagesession/{hub.node.home}/{session.page.session}/theirs"
        hub.node.publish(wire, {"from": "an agent"}, {"by": "ada"})
        hub.node.publish("news/a", 2)
        await window.get("message", topic="~pagesession/theirs")
        await window.get("message", topic="news/a", ids=[1])
        assert not [frame for frame in window.frames if frame.get("topic") == "~pagesession/mine"]
        session.do({"t": "unsubscribe", "id": 1})
        session.do({"t": "unsubscribe", "id": 1})
        session.close(release=True)

    play(story)


def test_a_window_that_is_stuck_is_cut_off_and_a_burst_is_not(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = PageSession(hub, "https://a.org", ())
        window = Window(session)
        session.join(window, hello("a"), 0, False, None)
        await window.get("site", topic="~/site_connect/ready")
        for number in range(40):
            session.pass_on({"t": "done", "id": number})
        await window.get("done", id=39)
        assert window.ended == []
        window.is_stuck = True
        for number in range(40):
            session.pass_on({"t": "done", "id": number})
        async with asyncio.timeout(20):
            while not window.ended:
                await asyncio.sleep(0)
        assert window.ended[0] == 4009 and hub.counts["too_slow"] > 0
        session.close(release=True)

    play(story)


@pytest.mark.parametrize(
    "frame",
    [
        {"t": "subscribe", "id": 1, "filter": "#"},
        {"t": "subscribe", "id": 1, "filter": "~/x"},
        {"t": "publish", "id": 1, "topic": "~/x", "payload": 1},
        {"t": "publish", "id": 1, "topic": "news/a/b", "payload": 1},
        {"t": "publish", "id": 1, "topic": "~pagesession/cobrowsing/start", "payload": 1},
        {"t": "publish", "id": 1, "topic": "news/a", "payload": "\ud800"},
        {"t": "publish", "id": 1, "topic": "news/a", "payload": 2**64},
        {"t": "hello", "id": None},
        {"t": "retry", "id": None},
    ],
)
def test_what_it_may_not_is_an_error_and_changes_nothing(play: Callable[[Story], None], frame: dict[str, Any]) -> None:
    async def story(hub: Hub) -> None:
        session = PageSession(hub, "https://a.org", ())
        with pytest.raises(FabricError) as caught:
            session.do(frame)
        assert refused(frame, caught.value) == {
            "t": "refused", "id": frame["id"], "of": frame["t"], "why": str(caught.value),
        }  # fmt: skip
        session.do({"t": "subscribe", "id": 1, "filter": "news/#"})
        session.close(release=True)

    play(story)


def test_an_update_without_a_session_or_of_another_epoch_is_counted_and_dropped(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = PageSession(hub, "https://a.org", ())
        session.do({"t": "update", "epoch": 1, "n": None, "event": 1, "snapshot": False})
        assert hub.counts["updates_of_no_session"] == 1
        session.close(release=True)

    play(story)


def test_a_browser_that_hears_nothing_gets_a_beat(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = PageSession(hub, "https://a.org", ())
        window = Window(session)
        session.join(window, hello("a"), 0, False, None)
        await window.get("retained")
        session.tick(0.0)
        window.quiet_s = hub.settings.beat_s
        session.tick(0.0)
        await window.get("beat")
        assert len([frame for frame in window.frames if frame["t"] == "beat"]) == 1
        session.close(release=True)

    play(story)
