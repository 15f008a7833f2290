"""Records and views: there and back, and None for whatever else a peer may send."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol.views import MAX_PEERS, STATES, PeerView, Record, View, record_from
from fabric.topics import valid_name

P1 = Record("p1", "a" * 32, "tcp://127.0.0.1:5570")
P2 = Record("p2", "b" * 32, "ipc:///tmp/p2")

records = st.sampled_from([P1, P2, Record("ü ber", "c", "tcp://[::1]:7")])
views = st.builds(
    View,
    records,
    st.sampled_from(STATES),
    st.lists(st.builds(PeerView, records, st.booleans(), st.booleans(), st.booleans()), max_size=4).map(tuple),
    st.booleans(),
)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(views)
def test_a_view_is_read_as_it_was_written(view: View) -> None:
    assert View.from_map(view.to_map()) == view


@given(junk)
def test_junk_is_no_view(value: Any) -> None:
    assert View.from_map(value) is None
    assert record_from(value) is None


@given(views, st.sampled_from(["id", "incarnation", "base", "state", "peers"]), junk)
def test_a_view_with_one_wrong_field_is_none_or_still_sound(view: View, field: str, value: Any) -> None:
    found = View.from_map({**view.to_map(), field: value})
    assert found is None or (found.state in STATES and valid_name(found.record.id))


def test_more_peers_than_a_mesh_may_have_are_refused() -> None:
    peers = (PeerView(P2, True, False, False),) * (MAX_PEERS + 1)
    assert View.from_map(View(P1, "member", peers).to_map()) is None
    assert View.from_map(View(P1, "member", peers[:-1]).to_map()) is not None


@pytest.mark.parametrize("base", ["", "tcp://", "tcp://host", "http://host:1", "tcp://127.0.0.1:70000", "ipc://"])
def test_a_record_needs_an_address(base: str) -> None:
    assert record_from({**P1.to_map(), "base": base}) is None
