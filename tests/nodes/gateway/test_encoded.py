"""Texts are served compressed to browsers that take it, each form with its own tag, and read again when they change."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from nodes.gateway.encoded import Text, Texts, answer, takes_gzip

LONG = "All work and no play.\n" * 200


def fetch(text: Text, *headers: Mapping[str, str]) -> list[tuple[int, bytes, Mapping[str, str]]]:
    """Serve a text, and ask for it once with each of these headers; bodies as they are on the wire."""

    async def run() -> list[tuple[int, bytes, Mapping[str, str]]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            return answer(request, text, {"Cache-Control": "no-cache", "Content-Type": "text/css; charset=utf-8"})

        app = web.Application()
        app.add_routes([web.get("/", serve)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found: list[tuple[int, bytes, Mapping[str, str]]] = []
        async with aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=("Accept-Encoding",)) as http:
            for each in headers:
                async with http.get(f"http://127.0.0.1:{runner.addresses[0][1]}/", headers=each) as got:
                    found.append((got.status, await got.read(), got.headers.copy()))
        await runner.cleanup()
        return found

    return asyncio.run(run())


def test_each_browser_gets_the_form_that_it_takes_and_caches_can_tell_them_apart() -> None:
    text = Text.of(LONG.encode())
    plain, zipped = fetch(text, {}, {"Accept-Encoding": "gzip, deflate, br"})
    assert plain[1].decode() == gzip.decompress(zipped[1]).decode() == LONG
    assert "Content-Encoding" not in plain[2] and zipped[2]["Content-Encoding"] == "gzip"
    assert len(zipped[1]) < 200 and int(zipped[2]["Content-Length"]) == len(zipped[1])
    assert plain[2]["Vary"] == zipped[2]["Vary"] == "Accept-Encoding"
    assert plain[2]["ETag"] != zipped[2]["ETag"] and not zipped[2]["ETag"].startswith("W/")
    assert zipped[2]["Content-Type"] == "text/css; charset=utf-8" and zipped[2]["Cache-Control"] == "no-cache"


def test_what_a_browser_has_is_not_sent_again_and_only_in_the_form_it_has_it() -> None:
    text = Text.of(LONG.encode())
    plain, zipped = (each[2]["ETag"] for each in fetch(text, {}, {"Accept-Encoding": "gzip"}))
    takes = {"Accept-Encoding": "gzip"}
    has = {"If-None-Match": f'"old", {zipped}'}
    again, other_form, changed = fetch(text, takes | has, has, takes | {"If-None-Match": plain})
    assert (again[0], again[1], again[2]["ETag"]) == (304, b"", zipped)
    assert again[2]["Vary"] == "Accept-Encoding" and "Content-Encoding" not in again[2]
    assert other_form[0] == changed[0] == 200


def test_what_does_not_get_smaller_stays_as_it_is() -> None:
    (only,) = fetch(Text.of(b"{}"), {"Accept-Encoding": "gzip"})
    assert only[1] == b"{}" and "Content-Encoding" not in only[2]


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True), ("GZIP", True), ("br, gzip;q=0.5", True), ("*", True), ("x-gzip", True),
        ("deflate, *;q=0.1", True),
        ("", False), ("br", False), ("gzip;q=0", False), ("gzip; q=0.000, *", False), ("identity, *;q=0", False),
    ],
)  # fmt: skip
def test_who_takes_it(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted) is takes


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path, texts = tmp_path / "a.js", Texts()
    path.write_text("one")
    first = texts.text(path)
    assert texts.text(path) is first
    path.write_text("two")
    os.utime(path, ns=(1, 1))
    assert texts.text(path).plain == b"two" and texts.text(path).tag != first.tag
    with pytest.raises(OSError):
        texts.text(tmp_path / "none.js")
