"""The description of a fabric: what is wrong in it is named, whatever TOML it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.deployment.description import Host, check, hosts_of, place, read, seconds, tables
from nodes.deployment.plan import make


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("proxies", "not TOML"),
        ("proxy = 3", "invalid key 'proxy': expected one of proxies, frames, pages"),
        ("store = 3", "invalid store 3: expected text in quotes"),
        ("ready_s = true", "invalid ready_s True: expected a number"),
        ("hosts = 3", "invalid hosts 3: expected tables"),
        ('store = " "', "expected text in quotes"),
        ('store = "a\\nb"', "expected text in quotes"),
        ('runner = "a\\u001fb"', "expected text in quotes"),
    ],
)
def test_a_file_that_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"hosts": {"-oProxyCommand=x": {}}}, "invalid host '-oProxyCommand=x': expected letters"),
        ({"hosts": {"a b": {}}}, "invalid host 'a b'"),
        ({"hosts": {"h": 3}}, "hosts.h: invalid description 3: expected a table"),
        (
            {"hosts": {"h": {"adress": "x"}}},
            "hosts.h: invalid key 'adress': expected one of address, fabric, state, runner",
        ),
        ({"hosts": {"h": {}}, "runner": "ssh 'a b'"}, "without quotes"),
        ({"proxies": [{}, {"listen": 5}]}, "proxies[2]: invalid listen 5: expected text in quotes"),
        ({"proxies": [{"args": "--drain 3"}]}, "invalid args '--drain 3': expected a list of texts"),
        ({"proxies": [{"args": [3]}]}, "proxies[1]: invalid args [3]"),
        ({"proxies": [3]}, "proxies[1]: invalid description 3: expected a table"),
        ({"frames": 1, "pages": [{"count": True}]}, "invalid count True: expected a whole number"),
        ({"grace_s": 0}, "invalid grace_s 0: expected 1 to 3600 seconds"),
        ({"ready_s": float("nan")}, "invalid ready_s nan"),
    ],
)
def test_a_value_that_is_wrong_is_named_with_what_would_be_right(description: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        make(description, fabric="f", state="/s")
    assert words in str(caught.value)


def test_what_is_right_is_returned() -> None:
    found = read('proxies = 3\nready_s = 2.6\n[hosts.h1]\naddress = "10.0.0.1"\n')
    assert found == {"proxies": 3, "ready_s": 2.6, "hosts": {"h1": {"address": "10.0.0.1"}}}
    assert seconds(found, "ready_s", 30) == 3 and seconds(found, "grace_s", 10) == 10
    assert tables(found, "proxies", 1) == [{}, {}, {}] and tables(found, "frames", 0) == []
    check(found, "")


def test_hosts_take_turns_unless_one_is_named() -> None:
    found = hosts_of({"hosts": {"a": {}, "b": {}}}, "f", "/s")
    assert [place({}, found, number).name for number in (1, 2, 3)] == ["a", "b", "a"]
    assert place({"host": "b"}, found, 1).name == "b"
    (here,) = hosts_of({}, "f", "/s")
    assert (str(here), here.runner) == ("this machine", ()) and str(found[0]) == "host a"


def test_bases_of_addresses_and_names() -> None:
    bases = {address: Host("h", (), address, "f", "/s").base(1) for address in ("10.0.0.1", "::1", "name")}
    assert bases == {
        "10.0.0.1": ("tcp://10.0.0.1:1", "tcp://10.0.0.1:1"),
        "::1": ("tcp://[::1]:1", "tcp://[::1]:1"),
        "name": ("tcp://*:1", "tcp://name:1"),
    }


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = ["proxies", "frames", "pages", "hosts", "store", "listen", "runner", "ready_s", "grace_s", "x"]


@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=4))
def test_whatever_is_described_makes_a_plan_or_a_line_of_words(description: dict[str, Any]) -> None:
    description = {key: min(value, 50) if isinstance(value, int) else value for key, value in description.items()}
    try:
        made = make(description, fabric="f", state="/s")
    except ValueError as error:
        assert str(error).isprintable() and str(error)
    else:
        assert all(line.replace("\x1f", "").isprintable() for line in made.lines())
