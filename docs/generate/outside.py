"""Files of the repository outside docs/ that are pages as well, and the links between all pages."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

OUTSIDE = {
    "fabric/README.md": "explanation/fabric-inside.md",
    "nodes/README.md": "explanation/nodes-inside.md",
    "benchmarks/RESULTS.md": "reference/results.md",
    "benchmarks/soak-1000-nodes.md": "reference/soak.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "index.md",
}
"""Path in the repository -> page."""

_HOME = {page: path for path, page in OUTSIDE.items()}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def root_of(config: Any) -> Path:
    """The repository's folder: the one that holds mkdocs.yml."""
    return Path(config.config_file_path).parent


def resolve_links(markdown: str, page: str, root: Path) -> str:
    """Return `markdown` with every relative link made right for the place that its page has among the pages.

    A link to a file that is no page becomes the file's path as code: the pages have no copy of the source.
    page: the page's address below docs/, as MkDocs has it
    """
    home = _HOME.get(page, f"docs/{page}")

    def mend(found: re.Match[str]) -> str:
        picture, words, target, part = found[1], found[2], found[3], found[4] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(home), target))
        if path in OUTSIDE:
            there = OUTSIDE[path]
        elif path.startswith("benchmarks/plots/"):
            there = f"reference/plots/{posixpath.basename(path)}"
        elif path.startswith("docs/"):
            there = path.removeprefix("docs/")
        elif (root / path).exists():
            return f"`{path}`" if words.strip("`") in (path, target) else f"{words} (`{path}`)"
        else:
            return found[0]  # MkDocs names it, and the strict build fails
        return f"{picture}[{words}]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{part})"

    return _LINK.sub(mend, markdown)
