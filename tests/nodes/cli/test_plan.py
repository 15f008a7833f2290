"""`fabric plan`: files and flags, for people and for scripts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from nodes.cli.exits import Exit
from nodes.deployment.plan import FORM, SEPARATOR
from tests.support.processes import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_flags_for_people(run_fabric: Run) -> None:
    done = run_fabric("plan", "--proxies", "2", "--frames", "1", "--pages", "20", "--listen", "tcp://127.0.0.1:7000")
    lines = done.stdout.splitlines()
    assert done.returncode == Exit.DONE and [line.split("\t")[0] for line in lines] == ["p1", "p2", "f1", "pages"]
    assert "--listen tcp://127.0.0.1:7010" in lines[1] and "on this machine" in lines[0]


def test_the_store_of_the_environment_is_the_default_but_for_a_password(run_fabric: Run, tmp_path: Path) -> None:
    file, words = tmp_path / "fabric.toml", ("plan", "--frames", "1")
    file.write_text("frames = 1\n")
    for args in (words, ("plan", str(file))):
        done = run_fabric(*args, FABRIC_STORE="postgresql://u@h/d")
        assert done.returncode == Exit.DONE and "--store postgresql://u@h/d" in done.stdout
        done = run_fabric(*args, FABRIC_STORE="postgresql://u:sesam@h/d")
        assert (done.returncode, done.stdout) == (Exit.USAGE, "") and "sesam" not in done.stderr
        assert f"expected {'store_file' if len(args) == 2 else '--store-file'} with a file" in done.stderr
    done = run_fabric(*words, "--store-file", "url", FABRIC_STORE="postgresql://u:sesam@h/d")
    assert f"--store-file {ROOT}/url" in done.stdout


def test_a_file_for_scripts(run_fabric: Run, tmp_path: Path) -> None:
    file = tmp_path / "fabric.toml"
    file.write_text('proxies = 2\nready_s = 5\ninsecure = true\n[hosts.h1]\naddress = "10.0.0.1"\n')
    done = run_fabric("plan", str(file), "--lines", "--command", "/opt/fabric", FABRIC_STATE=str(tmp_path / "s"))
    head, first, _ = done.stdout.splitlines()
    assert head == SEPARATOR.join([FORM, "5", "10", ""])
    assert first.split(SEPARATOR)[:6] == [
        "p1", "proxy", "h1", "ssh -o BatchMode=yes h1", str(tmp_path / "s"), "/opt/fabric",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["/nowhere.toml"], Exit.MISSING, "/nowhere.toml cannot be read: No such file"),
        (["BAD"], Exit.USAGE, "invalid key 'x': expected one of proxies"),
        (["BINARY"], Exit.USAGE, "not text in UTF-8"),
        (["BAD", "--proxies", "2"], Exit.USAGE, "expected either a file or flags"),
        (["--pages", "3"], Exit.USAGE, "pages need a frame node: expected --frames 1 or more"),
        (["PAGES"], Exit.USAGE, "pages need a frame node: expected frames 1 or more"),
        (["--listen", "tcp://192.0.2.1:5570"], Exit.USAGE, "expected --keys, or --insecure"),
        (["--proxies", "0"], Exit.USAGE, "--proxies"),
    ],
)
def test_what_is_wrong_is_one_line(run_fabric: Run, tmp_path: Path, args: list[str], code: Exit, words: str) -> None:
    (tmp_path / "bad").write_text("x = 1")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "pages").write_text("pages = 3")
    names = {"PAGES": str(tmp_path / "pages"), "BAD": str(tmp_path / "bad"), "BINARY": str(tmp_path / "binary")}
    done = run_fabric("plan", *(names.get(word, word) for word in args))
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr and done.stderr.count("\n") == 1
