"""Two agree on a key while others listen, and hand keys over sealed with it."""

from __future__ import annotations

import pytest

from nodes.rules import agreement
from nodes.rules.agreement import PUBLIC_BYTES, agreed, public_of, sealed
from nodes.rules.fields import is_key
from nodes.rules.proofs import key_of

ONE, OTHER, THIRD = bytes(range(32)), bytes(range(32, 64)), b"x" * 32
PRIME = agreement._PRIME


def arctan_of_one_by(x: int, unity: int) -> int:
    total, term, n, sign = unity // x, unity // x, 3, -1
    while term:
        term //= x * x
        total, n, sign = total + sign * (term // n), n + 2, -sign
    return total


def test_the_prime_is_that_of_its_formula_and_its_half_is_prime_too() -> None:
    """RFC 3526, 3: 2**2048 - 2**1984 - 1 + 2**64 * ([2**1918 pi] + 124476)."""
    unity = 1 << (1918 + 64)
    pi = 4 * (4 * arctan_of_one_by(5, unity) - arctan_of_one_by(239, unity)) >> 64
    assert 2**2048 - 2**1984 - 1 + 2**64 * (pi + 124476) == PRIME
    half = (PRIME - 1) // 2
    assert all(pow(base, PRIME - 1, PRIME) == pow(base, half - 1, half) == 1 for base in (2, 3, 5, 7))


def test_both_come_to_one_key_and_a_third_to_another() -> None:
    key = agreed(ONE, public_of(OTHER))
    assert key is not None and is_key(key) and key == agreed(OTHER, public_of(ONE))
    assert len({key, agreed(THIRD, public_of(ONE)), agreed(THIRD, public_of(OTHER))}) == 3


@pytest.mark.parametrize("number", [0, 1, PRIME - 1, PRIME, 2**2048 - 1])
def test_a_public_part_that_would_fix_the_key_is_none(number: int) -> None:
    assert agreed(ONE, number.to_bytes(PUBLIC_BYTES, "big")) is None


def test_a_public_part_of_another_length_is_none() -> None:
    assert agreed(ONE, public_of(OTHER)[1:]) is agreed(ONE, b"") is agreed(ONE, b"\0" + public_of(OTHER)) is None


def test_a_number_outside_the_large_part_of_the_group_tells_nothing_of_the_exponent() -> None:
    """Its square is inside it: the two come to the same."""
    inside = int.from_bytes(public_of(OTHER), "big")
    assert agreed(ONE, (PRIME - inside).to_bytes(PUBLIC_BYTES, "big")) == agreed(ONE, public_of(OTHER))


def test_a_key_is_sealed_and_opened_by_the_same() -> None:
    key, secret = key_of("agreed"), key_of("secret")
    told = sealed(key, secret, "once")
    assert is_key(told) and told != secret and sealed(key, told, "once") == secret
    assert sealed(key, told, "twice") != secret != sealed(key_of("another"), told, "once")
    assert sealed(key, "0" * 31 + "1", "x")[:-1] == sealed(key, "0" * 32, "x")[:-1] and is_key(
        sealed(key, "0" * 32, "x")
    )
