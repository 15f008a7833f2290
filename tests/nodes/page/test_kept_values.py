"""What a page's program retains: the last value of each topic, as it was when it was published."""

from __future__ import annotations

import pytest

from fabric.errors import HighWaterMarkReached, LocalWireError
from nodes.page.kept_values import MAX_BYTES, KeptValues


def test_the_last_value_counts_until_it_is_cleared_or_expires() -> None:
    kept = KeptValues()
    kept.keep("~/b", 1, 0, 0.0)
    kept.keep("~/a", 1, 0, 0.0)
    kept.keep("~/b", 2, 5, 0.0)
    assert kept.matching("~/+", 4.9) == [("~/a", 1), ("~/b", 2)]
    assert kept.matching("~/+", 5.0) == [("~/a", 1)]
    kept.keep("~/a", None, 0, 5.0)
    kept.keep("~/never", None, 0, 5.0)
    assert kept.matching("~/#", 5.0) == []
    kept.keep("~/a", 3, 0, 5.0)
    assert kept.matching("~/a", 5.0) == [("~/a", 3)]


def test_a_copy_is_kept() -> None:
    kept, value = KeptValues(), {"n": [1]}
    kept.keep("~/a", value, 0, 0.0)
    value["n"].append(2)
    assert kept.matching("~/a", 0.0) == [("~/a", {"n": [1]})]


def test_what_is_too_much_or_cannot_be_sent_is_refused_and_changes_nothing() -> None:
    kept = KeptValues()
    kept.keep("~/a", 1, 0, 0.0)
    with pytest.raises(HighWaterMarkReached, match="retains 1 topics"):
        kept.keep("~/a", bytes(MAX_BYTES), 0, 0.0)
    with pytest.raises(LocalWireError):
        kept.keep("~/a", object(), 0, 0.0)
    assert kept.matching("~/#", 0.0) == [("~/a", 1)]
