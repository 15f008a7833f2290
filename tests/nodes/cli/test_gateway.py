"""`fabric gateway` and `fabric gateway-token`: what they refuse to start with, TLS, and what they print."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodes.cli.exits import Exit
from nodes.cli.frame import frame
from nodes.cli.gateway import gateway
from nodes.cli.main import run
from nodes.cli.page import page
from nodes.gateway.hub import Settings
from nodes.store.records import StoreOptions
from tests.support.gateways import PASSWORD, Browser, GatewayProcess, agents_file, start_gateway
from tests.support.site import Site, site

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site"), "none") as found:
        yield found


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "tcp://127.0.0.1:1"], "http://HOST:PORT"),
        (["--listen", "https://127.0.0.1:1"], "--tls-cert"),
        (["--tls-cert", "x"], "go together"),
        (["--allow-origin", "shop.example.org"], "invalid origin"),
        (["--allow-origin", "*"], "invalid origin"),
        (["--public-subscribe", "~/#"], "invalid public filter"),
        (["--public-publish", "$fabric/#"], "invalid public filter"),
        (["--public-subscribe", "a/#/b"], "#"),
        (["--max-pages", "0"], "--max-pages"),
        (["--consent", "never"], "--consent"),
        (["--name", "a/b"], "letters, digits"),
    ],
)
def test_wrong_options_are_named(capfd: pytest.CaptureFixture[str], options: list[str], words: str) -> None:
    assert run(["gateway", *options]) == Exit.USAGE
    assert words in capfd.readouterr().err


def test_visitors_are_asked_unless_options_say_else() -> None:
    of_gateway, of_page, of_frame = ({each.name: each.default for each in it.params} for it in (gateway, page, frame))
    assert of_gateway["consent"] == Settings(secret=b"").consent == "ask"
    assert of_page["consent"] == "code", "nobody is there to be asked"
    assert of_frame["ask_s"] == StoreOptions().ask_s == 60.0


def test_files_that_cannot_be_used_are_named(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "short").write_text("secret\n")
    (tmp_path / "agents").write_text("{}\n")
    (tmp_path / "rules.toml").write_text("[[rules]]\nmask = ['p::before']\n")
    for path in tmp_path.iterdir():
        path.chmod(0o600)
    for options, words in (
        (["--secret-file", str(tmp_path / "nothing")], "cannot be read"),
        (["--secret-file", str(tmp_path / "short")], "16 or more"),
        (["--agents", str(tmp_path / "nothing")], "cannot be read: No such file"),
        (["--agents", str(tmp_path / "agents")], "line 1"),
        (["--privacy", str(tmp_path / "nothing")], "cannot be used"),
        (["--privacy", str(tmp_path / "rules.toml")], "rule 1 (line 1), mask: invalid selector"),
        (
            ["--listen", "https://127.0.0.1:0", "--tls-cert", str(tmp_path / "short"), "--tls-key", "x"],
            "cannot be used",
        ),
    ):
        assert run(["gateway", *options]) == Exit.MISSING
        said = capfd.readouterr().err
        assert words in said and "secret\n" not in said


def test_secret_files_that_others_can_read_are_refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for option, content in (("--secret-file", "s" * 32), ("--agents", "{}\n"), ("--tls-key", "key")):
        path = tmp_path / option
        path.write_text(content)
        path.chmod(0o644)
        more = ["--listen", "https://127.0.0.1:0", "--tls-cert", "x"] if option == "--tls-key" else []
        assert run(["gateway", *more, option, str(path)]) == Exit.MISSING
        assert f"(mode 0644): expected chmod 600 {path}\n" in capfd.readouterr().err


def test_rules_are_read_again_and_a_wrong_file_changes_nothing(world: Site, tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text("[[rules]]\nmask = ['.a']\n")

    async def story(gateway: GatewayProcess) -> None:
        async with Browser(gateway.url) as browser:
            welcome = await browser.hello()
            assert welcome["rules"] == {"private": False, "rules": [{"paths": ["*"], "mask": [".a"]}]}
            path.write_text("[[rules]]\nmask = ['.b']\n")
            gateway.hang_up()
            assert (await browser.get("rules"))["rules"]["rules"] == [{"paths": ["*"], "mask": [".b"]}]
            path.write_text("[[rules]]\nmask = ['.b'\n")
            gateway.hang_up()
            gateway.wait_stderr("the rules before it stay")
            assert gateway.refused("privacy_file") == 1
            async with Browser(gateway.url) as later:
                assert (await later.hello())["rules"]["rules"] == [{"paths": ["*"], "mask": [".b"]}]
            path.write_text("[[rules]]\npages = ['https://elsewhere.example/*']\nprivate = true\n")
            gateway.hang_up()
            assert (await browser.get("rules"))["rules"] == {"private": False, "rules": []}

    with world.scene():
        asyncio.run(story(start_gateway(world, "--privacy", str(path))))


def test_without_rules_a_hang_up_ends_nothing(world: Site) -> None:
    with world.scene():
        gateway = start_gateway(world, "--private")
        gateway.hang_up()
        gateway.wait_stderr("there is no --privacy file")

        async def story() -> None:
            async with Browser(gateway.url) as browser:
                assert (await browser.hello())["rules"] == {"private": True, "rules": []}

        asyncio.run(story())


def test_without_what_browsers_load_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "nodes.gateway.files.Files.unbuilt", lambda files: ["site_connect.js", "frame.html", "frame.css"]
    )
    assert run(["gateway", "--connect", "tcp://127.0.0.1:1"]) == Exit.MISSING
    said = capsys.readouterr()
    assert said.out == "" and "not built (site_connect.js, frame.html, …): expected scripts/build-web" in said.err


def test_a_port_that_is_taken_ends_it_with_3(world: Site, run_fabric: Run) -> None:
    with world.scene():
        gateway = start_gateway(world)
        done = run_fabric("gateway", "--listen", gateway.url, "--connect", world.base)
        assert done.returncode == Exit.MISSING and "cannot listen" in done.stderr


def test_over_tls_the_cookie_is_secure_and_the_page_is_served(world: Site, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    trust = ssl.create_default_context(cafile=str(cert))
    with world.scene():
        tls = ("--tls-cert", str(cert), "--tls-key", str(key), "--listen", "https://127.0.0.1:0")
        gateway = start_gateway(world, "--agents", agents_file(tmp_path, "ada"), *tls)
        assert gateway.url.startswith("https://127.0.0.1:")
        with urllib.request.urlopen(f"{gateway.url}/healthz", context=trust) as answer:
            assert answer.status == 200
        gateway.wait_stderr("no frame node is there yet")
        body = json.dumps({"agent": "ada", "password": PASSWORD}).encode()
        asked = urllib.request.Request(f"{gateway.url}/agent/sign_in", body, {"Origin": gateway.url})
        with urllib.request.urlopen(asked, context=trust) as answer:
            assert "Secure" in answer.headers["Set-Cookie"]
            assert "Strict-Transport-Security" in answer.headers and answer.headers["Server"] == "fabric"


def test_behind_a_proxy_its_words_count_and_otherwise_not(world: Site) -> None:
    with world.scene():
        for options, status in ((("--behind-proxy",), 401), ((), 403)):
            gateway = start_gateway(world, *options)
            origin = gateway.url.replace("http://", "https://")
            headers = {"Origin": origin, "X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.9, 10.0.0.1"}
            asked = urllib.request.Request(f"{gateway.url}/agent/sign_in", b'{"agent":"x","password":"y"}', headers)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(asked)
            assert caught.value.code == status
            caught.value.close()


def test_without_aiohttp_it_says_which_extra_is_lacking(world: Site) -> None:
    code = "import sys; sys.modules['aiohttp'] = None; from nodes.cli.main import run; sys.exit(run(['gateway']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == Exit.MISSING and "pip install 'site-connect-fabric[web]'" in done.stderr
