"""What pages say of rules that they cannot apply, in the log."""

from __future__ import annotations

from collections import Counter

import pytest

from nodes.gateway.privacy_problems import KIND, MAX_CHARS, MAX_SAID, PrivacyProblems

SHOP = "https://shop.example"


def test_each_problem_is_named_once_and_all_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    counts: Counter[str] = Counter()
    problems = PrivacyProblems(counts)
    problems.heard(SHOP, {"why": "said before", "again": True})
    for payload in ({"why": "mask ?: no selector"}, {"why": "mask ?: no selector"}, {"why": "a\nb"}, {}, 7, None):
        problems.heard(SHOP, payload)
    assert counts[KIND] == 6
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == f"a page of {SHOP} cannot apply a rule on what leaves it: 'mask ?: no selector'"
    assert len(said) == 3 and "\n" not in "".join(said)


def test_pages_cannot_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    problems = PrivacyProblems(Counter())
    for number in range(MAX_SAID + 5):
        problems.heard(SHOP, {"why": f"{number} " + "x" * 10_000})
    assert len(caplog.records) == MAX_SAID and len(caplog.records[0].getMessage()) < MAX_CHARS + 200
