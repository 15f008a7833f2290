"""`fabric page` as a process: commands, refusals, many pages, update files, its end."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

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


def test_what_it_sees_and_what_it_is_told(world: Site) -> None:
    page = world.page("--count", "2", "--buttons", "help")
    sessions = {page.event("page", page=n)["session"] for n in (1, 2)}
    codes = {page.event("ready", page=n)["payload"]["code"] for n in (1, 2)}
    assert len(sessions) == len(codes) == 2
    page.event("chat_button/help/disabled", page=2)
    page.do("subscribe", topic="truck/#")
    ack = page.event("ack", page=1, ok=True)
    page.do("publish", page=2, topic="truck/1", payload={"$bin": "AAE="})
    assert page.event("message")["payload"] == {"$bin": "AAE="}
    page.do("unsubscribe", subscription=ack["subscription"])
    page.do("publish", page="all", topic="~/mine", payload=7)
    for number in (1, 2):
        assert page.event("~/mine", page=number)["payload"] == 7
    page.do("show")
    page.event("show_frame", page=1)
    page.do("update", event="x")
    page.event("update_not_sent")
    page.do("stop_session", page="all")
    for _ in range(2):
        page.event("stop_acknowledged")
    page.do("close", page=2)
    page.do("quit")
    assert page.wait() == 0 and page.stderr == []


def test_a_log_can_do_without_codes(world: Site) -> None:
    """And each event has the time of day."""
    page = world.page("--mask-codes")
    ready = page.event("ready")
    assert re.fullmatch(r"\d\d\*{4}", ready["payload"]["code"])
    assert abs(datetime.fromisoformat(ready["ts"]).timestamp() - time.time()) < 60


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ({"do": "dance"}, "invalid command 'dance': expected one of"),
        ({"do": "publish"}, "'topic'"),
        ({"do": "publish", "topic": "a/#"}, "#"),
        ({"do": "publish", "topic": "~pagesession/cobrowsing/update"}, "send_update"),
        ({"do": "publish", "topic": "$fabric/x"}, "$"),
        ({"do": "subscribe", "topic": "a/#/b"}, "#"),
        ({"do": "unsubscribe", "subscription": 99}, "99"),
        ({"do": "trigger"}, "'button'"),
        ({"do": "chat", "text": 5}, "'text'"),
        ({"do": "show", "page": 9}, "page 9"),
        ({"do": "show", "page": "1"}, "'page'"),
        ({"do": "retry"}, "retry"),
        ({"do": "allow"}, "nobody asks this page"),
        ({"do": "decline"}, "nobody asks this page"),
        ({"do": "allow", "epoch": "1"}, "'epoch'"),
        ({"do": "publish", "topic": "~pagesession/cobrowsing/allow"}, "`epoch`"),
        ({"do": "publish", "topic": "~pagesession/cobrowsing/asked"}, "the frame tells this one"),
    ],
)
def test_what_is_wrong_is_refused_and_nothing_else_happens(
    refusing: Driven, command: dict[str, object], why: str
) -> None:
    fields = {name: value for name, value in command.items() if name != "do"}
    refusing.do(str(command["do"]), **fields)
    assert why in refusing.event("refused")["why"]


@pytest.fixture(scope="module")
def refusing(shared: Site) -> Driven:
    page = shared.page()
    page.event("ready")
    return page


def test_it_sends_the_files_updates_while_in_session(world: Site, tmp_path: Path) -> None:
    file = tmp_path / "updates"
    file.write_text('{"x": 1}\n"two"\n')
    page = world.page("--updates", str(file), "--rate", "200")
    agent = world.agent("ada", "--join", page.event("ready")["payload"]["code"])
    sent = agent.event("update", snapshot=True)["update"]["sent"]
    told = [agent.event("update", snapshot=False)["update"] for _ in range(4)]
    assert told == [({"x": 1}, "two")[number % 2] for number in range(sent, sent + 4)]
    page.do("reload")
    agent.event("update", snapshot=True)
    page.do("stop_session")
    page.event("stop_acknowledged")
    for process in (agent, page):
        process.signal(signal.SIGHUP)
        assert process.wait() == 0, process.said()


def test_with_a_file_that_is_none(
    run_fabric: Callable[..., subprocess.CompletedProcess[str]], world: Site, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("")
    (tmp_path / "bad").write_text("1\n{\n")
    for name, code, word in (("empty", 2, "empty"), ("bad", 2, "line 2"), ("missing", 3, "missing")):
        done = run_fabric("page", "--connect", world.base, "--updates", str(tmp_path / name))
        assert done.returncode == code and word in done.stderr and "Traceback" not in done.stderr
