"""What README.md and the pages in docs/ show is run here, as a reader would; see tests/support/reader.py."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

from nodes.cli import main
from tests.support.processes import ROOT, Process
from tests.support.reader import KINDS, Block, Reader, blocks

PAGES = [ROOT / "README.md", ROOT / "nodes" / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
DRAWN = ROOT / "docs" / "machines.md"  # diagrams, and tests/nodes/rules/test_diagrams.py compares it with the code
BUILT = "nodes/web/dist"  # by scripts/build-web
BLOCKS = {page: blocks(page) for page in PAGES if page != DRAWN}
RUN = {page: found for page, found in BLOCKS.items() if any(not each.why and each.kind in KINDS[:5] for each in found)}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", RUN, ids=name)
def test_what_a_page_shows_happens(
    page: Path, tmp_path_factory: pytest.TempPathFactory, started: list[Process]
) -> None:
    Reader(tmp_path_factory.mktemp("r"), started).read(RUN[page])


def test_every_tutorial_and_how_to_is_run_but_for_those_that_show_no_command() -> None:
    wanted = {name(page) for page in PAGES if page.parent.name in ("tutorial", "how-to")} | {"README.md"}
    only_words = {"docs/how-to/support-agent.md", "docs/how-to/test-and-measure.md"}
    assert {name(page) for page in RUN} >= wanted - only_words and only_words < wanted


def test_no_block_is_of_a_kind_that_is_not_run() -> None:
    assert [(name(page), each.kind) for page, found in BLOCKS.items() for each in found if each.kind not in KINDS] == []


def test_what_is_not_run_says_why() -> None:
    left_out = [(name(page), each.why) for page, found in BLOCKS.items() for each in found if each.why]
    assert all(len(why) > 20 for _, why in left_out)
    assert len(left_out) == 12, "one more or one less than before: is that meant?"


def test_the_words_of_every_command_are_known() -> None:
    """Also of those that are not run."""
    wrong = [
        f"{name(page)}: {line}: {why}"
        for page, found in BLOCKS.items()
        for each in found
        for line in commands(each)
        if (why := flaw(shlex.split(line, comments=True)))
    ]
    assert wrong == []


def commands(block: Block) -> list[str]:
    known = ("fabric ", "scripts/", "python -m ")
    if block.kind == "sh":
        return block.commands()
    return [line for line in block.text.splitlines() if not block.kind and line.startswith(known)]


def flaw(words: list[str]) -> str:
    """Return what is wrong with a command that a page shows; empty when nothing is."""
    if words[0].startswith("scripts/"):
        return "" if (ROOT / words[0]).is_file() else "there is no such script"
    if words[0] != "fabric":
        return ""
    command = main.command(words[1]) if words[1] in main.COMMANDS else None
    if isinstance(command, click.Group) and not words[2].startswith("--"):
        command = command.get_command(click.Context(command), words[2])
    if command is None:
        return "there is no such command"
    options = {each for param in command.params if isinstance(param, click.Option) for each in param.opts}
    unknown = [word for word in words[2:] if re.match(r"--\w", word) and word not in options]
    return f"{unknown} are not known" if unknown else ""


def test_flaw_finds_what_is_wrong() -> None:
    assert flaw(["fabric", "sub", "a/#", "--connect", "x"]) == "" == flaw(["scripts/up", "--proxies", "3"])
    assert flaw(["fabric", "keys", "add", "x", "--role", "node"]) == "" != flaw(["fabric", "keys", "ad", "x"])
    assert flaw(["fabric", "subscribe"]) and flaw(["fabric", "sub", "--conect", "x"]) and flaw(["scripts/upp"])


def test_every_file_they_name_is_there() -> None:
    lost = []
    for page in PAGES:
        text = page.read_text()
        links = re.findall(r"\]\(((?!https?:|#)[^)#\s]+)", text)
        lost += [f"{name(page)}: {link}" for link in links if not (page.parent / link).exists()]
        files = re.findall(r"(?<![\w./$-])((?:scripts|tests|benchmarks|nodes|fabric)/[\w/.@-]*\w)", text)
        lost += [f"{name(page)}: {file}" for file in files if not (ROOT / file).exists() and file != BUILT]
    assert lost == []


def test_the_readme_shows_the_commands_for_messages_and_stays_short() -> None:
    shown = {line.split()[1] for each in BLOCKS[ROOT / "README.md"] for line in commands(each) if "fabric" in line}
    assert shown >= {"proxy", "wait", "status", "sub", "pub"}
    assert len((ROOT / "README.md").read_text().splitlines()) <= 160


def test_every_dependency_says_what_it_is_for() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = told["project"]
    needed = [
        *told["build-system"]["requires"],
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    packages = {re.split(r"[\[<>=]", each)[0] for each in needed}
    web = re.findall(r'^    "([@\w/-]+)": "\d', (ROOT / "nodes" / "web" / "package.json").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| ([@\w/-]+) \|", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE)
    assert sorted(each for each in rows if each != "package") == sorted(packages | set(web))


DROPPED = re.compile(r"\b(anew|whoever|moreover|in vain|lacking|is none|of its own|shall)\b", re.IGNORECASE)


def test_words_that_have_to_be_read_twice_are_not_used() -> None:
    # What the commands and docstrings say is not of these pages; nor is what others keep.
    assert [(name(page), found[0]) for page in PAGES for found in DROPPED.finditer(page.read_text())] == []
