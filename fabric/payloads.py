"""What a payload may hold, and how it looks as JSON. `fabric.wire` packs and unpacks it.

A payload is None, a bool, an int of 64 bits (-2**63 .. 2**64-1), a float, a str, bytes (or a bytearray), or a list,
tuple or dict of payloads. Keys are str. Containers nest at most 64 deep: `[]` is 1, `{"a": []}` is 2.

Strict JSON has neither bytes nor NaN and infinities. They become maps of one key, a *mark*: {"$bin": base64} and
{"$float": "nan" | "inf" | "-inf"}. A map of the application's own whose one key is a mark is wrapped in {"$map": ...}
and so is never mistaken for one: `from_json(to_json(x))` is x, with tuples as lists.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]

from fabric.errors import LocalWireError

MAX_NESTING = 64
NUMERIC = frozenset({type(None), bool, int, float})
FLAT = NUMERIC | {str, bytes}

_CONTAINERS = frozenset({dict, list, tuple})
_PLAIN = FLAT | _CONTAINERS
_STR = frozenset({str})
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_MARKS = ("$bin", "$float", "$map")


def flaw(root: object, max_bytes: int | None, max_nesting: int = MAX_NESTING) -> str | None:
    """Return what makes `root` no payload, in words, or None.

    max_bytes: bound on a lower estimate of the encoded size, or None where the size is known to be bounded
    returns:   None too for ints out of range and strings with lone surrogates, which the packer refuses
    cost:      1 us, and 0.1 us for each value; arrays and maps of numbers alone take 0.02 us a value
    """
    # A stack of iterators, not recursion: neither a list that holds itself nor one that is shared a million times
    # costs more than the bounds allow.
    budget = max_bytes or 0
    leaves = FLAT if max_bytes is None else NUMERIC
    stack: list[Iterator[Any]] = [iter((root,))]
    while stack:
        for value in stack[-1]:
            kind = type(value)
            if kind not in _PLAIN:
                kind = _plain_kind(value)
            if kind in NUMERIC:
                continue
            items: Iterable[Any] = value
            if kind is dict:
                if not _STR.issuperset(map(type, value)):
                    for key in value:
                        if not isinstance(key, str):
                            return f"map key {key!r:.40} is {_described(key)}; keys must be str"
                budget -= sum(map(len, value))
                items = value.values()
            elif kind is object:
                return f"{_described(value)} is no payload: None, bool, int, float, str, bytes, list, tuple, dict are"
            budget -= len(value)
            if budget < 0 and max_bytes is not None:
                return f"larger than {max_bytes} bytes (max_payload_bytes): send less, or raise the limit"
            if kind in _CONTAINERS:
                if len(stack) > max_nesting:
                    return f"nested deeper than {max_nesting} levels: flatten it"
                if not leaves.issuperset(map(type, items)):
                    stack.append(iter(items))
                    break
        else:
            stack.pop()
    return None


def _plain_kind(value: object) -> type:
    """Return the plain type that the packer takes an instance of a subclass for; `object` when it takes none."""
    if isinstance(value, msgpack.ExtType):  # a tuple to Python, an extension to the packer
        return object
    if isinstance(value, bytearray):
        return bytes
    return next((plain for plain in (int, float, bytes, str, dict, list, tuple) if isinstance(value, plain)), object)


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
    what = flaw(value, None, max_nesting)
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
            raise LocalWireError(f'{{"$bin": {marked!r:.40}}} is not base64: {error}') from error
    raise LocalWireError(
        f'{{"{mark}": {marked!r:.40}}}: "$bin" takes base64, "$float" nan, inf or -inf, and "$map" a map'
    )
