"""`fabric completion`: what a shell needs to complete the command line. The scripts are click's own."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from nodes.cli.exits import Exit

SHELLS = ("bash", "fish", "zsh")
VARIABLE = "_FABRIC_COMPLETE"
"""With it, a shell asks `fabric` for the words that can follow."""


@click.command()
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
def completion(shell: str) -> Exit:
    """Print the completion script of a SHELL: bash, fish or zsh.

    With it the tab key completes commands, options, their values and files.

    \b
    In ~/.bashrc:
      eval "$(fabric completion bash)"
    In ~/.zshrc, behind compinit:
      eval "$(fabric completion zsh)"
    In ~/.config/fish/config.fish:
      fabric completion fish | source
    """
    script = get_completion_class(shell)
    assert script is not None, f"click knows {SHELLS}"
    fabric = click.get_current_context().find_root()
    click.echo(script(fabric.command, {}, "fabric", VARIABLE).source())
    return Exit.DONE
