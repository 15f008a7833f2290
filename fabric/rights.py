"""What an identity may do: rights as patterns, which are compared with topics and prefixes as bytes. Pure.

An identity is a key with a name. Its rights are filters for publish and subscribe, and names for request and serve.
Here they become *patterns*; the switch compares them with a topic without splitting it:

    ANY   0x01   what is left of a level: `+`; behind a beginning, `abc` + ANY, a level that begins so
    REST  0x02   at the end: nothing more, or a slash and whatever follows: `a/#` is `a` + REST, `#` is ANY + REST
    all other bytes stand for themselves

What is addressed to one run of a program, and a publisher's id, begins with a *tag*: eight hexadecimal digits made of
the key. So a proxy sees without a table whose token, whose instance and whose numbers they are.

Subscriptions are judged by what is on the wire, a prefix. It is held only if all that begins with it may be read: so
`a/+/b`, which needs the prefix `a/`, needs the right to `a/#`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

from fabric.errors import InvalidFilter, TopicError, expected, shown
from fabric.topics import subscription_prefixes, valid_name, validate_filter

ANY, REST = b"\x01", b"\x02"
TAG_CHARS = 8
MAX_RIGHTS = 1_000
"""Of one identity, for one act: the switch looks at them one after the other, a few ns each."""
RESERVED = b"$~"
FIRST_BYTES = tuple(bytes([byte]) for byte in (*range(0x01, 0x80), *range(0xC2, 0xF5)) if byte not in RESERVED)
"""What topics of applications begin with, in UTF-8. In place of the empty prefix, which brings all others, too."""


def tag_of(public_key: str) -> str:
    """Return the tag of a key: 8 hexadecimal digits, not all of them 0."""
    tag = blake2b(public_key.encode(), digest_size=TAG_CHARS // 2, person=b"fabric-tag").digest()
    return (tag if any(tag) else b"\0\0\0\1").hex()


# ── patterns ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def pattern_of(topic_filter: str) -> bytes:
    """Return the pattern of a filter.

    errors: InvalidFilter, also for control characters: two of them are wildcards in patterns
    """
    validate_filter(topic_filter)
    if not topic_filter.isprintable():
        raise InvalidFilter(expected("filter", topic_filter, "printable characters only, in a right"))
    levels = topic_filter.split("/")
    below = levels[-1] == "#"
    if below:
        levels.pop()
        if levels in ([], [""]):  # no topic is empty: `#` is `+/#`, and `/#` is `/+/#`
            levels.append("+")
    raw = b"/".join(ANY if level == "+" else level.encode() for level in levels)
    return raw + REST if below else raw


def matches(pattern: bytes, topic: bytes) -> bool:
    """Return whether a topic, without its NUL, matches."""
    if pattern[:1] == ANY and topic[:1] in (b"$", b"~"):
        return False
    at = 0
    for byte in pattern:
        if byte == ANY[0]:
            at = _level_end(topic, at)
        elif byte == REST[0]:
            return at == len(topic) or topic[at] == 0x2F
        elif at < len(topic) and topic[at] == byte:
            at += 1
        else:
            return False
    return at == len(topic)


def covers(pattern: bytes, prefix: bytes) -> bool:
    """Return whether all topics that begin with `prefix` match; a prefix with a NUL is the one topic before it."""
    topic, ended, _ = prefix.partition(b"\0")
    if ended:
        return matches(pattern, topic)
    if pattern[:1] == ANY and (not prefix or prefix[:1] in (b"$", b"~")):
        return False
    at = 0
    before = 0
    for byte in pattern:
        if byte == ANY[0]:
            at = _level_end(prefix, at)
        elif byte == REST[0]:
            # At its end the prefix may go on as it likes only within a level that may be anything.
            return prefix[at] == 0x2F if at < len(prefix) else before == ANY[0]
        elif at < len(prefix) and prefix[at] == byte:
            at += 1
        else:
            return False
        before = byte
    return False


def overlaps(pattern: bytes, prefix: bytes) -> bool:
    """Return whether a topic that begins with `prefix` may match; a prefix with a NUL is the one topic before it."""
    topic, ended, _ = prefix.partition(b"\0")
    if ended:
        return matches(pattern, topic)
    if pattern[:1] == ANY and prefix[:1] in (b"$", b"~"):
        return False
    at = 0
    for byte in pattern:
        if at == len(prefix):
            return True
        if byte == ANY[0]:
            at = _level_end(prefix, at)
        elif byte == REST[0]:
            return prefix[at] == 0x2F
        elif prefix[at] == byte:
            at += 1
        else:
            return False
    return at == len(prefix)


def _level_end(raw: bytes, at: int) -> int:
    end = raw.find(b"/", at)
    return len(raw) if end < 0 else end


# ── rights ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Rights:
    """Filters and names, as they stand in a file. `deny` counts more than what allows.

    publish, subscribe: topic filters
    request, serve:     names of services; `+` is any, and `abc*` those that begin so
    """

    publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    request: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    deny_publish: tuple[str, ...] = ()
    deny_subscribe: tuple[str, ...] = ()
    deny_request: tuple[str, ...] = ()
    deny_serve: tuple[str, ...] = ()

    def __add__(self, other: Rights) -> Rights:
        """Return what both allow, less what either denies."""
        return Rights(*(tuple(dict.fromkeys((*a, *b))) for a, b in zip(_fields(self), _fields(other), strict=True)))


def _fields(rights: Rights) -> tuple[tuple[str, ...], ...]:
    return tuple(asdict(rights).values())


@dataclass(frozen=True)
class Permissions:
    """The rights of one key: what its owner may do, and why not.

    name:   of the identity
    tag:    of the key, see `tag_of`
    observe: the proxy lets everything in, and only notes what these rights do not allow
    """

    name: str
    tag: str
    rights: Rights
    observe: bool = False

    # What may be sent, and held: patterns that allow, and patterns that deny.

    @cached_property
    def publish(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        rights, tag = self.rights, self.tag.encode()
        allow = [pattern_of(each) for each in rights.publish]
        allow += [b"$ack/%b%b/w" % (tag, ANY), b"$inbox/%b/replies" % ANY, b"$inbox/%b/answers" % ANY]
        allow += [b"$ack/%b/p" % ANY]  # what it is asked for; who asks takes it of the publisher that it asked
        allow += [b"$fabric/who" + REST, b"~pagesession/%b%b%b" % (tag, ANY, REST)]
        allow += [_requests(name) for name in rights.request]
        allow += [b"$fabric/service/%b/%b%b" % (_service(name), tag, ANY) for name in rights.serve]
        deny = [pattern_of(each) for each in rights.deny_publish]
        deny += [_requests(name) for name in rights.deny_request]
        deny += [b"$fabric/service/%b%b" % (_service(name), REST) for name in rights.deny_serve]
        return tuple(allow), tuple(deny)

    @cached_property
    def hold(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        rights, tag = self.rights, self.tag.encode()
        allow = [pattern_of(each) for each in rights.subscribe]
        owns = (b"$ack/", b"$inbox/", b"$repair/", b"~pagesession/")
        allow += [b"%b%b%b%b" % (own, tag, ANY, REST) for own in owns]
        allow += [b"$fabric/proxy/" + ANY + REST, b"$fabric/who" + REST]
        allow += [b"$fabric/service/%b%b" % (_service(name), REST) for name in rights.request]
        return tuple(allow), tuple(pattern_of(each) for each in rights.deny_subscribe)

    def may_publish(self, raw: bytes) -> bool:
        """Return whether something may be published on a topic, as UTF-8.

        To ask for what was lost, one has to be allowed to subscribe to it, and to ask for oneself: a topic
        `$repair/<publisher>/<token>/<topic>`, see `protocol.repair`.
        """
        levels = raw.split(b"/", 3)
        if levels[0] == b"$repair":
            if len(levels) < 4 or not levels[2].startswith(self.tag.encode()):
                return False
            raw, (allow, deny) = levels[3], self.hold
        else:
            allow, deny = self.publish
        return any(matches(each, raw) for each in allow) and not any(matches(each, raw) for each in deny)

    def why_not_publish(self, topic: str) -> str | None:
        """Return the right that lacks to publish on a topic; None when nothing does."""
        if self.observe or self.may_publish(topic.encode()):
            return None
        if any(matches(each, topic.encode()) for each in self.publish[1]):
            return f"{self.name} may not publish on {shown(topic)}: it is denied"
        return (
            f"{self.name} may not publish on {shown(topic)}: it needs the right, and has {_told(self.rights.publish)}"
        )

    def why_not_subscribe(self, topic_filter: str, prefixes: Iterable[bytes] | None = None) -> str | None:
        """Return the right that lacks to subscribe to a filter; None when nothing does.

        prefixes: what it needs on the wire; default: `topics.subscription_prefixes`
        """
        for prefix in subscription_prefixes(topic_filter) if prefixes is None else prefixes:
            if not self.observe and not self.granted(prefix):
                denied = any(overlaps(each, prefix) for each in self.hold[1])
                what = readable(prefix)
                why = "some of that is denied" if denied else f"it has {_told(self.rights.subscribe)}"
                return (
                    f"{self.name} may not subscribe to {shown(topic_filter)}: it needs the right to {what}, and {why}"
                )
        return None

    def why_not_request(self, name: str) -> str | None:
        """Return the right that lacks to ask a service; None when nothing does."""
        return self._why_not_named("request", name, f"$inbox/{self.tag}/requests/{name}")

    def why_not_serve(self, name: str) -> str | None:
        """Return the right that lacks to serve under a name; None when nothing does."""
        return self._why_not_named("serve", name, f"$fabric/service/{name}/{self.tag}")

    def _why_not_named(self, act: str, name: str, topic: str) -> str | None:
        """topic: one on which whoever does this publishes"""
        if self.why_not_publish(topic) is None:
            return None
        denied = any(matches(each, topic.encode()) for each in self.publish[1])
        why = "it is denied" if denied else f"it needs the right, and has {_told(getattr(self.rights, act))}"
        return f"{self.name} may not {act} {shown(name)}: {why}"

    def granted(self, prefix: bytes) -> tuple[bytes, ...]:
        """Return what is held for a prefix on the wire: itself, nothing, or, for the empty one, `FIRST_BYTES`."""
        allow, deny = self.hold
        if any(overlaps(each, prefix) for each in deny if prefix or each[:1] not in (b"$", b"~")):
            return ()
        if not prefix:
            return FIRST_BYTES if ANY + REST in allow else ()
        return (prefix,) if any(covers(each, prefix) for each in allow) else ()

    def to_map(self) -> dict[str, Any]:
        rights = {name: list(each) for name, each in asdict(self.rights).items() if each}
        return {"name": self.name, "tag": self.tag, "rights": rights, "observe": self.observe}


def permissions_from(value: object) -> Permissions | None:
    """Read what a proxy sent; None for anything else. Never raises."""
    if not isinstance(value, dict) or not isinstance(value.get("rights"), dict):
        return None
    name, tag, rights = value.get("name"), value.get("tag"), value["rights"]
    if not (valid_name(name) and isinstance(tag, str) and len(tag) == TAG_CHARS):
        return None
    try:
        read = rights_from(rights)
        permissions = Permissions(str(name), tag, read, value.get("observe") is True)
        return permissions if permissions.publish and permissions.hold else None
    except (TopicError, ValueError):
        return None


def rights_from(value: Mapping[str, object]) -> Rights:
    """Check and return rights. errors: ValueError (InvalidFilter is one) with the field and what it should hold"""
    fields: dict[str, tuple[str, ...]] = {}
    for act, filters in value.items():
        if act not in Rights.__dataclass_fields__:
            raise ValueError(expected("right", act, f"one of {', '.join(Rights.__dataclass_fields__)}"))
        if not (isinstance(filters, list | tuple) and all(isinstance(each, str) for each in filters)):
            raise ValueError(expected(act, filters, "an array of strings"))
        if len(filters) > MAX_RIGHTS:
            raise ValueError(expected(act, len(filters), f"at most {MAX_RIGHTS} of them"))
        for each in filters:
            _check(act, each)
        fields[act] = tuple(filters)
    return Rights(**fields)


def _check(act: str, each: str) -> None:
    if act.removeprefix("deny_") in ("publish", "subscribe"):
        pattern_of(each)
    elif each != "+" and not (valid_name(each) and each.isprintable()):
        raise ValueError(expected(f"service to {act}", each, "a name of one level, or +"))


def named(rights: Rights, name: str) -> Rights:
    """Return the rights with `{name}` replaced."""
    return Rights(*(tuple(each.replace("{name}", name) for each in filters) for filters in _fields(rights)))


def readable(prefix: bytes) -> str:
    """Return the filter that says in words what a prefix brings: `truck/#`, `a/b`, `#`."""
    text = prefix.decode(errors="replace")
    if text.endswith("\0"):
        return shown(text[:-1])
    return shown(text + "#")


def means_service(right: str, name: str) -> bool:
    """Return whether a right to request or serve is about the service of this name. tag: of whose right it is"""
    return matches(_service(right), name.encode())


def _requests(name: str) -> bytes:
    return b"$inbox/%b/requests/%b" % (ANY, _service(name))


def _service(name: str) -> bytes:
    """Return the pattern of the services that a right names: one, `+` all, `abc*` those that begin so."""
    if name == "+":
        return ANY
    raw = name.encode()
    return raw[:-1] + ANY if raw.endswith(b"*") else raw


def _told(filters: Iterable[str]) -> str:
    told = ", ".join(repr(each) for each in filters)
    return told[:200] or "none"
