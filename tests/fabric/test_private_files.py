"""Files for their owner only: how they are made whatever the umask, and which secrets are not used."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabric import private_files
from fabric.private_files import Exposed


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_folders_and_files_are_for_their_owner(umask: int, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    private_files.make_folder(folder)
    assert mode(folder) == mode(folder.parent) == 0o700
    private_files.write(folder / "one", b"1")
    private_files.append(folder / "two", b"2")
    os.close(private_files.open_file(folder / "three", os.O_WRONLY | os.O_CREAT))
    assert {path.name: mode(path) for path in folder.iterdir()} == dict.fromkeys(("one", "two", "three"), 0o600)


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    private_files.make_folder(tmp_path)
    assert mode(tmp_path) == 0o755


def test_a_file_is_written_as_a_whole_and_replaces_one_that_was_open_to_others(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    path.chmod(0o644)
    private_files.write(path, b"new")
    assert (path.read_bytes(), mode(path), [each.name for each in tmp_path.iterdir()]) == (b"new", 0o600, ["a"])


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        private_files.write(tmp_path / "a", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("bits", [0o604, 0o640, 0o620, 0o602, 0o644, 0o777])
def test_a_secret_that_others_can_use_is_refused_with_the_command_that_mends_it(tmp_path: Path, bits: int) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"sesam")
    path.chmod(bits)
    owner = 1 if os.geteuid() == 0 else os.geteuid()
    if owner == 1:
        os.chown(path, owner, owner)
    for use in (private_files.read_secret, private_files.refuse_exposed, lambda path: private_files.append(path, b"x")):
        with pytest.raises(Exposed, match=rf"\(mode {bits:04o}\): expected chmod 600 {path}$") as caught:
            use(path)
        assert "sesam" not in str(caught.value)
    path.chmod(0o600)
    assert private_files.read_secret(path) == b"sesam"


def test_a_pipe_holds_a_secret_as_well() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"sesam")
    os.close(writing)
    assert private_files.read_secret(f"/dev/fd/{reading}") == b"sesam"
    os.close(reading)


class Found:
    """What `stat` says of a regular file."""

    def __init__(self, owner: int, mode: int) -> None:
        self.st_uid, self.st_mode = owner, stat.S_IFREG | mode


@pytest.mark.parametrize(
    ("me", "owner", "mode", "words"),
    [
        (1000, 1000, 0o600, ""),
        (1000, 1000, 0o400, ""),
        (1000, 1000, 0o640, "expected chmod 600 f"),
        (1000, 0, 0o640, ""),  # root lets a service have it by its group
        (1000, 0, 0o644, "expected chmod 640 f"),
        (1000, 0, 0o660, "expected chmod 640 f"),
        (1000, 1001, 0o604, "belongs to another user"),
        (0, 1000, 0o600, ""),
        (0, 1000, 0o640, "expected chmod 600 f"),
        (0, 0, 0o640, "expected chmod 600 f"),
    ],
)
def test_whose_files_are_used(monkeypatch: pytest.MonkeyPatch, me: int, owner: int, mode: int, words: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: me)
    monkeypatch.setattr(os, "stat", lambda path: Found(owner, mode))
    if not words:
        private_files.refuse_exposed("f")
    else:
        with pytest.raises(Exposed, match=words):
            private_files.refuse_exposed("f")


def test_what_a_program_keeps_is_tightened(tmp_path: Path) -> None:
    path = tmp_path / "store"
    path.touch(0o644)
    path.chmod(0o644)
    assert private_files.tighten(path) is True and mode(path) == 0o600
    assert private_files.tighten(path) is False


def test_what_belongs_to_somebody_else_cannot_be_tightened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "store"
    path.touch()
    path.chmod(0o644)
    monkeypatch.setattr(os, "fchmod", refuse)
    with pytest.raises(Exposed, match="expected chmod 600 by its owner, on"):
        private_files.tighten(path)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_file_that_others_may_read_has_the_mode_that_was_asked_for(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        private_files.write(tmp_path / "x", b"public", 0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o644
