"""A PostgreSQL server of our own, for as long as the tests need it.

Nothing is installed and no running server is touched: `initdb` and `pg_ctl` work in a temporary folder, and the server
listens on a socket in that folder only. PostgreSQL refuses to run as root, so root runs it as the user `postgres`.
"""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

USER = "postgres"
START_S = 60


class NoPostgres(Exception):
    """There is no server to be had here; the message says what is lacking."""


class PostgresServer:
    """A running server. `create_database()` gives the URL of an empty database."""

    def __init__(self, folder: Path, programs: Path, prefix: Sequence[str]) -> None:
        self._folder = folder
        self._programs = programs
        self._prefix = prefix
        self._databases = 0

    def create_database(self) -> str:
        """Make an empty database and return its URL."""
        self._databases += 1
        name = f"test{self._databases}"
        self._run("createdb", "-h", str(self._folder), "-U", USER, name)
        return f"postgresql://{USER}@/{name}?host={quote(str(self._folder), safe='')}"

    def start(self) -> None:
        """Make the server's files, and start it; returns when it answers."""
        data = str(self._folder / "data")
        self._run("initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        # A test's server may lose its files with the machine; that a commit waits for the disk is what is measured.
        settings = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c shared_buffers=32MB"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", data, "-l", log, "-o", settings, "-w", "-t", str(START_S), "start")

    def stop(self) -> None:
        """Stop the server at once; what it holds is thrown away."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")

    def restart(self) -> None:
        """Crash the server and start it again: every connection is lost, everything committed is there."""
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-l", log, "-m", "immediate", "-w", "restart")

    def _run(self, program: str, *args: str) -> None:
        command = [*self._prefix, str(self._programs / program), *args]
        # Not through pipes: the server inherits them, and reading to their end would wait for it.
        with open(self._folder / "said", "w+b") as said:
            done = subprocess.run(command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
            said.seek(0)
            if done.returncode != 0:
                raise RuntimeError(f"{program} failed: {said.read().decode(errors='replace')}")


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Give a running server, and stop it at the end. Raises NoPostgres where none is installed."""
    programs = _programs()
    prefix: tuple[str, ...] = ()
    # Short, since a socket's path must fit into 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            prefix = _as_postgres(folder)
        server = PostgresServer(folder, programs, prefix)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    """Return the folder that has `initdb` and `pg_ctl`: from PATH, or where Debian keeps them, newest first."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    by_version = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: [len(path), path], reverse=True)
    for folder in [*folders, *map(Path, by_version)]:
        if all((folder / name).exists() for name in ("initdb", "pg_ctl", "postgres", "createdb")):
            return folder
    raise NoPostgres("PostgreSQL is not installed: no initdb and pg_ctl in PATH or /usr/lib/postgresql")


def _as_postgres(folder: Path) -> tuple[str, ...]:
    """Return the command prefix by which root runs something as the user `postgres`, who gets the folder."""
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        raise NoPostgres(f"root cannot run PostgreSQL, and there is no user {USER!r} to run it as") from None
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise NoPostgres("root cannot run PostgreSQL, and there is no setpriv to run it as another user")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return (setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--")
