"""What the commands share: addresses, numbers, words."""

from __future__ import annotations

import math

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.cli.options import Base, PositiveNumber


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


@given(st.floats())
def test_only_finite_numbers_above_zero_pass(number: float) -> None:
    if 0 < number < math.inf:
        assert PositiveNumber().convert(str(number), None, None) == number
    else:
        with pytest.raises(click.BadParameter):
            PositiveNumber().convert(str(number), None, None)
