"""The agent's picture is the visitor's page, or both are told why not: pages that are hard to record, large, or fast.

The pages are in tests/web_cases: each is of a site on an origin of its own. `later()` of a page is called when an agent
sees it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.support.browsers import FOREIGN, Desk, Stack, stack
from tests.support.web_cases import case, viewed

if TYPE_CHECKING:
    from playwright.sync_api import Page

STATIC = "http://static.example.net"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Some of these pages have their style on another host, as on a CDN."""
    with stack(tmp_path_factory.mktemp("browser"), "--load-from", STATIC) as found:
        yield found


def live(desk: Desk) -> None:
    """Wait until the console says that its picture is current."""
    desk.until(lambda: desk.page.locator("#live").inner_text() == "Live", "the picture is current")


def refreshed(desk: Desk) -> None:
    """Ask for a snapshot, and wait until it is the picture that is shown. What frames hold comes after it."""
    pictures = "[...document.querySelectorAll('#stage .replay')]"
    desk.page.evaluate(f"() => {{ for (const each of {pictures}) each.isOld = true; }}")
    desk.page.get_by_role("button", name="Refresh").click()
    desk.until(
        lambda: desk.page.evaluate(f"() => {pictures}.map(each => each.isOld === true).join()") == "false",
        "a fresh snapshot is in the place of the picture",
    )
    live(desk)


# --- pages that are hard to record


def test_forms_whose_fields_have_unlucky_names_are_seen(browsers: Stack) -> None:
    visitor = browsers.foreign(case("23-form-names"))
    desk = browsers.desk().join(visitor.code())
    desk.sees("early querySelectorAll")  # which the test's own driver does not survive: it asks the page by `js` only
    visitor.js("() => later()")
    desk.sees("late querySelectorAll")
    refreshed(desk)
    count = "it => it.querySelectorAll('form').length"
    assert desk.in_replay(count) == visitor.js(f"() => ({count})(document)") > 60
    assert desk.in_replay("it => it.querySelectorAll('option').length") == desk.in_replay(count)


def test_elements_that_hide_what_is_the_documents_are_seen(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "23b-document-names")
    visitor.js("() => later()")
    desk.sees("late")
    refreshed(desk)
    assert desk.in_replay("it => it.querySelectorAll('form, img').length") == 6


def test_old_libraries_that_change_the_language_do_no_harm_and_take_none(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "24b-old-libraries")
    assert visitor.js("() => asItWas()"), "after the recorder was loaded"
    visitor.js("() => later()")
    desk.sees("late")
    refreshed(desk)
    assert visitor.js("() => asItWas()"), "the page has its own language"
    assert "secret" not in "".join([desk.replayed(), *visitor.sent, *desk.received])


def test_a_page_on_which_the_recorder_fails_is_told_to_both_and_to_the_site_once(browsers: Stack) -> None:
    visitor = browsers.foreign(case("25-field-that-throws"))
    visitor.listen("~/site_connect/refused", "~pagesession/cobrowsing/#")
    desk = browsers.desk().join(visitor.code())
    words = "This page cannot be shown: what records it fails on it, again and again."
    desk.page.get_by_text(words).wait_for()
    visitor.frame.get_by_text(words).wait_for(state="attached")
    assert visitor.hears("~/site_connect/refused")["what"] == "record"
    assert len(visitor.errors) == 1, "a site counts the errors of its pages"
    assert "secret" not in "".join([*visitor.sent, *desk.received])
    visitor.errors.clear()
    visitor.js("() => { delete field.value; }")
    desk.sees("Marker")


# --- what belongs to a page beside its elements


def styled(page: Page) -> None:
    """Serve the style sheets of another site, which allows nobody to read them."""
    sheets = {"site.css": "h1 { color: rgb(200, 0, 0); }", "imported.css": "b { color: rgb(0, 120, 0); }"}
    page.route(
        f"{STATIC}/**",
        lambda route: route.fulfill(body=sheets[route.request.url.rsplit("/")[-1]], content_type="text/css"),
    )


def colour(desk: Desk, element: str) -> object:
    return desk.in_replay(f"it => it.defaultView.getComputedStyle(it.querySelector('{element}')).color")


def test_style_of_another_site_is_seen_and_nothing_else_is_asked_of_the_visited_one(browsers: Stack) -> None:
    visitor = browsers.foreign("<h1>Blank</h1>")
    styled(visitor.page)
    visitor.page.route(f"{FOREIGN}/styled", lambda route: route.fulfill(
        body=case("27-style-of-another-site").replace("{url}", browsers.url), content_type="text/html"))  # fmt: skip
    visitor.goto(f"{FOREIGN}/styled")
    desk = browsers.desk()
    styled(desk.page)
    asked: list[tuple[str, str]] = []
    desk.page.on("request", lambda request: asked.append((request.resource_type, request.url)))
    desk.join(visitor.code()).sees("Marker")
    desk.until(lambda: colour(desk, "h1") == "rgb(200, 0, 0)", "the linked sheet is there")
    desk.until(lambda: colour(desk, "b") == "rgb(0, 120, 0)", "and the imported one")
    visitor.js(
        """() => { document.body.insertAdjacentHTML("beforeend", `<video src="/film.mp4"></video>
        <audio src="/a.mp3"></audio><iframe src="/inner"></iframe><object data="/thing"></object>
        <embed src="/plug"><link rel=prefetch href="/next">
        <img src="/picture.png">`); }"""
    )
    desk.until(
        lambda: any(url.endswith("/picture.png") for _, url in asked), "the agent's browser asks for the picture"
    )
    elsewhere = {kind for kind, url in asked if not url.startswith((browsers.url, "data:", "blob:"))}
    assert elsewhere <= {"stylesheet", "image", "font"}, asked


def test_popovers_and_dialogs_are_open_where_they_are(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "28b-popovers-and-dialogs")
    opened = """it => { const inner = it.querySelector("my-menu").shadowRoot.getElementById("inner");
        return [...[it.getElementById("menu"), it.getElementById("more"), inner].map(e => e.matches(":popover-open")),
            it.getElementById("modal").matches(":modal")]; }"""

    def stand(*expected: bool) -> None:
        assert visitor.js(f"() => ({opened})(document)") == list(expected)
        desk.until(lambda: desk.in_replay(opened) == list(expected), f"open are {expected}")

    stand(False, False, False, False)
    visitor.js("() => later()")
    stand(True, True, True, False)
    refreshed(desk)
    stand(True, True, True, False)
    visitor.js("() => shut()")
    stand(False, False, False, True)
    refreshed(desk)
    stand(False, False, False, True)
    visitor.js("() => modal.close()")
    stand(False, False, False, False)


def test_frames_that_come_later_are_seen(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "26-removed")
    visitor.js(
        """() => { document.body.insertAdjacentHTML("beforeend", `<iframe srcdoc="<p>by srcdoc</p>"></iframe>
        <iframe data-site-connect-mask srcdoc="<p>by srcdoc</p>"></iframe><iframe></iframe>`);
        document.querySelector("iframe:last-of-type").contentDocument.body.append("by script"); }"""
    )
    inside = "it => [...it.querySelectorAll('iframe')].map(e => e.contentDocument?.body?.textContent)"
    wanted = ["by srcdoc", "** ******", "by script"]
    desk.until(lambda: desk.in_replay(inside) == wanted, f"{wanted}, not {desk.in_replay(inside)}")
    visitor.js("() => { document.querySelector('iframe').srcdoc = '<p>another page</p>'; }")
    wanted[0] = "another page"
    desk.until(lambda: desk.in_replay(inside) == wanted, f"{wanted}, not {desk.in_replay(inside)}")
    refreshed(desk)
    desk.until(lambda: desk.in_replay(inside) == wanted, f"{wanted}, not {desk.in_replay(inside)}")


def test_pictures_of_scripts_their_style_and_their_addresses_are_seen(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "38-pictures-and-style-of-scripts")
    width = "it => it.getElementById('picture').naturalWidth"
    desk.until(lambda: desk.in_replay(width) == 40, "the picture that only the page holds")
    assert desk.in_replay("it => it.getElementById('masked').naturalWidth") == 0
    assert colour(desk, "h1") == "rgb(1, 2, 3)"
    visitor.js("() => later()")
    desk.until(lambda: desk.in_replay("it => it.getElementById('late')?.naturalWidth") == 40, "and one that came later")
    background = "it => it.defaultView.getComputedStyle(it.querySelector('h1')).backgroundColor"
    desk.until(lambda: desk.in_replay(background) == "rgb(4, 5, 6)", "a rule that came later")
    address = desk.page.locator("#address")
    desk.until(lambda: address.inner_text() == f"{FOREIGN}/second/page", "the address that a script has set")
    refreshed(desk)
    desk.until(lambda: desk.in_replay(width) == 40, "the picture in the fresh snapshot")


@pytest.mark.parametrize("policy", ["require-corp", "credentialless"])
def test_a_page_that_embeds_only_who_agrees_has_its_frame_and_is_seen(browsers: Stack, policy: str) -> None:
    visitor = browsers.foreign("<h1>Blank</h1>")
    visitor.page.route(f"{FOREIGN}/isolated", lambda route: route.fulfill(
        body=case("26-removed").replace("{url}", browsers.url), content_type="text/html",
        headers={"Cross-Origin-Embedder-Policy": policy, "Cross-Origin-Opener-Policy": "same-origin"}))  # fmt: skip
    visitor.goto(f"{FOREIGN}/isolated")
    desk = browsers.desk().join(visitor.code())
    desk.sees("Marker")
    visitor.until(visitor.is_viewed, "there is a sign")


# --- large pages and fast ones


def test_a_table_that_changes_by_two_megabytes_a_second_is_seen_as_it_is(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "29-ticker")
    visitor.js("() => later()")
    last = "it => [it.querySelectorAll('tr').length, it.querySelector('tr:last-child td:last-child')?.textContent]"
    visitor.until(lambda: visitor.js(f"() => ({last})(document)") == [1600, "19"], "the table has come to rest")
    desk.until(lambda: desk.in_replay(last) == [1600, "19"], "the agent sees the same")
    live(desk)
    same = "it => it.querySelector('table').textContent"
    assert desk.in_replay(same) == visitor.js(f"() => ({same})(document)")
    assert len("".join(visitor.raw)) * 5 < len("".join(visitor.sent)), "compressed"


def test_a_page_that_changes_faster_than_can_be_sent_pauses_and_is_true_afterwards(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "29b-faster-than-can-be-sent")
    desk.page.evaluate(
        """() => { window.said = []; const live = document.getElementById("live");
        new MutationObserver(() => said.push(live.textContent)).observe(live, {childList: true}); }"""
    )
    visitor.js("() => later()")
    words = "Paused: the page changes faster than can be sent."
    desk.until(lambda: words in desk.page.evaluate("() => said"), "the agent is told")
    visitor.frame.get_by_text(words).wait_for(state="attached")
    visitor.js("() => rest()")
    text = "it => it.getElementById('noise').textContent"
    desk.until(lambda: desk.in_replay(text) == "quiet again", "the agent sees how it ended")
    live(desk)
    assert visitor.frame.get_by_text(words).count() == 0


@pytest.mark.parametrize("name", ["30-thirty-thousand-elements", "35-nine-megabytes"])
def test_a_large_page_is_seen(browsers: Stack, name: str) -> None:
    visitor, desk, _ = viewed(browsers, name)
    live(desk)
    size = "it => [it.querySelectorAll('body *').length > 1, it.body.textContent.length > 50000]"
    assert desk.in_replay(size) == [True, True]
    assert sum(len(each) for each in visitor.raw if '"t":"update"' in each) < 1_500_000, "in one upload, compressed"
    assert not any("1009" in each for each in visitor.received)


def test_a_page_that_is_too_large_is_said_to_both_and_seen_once_it_is_smaller(browsers: Stack) -> None:
    visitor = browsers.foreign(case("30b-too-many-elements"))
    desk = browsers.desk().join(visitor.code())
    words = re.compile(r"This page cannot be shown: it is too large: \d+ elements")
    desk.page.get_by_text(words).wait_for()
    visitor.frame.get_by_text(words).wait_for(state="attached")
    assert not any('"t":"update"' in each for each in visitor.sent), "nothing is uploaded that cannot be shown"
    visitor.js("() => later()")
    desk.sees("Marker")
    live(desk)


def test_what_is_short_leaves_as_it_is_and_what_is_long_compressed(browsers: Stack) -> None:
    visitor, desk, _ = viewed(browsers, "26-removed")
    live(desk)
    visitor.js("() => { setInterval(() => { document.querySelector('h1').title = Math.random(); }, 200); }")
    visitor.until(lambda: any('"event":"[{' in each for each in visitor.raw), "a short change leaves as text")
    visitor.js("() => { document.querySelector('h1').textContent = 'Long '.repeat(2000); }")
    desk.sees("Long Long")
    events = [json.loads(each)["event"] for each in visitor.raw if '"t":"update"' in each]
    short = [each for each in events if isinstance(each, str)]
    packed = [each for each in events if isinstance(each, dict)]
    assert all(len(each) < 1_000 for each in short)
    assert all(list(each) == ["$bin"] for each in packed)
    assert any(len(each["$bin"]) < 1_000 for each in packed), "10 kB of one word"
