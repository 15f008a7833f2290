"""What the commands share: addresses, numbers, words."""

from __future__ import annotations

import math

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.cli.options import Base, PositiveNumber, Size


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:5570", "tcp://[::1]:5570", "tcp://host.example:1", "ipc:///tmp/p"])
def test_an_address(url: str) -> None:
    assert Base().convert(url, None, None) == url


@pytest.mark.parametrize(
    "url", ["", "5570", "tcp://h", "tcp://h:0", "tcp://h:65531", "udp://h:1", "ipc://", "tcp://h:1/"]
)
def test_no_address(url: str) -> None:
    with pytest.raises(click.BadParameter, match=r"^invalid (address|port) "):
        Base().convert(url, None, None)


@pytest.mark.parametrize("text", ["a b", "a,b", " a , b ", "a\nb", "a,, b,"])
def test_several_addresses_in_one_variable(text: str) -> None:
    assert list(Base().split_envvar_value(text)) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("1048576", 2**20), ("1MiB", 2**20), ("8 MiB", 2**23), ("1.5G", 1_500_000_000), ("2kB", 2_000),
     ("1Ti", 2**40), ("7B", 7)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert Size().convert(text, None, None) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "x", "1X", "0.1B", "nan", "1e3", "9999999999T", "1 2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected bytes, such as 1048576"):
        Size().convert(text, None, None)


@given(st.floats())
def test_only_finite_numbers_above_zero_pass(number: float) -> None:
    if 0 < number < math.inf:
        assert PositiveNumber().convert(str(number), None, None) == number
    else:
        with pytest.raises(click.BadParameter):
            PositiveNumber().convert(str(number), None, None)
