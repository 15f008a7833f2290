"""What an agent asks of frame nodes: what an answer means, and what becomes of a request of the user's."""

from __future__ import annotations

from typing import Any

import pytest

from fabric import Node
from fabric.errors import Busy, NotAllowed, RequestTimeout, ServiceError, StateError
from fabric.services import Request, Server, each
from nodes.agent.frame_node_client import FrameNodeClient, outcome
from nodes.agent.interface import (
    Ask,
    FrameNodeAnswered,
    FrameNodeFailed,
    FrameNodeRejected,
    FrameNodeTold,
    Input,
    LeaseDoubted,
    LeaseLost,
)
from nodes.rules.errors import LeaseExpired
from nodes.rules.proofs import ENVELOPE, key_of, proves_request
from nodes.rules.state_map import proven
from nodes.rules.topics import FRAME_SERVICE
from tests.support.page_world import made
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box

KEY, NEWS = key_of("ada"), made(3)
RENEW, CONFIRM = Ask("renew_agent", {"agent": "ada"}), Ask("confirm_stop", {"agent": "ada", "session": "s", "epoch": 1})


@pytest.mark.parametrize(
    ("error", "of_a_renewal", "of_a_confirmation"),
    [
        (None, FrameNodeAnswered, FrameNodeAnswered),
        (Busy("full", 7.0), FrameNodeFailed, FrameNodeFailed),
        (RequestTimeout("late"), FrameNodeFailed, FrameNodeFailed),
        (NotAllowed("no"), FrameNodeRejected, FrameNodeRejected),
        (StateError("co-browsing", "idle", "confirm"), FrameNodeRejected, FrameNodeRejected),
        (LeaseExpired("over"), LeaseLost, FrameNodeRejected),
    ],
)
def test_what_an_answer_means(error: Exception | None, of_a_renewal: type, of_a_confirmation: type) -> None:
    for ask, kind in ((RENEW, of_a_renewal), (CONFIRM, of_a_confirmation)):
        event: Input = outcome(ask, "reply", error, 3.0)
        assert error or isinstance(outcome(ask, None, None, 3.0), FrameNodeFailed), "what is not proven is no answer"
        assert type(event) is kind
        assert not isinstance(event, FrameNodeAnswered) or event == FrameNodeAnswered(ask, "reply", 3.0)
        assert not isinstance(event, FrameNodeFailed | FrameNodeRejected) or event.ask == ask


def test_the_agent_takes_what_its_user_was_answered_and_doubts_its_lease(mesh: list[ProxyProcess]) -> None:
    heard, asked = Box(), Box()

    def serve(request: Request) -> Any:
        body = {name: value for name, value in request.body.items() if name not in ENVELOPE}
        asked((request.op, body))
        assert proves_request(KEY, request.op, request.body)
        if request.op == "accept":
            raise LeaseExpired("over")
        if request.op == "decline":
            return NEWS
        return proven(NEWS, KEY, request.body["at"])

    with Node(mesh[0].base) as node, Server(node, FRAME_SERVICE, each(serve)) as server:
        assert server.wait_ready(10)
        client = FrameNodeClient(node, "ada", KEY, 9.0, heard)
        assert client.request("join", {"code": "123456"}).result(10) == NEWS
        assert heard.items == [FrameNodeTold(NEWS)]
        with pytest.raises(LeaseExpired):
            client.request("accept", {"session": "s"}).result(10)
        assert heard.items[1:] == [LeaseDoubted()]
        with pytest.raises(ServiceError, match="not proven"):
            client.request("decline", {"session": "s"}).result(10)
        assert client.unproven == 1 and len(heard.items) == 2
        client.ask(RENEW)
        answered = heard.wait(3)[-1]
        assert isinstance(answered, FrameNodeAnswered) and (answered.ask, answered.reply) == (RENEW, NEWS)
        client.sign_out()
        client.close()
        client.ask(RENEW)
    assert asked.items == [
        ("join", {"agent": "ada", "code": "123456"}),
        ("accept", {"agent": "ada", "session": "s"}),
        ("decline", {"agent": "ada", "session": "s"}),
        ("renew_agent", {"agent": "ada"}),
        ("sign_out", {"agent": "ada"}),
    ]
    assert len(heard.items) == 3
