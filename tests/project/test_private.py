"""What commands and scripts write is for its owner only, whatever the umask: folders, files, sockets."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import FABRIC, ROOT, FabricProcess, Process, environment
from tests.support.stacks import Scripts

UMASKS = (0o000, 0o022)


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Scripts]:
    found = Scripts(tmp_path)
    yield found
    found.run("down")


def open_to_others(folder: Path) -> dict[str, str]:
    """What others can use in a folder, itself included: mode by path."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & 0o077:
            found[str(path.relative_to(folder))] = stat.filemode(mode)
    return found


@pytest.mark.parametrize("umask", UMASKS, ids=oct)
def test_all_that_a_running_fabric_keeps(scripts: Scripts, umask: int) -> None:
    """Also where the folder was there before, empty and open to others."""
    scripts.state.mkdir(mode=0o755)
    scripts.state.chmod(0o755)
    before = os.umask(umask)
    try:
        done = scripts.up(scripts.describe(f"listen = 'ipc://{scripts.folder}/s'", "frames = 1", "pages = 2"))
        assert done.returncode == 0, done.stderr
        assert scripts.run("restart", "f1").returncode == 0
    finally:
        os.umask(before)
    names = {path.name for path in scripts.state.rglob("*")}
    assert names > {"plan", "frame.db", "frame.db-wal", "frame.db-shm", "f1.pid", "f1.log", "f1.log.1", "run", "log"}
    assert open_to_others(scripts.state) == {}
    sockets = sorted(scripts.folder.glob("s.*"))
    assert len(sockets) == 4 and not [each for each in sockets if each.stat().st_mode & 0o077]


@pytest.mark.parametrize("umask", UMASKS, ids=oct)
def test_what_commands_write_by_themselves(tmp_path: Path, umask: int) -> None:
    def fabric(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*FABRIC, *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment(), umask=umask, capture_output=True, text=True, timeout=60
        )

    for agent in ("ada", "bob"):
        done = fabric("gateway-token", agent, "--agents", "agents.jsonl")
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert (
        open_to_others(tmp_path / "agents.jsonl") == {}
        and len((tmp_path / "agents.jsonl").read_text().splitlines()) == 2
    )
    again = fabric("gateway-token", "ada", "--agents", "agents.jsonl")
    assert again.returncode == 3 and "agents.jsonl has ada already" in again.stderr


@pytest.mark.parametrize(("words", "allowed"), [((), 0o700), (("--ipc-mode", "660"), 0o660)])
def test_who_may_use_ipc_sockets(tmp_path: Path, started: list[Process], words: tuple[str, ...], allowed: int) -> None:
    proxy = FabricProcess(["proxy", "--listen", f"ipc://{tmp_path}/p", *words], tmp_path)
    started.append(proxy)
    proxy.wait_event("ready")
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("p.*")}
    assert len(list(tmp_path.glob("p.*"))) == 4 and modes == {allowed & 0o666}
    assert proxy.stop() == 0


@pytest.mark.parametrize("umask", UMASKS, ids=oct)
def test_what_the_demo_keeps(tmp_path: Path, started: list[Process], umask: int) -> None:
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    with tempfile.TemporaryDirectory() as short:  # an ipc address has at most 100 bytes
        before = os.umask(umask)
        try:
            command = [sys.executable, "-m", "nodes.demo.browsers", "0"]
            demo = Process(command, tmp_path, env=environment(TMPDIR=short))
            started.append(demo)
            demo.wait_stdout("Ctrl-C")
        finally:
            os.umask(before)
        (folder,) = Path(short).glob("fabric-demo-*")
        assert {path.name for path in folder.iterdir()} > {"agents.jsonl", "frame.db", "p1.in"}
        assert open_to_others(folder) == {} and demo.stop() == 0


TRY = """
import os, socket, stat, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)  # nobody
got = []
for folder, folders, files in os.walk(sys.argv[1]):
    for name in files:
        path = os.path.join(folder, name)
        try:
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                socket.socket(socket.AF_UNIX).connect(path)
            else:
                open(path, "rb").read()
            got.append(path)
        except PermissionError:
            print("refused", name)
print("got", got)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_of_the_machine_gets_nothing(tmp_path: Path, started: list[Process]) -> None:
    """In a folder that everybody may enter, under the umask of most machines: no code, no topic, no secret."""
    with tempfile.TemporaryDirectory() as name:
        folder, before = Path(name), os.umask(0o022)
        folder.chmod(0o755)
        try:
            base = f"ipc://{folder}/p"
            for words in (
                ["proxy", "--listen", base, "--audit", f"{folder}/audit"],
                ["frame", "--store", f"sqlite:///{folder}/frame.db", "--connect", base],
            ):
                started.append(FabricProcess(words, tmp_path))
                started[-1].wait_event("ready")
        finally:
            os.umask(before)
        command = [sys.executable, "-c", TRY, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        refused, got = set(re.findall(r"^refused (\S+)$", done.stdout, re.MULTILINE)), done.stdout.splitlines()[-1]
        assert refused == {"p.in", "p.out", "p.link", "p.guest", "audit", "frame.db", "frame.db-wal", "frame.db-shm"}
        assert got == "got []", done.stdout + done.stderr
        for process in reversed(started):
            assert process.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_state_folder_of_somebody_else_is_not_used() -> None:
    """Its owner could have put anything there, to be run by this user."""
    program = (ROOT / "scripts" / "lib" / "host.sh").read_text() + "\nshared /\n"
    done = subprocess.run(["bash", "-s"], input=program, user=65534, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "/ belongs to another user" in done.stdout


@pytest.mark.parametrize("verb", ["up", "status", "down", "restart"])
def test_a_state_folder_in_which_others_can_write_is_not_used(scripts: Scripts, verb: str) -> None:
    """What stands there is run: others could have put it there."""
    scripts.state.mkdir()
    (scripts.state / "plan").write_text("30\x1f10\n")
    scripts.state.chmod(0o777)
    done = scripts.run(verb)
    assert done.returncode == 3 and f"others can write in {scripts.state}: expected chmod 700" in done.stderr
    scripts.state.chmod(0o700)
