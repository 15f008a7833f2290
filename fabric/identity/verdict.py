"""Whether an identity may do something, and which right of which role says so: an answer without a connection. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from fabric.errors import expected, shown
from fabric.identity.rules import Identity, Rules
from fabric.rights import Permissions, Rights, matches, means_service, named, overlaps, pattern_of, tag_of
from fabric.topics import subscription_prefixes, validate_filter, validate_topic

ACTS = {"publish": "on", "subscribe": "to", "request": "of", "serve": ""}
"""What may be asked, and the word that stands before what it is done to."""


@dataclass(frozen=True)
class Verdict:
    """An answer.

    role, right: the role that decides, and the filter or name in it; both "" when no role does
    why:         in words
    """

    allowed: bool
    role: str
    right: str
    why: str


def judge(rules: Rules, name: str, act: str, what: str) -> Verdict:
    """Return whether `name` may `publish` on a topic, `subscribe` to a filter, `request` of or `serve` a service.

    errors: KeyError for a name that nobody has; ValueError for another act, or for what is no topic, filter or name
    """
    _check(act, what)
    identity = rules.identities[name]
    closed = _closed(identity, act)
    if closed:
        return Verdict(False, "", "", f"{name} may not {act}: {closed}")
    tag = tag_of(identity.keys[0])
    why = _why_not(Permissions(name, tag, rules.rights(identity)), act, what)
    roles = {role: named(rules.roles[role], name) for role in identity.roles}
    if why is None:
        return _allowed(Permissions(name, tag, Rights()), roles, act, what)
    for role, rights in roles.items():
        for right in getattr(rights, f"deny_{act}"):
            if _hits(right, act, what):
                return Verdict(False, role, right, f"{why}; role {role!r} denies {shown(right)}")
    return Verdict(False, "", "", f"{why}; its roles: {', '.join(roles)}")


def _allowed(nobody: Permissions, roles: dict[str, Rights], act: str, what: str) -> Verdict:
    may = " ".join(filter(None, (nobody.name, "may", act, ACTS[act], shown(what))))
    if _why_not(nobody, act, what) is None:
        return Verdict(True, "", "", f"{may}: every identity may")
    for role, rights in roles.items():
        for right in getattr(rights, act):
            alone = Permissions(nobody.name, nobody.tag, Rights(**{act: (right,)}))
            if _why_not(alone, act, what) is None:
                return Verdict(True, role, right, f"{may}: role {role!r} allows {shown(right)}")
    return Verdict(True, "", "", f"{may}: several rights allow it together")


def _check(act: str, what: str) -> None:
    if act not in ACTS:
        raise ValueError(expected("act", act, f"one of {', '.join(ACTS)}"))
    if act == "subscribe":
        validate_filter(what)
    else:
        validate_topic(what)
    if act in ("request", "serve") and "/" in what:
        raise ValueError(expected("service", what, "a name of one level"))


def _closed(identity: Identity, act: str) -> str:
    """Return why it does not even come in where this is done; "" when it does."""
    if not identity.keys:
        return "it has no key"
    door = "guest" if act == "subscribe" else "in"
    if identity.may_enter(door):
        return ""
    return f"its roles ({', '.join(identity.roles)}) do not let it in where that is done"


def _why_not(permissions: Permissions, act: str, what: str) -> str | None:
    found: str | None = getattr(permissions, f"why_not_{act}")(what)
    return found


def _hits(right: str, act: str, what: str) -> bool:
    if act == "publish":
        return matches(pattern_of(right), what.encode())
    if act == "subscribe":
        return any(overlaps(pattern_of(right), prefix) for prefix in subscription_prefixes(what))
    return means_service(right, what)
