"""`fabric agent` as a process: commands, refusals, its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.site import Driven, Site, site


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def world(shared: Site) -> Iterator[Site]:
    with shared.scene():
        yield shared


@pytest.fixture(scope="module")
def refusing(shared: Site) -> Driven:
    agent = shared.agent("eve")
    agent.event("signed_in")
    return agent


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ({"do": "dance"}, "invalid command 'dance': expected one of"),
        ({"do": "join"}, "'code'"),
        ({"do": "join", "code": "1"}, "6 characters"),
        ({"do": "join", "code": "999999"}, "no page holds"),
        ({"do": "ask"}, "0 pages"),
        ({"do": "ask", "session": "s" * 22}, "lease"),
        ({"do": "ask", "session": "s" * 22, "capability": "fly"}, "expected 'view'"),
        ({"do": "stop"}, "0 pages"),
        ({"do": "stop", "session": "s" * 22}, "not in session"),
        ({"do": "say", "session": "s" * 22, "text": "x"}, "not in chat"),
        ({"do": "accept", "session": "no"}, "session"),
        ({"do": "accept", "session": "s" * 22}, "lease"),
        ({"do": "available", "on": 1}, "'on'"),
    ],
)
def test_what_is_wrong_is_refused(refusing: Driven, command: dict[str, object], why: str) -> None:
    fields = {name: value for name, value in command.items() if name != "do"}
    refusing.do(str(command["do"]), **fields)
    assert why in refusing.event("refused", what=command["do"])["why"]


@pytest.mark.parametrize(("code", "why"), [("000000", "no page holds"), ("1", "6 characters")])
def test_a_code_that_is_refused_ends_it_with_1(world: Site, code: str, why: str) -> None:
    agent = world.agent("joan", "--join", code)
    assert why in agent.event("refused", what="join")["why"]
    assert agent.wait() == 1


def test_a_chat_by_lines(world: Site) -> None:
    page, agent = world.page("--buttons", "help"), world.agent("ada", "--buttons", "help", "--available")
    page.event("ready")
    page.event("chat_button/help/enabled")
    page.do("trigger", button="help")
    agent.event("chat_offered")
    agent.do("decline")
    agent.event("declined")
    agent.event("chat_withdrawn")
    agent.do("stats")
    assert agent.event("stats")["gaps"] == 0
    agent.do("quit")
    assert agent.wait() == 0 and agent.stderr == []
    page.event("chat_button/help/disabled")
    page.signal(2)
    assert page.wait() == 0
