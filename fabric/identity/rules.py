"""The file of public keys and roles, read and checked: who has which key, and what their roles allow. Pure.

    mesh = ["<public key>"]                 of the proxies as servers; two while it is changed

    [roles.shop]
    publish = ["orders/#"]
    subscribe = ["orders/#", "price/+/eur", "desk/{name}/#"]
    request = ["stock"]
    serve = ["stock"]
    deny_subscribe = ["orders/internal/#"]

    [identities.shop-1]
    keys = ["<public key>"]                 two while it is changed
    roles = ["shop"]

`{name}` stands for the identity's name. What is not allowed is denied, and a deny counts more than all that allows.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

from fabric.errors import expected, shown
from fabric.rights import Permissions, Rights, named, rights_from, tag_of
from fabric.topics import NAME, valid_name

DOORS = ("in", "out", "link", "guest")
"""The sockets of a proxy at which others enter, see `fabric.endpoints`."""
KEY = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")
"""A public or private key as z85: 40 characters for 32 bytes."""
MESH = "mesh"
"""What stands for the key that all proxies show: no identity is called so."""
MAX_KEYS = 2
_PAGES = ("~pagesession/+/+/#",)
_SITE = ("$site_connect/#",)
_SERVICES = ("frame",)
"""Of site-connect."""
_KEEPERS = ("keeper", "keeper-*")
"""Services of keepers, their shares among them: who asks believes what they tell of any publisher."""
BUILT_IN = {
    "proxy": Rights(),
    "node": Rights(("#",), ("#",), ("+",), ("+",), deny_request=_SERVICES, deny_serve=(*_SERVICES, *_KEEPERS)),
    "guest": Rights(subscribe=("#",)),
    "keeper": Rights(subscribe=("#",), serve=_KEEPERS),
    "frame": Rights((*_PAGES, *_SITE), (*_PAGES, *_SITE), _SERVICES, _SERVICES),
    "gateway": Rights(
        (*_PAGES, "$site_connect/gateways", "$site_connect/agent/+/chat"),
        (
            *_PAGES,
            "$site_connect/buttons",
            "$site_connect/gateways",
            "$site_connect/agent/+/state",
            "$site_connect/agent/+/chat",
        ),
        _SERVICES,
        deny_publish=("~pagesession/+/+/frame/state",),
    ),
    "observer": Rights(("$fabric/proxy/+/ask", "$ack/+/q"), ("#", "$fabric/#"), deny_subscribe=("$fabric/audit/#",)),
    "operator": Rights(("#", "$fabric/proxy/+/ask", "$ack/+/q"), ("#", "$fabric/#"), ("+",), ("+",)),
}
"""Roles that need no entry in the file. `node`: a program that uses the fabric; the role of whoever is given none.
`gateway` is for agents and hosts of pages, too: they say nothing that only a frame node may."""
DEFAULT_ROLE = "node"


@dataclass(frozen=True)
class Identity:
    """Somebody with keys.

    keys:  public keys, one, or two while one is being changed
    roles: names, at least one
    """

    name: str
    keys: tuple[str, ...]
    roles: tuple[str, ...]

    def may_enter(self, door: str) -> bool:
        """Whether it may connect at a door at all. Proxies link, guests listen, all others are nodes."""
        if door == "link":
            return "proxy" in self.roles
        return any(role != "proxy" and (door == "guest" or role != "guest") for role in self.roles)


@dataclass(frozen=True)
class Rules:
    """Everything in one file. `parse` is the way to get one.

    mesh:       public keys that proxies show to those who connect; the first is in use
    identities: by name
    roles:      by name, built-in ones among them
    """

    mesh: tuple[str, ...]
    identities: Mapping[str, Identity]
    roles: Mapping[str, Rights]

    def by_key(self) -> dict[str, Identity]:
        """Return the owner of each key."""
        return {key: each for each in self.identities.values() for key in each.keys}

    def rights(self, identity: Identity) -> Rights:
        """Return what its roles allow together, its name filled in."""
        total = Rights()
        for role in identity.roles:
            total += self.roles[role]
        return named(total, identity.name)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits, the same for the same rules, however they are written down."""
        own = {name: asdict(each) for name, each in self.roles.items() if name not in BUILT_IN}
        identities = {name: asdict(each) for name, each in self.identities.items()}
        text = json.dumps([self.mesh, identities, own], sort_keys=True)
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def permissions(self) -> dict[str, Permissions]:
        """Return what each owner of a key may do, by key."""
        found = {}
        for each in self.identities.values():
            rights = self.rights(each)
            found.update({key: Permissions(each.name, tag_of(key), rights) for key in each.keys})
        return found


def mesh_from(payload: object) -> tuple[str, ...]:
    """Return the keys of proxies as one of them told them; empty for anything else. Never raises."""
    found = payload.get("mesh") if isinstance(payload, dict) else None
    if not isinstance(found, list) or len(found) > MAX_KEYS:
        return ()
    return tuple(found) if all(isinstance(key, str) and KEY.fullmatch(key) for key in found) else ()


def parse(text: str) -> Rules:
    """Return the rules; ValueError with where it is wrong and what was expected."""
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"no TOML: {error}") from error
    for key in read:
        if key not in ("mesh", "roles", "identities"):
            raise ValueError(expected("key", key, "mesh, roles or identities"))
    roles = {**BUILT_IN, **{name: _role(name, each) for name, each in _tables(read, "roles")}}
    identities = {name: _identity(name, each, roles) for name, each in _tables(read, "identities")}
    _check_unique(identities.values())
    rules = Rules(_keys("mesh", read.get("mesh"), least=1), identities, roles)
    for each in identities.values():
        _check_rights(rules, each)
    return rules


def _tables(read: Mapping[str, Any], what: str) -> list[tuple[str, Mapping[str, Any]]]:
    tables = read.get(what, {})
    if not isinstance(tables, dict):
        raise ValueError(expected(what, tables, f"tables [{what}.NAME]"))
    for name, each in tables.items():
        if not (valid_name(name) and name.isprintable() and not name.startswith(".")):
            raise ValueError(expected(f"name in {what}", name, NAME))
        if not isinstance(each, dict):
            raise ValueError(expected(f"{what}.{name}", each, "a table"))
    return list(tables.items())


def _role(name: str, fields: Mapping[str, Any]) -> Rights:
    if name in BUILT_IN:
        raise ValueError(f"[roles.{name}]: this role is built in; choose another name")
    try:
        return rights_from(fields)
    except ValueError as error:
        raise ValueError(f"[roles.{name}]: {error}") from error


def _identity(name: str, fields: Mapping[str, Any], roles: Mapping[str, Rights]) -> Identity:
    where = f"[identities.{name}]"
    if name == MESH:
        raise ValueError(f"{where}: this name stands for the key of the mesh; choose another one")
    for key in fields:
        if key not in ("keys", "roles"):
            raise ValueError(f"{where}: {expected('key', key, 'keys or roles')}")
    wanted = fields.get("roles", [DEFAULT_ROLE])
    if not (isinstance(wanted, list) and wanted and all(isinstance(role, str) for role in wanted)):
        raise ValueError(f"{where}: {expected('roles', wanted, 'an array with at least one name')}")
    for role in wanted:
        if role not in roles:
            raise ValueError(f"{where}: {expected('role', role, 'one of ' + ', '.join(sorted(roles)))}")
    return Identity(name, _keys(f"{where}: keys", fields.get("keys")), tuple(wanted))


def _keys(where: str, value: object, least: int = 0) -> tuple[str, ...]:
    keys = [] if value is None else value
    if not (isinstance(keys, list) and least <= len(keys) <= MAX_KEYS):
        raise ValueError(f"{where}: {expected('keys', value, f'an array of {least} to {MAX_KEYS} public keys')}")
    for key in keys:
        if not (isinstance(key, str) and KEY.fullmatch(key)):
            raise ValueError(f"{where}: {expected('public key', key, '40 characters, as `fabric keys show` prints')}")
    return tuple(keys)


def _check_unique(identities: Any) -> None:
    """Nobody shares a key, nor the tag of one: the one would be taken for the other."""
    owners: dict[str, str] = {}
    for each in identities:
        for key in each.keys:
            other = owners.setdefault(tag_of(key), each.name)
            if other != each.name or each.keys.count(key) > 1:
                raise ValueError(f"[identities.{each.name}]: key {shown(key)} is one of {other!r}, too, or too like it")


def _check_rights(rules: Rules, identity: Identity) -> None:
    """The name was filled in: check once more."""
    rights = rules.rights(identity)
    try:
        rights_from({name: getattr(rights, name) for name in Rights.__dataclass_fields__})
    except ValueError as error:
        raise ValueError(f"[identities.{identity.name}]: {error}") from error
