"""The pages that scripts/docs builds: built strictly, true to the code, and nothing is loaded from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("mkdocs")

from docs.generate.command_line import help_text
from docs.generate.docstrings import as_list
from docs.generate.lanes import Transition, draw, draw_diagrams, parse
from docs.generate.outside import resolve_links
from nodes.cli.main import COMMANDS, command
from nodes.operate.metrics import METRICS
from nodes.rules.diagrams import MODULES
from tests.support.processes import ROOT, environment


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    env = environment(NO_MKDOCS_2_WARNING="1")
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Loads(HTMLParser):
    """Collects what a browser loads for a page by itself: not what a reader may click on."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.found.append(values.get("href", ""))
        if tag != "a":
            self.found += [values[key] for key in ("src", "srcset", "poster", "data") if key in values]


def loads(html: str) -> list[str]:
    parser = Loads()
    parser.feed(html)
    return parser.found


def files(built: Path, ending: str) -> Iterator[tuple[str, str]]:
    for path in sorted(built.rglob(f"*{ending}")):
        yield str(path.relative_to(built)), path.read_text()


def test_the_pages_load_nothing_from_another_host(built: Path) -> None:
    pages = dict(files(built, ".html"))
    assert len(pages) > 25
    foreign = [(name, url) for name, html in pages.items() for url in loads(html) if urlsplit(url).netloc]
    foreign += [(name, url) for name, css in files(built, ".css") for url in re.findall(r"url\(([^)]*//[^)]*)\)", css)]
    assert [(name, url) for name, url in foreign if not url.strip("'\"").startswith("data:")] == []
    # Material's script would fetch Mermaid and the figures of a repository, where a page asks for them.
    assert not any('class="mermaid"' in html or 'data-md-component="source"' in html for html in pages.values())


def test_loads_sees_what_a_browser_would_load() -> None:
    html = '<a href="https://a.example"></a><script src="https://b.example/x.js"></script><link rel="icon" href="//c">'
    assert loads(html) == ["https://b.example/x.js", "//c"]


def test_every_metric_and_every_command_is_on_its_page(built: Path) -> None:
    metrics, commands = (words(built / "reference" / f"{name}.html") for name in ("metrics", "command-line"))
    for each in METRICS:
        assert each.name in metrics and each.meaning.replace("`", "") in metrics
    for name in COMMANDS:
        assert f"fabric {name}" in commands
        options = [param.opts[-1] for param in command(name).params]
        assert [option for option in options if option not in commands and option[0] == "-"] == []
    assert "{{ metrics }}" not in metrics and "{{ commands }}" not in commands


def words(page: Path) -> str:
    text: list[str] = []
    parser = HTMLParser()
    parser.handle_data = text.append  # type: ignore[method-assign,assignment]
    parser.feed(page.read_text())
    return " ".join("".join(text).split())


def test_the_api_page_has_what_is_exported(built: Path) -> None:
    import fabric as exported

    page = (built / "reference" / "api.html").read_text()
    assert [name for name in exported.__all__ if f'id="fabric.{name}"' not in page] == []


def test_every_machine_is_drawn_and_no_diagram_is_left(built: Path) -> None:
    page = (built / "machines.html").read_text()
    assert (
        page.count('<figure class="lanes">')
        == (ROOT / "docs" / "machines.md").read_text().count("```mermaid")
        >= len(MODULES)
    )
    assert "stateDiagram" not in page


# --- the generators


def test_a_diagram_becomes_lanes() -> None:
    lines = "    [*] --> a\n    a --> b: go\n    b --> b: stay (epoch + 1)\n"
    text = f"before\n\n```mermaid\nstateDiagram-v2\n{lines}```\n\nafter"
    start, transitions = parse(lines)
    assert (start, transitions) == ("a", [Transition("a", "b", "go"), Transition("b", "b", "stay (epoch + 1)")])
    drawn = draw_diagrams(text)
    assert drawn == f"before\n\n{draw(start, transitions)}\n\nafter"
    assert drawn.count('class="way"') == 2 and drawn.count("<rect") == 2 and "stay (epoch + 1)</text>" in drawn


def test_a_line_that_is_no_transition_is_refused() -> None:
    with pytest.raises(ValueError, match="expected STATE --> STATE: EVENT"):
        parse("    a -> b")


def test_a_field_becomes_an_item_with_its_further_lines() -> None:
    assert as_list("Do it: now.\n\nname:   what it\n        is called\nerrors: none\n\nEnd.").split("\n") == [
        "Do it: now.", "", "", "- `name`: what it", "    is called", "- `errors`: none", "", "End.",
    ]  # fmt: skip


def test_help_that_is_printed_as_it_is_becomes_code() -> None:
    assert help_text("Do <it>.\n\n\b\nExample:\n  fabric x") == "Do &lt;it&gt;.\n\nExample:\n\n```text\nfabric x\n```"


@pytest.mark.parametrize(
    ("link", "there"),
    [
        ("[a](docs/machines.md)", "[a](machines.md)"),
        ("[a](fabric/README.md#the-wire)", "[a](explanation/fabric-inside.md#the-wire)"),
        ("[topics](fabric/topics.py)", "topics (`fabric/topics.py`)"),
        ("[fabric/topics.py](fabric/topics.py)", "`fabric/topics.py`"),
        ("[a](https://example.org)", "[a](https://example.org)"),
        ("[a](docs/no-such-page.md)", "[a](no-such-page.md)"),
    ],
)
def test_a_link_of_the_readme_is_right_on_the_front_page(link: str, there: str) -> None:
    assert resolve_links(link, "index.md", ROOT) == there
