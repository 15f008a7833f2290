"""`fabric keys`: who may come into the mesh, and do what: a folder of keys and rules, made and changed.

What changes a folder is in `fabric.identity.folder`, what answers `test` in `fabric.identity.verdict`.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import click

from fabric.errors import KeysError
from fabric.identity import folder as folders
from fabric.identity.keys import RULES_FILE, SUFFIX, read_rules
from fabric.identity.rules import BUILT_IN, DEFAULT_ROLE, MESH
from fabric.identity.verdict import ACTS, judge
from fabric.payloads import dumps
from nodes.cli.exits import Exit, Fail, Group, plain, say
from nodes.cli.keys_shown import COLUMNS, known, rights_of, rights_text, row_of, told_of
from nodes.cli.options import Command, Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import table_text
from nodes.observe.announcements import announcements
from nodes.observe.mesh_view import MeshView
from nodes.observe.rules_view import RulesView

RELOAD_S = 5.0


@click.group(cls=Group, invoke_without_command=True)
@click.pass_context
def keys(context: click.Context) -> None:
    """Make and change a folder of keys: who may come into the mesh, and do what.

    The folder holds keys.toml, public keys and roles, which may be kept in version control, and private keys, NAME.key,
    for their owner only. Proxies need all of it but the private keys of others; a node needs keys.toml and its own.

    \b
    A mesh with keys:
      fabric keys init --proxy p1 --operator me
      fabric keys add sensor-1
      export FABRIC_KEYS=keys
      fabric proxy --name p1
      fabric sub '#' --identity me
    """
    if context.invoked_subcommand is None:
        raise click.UsageError(f"missing command: expected one of {', '.join(sorted(keys.commands))}")


def folder_options(command: Command) -> Command:
    """Add --keys and --json: the arguments `folder` and `as_json`. What cannot be used as given is wrong usage."""

    @functools.wraps(command)
    def with_folder(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")
    found = click.option("--keys", "folder", metavar="DIR", type=click.Path(path_type=Path), envvar="FABRIC_KEYS",
                         default="keys", show_default=True, show_envvar=True, help="The folder.")  # fmt: skip
    return found(as_json(with_folder))  # type: ignore[return-value]


def role_option(command: Command) -> Command:
    """Add --role: the argument `roles`."""
    return click.option("--role", "roles", metavar="ROLE", multiple=True, default=[DEFAULT_ROLE], show_default=True,
                        help="What it may do, see `fabric keys show`; repeat it for several.")(command)  # fmt: skip


@keys.command()
@folder_options
@click.option("--proxy", "proxies", metavar="NAME", multiple=True, help="Add a proxy, too; repeat it.")
@click.option("--operator", "operators", metavar="NAME", multiple=True, help="Add an operator, too; repeat it.")
@click.option("--if-missing", is_flag=True, help="Leave a folder with rules as it is.")
def init(folder: Path, as_json: bool, proxies: tuple[str, ...], operators: tuple[str, ...], if_missing: bool) -> Exit:
    """Make a folder of keys: the key of the mesh, and rules with an example of a role.

    \b
    Example:
      fabric keys init --proxy p1 --proxy p2 --operator me
    """
    wanted = {**dict.fromkeys(proxies, "proxy"), **dict.fromkeys(operators, "operator")}
    for name in wanted:
        folders.check_name(name)
    if not (if_missing and (folder / RULES_FILE).exists()):
        folders.create(folder)
        say(f"{folder / MESH}{SUFFIX} is the private key of the mesh: proxies need it, and nobody else")
    for name, role in wanted.items():
        if not (if_missing and name in read_rules(folder).identities):
            folders.add(folder, name, (role,))
    rules = read_rules(folder)
    if as_json:
        click.echo(dumps({"folder": str(folder), "mesh": list(rules.mesh), "identities": sorted(rules.identities)}))
    else:
        click.echo(folder / RULES_FILE)
    return Exit.DONE


@keys.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@role_option
@click.option("--public", metavar="KEY", help="The public key of a pair that was made elsewhere: `fabric keys new`.")
@click.option("--if-missing", is_flag=True, help="Leave names that are there as they are.")
@folder_options
def add(
    names: tuple[str, ...], roles: tuple[str, ...], public: str | None, if_missing: bool, folder: Path, as_json: bool
) -> Exit:
    """Add the identity NAME, or several, each with a new key; print the public one.

    Nothing that is there is replaced. The private key is in NAME.key, for its owner only.

    \b
    Examples:
      fabric keys add shop-1 --role node
      fabric keys add sensor-1 --public "$(ssh sensor fabric keys new sensor-1)"
    """
    if public is not None and len(names) > 1:
        raise click.UsageError(f"--public is the key of one NAME: expected one, not {', '.join(names)}")
    for name in names:
        if if_missing and name in read_rules(folder).identities:
            _check_same(folder, name, roles)
            continue
        _show_key(name, folders.add(folder, name, roles, public), folder, as_json, private=public is None)
    return Exit.DONE


def _check_same(folder: Path, name: str, roles: tuple[str, ...]) -> None:
    there = read_rules(folder).identities[name].roles
    if set(there) != set(roles):
        raise KeysError(f"{name!r} is there with the roles {', '.join(there)}, and not {', '.join(roles)}: change "
                        f"{folder / RULES_FILE}, or revoke it first")  # fmt: skip


@keys.command()
@click.argument("name")
@folder_options
def new(name: str, folder: Path, as_json: bool) -> Exit:
    """Make a key pair for NAME without rules, and print the public key, for `add` and `rotate` on another machine.

    Put keys.toml beside it once NAME was added there.
    """
    folders.check_name(name)
    folders.make_folder(folder)
    _show_key(name, folders.make_key(folder, name), folder, as_json)
    return Exit.DONE


def _show_key(name: str, public: str, folder: Path, as_json: bool, private: bool = True) -> None:
    path = folder / f"{name}{SUFFIX}"
    if as_json:
        click.echo(dumps({"name": name, "public": public, "private": str(path) if private else None}))
        return
    click.echo(public)
    if private:
        say(f"{path} is the private key of {plain(name)}, for its owner only")


@keys.command("list")
@folder_options
def list_(folder: Path, as_json: bool) -> Exit:
    """List the identities: their roles, how many keys they have, and whose private key is here.

    Two keys: it is being changed, and `fabric keys rotate NAME --finish` ends that.
    """
    rules = read_rules(folder)
    if as_json:
        for each in rules.identities.values():
            click.echo(dumps(told_of(rules, each, folder)))
    else:
        click.echo(table_text(COLUMNS, [row_of(each, folder) for each in rules.identities.values()]))
    return Exit.DONE


@keys.command()
@click.argument("name", metavar="[NAME]", required=False)
@folder_options
def show(name: str | None, folder: Path, as_json: bool) -> Exit:
    """Show the keys, roles and rights of NAME, the public keys of `mesh`, or all roles without a NAME."""
    rules = read_rules(folder)
    if name is None:
        for role, rights in rules.roles.items():
            told = {"role": role, "built_in": role in BUILT_IN, "rights": rights_of(rights)}
            click.echo(dumps(told) if as_json else f"{role}\n{rights_text(rights)}")
        return Exit.DONE
    if name == MESH:
        click.echo(dumps({"name": MESH, "keys": list(rules.mesh)}) if as_json else "\n".join(rules.mesh))
        return Exit.DONE
    found = known(rules, name, folder)
    told = told_of(rules, found, folder)
    if as_json:
        click.echo(dumps(told))
    else:
        here = "here" if told["private"] else "not here"
        click.echo("\n".join([*found.keys, f"roles: {', '.join(found.roles)}", f"private key: {here}"]))
        click.echo(rights_text(rules.rights(found)))
    return Exit.DONE


@keys.command()
@click.argument("name")
@folder_options
def revoke(name: str, folder: Path, as_json: bool) -> Exit:
    """Take NAME out of the rules: proxies cut it and refuse it from then on. Its private key here is removed, too."""
    identity = read_rules(folder).identities.get(name)
    was_proxy = identity is not None and "proxy" in identity.roles
    gone = folders.revoke(folder, name)
    if as_json:
        click.echo(dumps({"name": name, "revoked": list(gone)}))
    else:
        say(f"revoked {plain(name)}: who has its key is cut and refused as soon as proxies have these rules")
        if was_proxy:
            say("it was a proxy's: end that proxy, which goes on with the rules it has; and who has its files has "
                "mesh.key as well: `fabric keys rotate mesh`")  # fmt: skip
    return Exit.DONE


@keys.command()
@click.argument("name")
@click.option("--public", metavar="KEY", help="The new public key, of a pair that was made elsewhere.")
@click.option("--finish", "is_end", is_flag=True, help="Drop the old key.")
@folder_options
def rotate(name: str, public: str | None, is_end: bool, folder: Path, as_json: bool) -> Exit:
    """Give NAME, or `mesh`, a new key beside its old one; with --finish, drop the old one.

    Between the two both hold: what runs goes on with the old key, what starts takes the new one.

    \b
    Example:
      fabric keys rotate shop-1       # then restart what runs as shop-1
      fabric keys rotate shop-1 --finish
    """
    if is_end and public is not None:
        raise click.UsageError("--finish takes no --public: the new key is there already")
    if name != MESH:
        folders.check_name(name)
    key = folders.finish(folder, name) if is_end else folders.rotate(folder, name, public)
    if as_json:
        click.echo(dumps({"name": name, "public": key, "finished": is_end}))
        return Exit.DONE
    click.echo(key)
    if not is_end:
        say(f"both keys of {plain(name)} hold now: restart what runs with the old one, then "
            f"`fabric keys rotate {plain(name)} --finish`")  # fmt: skip
    return Exit.DONE


@keys.command()
@click.argument("name")
@click.argument("act", type=click.Choice(tuple(ACTS)))
@click.argument("what")
@folder_options
def test(name: str, act: str, what: str, folder: Path, as_json: bool) -> Exit:
    """Say whether NAME may do ACT to WHAT (a topic, a filter, a service), and which right says so. Asks no proxy.

    Ends with 0 when it may, and with 5 when it may not.

    \b
    Example:
      fabric keys test shop-1 subscribe 'orders/#'
    """
    rules = read_rules(folder)
    known(rules, name, folder)
    found = judge(rules, name, act, what)
    if as_json:
        told = {"name": name, "act": act, "what": what, "allowed": found.allowed, "why": found.why}
        click.echo(dumps({**told, "role": found.role or None, "right": found.right or None}))
    else:
        click.echo(plain(found.why))
    return Exit.DONE if found.allowed else Exit.DENIED


@keys.command()
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), default=RELOAD_S, show_default=True,
              help="How long to wait for the proxies.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@connect_option
@connect_timeout_option
def reload(timeout_s: float, as_json: bool, connect: Connect, connect_timeout_s: float) -> Exit:
    """Check the rules, and wait until every proxy of the mesh has them.

    Proxies look at their file all the time; this tells when they are done. Copy keys.toml to the proxies of other
    hosts first. Ends with 1 when a proxy has other rules in the end, and names it.
    """
    if connect.keys is None:
        raise click.UsageError("expected --keys DIR (or FABRIC_KEYS), whose rules the proxies are to have")
    rules = read_rules(Path(connect.keys))
    view = RulesView(MeshView(), rules.digest)
    with open_node(connect, connect_timeout_s) as node:
        for _ in announcements(node, view, time.monotonic() + timeout_s):
            if not view.problem():
                break
    problem = view.problem()
    if as_json:
        click.echo(dumps({"reloaded": not problem, "rules": rules.digest, **view.as_json(), "problem": problem}))
    if problem:
        raise Fail(f"not everywhere within {timeout_s:g} s: {problem}", Exit.NOT_REACHED)
    say(f"the rules are in force at {', '.join(view.names)}")
    return Exit.DONE
