"""Which file is served under which path; nothing outside its folder, and no source but the shop's; headers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from nodes.gateway.files import BUILT, Files, page_policy

SHOP = "https://shop.example.org"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    for name, text in {
        "dist/site_connect.js": "script", "dist/frame.html": "frame", "dist/frame.js": "f", "dist/frame.css": "c",
        "dist/agent/index.html": "console", "dist/agent/agent.css": "look", "src/agent/agent.js": "source",
        "dist/assets/chat.js": "chat", "dist/assets/replay.js": "replay", "dist/assets/replay.css": "replayed",
        "src/shop/index.html": "shop", "src/page/page.js": "source",
        "secret.txt": "secret",
    }.items():  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    yield tmp_path


def fetch(files: Files, *paths: str) -> list[tuple[int, str, Mapping[str, str]]]:
    """Serve the files, and get these paths, written as they are."""

    async def run() -> list[tuple[int, str, Mapping[str, str]]]:
        app = web.Application()
        app.add_routes(files.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        found: list[tuple[int, str, Mapping[str, str]]] = []
        async with aiohttp.ClientSession() as http:
            for path in paths:
                async with http.get(URL(f"http://127.0.0.1:{port}{path}", encoded=True)) as answer:
                    found.append((answer.status, await answer.text(), answer.headers.copy()))
        await runner.cleanup()
        return found

    return asyncio.run(run())


def test_what_was_built_is_served_and_the_shop(folder: Path) -> None:
    paths = ("/site_connect.js", "/frame.html", "/assets/chat.js", "/assets/replay.js", "/agent/", "/agent", "/shop/")
    found = fetch(Files(frozenset({SHOP}), shop=True, web_folder=folder), *paths)
    assert [text for _, text, _ in found] == ["script", "frame", "chat", "replay", "console", "console", "shop"]


def test_who_may_hold_the_frame_and_what_it_may_load(folder: Path) -> None:
    files = Files(frozenset({SHOP}), web_folder=folder)
    frame, console, script = fetch(files, "/frame.html", "/agent/", "/site_connect.js")
    assert f"frame-ancestors 'self' {SHOP}" in frame[2]["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in console[2]["Content-Security-Policy"]
    assert "unsafe" not in page_policy(frozenset()) and "script-src 'self';" in console[2]["Content-Security-Policy"]
    assert script[2]["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert script[2]["Access-Control-Allow-Origin"] == "*", "for crossorigin, integrity, and modules"
    for _, _, headers in (frame, console, script):
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert "ETag" in headers and "charset" in headers["Content-Type"]


def test_a_replay_loads_from_the_gateway_and_the_origins_that_were_named_and_from_nowhere_else(folder: Path) -> None:
    files = Files(frozenset({SHOP}), load_from=frozenset({"https://cdn.example.net"}), web_folder=folder)
    ((_, _, headers),) = fetch(files, "/agent/")
    directives = dict(each.strip().split(" ", 1) for each in headers["Content-Security-Policy"].split(";"))
    named = f"'self' https://cdn.example.net {SHOP}"
    assert directives == {
        "default-src": "'none'",  # frames, media, objects, workers, manifests, what is fetched ahead
        "script-src": "'self'",
        "connect-src": "'self'",
        "style-src": f"{named} 'unsafe-inline'",
        "img-src": f"{named} data: blob:",
        "font-src": f"{named} data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_nothing_outside_its_folder_is_served(folder: Path) -> None:
    ways = ("/agent/../../secret.txt", "/agent/agent.js", "/assets/../../src/page/page.js",
            "/agent/..%2f..%2fsecret.txt", "/assets/%2e%2e/%2e%2e/secret.txt",
            "/assets//etc/passwd", "/agent/%00", "/agent/nothing.js", "/shop/", "/assets/",
            f"/agent/{'a' * 300}", f"/assets/{'a/' * 3_000}")  # fmt: skip
    for status, text, _ in fetch(Files(frozenset(), web_folder=folder), *ways):
        assert status == 404 and "secret" not in text.replace("secret.txt", "")


def test_a_route_serves_its_own_folder_only_and_so_its_own_headers(folder: Path) -> None:
    """The console under the shop's path had no content policy."""
    (folder / "src" / "shop" / "shop.js").write_text("of the shop")
    ways = ("/shop/..%2fagent/index.html", "/shop/..%2fagent/agent.js", "/shop/..%2fpage/page.js", "/shop/..",
            "/shop/..%2f..%2fdist/agent/index.html", "/assets/..%2fagent/index.html", "/agent/..%2fsite_connect.js",
            "/privacy/..%2fagent/index.html", "/agent/..%2fframe.html", "/assets/..%2fassets2/x")  # fmt: skip
    for status, text, _ in fetch(Files(frozenset(), shop=True, web_folder=folder), *ways):
        assert status == 404 and "console" not in text
    ((status, _, _),) = fetch(Files(frozenset(), shop=True, web_folder=folder), "/shop/..%2fshop/shop.js")
    assert status == 200, "it does lie there"


def test_what_was_not_built_is_named(folder: Path) -> None:
    built = {path.relative_to(folder / "dist").as_posix() for path in (folder / "dist").rglob("*") if path.is_file()}
    unbuilt = Files(frozenset(), web_folder=folder).unbuilt()
    assert set(unbuilt) == set(BUILT) - built and "assets/recorder.js" in unbuilt


def test_the_page_to_try_rules_on_is_served_with_the_shop_and_runs_no_script_that_is_written_into_it(
    folder: Path,
) -> None:
    (folder / "dist" / "privacy").mkdir()
    (folder / "dist" / "privacy" / "index.html").write_text("trial")
    ((status, text, headers),) = fetch(Files(frozenset(), shop=True, web_folder=folder), "/privacy/")
    assert (status, text) == (200, "trial")
    assert "script-src 'self';" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert fetch(Files(frozenset(), web_folder=folder), "/privacy/")[0][0] == 404
