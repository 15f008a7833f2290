"""The operator's rules and the page's settings, with real browsers: what they hide, when they hold, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodes.gateway.privacy_rules import read_rules
from tests.nodes.gateway.test_selectors import BAD, GOOD
from tests.support.browsers import FOREIGN, Stack, stack
from tests.support.processes import ROOT
from tests.support.reader import blocks
from tests.support.recorded import SITE, Recorder
from tests.support.web_cases import Scene

SCRIPT = "<script async src='{url}/site_connect.js'></script>"
PAGE = """<!doctype html><h1>Marker</h1><p class=a title=plain-title>secret-a</p><p class=b>secret-b</p>
<p id=c data-site-connect-show data-state=plain-state>plain-c <input name=c value=plain-field></p>
<div id=d></div><script>function later() { d.textContent = "plain-d"; }</script>"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("rules")
    (folder / "rules.toml").write_text("")
    with stack(folder, "--privacy", str(folder / "rules.toml")) as found:
        yield found


@pytest.fixture
def rules(shared: Stack) -> Iterator[Callable[[str], None]]:
    """Write rules, and have the gateway follow them."""
    path = Path(shared.gateway.args[shared.gateway.args.index("--privacy") + 1])

    def write(text: str) -> None:
        path.write_text(text)
        before = len(shared.gateway.stderr)
        shared.gateway.hang_up()
        shared.gateway.wait_stderr("rules hold from now on", after=before)

    yield write
    write("")


def test_rules_hide_what_the_page_shows_and_a_page_cannot_undo_them(
    browsers: Stack, rules: Callable[[str], None]
) -> None:
    rules(
        f"""[[rules]]
        pages = ["{FOREIGN}/*"]
        mask = [".a", "input"]
        deny_attributes = ["data-state"]
        [[rules]]
        block = [".b"]
        [[rules]]
        pages = ["{FOREIGN}/elsewhere/*", "https://elsewhere.example/*"]
        mask = ["h1"]
        """
    )
    html = PAGE.replace("class=a", "class=a data-site-connect-show") + SCRIPT
    scene = Scene(browsers, html)
    scene.later()
    scene.settle()
    scene.refresh()
    assert scene.leaks() == set()
    assert scene.leaks("plain") == {"plain-c", "plain-d"}


def test_new_rules_hold_at_once_also_for_what_the_agent_has_seen(browsers: Stack, rules: Callable[[str], None]) -> None:
    scene = Scene(browsers, PAGE + SCRIPT)
    session = scene.visitor.received[0]
    assert "secret-a" in scene.replayed() and "secret-b" in scene.replayed()
    rules("[[rules]]\nmask = ['.a']\nblock = ['.b']")
    scene.desk.until(lambda: "secret-" not in scene.replayed(), "what is hidden now is gone from the replay")
    scene.desk.sees("plain-c")
    scene.visitor.js("() => { document.querySelector('.a').textContent = 'secret-new'; }")
    scene.visitor.js("() => { document.querySelector('h1').className = 'a'; }")
    scene.desk.until(lambda: "Marker" not in scene.replayed(), "what a rule names by a new class is masked")
    rules("")
    scene.desk.sees("secret-new")
    assert scene.visitor.received[0] == session and scene.visitor.is_viewed(), "nobody was dropped"


def test_on_a_page_of_a_rule_viewing_pauses_and_both_sides_read_why(
    browsers: Stack, rules: Callable[[str], None]
) -> None:
    rules(f"[[rules]]\npages = ['{FOREIGN}/pay']\npause = 'payment page'")
    words = "Paused by the site: payment page"
    scene = Scene(browsers, PAGE + SCRIPT)
    scene.visitor.listen("~pagesession/cobrowsing/#")
    scene.visitor.js("() => { history.pushState(null, '', '/pay'); later(); }")
    scene.desk.until(lambda: words in scene.desk.page.inner_text("body"), "the agent reads why")
    assert scene.replayed() == "" or scene.desk.replayed() == "", "what was seen is gone"
    assert scene.visitor.page.locator("site-connect #sign").inner_text().startswith(words)
    assert scene.visitor.hears("~pagesession/cobrowsing/paused")["why"] == words
    scene.visitor.js("() => { d.textContent = 'secret-paid'; }")
    scene.visitor.page.wait_for_timeout(400)
    scene.visitor.js("() => { d.textContent = 'plain-again'; history.pushState(null, '', '/thanks'); }")
    scene.desk.sees("plain-again")
    scene.desk.until(lambda: words not in scene.desk.page.inner_text("body"), "the viewing goes on")
    assert "plain-d" not in "".join(scene.visitor.sent) and "secret-paid" not in "".join(scene.visitor.sent)


def test_a_page_that_is_paused_from_its_start_sends_nothing_and_new_rules_end_it(
    browsers: Stack, rules: Callable[[str], None]
) -> None:
    scene = Scene(browsers, "<!doctype html><h1>Marker</h1>" + SCRIPT)
    rules(f"[[rules]]\npages = ['{FOREIGN}/pay']\npause = 'payment page'")
    html = PAGE + SCRIPT
    scene.visitor.page.route(f"{FOREIGN}/pay", lambda route: route.fulfill(
        body=html.replace("{url}", browsers.url), content_type="text/html"
    ))  # fmt: skip
    scene.visitor.goto(f"{FOREIGN}/pay")
    words = "Paused by the site: payment page"
    scene.desk.until(lambda: words in scene.desk.page.inner_text("body"), "the agent reads why")
    assert "secret-a" not in "".join(scene.visitor.sent)
    rules("")
    scene.desk.sees("secret-a")


def test_a_selector_that_cannot_be_applied_hides_everything_and_is_told(
    browsers: Stack, rules: Callable[[str], None]
) -> None:
    rules("[[rules]]\nmask = [':valid']")  # of fields; here a browser that does not know it is played
    html = """<!doctype html><h1 data-site-connect-show>Marker</h1><p>secret-all</p>
    <script>const matches = Element.prototype.matches;
    Element.prototype.matches = function (s) { if (s.includes(":valid")) throw 0; return matches.call(this, s); };
    </script>"""
    visitor = browsers.foreign(html + SCRIPT)
    visitor.listen("~pagesession/cobrowsing/privacy_problem")
    desk = browsers.desk()
    desk.join(visitor.code())
    words = "A privacy rule cannot be applied"
    desk.until(lambda: words in desk.page.inner_text("body"), "the agent reads it")
    desk.sees("******")
    assert "secret-all" not in "".join(visitor.sent)
    assert ":valid" in visitor.hears("~pagesession/cobrowsing/privacy_problem")["why"]
    desk.page.reload()  # it knows nothing of what was said
    desk.until(lambda: words in desk.page.inner_text("body"), "the agent who comes later reads it, too")
    browsers.gateway.wait_stderr("cannot apply a rule")
    assert browsers.gateway.refused("privacy_problem") == 1
    told = visitor.js("() => heard.map(m => m.payload.again)")
    assert len(told) > 1 and told == [False] + [True] * (len(told) - 1), "with each snapshot that an agent asks for"
    rules("")
    desk.sees("secret-all")
    visitor.js("() => { heard.length = 0; }")
    count = sum('"snapshot":true' in each for each in desk.received)
    desk.page.get_by_role("button", name="Refresh").click()
    desk.until(lambda: sum('"snapshot":true' in each for each in desk.received) > count, "another snapshot")
    assert visitor.js("() => heard.length") == 0, "what was mended is told no more"


def test_what_a_page_configures_holds_before_anything_is_recorded_and_gets_stricter_only(browsers: Stack) -> None:
    html = """<!doctype html><h1>Marker</h1><p class=a>secret-a</p><form class=f><input value=plain-shown></form>
    <script async src='{url}/site_connect.js' data-configure></script>"""
    visitor = browsers.foreign(html)
    desk = browsers.desk()
    desk.join(visitor.code())
    desk.until(lambda: "not been said yet" in desk.page.inner_text("body"), "the agent reads that it waits")
    visitor.js("() => site_connect.configure({ mask: ['.a'], show: ['.f'] })")
    desk.sees("plain-shown")
    assert "secret-a" not in "".join(visitor.sent)
    later = "given => { try { site_connect.configure(given); } catch (error) { return error.name; } }"
    assert visitor.js(later, {"show": [".a"], "mask": ["form"]}) == "SettingsError"
    desk.until(lambda: "plain-shown" not in desk.replayed(), "the form is masked, also for those who saw it")
    assert visitor.js(later, {"masc": [".a"]}) == "TypeError"
    desk.until(lambda: "Marker" not in desk.replayed(), "the page is private")
    assert "secret-a" not in "".join(visitor.sent)


def test_selectors_are_judged_as_this_browser_judges_them(browsers: Stack) -> None:
    visitor = browsers.foreign("<!doctype html>")
    takes = "text => { try { document.querySelector(text); return true; } catch { return false; } }"
    assert [text for text in GOOD if not visitor.js(takes, text)] == []
    of_pseudo_elements = {"p::before", "p:before"}  # taken, and no element fits
    left_open = {"[a", "[a='b]", ":not(", ":not(a", ".a\\"}  # browsers close what is open at the end
    assert {text for text in BAD if visitor.js(takes, text)} <= of_pseudo_elements | left_open


def test_what_the_guide_shows_does_what_it_says(browsers: Stack) -> None:
    shown = blocks(ROOT / "docs" / "how-to" / "privacy.md")
    marks, tag = (each.text for each in shown if each.kind == "html")
    (configure,) = (each.text for each in shown if each.kind == "js")
    (text,) = (each.text for each in shown if each.kind == "toml")
    assert "data-configure" in tag
    browser = Recorder(browsers.browser)
    page = browser.open(marks.replace('name="note"', "name=note value=my-note").replace('"born"', "born value=my-born"))
    page.record()
    assert "my-note" in page.told()
    assert not [each for each in ("1,234.56", "My messages", "my-born", "Date of birth") if each in page.told()]

    page = browser.open("<p class=account>my-account</p><input class=price value=my-price>", dataset={"configure": ""})
    page.record()
    page.js("() => { window.site_connect = { configure: given => tried.settings.configure(given) }; }")
    assert "my-" not in page.told() and "not been said" in page.told()
    page.js(f"() => {{ {configure} }}")
    assert "my-price" in page.told() and "my-account" not in page.told()

    rules = read_rules(text.replace("https://shop.example.org", SITE)).of(SITE)
    html = "<h1>my-head</h1><p class=customer>my-customer</p><p data-testid=my-id>my-text</p>"
    told = {}
    for path in ("/", "/account/me", "/checkout/pay"):
        page = browser.open(html, path=path, rules=rules)
        page.record()
        told[path] = {each for each in ("my-head", "my-customer", "my-id", "my-text") if each in page.told()}
    assert told == {"/": {"my-head", "my-text"}, "/account/me": {"my-head"}, "/checkout/pay": set()}
    assert "Paused by the site: payment page" in page.told()
