"""Topics and topic filters: what is valid, what matches what, and which bytes ZeroMQ is given.

A topic is 1 to 201 levels separated by `/`; a filter may hold `+` (any one level) and, as its last level, `#` (what
stands before it and everything below). Levels may be empty: `a//b` has three. The rules are those of MQTT 5.0 §4.7 and
one more: no leading wildcard takes a first level that starts with `~`, just as MQTT has it for `$`.

Read `validate_filter`, then `_differs_at` (the whole matching rule), then `covers`. `fabric.trie` does the same for
many filters at once; the tests hold the two against each other.
"""

from __future__ import annotations

from fabric.errors import InvalidFilter, InvalidTopic, ScopeError, TopicError, expected
from fabric.errors import shown as _shown

MAX_TOPIC_BYTES = 65_535  # UTF-8 bytes of a topic or a filter; MQTT 5.0 §1.5.4
MAX_LEVELS = 201  # levels of a topic or a filter, that is 200 separators; the default of Mosquitto
RESERVED = ("$", "~")  # how a first level starts that no leading wildcard matches
MAX_NAME_CHARS = 100  # of a name
NAME = f"1 to {MAX_NAME_CHARS} characters without / + # and NUL, all printable, the first not $ or ~"
"""What a name is, in words for people."""

_WILDCARDS = ("+", "#")
_NOT_IN_A_NAME = {"/", "+", "#"}  # NUL is not printable


def validate_topic(topic: str) -> None:
    """Raise `InvalidTopic` unless `topic` can be published to: 1..65535 bytes of UTF-8, no NUL, no wildcard."""
    _validate(topic, "topic", InvalidTopic)
    if "+" in topic or "#" in topic:
        raise InvalidTopic(expected("topic", topic, "no '+' and no '#': wildcards are for filters"))


def validate_filter(topic_filter: str) -> None:
    """Raise `InvalidFilter` unless the filter is like a topic, each wildcard a whole level, and `#` last."""
    _validate(topic_filter, "filter", InvalidFilter)
    if "+" not in topic_filter and "#" not in topic_filter:
        return
    levels = topic_filter.split("/")
    for number, level in enumerate(levels, 1):
        if level not in _WILDCARDS and ("+" in level or "#" in level):
            wanted = f"'+' and '#' only as a whole level, which level {number}, {_shown(level)}, is not"
            raise InvalidFilter(expected("filter", topic_filter, wanted))
        if level == "#" and number < len(levels):
            wanted = f"'#' only as the last level, not as level {number} of {len(levels)}"
            raise InvalidFilter(expected("filter", topic_filter, wanted))


def valid_name(name: object) -> bool:
    """Return whether `name` can be one level of a topic: the name of a proxy, a node, a service or an instance.

    This is the one rule for names, wherever they come from; `NAME` says it in words.
    """
    if not (isinstance(name, str) and 0 < len(name) <= MAX_NAME_CHARS):
        return False
    return name[0] not in RESERVED and name.isprintable() and not _NOT_IN_A_NAME & set(name)


def require_name(what: str, name: object) -> None:
    """Raise ValueError unless `name` is a name. `what`: whose it is, for the message."""
    if not valid_name(name):
        raise ValueError(expected(what, name, NAME))


def matches(topic_filter: str, topic: str) -> bool:
    """Return whether `topic_filter` matches `topic`.

    errors: `InvalidFilter`, `InvalidTopic`
    source: MQTT 5.0 §4.7
    """
    validate_filter(topic_filter)
    validate_topic(topic)
    return _differs_at(topic_filter.split("/"), topic.split("/")) is None


def covers(topic_filter: str, other: str) -> bool:
    """Return whether `topic_filter` matches every topic that the filter `other` matches; exact, not a guess.

    errors: `InvalidFilter`, for either
    """
    validate_filter(topic_filter)
    validate_filter(other)
    wanted, wanted_below = _levels_and_below(topic_filter)
    given, given_below = _levels_and_below(other)
    if given_below and not wanted_below:
        return False
    if len(given) < len(wanted) or (len(given) > len(wanted) and not wanted_below):
        return False
    if wanted[0] == "+" and given[0].startswith(RESERVED):
        return False
    return all(want in ("+", level) for want, level in zip(wanted, given, strict=False))


def meets(topic_filter: str, other: str) -> bool:
    """Return whether there is a topic that both filters match; exact, not a guess.

    errors: `InvalidFilter`, for either
    """
    validate_filter(topic_filter)
    validate_filter(other)
    one, one_below = _levels_and_below(topic_filter)
    two, two_below = _levels_and_below(other)
    if (len(one) > len(two) and not two_below) or (len(two) > len(one) and not one_below):
        return False
    if (one[0] == "+" and two[0].startswith(RESERVED)) or (two[0] == "+" and one[0].startswith(RESERVED)):
        return False
    return all(level == each or "+" in (level, each) for level, each in zip(one, two, strict=False))


def subscription_prefixes(topic_filter: str) -> tuple[bytes, ...]:
    """Return the prefixes to give to ZeroMQ, so that every message the filter matches arrives.

    On the wire a topic ends in NUL, so `a/b` becomes `a/b` NUL and does not bring `a/bc`. A filter with wildcards
    brings more than it matches: the trie of the node sorts it out.

    returns: `a/b` -> `a/b\\0`; `a/+/c` -> `a/`; `a/#` -> `a\\0` and `a/`; a leading wildcard -> the empty prefix
    errors:  `InvalidFilter`
    """
    validate_filter(topic_filter)
    levels = topic_filter.split("/")
    fixed = next((number for number, level in enumerate(levels) if level in _WILDCARDS), len(levels))
    if fixed == 0:
        return (b"",)
    start = "/".join(levels[:fixed]).encode()
    if fixed == len(levels):
        return (start + b"\0",)
    if levels[fixed] == "#" and start:  # `/#` alone: the topic before its separator would be empty, which none is
        return (start + b"\0", start + b"/")
    return (start + b"/",)


def scope(topic_or_filter: str) -> str:
    """Return how far a valid topic or filter reaches, decided on its whole first level.

    returns: `""` (ordinary), `"local"` (`~`), `"pagesession"` (`~pagesession`), `"system"` (`$` and anything after it)
    errors:  `ScopeError` for any other first level that starts with `~`
    """
    first = topic_or_filter.partition("/")[0]
    if first == "~":
        return "local"
    if first == "~pagesession":
        return "pagesession"
    if first.startswith("~"):
        raise ScopeError(expected("scope", first, "'~' (stays local), '~pagesession', or no leading '~'"))
    return "system" if first.startswith("$") else ""


def agreement(topic_filter: str, topic: str) -> int:
    """Return how many levels, from the first on, filter and topic agree in. Both valid; not checked here."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    at = _differs_at(wanted, levels)
    return len(levels) if at is None else at


def explain(topic_filter: str, topic: str) -> str:
    """Return one line that says why the filter matches the topic, or at which level (from 1) it does not.

    errors: `InvalidFilter`, `InvalidTopic`
    """
    validate_filter(topic_filter)
    validate_topic(topic)
    wanted, levels = topic_filter.split("/"), topic.split("/")
    at = _differs_at(wanted, levels)
    if at is None:
        return f"matches: {_what_wildcards_take(wanted, levels)}"
    if at == len(wanted):
        return f"no match: the filter ends at level {at}, the topic goes on with {_shown(levels[at])}"
    if at == len(levels):
        return f"no match: the topic ends at level {at}, the filter goes on with {_shown(wanted[at])}"
    if wanted[at] in _WILDCARDS:
        return (
            f"no match: a leading {wanted[at]!r} never takes {_shown(levels[0])}; write a first level with $ or ~ out"
        )
    return f"no match: level {at + 1} is {_shown(levels[at])}, the filter wants {_shown(wanted[at])}"


def _validate(value: str, what: str, error: type[TopicError]) -> None:
    """Check what topics and filters have in common."""
    if not isinstance(value, str):
        raise error(expected(what, value, f"a str, not {type(value).__name__}"))
    if not value:
        raise error(expected(what, value, "at least one character"))
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError as problem:
        bad = value[problem.start]
        raise error(expected(what, value, f"valid UTF-8, but {bad!a} is half a surrogate pair")) from None
    if size_bytes > MAX_TOPIC_BYTES:
        raise error(expected(what, value, f"at most {MAX_TOPIC_BYTES} bytes, not {size_bytes}"))
    if "\0" in value:
        raise error(expected(what, value, "no NUL, which ends a topic on the wire"))
    level_count = value.count("/") + 1
    if level_count > MAX_LEVELS:
        raise error(expected(what, value, f"at most {MAX_LEVELS} levels, not {level_count}"))


def _differs_at(wanted: list[str], levels: list[str]) -> int | None:
    """Return the index of the first level at which filter and topic differ, None when they match."""
    if wanted[0] in _WILDCARDS and levels[0].startswith(RESERVED):
        return 0
    for index, want in enumerate(wanted):
        if want == "#":
            return None
        if index == len(levels) or want not in ("+", levels[index]):
            return index
    return None if len(wanted) == len(levels) else len(wanted)


def _levels_and_below(topic_filter: str) -> tuple[list[str], bool]:
    """Return the levels a topic needs to match, and whether it may have more: the filter without its final `#`.

    As no topic is empty, `#` matches what `+/#` does, and `/#` what `/+/#` does.
    """
    levels = topic_filter.split("/")
    if levels[-1] != "#":
        return levels, False
    levels.pop()
    if levels in ([], [""]):
        levels.append("+")
    return levels, True


def _what_wildcards_take(wanted: list[str], levels: list[str]) -> str:
    pairs = enumerate(zip(wanted, levels, strict=False), 1)
    takes = [f"level {number} '+' takes {_shown(level)}" for number, (want, level) in pairs if want == "+"]
    if wanted[-1] == "#":
        below = levels[len(wanted) - 1 :]
        takes.append(f"'#' takes {_shown('/'.join(below))}" if below else "'#' takes no further level")
    return ", ".join(takes) or "the filter is the topic itself"
