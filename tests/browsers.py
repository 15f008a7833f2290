"""Browsers for tests: the bundles, and this machine's Chromium. Whoever lacks something is skipped with the reason."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.processes import ROOT

DIST = ROOT / "nodes" / "web" / "dist"


@cache
def _built() -> str:
    """Why there are no bundles; empty when there are."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return "Node.js is not installed, and the bundles for browsers are built by it"
    done = subprocess.run([ROOT / "scripts" / "build-web"], capture_output=True, text=True, timeout=300)
    if done.returncode == 3:
        return done.stderr.strip().splitlines()[-1]
    assert done.returncode == 0, done.stdout + done.stderr
    return ""


def built() -> Path:
    """Return the folder of the bundles, built."""
    if why := _built():
        pytest.skip(why)
    return DIST
