"""Compiled modules of `fabric.core` and their twins in plain Python: the tests of what they do run over both."""

from __future__ import annotations

import importlib
from typing import Any

import pytest


def twins(module: str, name: str) -> list[Any]:
    """Return `name` of the plain module and of the compiled one, as parameters; what is not compiled is skipped."""
    plain = pytest.param(getattr(importlib.import_module(f"fabric.core.{module}"), name), id="plain")
    try:
        compiled = getattr(importlib.import_module(f"fabric.core._{module}"), name)
    except ImportError as error:
        why = f"not compiled here: {error}"
        return [plain, pytest.param(None, id="compiled", marks=pytest.mark.skip(reason=why))]
    return [plain, pytest.param(compiled, id="compiled")]
