"""What closed servers and their clients show each other: certificates, keys and a folder of keys, made once for a run.

Rows with these besides the open ones: the fabric with keys, NATS with TLS and nkeys, Mosquitto with TLS.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fabric.identity import folder

VARIABLE = "FABRIC_BENCH_CLOSED"
"""Names the folder to the processes that hold clients."""
CLIENT = "client"
PROXIES = ("p1", "p2", "p3")


@contextlib.contextmanager
def closed_folder() -> Iterator[Path]:
    """Make everything in a new folder, and take it away at the end."""
    with tempfile.TemporaryDirectory(prefix="peers-closed-") as name:
        path = Path(name)
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=bench"
        files = ["-keyout", str(path / "key.pem"), "-out", str(path / "cert.pem")]
        address = ["-addext", "subjectAltName=IP:127.0.0.1"]
        subprocess.run([*command.split(), *files, *address], check=True, capture_output=True)
        _make_nkey(path)
        keys = path / "keys"
        folder.create(keys)
        for proxy in PROXIES:
            folder.add(keys, proxy, ["proxy"])
        folder.add(keys, CLIENT, ["operator"])
        os.environ[VARIABLE] = name
        try:
            yield path
        finally:
            del os.environ[VARIABLE]


def _make_nkey(path: Path) -> None:
    nkeys: Any = importlib.import_module("nkeys")  # untyped, and in the extra `peers` only

    seed = nkeys.encode_seed(secrets.token_bytes(32), nkeys.PREFIX_BYTE_USER)
    (path / "user.seed").write_bytes(seed)
    (path / "user.public").write_text(nkeys.from_seed(bytearray(seed)).public_key.decode())


def path() -> Path:
    """Return the folder of this run. errors: RuntimeError when there is none"""
    name = os.environ.get(VARIABLE)
    if not name:
        raise RuntimeError(f"{VARIABLE} is not set: run it with --closed")
    return Path(name)


def keys() -> Path:
    """Return the folder of keys of this run."""
    return path() / "keys"


def tls() -> ssl.SSLContext:
    """Return what a client checks the servers by."""
    return ssl.create_default_context(cafile=str(path() / "cert.pem"))
