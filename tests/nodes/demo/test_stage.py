"""The stage of the demos: children are started, waited for, and stopped by their ids."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.demo.stage import Failed, Stage


def test_a_child_is_waited_for_and_gone_at_the_end() -> None:
    stage = Stage()
    try:
        child = stage.start("match", "match", "a/#", "a/b")
        child.wait_end(30)
        assert child.lines and child.lines[0][1].startswith("a/b")
    finally:
        stage.clear()


def test_a_child_that_does_not_come_far_enough_fails_with_its_words(tmp_path: Path) -> None:
    stage = Stage()
    try:
        child = stage.start("sub", "sub", "a/#", "--connect", f"ipc://{tmp_path}/nobody")
        with pytest.raises(Failed):
            child.wait_until(lambda: False, "what never comes", 0.3)
    finally:
        stage.clear()


def test_a_demo_uses_no_keys_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FABRIC_KEYS", "/nowhere")
    monkeypatch.setenv("FABRIC_IDENTITY", "me")
    stage = Stage()
    try:
        child = stage.start("sub", "sub", "a", "--connect", "tcp://127.0.0.1:1", "--connect-timeout", "0.1")
        with pytest.raises(Failed, match="no proxy answered"):
            child.wait_end(30)
    finally:
        stage.clear()
