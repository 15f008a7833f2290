"""A secret comes from a file: whole, long enough, and never told."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.cli.exits import Fail
from nodes.cli.secret_file import read_long_secret


def test_what_the_file_holds_is_the_secret(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b" 0123456789abcdef\n")
    (tmp_path / "secret").chmod(0o600)
    assert read_long_secret(str(tmp_path / "secret")) == b"0123456789abcdef"


def test_a_file_that_is_not_there_or_holds_too_little_is_refused(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"0123456789abcde\n")
    (tmp_path / "short").chmod(0o600)
    with pytest.raises(Fail, match="holds 15 bytes: expected 16 or more") as short:
        read_long_secret(str(tmp_path / "short"))
    assert "0123" not in str(short.value).replace(str(tmp_path), "")
    with pytest.raises(Fail, match="cannot be read"):
        read_long_secret(str(tmp_path / "none"))
