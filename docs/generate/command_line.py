"""The page of the command line, from the click objects that the `fabric` command is made of. Pure."""

from __future__ import annotations

import html
from inspect import cleandoc

import click

from nodes.cli.main import COMMANDS, command, fabric


def commands() -> str:
    """Return one section for each command, in alphabetical order."""
    context = click.Context(fabric, info_name="fabric")
    return "\n\n".join(_section(name, command(name), context) for name in COMMANDS)


def _section(name: str, command: click.Command, parent: click.Context, level: int = 2) -> str:
    """Return the section of a command; that of a group has one for each of its commands in it."""
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    title = f"{'#' * level} {context.command_path}"
    parts = [title, f"```text\n{usage}\n```", help_text(command.help or ""), _options(command, context)]
    if isinstance(command, click.Group):
        parts += [_section(each, command.commands[each], context, level + 1) for each in sorted(command.commands)]
    return "\n\n".join(part for part in parts if part)


def help_text(text: str) -> str:
    """Return a help text as Markdown: what click prints line by line (after `\\b`) becomes a block of code."""
    return "\n\n".join(_paragraph(paragraph) for paragraph in cleandoc(text).split("\n\n"))


def _paragraph(paragraph: str) -> str:
    if not paragraph.startswith("\b"):
        return html.escape(paragraph, quote=False)
    lines = paragraph.removeprefix("\b").strip("\n").splitlines()
    title = ""
    if lines[0].endswith(":") and not lines[0].startswith(" "):
        title = html.escape(lines.pop(0), quote=False) + "\n\n"
    return f"{title}```text\n{cleandoc(chr(10).join(lines))}\n```"


def _options(command: click.Command, context: click.Context) -> str:
    rows = [param.get_help_record(context) for param in command.get_params(context)]
    lines = ["| option | meaning |", "|---|---|"]
    for names, meaning in filter(None, rows):
        if meaning:  # an argument that the help text explains has no meaning here
            lines.append(f"| <code>{_cell(names)}</code> | {_cell(meaning)} |")
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text within a table: bars would end the cell, and stars and tildes would be read as Markdown."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"&#{ord(each)};" if each in "|*~_`[]{}" else each for each in escaped)
