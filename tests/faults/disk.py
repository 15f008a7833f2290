"""A small disk of its own, that can be filled to the last byte and freed again.

    with small_disk(folder) as disk:
        Store(f"sqlite:///{disk.folder}/store.db")
        disk.fill()                            # writers get ENOSPC
        disk.free()

Needs Linux and the right to mount; where it lacks, `NoDisk` says so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SIZE = "8m"
"""SQLite's write-ahead log alone grows to 4 MB before it is taken over."""


class NoDisk(Exception):
    """Nothing can be mounted here; the message says why."""


@dataclass(frozen=True)
class Disk:
    """One disk, mounted at `folder`."""

    folder: Path

    def fill(self) -> None:
        """Take all the room that is left."""
        try:
            with open(self.folder / "ballast", "ab", buffering=0) as file:
                while True:
                    file.write(b"\0" * 65_536)  # the last one is written in part
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def free(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.folder / "ballast")


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Mount one at `folder/disk`, and unmount it at the end; who uses it must have ended by then."""
    place = folder / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(place)]
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except OSError as error:
        raise NoDisk(f"no disk can be mounted here: {error}") from None
    if done.returncode != 0:
        raise NoDisk(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield Disk(place)
    finally:
        subprocess.run(["umount", str(place)], check=True, capture_output=True)
