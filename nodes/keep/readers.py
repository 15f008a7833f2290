"""Who may read which history: whoever may subscribe to the filter, judged by the keeper from the mesh's rules.

A request names its publisher, whose id begins with the tag of a key; the proxy has seen to it that nobody uses
another's. The rules are the file of public keys and roles in the keeper's own folder of keys. It is read again when it
changes. Without keys everybody may read everything.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fabric.errors import KeysError
from fabric.identity.keys import RULES_FILE, read_rules
from fabric.rights import TAG_CHARS, Permissions

log = logging.getLogger("nodes.keep")

LOOK_S = 1.0
"""How often it is looked whether the file has changed."""


class Readers:
    """The rights of those who ask.

    folder: of keys; None: without keys
    """

    def __init__(self, folder: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._lock = threading.Lock()
        """Guards all that follows."""
        self._by_tag: dict[str, Permissions] = {}
        """What the owner of each key may do. Those before stay in force while the file is wrong."""
        self._stamp: tuple[int, int] | None = None
        """Time and size of the file that was read last."""
        self._look_at = 0.0
        """When to look again."""

    def why_not(self, publisher: int, topic_filter: str) -> str | None:
        """Return why whoever has this publisher's id may not read what matches a filter; None when it may."""
        if self._folder is None:
            return None
        with self._lock:
            self._look(self._folder)
            found = self._by_tag.get(f"{publisher:016x}"[:TAG_CHARS])
        if found is None:
            return "the keeper does not know the key of who asks"
        return found.why_not_subscribe(topic_filter)

    def _look(self, folder: Path) -> None:
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        try:
            told = (folder / RULES_FILE).stat()
            stamp = (told.st_mtime_ns, told.st_size)
            if stamp != self._stamp:
                permissions = read_rules(folder).permissions().values()
                self._by_tag, self._stamp = {each.tag: each for each in permissions}, stamp
        except (OSError, KeysError) as error:
            log.warning("the rules cannot be read, and those before stay in force: %s", error)
