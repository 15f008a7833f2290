"""Where a store is: the command line, a file, the environment; and no word of a password."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from fabric.errors import Busy
from nodes.cli.exits import Exit, Fail
from nodes.cli.options import STORE
from nodes.cli.stores import open_store, store_options, store_url

URL = "postgresql://u:sesam@h:1/d?password=sesam"


def url_of(*args: str) -> str:
    found: list[str] = []

    @click.command()
    @store_options("somebodies")
    def command(url: str | None, store_file: str | None) -> None:
        found.append(store_url(url, store_file))

    command.main(list(args), standalone_mode=False)
    return found[0]


def test_from_the_command_line_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert url_of("--store", "sqlite:///a") == "sqlite:///a"
    file = tmp_path / "url"
    file.touch(0o600)
    file.write_text("postgresql://u:sesam@h/d\n")
    monkeypatch.setenv(STORE, "sqlite:///b")
    assert url_of("--store-file", str(file)) == "postgresql://u:sesam@h/d"
    monkeypatch.setenv(STORE, "sqlite:///b")
    assert url_of() == "sqlite:///b" and STORE not in os.environ, "what is started later does not have it"
    assert capsys.readouterr().err == ""


def test_a_password_on_the_command_line_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    url_of("--store", "postgresql://u:sesam@h/d")
    said = capsys.readouterr().err
    assert "every user of this machine can read the password in --store" in said and "sesam" not in said


def test_what_is_missing_or_too_much_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="Missing option '--store'"):
        url_of()
    with pytest.raises(click.UsageError, match="--store and --store-file: expected one of them"):
        url_of("--store", "a", "--store-file", "b")


def test_a_store_that_cannot_be_opened() -> None:
    def raising(error: Exception) -> None:
        raise error

    with pytest.raises(click.UsageError, match="--store cannot be used: wrong"):
        open_store(URL, lambda: raising(ValueError("wrong")))
    for error, words in (
        (Busy("away"), r"cannot open the store postgresql://u@h:1/d: away$"),
        (ModuleNotFoundError("x", name="x"), "x is not "),
    ):
        with pytest.raises(Fail, match=words) as caught:
            open_store(URL, lambda error=error: raising(error))  # type: ignore[misc]
        assert caught.value.code == Exit.MISSING
    assert open_store(URL, lambda: 3) == 3
