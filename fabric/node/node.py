"""A node: the API that programs publish and subscribe with. The thread behind it is in `fabric.node.engine`."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fabric import sockets
from fabric.addresses import RESOLVE_S, expanded, why_not_reached
from fabric.endpoints import Endpoints
from fabric.errors import (
    FabricError,
    InvalidFilter,
    NotAdmitted,
    NotAllowed,
    NotConnected,
    ScopeError,
    StateError,
    expected,
)
from fabric.headers import refuse_reserved
from fabric.identity.keys import Keys, from_environment, load
from fabric.node import histories
from fabric.node.census import Census
from fabric.node.coverage import Ack, CoverageEvent
from fabric.node.engine import Attached, Engine, NodeState
from fabric.node.gaps import MAX_NUMBER, Gap
from fabric.node.interest import wire_prefixes
from fabric.node.local import LocalMessages
from fabric.node.receiver import MessageFun
from fabric.node.respondent import Respondent
from fabric.node.subscriptions import AckFun
from fabric.processes import close_at_exit, is_ending, require_threads
from fabric.protocol.histories import KEEPER, Since, refuse_both
from fabric.protocol.retained import NotKept, kept_for
from fabric.topics import scope, validate_filter, validate_topic
from fabric.wire import DEFAULT_MAX_PAYLOAD_BYTES, Message

log = logging.getLogger("fabric.node")


class Node:
    """A connection to the fabric. A context manager; safe to use from several threads, not after `fork`.

    Callbacks run in its one I/O thread, one after the other. One that raises is logged and counted, and harms no other;
    one that takes long holds up all that this node receives.

    connect:            base address of a proxy, or several: when one is lost, the next is taken. Each address of a
                        name is tried in turn; one at which nothing listens costs no time
    name:               one topic level, for people; default: random
    connect_timeout_s:  how long this waits until a proxy, a member of the mesh, answers
    ack_timeout_s:      an ack comes after this time at the latest
    send_timeout_s:     how long `publish` waits for a connection, or for room in the queue
    silence_s:          a proxy that was not heard of for so long is lost
    max_prefixes:       most prefixes held at the proxy; beyond, coarser ones, and more arrives than was asked for.
                        Each costs a proxy about 2.5 kB. They have 64 bytes each on average, 4 KiB at most
    max_payload_bytes:  largest payload, packed, 8 MiB by default; the proxy may allow less
    max_unconfirmed_bytes: what is kept to be sent again when the proxy dies. When so much waits for the proxy to
                        confirm it, `publish` waits, too, and raises HighWaterMarkReached after `send_timeout_s`
    forgets_unconfirmed: it goes on instead; the oldest that was not confirmed is `uncertain` when the proxy dies
    max_entries:        most pairs of topic and publisher whose numbers are kept, about 0.5 kB each; the oldest go first
    hwm_msgs:           queue of messages to the proxy, and from it
    reorder_window_s:   how long what comes too early waits for what is missing, after a move or a reconnect
    repair_timeout_s:   how long a loss waits for its publisher to send it again before it is told, and what is newer on
                        that topic with it; 0: it is told at once, and nothing is asked for
    repair_bytes:       what is kept of what was published, for those who lose it; 0: nothing
    repair_age_s:       how long it is kept
    context:            a `zmq.Context` for its sockets, up to ten. Who made it ends it, after its nodes. Default:
                        one that up to 16 nodes of this process share, with its I/O thread
    keys:               folder with the key of who this is, see `fabric.identity.keys`; default: `FABRIC_KEYS` and
                        `FABRIC_IDENTITY`, if they are set. What its roles do not allow raises NotAllowed
    identity:           whose key of the folder to use, where there are several
    errors:             NotConnected when no proxy answers in time; NotAdmitted, which is one, when none admits its key;
                        KeysError; ValueError for an invalid address or name
    """

    def __init__(
        self,
        connect: str | Iterable[str],
        *,
        name: str | None = None,
        connect_timeout_s: float = 10.0,
        ack_timeout_s: float = 5.0,
        send_timeout_s: float = 5.0,
        silence_s: float = 3.0,
        max_prefixes: int = 1_000,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        max_unconfirmed_bytes: int = 64 * 1024 * 1024,
        forgets_unconfirmed: bool = False,
        max_entries: int = 1_000_000,
        hwm_msgs: int = sockets.HWM_MSGS,
        reorder_window_s: float = 0.5,
        repair_timeout_s: float = 1.0,
        repair_bytes: int = 16 * 1024 * 1024,
        repair_age_s: float = 60.0,
        context: sockets.Context | None = None,
        keys: str | os.PathLike[str] | Keys | None = None,
        identity: str | None = None,
    ) -> None:
        require_threads("node")
        bases = [connect] if isinstance(connect, str) else list(connect)
        counts = {"max_prefixes": max_prefixes, "max_payload_bytes": max_payload_bytes, "max_entries": max_entries}
        counts |= {"max_unconfirmed_bytes": max_unconfirmed_bytes, "hwm_msgs": hwm_msgs, "repair_bytes": repair_bytes}
        for what, count in counts.items():
            if type(count) is not int or count < 0:
                raise ValueError(expected(what, count, "a whole number, not below 0"))
        times = {"connect_timeout_s": connect_timeout_s, "ack_timeout_s": ack_timeout_s, "silence_s": silence_s}
        times |= {"send_timeout_s": send_timeout_s, "reorder_window_s": reorder_window_s}
        for what, seconds in {**times, "repair_timeout_s": repair_timeout_s, "repair_age_s": repair_age_s}.items():
            if type(seconds) not in (int, float) or not seconds >= 0:
                raise ValueError(expected(what, seconds, "seconds, not below 0"))
        engine = self._engine = Engine(
            expanded([Endpoints.parse(base).base for base in bases], min(connect_timeout_s, RESOLVE_S)),
            name=name,
            ack_timeout_s=ack_timeout_s,
            send_timeout_s=send_timeout_s,
            silence_s=silence_s,
            may_move=len(bases) > 1,
            max_prefixes=max_prefixes,
            max_payload_bytes=max_payload_bytes,
            max_unconfirmed_bytes=max_unconfirmed_bytes,
            forgets_unconfirmed=forgets_unconfirmed,
            max_entries=max_entries,
            hwm_msgs=hwm_msgs,
            reorder_window_s=reorder_window_s,
            repair_timeout_s=repair_timeout_s,
            repair_bytes=repair_bytes,
            repair_age_s=repair_age_s,
            context=context,
            keys=_keys(keys, identity),
        )
        """The I/O thread, and all that it works on."""
        respondent = Respondent(
            engine.token,
            lambda: {"node": self.name, "proxy": engine.own or ""},
            engine.subscriptions.filters_matching,
            engine.subscriptions.filters,
            engine.stats,
            lambda topic, answer: self.publish_system(topic, answer, timeout_s=0),
            lambda topic_filter: self.why_not("subscribe", topic_filter),
            engine.subscriptions.acknowledged,
            lambda: engine.up.numbering,
        )
        engine.on_rights = lambda: self._prefixes.clear()
        engine.on_question, engine.receiver.on_trace = respondent.question_heard, respondent.trace_heard
        self._publish = engine.up.publish
        """Numbers and sends what has a prefix."""
        self._prefixes: dict[str, bytes] = {}
        """Topics that were checked, and what stands before their bodies. Emptied at 100,000. Any thread changes it."""
        self._local = LocalMessages(
            engine.commands.put,
            engine.receiver.deliver,
            engine.retained.local_came,
            lambda: engine.in_io_thread,
            lambda: engine.up.publisher,
            max_msgs=hwm_msgs,
            max_bytes=max_unconfirmed_bytes,
            max_payload_bytes=max_payload_bytes,
            send_timeout_s=send_timeout_s,
        )
        """Messages that never leave this node."""
        self._lock = threading.RLock()
        """Held for microseconds. A destructor may want it while its thread has it."""
        self._reader: histories.Reader | None = None
        """Reads histories; None until one is asked for. Set once, under `_lock`."""
        self._catching_up: dict[int, histories.CatchingUp] = {}
        """Subscriptions that are not live yet, by id. Under `_lock`."""
        self._closed = False
        """Set once, by `close`, under `_lock`."""
        self._pid = os.getpid()
        """Of the process that made it; in another one it refuses all work."""
        _nodes.add(self)
        close_at_exit(self)
        if not engine.start(connect_timeout_s):
            self.close(0)
            refusal, error = engine.credentials.refusal, NotConnected if engine.credentials.is_known else NotAdmitted
            why = f"no proxy answered at {', '.join(bases)} within {connect_timeout_s:g} s"
            raise error(refusal or f"{why} ({'; '.join(why_not_reached(bases))})")

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def name(self) -> str:
        """For people; one topic level."""
        return self._engine.name

    @property
    def max_payload_bytes(self) -> int:
        """Largest payload, packed."""
        return self._engine.max_payload_bytes

    @property
    def state(self) -> NodeState:
        """What `on_state` was last told."""
        return self._engine.state

    @property
    def home(self) -> str:
        """The level that stands for this node in `~pagesession/<home>/<session>/…`."""
        return self._engine.token

    @property
    def publisher(self) -> int:
        """The id that this node's messages carry; another one after a million topics."""
        return self._engine.up.publisher

    def subscribe(
        self,
        topic_filter: str,
        msg_fun: MessageFun,
        ack_fun: AckFun | None = None,
        *,
        retained: bool = False,
        as_published: bool = False,
        since: Since = None,
    ) -> int:
        """Subscribe, and return the subscription's id. Does not wait: the ack tells when it holds.

        topic_filter: a topic in which levels may be `+`, any one level, and the last `#`, all below (MQTT 5.0 §4.7)
        msg_fun:  called in the I/O thread with each Message, in order per publisher. All handlers of this node that
                  match get the same Message: who changes its payload, a list or a dict, changes it for the others
        ack_fun:  called once, in the I/O thread, with an Ack; not called for what was unsubscribed in the I/O thread
        retained: first deliver the last values that match and are kept, see `publish`: before `ack_fun` is called, with
                  the header `retained`, the oldest first. None is older than what came live of its topic. Each costs
                  this node 0.3 kB for as long as the subscription lasts
        as_published: with `retained`, for who keeps values: the header `retain` says which messages are to be retained,
                  and for how many seconds more, 0: for good; and what was cleared lately is told, too. MQTT 5's *retain
                  as published*. Not for `~/…`
        since:    begin with what keepers have, as in `history`; what is live comes behind that, without a hole and
                  without a double. Then `ack_fun` is called after the last message of the history, with `ok` False
                  when that could not be read; what is live comes all the same
        errors:   InvalidFilter; ScopeError for a scope that this node may not subscribe to; StateError when closed;
                  ValueError for an invalid `since`, for `since` with `retained`, and for `as_published` without
        """
        self._check()
        validate_filter(topic_filter)
        self._check_scope(topic_filter)
        if as_published and not retained:
            raise ValueError(expected("as_published", as_published, "False without retained=True"))
        if since is not None:
            refuse_both(retained, since)
            return self.catch_up(topic_filter, msg_fun, ack_fun, since)
        return self._engine.subscribe(topic_filter, msg_fun, ack_fun, retained=retained, as_published=as_published)

    def catch_up(
        self,
        topic_filter: str,
        msg_fun: MessageFun,
        ack_fun: AckFun | None,
        since: Since,
        *,
        keeper: str = KEEPER,
        room: Callable[[], int] | None = None,
    ) -> int:
        """`subscribe` with `since`, for who wants to say more.

        keeper: the name that the keepers were given
        room:   returns how many messages `msg_fun` takes now; asked in the I/O thread until the history is over
        """
        self._check()
        self._check_scope(topic_filter)
        options = {} if room is None else {"room": room}
        with self._lock:  # it may be over before it is known here
            catching_up = self._histories().catch_up(
                topic_filter,
                msg_fun,
                ack_fun,
                since,
                keeper=keeper,
                on_gap=self._tell_gap,
                on_over=self._caught_up,
                **options,
            )
            self._catching_up[catching_up.subscription] = catching_up
        return catching_up.subscription

    def _histories(self) -> histories.Reader:
        """Under `_lock`."""
        if self._reader is None:
            self._reader = histories.reader_of(self)
        return self._reader

    def _caught_up(self, subscription: int) -> None:
        with self._lock:
            self._catching_up.pop(subscription, None)

    def _tell_gap(self, gap: Gap) -> None:
        for fun in self._engine.gap_funs:
            self._engine.receiver.call(fun, gap)

    def history(
        self, topic_filter: str, *, since: Since = None, limit: int | None = None, keeper: str = KEEPER
    ) -> histories.Kept:
        """Return an iterator over the messages that keepers have, oldest first. It waits for them: not in a callback.

        Oldest first: as the keeper got them. Its `holes` are what the keeper never got, as far as it was read: each
        with `.topic .publisher .first .last .reason`. Its `why_nothing()` says, once it was read, that they keep other
        filters; "" otherwise.

        since:  seconds before now (a float, or a str like `10m`), by the keeper's clock; or how many last messages of
                each topic (an int); None: all that is kept
        limit:  messages at most
        keeper: the name that the keepers were given
        errors: InvalidFilter; ScopeError for a local filter; ValueError; StateError in a callback. While iterating:
                RequestTimeout when no keeper answers, NotAllowed without the right to ask it or to subscribe to the
                filter, Busy, ServiceError
        """
        self._check()
        if self.in_io_thread:
            raise StateError("node", "in a callback", "history", "call it in another thread")
        with self._lock:
            reader = self._histories()
        return reader.history(topic_filter, since=since, limit=limit, keeper=keeper)

    def expect(self, topic: str, publisher: int, number: int, *, ask: bool = False) -> None:
        """Say what is known from a store: up to `number` all is there that this publisher sent on this topic.

        The first message above it then counts as a gap, and is repaired, where it would have `started_late`. Call it
        before `subscribe`. Nothing changes where more is known of that publisher already.

        number: 0: from its first message on
        ask:    ask the publisher at once for what it has above that, in place of waiting for its next message
        errors: InvalidTopic; ValueError for a number that nobody has; StateError when closed
        """
        self._check()
        validate_topic(topic)
        if not 0 <= publisher < 2**64 or not 0 <= number <= MAX_NUMBER:
            raise ValueError(
                expected("publisher and number", (publisher, number), f"at most 2^64 - 1 and {MAX_NUMBER}")
            )
        self._engine.expect(topic, publisher, number, ask)

    def unsubscribe(self, subscription: int) -> None:
        """End a subscription: its handler is called no more. KeyError for an unknown id."""
        self._check()
        with self._lock:
            catching_up = self._catching_up.pop(subscription, None)
        if catching_up is not None:
            catching_up.close()
        self._engine.unsubscribe(subscription)

    def publish(
        self,
        topic: str,
        payload: Any,
        headers: dict[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        retain: bool = False,
        expires_s: float | None = None,
    ) -> int:
        """Send one message, and return its number: 1 for this node's first on this topic.

        When it returns, the message is accepted: it survives the death of the proxy.
        In a callback it does not wait for a connection, which is made by the same thread: NotConnected at once. A
        signal handler or a destructor may interrupt a `publish` of its own thread: then its message goes out when that
        is over, and what is returned is 0.
        payload: None, bool, int of 64 bits, float, str, bytes, list, dict with str keys
        headers: likewise; the names in `fabric.headers.RESERVED` are the fabric's own
        timeout_s: instead of `send_timeout_s`; 0: refuse at once what would have to wait
        retain:  keep it as the topic's last value, for who subscribes with `retained=True`; with payload None, keep
                 none any more. Proxies keep it in memory, and this node for their restart: docs/explanation/retained.md
        expires_s: keep it for so long, in whole seconds, rounded up
        errors:  InvalidTopic; NotAllowed; ScopeError for `$…` and unknown scopes; LocalWireError for a payload that
                 cannot be sent, and for reserved headers; HighWaterMarkReached or NotConnected when it was not accepted
                 within `send_timeout_s`; StateError when closed
        """
        if headers is not None:
            refuse_reserved(headers)
        prefix = self._prefixes.get(topic)
        if prefix is None:
            prefix = self._admit(topic)
            if prefix is None:
                return self._local.publish(topic, payload, headers, timeout_s, kept_for(retain, expires_s))
        if retain or expires_s is not None:
            return self._engine.up.publish_carefully(prefix, payload, headers, timeout_s, kept_for(retain, expires_s))
        return self._publish(prefix, payload, headers, timeout_s)

    def hold(
        self,
        topic: str,
        payload: Any,
        headers: dict[str, Any] | None = None,
        *,
        sent_ns: int,
        expires_s: float | None = None,
    ) -> bool:
        """Give a value back to the mesh that another publisher set at `sent_ns`, and that may be lost: for keepers.

        It is kept where nothing newer is known, and goes to subscriptions with `retained=True`, marked. This node holds
        it from then on, for its next proxy, until it is told that there is a newer one, or `let_go`. Not in a callback.

        payload:   None: the topic was cleared then
        expires_s: what is left of its time, in whole seconds, rounded up; None: it never expires
        returns:   False: this node holds a newer one, or too much already
        errors:    those of `publish`, but it waits for nothing; ScopeError for a local topic; StateError in a callback
        """
        if headers is not None:
            refuse_reserved(headers)
        if self.in_io_thread:
            raise StateError("node", "in a callback", "hold", "call it in another thread")
        if type(sent_ns) is not int or not 0 <= sent_ns < 2**64:
            raise ValueError(expected("sent_ns", sent_ns, "ns since 1970, below 2^64"))
        prefix = self._prefixes.get(topic) or self._admit(topic)
        if prefix is None:
            raise ScopeError(expected("topic", topic, "one without ~: a local one is retained within its node"))
        left_s = kept_for(True, expires_s) or 0
        return self._engine.up.hold(prefix, payload, headers, sent_ns=sent_ns, expires_s=left_s)

    def let_go(self, topic: str | None = None, *, before_ns: int = 0) -> None:
        """Do not give a topic's value to the next proxy if it was set before `before_ns`: it is heard that another
        publisher has set or cleared it then. Without a topic: none at all, those that this node has set neither.
        """
        if topic is None:
            self._engine.up.let_go()
        elif before_ns > 0:
            self._engine.up.superseded(topic, before_ns - 1)

    def publish_many(self, messages: Iterable[tuple[str, Any]], *, timeout_s: float | None = None) -> int:
        """Send messages, each (topic, payload), in their order; return how many. Cheaper than a `publish` for each.

        The first that is not accepted ends it: those before it were accepted, and none behind it was looked at.
        timeout_s: for each message, as for `publish`
        errors:    those of `publish`; the error's `accepted` says how many were accepted before it. What `messages`
                   raises itself comes through as it is
        """
        return self._engine.up.outlet.publish_many(messages, self._prefixes, self._publish_new, timeout_s)

    def _publish_new(self, topic: str, payload: Any, timeout_s: float | None) -> int:
        return self.publish(topic, payload, timeout_s=timeout_s)

    def wait_ack(self, subscription: int, timeout_s: float) -> Ack:
        """Wait for the ack of a subscription, and return it; TimeoutError when it did not come in time.

        errors: StateError in a callback, which would wait for itself; KeyError for an unknown id
        """
        self._check()
        if self.in_io_thread:
            raise StateError("node", "in a callback", "wait_ack", "give `subscribe` an ack_fun")
        return self._engine.subscriptions.wait_ack(subscription, timeout_s)

    def wait_subscribers(self, topic_filter: str, count: int, timeout_s: float = 10.0) -> int:
        """Wait until `count` other nodes subscribe to all that `topic_filter` matches; return how many there are.

        What is published from then on reaches them, at whatever proxy they are. Nodes are counted, once each, whose
        subscription was acknowledged and has a filter that covers this one: `load/#` and `#` cover `load/+`, while
        `load/1` does not. All of them are asked, again and again, at most each 0.1 to 1 s.

        errors: TimeoutError, whose words say how many there were; NotAllowed: with keys it takes the right to ask
                nodes, which the roles `operator` and `observer` have; InvalidFilter; ScopeError for `~/…`; ValueError
                for a count below 1; StateError in a callback, or when closed
        """
        self._check()
        if self.in_io_thread:
            raise StateError("node", "in a callback", "wait_subscribers", "call it in another thread")
        if type(count) is not int or count < 1:
            raise ValueError(expected("count", count, "a whole number above 0"))
        with Census(self, topic_filter) as census:
            if census.wait(count, timeout_s):
                return census.count
        what = f"{census.count} of {count} subscribers of {topic_filter!r}"
        raise TimeoutError(f"{what} were there within {timeout_s:g} s")

    def on_gap(self, fun: Callable[[Gap], object]) -> None:
        """Have `fun(gap)` called in the I/O thread for every loss that could not be repaired.

        `.topic .publisher .first .last .lost`, and `.reason`: `too old`, the publisher does not have it any more;
        `publisher gone`; `too slow`, this node could not keep up; `timed out`; "" where repair was not tried
        """
        self._engine.gap_funs.append(fun)

    def on_state(self, fun: Callable[[NodeState], object]) -> None:
        """Have `fun(state)` called in the I/O thread when the connection changes."""
        self._engine.state_funs.append(fun)

    def on_coverage(self, fun: Callable[[CoverageEvent], object]) -> None:
        """Have `fun(event)` called in the I/O thread when coverage changes: `.covered .missing .lost .gained`."""
        self._engine.coverage_funs.append(fun)

    def on_denied(self, fun: Callable[[str, str], object]) -> None:
        """Have `fun(filter, why)` called in the I/O thread when a subscription ends that is not allowed any more."""
        self._engine.denied_funs.append(fun)

    def on_not_retained(self, fun: Callable[[NotKept], object]) -> None:
        """Have `fun(told)` called in the I/O thread for each value that this node has set and that is not kept.

        `.topic .sent_ns`, and `.why`: `topics` or `bytes`, the bound of the proxy that it is over; `local`: a bound of
        this node; `clock`: its time is more than a minute ahead of the proxy's clock
        """
        self._engine.not_retained_funs.append(fun)

    def why_not(self, act: str, what: str) -> str | None:
        """Return why this node may not `publish` on a topic, `subscribe` to a filter, `request` of a service or `serve`
        one; None when it may.

        errors: ValueError for another act; InvalidTopic, InvalidFilter
        """
        if act not in ("publish", "subscribe", "request", "serve"):
            raise ValueError(expected("act", act, "publish, subscribe, request or serve"))
        credentials = self._engine.credentials
        if act == "subscribe":
            validate_filter(what)
            return credentials.why_not_subscribe(what, wire_prefixes(what))
        validate_topic(what)
        why: str | None = getattr(credentials, f"why_not_{act}")(what)
        return why

    def new_token(self) -> str:
        """Return a token for what lives on this node and is asked, or answered, under a topic of its own."""
        return self._engine.credentials.new_token()

    def stats(self) -> dict[str, Any]:
        """Return figures: counts since the start, and what is held at present."""
        return self._engine.stats()

    # ── for what lives on a node: services, pages, agents, surveys ───────────────────────────────────────────────

    @property
    def in_io_thread(self) -> bool:
        """Whether the caller is this node's I/O thread, that is, in a callback: it may not wait for one then."""
        return self._engine.in_io_thread

    def attach(self, service: Attached) -> None:
        """Let `service` live on this node: its `tick` is called in the I/O thread every 10 ms from now on.

        `Node.close` calls its `close` first, and those of services attached later before it. A `tick` that raises is
        logged and counted, and is called again. While anything is attached the node never sleeps longer than a tick.
        """
        self._engine.attach(service)

    def detach(self, service: Attached) -> None:
        """Call `service` no more. A tick that is running ends as it would. Nothing happens when it is not attached."""
        self._engine.detach(service)

    def publish_system(
        self, topic: str, payload: Any, headers: dict[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> int:
        """`publish` for topics that begin with `$`, which are the fabric's, and any other that is not local.

        timeout_s: as for `publish`; in the I/O thread it has to be 0, since nothing there may wait for room
        errors:    those of `publish`, but for the ScopeError of `$…`. The topic is checked at each call: 3 us
        """
        self._check()
        self._require_right(topic)
        return self._publish(self._engine.up.prefix(topic), payload, headers, timeout_s)

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self, timeout_s: float = 5.0) -> int:
        """End the node. Returns when everything accepted has reached the ingress, or after `timeout_s`.

        A callback that is running is waited for, however long it takes.

        returns: number of accepted messages that are not known to have arrived
        errors:  StateError in a callback
        """
        if self.in_io_thread:
            raise StateError("node", "in a callback", "close", "call it in another thread")
        if self._engine.up.is_within:
            raise StateError("node", "publishing", "close", "it interrupts a `publish` of its own thread: close later")
        if is_ending():  # in a destructor, say: its threads have stopped
            return 0
        if os.getpid() == self._pid:
            self._engine.close_attached()
        with self._lock:
            if self._closed or os.getpid() != self._pid:
                return 0
            self._closed = True
        return self._engine.close(timeout_s)

    def close_at_exit(self, timeout_s: float) -> None:
        """At the end of the process: end it, unless a callback is running that does not return in time."""
        with self._lock:
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
        self._engine.close(timeout_s, join_s=timeout_s)

    # ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _check(self) -> None:
        if self._closed:
            raise StateError("node", "closed", "use", "make a new Node")
        if os.getpid() != self._pid:
            raise _forked_error()

    def _check_scope(self, topic_filter: str) -> None:
        if scope(topic_filter) != "pagesession":
            return
        levels = topic_filter.split("/")
        home, page = (levels + ["", ""])[1:3]
        if home in ("", "+", "#") or (page in ("", "+", "#") and home != self.home):
            raise ScopeError(
                expected("filter", topic_filter, "~pagesession/<home>/<session>/…, both named, to hear one page only")
            )

    def _admit(self, topic: str) -> bytes | None:
        """Check a topic at its first use, and keep its prefix; None for a local one."""
        self._check()
        validate_topic(topic)
        kind = scope(topic)
        if kind == "local":
            return None
        if kind == "system":
            raise ScopeError(expected("topic", topic, "a first level without $: those belong to the fabric"))
        self._require_right(topic)
        prefix = self._engine.up.prefix(topic)
        if len(self._prefixes) >= 100_000:
            self._prefixes.clear()
        self._prefixes[topic] = prefix
        return prefix

    def _require_right(self, topic: str) -> None:
        why = self._engine.credentials.why_not_publish(topic)
        if why is not None:
            self._engine.counts["denied"] += 1
            raise NotAllowed(why)


_nodes: weakref.WeakSet[Node] = weakref.WeakSet()


def _keys(given: str | os.PathLike[str] | Keys | None, identity: str | None) -> Keys | None:
    if given is None:
        return from_environment(name=identity)
    return given if isinstance(given, Keys) else load(Path(given), identity)


def _forked_error() -> FabricError:
    return StateError("node", "forked", "use", "sockets and threads do not survive fork; make a new Node in the child")


def _after_fork_in_child() -> None:
    for node in _nodes:
        node._engine.up.abandon(_forked_error())


os.register_at_fork(after_in_child=_after_fork_in_child)

__all__ = ["Ack", "CoverageEvent", "Gap", "InvalidFilter", "Message", "Node", "NodeState", "NotKept"]
