"""What has ended stays ended: at every gateway that shares the secret, and over restarts.

Each gateway keeps the names of what has ended (`ended`), adds them to a file, and tells the others at once. One that
begins, or is connected again, asks the others for theirs, and tells its own: either may have missed something.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from fabric import private_files
from nodes.gateway.ended import Ended
from nodes.gateway.gateways import Gateways
from nodes.gateway.hub import Hub

log = logging.getLogger("nodes.gateway")

AT_ONCE = 500
"""Names in one message."""
MOST_SHARED = 10_000
"""So many of the newest names of each kind are told to one that asks."""
KINDS = ("cookie", "session", "token")
"""The first words of names."""
SHARE_EVERY_S = 5.0
LARGE_BYTES = 16 * 1024 * 1024
"""A file that is larger is written again, without what is over."""

Name = tuple[str, float]


class EndedFile:
    """Lines of JSON, `[name, until]`. Several gateways may use one file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, now: float) -> list[Name]:
        """Return what is not over yet. The file is made if it is not there. Errors: OSError, Exposed."""
        with self._locked() as file:
            return _names(file, now)

    def add(self, names: list[Name], now: float) -> None:
        """Add these, and see them on the disk; of a file that is large, what is over goes. Errors: OSError, Exposed."""
        with self._locked() as file:
            if file.seek(0, os.SEEK_END) > LARGE_BYTES:
                names = [*_names(file, now), *names]
                file.truncate(0)
            file.write("".join(json.dumps(name) + "\n" for name in names))
            file.flush()
            os.fsync(file.fileno())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[TextIO]:
        descriptor = private_files.open_file(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        with open(descriptor, "a+", encoding="utf-8") as file:
            private_files.refuse_exposed(self._path)
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


class Endings:
    """Made in the event loop, and used there.

    file:  where names are kept over a restart; None: nowhere, as where no cookie outlives one either
    """

    def __init__(self, hub: Hub, gateways: Gateways, file: EndedFile | None) -> None:
        self._hub, self._gateways, self._file = hub, gateways, file
        self._ended = {kind: Ended() for kind in KINDS}
        """By kind: pages may make very many of theirs, and agents' cookies are not forgotten for that."""
        self._unwritten: list[Name] = []
        """What the file does not have yet, while there is one."""
        self._is_asked = True
        """Whether the others want what is kept here, or may."""
        self._shared_at = float("-inf")
        """When it was told them last, on the monotonic clock."""
        self._is_connected = False
        """Whether the node was connected when it was last looked at: then the others are asked, once."""
        for name, until in file.read(time.time()) if file is not None else ():
            self._add(name, until)
        gateways.on("ended", self._heard)
        gateways.on("asks", lambda _: self._wanted())

    def __contains__(self, name: object) -> bool:
        return any(name in ended for ended in self._ended.values())

    def end(self, name: str, until: float) -> None:
        """Something has ended. Does not wait: `written` does."""
        if self._keep(name, until):
            self._gateways.tell("ended", [[name, until]])

    async def written(self) -> None:
        """Wait until the file has all. What cannot be written is logged, and holds until this gateway ends."""
        names, self._unwritten = self._unwritten, []
        if self._file is None or not names:
            return
        try:
            await asyncio.to_thread(self._file.add, names, time.time())
        except OSError as error:
            self._hub.counts["endings_unwritten"] += len(names)
            log.error("what has ended is not kept over a restart: %s", error)

    async def tick(self, now: float) -> None:
        """About every second."""
        await self.written()
        connected = bool(self._hub.connection["connected"])
        if connected and not self._is_connected:
            self._gateways.tell("asks", None)
            self._wanted()
        self._is_connected = connected
        if self._is_asked and connected and now - self._shared_at >= SHARE_EVERY_S:
            self._is_asked, self._shared_at = False, now
            self._share()

    def _wanted(self) -> None:
        self._is_asked = True

    def _share(self) -> None:
        names: list[Name] = []
        for ended in self._ended.values():
            ended.forget(time.time())
            names += ended.newest(MOST_SHARED)
        for start in range(0, len(names), AT_ONCE):
            self._gateways.tell("ended", [list(each) for each in names[start : start + AT_ONCE]])

    def _heard(self, names: object) -> None:
        """Another gateway says what has ended."""
        for each in names if isinstance(names, list) else ():
            match each:
                case [name, until]:
                    self._keep(name, until)

    def _keep(self, name: str, until: float) -> bool:
        is_new = self._add(name, until)
        if is_new and self._file is not None:
            self._unwritten.append((name, until))
        return is_new

    def _add(self, name: object, until: object) -> bool:
        ended = self._ended.get(name.partition(" ")[0]) if isinstance(name, str) else None
        return ended is not None and ended.add(name, until, time.time())


def _names(file: TextIO, now: float) -> list[Name]:
    file.seek(0)
    return [name for name in map(_name, file) if name is not None and name[1] > now]


def _name(line: str) -> Name | None:
    """Return the name in a line; None for one that a crash has cut."""
    try:
        match json.loads(line):
            case [str(name), int() | float() as until]:
                return name, until
    except ValueError:
        pass
    return None
