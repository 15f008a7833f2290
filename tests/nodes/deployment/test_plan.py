"""From descriptions to processes: what runs where, with which command, in which order."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from nodes.cli.options import Base
from nodes.deployment.description import RESTARTS, read
from nodes.deployment.plan import FORM, RESERVED, SEPARATOR, Plan, Process, make
from tests.support.processes import ROOT


def plan(**description: Any) -> Plan:
    """Without keys, also beyond loopback, unless it says else."""
    if not description.keys() & {"keys", "insecure"}:
        description["insecure"] = True
    return make(description, fabric="fabric", state="/s")


def named(made: Plan) -> dict[str, Process]:
    return {each.name: each for each in made.processes}


def option(process: Process, name: str) -> list[str]:
    """What a command gets under this option, in order."""
    words = (*process.command, *process.members)
    return [words[at + 1] for at, word in enumerate(words) if word == name]


def hosts(*names: str) -> dict[str, dict[str, str]]:
    return {name: {"address": f"10.0.0.{number}"} for number, name in enumerate(names, 1)}


def test_nothing_said_is_one_proxy_at_the_default_address() -> None:
    (only,) = plan().processes
    assert shlex.join(only.command) == "fabric proxy --listen tcp://127.0.0.1:5570 --name p1"
    assert (only.kind, only.host.name, only.host.runner, only.alone) == ("proxy", "", (), "")


def test_proxies_then_frame_nodes_then_pages() -> None:
    made = plan(proxies=3, frames=2, pages=200)
    assert [each.name for each in made.processes] == ["p1", "p2", "p3", "f1", "f2", "pages"]
    assert [each.kind for each in made.processes] == ["proxy"] * 3 + ["frame"] * 2 + ["page"]
    assert (made.ready_s, made.grace_s) == (30, 10)
    assert [each.readies for each in made.processes] == [1] * 5 + [200]


def test_the_first_proxy_is_at_the_default_address_the_others_10_above_each_and_each_joins_all_others() -> None:
    found = plan(proxies=3).processes
    bases = [f"tcp://127.0.0.1:{port}" for port in (5570, 5580, 5590)]
    assert [each.base for each in found] == bases
    for each in found:
        assert option(each, "--listen") == [each.base]
        assert sorted([*option(each, "--join"), each.base]) == bases
        assert each.alone == "--first" and "--first" not in each.command


def test_nodes_connect_to_every_proxy_and_begin_at_different_ones() -> None:
    found = named(plan(proxies=3, frames=2, pages=1))
    firsts = [option(found[name], "--connect")[0] for name in ("f1", "f2")]
    assert firsts == ["tcp://127.0.0.1:5570", "tcp://127.0.0.1:5580"]
    for name in ("f1", "f2", "pages"):
        assert sorted(option(found[name], "--connect")) == [found[f"p{number}"].base for number in (1, 2, 3)]


def test_one_more_proxy_changes_no_command() -> None:
    """What each is told of its mesh is no part of it: the scripts call a process changed by its command."""
    few, more = (named(plan(proxies=count, frames=1, pages=1)) for count in (3, 4))
    for name, each in few.items():
        assert each.command == more[name].command and each.members != more[name].members


def test_frame_nodes_share_the_store_which_is_a_file_in_the_state_folder_by_default() -> None:
    assert [option(each, "--store") for each in plan(frames=2).processes[1:]] == [["sqlite:////s/frame.db"]] * 2
    found = named(plan(frames=1, store="postgresql://u@h/d"))
    assert option(found["f1"], "--store") == ["postgresql://u@h/d"]


def test_hosts_take_turns_and_each_has_its_own_address_and_ports() -> None:
    found = named(plan(proxies=4, frames=3, pages=7, store="postgresql://u@h/d", hosts=hosts("h1", "h2", "h3")))
    assert [found[f"p{number}"].base for number in (1, 2, 3, 4)] == [
        "tcp://10.0.0.1:5570", "tcp://10.0.0.2:5570", "tcp://10.0.0.3:5570", "tcp://10.0.0.1:5580",
    ]  # fmt: skip
    assert [found[f"f{number}"].host.name for number in (1, 2, 3)] == ["h1", "h2", "h3"]
    assert [option(found[f"pages{number}"], "--count") for number in (1, 2, 3)] == [["3"], ["2"], ["2"]]
    assert option(found["f3"], "--connect")[0] == "tcp://10.0.0.3:5570", "its own host's proxy first"
    assert len(option(found["f3"], "--connect")) == 4
    assert found["p2"].host.runner == ("ssh", "-o", "BatchMode=yes", "h2")


def test_frame_nodes_on_sqlite_stay_together() -> None:
    found = named(plan(proxies=3, frames=3, hosts=hosts("h1", "h2", "h3")))
    assert {found[name].host.name for name in ("f1", "f2", "f3")} == {"h1"}


def test_a_host_without_a_numeric_address_is_listened_at_everywhere_and_advertised_by_name() -> None:
    (only,) = plan(hosts={"agent@h1.example.org": {}}).processes
    assert option(only, "--listen") == ["tcp://*:5570"] and option(only, "--advertise") == ["tcp://h1.example.org:5570"]
    (v6,) = plan(hosts={"h": {"address": "fe80::1"}}).processes
    assert option(v6, "--listen") == ["tcp://[fe80::1]:5570"] and not option(v6, "--advertise")


def test_a_host_has_its_own_command_folder_and_runner() -> None:
    table = {"address": "10.0.0.1", "fabric": "/opt/f", "state": "/var/f", "runner": "docker exec -i {host}"}
    made = plan(frames=1, runner="ip netns exec {host}", hosts={"a": table, "b": {}}, proxies=2)
    one, two, frame = made.processes
    assert one.command[0] == frame.command[0] == "/opt/f" and option(frame, "--store") == ["sqlite:////var/f/frame.db"]
    assert one.host.runner == ("docker", "exec", "-i", "a") and two.host.runner == ("ip", "netns", "exec", "b")


def test_tables_instead_of_counts() -> None:
    made = plan(
        hosts=hosts("h1", "h2"),
        proxies=[{"name": "a", "host": "h2", "listen": "tcp://0.0.0.0:7000", "args": ["--drain", "20"]}, {}],
        frames=[{"name": "f", "host": "h2", "store": "sqlite:///x y.db", "args": ["--capacity", "5"]}],
        pages=[{"name": "shop", "count": 3, "args": ["--buttons", "help"]}, {"host": "h1"}],
    )
    found = named(made)
    assert list(found) == ["a", "p2", "f", "shop", "pages2"]
    assert found["a"].base == "tcp://10.0.0.2:7000" and option(found["a"], "--advertise") == [found["a"].base]
    assert found["a"].command[-2:] == ("--drain", "20") and found["f"].command[-2:] == ("--capacity", "5")
    assert found["p2"].base == "tcp://10.0.0.2:5570", "the second one's turn is the second host's"
    assert option(found["shop"], "--count") == ["3"] and option(found["pages2"], "--count") == ["1"]


def test_one_proxy_may_be_at_a_path() -> None:
    (only,) = plan(listen="ipc:///tmp/f").processes
    assert option(only, "--listen") == ["ipc:///tmp/f"]


def test_the_lines_keep_every_field_and_quote_what_a_shell_runs() -> None:
    described = {"proxies": 2, "frames": 1, "hosts": {"h": {}}, "keys": "/k k"}
    made = make(described, fabric="/a b/fabric", state="/s t;rm")
    head, *lines = made.lines()
    assert head.split(SEPARATOR) == [FORM, "30", "10", "/k k"]
    for line, process in zip(lines, made.processes, strict=True):
        name, kind, host, runner, state, fabric, base, readies, alone, *how, command = line.split(SEPARATOR)
        restart, members, env, folder = how
        assert (restart, tuple(shlex.split(members)), tuple(shlex.split(env))) == (
            process.restart, process.members, process.env,
        )  # fmt: skip
        assert shlex.split(folder) == ["/s t;rm"]
        assert (name, kind, host, base, alone) == (process.name, process.kind, "h", process.base, process.alone)
        assert (runner.split(), int(readies)) == (list(process.host.runner), process.readies)
        assert shlex.split(state) == ["/s t;rm"] and shlex.split(fabric) == ["/a b/fabric"]
        assert tuple(shlex.split(command)) == process.command


HOSTILE = (
    "$(touch${IFS}X)",
    "`touch X`",
    "';touch X;'",
    '";touch X;"',
    "a b;touch X",
    "*&|>X",
    "\\",
    "-rf",
    "~/x",
    "\x1b[2J",
)


def where(field: str, value: str) -> dict[str, Any]:
    """A description with this value in one field, such as `frames.store`."""
    table, _, key = field.rpartition(".")
    whole: dict[str, Any] = {
        "insecure": True,
        "hosts": {"h": {"address": "10.0.0.1"}},
        "proxies": [{}],
        "frames": [{}],
        "pages": [{}],
    }
    if key == "args":
        whole[table][0][key] = [value]
    elif table == "hosts":
        whole["hosts"]["h"][key] = value
    elif field == "host name":
        whole["hosts"] = {value: {"address": "10.0.0.1"}}
    elif table:
        whole[table][0][key] = value
    else:
        whole[key] = value
    return whole


FIELDS = (
    "store", "store_file", "http_token_file", "listen",
    "proxies", "frames", "pages", "ready_s", "grace_s", "host name", "hosts.address",
    "hosts.fabric", "hosts.state", "proxies.name", "proxies.host", "proxies.listen", "proxies.args", "frames.name",
    "frames.host", "frames.store", "frames.store_file", "frames.args", "pages.name", "pages.host", "pages.count",
    "pages.args",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_no_value_of_a_description_reaches_a_shell_unquoted(field: str) -> None:
    """Either the value is refused, or all that a shell reads is words that stand for themselves. (A runner is words to
    be run, and is not given to a shell here.)"""
    used = 0
    for value in (*HOSTILE, f"ipc://{HOSTILE[0]}"):
        try:
            made = make(where(field, value), fabric="fabric", state="/s")
        except ValueError as error:
            assert str(error).isprintable()
            continue
        used += 1
        for line, process in zip(list(made.lines())[1:], made.processes, strict=True):
            name, kind, host, runner, *fields = line.split(SEPARATOR)
            assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) and kind in ("proxy", "frame", "page")
            assert re.fullmatch(r"[A-Za-z0-9_.@:-]*", host + runner.replace(" ", "").replace("=", ""))
            state, fabric, base, readies, alone, restart, members, env, folder, command = fields
            assert tuple(shlex.split(members)) == process.members and tuple(shlex.split(env)) == process.env
            assert restart in RESTARTS and shlex.split(folder) == [process.folder or process.host.state]
            assert [shlex.split(each) for each in (state, fabric)] == [[process.host.state], [process.host.fabric]]
            assert shlex.split(command) == list(process.command) and readies.isdigit() and alone in ("", "--first")
            assert base == process.base  # scripts/lib/common.sh quotes it
    assert used or field not in ("store", "hosts.fabric", "hosts.state", "frames.store", "proxies.args")


@pytest.mark.parametrize(
    "description",
    [
        {"frames": 1, "store": "postgresql://u:sesam@h/d"},
        {"frames": [{"store": "postgresql://u@h/d?password=sesam"}]},
        {"frames": [{"args": ["--store=postgresql://u:sesam@h/d"]}]},
        {"proxies": [{"args": ["--join", "tcp://u:sesam@h:1"]}]},
        {"hosts": {"h": {"address": "10.0.0.1", "runner": "run postgresql://u:sesam@h/d"}}},
    ],
)
def test_a_password_never_stands_in_a_plan(description: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"holds a password, .* expected store_file") as caught:
        plan(**description)
    assert "sesam" not in str(caught.value)


def test_every_process_has_the_key_of_its_name_in_the_folder_of_its_host() -> None:
    made = plan(
        proxies=2, frames=1, pages=2, keys="/here/keys", hosts={"h": {"address": "10.0.0.1", "state": "/var/f"}}
    )
    assert made.keys == "/here/keys"
    for each in made.processes:
        assert (option(each, "--keys"), option(each, "--identity")) == (["/var/f/keys"], [each.name])
        assert "--insecure" not in each.command
    for name in RESERVED:
        with pytest.raises(ValueError, match=f"invalid name '{name}'"):
            plan(proxies=[{"name": name}], keys="/here/keys")
        assert plan(proxies=[{"name": name}]).processes


def test_without_keys_nobody_else_reaches_a_proxy_unless_that_is_said() -> None:
    beyond: list[dict[str, Any]] = [{"hosts": hosts("h1")}, {"listen": "tcp://192.0.2.1:5570"}]
    for description in beyond:
        with pytest.raises(
            ValueError, match=r"could read and write everything: expected keys = .*, or insecure = true"
        ):
            make(description, fabric="fabric", state="/s")
        (proxy,) = make({**description, "insecure": True}, fabric="fabric", state="/s").processes
        assert "--insecure" in proxy.command
        assert make({**description, "keys": "/k"}, fabric="fabric", state="/s").processes
    (here,) = make({"insecure": True}, fabric="fabric", state="/s").processes
    assert "--insecure" not in here.command, "on loopback there is nothing to say"
    with pytest.raises(ValueError, match="keys and insecure: expected one of them"):
        make({"insecure": True, "keys": "/k"}, fabric="fabric", state="/s")


def test_every_status_page_is_given_its_token() -> None:
    made = plan(proxies=2, frames=1, pages=2, http_token_file="/etc/fabric/http")
    assert [option(each, "--http-token-file") for each in made.processes] == [["/etc/fabric/http"]] * 4
    assert {each.command[1] for each in made.processes} == {"proxy", "frame", "page"}


def test_a_file_holds_the_url_of_the_store() -> None:
    found = named(plan(frames=2, store_file="/etc/fabric/store", proxies=2, hosts=hosts("h1", "h2")))
    assert [option(found[name], "--store-file") for name in ("f1", "f2")] == [["/etc/fabric/store"]] * 2
    assert option(found["f1"], "--store") == [] and {found["f1"].host.name, found["f2"].host.name} == {"h1", "h2"}
    (own,) = [
        each for each in plan(store="postgresql://h/d", frames=[{"store_file": "/x"}]).processes if each.kind == "frame"
    ]
    assert option(own, "--store-file") == ["/x"] and option(own, "--store") == []
    with pytest.raises(ValueError, match="store and store_file: expected one of them"):
        plan(frames=1, store="postgresql://h/d", store_file="/x")


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"proxies": 0}, "nothing can run without a proxy: expected proxies (--proxies) 1 or more"),
        ({"proxies": "3"}, "invalid proxies '3': expected 0 to 100000"),
        ({"frames": -1}, "invalid frames -1"),
        ({"frames": True}, "invalid frames True"),
        ({"pages": 3}, "pages need a frame node"),
        ({"frames": 1, "pages": [{"count": 0}]}, "pages[1]: invalid count 0: expected 1 or more"),
        ({"proxies": [{"name": "a"}, {"name": "a", "listen": "tcp://127.0.0.1:7000"}]}, "2 processes are called a"),
        ({"proxies": [{"name": "a/b"}]}, "invalid name 'a/b'"),
        ({"proxies": [{"name": "-f"}]}, "invalid name '-f'"),
        (
            {"proxies": [{}, {"listen": "tcp://127.0.0.1:5570"}]},
            "at tcp://127.0.0.1:5570 and tcp://127.0.0.1:5570 overlap: expected bases 10 ports apart",
        ),
        (
            {"proxies": [{"listen": f"tcp://127.0.0.1:{port}"} for port in (5580, 5570, 5575)]},
            "at tcp://127.0.0.1:5570 and tcp://127.0.0.1:5575 overlap",
        ),
        ({"proxies": [{"listen": "ipc:///tmp/a"}, {"listen": "ipc:///tmp/a"}]}, "at ipc:///tmp/a and ipc:///tmp/a"),
        ({"proxies": [{"listen": "here"}]}, "invalid address 'here'"),
        ({"proxies": 6, "listen": "tcp://127.0.0.1:65500"}, "port 65540"),
        ({"listen": "ipc:///tmp/f", "proxies": 2}, "room for one proxy"),
        ({"listen": "ipc:///tmp/f", "hosts": {"h": {}}}, "room for one proxy"),
        (
            {"hosts": {"h": {"address": "$(touch${IFS}X)"}}},
            "invalid address of hosts.h '$(touch${IFS}X)': expected a host",
        ),
        ({"proxies": [{"host": "h9"}]}, "invalid host 'h9': expected one with a table [hosts.h9]"),
        ({"frames": [{}, {"host": "h2"}], "hosts": hosts("h1", "h2")}, "cannot share sqlite:////s/frame.db"),
        (
            {"proxies": [{"listen": "tcp://127.0.0.1:5570"}], "frames": [{"host": "h2"}], "hosts": hosts("h1", "h2")},
            "f1 on host h2 cannot reach p1 at tcp://127.0.0.1:5570",
        ),
    ],
)
def test_what_cannot_work_is_said_before_anything_starts(description: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        plan(**description)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_proxies_that_are_not_in_each_others_way() -> None:
    listens = ["tcp://127.0.0.1:5570", "tcp://127.0.0.1:5576", "tcp://127.0.0.2:5570", "ipc:///tmp/a", "ipc:///tmp/b"]
    assert [each.base for each in plan(proxies=[{"listen": each} for each in listens]).processes] == listens


@pytest.mark.parametrize("where", ["fabric", "state"])
def test_a_path_that_would_break_a_line_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match="expected text in quotes"):
        make({}, **{"fabric": "f", "state": "/s", where: "a\nb"})


def test_the_bases_it_makes_are_what_the_commands_take() -> None:
    for each in plan(proxies=3, hosts={"a": {}, "b": {"address": "fe80::1"}}).processes:
        for base in (*option(each, "--listen"), *option(each, "--join")):
            assert Base().convert(base, None, None) == base


def test_what_the_documentation_shows_is_a_plan() -> None:
    (text,) = re.findall(
        r"^```toml\n(.*?)^```$", (ROOT / "docs" / "how-to" / "deploy.md").read_text(), re.MULTILINE | re.DOTALL
    )
    made = make(read(text), fabric="fabric", state="/s")
    assert [each.name for each in made.processes] == ["p1", "p2", "p3", "f1", "f2", "pages1", "pages2"]
