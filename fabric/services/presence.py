"""Presence: a service announces itself, others keep the instances that live. `fabric.services.directory` decides.

    announcer = Announcer(node, "clock", "run-1")            # every second, and a last word at close()
    watcher = Watcher(node, on_change=print)
    watcher.watch("clock")
    watcher.live("clock")                                    # [Instance(service='clock', id='run-1', …)]

Both live in the node's I/O thread: a node that cannot receive does not claim to be there either. A watcher asks when it
begins, and those who serve announce at once, so that a service is found in milliseconds and not after a second.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from fabric.errors import FabricError, NotAllowed, StateError, TransportError
from fabric.node.coverage import Ack
from fabric.node.node import Node
from fabric.services.clocks import Clocks
from fabric.services.directory import MAX_INFO_BYTES, SERVICE, WHO, Change, Directory, Instance
from fabric.topics import require_name
from fabric.wire import Message, encode

log = logging.getLogger("fabric.services")

ANNOUNCE_S = 1.0
LEASE_S = 3.5
ANSWER_S = 0.1
"""Questions are answered together, at most so often."""
LAST_WORD_S = 0.5
LATE_S = 1.0
"""A tick that comes so late means that this thread, or the whole process, stood still."""
CATCH_UP_S = 3.0
"""After that, a node that always has something to read has read in this time what came meanwhile."""


class Held:
    """A subscription that is asked for again until the mesh has acknowledged it.

    on_acked: called in the I/O thread, once
    """

    def __init__(
        self,
        node: Node,
        topic_filter: str,
        msg_fun: Callable[[Message], object],
        on_acked: Callable[[], object] = lambda: None,
    ) -> None:
        self._node, self._topic_filter, self._msg_fun, self._on_acked = node, topic_filter, msg_fun, on_acked
        self._lock = threading.RLock()
        """Guards what follows: `close` comes from another thread than the ack."""
        self._closed = False
        self._id = 0
        """The present subscription."""
        self._subscribe()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            with contextlib.suppress(StateError, KeyError):  # the node may be closed already
                self._node.unsubscribe(self._id)

    def _subscribe(self) -> None:
        self._id = self._node.subscribe(self._topic_filter, self._msg_fun, self._on_ack)

    def _on_ack(self, ack: Ack) -> None:
        if ack.ok:
            self._on_acked()
            return
        with self._lock, contextlib.suppress(StateError, KeyError):
            if not self._closed:
                self._node.unsubscribe(self._id)
                self._subscribe()


class Announcer:
    """Announces one instance of a service while its node is there.

    instance: one topic level, new with each run
    inbox:    topic of its requests, empty when it takes none
    load:     asked at each announcement; 0 idle, 1 at its limit
    announce: False: nothing is said before `announce()`
    on_question: called in the I/O thread with each question who is there
    errors:   ValueError for a name or an instance that is no topic level; LocalWireError for what cannot be sent
    """

    def __init__(
        self,
        node: Node,
        name: str,
        instance: str,
        *,
        inbox: str = "",
        version: str = "",
        info: Mapping[str, Any] | None = None,
        load: Callable[[], float] = lambda: 0.0,
        lease_s: float = LEASE_S,
        announce: bool = True,
        on_question: Callable[[Message], object] = lambda message: None,
    ) -> None:
        require_name("service", name)
        require_name("instance", instance)
        self._node, self._name, self._id, self._inbox, self._version = node, name, instance, inbox, version
        self._info, self._load, self._lease_s = dict(info or {}), load, lease_s
        self._on_question = on_question
        self._lock = threading.RLock()
        """Held while an announcement is sent, so that none is sent behind the last word."""
        self._state = "serving"
        """`serving`, then `draining`, then `gone`; by `drain` and `close` alone."""
        self._announcing = announce
        """Whether anything is said. False before `announce`, and from `close` on."""
        self._last = self._due = 0.0
        """When it last announced itself, and when it will; monotonic."""
        encode(self.instance.topic, 0, 1, 0, self.instance.to_map(), max_payload_bytes=MAX_INFO_BYTES)
        self._questions = [Held(node, topic, self._question_heard) for topic in (WHO, f"{WHO}/{name}")]
        node.attach(self)

    @property
    def instance(self) -> Instance:
        """What is announced now."""
        return Instance(
            self._name, self._id, self._inbox, self._version, self._load(), self._state, self._lease_s, self._info
        )

    def announce(self) -> None:
        """Begin to announce."""
        self._announcing = True

    def drain(self) -> None:
        """Say that no new requests are wanted; at once, and with every announcement from now on."""
        self._state = "draining"
        self._due = 0.0

    def tick(self, now: float, idle: bool) -> None:
        """In the I/O thread."""
        if not self._announcing or now < self._due:
            return
        with self._lock:  # or this might be sent behind the last word
            if self._announcing:
                self._due, self._last = now + ANNOUNCE_S, now
                try:
                    self._announce(0)
                except TransportError:
                    self._due = now  # nobody to tell at present: again with the next tick
                except NotAllowed:
                    pass  # not any more; the node has counted it

    def close(self, timeout_s: float = LAST_WORD_S) -> None:
        """Say the last word. timeout_s: how long it waits for a proxy that takes it"""
        if self._state == "gone":
            return
        with self._lock:
            said, self._announcing, self._state = self._announcing, False, "gone"
        self._node.detach(self)
        for question in self._questions:
            question.close()
        if said:
            with contextlib.suppress(FabricError):  # without a proxy nobody hears it; then the lease runs out
                self._announce(timeout_s)

    def _announce(self, timeout_s: float) -> None:
        instance = self.instance
        self._node.publish_system(instance.topic, instance.to_map(), timeout_s=timeout_s)

    def _question_heard(self, message: Message) -> None:
        self._on_question(message)
        self._due = min(self._due, self._last + ANSWER_S)
        self.tick(time.monotonic(), False)


class Watcher:
    """Keeps the live instances of the services that it was told to watch.

    on_change: called in the I/O thread when an instance appeared, changed or left
    """

    def __init__(self, node: Node, on_change: Callable[[Change], object] = lambda change: None) -> None:
        self._node, self._on_change = node, on_change
        self.lock = threading.RLock()
        """Guards the directory."""
        self.directory = Directory()
        self.clocks = Clocks()
        """Of the instances, by id. Under `lock`."""
        self._held: dict[str | None, Held] = {}
        """Subscriptions by service watched; None: all services. Under `lock`."""
        self._ticked = self._catching_up_until = 0.0
        """When the last tick was; and until when leases are judged only if nothing waits to be read. Monotonic."""
        node.attach(self)

    def watch(self, name: str | None = None) -> bool:
        """Watch a service, or all; False when it is watched already. Errors: ValueError for an invalid name."""
        if name is not None:
            require_name("service", name)
        with self.lock:
            if name in self._held:
                return False
            topic_filter = f"{SERVICE}{'+' if name is None else name}/+"
            self._held[name] = Held(self._node, topic_filter, self._announcement_heard, lambda: self.ask(name))
            return True

    def ask(self, name: str | None = None) -> None:
        """Ask those who serve `name`, or anything, to announce at once. Does not wait."""
        with contextlib.suppress(TransportError):  # they announce themselves every second anyway
            self._node.publish_system(WHO if name is None else f"{WHO}/{name}", None, timeout_s=0)

    def live(self, name: str | None = None) -> list[Instance]:
        """Return the live instances of a service, or of all that are watched."""
        with self.lock:
            return self.directory.live(name)

    def ahead_s(self, instance: str) -> float | None:
        """By how many seconds this host's clock is ahead of the instance's, about; None for one that is not known."""
        with self.lock:
            return self.clocks.ahead_s(instance)

    def tick(self, now: float, idle: bool) -> None:
        """In the I/O thread. Leases are judged when what came while it stood still has been read."""
        if now - self._ticked > LATE_S:
            self._catching_up_until = now + CATCH_UP_S
        self._ticked = now
        if idle or now > self._catching_up_until:
            with self.lock:
                changes = self.directory.expire(now)
            for change in changes:
                self._tell(change)

    def close(self) -> None:
        self._node.detach(self)
        with self.lock:
            held = list(self._held.values())
            self._held.clear()
        for each in held:
            each.close()

    def _announcement_heard(self, message: Message) -> None:
        with self.lock:
            now = time.monotonic()
            change = self.directory.announcement_heard(message.topic, message.payload, now)
            self.clocks.heard(message.topic.rpartition("/")[2], message.sent_ns, time.time_ns(), now)
        if change is not None:
            self._tell(change)

    def _tell(self, change: Change) -> None:
        try:
            self._on_change(change)
        except BaseException:  # a user's; the next change is to be told all the same
            log.exception("on_change raised at %r", change)
