"""`fabric frame` as a process: how it starts, what it refuses to start with, how it ends, what it says meanwhile."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fabric import private_files
from fabric.errors import Busy
from nodes.cli.exits import Exit
from nodes.cli.main import run
from tests.support.frames import Asker, start_frame, until_known
from tests.support.processes import FabricProcess, Process, ProxyProcess, environment, free_base
from tests.support.waiting import mesh, until

Start = Callable[..., FabricProcess]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A proxy for this file: service `frame` must be nobody else's."""
    with mesh(tmp_path_factory.mktemp("mesh"), 1) as (proxy,):
        yield proxy.base


@pytest.fixture
def frame(base: str, tmp_path: Path, started: list[Process]) -> Start:
    """frame(*args, url="", name="f1"): start `fabric frame` on SQLite, ready; stopped at the end of the test."""

    def start(*args: str, url: str = "", name: str = "f1") -> FabricProcess:
        process = start_frame(base, url or f"sqlite:///{tmp_path}/store.db", tmp_path, *args, name=name)
        started.append(process)
        process.wait_event("ready")
        return process

    return start


def test_its_ready_line_means_that_it_can_be_asked(base: str, frame: Start) -> None:
    process = frame("--capacity", "1", "--code-length", "4", "--alphabet", "ACDEFH")
    assert len(process.stdout) == 1
    ready = json.loads(process.stdout[0])
    assert {**ready, "instance": ""} == {"event": "ready", "name": "f1", "instance": "", "capacity": 1}
    with Asker(base) as asker:
        until_known(asker, process)
        page = asker.grant()
        assert len(page["code"]) == 4 and set(page["code"]) <= set("ACDEFH")
        with pytest.raises(Busy, match="all 1 places are taken"):
            asker.grant()
        asker.sign_in()
        assert asker.ask("join", agent="ann", code=page["code"].lower())["cobrowse"] == "joined"
    process.wait_stderr("frame node f1 is ready")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_it_what_is_in_flight_is_answered(base: str, frame: Start, number: signal.Signals) -> None:
    process = frame("--max-in-flight", "5000")
    with Asker(base) as asker:
        asker.grant()
        asked = [asker.submit("grant_code", **asker.page()) for _ in range(300)]
        until(lambda: any(future.done() for future in asked), "it is at work")
        process.signal(number)
        assert process.wait() == Exit.DONE
        errors = [future.exception(20) for future in asked]
    # Busy: it came when no more were taken, and was not done. Nothing is left without an answer.
    assert all(error is None or isinstance(error, Busy) for error in errors), {repr(error) for error in errors}
    assert errors.count(None) >= 1 and "Traceback" not in "\n".join(process.stderr)
    assert process.stderr[-1] == "fabric frame: draining"


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ([], Exit.USAGE, "Missing option '--store'"),
        (["--store", "nonsense"], Exit.USAGE, "expected sqlite:///path/to/file or postgresql://user@host/database"),
        (["--store", "postgresql:/nowhere"], Exit.USAGE, "invalid store URL: expected sqlite:///path/to/file or"),
        (["--store", "sqlite:///:memory:"], Exit.USAGE, "expected sqlite:///path/to/file"),
        (["--store", "mysql://u@h/x"], Exit.USAGE, "invalid start of the store URL 'mysql'"),
        (
            ["--store", "sqlite:////nowhere/frame.db"],
            Exit.MISSING,
            "cannot open the store sqlite:////nowhere/frame.db: OperationalError: unable to",
        ),
        (["--store", "sqlite:///{root}/README.md"], Exit.MISSING, "DatabaseError: file is not a database"),
        (["--store", "postgresql://u:sesam@127.0.0.1:1/x"], Exit.MISSING, "Connection refused"),
        (
            ["--store", "{ok}", "--capacity", "0"],
            Exit.USAGE,
            "Invalid value for '--capacity': 0 is not in the range x>=1",
        ),
        (["--store", "{ok}", "--capacity", "600000"], Exit.USAGE, "expected codes of length 7"),
        (["--store", "{ok}", "--capacity", "many"], Exit.USAGE, "'many' is not a valid integer"),
        (["--store", "{ok}", "--max-in-flight", "0"], Exit.USAGE, "--max-in-flight"),
        (
            ["--store", "{ok}", "--code-length", "0"],
            Exit.USAGE,
            "Invalid value for '--code-length': 0 is not in the range 1<=x<=32",
        ),
        (
            ["--store", "{ok}", "--alphabet", "0011"],
            Exit.USAGE,
            "invalid alphabet '0011': expected two or more different",
        ),
        (["--store", "{ok}", "--quarantine", "nan"], Exit.USAGE, "expected a number above 0"),
        (["--store", "{ok}", "--name", "a/b"], Exit.USAGE, "invalid --name 'a/b': expected 1 to 64 letters"),
        (["--store", "{ok}", "--connect", "nonsense"], Exit.USAGE, "--connect"),
        (["--store", "{ok}", "--connect", "{nobody}", "--connect-timeout", "0.3"], Exit.NOBODY, "no proxy answered at"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, args: list[str], code: Exit, words: str
) -> None:
    if "postgresql://u:sesam@127.0.0.1:1/x" in args:
        pytest.importorskip("psycopg")
    (tmp_path / "README.md").write_text("no database " * 100)
    known = {"{ok}": f"sqlite:///{tmp_path}/store.db", "{nobody}": free_base()}
    assert run(["frame", *[known.get(arg, arg.replace("{root}", str(tmp_path))) for arg in args]]) == code
    stdout, stderr = capfd.readouterr()
    assert words in stderr and stdout == "" and "sesam" not in stderr
    assert [line for line in stderr.splitlines() if "WARNING" not in line] == stderr.splitlines()[-1:]


def test_the_url_of_the_store_comes_from_a_file_or_from_the_environment(
    base: str, tmp_path: Path, started: list[Process]
) -> None:
    """So that no password of it can be seen in the list of processes."""
    file, url = tmp_path / "url", f"sqlite:///{tmp_path}/store.db"
    private_files.write(file, f"{url}\n".encode())
    for words, env in ((["--store-file", str(file)], {}), ([], {"FABRIC_STORE": url})):
        process = FabricProcess(["frame", *words, "--connect", base], tmp_path, env=environment(**env))
        started.append(process)
        process.wait_event("ready")
        assert "WARNING" not in "\n".join(process.stderr) and process.stop() == Exit.DONE


@pytest.mark.parametrize("how", ["argument", "file", "environment"])
def test_a_password_on_the_command_line_is_warned_of_and_no_error_or_log_shows_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    pytest.importorskip("psycopg")
    url, file = "postgresql://u:sesam@127.0.0.1:1/x?connect_timeout=1", tmp_path / "url"
    private_files.write(file, url.encode())
    words = {"argument": ["--store", url], "file": ["--store-file", str(file)], "environment": []}[how]
    if how == "environment":
        monkeypatch.setenv("FABRIC_STORE", url)
    assert run(["frame", *words, "--verbose"]) == Exit.MISSING
    assert "FABRIC_STORE" not in os.environ
    said = capfd.readouterr().err
    assert "Connection refused" in said and "sesam" not in said
    assert ("WARNING: every user of this machine can read the password in --store" in said) == (how == "argument")
    assert how != "argument" or "--store-file FILE (chmod 600 FILE) or FABRIC_STORE" in said


def test_a_file_with_the_url_that_others_can_read_is_refused(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("sqlite:///x.db")
    file.chmod(0o640)
    assert run(["frame", "--store-file", str(file)]) == Exit.MISSING
    assert f"(mode 0640): expected chmod 600 {file}" in capfd.readouterr().err
    file.chmod(0o600)
    assert run(["frame", "--store-file", str(file), "--store", "sqlite:///y.db"]) == Exit.USAGE
    assert "expected one of them" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("missing", "url", "words"),
    [
        (
            "sqlalchemy",
            "sqlite:///frame.db",
            "sqlalchemy is not installed; install it with: pip install 'site-connect-fabric[store]'",
        ),
        ("psycopg", "postgresql://u@h/x", "install the extra 'postgres'"),
    ],
)
def test_an_extra_that_is_not_installed(
    tmp_path: Path, started: list[Process], missing: str, url: str, words: str
) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from nodes.cli.main import main; main()"
    process = Process([sys.executable, "-c", program, "frame", "--store", url], tmp_path)
    started.append(process)
    assert process.wait() == Exit.MISSING
    assert len(process.stderr) == 1 and words in process.stderr[0]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="another process's limits can be set on Linux only")
def test_a_disk_that_is_full_makes_it_busy_and_loses_nothing(base: str, frame: Start, tmp_path: Path) -> None:
    """No file of the process may grow any more, as on a full disk; then there is room again."""
    process = frame()
    with Asker(base) as asker:
        page = asker.grant()
        size = max(path.stat().st_size for path in tmp_path.glob("store.db*"))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        with pytest.raises(Busy, match="the store does not answer"):
            for _ in range(2_000):
                asker.grant()
        process.wait_stderr("the store is away")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        process.wait_stderr("answers again")
        assert asker.grant()["code"] and asker.ask("renew", session=page["session"])["code"] == page["code"]
    assert process.stop() == Exit.DONE


def test_verbose_says_each_change_and_no_code(base: str, frame: Start) -> None:
    process = frame("--verbose")
    with Asker(base) as asker:
        page = asker.grant()
        asker.ask("release_page", session=page["session"])
    process.wait_stderr("version 2 epoch 1: gone, code none")
    said = "\n".join(process.stderr)
    assert page["code"] not in said and page["session"] not in said and "code #" in said


def test_when_its_proxy_is_away_it_waits_and_serves_again(
    proxies: Callable[..., list[ProxyProcess]], started: list[Process], tmp_path: Path
) -> None:
    (proxy,) = proxies(1)
    process = start_frame(proxy.base, f"sqlite:///{tmp_path}/store.db", tmp_path)
    started.append(process)
    process.wait_event("ready")
    with Asker(proxy.base) as asker:
        page = asker.grant()
    proxy.kill()
    started.append(proxy.again())
    started[-1].wait_event("ready")
    with Asker(proxy.base) as asker:
        assert asker.ask("renew", session=page["session"])["code"] == page["code"]
    assert process.stop() == Exit.DONE
