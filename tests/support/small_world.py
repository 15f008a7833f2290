"""Every topic and filter of a small world, and an oracle for `matches` that shares nothing with the code it judges.

The levels are two names, the empty one, one that starts with `$`, and `~`: all that the rules tell apart.
"""

from __future__ import annotations

import re
from itertools import product

LEVELS = ("a", "b", "", "$s", "~")


def topics(levels: tuple[str, ...] = LEVELS, depth: int = 3) -> list[str]:
    """Return every topic of at most `depth` levels; the empty string is none."""
    joined = ("/".join(chosen) for size in range(1, depth + 1) for chosen in product(levels, repeat=size))
    return [topic for topic in joined if topic]


def filters(levels: tuple[str, ...] = LEVELS, depth: int = 3) -> list[str]:
    """Return every filter of at most `depth` levels, `#` counted as one."""
    plain = topics((*levels, "+"), depth)
    return [*plain, "#", *(f"{start}/#" for start in ["", *plain] if start.count("/") < depth - 1)]


def oracle(topic_filter: str) -> re.Pattern[str]:
    """Return what `fullmatch` finds in the topics that the filter matches."""
    reserved = r"(?![$~])" if topic_filter[0] in "+#" else ""
    if topic_filter == "#":
        return re.compile(reserved + ".*", re.DOTALL)
    start, below = (topic_filter[:-2], "(/.*)?") if topic_filter.endswith("/#") else (topic_filter, "")
    return re.compile(reserved + "[^/]*".join(re.escape(part) for part in start.split("+")) + below, re.DOTALL)
