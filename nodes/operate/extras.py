"""What to install where an optional part of the project is missing. Pure."""

from __future__ import annotations


def not_installed(module: str | None, extra: str) -> str:
    """Return the words for a module that is not installed, and how to install it.

    module:  as a ModuleNotFoundError names it; of `a.b` only `a` is said
    extra:   the extra of this project that brings it, see `pyproject.toml`
    """
    return f"{str(module).split('.')[0]} is not installed; install it with: pip install 'site-connect-fabric[{extra}]'"
