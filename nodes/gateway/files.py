"""The files that a gateway serves, and the headers that go with them.

They lie in `nodes/web`: `dist/` holds what `scripts/build-web` built, under the paths of the URLs. Only the demo shop
is served from `src/`, as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from aiohttp import web

from nodes.gateway import encoded

WEB = Path(__file__).resolve().parent.parent / "web"
BUILT = (
    "site_connect.js",
    "frame.html",
    "frame.css",
    "frame.js",
    "assets/chat.js",
    "assets/recorder.js",
    "assets/replay.js",
    "assets/replay.css",
    "agent/index.html",
    "agent/agent.css",
    "agent/agent.js",
    "privacy/index.html",
    "privacy/page.js",
    "privacy/privacy.css",
    "privacy/privacy.js",
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COMMON = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".woff2": "font/woff2",
}
COMPRESSED = frozenset({".js", ".css", ".html", ".svg", ".json"})


def page_policy(origins: frozenset[str]) -> str:
    """Return the CSP of the frame: it may be held by these origins, and by the gateway's own."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors " + " ".join(["'self'", *sorted(origins)])
    )


def console_policy(origins: frozenset[str]) -> str:
    """Return the CSP of the console, of the page to try rules on, and of the replay in them: a document without an
    address has that of the one around it.

    A page names what it is made of, and may name any host, also of the agent's own network. The replay asks these
    origins, and the gateway's own, for style, pictures and fonts; it asks nobody for anything else.
    """
    from_ = " ".join(["'self'", *sorted(origins)])
    return (
        f"default-src 'none'; script-src 'self'; connect-src 'self'; style-src {from_} 'unsafe-inline'; "
        f"img-src {from_} data: blob:; font-src {from_} data: blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


SCRIPT_POLICY = "default-src 'none'; frame-ancestors 'none'"


class Files:
    """What is served under which path.

    origins:    of the pages that may hold the frame
    load_from:  further origins that consoles may load style, pictures and fonts from, such as a site's CDN
    web_folder: where the files are
    shop:       whether the demo shop is served, too, and the page to try privacy rules on
    """

    def __init__(
        self,
        origins: frozenset[str],
        *,
        load_from: frozenset[str] = frozenset(),
        shop: bool = False,
        web_folder: Path = WEB,
    ) -> None:
        self._web = web_folder
        self._console = {"Content-Security-Policy": console_policy(origins | load_from)}
        self.on_frame: Callable[[web.Request], object] = lambda request: None
        """Called with each request for the frame. Set by the gateway, before it serves."""
        self._frame = {
            "Content-Security-Policy": page_policy(origins),
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",  # a page that wants this of itself wants it of its frames
        }
        self.shop = shop
        self._texts = encoded.Texts()

    def unbuilt(self) -> list[str]:
        """Return what was not built."""
        return [name for name in BUILT if self._find(name) is None]

    def routes(self) -> list[web.RouteDef]:
        any_origin = {
            "Content-Security-Policy": SCRIPT_POLICY,
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Access-Control-Allow-Origin": "*",  # for `crossorigin`, `integrity` and modules
        }
        found = [web.get("/site_connect.js", self._one("site_connect.js", any_origin))]
        found += [web.get("/frame.html", self._frame_html)]
        found += [web.get(f"/{name}", self._one(name, self._frame)) for name in ("frame.js", "frame.css")]
        found += [
            web.get("/assets/{name:.+}", self._below("assets", any_origin)),
            web.get("/agent", _to("/agent/")),
            web.get("/agent/{name:.*}", self._below("agent", self._console)),
        ]
        if self.shop:
            found += [web.get("/shop", _to("/shop/")), web.get("/shop/{name:.*}", self._below("shop", {}))]
            found += [
                web.get("/privacy", _to("/privacy/")),
                web.get("/privacy/{name:.*}", self._below("privacy", self._console)),
            ]
        return found

    async def _frame_html(self, request: web.Request) -> web.StreamResponse:
        self.on_frame(request)
        return self._answer(request, "frame.html", self._frame)

    def _one(self, name: str, headers: Mapping[str, str]) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            return self._answer(request, name, headers)

        return serve

    def _below(self, folder: str, headers: Mapping[str, str]) -> Handler:
        async def serve(request: web.Request) -> web.StreamResponse:
            return self._answer(request, request.match_info["name"] or "index.html", headers, folder)

        return serve

    def _answer(
        self, request: web.Request, name: str, headers: Mapping[str, str], folder: str = ""
    ) -> web.StreamResponse:
        path = self._find(name, folder)
        if path is None:
            return web.Response(status=404, text=f"{name} is not here\n", headers=COMMON)
        kind = TYPES.get(path.suffix, "application/octet-stream")
        of_file = {**COMMON, **headers, "Content-Type": kind}
        if path.suffix in COMPRESSED:
            return encoded.answer(request, self._texts.text(path), of_file)
        return web.FileResponse(path, headers=of_file)

    def _find(self, name: str, folder: str = "") -> Path | None:
        """Return the file of this name below a folder; None for one that is not there, or anywhere else.

        folder:  of the route, whose headers are for what lies in it; by default where the bundles are
        """
        root = (self._web / ("src" if folder == "shop" else "dist") / folder).resolve()
        try:
            path = (root / name).resolve() if "\0" not in name else root
            return path if path.is_relative_to(root) and path.is_file() else None
        except OSError:  # no file has a name so long
            return None


def _to(path: str) -> Handler:
    async def redirect(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMovedPermanently(path)

    return redirect
