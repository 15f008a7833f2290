"""The page to try rules on: left a page, right what an agent sees of it, by the product's recorder and replay."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.browsers import Stack, Visitor

STAGED = "document.querySelector('#stage .replay:first-child iframe')?.contentDocument"
PICTURE = f"""() => {{ const it = {STAGED};
    if (!it?.body) return "";
    const values = [...it.querySelectorAll("input, textarea, select")].map(each => each.value);
    return it.documentElement.outerHTML + JSON.stringify(values); }}"""


@pytest.fixture
def tried(shared: Stack) -> Iterator[Visitor]:
    with shared.scene() as found:
        yield found.visitor("/privacy/", width=1280, height=900)


def sees(tab: Visitor, *words: str, without: tuple[str, ...] = ()) -> None:
    def is_so() -> bool:
        found = tab.js(PICTURE)
        return all(word in found for word in words) and not any(word in found for word in without)

    tab.until(is_so, f"the agent sees {words}, and not {without}")


def test_what_is_written_is_seen_as_an_agent_would_see_it(tried: Visitor) -> None:
    hidden = ("Robin Hale", "4000 0000", "123", "correct horse", "1,480", "1881", "248.00")
    sees(tried, "Checkout", "Ring twice", "For you", without=hidden)
    tried.shot("privacy-trial")
    tried.page.locator("#html").fill(
        "<p>plain <b data-site-connect-mask>hidden</b></p><p>no <input name=a value=typed></p>"
    )
    sees(tried, "plain", without=("hidden", "typed", "Checkout"))
    tried.page.frame_locator("#page").locator("input").fill("typed again")
    sees(tried, "***********", without=("typed again",))
    tried.page.locator("#html").fill("<p>plain <b>no more hidden</b></p>")
    sees(tried, "no more hidden")


def test_rules_are_read_by_the_gateway_and_hold_at_once(tried: Visitor) -> None:
    sees(tried, "Checkout")
    tried.page.locator("#rules").fill("[[rules]]\nmask = ['h1']")
    sees(tried, "248.00", without=("Checkout",))
    tried.page.locator("#rules").fill("[[rules]]\nmask = ['h1::before']")
    tried.until(lambda: "rule 1 (line 1), mask" in tried.page.locator("#wrong").inner_text(), "the place is named")
    assert "stay in force" in tried.page.locator("#wrong").inner_text()
    sees(tried, "248.00", without=("Checkout",))  # the rules before it stay
    tried.page.locator("#rules").fill("[[rules]]\npages = ['*/pay']\npause = 'payment page'")
    sees(tried, "Checkout")
    assert not tried.page.locator("#wrong").is_visible()
    tried.page.locator("#address").fill("https://shop.example.org/pay")
    tried.until(lambda: "Paused by the site: payment page" in tried.page.locator("#why").inner_text(), "it pauses")
    assert tried.js(PICTURE) == ""
    tried.shot("privacy-trial-paused")
    tried.page.locator("#address").fill("https://shop.example.org/")
    sees(tried, "Checkout")
    tried.page.get_by_role("switch", name="Private by default").check()
    sees(tried, "Ring twice", without=("Checkout",))


def test_what_is_written_runs_no_script_and_all_examples_are_shown(tried: Visitor) -> None:
    sees(tried, "Checkout")
    tried.page.locator("#html").fill("<p>plain</p><img src=x onerror='parent.ran = 1'><script>parent.ran = 1</script>")
    sees(tried, "plain")
    assert tried.js("() => window.ran") is None
    tried.page.get_by_label("Example").select_option("2")
    sees(tried, "Components", without=("4711", "4712"))
    inner = "it => it?.querySelector('iframe')?.contentDocument?.body?.textContent"
    tried.until(
        lambda: tried.js(f"() => ({inner})({STAGED})") == "** * ****** ***** ****", "the frame's page is there, masked"
    )
    tried.shot("privacy-trial-components")
    tried.page.get_by_label("Example").select_option("1")
    sees(tried, "Your account", "Call us", "Current account", without=("12,904.17", "980.00", "topic=fees"))
    tried.page.locator("#html").fill("<p id=x>plain</p>")
    tried.page.locator("#html").press("Home")
    tried.page.get_by_role("button", name="block").click()
    assert tried.page.locator("#html").input_value() == "<p data-site-connect-block id=x>plain</p>"
    tried.page.set_viewport_size({"width": 390, "height": 844})
    tried.page.get_by_text("What was sent last").click()
    tried.until(lambda: tried.page.locator("#last").is_visible(), "what was sent last is open")
    assert tried.js("() => document.documentElement.scrollWidth") <= 390
    tried.shot("privacy-trial-390")
