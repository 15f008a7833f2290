"""The compiled data plane, and its twins in plain Python.

What carries every message is compiled: `_name.pyx`. Beside each such module stands its twin, `name.py`, which is its
specification, and runs where nothing was compiled, or `FABRIC_PURE=1` is set. Both have the same names, take and
return the same, and pass the same tests. `_libzmq` has no twin: it lends the compiled modules libzmq's functions.

All of it is compiled, or none: who imports from here gets one or the other, and `BUILD` says which.
"""

from __future__ import annotations

from fabric.core.build import BUILD, COMPILED, PURE_VARIABLE

__all__ = ["BUILD", "COMPILED", "PURE_VARIABLE"]
