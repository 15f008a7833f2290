"""Files and folders that only their owner may use, whatever the umask: made, and read, in this one place.

What holds a secret is made with mode 0600, in folders with 0700. A secret that others can read is not used: it may be
known already, and its owner would not notice. A file of root may be read by its group (0640), so that a service that
runs as another user can have it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700
OTHERS = 0o077
"""Every right of the group and of others."""
READABLE_OF_ROOT = 0o640
"""The most that a secret file of root may allow."""

Name = str | os.PathLike[str]


class Exposed(PermissionError):
    """Others can read or change what is to be secret; the words say which command mends it."""


def make_folder(path: Name) -> None:
    """Make a folder, and those above it that are missing, for the owner only. One that is there stays as it is."""
    folder = Path(path)
    if folder.is_dir():
        return
    make_folder(folder.absolute().parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(FOLDER_MODE)
        folder.chmod(FOLDER_MODE)


def open_file(path: Name, flags: int) -> int:
    """Open a file as `os.open` does, and return its descriptor; one that this makes is for the owner only.

    flags: of `os.open`; O_CLOEXEC is added
    """
    return os.open(path, flags | os.O_CLOEXEC, FILE_MODE)


def write(path: Name, content: bytes, mode: int = FILE_MODE) -> None:
    """Have a file with this content and mode. It is there as a whole or not at all, also after a crash."""
    target = Path(path)
    import secrets  # 8 ms, which a start that writes no file does not need

    new = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with open(open_file(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        new.rename(target)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def append(path: Name, content: bytes) -> None:
    """Add to the end of a file, which is made for the owner only. Errors: Exposed for one that others can read."""
    with open(open_file(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
        _refuse_exposed(path, os.fstat(file.fileno()))
        file.write(content)


def read_secret(path: Name) -> bytes:
    """Return what a secret file holds.

    path:   a file; a pipe as well, such as bash's `<(command)`
    errors: Exposed when others can read or change it; OSError
    """
    with open(path, "rb") as file:
        _refuse_exposed(path, os.fstat(file.fileno()))
        return file.read()


def refuse_exposed(path: Name) -> None:
    """Look at a secret file that a library is to read. Errors: Exposed when others can read or change it; OSError."""
    _refuse_exposed(path, os.stat(path))


def tighten(path: Name) -> bool:
    """Take from others what they may do with a file that a program of ours keeps; True when there was something.

    errors: Exposed when it belongs to somebody else; OSError when it cannot be opened
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not found.st_mode & OTHERS:
            return False
        try:
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & ~OTHERS)
        except PermissionError:
            raise Exposed(_words(path, found, "600 by its owner, on")) from None
        return True
    finally:
        os.close(descriptor)


def _refuse_exposed(path: Name, found: os.stat_result) -> None:
    """Only for regular files: a pipe or a terminal is nothing that others can open later."""
    if not stat.S_ISREG(found.st_mode):
        return
    me = os.geteuid()
    if found.st_uid not in (0, me) and me != 0:
        raise Exposed(f"{os.fspath(path)} belongs to another user: expected one of this user, or of root")
    allowed = READABLE_OF_ROOT if found.st_uid == 0 != me else FILE_MODE
    if found.st_mode & OTHERS & ~allowed:
        raise Exposed(_words(path, found, f"{allowed:o}"))


def _words(path: Name, found: os.stat_result, mode: str) -> str:
    name, now = os.fspath(path), f"{stat.S_IMODE(found.st_mode):04o}"
    return f"{name} is for its owner only, and others can use it (mode {now}): expected chmod {mode} {name}"
