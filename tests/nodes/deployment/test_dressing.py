"""What tables of every kind may say."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.deployment.plan import make
from nodes.deployment.process import Process


def named(**description: Any) -> dict[str, Process]:
    return {each.name: each for each in make(description, fabric="fabric", state="/s").processes}


def http_of(process: Process) -> list[str]:
    return [process.command[at + 1] for at, word in enumerate(process.command) if word == "--http"]


def test_status_pages_have_a_port_each_and_one_more_moves_no_other() -> None:
    keepers = [{"filters": ["a"], "http": "off"}, {"filters": ["b"]}]
    few = named(frames=1, gateways=1, pages=1, keepers=keepers, http="http://127.0.0.1:9000")
    more = named(frames=3, gateways=2, pages=1, keepers=keepers, proxies=2, http="http://127.0.0.1:9000")
    for name, port in (("f1", 9000), ("g1", 9100), ("keeper-2", 9201), ("pages", 9300)):
        assert http_of(few[name]) == http_of(more[name]) == [f"http://127.0.0.1:{port}"]
    assert http_of(more["f3"]) == ["http://127.0.0.1:9002"] and http_of(few["keeper-1"]) == ["off"]
    assert http_of(few["p1"]) == [], "it has one 5 above its base"


def test_logs_restarts_and_variables() -> None:
    found = named(
        frames=[{"restart": "always", "env": {"TZ": "UTC"}}], log_json=True, restart="on-failure",
        run=[{"command": "x", "env": {"A": "b c"}}],
    )  # fmt: skip
    assert "--log-json" in found["p1"].command and "--log-json" not in found["run1"].command
    assert [each.restart for each in found.values()] == ["on-failure", "always", "on-failure"]
    assert found["f1"].env == ("TZ=UTC",) and "A=b c" in found["run1"].env


def test_keys_are_told_by_options_and_to_commands_by_their_environment() -> None:
    found = named(keys="/k", frames=1, gateways=1, keepers=[{"filters": ["a"]}], run=[{"command": "x"}])
    assert {name: each.role for name, each in found.items()} == {
        "p1": "proxy", "keeper": "keeper", "f1": "frame", "g1": "gateway", "run1": "node",
    }  # fmt: skip
    assert found["run1"].env[:2] == ("FABRIC_KEYS=/s/keys", "FABRIC_IDENTITY=run1")
    assert all("--identity" in each.command for each in found.values() if each.kind != "run")


def test_args_come_last_and_so_count_most() -> None:
    found = named(frames=1, gateways=[{"args": ["--listen", "http://127.0.0.1:1"]}])
    assert found["g1"].command[-2:] == ("--listen", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"restart": "never"}, "p1: invalid restart 'never': expected one of no, on-failure, always"),
        ({"proxies": [{"env": {"A B": "x"}}]}, "p1: invalid variable 'A B'"),
        ({"proxies": [{"env": {"A": 3}}]}, "p1: invalid A 3: expected text in quotes"),
        ({"frames": 1, "http": "http://h"}, "invalid http 'http://h': expected http://HOST:PORT"),
    ],
)
def test_what_is_wrong_is_named(description: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        named(**description)
    assert words in str(caught.value)
