"""The layers of the project: imports run one way, pure modules stay pure, and every module has its test file.

SPINE is the reading order of `fabric`; no module of it may reach, by whatever way, one that stands after it. Modules
beside the spine need no entry here: they must not close a circle, and a module whose docstring begins with saying that
it is pure is held to it, with all that it imports.
"""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.support.processes import ROOT

# fmt: off
FLOORS = (
    ("fabric",),
    ("fabric.core", "fabric.protocol", "fabric.identity"),
    ("fabric.proxy", "fabric.node"),
    ("fabric.services",),
    ("nodes.rules", "nodes.operate", "nodes.observe", "nodes.recording", "nodes.deployment"),
    ("nodes.load", "nodes.databases"),
    ("nodes.store.versions", "nodes.keep.versions"),
    ("nodes.store", "nodes.keep", "nodes.page", "nodes.agent"),
    ("nodes.frame_node", "nodes.gateway"),
    ("nodes.cli", "nodes.demo"),
)
"""The rooms, from the ground up. A module imports from its own room and from lower floors: never up, never sideways.
`fabric` stands for the modules that lie in it themselves; its face, `fabric/__init__.py`, is used from `nodes` on."""
PURE_SPINE = (
    "fabric.errors", "fabric.topics", "fabric.trie", "fabric.wire", "fabric.node.numbering", "fabric.node.gaps",
    "fabric.node.interest", "fabric.broker", "fabric.proxy.membership", "fabric.node.coverage",
)
IO_SPINE = (
    "fabric.sockets", "fabric.proxy.proxy", "fabric.node.node", "fabric.node.aio", "fabric.services.presence",
    "fabric.services.client",
)
PURE_NODES = (
    "nodes.rules.machine", "nodes.rules.frame_loading", "nodes.rules.cobrowse", "nodes.rules.visibility",
    "nodes.rules.chat", "nodes.rules.backoff",
    "nodes.rules.contact_codes",
)
# fmt: on
SPINE = PURE_SPINE + IO_SPINE
IMPURE = {"zmq", "time", "threading", "random", "secrets", "socket", "asyncio", "select", "subprocess", "sqlalchemy"}

FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for folder in ("fabric", "nodes")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.stem not in ("__init__", "__main__") and "node_modules" not in path.parts
}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())


@cache
def imported(module: str) -> frozenset[str]:
    """Full names of what a module imports, wherever in it; `from fabric import wire` is `fabric.wire`, too."""
    found = set()
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import; write the whole name"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


@cache
def exported(package: str) -> frozenset[str]:
    """The modules from which a package's face takes what it hands on: `fabric`, `fabric.services`."""
    face = (ROOT / package.replace(".", "/") / "__init__.py").read_text()
    return frozenset(
        node.module for node in ast.walk(ast.parse(face)) if isinstance(node, ast.ImportFrom) and node.module in FILES
    )


PACKAGES = frozenset(".".join(name.split(".")[:depth]) for name in FILES for depth in range(1, name.count(".") + 1))


@cache
def ours(module: str) -> frozenset[str]:
    """The modules of this project that it imports. `from fabric import Node` is everything that `fabric` exports."""
    names = imported(module)
    found = set(names & FILES.keys())
    for name in names - FILES.keys() - PACKAGES:
        package = name.rpartition(".")[0]
        if package in PACKAGES:
            found |= exported(package)
    return frozenset(found)


@cache
def reached(module: str) -> frozenset[str]:
    """The modules of this project that it imports, and those that these import, and so on."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        new = ours(waiting.pop()) - found
        found |= new
        waiting += new
    return frozenset(found)


def says_it_is_pure(module: str) -> bool:
    first_paragraph = (ast.get_docstring(tree(module)) or "").split("\n\n")[0]
    return re.search(r"\bpure\b", first_paragraph, re.IGNORECASE) is not None


PURE = sorted({module for module in FILES if module in PURE_SPINE + PURE_NODES or says_it_is_pure(module)})


@pytest.mark.parametrize("module", [module for module in SPINE if module in FILES])
def test_the_spine_runs_one_way(module: str) -> None:
    after = set(SPINE[SPINE.index(module) :])
    assert not reached(module) & after, f"{module} may not reach what stands after it in SPINE"


@pytest.mark.parametrize("module", FILES)
def test_no_circles_and_fabric_never_needs_nodes(module: str) -> None:
    assert module not in reached(module), f"{module} imports, by a way round, itself"
    if module.startswith("fabric."):
        assert not any(name.split(".")[0] == "nodes" for name in imported(module))


def room(module: str) -> str:
    return module.rpartition(".")[0]


FLOOR_OF = {each: floor for floor, rooms in enumerate(FLOORS) for each in rooms}


def test_every_room_has_its_floor() -> None:
    assert set(FLOOR_OF) == {room(module) for module in FILES}


@pytest.mark.parametrize("module", FILES)
def test_imports_run_downwards_only(module: str) -> None:
    here = room(module)
    wrong = {each for each in ours(module) if room(each) != here and FLOOR_OF[room(each)] >= FLOOR_OF[here]}
    assert not wrong, f"{module} imports {wrong}, which stand above it or beside it"


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_have_no_io_no_clock_and_no_chance(module: str) -> None:
    for each in {module} | reached(module):
        found = {name.split(".")[0] for name in imported(each)} & IMPURE
        assert not found, f"{module} is pure, but {each} imports {found}"


@pytest.mark.parametrize("module", [module for module in FILES if module != "fabric.sockets"])
def test_only_sockets_creates_zeromq_sockets(module: str) -> None:
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "socket":
            maker = ast.unparse(node.func.value)
            assert maker in ("socket", "plain_socket"), f"line {node.lineno}: {maker}.socket(); use fabric.sockets"


@pytest.mark.parametrize("module", [module for module in FILES if not module.startswith("fabric.node.")])
def test_what_lives_on_a_node_uses_what_it_offers(module: str) -> None:
    """`node._thread` and the like are for `fabric.node` alone; others have `attach`, `in_io_thread` and so on."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
            owner = ast.unparse(node.value).rpartition(".")[2]
            assert owner not in ("node", "_node"), f"line {node.lineno}: {ast.unparse(node)}"


def test_the_walk_sees_what_it_should() -> None:
    """So that the tests above cannot pass by looking at nothing."""
    assert {"fabric.topics", "fabric.errors"} <= ours("fabric.wire")
    assert "fabric.sockets" in reached("nodes.cli.pub") and "zmq" in imported("fabric.sockets")
    assert set(PURE_SPINE) <= set(PURE) and len(PURE) > 20
    assert set(SPINE) & FILES.keys() > set(PURE_SPINE)


def test_the_tests_mirror_the_modules_by_path() -> None:
    """`nodes/page/host.py` is tested by `tests/nodes/page/test_host.py`, and no test file there is without a module."""
    wanted = {str(path.relative_to(ROOT).with_name(f"test_{path.stem}.py")) for path in FILES.values()}
    tests = ROOT / "tests"
    found = {str(path.relative_to(tests)) for top in ("fabric", "nodes") for path in (tests / top).rglob("test_*.py")}
    assert found == wanted
