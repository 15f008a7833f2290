"""What is said of a plan before anything of it starts: names, reach, passwords, openness. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from fabric.endpoints import Endpoints
from fabric.errors import expected
from nodes.deployment.process import Process
from nodes.deployment.secret_words import has_password

RESERVED = ("mesh", "scripts")
"""Names of keys that are no process's: what all proxies show, and the scripts' own."""
_INSTEAD = {"run": "env, whose values are in no list of processes"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def check_plan(processes: tuple[Process, ...], description: Mapping[str, Any]) -> None:
    """Raise ValueError for what cannot work, or what nobody should start without saying so."""
    proxies = [each for each in processes if each.kind == "proxy"]
    _check_frames(processes)
    _check_names(processes)
    _check_apart(processes)
    _check_reach(proxies, processes)
    _check_secrets(processes)
    _check_open(proxies, description)
    _check_reserved(processes, description)


def _check_frames(processes: Iterable[Process]) -> None:
    kinds = {each.kind for each in processes}
    for kind, what in (("page", "pages need"), ("gateway", "gateways need")):
        if kind in kinds and "frame" not in kinds:
            raise ValueError(f"{what} a frame node: expected frames (--frames) 1 or more")


def _check_apart(processes: Iterable[Process]) -> None:
    """Two gateways of a host, or two status pages, at the same address."""
    taken: dict[tuple[str, str], str] = {}
    for each in processes:
        words = list(each.command)
        found = [each.base] if each.kind == "gateway" else []
        found += [words[at + 1] for at, word in enumerate(words[:-1]) if word == "--http" and words[at + 1] != "off"]
        for url in found if each.kind != "run" else ():
            other = taken.setdefault((each.host.name, url), each.name)
            if other != each.name:
                raise ValueError(f"{other} and {each.name} are both to listen at {url}: expected another port for one")


def _check_reserved(processes: Iterable[Process], description: Mapping[str, Any]) -> None:
    for each in processes:
        if "keys" in description and each.name in RESERVED:
            raise ValueError(expected("name", each.name, f"another one: with keys, {' and '.join(RESERVED)} are taken"))


def _check_open(proxies: Iterable[Process], description: Mapping[str, Any]) -> None:
    if "keys" in description and description.get("insecure", False):
        raise ValueError("keys and insecure: expected one of them")
    for each in proxies:
        if not ("keys" in description or description.get("insecure", False) or Endpoints.parse(each.base).is_local):
            raise ValueError(
                f"{each.name} at {each.base} can be reached from other machines, and anyone who reaches it could read "
                "and write everything: expected keys = 'FOLDER' (--keys), or insecure = true (--insecure)"
            )


def _check_names(processes: Iterable[Process]) -> None:
    for each in processes:
        if each.role and not _NAME.fullmatch(each.role):
            raise ValueError(f"{each.name}: {expected('role', each.role, '1 to 64 letters, digits and _ . -')}")
    for name, count in Counter(each.name for each in processes).items():
        if not _NAME.fullmatch(name):
            raise ValueError(expected("name", name, "1 to 64 letters, digits and _ . -"))
        if count > 1:
            raise ValueError(f"{count} processes are called {name}: expected a different name for each")


def _check_reach(proxies: Iterable[Process], processes: Iterable[Process]) -> None:
    for proxy in (each for each in proxies if Endpoints.parse(each.base).is_local):
        for each in processes:
            if each.host != proxy.host:
                raise ValueError(
                    f"{each.name} on {each.host} cannot reach {proxy.name} at {proxy.base}: "
                    f"expected an address of {proxy.host} that the other hosts reach"
                )


def _check_secrets(processes: Iterable[Process]) -> None:
    """What is in the plan is in a file, and in the list of processes."""
    for each in processes:
        if any(has_password(word) for word in (*each.command, *each.members, *each.host.runner)):
            raise ValueError(
                f"the command of {each.name} holds a password, which every user of {each.host} could read: expected "
                + _INSTEAD.get(
                    each.kind, "store_file (--store-file) with a file of mode 600 that holds the URL, or a ~/.pgpass"
                )
            )
