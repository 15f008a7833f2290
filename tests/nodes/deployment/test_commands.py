"""Commands of the user's own in a plan."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.deployment.commands import commands_of
from nodes.deployment.description import Host
from nodes.deployment.process import Process
from nodes.deployment.proxies import proxies_of

HERE = Host("", (), "127.0.0.1", "/bin/fabric", "/s")
HOSTS = [Host(name, ("ssh", name), f"10.0.0.{at}", "fabric", "/s") for at, name in enumerate("ab", 1)]


def made(hosts: list[Host], *tables: dict[str, Any]) -> list[Process]:
    proxies = [process for process, _ in proxies_of({"proxies": 2}, hosts)]
    return [process for process, _ in commands_of({"run": list(tables)}, hosts, proxies, "/folder of it")]


def test_it_finds_the_proxies_its_number_and_the_command_in_its_environment() -> None:
    one, two = made([HERE], {"command": "python3 -c 'import x'", "name": "w", "count": 2})
    assert (one.name, two.name) == ("w1", "w2") and one.command == ("python3", "-c", "import x")
    assert one.env == ("FABRIC=/bin/fabric", "FABRIC_NUMBER=1") and two.env[1] == "FABRIC_NUMBER=2"
    assert one.members == ("FABRIC_CONNECT=tcp://127.0.0.1:5570 tcp://127.0.0.1:5580",)
    assert two.members == ("FABRIC_CONNECT=tcp://127.0.0.1:5580 tcp://127.0.0.1:5570",)
    assert (one.readies, one.role) == (0, "node")


def test_it_may_say_when_it_is_ready_which_role_it_has_and_be_the_fabric_command() -> None:
    (one,) = made([HERE], {"command": ["fabric", "sub", "a b"], "ready": True, "role": "observer"})
    assert one.command == ("/bin/fabric", "sub", "a b") and (one.readies, one.role, one.name) == (1, "observer", "run1")


def test_it_runs_in_the_folder_of_the_file_here_and_in_the_state_folder_on_a_host() -> None:
    here = made([HERE], {"command": "x"}, {"command": "x", "folder": "sub"}, {"command": "x", "folder": "/else"})
    assert [each.folder for each in here] == ["/folder of it", "/folder of it/sub", "/else"]
    there = made(HOSTS, {"command": "x", "count": 3}, {"command": "x", "folder": "/else"})
    assert [each.folder for each in there] == ["", "", "", "/else"]
    assert [each.host.name for each in there] == ["a", "b", "a", "b"]


@pytest.mark.parametrize("command", [None, "", "'", [], ["a", 3], 7, "a\x1fb", ["a\nb"]])
def test_a_command_is_words(command: object) -> None:
    with pytest.raises(ValueError, match=r"run\[1\]: invalid command"):
        made([HERE], {"command": command})


def test_only_tables_are_commands() -> None:
    with pytest.raises(ValueError, match=r"expected tables \[\[run\]\]"):
        commands_of({"run": 3}, [HERE], [], "")
