"""What the tables hold of the wire's numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.keep.schema import signed, unsigned


@given(st.integers(0, 2**64 - 1))
def test_unsigned_numbers_of_64_bits_are_kept_as_signed_ones(value: int) -> None:
    assert -(2**63) <= signed(value) < 2**63 and unsigned(signed(value)) == value
