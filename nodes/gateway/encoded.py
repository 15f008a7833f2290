"""Files of text as a gateway serves them: compressed for browsers that take it, and known by what they hold.

Both forms of a file have a strong `ETag` of their own, and each answer says `Vary: Accept-Encoding`, so that no cache
hands out one for the other. The bundles are a few hundred kB in all: they are kept in memory, in both forms.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ETag, web

LEVEL = 9
_REFUSED = re.compile(r"\bq\s*=\s*0(\.0{0,3})?\s*$")


@dataclass(frozen=True)
class Text:
    """A file's content. zipped: None where compression does not pay."""

    plain: bytes
    zipped: bytes | None
    tag: str

    @classmethod
    def of(cls, plain: bytes) -> Text:
        zipped = gzip.compress(plain, LEVEL, mtime=0)  # the same bytes at every gateway
        return cls(plain, zipped if len(zipped) < len(plain) else None, hashlib.sha256(plain).hexdigest()[:32])


class Texts:
    """Files that were read. A file that has changed is read again."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[tuple[int, int], Text]] = {}
        """path -> when it was changed last in ns, and its size; and its content. Grows with the files."""

    def text(self, path: Path) -> Text:
        """Return a file's content. Errors: OSError."""
        stat = path.stat()
        state = stat.st_mtime_ns, stat.st_size
        known = self._read.get(path)
        if known is None or known[0] != state:
            known = state, Text.of(path.read_bytes())
            self._read[path] = known
        return known[1]


def answer(request: web.Request, text: Text, headers: Mapping[str, str]) -> web.Response:
    """Return the answer to a request: 304 if the browser has it, else all of it, in the form that it takes."""
    zipped = text.zipped if takes_gzip(request.headers.get("Accept-Encoding", "")) else None
    tag = ETag(text.tag + ("-gzip" if zipped is not None else ""))
    has = request.if_none_match or ()
    is_known = any(each.value in (tag.value, "*") for each in has)
    response = web.Response(status=304) if is_known else web.Response(body=text.plain if zipped is None else zipped)
    response.headers.update(headers)
    response.headers["Vary"] = "Accept-Encoding"
    if zipped is not None and not is_known:
        response.headers["Content-Encoding"] = "gzip"
    response.etag = tag
    return response


def takes_gzip(accepted: str) -> bool:
    """Say whether an `Accept-Encoding` takes gzip (RFC 9110, section 12.5.3)."""
    named: dict[str, bool] = {}
    for part in accepted.split(","):
        name, _, weight = part.strip().lower().partition(";")
        named[name.strip()] = not _REFUSED.search(weight)
    return named.get("gzip", named.get("x-gzip", named.get("*", False)))
