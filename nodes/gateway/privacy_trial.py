"""The page to try rules on asks the gateway what it makes of them, as of the file of `--privacy`. Pure.

read_trial('{"text": "[[rules]]\\nmask = [\\".a\\"]", "address": "https://shop.example.org/", "private": false}')
"""

from __future__ import annotations

import json
from typing import Any

from nodes.gateway.policy import origin_of
from nodes.gateway.privacy_rules import read_rules

EXPECTED = 'expected {"text": rules, "address": of a page, "private": true or false}'


def read_trial(body: str) -> dict[str, Any]:
    """Return `rules`, as a welcome carries them to a page of that address; or `why` they cannot be used."""
    try:
        asked = json.loads(body)
        text, address, is_private = asked["text"], asked["address"], asked["private"]
        if not isinstance(text, str) or not isinstance(address, str) or not isinstance(is_private, bool):
            raise TypeError
    except (ValueError, TypeError, KeyError, RecursionError):
        return {"why": f"invalid message: {EXPECTED}"}
    try:
        origin = origin_of("/".join(address.split("/", 3)[:3]))
        return {"rules": read_rules(text, is_private=is_private).of(origin)}
    except ValueError as error:
        return {"why": str(error)}
