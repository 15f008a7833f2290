"""A peer without keys that reads everything from the beginning, and says what it likes, takes nobody over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fabric import Node
from fabric.errors import FabricError, NotAllowed
from fabric.services import Client, Request, Server, each
from fabric.services.directory import SERVICE
from nodes.agent.agent import Agent
from nodes.page.host import PageHost, host_of
from nodes.rules import topics
from nodes.rules.proofs import key_of, proven_request
from nodes.rules.spoken import by_agent
from nodes.rules.state_map import proven
from nodes.rules.topics import FRAME_SERVICE, agent_state, on_the_wire
from tests.nodes.page.test_hosted_page import Watched
from tests.support.eavesdropper import Eavesdropper
from tests.support.page_world import made
from tests.support.site import Site, site
from tests.support.waiting import PATIENCE_S, Box, until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def evil(world: Site) -> Iterator[Eavesdropper]:
    with Eavesdropper(world.base) as found:
        yield found


@pytest.fixture
def node(world: Site, evil: Eavesdropper) -> Iterator[Node]:
    """Of the honest ones, who come when the other listens already."""
    with Node(world.base) as found:
        yield found


@pytest.fixture
def host(node: Node) -> PageHost:
    return host_of(node)


@pytest.fixture
def page(node: Node) -> Iterator[Watched]:
    found = Watched(node, buttons=["help"])
    found.subscribe("~pagesession/cobrowsing/snapshot_request", lambda _: found.send_update("whole", snapshot=True))
    found.code()
    yield found
    found.close()


@contextlib.contextmanager
def agent(node: Node, name: str = "ada", **options: Any) -> Iterator[tuple[Agent, Box]]:
    events = Box()
    # With one secret in all tests: where the goodbye of the one before was late, it goes on.
    with Agent(node, name, name.title(), on_event=events, lease_s=10.0, secret=f"of {name}", **options) as found:
        assert found.wait_ready(PATIENCE_S)
        yield found, events


def told(events: Box, event: str) -> list[Any]:
    return [each for each in events.items if each["event"] == event]


TAKES: dict[str, dict[str, Any]] = {
    "viewing": {"cobrowse": "joined", "epoch": 2, "agent": "evil", "code": None},
    "a request": {"cobrowse": "asked", "epoch": 2, "agent": "evil", "capability": "view", "asked_by": "code"},
    "a chat": {"chat": "open", "chat_agent": "Bank support"},
    "the code": {"code": "000000"},
    "the last version": {"version": 2**63 - 1},
    "another home": {"home": "e" * 32},
    "its end": {"gone": True},
    "the window": {"visibility": "shown"},
}


@pytest.mark.parametrize("what", TAKES)
def test_a_forged_state_map_does_nothing(
    evil: Eavesdropper, node: Node, host: PageHost, page: Watched, what: str
) -> None:
    topic, before = on_the_wire(host.home, page.session, topics.STATE), page.retained()
    true = until(lambda: evil.heard(f"{page.session}/frame/state"), "the page was told its state")[-1].payload
    forged = {**true, "version": 2**60, **TAKES[what]}
    seen = len(page.seen)
    ways = [
        forged,
        {**forged, "proof": "0" * 32},
        proven(made(**{"version": 2**60, "session": page.session, "home": host.home, **TAKES[what]}), key_of("evil")),
        {name: value for name, value in forged.items() if name != "proof"},
    ]
    for each_way in ways:
        evil.say(topic, each_way)
    until(lambda: host.counts["unproven"] >= len(ways), "all were refused, and counted")
    assert page.retained() == before and len(page.seen) == seen and not page.has_moved
    with agent(node) as (ada, events):  # and what is true is heard still
        ada.join(page.code()).result(10)
        page.wait("cobrowsing/start")
        until(lambda: told(events, "update"), "the agent sees the page")
        stop = page.stop_session()
        assert stop.wait(10)


def test_a_forged_map_gives_an_agent_no_page(evil: Eavesdropper, node: Node, host: PageHost, page: Watched) -> None:
    with agent(node) as (ada, events):
        forged = made(2**60, session=page.session, home=host.home, cobrowse="joined", agent="ada", code=None)
        for payload in (forged, {**forged, "proof": "0" * 32}, proven(forged, key_of("ada"))):
            evil.say(agent_state("ada"), payload)
        until(lambda: ada.stats()["unproven"] == 3, "all were refused, and counted")
        assert ada.pages() == [] and not [each for each in events.items if "session" in each]


def test_nobody_speaks_as_the_agent_to_the_page_or_as_the_page_to_the_agent(
    evil: Eavesdropper, node: Node, host: PageHost, page: Watched
) -> None:
    with agent(node, buttons=["help"]) as (ada, events):
        ada.set_available(True)
        page.wait("help/enabled")
        page.publish("~pagesession/chat/trigger", {"button": "help"})
        until(lambda: told(events, "chat_offered"), "the chat is offered")
        session = told(events, "chat_offered")[0]["session"]
        ada.accept(session).result(10)
        page.wait("chat/joined")
        ada.join(page.code()).result(10)
        until(lambda: told(events, "update"), "the agent sees the page")
        ada.say(session, "how can I help?")
        assert page.wait("chat/message")["text"] == "how can I help?"
        page.publish(topics.MESSAGE, {"from": "visitor", "text": "hi", "id": "1"})
        until(lambda: told(events, "chat_message"), "the agent reads the visitor")
        seen, heard = len(page.seen), len(events)
        unproven = host.counts["unproven"], ada.stats()["unproven"]
        text = {
            "from": "Ada",
            "text": "please type your card number here",
            "id": "evil",
            "n": 9,
            "by": "page",
            "at": 1.0,
        }
        true = evil.heard("chat/message")
        marks = [{"by": "ada"}, {**true[0].headers}, {"by": "ada", "at": time.time(), "proof": "0" * 32}]
        marks += [
            by_agent(key_of("evil"), "ada", topics.MESSAGE, text, time.time()),
            {"by": "page"},
            {**true[-1].headers},
        ]
        wanted = {"epoch": 1, "agent": "ada"}
        update = {"epoch": 1, "n": 1, "event": "another page", "snapshot": True}
        said: list[tuple[str, Any]] = [
            (topics.MESSAGE, text),
            (topics.SNAPSHOT_REQUEST, wanted),
            (topics.SHOWN, wanted),
        ]
        said += [(topics.JOINED, {"agent": "ada", "name": "Bank support"}), ("~pagesession/mine", 1)]
        said += [(topics.UPDATE, update), (topics.PRESENCE, {"silent_s": 9.0, "open": False})]
        for topic, payload in said:
            for headers in marks:
                evil.say(on_the_wire(host.home, page.session, topic), payload, headers)
        handed = {"session": session, "lines": [text], "dropped": 0}
        for headers in marks:
            evil.say(topics.agent_chat("ada"), handed, headers)
        page.publish("~pagesession/last", "true")
        until(lambda: told(events, "message"), "what the page says comes still")
        assert [each["payload"] for each in told(events, "message")] == ["true"]
        assert {each["event"] for each in events.items[heard:]} <= {"message", "pulse"}
        assert [line["text"] for line in ada.chats()[0]["lines"]] == ["how can I help?", "hi"]
        new = [message for message in list(page.seen.items)[seen:] if message.topic != "~pagesession/last"]
        assert new == [] and host.counts["unproven"] > unproven[0] and ada.stats()["unproven"] > unproven[1]


def test_an_agent_learns_the_name_of_a_page_when_its_visitor_lets_it_in(
    evil: Eavesdropper, node: Node, host: PageHost
) -> None:
    page = Watched(node, consent="ask")
    with agent(node) as (ada, events):
        state = ada.join(page.code()).result(10)
        page.wait("cobrowsing/asked")
        assert state["space"] is None and page.session not in str(ada.pages()) + str(events.items)
        assert state["session"] != page.session
        with pytest.raises(FabricError):
            ada.proactive(page.session).result(10)
        page.allow(1)
        until(lambda: told(events, "joined"), "it is let in")
        assert ada.pages()[0]["space"] == f"{host.home}/{page.session}"
        ada.stop(state["session"])
        page.wait("cobrowsing/stop")
        ada.proactive(state["session"]).result(10)
        assert page.wait("proactive/trigger") == {"agent": "ada"}
        assert ada.pages()[0]["space"] is None, "an invitation lets nobody in"
    page.close()


def test_who_knows_the_name_of_a_page_or_an_agent_does_nothing_for_them(world: Site, node: Node, page: Watched) -> None:
    with agent(node) as (ada, events), Node(world.base) as other, Client(other) as client:
        ada.join(page.code()).result(10)
        until(lambda: told(events, "update"), "the agent sees the page")
        of_page, of_agent = {"session": page.session}, {"agent": "ada"}
        asked: list[tuple[str, dict[str, Any]]] = [
            ("release_page", of_page),
            ("stop", {**of_page, "epoch": 1}),
            ("stop_chat", of_page),
            ("trigger", {**of_page, "button": "help"}),
            ("set_visibility", {**of_page, "event": "show"}),
            ("renew", of_page),
            ("allow", {**of_page, "epoch": 1}),
            ("sign_out", of_agent),
            ("availability", {**of_agent, "on": True}),
            ("confirm_stop", {**of_agent, **of_page, "epoch": 1}),
            ("stop", {**of_agent, **of_page, "epoch": 1}),
        ]
        for operation, body in asked:
            for key in (key_of(page.session), key_of("ada")):
                for whole in (body, proven_request(key, operation, body, time.time(), "once")):
                    with pytest.raises(NotAllowed, match="expected"):
                        client.request(FRAME_SERVICE, operation, whole, deadline_s=10)
        assert ada.pages()[0]["cobrowse"] == "joined" and not told(events, "stopped")


def test_what_was_heard_and_is_said_again_does_nothing(evil: Eavesdropper, node: Node, page: Watched) -> None:
    page.publish(topics.SHOW, None)
    page.publish(topics.HIDE, None)

    def requests() -> list[Any]:
        return [each for each in evil.heard(f"/requests/{FRAME_SERVICE}") if isinstance(each.payload, dict)]

    def hidden() -> bool:
        asked = [each.payload["body"].get("event") for each in requests() if each.payload["op"] == "set_visibility"]
        return list(dict.fromkeys(asked)) == ["show", "hide"] and (page.told() or {})["visibility"] == "hidden"

    until(hidden, "both were asked")

    def last_map() -> dict[str, Any]:
        maps = [each.payload for each in evil.heard(f"{page.session}/frame/state")]
        return max(maps, key=lambda each: each["version"], default={"visibility": ""})

    # The page may know by an answer: the map on its topic comes a moment later.
    until(lambda: last_map()["visibility"] == "hidden", "the last map has come")
    version = last_map()["version"]
    replies, recorded = f"$inbox/{'e' * 32}/replies", requests()
    for number, each_one in enumerate(recorded):
        for key in (each_one.payload["key"], f"again {number}"):
            headers = {**each_one.headers, "reply_to": replies, "id": number, "deadline_ns": time.time_ns() + 5 * 10**9}
            evil.say(each_one.topic, {**each_one.payload, "key": key}, headers)
    until(lambda: len(evil.heard(f"{'e' * 32}/replies")) >= 2 * len(recorded), "each was answered")
    page.publish("~pagesession/x", 1)
    assert (page.told() or {})["visibility"] == "hidden"
    assert last_map()["version"] == version, "nothing has changed by it"


def test_who_listens_from_the_beginning_reads_no_secret_and_no_key(
    evil: Eavesdropper, node: Node, page: Watched
) -> None:
    with agent(node) as (ada, events):
        ada.join(page.code()).result(10)
        until(lambda: told(events, "update"), "the agent sees the page")
        page.stop_session().wait(10)
        page.wait("new_code")
        assert evil.has_read(page.session), "it has read what there was"
        for secret in (page.secret, page.key, ada._key):
            assert not evil.has_read(secret) and not evil.has_read(bytes.fromhex(key_of(secret)).hex())
        assert page.secret not in str(ada.pages()) and page.key not in str(events.items)


def test_a_stranger_beside_the_true_frame_node_gets_no_page_of_a_host_that_knows_it(
    world: Site, evil: Eavesdropper, node: Node, host: PageHost, page: Watched
) -> None:
    asked = Box()

    def serve(request: Request) -> Any:
        asked(request)
        body = request.body
        if request.op == "renew_many":
            return {"pages": {name: made(2**60, session=name, home=host.home) for name in body["sessions"]}}
        known = made(1, session=body.get("session", ""), home=host.home, code="000000")
        return proven(known, key_of("stranger"), body.get("at", 0.0))

    instance = next(each for each in evil.heard("") if each.topic.startswith(f"{SERVICE}{FRAME_SERVICE}/"))
    pages: list[Watched] = []

    def is_fallen_for() -> bool:
        """Each time one page more comes, and the true frame node is said to be gone."""
        evil.say(instance.topic, {**instance.payload, "state": "gone"})
        pages.append(Watched(node))
        return len(asked) >= 5 and len(pages) >= 5

    def are_ready() -> bool:
        for found in pages:
            if found.has_failed:
                with contextlib.suppress(FabricError):
                    found.retry()
        return all(found.is_ready for found in pages)

    with Node(world.base) as other, Server(other, FRAME_SERVICE, each(serve)) as server:
        assert server.wait_ready(10)
        until(is_fallen_for, "the stranger is asked")
        until(are_ready, "all have a code, though half of what they ask goes to the stranger")
    told_codes = [message.payload["code"] for found in pages for message in found.seen.items
                  if message.topic.endswith(("/ready", "/new_code"))]  # fmt: skip
    assert len(told_codes) >= len(pages) and "000000" not in told_codes and page.code() != "000000"
    assert host.counts["unproven"] > 0
    for found in pages:
        found.close()
