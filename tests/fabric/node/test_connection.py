"""Connection: where a node turns when its proxy breaks, falls silent or drains. Every case reads as what happened."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fabric.node.connection import (
    ATTEMPT_S,
    PROBE_S,
    RETRY_FIRST_S,
    RETRY_LAST_S,
    Attach,
    Connected,
    Connection,
    Detach,
    Effect,
    Lost,
    Move,
    OpenUplink,
    Publishing,
    SendProbe,
)

A, B, C = "tcp://a:1", "tcp://b:1", "tcp://c:1"
PLAIN_EVENTS = ("marker_answered", "proxy_drains", "downlink_refused")


def publisher(*bases: str, now: float = 0.0) -> Connection:
    """Of a node that published something before it was connected."""
    connection = Connection(bases)
    assert connection.start(now) == [Attach(bases[0])]
    assert connection.publishes(now) == [OpenUplink(bases[0])]
    return connection


def connected(*bases: str, now: float = 0.0) -> Connection:
    """Of a publisher."""
    connection = publisher(*bases, now=now)
    connection.uplink_opened(now)
    assert connection.watermark_returned(now) == [Connected(bases[0], True)]
    return connection


def subscriber(*bases: str, now: float = 0.0) -> Connection:
    """Connected, and has published nothing."""
    connection = Connection(bases)
    connection.start(now)
    assert connection.marker_answered(now) == [Connected(bases[0], False)]
    return connection


def test_it_says_when_silence_is_too_long() -> None:
    connection = Connection([A], silence_s=3.0)
    connection.proxy_heard(10.0)
    assert connection.silent_at == 13.0


def test_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        Connection([])


def test_an_address_given_twice_counts_once() -> None:
    assert Connection([A, B, A]).bases == (A, B)


def test_it_is_connected_when_a_watermark_came_back_and_not_before() -> None:
    connection = publisher(A)
    assert connection.uplink_opened(0.1) == [SendProbe()]
    assert connection.state == "connecting"
    assert connection.watermark_returned(0.2) == [Connected(A, True)]
    assert connection.state == "connected"


def test_a_probe_is_repeated_until_it_came_back() -> None:
    connection = publisher(A)
    assert connection.tick(1.0, idle=True) == [], "nothing is open yet"
    connection.uplink_opened(1.0)
    assert connection.tick(1.0 + PROBE_S - 0.001, idle=True) == []
    assert connection.tick(1.0 + PROBE_S, idle=True) == [SendProbe()]
    assert connection.tick(1.0 + PROBE_S * 2, idle=True) == [SendProbe()]
    connection.watermark_returned(1.2)
    assert connection.tick(1.3, idle=True) == []


def test_a_second_watermark_changes_nothing() -> None:
    assert connected(A).watermark_returned(0.1) == []


def test_a_watermark_of_a_connection_that_has_closed_proves_nothing() -> None:
    connection = publisher(A)
    connection.uplink_opened(0.1)
    connection.uplink_closed(0.2, "broke")
    assert connection.watermark_returned(0.21) == [] and connection.state == "connecting"
    assert connection.tick(0.3, idle=True) == [OpenUplink(A)]
    connection.uplink_opened(0.4)
    assert connection.watermark_returned(0.5) == [Connected(A, True)]


def test_one_address_is_tried_again_after_pauses_that_grow_to_a_limit() -> None:
    connection = publisher(A)
    now, pauses = 0.0, []
    for _ in range(8):
        connection.uplink_closed(now, "refused")
        connection.uplink_closed(now, "refused")  # one failure can be told twice
        pause = next(
            step / 100 for step in range(100) if connection.tick(now + step / 100, idle=True) == [OpenUplink(A)]
        )
        pauses.append(pause)
        now += pause
    assert pauses == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5, 0.5]
    assert (RETRY_FIRST_S, RETRY_LAST_S) == (0.02, 0.5)


def test_pauses_start_small_again_after_a_connection() -> None:
    connection = publisher(A)
    for now in range(1, 9):
        connection.uplink_closed(now, "refused")
        connection.tick(now + 0.9, idle=True)
    connection.uplink_opened(9.0)
    connection.watermark_returned(9.0)
    assert connection.uplink_closed(10.0, "broke") == [Lost(A, "broke"), OpenUplink(A)]
    connection.uplink_closed(10.1, "refused")
    assert connection.tick(10.1 + RETRY_FIRST_S, idle=True) == [OpenUplink(A)]


def test_a_broken_connection_to_the_only_proxy_is_made_anew() -> None:
    connection = connected(A)
    assert connection.uplink_closed(1.0, "broke") == [Lost(A, "broke"), OpenUplink(A)]
    assert connection.uplink_opened(1.1) == [SendProbe()]
    assert connection.watermark_returned(1.2) == [Connected(A, True)]


def test_a_broken_connection_turns_to_the_next_proxy() -> None:
    connection = connected(A, B)
    assert connection.uplink_closed(1.0, "broke") == [Lost(A, "broke"), OpenUplink(B), Detach(), Attach(B)]
    connection.uplink_opened(1.1)
    assert connection.watermark_returned(1.2) == [Connected(B, True)]
    assert connection.uplink_closed(2.0, "broke") == [Lost(B, "broke"), OpenUplink(A), Detach(), Attach(A)]


def test_proxies_that_do_not_answer_have_their_turns() -> None:
    connection = publisher(A, B, C)
    assert connection.tick(ATTEMPT_S, idle=True) == []
    assert connection.tick(1.51, idle=True) == [OpenUplink(B), Detach(), Attach(B)]
    connection.uplink_opened(1.6)  # it takes the connection, and says nothing
    assert connection.tick(3.02, idle=True) == [OpenUplink(C), Detach(), Attach(C)]
    assert connection.tick(4.53, idle=True) == [OpenUplink(A), Detach(), Attach(A)]


def test_a_refusal_while_another_could_be_had_is_tried_again_until_the_turn_is_over() -> None:
    connection = publisher(A, B)
    connection.uplink_closed(0.1, "refused")
    assert connection.tick(0.13, idle=True) == [OpenUplink(A)]
    assert connection.tick(1.51, idle=True) == [OpenUplink(B), Detach(), Attach(B)], "a retry does not prolong the turn"


def test_where_nothing_listens_the_next_one_has_its_turn_at_once_and_after_all_there_is_a_pause() -> None:
    connection = Connection([A, B, C])
    connection.start(0.0)
    assert connection.downlink_refused(0.001) == [Detach(), Attach(B)]
    assert connection.downlink_refused(0.002) == [Detach(), Attach(C)]
    assert connection.downlink_refused(0.003) == [], "all have refused"
    assert connection.tick(0.003 + RETRY_FIRST_S, idle=True) == []
    assert connection.tick(0.004 + RETRY_FIRST_S, idle=True) == [Detach(), Attach(A)]
    pauses, now = [], 1.0
    for _ in range(8):
        connection.downlink_refused(now)
        connection.downlink_refused(now)
        assert connection.downlink_refused(now) == []
        since = now
        while not connection.tick(now, idle=True):
            now += 0.001
        pauses.append(now - since)
    assert pauses == sorted(pauses) and pauses[-1] == pytest.approx(RETRY_LAST_S, abs=0.01)


def test_where_one_proxy_alone_is_known_a_refusal_changes_nothing() -> None:
    connection = publisher(A)
    assert connection.downlink_refused(0.001) == []
    assert connected(A, B).downlink_refused(1.0) == []


def test_several_addresses_of_one_proxy_are_no_place_to_move_to() -> None:
    connection = Connection([A, B], may_move=False)
    connection.start(0.0)
    connection.marker_answered(0.0)
    assert connection.proxy_drains(1.0) == []
    assert connection.downlink_closed(2.0, "gone") == [Lost(A, "gone"), Detach(), Attach(B)]


def test_silence_is_a_loss_only_when_nothing_waits_to_be_read() -> None:
    connection = connected(A)
    connection.proxy_heard(1.0)
    assert connection.tick(4.0, idle=True) == []
    assert connection.tick(4.1, idle=False) == []
    assert connection.tick(4.1, idle=True) == [Lost(A, "nothing heard for 3 s"), OpenUplink(A)]


def test_a_watermark_breaks_the_silence() -> None:
    connection = connected(A)
    connection.watermark_returned(2.9)
    assert connection.tick(5.8, idle=True) == []


def test_a_draining_proxy_is_left_for_the_next_one_without_a_loss() -> None:
    connection = connected(A, B)
    assert connection.proxy_drains(1.0) == [Move(B)]
    assert connection.proxy_drains(1.1) == [], "it says so every second"
    assert connection.base == A, "the old one serves until the new one covers everything"
    assert connection.move_finished(1.2) == [OpenUplink(B)]
    assert (connection.base, connection.state) == (B, "connecting")
    connection.uplink_opened(1.3)
    assert connection.watermark_returned(1.4) == [Connected(B, True)]


def test_a_draining_proxy_that_is_the_only_one_is_used_to_its_end() -> None:
    connection = connected(A)
    assert connection.proxy_drains(1.0) == []
    assert connection.state == "connected"


def test_a_move_that_takes_too_long_is_a_loss() -> None:
    connection = connected(A, B)
    connection.proxy_drains(1.0)
    assert connection.tick(1.0 + 2 * ATTEMPT_S, idle=True) == []
    effects = connection.tick(1.01 + 2 * ATTEMPT_S, idle=True)
    assert effects == [Lost(A, "the move took too long"), OpenUplink(B), Detach(), Attach(B)]


def test_the_old_proxy_may_go_before_the_move_is_done() -> None:
    connection = connected(A, B)
    connection.proxy_drains(1.0)
    assert connection.uplink_closed(1.1, "gone") == []
    assert connection.tick(1.5, idle=True) == [], "no new connection to the old one"
    assert connection.move_finished(1.6) == [OpenUplink(B)]


def test_what_arrives_late_changes_nothing() -> None:
    connection = connected(A, B)
    assert connection.move_finished(0.1) == []
    assert connection.uplink_opened(0.1) == []
    assert connection.state == "connected"
    connection.uplink_closed(1.0, "broke")
    assert connection.proxy_drains(1.1) == [], "it is being left already"


def test_who_has_published_nothing_is_connected_by_the_answer_to_its_marker() -> None:
    connection = Connection([A])
    assert connection.start(0.0) == [Attach(A)]
    assert connection.tick(1.0, idle=True) == []
    assert connection.marker_answered(1.1) == [Connected(A, False)]
    assert connection.marker_answered(1.2) == [], "once"
    assert connection.watermark_returned(1.3) == [], "of none that it has sent"


def test_an_answer_is_not_enough_for_a_publisher() -> None:
    connection = publisher(A)
    assert connection.marker_answered(0.1) == []
    assert connection.state == "connecting"


def test_the_first_message_opens_the_way_and_the_next_do_not() -> None:
    connection = subscriber(A)
    assert connection.publishes(1.0) == [OpenUplink(A)]
    assert connection.state == "opening" and connection.publishes(1.0) == []
    assert connection.uplink_opened(1.1) == [SendProbe()]
    assert connection.tick(1.1 + PROBE_S, idle=True) == [SendProbe()]
    assert connection.watermark_returned(1.2) == [Publishing()]
    assert connection.state == "connected"
    assert connection.uplink_closed(2.0, "broke") == [Lost(A, "broke"), OpenUplink(A)], "it keeps one from then on"


def test_a_way_that_is_refused_is_tried_again_and_the_only_proxy_is_kept() -> None:
    connection = subscriber(A)
    connection.publishes(1.0)
    connection.uplink_closed(1.1, "refused")
    assert connection.watermark_returned(1.11) == [], "it has closed since"
    assert connection.tick(1.1 + RETRY_FIRST_S, idle=True) == [OpenUplink(A)]
    connection.proxy_heard(60.0)
    assert connection.tick(60.0, idle=True) == [] and connection.state == "opening"


def test_a_proxy_at_which_nothing_can_be_published_is_left_for_the_next() -> None:
    connection = subscriber(A, B)
    connection.publishes(1.0)
    assert connection.tick(1.0 + ATTEMPT_S, idle=False) == []
    lost = Lost(A, "nothing can be published there")
    assert connection.tick(1.01 + ATTEMPT_S, idle=False) == [lost, OpenUplink(B), Detach(), Attach(B)]
    connection.uplink_opened(3.0)
    assert connection.watermark_returned(3.1) == [Connected(B, True)]


@pytest.mark.parametrize("publishes", [False, True])
def test_a_broken_way_from_the_proxy_is_a_loss(publishes: bool) -> None:
    connection = subscriber(A, B)
    opened = [OpenUplink(B)] if publishes else []
    if publishes:
        connection.publishes(0.5)
    assert connection.downlink_closed(1.0, "broke") == [Lost(A, "broke"), *opened, Detach(), Attach(B)]
    assert connection.downlink_closed(1.1, "broke") == [], "it is being made again"


def test_a_subscriber_alone_with_its_proxy_waits_for_its_answer_again() -> None:
    connection = subscriber(A)
    assert connection.downlink_closed(1.0, "broke") == [Lost(A, "broke")]
    assert connection.marker_answered(2.0) == [Connected(A, False)]
    assert connection.tick(5.1, idle=True) == [Lost(A, "nothing heard for 3 s")]


def test_a_subscriber_moves_without_a_way_to_publish() -> None:
    connection = subscriber(A, B)
    assert connection.proxy_drains(1.0) == [Move(B)]
    assert connection.move_finished(1.2) == [Connected(B, False)]
    assert connection.state == "connected" and connection.base == B


def test_who_publishes_first_while_moving_gets_its_way_at_the_next_proxy() -> None:
    connection = subscriber(A, B)
    connection.proxy_drains(1.0)
    assert connection.publishes(1.1) == []
    assert connection.move_finished(1.2) == [OpenUplink(B)]


class Shell(RuleBasedStateMachine):
    """Performs what a connection decides, in any order of events, and checks that the effects can be performed."""

    @initialize(count=st.integers(1, 3))
    def start(self, count: int) -> None:
        self.now = 0.0
        self.connection = Connection([A, B, C][:count])
        self.attached: str | None = None
        self.uplink: str | None = None
        self.moving_to: str | None = None
        self.usable = self.can_publish = self.publishes = False
        self.perform(self.connection.start(self.now))

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Attach(base):
                    assert self.attached is None, "attached to two"
                    self.attached = base
                case Detach():
                    assert self.attached is not None
                    self.attached = self.moving_to = None
                case OpenUplink(base):
                    assert not self.can_publish, "a connection in use is replaced"
                    self.uplink = base
                case SendProbe():
                    assert self.uplink is not None
                case Connected(base, publishing):
                    assert base == self.attached
                    assert publishing == self.publishes and (not publishing or base == self.uplink)
                    self.usable, self.can_publish = True, publishing
                case Publishing():
                    assert self.usable and self.uplink == self.attached
                    self.can_publish = True
                case Lost(base):
                    assert base == self.attached
                    self.usable = self.can_publish = False
                case Move(base):
                    assert self.usable and base != self.attached
                    self.moving_to = base
        opened = any(isinstance(effect, OpenUplink) for effect in effects)
        assert not opened or (self.publishes and self.uplink == self.attached), "publishes where it does not receive"

    @rule(passed=st.sampled_from([0.0, 0.02, 0.3, 1.6, 3.5]), idle=st.booleans())
    def tick(self, passed: float, idle: bool) -> None:
        self.now += passed
        self.perform(self.connection.tick(self.now, idle))

    @rule(event=st.sampled_from([*PLAIN_EVENTS, "uplink_closed", "downlink_closed"]))
    def happens(self, event: str) -> None:
        if event.endswith("closed"):
            if event == "downlink_closed" or self.uplink is not None:
                self.perform(getattr(self.connection, event)(self.now, "broke"))
        else:
            self.perform(getattr(self.connection, event)(self.now))

    @rule(event=st.sampled_from(["uplink_opened", "watermark_returned"]))
    def happens_to_its_uplink(self, event: str) -> None:
        if self.uplink is not None:
            self.perform(getattr(self.connection, event)(self.now))

    @rule()
    def wants_to_publish(self) -> None:
        self.publishes = True
        self.perform(self.connection.publishes(self.now))

    @rule()
    def hears(self) -> None:
        self.connection.proxy_heard(self.now)

    @rule()
    def moves(self) -> None:
        if self.moving_to is not None:
            self.attached, self.moving_to = self.moving_to, None  # as the node does it
            self.usable = self.can_publish = False
        self.perform(self.connection.move_finished(self.now))

    @invariant()
    def agrees_with_the_connection(self) -> None:
        assert self.connection.base == self.attached
        assert self.usable == (self.connection.state != "connecting")
        assert self.connection.state != "opening" or (self.publishes and not self.can_publish)
        assert self.connection.state != "connected" or self.can_publish == self.publishes
        assert (self.moving_to is not None) == (self.connection.state == "moving")

    def teardown(self) -> None:
        """Whatever happened: when the proxies answer again, it is soon connected."""
        if not hasattr(self, "connection"):
            return
        effects = self.connection.uplink_closed(self.now, "what was being opened timed out") if self.uplink else []
        until = self.now + 2 * ATTEMPT_S + RETRY_LAST_S
        while self.connection.state != "connected":
            assert self.now < until, f"it never connects again: {self.connection.state}"
            self.perform(effects)
            if any(isinstance(effect, OpenUplink) for effect in effects):
                effects = self.connection.uplink_opened(self.now)
                self.perform(effects)
            if SendProbe() in effects:
                self.perform(self.connection.watermark_returned(self.now))
            self.perform(self.connection.marker_answered(self.now))
            self.now += 0.01
            effects = self.connection.tick(self.now, idle=False)


TestShell = Shell.TestCase
TestShell.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
