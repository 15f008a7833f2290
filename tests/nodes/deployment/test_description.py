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
        ("proxies", "this is no TOML"),
        ("proxy = 3", "'proxy' is not known; there are proxies, frames, pages"),
        ("store = 3", "store = 3; right would be text in quotes"),
        ("ready_s = true", "ready_s = True; right would be a number"),
        ("hosts = 3", "hosts = 3; right would be tables"),
        ('store = " "', "right would be text"),
        ('store = "a\\nb"', "right would be text"),
        ('runner = "a\\u001fb"', "right would be text"),
    ],
)
def test_a_file_that_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        read(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"hosts": {"-oProxyCommand=x": {}}}, "hosts.'-oProxyCommand=x': right would be letters"),
        ({"hosts": {"a b": {}}}, "hosts.'a b'"),
        ({"hosts": {"h": 3}}, "hosts.h: 3 is no table"),
        ({"hosts": {"h": {"adress": "x"}}}, "hosts.h: 'adress' is not known; there are address, fabric, state, runner"),
        ({"hosts": {"h": {}}, "runner": "ssh 'a b'"}, "without quotes"),
        ({"proxies": [{}, {"listen": 5}]}, "proxies[2]: listen = 5; right would be text in quotes"),
        ({"proxies": [{"args": "--drain 3"}]}, "args = '--drain 3'; right would be a list of texts"),
        ({"proxies": [{"args": [3]}]}, "proxies[1]: args = [3]"),
        ({"proxies": [3]}, "proxies[1]: 3 is no table"),
        ({"frames": 1, "pages": [{"count": True}]}, "count = True; right would be a whole number"),
        ({"grace_s": 0}, "grace_s = 0; right would be 1 to 3600 seconds"),
        ({"ready_s": float("nan")}, "ready_s = nan"),
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
