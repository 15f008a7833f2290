"""A visitor who does not answer declines, by the frame node's clock; in real browsers."""

from __future__ import annotations

from pathlib import Path

from tests.support.browsers import stack


def test_no_answer_in_time_declines(tmp_path: Path) -> None:
    with stack(tmp_path, "--consent", "ask", frame=("--consent-timeout", "2")) as found, found.scene() as browsers:
        visitor = browsers.visitor()
        code = visitor.code()
        visitor.listen("~pagesession/cobrowsing/+")
        desk = browsers.desk().join(code)
        assert visitor.hears("~pagesession/cobrowsing/declined")["reason"] == "timeout"
        desk.page.get_by_role("heading", name="No answer").wait_for()
        visitor.js("() => site_connect.publish('~pagesession/cobrowsing/allow', { epoch: 1 })")
        assert visitor.code(other_than=code) != code
        visitor.page.get_by_role("button", name="Help").click()
        visitor.frame.get_by_text("Nobody answered, so nothing was shown").wait_for()
        assert not visitor.is_viewed() and [frame for frame in visitor.sent if '"t":"update"' in frame] == []
