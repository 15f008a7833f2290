"""What MkDocs calls while it builds the pages; see `hooks` in mkdocs.yml.

A page says `{{ metrics }}` or `{{ commands }}` where a generated part belongs. These parts are made at every build and
kept nowhere, so they cannot fall behind the code, and a change of a help text changes one file.
"""

from __future__ import annotations

import re
from typing import Any

from mkdocs.structure.files import File, Files

from docs.generate.command_line import commands
from docs.generate.lanes import draw_diagrams
from docs.generate.metrics_table import metrics
from docs.generate.outside import OUTSIDE, resolve_links, root_of

_NAMED_PROCESS = re.compile(r"^```(\w+) \w+$", re.MULTILINE)
"""The first line of a block that says whose it is, for the test that runs the examples; MkDocs knows only one word."""
PARTS = {"{{ metrics }}": metrics, "{{ commands }}": commands}


def on_files(files: Files, *, config: Any) -> Files:
    """Add the files of the repository that are pages here, too, and the pictures that they show."""
    root = root_of(config)
    for path, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(root / path).read_text()))
    for picture in sorted((root / "benchmarks" / "plots").glob("*.svg")):
        files.append(File.generated(config, f"reference/plots/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Fill in the generated parts, draw the diagrams, and mend the links that leave docs/."""
    if page.is_homepage:
        page.meta["hide"] = ["navigation"]  # README.md, which code hosts show, cannot say this itself
    for mark, make in PARTS.items():
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    markdown = _NAMED_PROCESS.sub(r"```\1", markdown)
    return resolve_links(draw_diagrams(markdown), page.file.src_uri, root_of(config))
