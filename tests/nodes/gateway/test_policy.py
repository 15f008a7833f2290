"""What a page may subscribe to and publish, and from which origins."""

from __future__ import annotations

import pytest

from fabric.errors import FabricError, InvalidFilter, InvalidTopic, NotAllowed, ScopeError
from nodes.gateway.policy import Policy, origin_of

POLICY = Policy.of(["news/#", "price/+/eur"], ["vote/+"], ["https://Shop.example.org:443/"])
OWN = "http://127.0.0.1:8080"


@pytest.mark.parametrize("topic_filter", ["news/#", "news", "news/a/+", "price/+/eur", "price/apple/eur"])
def test_what_is_public_may_be_subscribed_to(topic_filter: str) -> None:
    assert POLICY.check_subscribe(topic_filter) == ""


@pytest.mark.parametrize("topic_filter", ["~pagesession/#", "~pagesession/chat/message", "~pagesession/+"])
def test_so_may_the_page_s_own_session(topic_filter: str) -> None:
    assert POLICY.check_subscribe(topic_filter) == "pagesession"
    assert Policy().check_publish("~pagesession/x") == "pagesession"


@pytest.mark.parametrize(
    ("topic_filter", "error"),
    [
        ("#", NotAllowed), ("+/a", NotAllowed), ("price/#", NotAllowed), ("price/apple/+", NotAllowed),
        ("newspaper", NotAllowed), ("$site_connect/agent/ada/state", ScopeError), ("$site_connect/buttons", ScopeError),
        ("~/x", ScopeError), ("~/#", ScopeError), ("$fabric/#", ScopeError), ("$inbox/x/replies", ScopeError),
        ("~pagesessions/x", ScopeError), ("~other/x", ScopeError),
        ("", InvalidFilter), ("a/#/b", InvalidFilter), ("a\0", InvalidFilter), ("\ud800", InvalidFilter),
    ],
)  # fmt: skip
def test_nothing_else_may_be_subscribed_to(topic_filter: str, error: type[FabricError]) -> None:
    with pytest.raises(error):
        POLICY.check_subscribe(topic_filter)


@pytest.mark.parametrize(
    ("topic", "error"),
    [
        ("vote", NotAllowed), ("vote/a/b", NotAllowed), ("news/a", NotAllowed), ("~/x", ScopeError),
        ("$fabric/service/frame/x", ScopeError), ("$inbox/a/requests", ScopeError), ("vote/+", InvalidTopic),
        ("", InvalidTopic),
    ],
)  # fmt: skip
def test_nothing_but_what_is_public_may_be_published(topic: str, error: type[FabricError]) -> None:
    with pytest.raises(error):
        POLICY.check_publish(topic)
    assert POLICY.check_publish("vote/a") == ""


def test_without_a_word_of_the_operator_nothing_of_the_fabric_is_public() -> None:
    for topic in ("a", "a/b", "site_connect/buttons"):
        with pytest.raises(NotAllowed, match="nothing of the fabric is"):
            Policy().check_subscribe(topic)
        with pytest.raises(NotAllowed, match="nothing of the fabric is"):
            Policy().check_publish(topic)


@pytest.mark.parametrize("public", ["~/#", "~pagesession/#", "$fabric/#", "~x/#", "#", "+", "+/#", "$site_connect/#"])
def test_a_scope_and_all_that_there_is_cannot_be_made_public(public: str) -> None:
    with pytest.raises(ScopeError):
        Policy.of([public], [], [])
    with pytest.raises(ScopeError):
        Policy.of([], [public], [])


def test_origins_are_compared_as_browsers_send_them() -> None:
    assert POLICY.allows_origin("https://shop.example.org", OWN) and POLICY.allows_origin(OWN, OWN)
    for other in ("https://shop.example.org:8443", "http://shop.example.org", "https://example.org", "null", "",
                  "https://shop.example.org.evil.org", "https://shop.example.org/"):  # fmt: skip
        assert not POLICY.allows_origin(other, OWN), other


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.org", "https://a.org"), ("https://A.org:443", "https://a.org"), ("http://a.org:80/", "http://a.org"),
        ("http://a.org:8080", "http://a.org:8080"), ("http://[::1]:80", "http://[::1]"), ("http://127.0.0.1:0", "http://127.0.0.1:0"),
    ],
)  # fmt: skip
def test_an_origin_is_written_one_way(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url", ["", "a.org", "ftp://a.org", "https://", "https://a.org/path", "https://u:p@a.org", "http://a.org:x", "null"]
)
def test_what_is_no_origin_is_refused_with_what_would_be(url: str) -> None:
    with pytest.raises(ValueError, match=r"invalid origin .*expected https://"):
        origin_of(url)


def test_a_page_retains_only_what_the_operator_lets_it() -> None:
    policy = Policy.of([], ["vote/#"], [], ["vote/+/state"])
    assert policy.check_publish("vote/a/state", retain=True) == ""
    assert policy.check_publish("vote/a/x") == ""
    assert policy.check_publish("~pagesession/x", retain=True) == "pagesession"
    for topic, refused in (("vote/a/x", policy), ("vote/a", POLICY)):
        with pytest.raises(NotAllowed, match="retain"):
            refused.check_publish(topic, retain=True)
    with pytest.raises(NotAllowed):
        Policy.of([], [], [], ["vote/#"]).check_publish("vote/a", retain=True)
    with pytest.raises(ScopeError):
        Policy.of([], [], [], ["#"])
