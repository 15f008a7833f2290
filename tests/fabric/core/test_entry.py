"""What may enter, and which markers are plain: the rule, and the compiled twin of it on the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fabric.core import _switch, entry
from fabric.errors import RemoteWireError
from fabric.protocol import markers
from fabric.protocol.markers import decode_marker, encode_marker, encode_rights_wanted
from fabric.protocol.views import Record
from fabric.wire import decode_topic

BOTH = pytest.mark.parametrize("rule", [entry, _switch], ids=["plain", "compiled"])
MAX_BODY = 20


@BOTH
@pytest.mark.parametrize(
    ("topic", "kind"),
    [
        ("a/b", None),
        ("ä/€/😀", None),
        ("/", None),
        ("~pagesession/h/s/x", None),
        ("~pagesession", None),
        ("$fabric/proxy/p1", "system"),
        ("$fabric/proxy/ask", "system"),
        ("$fabric/proxy/p1/ask", None),
        ("$fabric/who", None),
        ("$fabric/who/x", None),
        ("$fabric/whole", "system"),
        ("$fabric/service/x/y", None),
        ("$fabric/audit/x", "system"),
        ("$ack/x/r", "system"),
        ("$fabric/service/x/y", None),
        ("$inbox/x/replies", None),
        ("$ack/0123/w", None),
        ("$ack/0123/q", None),
        ("$ack/0123/m", "system"),
        ("$ack/0123/b", "system"),
        ("$ack/", "system"),
        ("$fabric", "system"),
        ("$SYS/x", "system"),
        ("~/x", "local_scope"),
        ("~", "local_scope"),
        ("~pagesessions/x", "local_scope"),
        ("~other", "local_scope"),
        ("", "bad_topic"),
        ("a/+", "bad_topic"),
        ("a#", "bad_topic"),
        ("~/+", "bad_topic"),
        ("l/" * 200 + "l", None),
        ("l/" * 201 + "l", "bad_topic"),
        ("x" * 65_535, None),
        ("x" * 65_536, "bad_topic"),
    ],
)
def test_topics(rule: Any, topic: str, kind: str | None) -> None:
    assert rule.refusal(topic.encode() + b"\0body", MAX_BODY) == kind


@BOTH
def test_of_what_is_addressed_to_one_run_publishers_send_watermarks_and_questions(rule: Any) -> None:
    token = "0123456789abcdef" * 2
    sent = [markers.watermark_topic(token), markers.question_topic(token)]
    never_sent = [markers.answer_topic(token), markers.bell_topic(token)]
    assert [rule.refusal(topic.encode() + b"\0", MAX_BODY) for topic in sent] == [None, None]
    assert [rule.refusal(topic.encode() + b"\0", MAX_BODY) for topic in never_sent] == ["system", "system"]


@BOTH
def test_size_and_what_is_no_part(rule: Any) -> None:
    assert rule.refusal(b"a\0" + b"x" * MAX_BODY, MAX_BODY) is None
    assert rule.refusal(b"a\0" + b"x" * (MAX_BODY + 1), MAX_BODY) == "too_large"
    assert rule.refusal(b"a\0\0\0", MAX_BODY) is None, "only the first NUL ends a topic"
    assert rule.refusal(b"", MAX_BODY) == rule.refusal(b"no nul", MAX_BODY) == "no_topic"
    assert rule.refusal(b"\xff\0", MAX_BODY) == "bad_topic"


ODD_BYTES = st.sampled_from(
    [b"\0", b"/", b"+", b"#", b"~", b"$", b"~pagesession", b"$ack/", b"/w", b"$fabric/", b"\xc3"]
)
topics = st.lists(
    ODD_BYTES | st.binary(max_size=4) | st.text(max_size=3).map(lambda text: text.encode(errors="surrogatepass"))
)


@given(topics.map(b"".join), st.binary(max_size=MAX_BODY + 3))
@example(b"\xed\xa0\x80", b"")
@example(b"\xf4\x90\x80\x80", b"")
@example(b"\xc0\xaf", b"")
@example(b"\xe0\x80\xaf", b"")
@example(b"\xf0\x80\x80\xaf", b"")
@example(b"a\xe2\x82", b"")
def test_both_refuse_the_same(topic: bytes, body: bytes) -> None:
    part = topic + b"\0" + body
    kind = entry.refusal(part, MAX_BODY)
    assert _switch.refusal(part, MAX_BODY) == kind
    assert _switch.refusal(topic, MAX_BODY) == entry.refusal(topic, MAX_BODY)
    if kind is None:
        decode_topic(part.partition(b"\0")[0])
    elif kind in ("bad_topic", "local_scope"):
        with pytest.raises(RemoteWireError) as told:
            decode_topic(part.partition(b"\0")[0])
        assert told.value.kind == kind


# --- markers

TOKEN = "0123456789abcdef" * 2 + "-1"


@BOTH
@pytest.mark.parametrize("token", ["x", "a" * 31, "a" * 32, TOKEN, "a" * 100])
@pytest.mark.parametrize("nonce", [b"", b"n", b"12345678", b"\0" * 64])
def test_a_nodes_marker_is_plain(rule: Any, token: str, nonce: bytes) -> None:
    assert rule.read_marker(encode_marker(token, nonce, None)) == (token.encode(), nonce, None, 0)


@BOTH
@pytest.mark.parametrize("wanted", [[], [b""], [b"a/", b"b\0"], [b"x"] * 15, [b"x"] * 16, [b"y" * 255, b"z" * 4096]])
def test_a_nodes_marker_may_want_retained_values(rule: Any, wanted: list[bytes]) -> None:
    part = encode_marker(TOKEN, b"nonce", None, wanted=wanted)
    found = rule.read_marker(part)
    assert found[:3] == (TOKEN.encode(), b"nonce", tuple(wanted))
    narrowed = decode_marker(entry.with_wanted(part, found[3], [b"one/"]))
    assert narrowed == (TOKEN, b"nonce", None, (), (b"one/",))


@BOTH
@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"\x02",
        b"\x02\x95\x01\xa6marker",
        encode_marker(TOKEN, b"n", Record("p", "0", "tcp://127.0.0.1:1")),
        encode_marker(TOKEN, b"n", None, [b"a/"]),
        encode_marker(TOKEN, b"n", None, [b"a/"], [b"b/"]),
        encode_marker(TOKEN, b"n", None, wanted=[b"a/"]) + b"x",
        encode_marker(TOKEN, b"n", None, wanted=[b"a/"])[:-1],
        encode_marker(TOKEN, b"n", None, wanted=[b"a/"]).replace(b"\xc4\x02a", b"\xa2a"),
        encode_marker("ä", b"n", None),
        encode_marker("a b", b"n", None),
        encode_marker(TOKEN, b"n", None) + b"x",
        encode_marker(TOKEN, b"n", None)[:-1],
        encode_marker(TOKEN, b"n", None).replace(b"\xd9\x22", b"\xd9\x21"),
        encode_marker(TOKEN, b"n" * 64, None).replace(b"\xc4\x40", b"\xc4\x41"),
    ],
)
def test_every_other_part_is_for_the_control_thread(rule: Any, part: bytes) -> None:
    assert rule.read_marker(part) is None


def spoil(part: bytes, at: int, to: int) -> bytes:
    at %= len(part)
    return part[:at] + bytes([to]) + part[at + 1 :]


@given(
    st.binary(max_size=60)
    | st.builds(
        spoil,
        st.sampled_from(
            [
                encode_marker(TOKEN, b"12345678", None),
                encode_marker("ab", b"", None),
                encode_marker("ab", b"n", None, wanted=[b"a/", b"b" * 300]),
                encode_marker("ab", b"n", None, wanted=[b"x"] * 20),
            ]
        ),
        st.integers(0, 100),
        st.integers(0, 255),
    )
)
def test_both_read_the_same_markers_and_what_they_read_is_one(part: bytes) -> None:
    found = entry.read_marker(part)
    assert _switch.read_marker(part) == found
    if found is not None:
        marker = decode_marker(part)
        assert (marker.token.encode(), marker.nonce, marker.wanted) == found[:3]
        assert marker.sender is None and marker.claims == ()


def test_verdicts_on_short_topics_are_kept_and_long_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[bytes] = []
    judge: Callable[[bytes], str | None] = entry._judge

    def remembered(raw: bytes) -> str | None:
        judged.append(raw)
        return judge(raw)

    monkeypatch.setattr(entry, "_remembered", remembered)
    assert entry.refusal(b"a\0", 1) is None and entry.refusal(b"x" * 300 + b"\0", 1) is None
    assert judged == [b"a"], "long topics are not kept"


@BOTH
def test_a_control_part_begins_as_no_topic_does(rule: Any) -> None:
    parts = [encode_marker(TOKEN, b"n", None), encode_rights_wanted("token"), b"\x02\x90", b"\x02\x9f"]
    assert all(rule.is_control(part) for part in parts)
    for part in parts:
        assert rule.refusal(part + b"\0", 100) == "bad_topic"
    assert not any(rule.is_control(prefix) for prefix in (b"", b"\x02", b"\x02a/", b"\x02\xa0", b"\x01\x95", b"a/"))
