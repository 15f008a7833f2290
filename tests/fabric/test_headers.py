"""The fabric's own headers: nobody else sends them, and a message with any other arrives."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fabric.errors import LocalWireError
from fabric.headers import RESERVED, refuse_reserved
from tests.support.processes import ROOT


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_name_is_refused_and_named(name: str) -> None:
    with pytest.raises(LocalWireError, match=f"invalid header '{name}': expected another name"):
        refuse_reserved({"by": 1, name: True})


@pytest.mark.parametrize("headers", [{}, {"by": "page"}, {"id": 1, "reply_to": "x"}, {"Tail": True}, 7, [1]])
def test_any_other_name_is_the_users_and_what_is_no_dict_is_for_the_encoder(headers: Any) -> None:
    refuse_reserved(headers)


def test_what_a_receiver_looks_for_in_headers_is_reserved() -> None:
    """The rooms that read every message's headers; a name that is looked for there and not reserved swallows some."""
    read = set[str]()
    for folder in ("fabric/node", "fabric/core"):
        for path in (ROOT / folder).glob("*.py*"):
            if path.suffix in (".py", ".pyx"):
                read |= set(re.findall(r'headers\.get\("(\w+)"\)|"(\w+)" in headers', path.read_text()))
    names = {name for pair in read for name in pair if name}
    assert names and names <= RESERVED
