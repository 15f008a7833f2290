"""Finding the subscriptions of a topic in a subscriber, beside the matcher of paho: `benchmarks.matcher`, as a work."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable

from benchmarks import matcher
from benchmarks.peers.figures import Work

TOPICS = 10_000
FIRST, FURTHER = "first message of a topic", "every further one"


def matching(filters: int, repeats: int, say: Callable[[str], None]) -> Work:
    """Time a topic's first message and every further one. errors: SystemExit when the matchers disagree"""
    work = Work("matcher", f"Matching a topic against {filters:,} filters", "us", "lower", [FIRST, FURTHER])
    rng = random.Random(matcher.SEED)
    made = matcher.make_filters(rng, filters)
    contenders = matcher.build(made, matcher.make_topics(rng, made, TOPICS))
    matcher.check_agreement(contenders)
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            paho, trie, known = (matcher.time_pass(contender) for contender in contenders)
            for setting, ours in ((FIRST, trie), (FURTHER, known)):
                work.of(setting, "fabric").values.append(ours)
                work.of(setting, "mosquitto").values.append(paho)
    finally:
        gc.enable()
    work.of(FIRST, "mosquitto").note = work.of(FURTHER, "mosquitto").note = "is paho here, the client"
    say(f"matcher: {work.of(FIRST, 'fabric').median:.1f} us, paho {work.of(FIRST, 'mosquitto').median:.1f} us")
    return work
