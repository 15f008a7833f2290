"""The layers of design: imports run one way, pure modules stay pure, and every module has its test file.

ORDER is the reading order. A module may import only what stands before it; a new module is added to it by hand.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.processes import ROOT

# fmt: off
PURE = (
    "errors", "topics", "trie", "payloads", "wire", "numbers", "endpoints", "interest", "broker", "mesh", "control",
    "coverage", "outbox", "session", "stray", "directory", "replies", "calls", "ledger",
)
IO_SIDE = ("sockets", "stream", "proxy", "receiver", "uplink", "downlink", "node", "aio", "presence", "server",
           "client", "requests")
PURE_NODES = {
    "replay", "mesh_view", "machine", "frame_loading", "cobrowse", "visibility", "chat", "retry", "contact_codes",
}
# fmt: on
ORDER = (*PURE, *IO_SIDE)

IMPURE_MODULES = {"zmq", "time", "threading", "random", "secrets", "socket", "asyncio", "select", "subprocess"}

FABRIC = sorted((ROOT / "fabric").glob("*.py"))
NODES = sorted((ROOT / "nodes").glob("*.py"))
MODULES = [path for path in FABRIC + NODES if path.stem != "__init__"]


def named(path: Path) -> str:
    return f"{path.parent.name}.{path.stem}"


def imports(path: Path) -> set[str]:
    """Full names of what a file imports, wherever in it; `from fabric import wire` is `fabric.wire`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import; write the whole name"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def of_fabric(path: Path) -> set[str]:
    """The modules of `fabric` that a file imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("fabric.")} & {p.stem for p in FABRIC}


def test_every_module_of_fabric_has_its_place_in_the_order() -> None:
    assert {path.stem for path in FABRIC} - {"__init__"} <= set(ORDER)


@pytest.mark.parametrize("path", [path for path in FABRIC if path.stem != "__init__"], ids=named)
def test_imports_of_fabric_run_one_way(path: Path) -> None:
    before = set(ORDER[: ORDER.index(path.stem)])
    assert of_fabric(path) <= before, f"{path.stem} may import only what stands before it in ORDER"
    assert not any(name.split(".")[0] == "nodes" for name in imports(path)), "fabric never imports nodes"


@pytest.mark.parametrize(
    "path", [p for p in FABRIC if p.stem in PURE] + [p for p in NODES if p.stem in PURE_NODES], ids=named
)
def test_pure_modules_have_no_io_no_clock_and_no_chance(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & IMPURE_MODULES
    if path.parent.name == "nodes":
        assert of_fabric(path) <= set(PURE), "a pure module of nodes imports pure modules of fabric only"


@pytest.mark.parametrize("path", [path for path in MODULES if path.stem != "sockets"], ids=named)
def test_only_sockets_creates_zeromq_sockets(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "socket":
            maker = ast.unparse(node.func.value)
            assert maker in ("socket", "plain_socket"), f"line {node.lineno}: {maker}.socket(); use fabric.sockets"


def test_the_walk_sees_what_it_should() -> None:
    """So that the tests above cannot pass by looking at nothing."""
    assert {"topics", "errors"} <= of_fabric(ROOT / "fabric/wire.py")
    assert "zmq" in imports(ROOT / "fabric/sockets.py")
    assert len(MODULES) > 15


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_every_module_has_its_test_file(path: Path) -> None:
    assert (ROOT / "tests" / f"test_{path.stem}.py").is_file()
