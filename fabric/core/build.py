"""What runs here: the compiled data plane, or its twins in plain Python."""

from __future__ import annotations

import importlib
import os

PURE_VARIABLE = "FABRIC_PURE"
"""Environment variable; "1" forces the twins."""
COMPILED_PARTS = ("_libzmq", "_gate", "_retained", "_switch", "_intake", "_outlet")
"""Every compiled module of `fabric.core`."""


def all_compiled() -> bool:
    """Return whether the twins are not forced, and every compiled module can be imported."""
    if os.environ.get(PURE_VARIABLE) == "1":
        return False
    try:
        for name in COMPILED_PARTS:
            importlib.import_module(f"fabric.core.{name}")
    except ImportError:  # not compiled here, or not for this pyzmq
        return False
    return True


COMPILED = all_compiled()
BUILD = "compiled" if COMPILED else "plain Python"
"""The same in words for people."""
