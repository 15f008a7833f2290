"""The compiled data plane, and its twins in plain Python.

What carries every message is compiled: `_name.pyx`. Beside each such module stands its twin, `name.py`, which is its
specification, and runs where nothing was compiled, or `FABRIC_PURE=1` is set. Both have the same names, take and
return the same, and pass the same tests. `_libzmq` has no twin: it lends the compiled modules libzmq's functions.

All of it is compiled, or none: who imports from here gets one or the other, and `BUILD` says which.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabric.core.build import BUILD, COMPILED, PURE_VARIABLE

__all__ = ["BUILD", "COMPILED", "PURE_VARIABLE"]


def __getattr__(name: str) -> Any:
    """The first who asks has the compiled modules imported; a limit of a twin can be read without them."""
    if name not in __all__:
        raise AttributeError(f"module 'fabric.core' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module("fabric.core.build"), name)
    return found
