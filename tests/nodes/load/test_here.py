"""Where and when a load test runs."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError
from typing import NoReturn

import pytest

from nodes.load import here


def test_what_is_true_now() -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    found = here.present()
    assert before <= datetime.fromisoformat(found.began) <= datetime.now(UTC) and found.began.endswith("Z")
    assert found.host == socket.gethostname() and found.cpus >= 1 and "Python 3" in found.system


def test_a_checkout_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> NoReturn:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", none)
    assert here.present().version == "not installed"
