"""The wheel: it holds exactly `fabric` and `nodes`, typed, and works when it is installed outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.support.processes import ROOT


def run(*command: str | Path, cwd: Path, code: int = 0) -> str:
    """Run a command in an environment that knows nothing of the checkout; return what it printed."""
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "FABRIC_CONNECT")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves a `build` folder, whose old files would slip into the next wheel."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    source.mkdir()
    for name in ("fabric", "nodes"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder / "dist", source, cwd=folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; what it depends on is borrowed from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    site = next(folder.glob("lib/python*/site-packages"))
    run(sys.executable, "-m", "pip", "--python", folder, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    import click

    borrowed = Path(click.__file__).parent.parent
    for name in ("click", "zmq", "pyzmq.libs", "msgpack"):  # one by one: an editable install of the checkout stays out
        if (borrowed / name).exists():
            (site / name).symlink_to(borrowed / name)
    return folder


def test_the_wheel_holds_exactly_two_packages_both_typed(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.split("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"fabric", "nodes"}
    assert {"fabric/py.typed", "nodes/py.typed"} <= set(names)
    served = {str(path.relative_to(ROOT)) for path in (ROOT / "nodes/web/src").rglob("*") if path.is_file()}
    assert served <= set(names) and not [name for name in names if "node_modules" in name]
    modules = {
        str(path.relative_to(ROOT))
        for folder in ("fabric", "nodes")
        for path in (ROOT / folder).rglob("*.py")
        if "node_modules" not in path.parts
    }
    assert {name for name in names if name.endswith(".py")} == modules


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
    assert run(command, "--version", cwd=tmp_path).startswith("fabric 0.")
    where = "import fabric, nodes; print(fabric.__file__, nodes.__file__)"
    for path in run(installed / "bin" / "python", "-c", where, cwd=tmp_path).split():
        assert Path(path).is_relative_to(installed)
