"""Wheel and source archive: they hold `fabric` and `nodes` and nothing else, and work outside the checkout.

The wheel is built from the source archive: that one is complete, too.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.browsers import built as bundles
from tests.support.processes import ROOT


def run(*command: str | Path, cwd: Path, code: int = 0, **variables: str) -> str:
    """Run a command in an environment that knows nothing of the checkout; return what it printed."""
    strangers = ("PYTHONPATH", "FABRIC_CONNECT", "FABRIC_PURE")
    env = {key: value for key, value in os.environ.items() if key not in strangers} | variables
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


BORROWED = (
    "click",
    "zmq",
    "pyzmq.libs",
    "msgpack",
    "sqlalchemy",
    "alembic",
    "mako",
    "markupsafe",
    "typing_extensions.py",
)
"""What it depends on, for frame nodes, too. (sqlalchemy asks for greenlet only where it is asynchronous.)"""
TRAPS = (
    "tests/test_trap.py",
    "var/log/trap.log",
    "nodes/web/node_modules/trap.js",
    "nodes/web/test/trap.mjs",
    "trap.py",
)
"""What lies about in a checkout, and must slip into neither."""
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md")
COMPILED = sorted(str(path.relative_to(ROOT).with_suffix("")) for path in (ROOT / "fabric/core").glob("*.pyx"))
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def copy_source(folder: Path) -> None:
    """Copy what a checkout holds of the two packages, but nothing that was built."""
    built = shutil.ignore_patterns("__pycache__", "node_modules", "*.so", "*.c")
    for name in ("fabric", "nodes"):
        shutil.copytree(ROOT / name, folder / name, ignore=built)
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both, built from a copy: setuptools leaves a `build` folder that would slip into the next one."""
    with contextlib.suppress(pytest.skip.Exception):
        bundles()  # else they may be built by another test while this one copies
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    source.mkdir()
    copy_source(source)
    for name in TRAPS:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).touch()
    run(sys.executable, "-m", "build", "--outdir", folder / "dist", source, cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def packaged(built: Path) -> set[str]:
    """The files of the two packages that belong into wheel and source archive."""
    ours = {
        str(path.relative_to(ROOT))
        for folder in ("fabric", "nodes")
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
    }
    for folder in ("nodes/web/src", "nodes/web/dist", "nodes/demo/data"):
        ours |= {str(path.relative_to(ROOT)) for path in (ROOT / folder).rglob("*") if path.is_file()}
    ours |= {f"{name}.pyi" for name in COMPILED}
    return {name for name in ours if not name.endswith("/.built")} | {"fabric/py.typed", "nodes/py.typed"}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; what it depends on is borrowed from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    site = next(folder.glob("lib/python*/site-packages"))
    run(sys.executable, "-m", "pip", "--python", folder, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    import click

    borrowed = Path(click.__file__).parent.parent
    for name in BORROWED:  # one by one: an editable install of the checkout stays out
        if (borrowed / name).exists():
            (site / name).symlink_to(borrowed / name)
    return folder


def test_a_wheel_for_machines_without_a_compiler_says_which_glibc_it_needs(installed: Path, tmp_path: Path) -> None:
    made = Path(run(ROOT / "scripts/build-wheel", tmp_path / "here", cwd=tmp_path).strip())
    assert made.parent == tmp_path / "here" and re.search(r"-manylinux\S*_2_\d+_\w+\.whl$", made.name)
    target = tmp_path / "target"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target")
    run(*pip, target, made, cwd=tmp_path, CC="/bin/false", PATH="/nowhere")
    python = installed / "bin" / "python"
    where = "import fabric.core as core; print(core.__file__, core.BUILD)"
    told = run(
        python,
        "-c",
        f"import sys; sys.path.insert(0, {str(target)!r}); {where}",
        cwd=tmp_path,
        CC="/bin/false",
        PATH="/nowhere",
    )
    assert told == f"{target}/fabric/core/__init__.py compiled\n"


def test_the_wheel_holds_exactly_the_two_packages(wheel: Path, packaged: set[str]) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    assert {name for name in names if ".dist-info/" not in name} == packaged | {name + SUFFIX for name in COMPILED}
    assert wheel.stat().st_size < 2_000_000


def test_the_source_archive_holds_the_two_packages_and_what_builds_them(built: Path, packaged: set[str]) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {member.name.partition("/")[2] for member in files.getmembers() if member.isfile()}
    told = {name for name in names if ".egg-info/" in name}
    sources = {
        str(path.relative_to(ROOT)) for end in ("pyx", "pxd", "hpp") for path in (ROOT / "fabric/core").glob(f"*.{end}")
    }
    assert names - told == packaged | sources | {*SOURCES, "PKG-INFO", "setup.cfg"}
    assert archive.stat().st_size < 2_000_000


def test_its_metadata_say_what_it_needs(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = archive.read(name).decode()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Requires-Python: {project['requires-python']}" in metadata
    needed = [
        line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-Dist")
    ]
    assert [line for line in needed if "extra ==" not in line] == project["dependencies"]


def test_it_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    command = installed / "bin" / "fabric"
    assert run(command, "match", "truck/+/x", "truck/1/x", cwd=tmp_path).startswith("truck/1/x\tmatches")
    run(command, "match", "truck/+/x", "truck/1", cwd=tmp_path, code=1)
    assert re.fullmatch(r"fabric 0\.[\d.]+ \(compiled\)\n", run(command, "--version", cwd=tmp_path))
    where = "import fabric, nodes; print(fabric.__file__, nodes.__file__)"
    for path in run(installed / "bin" / "python", "-c", where, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installed)


def test_without_a_compiler_it_is_built_all_the_same_and_runs_in_plain_python(tmp_path: Path, installed: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    copy_source(source)
    said = run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, source, cwd=tmp_path, CC="/bin/false")
    assert "fabric: not compiled: fabric.core._" in said
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert not [name for name in names if name.endswith(SUFFIX)]
    python = installed / "bin" / "python"
    where = "import fabric.core as core; print(core.__file__, core.BUILD)"
    told = run(python, "-c", f"import sys; sys.path.insert(0, {str(wheel)!r}); {where}", cwd=tmp_path)
    assert told == f"{wheel}/fabric/core/__init__.py plain Python\n"


@pytest.mark.parametrize("code", [0, 3])
def test_what_browsers_load_is_built_with_the_package_or_it_says_that_it_is_not(tmp_path: Path, code: int) -> None:
    source, made = tmp_path / "source", tmp_path / "made"
    (source / "scripts").mkdir(parents=True)
    copy_source(source)
    shutil.rmtree(source / "nodes/web/dist", ignore_errors=True)
    script = source / "scripts/build-web"
    building = "mkdir -p nodes/web/dist && echo built > nodes/web/dist/site_connect.js" if code == 0 else f"exit {code}"
    script.write_text(f"#!/bin/sh\n{building}\n")
    script.chmod(0o755)
    said = run(sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", made, cwd=source)
    assert (made / "nodes/web/dist/site_connect.js").exists() == (code == 0)
    assert ("fabric: without what browsers load" in said) == (code != 0)


def test_an_installed_package_plays_the_demo(installed: Path, tmp_path: Path) -> None:
    """All of it is in the wheel, the real flights as well: a proxy, a page and an agent, from any folder."""
    said = run(installed / "bin" / "python", "-m", "nodes.demo.site_connect", "--both", cwd=tmp_path)
    assert "sent  26,849 of flights" in said and "Every message came, in order." in said
    assert said.endswith("All of it happened as told.\n")
    assert list(tmp_path.iterdir()) == []
