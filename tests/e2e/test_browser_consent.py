"""Consent in real browsers: nothing of a page leaves, and nothing is recorded, before its visitor has allowed it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.browsers import Desk, Stack, Visitor, stack

ASK = ("--consent", "ask")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with stack(tmp_path_factory.mktemp("consent"), *ASK, frame=("--consent-timeout", "6")) as found:
        yield found


@pytest.fixture
def browsers(shared: Stack) -> Iterator[Stack]:
    with shared.scene() as found:
        yield found


def asked(browsers: Stack) -> tuple[Visitor, Desk, str]:
    """A visitor whom an agent asks who has the code."""
    visitor = browsers.visitor()
    code = visitor.code()
    visitor.listen("~pagesession/cobrowsing/+")
    desk = browsers.desk().join(code)
    card(visitor)
    return visitor, desk, code


def card(visitor: Visitor, name: str = "Ada") -> None:
    visitor.frame.get_by_role("alertdialog", name=f"{name} asks to see this page").wait_for()


def nothing_left(visitor: Visitor) -> None:
    """No update, no recorder, no request for a snapshot."""
    assert not visitor.is_viewed()
    assert [frame for frame in visitor.sent if '"t":"update"' in frame] == []
    assert [frame for frame in visitor.received if "snapshot_request" in frame] == []
    assert visitor.js("() => performance.getEntriesByType('resource').filter(r => r.name.includes('recorder'))") == []
    assert visitor.js("() => typeof window.site_connect_recorder") == "undefined"


def test_an_agent_with_the_code_sees_nothing_before_the_visitor_has_allowed_it(browsers: Stack) -> None:
    visitor, desk, _ = asked(browsers)
    desk.page.get_by_text("Asking Visitor 1 to show the page").wait_for()
    desk.page.get_by_text("Asking for 0:0").wait_for()
    nothing_left(visitor)
    visitor.shot("consent-card")
    desk.shot("consent-console-asking")
    visitor.frame.get_by_role("button", name="Allow").click()
    desk.sees("Made for wet weekends")
    visitor.until(visitor.is_viewed, "the page says that it is viewed")
    assert visitor.hears("~pagesession/cobrowsing/start")["epoch"] == 1
    visitor.frame.get_by_text("An agent is viewing this page").wait_for()
