"""A description whose values are written for a shell: scripts run it as it stands, and no value is run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stacks import REAL, Scripts

STAND_IN = f"""
case "$1" in
    plan) {REAL} ;;
    *) printf '%s\\0' "$@" >> "{{folder}}/got"; printf '\\n' >> "{{folder}}/got" ;;
esac
case "$1" in
    proxy | frame | page) echo '{{{{"event":"ready"}}}}'; exec sleep 600 ;;
esac
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    found = Scripts(tmp_path)
    found.use(STAND_IN.format(folder=tmp_path))
    yield found
    found.run("down")


@pytest.mark.parametrize("value", ["$(touch${IFS}X)", "`touch X`", "';touch X;'", '";touch X;"', "&touch X\\"])
def test_no_value_is_run(scripts: Scripts, value: str) -> None:
    state, listen = scripts.folder / f"s{value}", f"ipc:///tmp/{value}"
    text = json.dumps  # a text of JSON is one of TOML
    file = scripts.describe(
        "frames = [{store = " + text(f"sqlite:///{value}") + ", args = [" + text(value) + "]}]",
        "proxies = [{listen = " + text(listen) + ", args = [" + text(value) + "]}]",
        "pages = [{args = [" + text(value) + "]}]",
    )
    scripts.env["FABRIC_STATE"] = str(state)
    fabric = scripts.fabric.with_name(f"f{value}".replace("/", "_"))
    scripts.fabric.rename(fabric)
    scripts.env["FABRIC"] = str(fabric)
    done = scripts.up(file)
    assert done.returncode == 0, done.stderr
    for verb in (("status",), ("restart", "p1"), ("logs",), ("restart", value), ("down", value), ("down",)):
        scripts.run(*verb)
    got = [line.split("\0")[:-1] for line in (scripts.folder / "got").read_text().splitlines()]
    assert [words[0] for words in got[:4]] == ["proxy", "wait", "frame", "page"]
    assert all(listen in words for words in got) and {"status"} <= {words[0] for words in got}
    assert [words.count(value) for words in got if words[0] in ("proxy", "frame", "page")] == [1] * 4
    assert [path for path in (scripts.folder, state) if (path / "X").exists()] == [] and not (Path.cwd() / "X").exists()


def test_a_runner_gets_words_that_stand_for_themselves(scripts: Scripts) -> None:
    """On a host as well: there it is the runner's `bash -s` that reads them."""
    value = "$(touch${IFS}X)';touch X;'"
    runner = scripts.folder / "to"
    runner.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    runner.chmod(0o755)
    folder = scripts.folder / f"h{value}"
    host = {"address": "127.0.0.1", "runner": f"{runner} {{host}}", "state": str(folder), "fabric": str(scripts.fabric)}
    lines = [f"{key} = {json.dumps(each)}" for key, each in host.items()]
    file = scripts.describe("proxies = [{args = [" + json.dumps(value) + "]}]", "[hosts.h]", *lines)
    done = scripts.up(file)
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "p1.pid").exists() and scripts.run("status").returncode == 0
    assert scripts.run("down").returncode == 0
    assert not any((path / "X").exists() for path in (scripts.folder, folder, scripts.state, Path.home()))
