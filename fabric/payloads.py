"""What a payload may hold, and how it looks as JSON. `fabric.wire` packs and unpacks it.

A payload is None, a bool, an int of 64 bits (-2**63 .. 2**64-1), a float, a str, bytes (or a bytearray), or a list,
tuple or dict of payloads. Keys are str. Containers nest at most 64 deep: `[]` is 1, `{"a": []}` is 2.

Strict JSON has neither bytes nor NaN and infinities. They become maps of one key, a *mark*: {"$bin": base64} and
{"$float": "nan" | "inf" | "-inf"}. A map of the application's own whose one key is a mark is wrapped in {"$map": ...}
and so is never mistaken for one: `from_json(to_json(x))` is x, with tuples as lists.
"""

from __future__ import annotations

import base64
import json
import math
import sys
from typing import Any

import msgpack  # type: ignore[import-untyped]

from fabric.errors import LocalWireError, expected

MAX_NESTING = 64
NUMERIC = frozenset({type(None), bool, int, float})
FLAT = NUMERIC | {str, bytes}

_PLAIN = FLAT | {dict, list, tuple}
_MANY = 8  # from so many items on, asking C for all their types at once is cheaper
_LARGER = (
    "larger than max_payload_bytes allows: send less, or let a program raise it "
    "(Node(max_payload_bytes=…), and fabric proxy --max-payload)"
)
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_TYPES = "None, bool, int, float, str, bytes, list, tuple or dict"
_MARKS = {"$bin": "base64", "$float": "nan, inf or -inf", "$map": "a map"}  # and what each takes


class _Flaw(Exception):
    """Ends a walk; its text is the answer of `flaw`."""


def flaw(root: object, max_bytes: int, max_nesting: int = MAX_NESTING) -> str | None:
    """Return what makes `root` no payload, in words, or None.

    max_bytes: bound on a lower estimate of the encoded size; ends the walk of a list that is shared a million times
    returns:   None too for ints out of range and for lone surrogates, which the packer refuses
    cost:      0.5 us, and 0.05 to 0.1 us for each value; numbers in long arrays 0.02 us
    """
    try:
        left = _spend(root, max_bytes, max_nesting)
    except _Flaw as what:
        return str(what)
    return None if left >= 0 else _LARGER


def _spend(value: Any, budget: int, depth: int) -> int:
    """Return what is left of `budget` bytes after `value`, which may nest `depth` deep: so deep is the recursion."""
    kind = type(value)
    if kind not in _PLAIN:
        kind = _plain_kind(value)
    if kind in NUMERIC:
        return budget
    budget -= len(value)
    if kind is dict:
        for key in value:
            if not isinstance(key, str):
                raise _Flaw(expected("map key", key, f"a str, not {_described(key)}"))
            budget -= len(key)
    if budget < 0:
        raise _Flaw(_LARGER)
    if kind is str or kind is bytes:
        return budget
    if depth == 0:
        raise _Flaw("nested too deep: flatten it")
    items = value.values() if kind is dict else value
    if len(items) >= _MANY and NUMERIC.issuperset(map(type, items)):
        return budget
    for item in items:
        kind = type(item)
        if kind in NUMERIC:
            continue
        if kind is str:
            budget -= len(item)
        else:
            budget = _spend(item, budget, depth - 1)
    return budget


def _plain_kind(value: object) -> type:
    """Return the plain type that the packer takes an instance of a subclass for."""
    if isinstance(value, bytearray):
        return bytes
    if not isinstance(value, msgpack.ExtType):  # a tuple to Python, an extension to the packer
        for plain in (int, float, bytes, str, dict, list, tuple):
            if isinstance(value, plain):
                return plain
    raise _Flaw(f"invalid payload of type {_described(value)}: expected {_TYPES}")


def _described(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def to_json(value: Any) -> Any:
    """Return `value`, a payload, as what `json.dumps(..., allow_nan=False)` takes. Errors: LocalWireError."""
    _refuse_flaw(value, MAX_NESTING)
    return _to_json(value)


def from_json(value: Any) -> Any:
    """Return the payload that `to_json` made `value` of. Errors: LocalWireError, also for marks that hold nonsense."""
    _refuse_flaw(value, 2 * MAX_NESTING + 1)  # as deep as 64 wrapped maps that hold bytes
    return _from_json(value)


def _refuse_flaw(value: Any, max_nesting: int) -> None:
    what = flaw(value, sys.maxsize, max_nesting)
    if what is not None:
        raise LocalWireError(what)


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return {"$bin": base64.b64encode(value).decode("ascii")}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(float(value))}
    if isinstance(value, dict):
        plain = {key: _to_json(item) for key, item in value.items()}
        return {"$map": plain} if len(plain) == 1 and next(iter(plain)) in _MARKS else plain
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return value


def _from_json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((mark, marked),) = value.items()
        if mark in _MARKS:
            return _unmark(mark, marked)
    return {key: _from_json(item) for key, item in value.items()}


def _unmark(mark: str, marked: Any) -> Any:
    if mark == "$map" and isinstance(marked, dict):
        return {key: _from_json(item) for key, item in marked.items()}
    if mark == "$float" and isinstance(marked, str) and marked in _FLOATS:
        return _FLOATS[marked]
    if mark == "$bin" and isinstance(marked, str):
        try:
            return base64.b64decode(marked, validate=True)
        except ValueError as error:
            raise LocalWireError(expected('"$bin"', marked, f"base64: {error}")) from error
    raise LocalWireError(expected(f'"{mark}"', marked, _MARKS[mark]))


# One encoder for all: `json.dumps` makes a new one on each call that asks for anything special, at twice the cost.
_encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def dumps(value: Any) -> str:
    """Return `value` as one line of strict JSON. Payloads go through `to_json` first.

    errors: ValueError for NaN and infinities, TypeError for what JSON has no form for
    """
    return _encoder.encode(value)
