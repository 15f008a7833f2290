"""The house's docstrings for mkdocstrings: lines of `name:   meaning` become a list. See `Fields`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from griffe import Extension, Object

_FIELD = re.compile(r"(?P<name>[a-z_]\w*(?:, [a-z_]\w*)*):\s+(?P<meaning>\S.*)")
"""One identifier, or several: a sentence that holds a colon begins with a capital, and has words between."""


def as_list(docstring: str) -> str:
    """Return `docstring` as Markdown, each of its fields one item of a list with its further lines."""
    return "\n".join(_lines(docstring.splitlines()))


def _lines(lines: list[str]) -> Iterator[str]:
    in_field = False
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is not None:
            if not in_field:
                yield ""
            yield f"- `{field['name']}`: {field['meaning']}"
            in_field = True
        elif in_field and line.startswith(" "):
            yield f"    {line.strip()}"
        else:
            if in_field and line.strip():
                yield ""
            in_field = False
            yield line


class Fields(Extension):
    """A griffe extension: rewrites each docstring once it is read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is not None:
            obj.docstring.value = as_list(obj.docstring.value)
