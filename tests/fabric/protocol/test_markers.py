"""Markers and answers there and back; whatever else arrives is refused in the one way that is documented."""

from __future__ import annotations

import re
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import RemoteWireError
from fabric.protocol.markers import (
    MAX_VIEW_BYTES,
    Kind,
    ack_prefix,
    answer_payload,
    answer_topic,
    bell_topic,
    decode_marker,
    encode_marker,
    is_addressed,
    kind_of,
    node_prefix,
    not_kept_topic,
    question_topic,
    read_answer,
    repair_topic,
    retained_topic,
    rights_topic,
    token_of,
    watermark_topic,
)
from fabric.protocol.views import STATES, PeerView, Record, View
from fabric.wire import encode_control
from tests.support.processes import ROOT

RECORD = Record("p1", "i1", "tcp://127.0.0.1:5570")
VIEW = View(RECORD, "member", (PeerView(Record("p2", "i2", "ipc:///run/p2"), True, False, False),))

names = st.text("aé9.:- ", min_size=1, max_size=8)
records = st.builds(Record, names, names, st.sampled_from(["tcp://127.0.0.1:5570", "ipc:///run/p1", "tcp://[::1]:9"]))
peer_views = st.builds(PeerView, records, st.booleans(), st.booleans(), st.booleans())
views = st.builds(View, records, st.sampled_from(STATES), st.lists(peer_views, max_size=4).map(tuple))

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["id", "incarnation", "base", "state", "peers", "linked", "dead", "joining", "nonce", "leg", "view"]


@st.composite
def spoiled(draw: st.DrawFn, whole: Any) -> Any:
    """A valid tree of maps and lists in which one place holds junk, lacks, or has more than it should."""
    if isinstance(whole, dict) and whole and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(whole)))
        if draw(st.booleans()):
            return {**whole, key: draw(spoiled(whole[key]))}
        return {name: value for name, value in whole.items() if name != key}
    if isinstance(whole, list) and whole and draw(st.integers(0, 3)):
        index = draw(st.integers(0, len(whole) - 1))
        return [*whole[:index], draw(spoiled(whole[index])), *whole[index + 1 :]]
    return draw(junk)


# --- markers


@given(names, st.binary(max_size=64), st.none() | records)
def test_a_marker_comes_back_as_it_was(token: str, nonce: bytes, sender: Record | None) -> None:
    assert decode_marker(encode_marker(token, nonce, sender))[:3] == (token, nonce, sender)


@given(st.lists(st.binary(max_size=40), max_size=4), st.none() | st.lists(st.binary(max_size=40), max_size=40))
def test_a_marker_says_what_is_claimed_and_what_is_wanted(claims: list[bytes], wanted: list[bytes] | None) -> None:
    marker = decode_marker(encode_marker("t", b"n", None, claims, wanted))
    assert marker.claims == tuple(claims)
    assert marker.wanted == (None if wanted is None else tuple(wanted))


def test_a_later_version_may_say_more_in_a_marker() -> None:
    assert decode_marker(encode_control("marker", "t", b"n", None, [], [], "more"))[:3] == ("t", b"n", None)


def test_a_marker_is_no_subscription() -> None:
    assert encode_marker("t", b"n", None)[0] not in (0, 1), "XPUB would take it as a subscription or a cancel"


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("t", b"n"),
        (b"t", b"n", None),
        ("", b"n", None),
        ("a/b", b"n", None),
        ("+", b"n", None),
        ("a\0b", b"n", None),
        ("t" * 101, b"n", None),
        ("t", "n", None),
        ("t", bytes(65), None),
        ("t", b"n", 1),
        ("t", b"n", {}),
        ("t", b"n", {"id": "p1", "incarnation": "i1", "base": "nowhere"}),
    ],
)
def test_what_is_no_marker(fields: tuple[object, ...]) -> None:
    with pytest.raises(RemoteWireError):
        decode_marker(encode_control("marker", *fields))


def test_another_kind_is_no_marker() -> None:
    with pytest.raises(RemoteWireError, match="invalid marker"):
        decode_marker(encode_control("market", "t", b"n", None))


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"\x02" + rest))
def test_any_bytes_are_a_marker_or_a_remote_wire_error(part: bytes) -> None:
    with pytest.raises(RemoteWireError):
        decode_marker(part)


@given(st.lists(junk, max_size=5))
def test_any_fields_are_a_marker_or_a_remote_wire_error(fields: list[Any]) -> None:
    part = b"\x02" + msgpack.packb([1, "marker", *fields])
    try:
        marker = decode_marker(part)
    except RemoteWireError:
        return
    assert marker[:2] == tuple(fields[:2]), "what is taken is what was sent"


@given(st.data())
def test_a_spoiled_marker_is_a_marker_or_a_remote_wire_error(data: st.DataObject) -> None:
    fields = data.draw(spoiled([1, "marker", "t", b"n", RECORD.to_map()]))
    try:
        decode_marker(b"\x02" + msgpack.packb(fields))
    except RemoteWireError:
        return


# --- answers


@given(st.binary(max_size=16), st.sampled_from(["out", "link"]), views)
def test_an_answer_comes_back_as_it_was(nonce: bytes, leg: str, view: View) -> None:
    payload = msgpack.unpackb(msgpack.packb(answer_payload(nonce, leg, view)))
    assert read_answer(payload) == (nonce, leg, view)


def test_a_later_version_may_say_more_in_an_answer() -> None:
    assert read_answer({**answer_payload(b"n", "link", VIEW), "more": 1}) == (b"n", "link", VIEW)


@pytest.mark.parametrize("change", [{"nonce": "n"}, {"leg": "guest"}, {"leg": []}, {"view": None}, {"view": {}}])
def test_what_is_no_answer(change: dict[str, Any]) -> None:
    assert read_answer({**answer_payload(b"n", "out", VIEW), **change}) is None


@given(junk | st.dictionaries(st.sampled_from(FIELDS), junk))
def test_junk_is_no_answer_and_no_view(payload: Any) -> None:
    assert read_answer(payload) is None
    assert View.from_map(payload) is None


@given(st.data())
def test_a_spoiled_answer_is_read_whole_or_not_at_all(data: st.DataObject) -> None:
    payload = data.draw(spoiled(answer_payload(b"n", "out", VIEW)))
    answer = read_answer(payload)
    if answer is not None:
        assert View.from_map(answer.view.to_map()) == answer.view
        assert answer.leg in ("out", "link")


def test_the_prefix_of_an_incarnation_ends_at_a_level_and_that_of_a_node_does_not() -> None:
    assert ack_prefix("abc") == b"$ack/abc/"
    assert answer_topic("abc-1").encode().startswith(node_prefix("abc")), "its connections have tokens of that kind"
    assert is_addressed(ack_prefix("abc")) and is_addressed(node_prefix("abc"))
    assert not is_addressed(b"") and not is_addressed(b"$fabric/proxy/") and not is_addressed(b"a$ack/x")


def _of_publisher(token: str) -> str:
    return not_kept_topic(0x1234).replace(f"{0x1234:016x}", token)


MAKERS = {
    Kind.ANSWER: answer_topic,
    Kind.WATERMARK: watermark_topic,
    Kind.BELL: bell_topic,
    Kind.QUESTION: question_topic,
    Kind.RIGHTS: rights_topic,
    Kind.RETAINED: retained_topic,
    Kind.NOT_KEPT: _of_publisher,
    Kind.REPAIR: repair_topic,
}


@pytest.mark.parametrize("kind", Kind)
def test_what_is_addressed_says_to_whom_and_what_it_is(kind: Kind) -> None:
    raw = MAKERS[kind]("0123-1").encode()
    assert raw == f"$ack/0123-1/{kind.value}".encode() and raw.startswith(ack_prefix("0123-1"))
    assert (kind_of(raw), token_of(raw)) == (kind, "0123-1")


@pytest.mark.parametrize("raw", [b"", b"/m", b"$ack/x", b"$ack/x/", b"$ack/x/mm", b"$ack/x/z", b"truck/1/m", b"$ack"])
def test_other_topics_have_no_kind(raw: bytes) -> None:
    assert kind_of(raw) is None


@given(st.binary(max_size=20) | st.binary(max_size=10).map(lambda some: b"$ack/" + some + b"/m"))
def test_a_token_is_read_whatever_the_bytes(raw: bytes) -> None:
    if kind_of(raw) is not None:
        assert isinstance(token_of(raw), str)


def test_no_other_module_spells_these_topics_out() -> None:
    spelt = re.compile(r"""["']\$ack\b|["']/[mwbqtk]["']""")
    sources = {path: path.read_text() for folder in ("fabric", "nodes") for path in (ROOT / folder).rglob("*.py")}
    found = sorted(str(path.relative_to(ROOT)) for path, text in sources.items() if spelt.search(text))
    # Those of the core are held against `markers` by their own tests.
    rights = {"fabric/identity/rules.py", "fabric/rights.py"}
    core = {f"fabric/core/{name}.py" for name in ("entry", "retained", "switch")}
    assert set(found) == {*core, "fabric/protocol/markers.py", *rights}


@pytest.mark.parametrize(
    "packed", [b"", b"\x02", encode_control("view"), encode_control("marker", VIEW.to_map()), encode_control("view", 7)]
)
def test_bytes_that_are_no_view_are_no_answer(packed: bytes) -> None:
    assert read_answer({"nonce": b"n", "leg": "out", "view": packed}) is None


def test_a_view_beyond_its_limit_is_not_read_and_a_thousand_peers_fit() -> None:
    peers = tuple(PeerView(Record(f"{n:0100}", "i" * 64, f"tcp://h:{n + 1}"), True, False, False) for n in range(1000))
    answer = answer_payload(b"n", "link", View(RECORD, "member", peers))
    assert read_answer(answer) is not None
    assert read_answer({**answer, "view": answer["view"] + bytes(MAX_VIEW_BYTES)}) is None
