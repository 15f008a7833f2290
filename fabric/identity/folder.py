"""Changes to a folder of keys: what `fabric keys` does. What is in such a folder: `fabric.identity.keys`.

Every change is checked before it is written, and is there as a whole or not at all. Comments in the file of rules stay.
Two that change one folder wait for each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable, Array

from fabric import private_files
from fabric.errors import KeysError, expected
from fabric.identity.keys import RULES_FILE, SUFFIX, new_pair, public_of, read_private, read_rules
from fabric.identity.rules import DEFAULT_ROLE, KEY, MESH, Identity, Rules, parse
from fabric.topics import NAME, valid_name

RULES_MODE = 0o644
MAX_NAME_BYTES = 200
"""With what is put before and behind it, a file's name."""
_HEAD = """\
# Who may do what in this mesh: public keys and roles. Nothing here is secret, so it may be kept in version control.
# `fabric keys` changes it, and so may you: proxies look at it all the time, and take it when nothing in it is wrong.

# What proxies show to everybody. `fabric keys rotate mesh` changes it.
mesh = ["{mesh}"]

# A role of your own: filters for publish and subscribe, names of services for request and serve. {{name}} stands for
# the name of the identity. What is not allowed is denied, and a deny counts more than all that allows.
#
# [roles.shop]
# publish = ["orders/#"]
# subscribe = ["orders/#", "price/+/eur", "desk/{{name}}/#"]
# request = ["stock"]
# serve = ["stock"]
# deny_subscribe = ["orders/internal/#"]
#
# Roles that are there already: node (the default), guest, observer, operator, keeper, frame, gateway, proxy.
"""
_IGNORE = f"*{SUFFIX}\n.*\n"
"""For git: private keys, and what a crash left of a file that was being written."""


def create(folder: Path) -> str:
    """Make a folder of keys; return the public key of its mesh. A private key of the mesh that is there is taken.

    errors: KeysError, also when there are rules already
    """
    make_folder(folder)
    with _locked(folder):
        path = folder / RULES_FILE
        if path.exists():
            raise KeysError(f"{path} is there already: `fabric keys add NAME` adds to it")
        public = public_of(read_private(_key(folder, MESH))) if _key(folder, MESH).exists() else make_key(folder, MESH)
        with contextlib.suppress(FileExistsError), open(folder / ".gitignore", "x") as file:
            file.write(_IGNORE)
        _write(folder, _HEAD.format(mesh=public))
        return public


def make_folder(folder: Path) -> None:
    """Make a folder for its owner only, unless it is there. Errors: KeysError"""
    try:
        private_files.make_folder(folder)
    except OSError as error:
        raise KeysError(f"{folder}: {error.strerror}") from error


def make_key(folder: Path, name: str) -> str:
    """Make the private key of a name, and return the public one; no rule is changed.

    errors: KeysError, also when there is one: it is not replaced
    """
    public, secret = new_pair()
    path = _key(folder, name)
    try:
        with open(private_files.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w") as file:
            file.write(f"{secret}\n")
    except FileExistsError:
        raise KeysError(
            f"{path} is there already, and is not replaced: expected it moved away, or another name"
        ) from None
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from error
    return public


def add(folder: Path, name: str, roles: Iterable[str] = (DEFAULT_ROLE,), public: str | None = None) -> str:
    """Add an identity; return its public key.

    public: of a pair that was made elsewhere; None: a pair is made here
    errors: ValueError for a name, role or key that cannot be; KeysError for one that is there, and as `read_rules`
    """
    check_name(name)
    check_key(public)
    with _locked(folder):
        rules = read_rules(folder)
        wanted = tuple(roles)
        for role in wanted:
            if role not in rules.roles:
                raise ValueError(expected("role", role, f"one of {', '.join(sorted(rules.roles))}"))
        if name in rules.identities:
            raise KeysError(f"{name!r} is there already: `fabric keys rotate {name}` changes its key")
        made = public is None
        key = public or make_key(folder, name)
        try:
            _edit(folder, rules, lambda file: _put(file, name, key, wanted), Identity(name, (key,), wanted))
        except BaseException:
            if made:
                _key(folder, name).unlink(missing_ok=True)
            raise
        return key


def revoke(folder: Path, name: str) -> tuple[str, ...]:
    """Take an identity away, and its private key if that is here; return its public keys.

    errors: ValueError for `mesh`; KeysError for one that is not there
    """
    check_name(name)
    with _locked(folder):
        rules = read_rules(folder)
        identity = _known(folder, rules, name)
        _edit(folder, rules, lambda file: _table(file, "identities").remove(name), Identity(name, (), ()))
        _key(folder, name).unlink(missing_ok=True)
        return identity.keys


def rotate(folder: Path, name: str, public: str | None = None) -> str:
    """Give an identity, or `mesh`, a second public key, its new one, and return that. The old one holds until `finish`.

    public: of a pair that was made elsewhere; None: the private key here is replaced
    errors: ValueError; KeysError for one that is not there, or is being changed already
    """
    check_key(public)
    with _locked(folder):
        rules = read_rules(folder)
        before = _keys(folder, rules, name)
        if len(before) != 1:
            raise KeysError(
                f"{name!r} has {len(before)} keys: `fabric keys rotate {name} --finish` ends the change before"
            )
        if public is None and not _key(folder, name).exists():
            raise KeysError(
                f"{_key(folder, name)} is not here: give the new public key with --public, see `fabric keys new`"
            )
        made, secret = new_pair()
        key = public or made
        _set_keys(folder, rules, name, (key, *before))
        if public is None:
            try:
                private_files.write(_key(folder, name), f"{secret}\n".encode())
            except OSError as error:
                _set_keys(folder, read_rules(folder), name, before)
                raise KeysError(f"{_key(folder, name)}: {error.strerror}; nothing was changed") from error
        return key


def finish(folder: Path, name: str) -> str:
    """Drop the old one of two keys; return the one that stays: that of the private key here, or else the new one.

    errors: KeysError for one that is not there, or is not being changed
    """
    with _locked(folder):
        rules = read_rules(folder)
        keys = _keys(folder, rules, name)
        if len(keys) < 2:
            raise KeysError(f"the key of {name!r} is not being changed: `fabric keys rotate {name}` begins that")
        here = public_of(read_private(_key(folder, name))) if _key(folder, name).exists() else keys[0]
        kept = here if here in keys else keys[0]
        _set_keys(folder, rules, name, (kept,))
        return kept


def check_name(name: str) -> None:
    """Errors: ValueError for what can be no name of an identity, or of its file."""
    if name == MESH:
        raise ValueError(expected("name", name, "another one: it stands for the key of the mesh"))
    fits = valid_name(name) and name.isprintable() and not name.startswith(".")
    if not fits or len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise ValueError(
            expected("name", name, f"{NAME}, printable, at most {MAX_NAME_BYTES} bytes, and no . in front")
        )


def check_key(public: str | None) -> None:
    """Errors: ValueError for what is no public key."""
    if public is not None and not KEY.fullmatch(public):
        raise ValueError(expected("public key", public, "40 characters, as `fabric keys new` and `show` print them"))


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _keys(folder: Path, rules: Rules, name: str) -> tuple[str, ...]:
    return rules.mesh if name == MESH else _known(folder, rules, name).keys


def _known(folder: Path, rules: Rules, name: str) -> Identity:
    identity = rules.identities.get(name)
    if identity is None:
        names = ", ".join(sorted(rules.identities))[:200]
        raise KeysError(
            f"{folder / RULES_FILE}: {expected('identity', name, f'one of {names}' if names else 'one that was added')}"
        )
    return identity


def _set_keys(folder: Path, rules: Rules, name: str, keys: tuple[str, ...]) -> None:
    def change(file: tomlkit.TOMLDocument) -> None:
        table = file if name == MESH else _table(_table(file, "identities"), name)
        table["mesh" if name == MESH else "keys"] = _array(keys)

    if name == MESH:
        _edit(folder, rules, change, keys)
    else:
        _edit(folder, rules, change, Identity(name, keys, rules.identities[name].roles))


def _put(file: tomlkit.TOMLDocument, name: str, key: str, roles: tuple[str, ...]) -> None:
    table = tomlkit.table()
    table["keys"], table["roles"] = _array((key,)), _array(roles)
    if "identities" not in file:
        file["identities"] = tomlkit.table(is_super_table=True)
    _table(file, "identities")[name] = table


def _edit(
    folder: Path, before: Rules, change: Callable[[tomlkit.TOMLDocument], object], meant: Identity | tuple[str, ...]
) -> None:
    """Change the file, and see that nothing but what is meant has changed: it may be written in many ways.

    meant: the identity as it is to be, without keys and roles when it goes; or the keys of the mesh
    """
    path = folder / RULES_FILE
    try:
        file = tomlkit.parse(path.read_text())
        change(file)
        text = tomlkit.dumps(file)
    except (TOMLKitError, KeyError, TypeError, AttributeError):
        text = ""
    identities = dict(before.identities)
    if isinstance(meant, Identity):
        identities[meant.name] = meant
        if not meant.roles:
            del identities[meant.name]
    after = Rules(before.mesh if isinstance(meant, Identity) else meant, identities, before.roles)
    if not text or parse(text) != after:
        raise KeysError(f"{path} is written in a way that cannot be changed here: expected tables [identities.NAME]")
    _write(folder, text)


def _write(folder: Path, text: str) -> None:
    path = (folder / RULES_FILE).resolve()  # a link stays one
    try:
        private_files.write(path, text.encode(), RULES_MODE)
    except OSError as error:
        raise KeysError(f"{path}: {error.strerror}") from error


def _table(of: tomlkit.TOMLDocument | AbstractTable, name: str) -> AbstractTable:
    return cast(AbstractTable, of[name])  # or what stands for one that is written in several places


def _array(texts: Iterable[str]) -> Array:
    array = tomlkit.array()
    array.extend(texts)
    return array


def _key(folder: Path, name: str) -> Path:
    return folder / f"{name}{SUFFIX}"


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Errors: KeysError for no folder, and for one in which others can write: they could put their own keys there."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KeysError(f"{folder}: {error.strerror}; `fabric keys init` makes a folder of keys") from error
    try:
        if os.fstat(descriptor).st_mode & 0o022:
            raise KeysError(f"others can write in {folder}: expected chmod 700 {folder}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
