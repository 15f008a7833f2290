"""Which words hold a password."""

from __future__ import annotations

import pytest

from nodes.deployment.secret_words import has_password


@pytest.mark.parametrize(
    "word",
    [
        "postgresql://u:pw@h/d", "--store=postgresql://u:pw@h/d", "postgresql+psycopg://:pw@h", "postgresql://u:p/w@h/d",
        "postgresql://u:p:w@h/d", "postgresql://u@h/d?password=pw", "postgresql://u@h/d?x=1&PASSWORD=pw",
        "postgresql://h/d?sslpassword=pw",
    ],
)  # fmt: skip
def test_these_do(word: str) -> None:
    assert has_password(word)


@pytest.mark.parametrize(
    "word",
    [
        "postgresql://u@h/d", "postgresql://u:@h/d", "postgresql://h:5432/d", "sqlite:////var/x@y.db", "tcp://[::1]:5570",
        "http://127.0.0.1:9100", "agent@h1.example.org:5570", "a:b@c", "--password-stdin", "postgresql://h/d?password=",
    ],
)  # fmt: skip
def test_these_do_not(word: str) -> None:
    assert not has_password(word)
