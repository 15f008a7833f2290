"""Which words of a command hold a password: every user of a machine can read them in its list of processes. Pure."""

from __future__ import annotations

import re

_IN_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s:/@?]*:[^@\s]+@")
"""`scheme://user:password@`: what a password may hold is not said anywhere, but for a space and a bare @."""
_IN_QUERY = re.compile(r"[?&](ssl)?password=[^&]", re.IGNORECASE)
"""`?password=…`, which libpq takes, too."""


def has_password(word: str) -> bool:
    """Say whether a word of a command holds a URL with a password."""
    return _IN_URL.search(word) is not None or _IN_QUERY.search(word) is not None
