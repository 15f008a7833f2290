"""What browsers load: its own tests run by Node.js, the bundles built by scripts/build-web and their size."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from nodes.gateway.files import BUILT
from nodes.rules import cobrowse
from tests.support import page_vectors
from tests.support.browsers import built
from tests.support.processes import ROOT

WEB = ROOT / "nodes" / "web"
MAX_SCRIPT_BYTES = 12_000
"""Of site_connect.js, minified and gzipped: every page of a site loads it."""


def run(*command: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | changes
    return subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, timeout=300, cwd=WEB)


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is not installed")
    return found


def test_what_is_pure_in_it(node: str) -> None:
    """The broker and the co-browsing (against cases made in Python), the page, the connections, what is shown."""
    built()  # with the packages that some of it reads
    tests = sorted((WEB / "test").rglob("*.test.mjs"))
    assert tests
    done = run(node, "--test", *tests)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_cases_of_co_browsing_are_those_of_the_rules() -> None:
    """Every transition is in them; and whenever nothing is under way, page and store agree on what runs."""
    worlds = page_vectors.worlds()
    assert page_vectors.PATH.read_text() == page_vectors.text(worlds), "python -m tests.support.page_vectors"
    assert set().union(*(world.transitions for world in worlds)) == set(cobrowse.TRANSITIONS)
    settled = [pair for world in worlds for pair in world.settled]
    assert [pair for pair in settled if pair[0] != pair[1]] == []
    for kind in (0, 1):
        assert sum(by_store[kind] is not None for by_store, _ in settled) > 20


def test_the_lock_file_names_no_registry() -> None:
    assert "http" not in "".join(
        line for line in (WEB / "package-lock.json").read_text().splitlines() if "resolved" in line
    )


def test_the_bundles(bundles: Path) -> None:
    script = (bundles / "site_connect.js").read_bytes()
    assert len(gzip.compress(script, 9)) < MAX_SCRIPT_BYTES
    assert b"import" not in script.split(b"(", 1)[0], "a classic script, for one tag"
    for name in BUILT:
        assert (bundles / name).stat().st_size > 1000, name
    built = {path.relative_to(bundles).as_posix() for path in bundles.rglob("*") if path.is_file()}
    assert built == {*BUILT, ".built"}


def test_building_again_does_nothing(bundles: Path) -> None:
    before = (bundles / "site_connect.js").stat().st_mtime_ns
    done = run(ROOT / "scripts" / "build-web")
    assert (done.returncode, done.stdout) == (0, "")
    assert (bundles / "site_connect.js").stat().st_mtime_ns == before


def test_without_node_it_says_what_is_missing(tmp_path: Path) -> None:
    for name in ("bash", "dirname"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    done = run(ROOT / "scripts" / "build-web", PATH=str(tmp_path))
    assert done.returncode == 3 and "'node' is missing" in done.stderr and done.stdout == ""
