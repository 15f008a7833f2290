"""Membership: scenarios as transcripts, single rules by hand, and storms in which the one promise must hold: no hole.

The transcripts, `tests/transcripts/mesh_*.txt`, are the tests. A line that starts with `> ` is done to a small world of
proxies (`tests/support/mesh_world.py`), where every message takes 1 ms; below it stands what the proxies then do, at
which second. `REWRITE=1` writes what happens into the files: read the difference before you believe it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from fabric.protocol.views import MAX_PEERS, PeerView, Record, View, record_from
from fabric.proxy import membership
from fabric.proxy.membership import (
    DOUBT_S,
    FRESH_S,
    GONE_S,
    MAX_HEARSAY,
    MAX_HOMES,
    MAX_RIVALS,
    MAX_STRANGERS,
    MEMORY_S,
    PATIENCE_S,
    Admit,
    Ask,
    Fatal,
    Link,
    Membership,
    Probe,
    Tell,
    Unlink,
)
from fabric.proxy.peer import HOLD_S, TRY_VOUCHED_S, Peer
from tests.support.mesh_world import MeshWorld, SimulatedProxy

TRANSCRIPTS = sorted((Path(__file__).parents[2] / "transcripts").glob("mesh_*.txt"))
STORMS = int(os.environ.get("STORMS", "12"))
"""How many storms of each kind; hundreds take minutes and find more."""

# --- transcripts


class Transcript:
    """Performs the commands of one transcript, and says what the proxies do."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.asked: dict[SimulatedProxy, tuple[str, ...]] = {}
        self.world = MeshWorld(watch=self.watch)
        self.started = self.world.now

    def perform(self, command: str) -> list[str]:
        self.lines = []
        verb, *words = command.split()
        plain = [word for word in words if "=" not in word]
        options = dict(word.split("=") for word in words if "=" in word)
        if verb == "run":
            self.world.run(float(plain[0]))
        elif verb == "start":
            join = options["join"].split(",") if "join" in options else []
            self.world.start(plain[0], join, known_as=options.get("name", ""), first="first" in plain)
        elif verb == "alias":
            self.world.aliases[self.world.base(plain[0])] = self.world.base(plain[1])
        elif verb == "show":
            self.lines = [self.show(process) for _, process in sorted(self.world.processes.items())]
        else:
            getattr(self.world, verb)(*plain)
        return self.lines

    def watch(self, process: SimulatedProxy, effect: membership.Effect) -> None:
        said = self.words(process, effect)
        if said:
            self.lines.append(f"{self.world.now - self.started:6.3f} {process.name} {said}")

    def words(self, process: SimulatedProxy, effect: membership.Effect) -> str:
        match effect:
            case Link(base) | Unlink(base):
                return f"{type(effect).__name__.lower()} {self.host(base)}"
            case Ask(bases) if bases != self.asked.get(process, ()):
                self.asked[process] = bases
                return f"ask {' '.join(map(self.host, bases)) or 'nobody'}"
            case Tell(event) if "incarnation" in event:
                return f"tell {event['event']} {event['incarnation']}"
            case Tell(event):
                return f"tell {event['event']} {' '.join(event.get('peers', ()))}".rstrip()
            case Admit():
                return "admit"
            case Fatal(why):
                return f"fatal: {why}"
        return ""

    def host(self, base: str) -> str:
        return base.removeprefix("ipc://")

    def show(self, process: SimulatedProxy) -> str:
        view = process.membership.view()
        peers = [f"{peer.record.incarnation} {self.state(peer)}" for peer in view.peers]
        return f"{view.record.incarnation} {view.state}: {', '.join(peers) or 'knows nobody'}"

    def state(self, peer: PeerView) -> str:
        return "dead" if peer.dead else "linked" if peer.linked else "not linked"


def perform_transcript(text: str) -> str:
    """Return the transcript as it should be: its comments and commands, and what they do now."""
    transcript, lines = Transcript(), []
    for line in text.splitlines():
        if line.startswith("> "):
            lines += [line, *transcript.perform(line[2:])]
        elif line.startswith("#") or not line:
            lines.append(line)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_transcript(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    happened = perform_transcript(text)
    if os.environ.get("REWRITE"):
        path.write_text(happened, encoding="utf-8")
    assert happened == text


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 12


# --- storms


def lie(world: MeshWorld, chance: random.Random) -> None:
    """Tell each proxy something that anybody may say, and is not so."""
    for process in list(world.processes.values()):
        other = chance.choice(sorted(world.processes.values(), key=lambda each: each.name)).membership.record
        forged = Record(other.id, f"forged{chance.randrange(10**9)}", other.base)
        lies: list[Callable[[Membership], list[membership.Effect]]] = [
            lambda told: told.marker_heard(phantom(chance.randrange(1_000)), world.now),
            lambda told, forged=forged: told.marker_heard(forged, world.now),  # type: ignore[misc]
            lambda told, other=other: told.marker_heard(Record(other.id, "forged", "ipc://x1"), world.now),  # type: ignore[misc]
            lambda told, other=other: told.marker_heard(Record("x", "forged", other.base), world.now),  # type: ignore[misc]
            lambda told: told.marker_heard(Record(told.record.id, "forged", "ipc://x2"), world.now),
        ]
        for _ in range(5):
            said = chance.choice(lies)
            process.receive(lambda process=process, said=said: said(process.membership))  # type: ignore[misc]


def storm(seed: int, *, cuts: bool, lies: bool = False) -> MeshWorld:
    """Start, kill, stop, resume, drain (and cut and heal) some proxies at random; then let everything heal.

    lies: all the time every proxy is told of proxies that do not exist, of new runs, of names that are taken

    p1 starts alone, each other one joins one or two of those before it. p1 is never drained: whoever starts alone again
    after everybody has forgotten it is a mesh of its own until somebody asks for it.
    """
    chance = random.Random(seed)
    world = MeshWorld(seed, loss=0.05, tick_s=0.05)
    hosts = [f"p{number}" for number in range(1, chance.randint(3, 6) + 1)]
    joins = {host: chance.sample(hosts[:at], min(at, chance.randint(1, 2))) for at, host in enumerate(hosts)}

    def start() -> None:
        down = sorted(set(hosts) - world.processes.keys())
        if down:
            host = chance.choice(down)
            world.start(host, joins[host])

    def to_one(act: Callable[[str], None], fits: Callable[[SimulatedProxy], bool]) -> None:
        found = sorted(host for host, process in world.processes.items() if fits(process))
        if found:
            act(chance.choice(found))

    def heal() -> None:
        if world.cuts:
            world.heal(*sorted(chance.choice(sorted(map(sorted, world.cuts)))))

    happenings: list[tuple[int, Callable[[], None]]] = [
        (30, lambda: to_one(world.kill, lambda process: not process.stopped)),
        (30, start),
        (10, lambda: to_one(world.stop, lambda process: not process.stopped)),
        (10, lambda: to_one(world.go_on, lambda process: process.stopped)),
        (5, lambda: to_one(world.leave, lambda each: each.name != "p1" and not each.stopped and not each.left)),
        (8 * cuts, lambda: world.cut(*chance.sample(hosts, 2))),
        (7 * cuts, heal),
    ]
    for _ in hosts:
        start()
        world.run(chance.choice([0.0, 0.01, 0.3, 1.5]))

    def go_on(seconds: float) -> None:
        end = world.now + seconds
        while lies and world.now < end:
            lie(world, chance)
            world.run(min(0.1, end - world.now))
        world.run(max(0.0, end - world.now))

    for _ in range(25):
        go_on(chance.choice([0.01, 0.1, 0.5, 1.2, 4.0]))
        chance.choices([act for _, act in happenings], [weight for weight, _ in happenings])[0]()
    while world.cuts:
        heal()
    for host in sorted(world.processes):
        world.go_on(host)
    world.run(0.2)  # who was leaving has left
    while world.processes.keys() != set(hosts):
        start()
    go_on(20.0)
    lies = False
    go_on(4.0)
    return world


@pytest.mark.parametrize(
    ("cuts", "lies"), [(False, False), (True, False), (True, True)], ids=["kills", "kills and cuts", "and lies"]
)
@pytest.mark.parametrize("seed", range(STORMS))
def test_after_a_storm_all_are_members_and_linked(seed: int, cuts: bool, lies: bool) -> None:
    """During the storm `MeshWorld` asserts that there never is a hole; see `MeshWorld._admit`."""
    world = storm(seed, cuts=cuts, lies=lies)
    for process in world.processes.values():
        assert process.membership.state == "member"
        for other in world.processes.values():
            assert process is other or process.links_to(other), f"{process.name} has not linked {other.name}"
        for peer in process.membership.view().peers:
            assert peer.linked or peer.dead, f"{process.name} does not know what has become of {peer.record}"


def test_a_hole_is_noticed() -> None:
    """The promise is worth its test: a proxy that does not wait for the others' word trips over it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(membership, "FRESH_S", float("inf"))
        patch.setattr(Peer, "linked_us_at", property(lambda peer: 0.0, lambda peer, value: None), raising=False)
        with pytest.raises(AssertionError, match="has not linked it"):
            for seed in range(100):
                storm(seed, cuts=False)


# --- single rules

SELF = Record("p1", "run1", "ipc://p1")
OTHER = Record("p2", "run2", "ipc://p2")
THIRD = Record("p3", "run3", "ipc://p3")


class Hand:
    """One mesh, driven by hand. Its clock starts at 0."""

    def __init__(self, *, join: tuple[str, ...] = (), first: bool = False, forget_s: float = 3600.0) -> None:
        serial = count()
        self.now = 0.0
        self.membership = Membership(
            SELF, 0.0, lambda size: next(serial).to_bytes(size, "big"), join=join, first=first, forget_s=forget_s
        )

    def tick(self, seconds: float = 0.02) -> list[membership.Effect]:
        """Let time pass in steps of at most 20 ms; return what was done in it."""
        effects: list[membership.Effect] = []
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 0.02, end)
            effects += self.membership.tick(self.now)
        return effects

    def nonce(self) -> bytes:
        """The nonce of the newest marker, after one more tick or as many as it takes."""
        while True:
            for effect in self.tick():
                if isinstance(effect, Probe):
                    return effect.nonce

    def link(self, record: Record = OTHER, state: str = "member", *others: PeerView) -> list[membership.Effect]:
        """This peer answers the next marker, and calls us linked."""
        return self.membership.probe_answered(view_of(record, state, us(True), *others), self.nonce(), self.now)

    def peer(self, name: str = "p2") -> Peer:
        return self.membership.peers[name]


def view_of(record: Record, state: str, *peers: PeerView, seeking: bool = False) -> View:
    return View(record, state, peers, seeking)


def us(linked: bool) -> PeerView:
    return PeerView(SELF, linked, False, True)


def alive(record: Record) -> PeerView:
    return PeerView(record, True, False, False)


def dead(record: Record) -> PeerView:
    return PeerView(record, False, True, False)


def count_probes(effects: list[membership.Effect]) -> int:
    return sum(isinstance(effect, Probe) for effect in effects)


def is_member(hand: Hand) -> bool:
    hand.tick()
    return hand.membership.state == "member"


def test_only_an_answer_to_an_own_marker_proves_a_link() -> None:
    hand = Hand(join=("ipc://p2",))
    hand.membership.marker_heard(OTHER, hand.now)
    hand.membership.view_heard(view_of(OTHER, "member", us(True)), hand.now)
    hand.membership.probe_answered(view_of(OTHER, "member", us(True)), b"never sent", hand.now)
    assert not hand.peer().linked
    hand.link()
    assert hand.peer().linked


def test_a_marker_sent_before_the_link_broke_proves_nothing() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    hand.link()
    before = hand.nonce()
    hand.tick()
    assert Tell({"event": "link_down", **OTHER.to_map()}) in hand.membership.link_lost(OTHER.base, hand.now)
    hand.membership.probe_answered(view_of(OTHER, "member", us(True)), before, hand.now)
    assert not hand.peer().linked
    hand.link()
    assert hand.peer().linked


def test_a_connection_that_opens_voids_what_was_proven_over_the_one_before() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    hand.link()
    assert Tell({"event": "link_down", **OTHER.to_map()}) in hand.membership.link_opened(OTHER.base, hand.now)
    assert hand.membership.link_lost("ipc://nobody", hand.now) == []


def test_a_member_needs_the_peers_word_and_a_fresh_one() -> None:
    hand = Hand(join=("ipc://p2",))
    hand.membership.marker_heard(OTHER, hand.now)
    hand.tick(1.0)
    hand.membership.probe_answered(view_of(OTHER, "member", us(False)), hand.nonce(), hand.now)
    assert not is_member(hand), "the peer has not linked us"
    old = hand.nonce()
    hand.tick(FRESH_S + 0.1)
    hand.membership.probe_answered(view_of(OTHER, "member", us(True)), old, hand.now)
    assert not is_member(hand), "it had when it was asked, which is long ago"
    hand.membership.probe_answered(view_of(OTHER, "member", us(True)), hand.nonce(), hand.now)
    hand.membership.view_heard(view_of(OTHER, "member", us(False)), hand.now)
    assert not is_member(hand), "it has taken its word back"
    hand.link()
    assert is_member(hand)


def test_the_word_for_another_run_of_us_does_not_count() -> None:
    hand = Hand(join=("ipc://p2",))
    hand.membership.marker_heard(OTHER, hand.now)
    hand.tick(1.0)
    earlier = PeerView(Record("p1", "run0", SELF.base), True, False, False)
    hand.membership.probe_answered(view_of(OTHER, "member", earlier), hand.nonce(), hand.now)
    assert not is_member(hand)


def test_whoever_joins_waits_for_a_member() -> None:
    hand = Hand(join=("ipc://p2", "ipc://p3"))
    hand.membership.marker_heard(OTHER, hand.now)
    hand.tick(1.0)
    hand.link(OTHER, "joining")
    assert not is_member(hand), "two who are joining are no mesh, while one address did not answer"
    hand.link(OTHER, "member")
    assert is_member(hand)


def test_where_all_are_joining_they_start_when_nobody_seeks_any_more() -> None:
    hand = Hand(join=("ipc://p2",))
    hand.membership.marker_heard(OTHER, hand.now)
    hand.tick(1.0)
    hand.membership.probe_answered(view_of(OTHER, "joining", us(True), seeking=True), hand.nonce(), hand.now)
    assert not is_member(hand)
    hand.link(OTHER, "joining")
    assert is_member(hand)


def test_it_seeks_until_it_has_listened_and_met_everyone() -> None:
    hand = Hand(join=("ipc://p2",))
    assert hand.membership.view().seeking
    hand.membership.marker_heard(OTHER, hand.now)
    hand.tick(0.9)
    assert hand.membership.view().seeking, "it has not listened for long enough"
    hand.tick(0.2)
    assert not hand.membership.view().seeking
    hand.tick(3.0)
    assert hand.peer().dead
    assert hand.membership.view().seeking, "it has lost whom it had met"


def test_whoever_stood_still_listens_anew() -> None:
    hand = Hand()
    hand.tick(0.9)
    hand.now += 60.0
    hand.tick(0.9)
    assert hand.membership.state == "joining"
    hand.tick(0.2)
    assert hand.membership.state == "member"


def test_standing_still_declares_nobody_dead_and_lets_nobody_live_longer() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    hand.tick(2.9)
    hand.now += 50.0
    hand.membership.marker_heard(THIRD, hand.now)  # read before the clock was looked at
    assert not [effect for effect in hand.tick(2.9) if isinstance(effect, Tell) and "dead" in effect.event["event"]]
    hand.tick(0.2)
    assert hand.peer("p2").dead and hand.peer("p3").dead


def test_first_may_start_alone_though_nobody_answers() -> None:
    hand = Hand(join=("ipc://p2",), first=True)
    hand.tick(1.1)
    assert hand.membership.state == "member"


def test_its_own_address_is_nobody_to_join() -> None:
    hand = Hand(join=(SELF.base,))
    hand.tick(60.0)
    assert hand.membership.state == "joining", "who answers there is not known yet: it may be another one"
    assert hand.membership.unanswered() == [SELF.base]
    assert hand.membership.scout_answered(SELF.base, view_of(SELF, "joining"), hand.now) == []
    assert hand.membership.unanswered() == []
    hand.tick(0.1)
    assert hand.membership.state == "member"


@pytest.mark.parametrize("asked", [SELF.base, "ipc://by-another-name"])
@pytest.mark.parametrize("name", ["p1", "p2"])
def test_one_that_advertises_the_address_of_another_proxy_ends_and_says_so(asked: str, name: str) -> None:
    hand = Hand(join=(asked,))
    (effect,) = hand.membership.scout_answered(asked, view_of(Record(name, "other", SELF.base), "member"), hand.now)
    assert isinstance(effect, Fatal) and f"the address {SELF.base}, which this proxy advertises" in effect.why
    assert f"is that of proxy '{name}'" in effect.why
    hand.tick(60.0)
    assert hand.membership.state == "joining"


@pytest.mark.parametrize("state", ["joining", "member"])
def test_a_dead_proxy_is_hearsay_to_a_joiner_only_and_only_for_a_while(state: str) -> None:
    hand = Hand(join=("ipc://p2",) if state == "joining" else ())
    if state == "member":
        hand.tick(1.1)
    hand.membership.view_heard(view_of(OTHER, "member", dead(THIRD)), hand.now)
    assert ("p3" in hand.membership.peers) == (state == "joining")
    if state == "member":
        return
    hand.tick(DOUBT_S - 0.05)
    assert not hand.peer("p3").dead, "it may be out of the other's reach only"
    hand.tick(0.1)
    assert hand.peer("p3").dead
    assert Unlink(THIRD.base) in hand.tick(MEMORY_S + 1.0)
    assert "p3" not in hand.membership.peers


def test_the_dead_take_nobodys_place() -> None:
    hand = Hand(join=("ipc://p2",))
    hand.membership.view_heard(view_of(OTHER, "member", dead(THIRD)), hand.now)
    hand.tick(1.0)
    assert hand.peer("p3").dead
    moved = Record("p4", "run4", THIRD.base)
    assert Link(moved.base) not in hand.membership.view_heard(view_of(OTHER, "member", dead(moved)), hand.now)
    assert "p4" not in hand.membership.peers


def test_hearsay_moves_nobody_who_lives() -> None:
    hand = Hand()
    hand.membership.marker_heard(THIRD, hand.now)
    earlier, elsewhere = Record("p3", "run0", THIRD.base), Record("p3", "run9", "ipc://p9")
    for hearsay in (earlier, elsewhere, Record("p9", "run9", THIRD.base)):
        hand.membership.view_heard(view_of(OTHER, "member", alive(hearsay)), hand.now)
        assert hand.peer("p3").record == THIRD
    hand.tick(3.1)
    effects = hand.membership.view_heard(view_of(OTHER, "member", alive(elsewhere)), hand.now)
    assert [each for each in effects if isinstance(each, Link | Unlink)] == [Link(elsewhere.base)], "it rests"


def test_an_address_has_one_owner() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    renamed = Record("p9", "run9", OTHER.base)
    hand.link()
    assert hand.membership.marker_heard(renamed, hand.now) == [], "the address is answered for by another"
    hand.membership.link_lost(OTHER.base, hand.now)
    effects = hand.membership.marker_heard(renamed, hand.now)
    assert not [each for each in effects if isinstance(each, Link | Unlink)], "the connection stays as it is"
    assert Tell({"event": "peer_forgotten", **OTHER.to_map()}) in effects
    assert list(hand.membership.peers) == ["p9"]


def test_a_name_has_one_owner() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    moved = Record("p2", "run9", "ipc://p9")
    assert hand.membership.marker_heard(moved, hand.now) == []
    hand.tick(3.1)
    effects = hand.membership.marker_heard(moved, hand.now)
    assert [each for each in effects if isinstance(each, Link | Unlink)] == [Link(moved.base)]
    hand.link(moved)
    assert hand.membership.marker_heard(OTHER, hand.now) == [], "the one before has lost it"


def test_an_earlier_run_that_answers_a_new_marker_lives_after_all() -> None:
    hand = Hand()
    earlier = Record("p2", "run0", OTHER.base)
    hand.membership.marker_heard(OTHER, hand.now)
    hand.membership.marker_heard(earlier, hand.now)  # a message that came late; nobody can tell
    hand.tick()
    assert hand.membership.marker_heard(OTHER, hand.now) == []
    hand.link(OTHER)
    assert hand.peer().record == OTHER and hand.peer().linked


def test_what_it_holds_goes_to_a_linked_member_that_stays() -> None:
    hand = Hand()
    assert hand.membership.heir() is None
    hand.membership.marker_heard(OTHER, hand.now)
    assert hand.membership.heir() is None, "it is not linked"
    for state, heir in (("joining", None), ("member", OTHER), ("draining", None), ("member", OTHER)):
        hand.link(state=state)
        assert hand.membership.heir() == heir
    hand.membership.view_heard(view_of(OTHER, "gone"), hand.now)
    assert hand.membership.heir() is None


def test_a_new_run_starts_unlinked() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    hand.link()
    hand.membership.link_lost(OTHER.base, hand.now)
    again = Record("p2", "run9", OTHER.base)
    effects = hand.membership.marker_heard(again, hand.now)
    assert Tell({"event": "peer_restarted", **again.to_map()}) in effects
    assert not [each for each in effects if isinstance(each, Link | Unlink)], "the connection stays as it is"
    assert not hand.peer().linked


# --- what anybody may say


def phantom(number: int, run: str = "run") -> Record:
    return Record(f"x{number}", run, f"ipc://x{number}")


def links(effects: list[membership.Effect]) -> list[membership.Effect]:
    return [each for each in effects if isinstance(each, Link | Unlink)]


def test_a_word_of_a_new_run_ends_no_linked_peer_and_an_answer_does() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    hand.link()
    for run in range(100):
        assert hand.membership.marker_heard(Record("p2", f"forged{run}", OTHER.base), hand.now) == []
    assert hand.peer().record == OTHER and hand.peer().linked
    again = Record("p2", "run9", OTHER.base)
    assert Tell({"event": "link_down", **OTHER.to_map()}) in hand.link(again)
    hand.link(again)
    assert hand.peer().record == again and hand.peer().linked


def test_forged_runs_do_not_keep_a_joiner_out() -> None:
    """They came first, and come all the time; it answers at its address."""
    hand = Hand()
    hand.membership.marker_heard(Record("p2", "forged", OTHER.base), hand.now)
    hand.link(OTHER)
    nonce = hand.nonce()
    for run in range(20):
        hand.membership.marker_heard(Record("p2", f"forged{run}", OTHER.base), hand.now)
    hand.membership.probe_answered(view_of(OTHER, "joining", us(True)), nonce, hand.now)
    assert hand.peer().record == OTHER and hand.peer().linked


def test_so_many_strangers_and_no_more_and_each_has_its_time() -> None:
    hand = Hand()
    for number in range(1_000):
        hand.membership.marker_heard(phantom(number), hand.now)
    assert len(hand.membership.peers) == MAX_STRANGERS and hand.membership.refused == 1_000 - MAX_STRANGERS
    hand.tick(HOLD_S - 0.1)
    assert hand.membership.marker_heard(phantom(8), hand.now) == []
    hand.tick(0.2)
    assert links(hand.membership.marker_heard(phantom(9), hand.now)) == [Unlink("ipc://x0"), Link("ipc://x9")]
    assert len(hand.membership.peers) == MAX_STRANGERS


def test_a_crowd_of_strangers_fills_no_log() -> None:
    """Eight are told of; then only those that prove to be there, once they do."""
    hand = Hand()
    told: list[str] = []
    for number in range(1_000):
        for effect in [*hand.membership.marker_heard(phantom(number), hand.now), *hand.tick()]:
            told += [effect.event["event"]] if isinstance(effect, Tell) else []
    assert told.count("peer_joined") == MAX_STRANGERS and len(told) <= 3 * MAX_STRANGERS + 1
    hand.membership.marker_heard(OTHER, hand.now)
    events = [each.event["event"] for each in hand.link() if isinstance(each, Tell)]
    assert events == ["peer_joined", "link_up"]


def test_who_was_linked_is_no_stranger_any_more() -> None:
    hand = Hand()
    for number in range(30):
        hand.membership.marker_heard(phantom(number), hand.now)
        hand.link(phantom(number))
    assert len(hand.membership.peers) == 30 and hand.membership.refused == 0


def test_a_stranger_is_tried_less_and_less_and_forgotten_after_a_minute_though_it_speaks_on() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    happened: list[tuple[int, str]] = []
    while hand.membership.peers:
        happened += [(round(hand.now), type(each).__name__) for each in links(hand.tick(0.5))]
        if hand.membership.peers:
            hand.membership.marker_heard(OTHER, hand.now)
    assert [at for at, what in happened if what == "Link"] == [6, 15, 30, 49]
    assert [at for at, what in happened if what == "Unlink"] == [3, 9, 18, 33, 52]
    assert hand.now == pytest.approx(MEMORY_S, abs=0.6)


def test_one_that_others_call_linked_is_tried_when_it_shows_itself() -> None:
    hand = Hand()
    hand.membership.view_heard(view_of(OTHER, "member", alive(THIRD)), hand.now)
    assert Unlink(THIRD.base) not in hand.tick(TRY_VOUCHED_S - 0.1)
    assert Unlink(THIRD.base) in hand.tick(0.2)
    hand.membership.marker_heard(THIRD, hand.now)
    assert links(hand.tick()) == [Link(THIRD.base)]


def test_hearsay_leaves_room_for_who_speaks_for_itself() -> None:
    hand = Hand(join=("ipc://p3",))
    for first in (0, 900):
        views = [alive(phantom(number)) for number in range(first, first + 900)]
        hand.membership.view_heard(view_of(OTHER, "member", *views), hand.now)
    assert len(hand.membership.peers) == 1 + MAX_HEARSAY
    rumours = [PeerView(phantom(number), False, False, True) for number in range(2_000, 2_900)]
    hand.membership.view_heard(view_of(OTHER, "member", *rumours), hand.now)
    assert len(hand.membership.peers) == MAX_HEARSAY + MAX_STRANGERS
    assert Link(THIRD.base) in hand.membership.marker_heard(THIRD, hand.now), "we were told to join it"


def test_strangers_hold_up_a_joiner_for_a_while_only() -> None:
    hand = Hand(join=("ipc://p2",))
    hand.membership.marker_heard(OTHER, hand.now)
    hand.tick(1.0)
    joined_at = None
    for number in range(1_000):
        hand.membership.marker_heard(phantom(number), hand.now)
        hand.link()
        if hand.membership.state == "member":
            joined_at = joined_at or hand.now
    assert joined_at is not None and PATIENCE_S < joined_at < PATIENCE_S + 2.0


def test_who_is_called_linked_holds_it_up_until_it_is_dead() -> None:
    hand = Hand(join=("ipc://p2",))
    hand.membership.marker_heard(OTHER, hand.now)
    hand.tick(1.0)
    for _ in range(300):
        hand.link(OTHER, "member", alive(THIRD))
        hand.membership.marker_heard(THIRD, hand.now)
    assert hand.now > PATIENCE_S and hand.membership.state == "joining"


def test_a_linked_peer_that_goes_on_answering_has_not_left() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    hand.link()
    for _ in range(50):
        assert hand.membership.view_heard(view_of(OTHER, "gone"), hand.now) == []
        hand.link()
    assert hand.peer().linked and not links(hand.tick(GONE_S + 0.1))


@pytest.mark.parametrize("end", ["silent", "broken", "answer"])
def test_one_that_answers_no_more_has_left(end: str) -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    hand.link()
    assert hand.membership.view_heard(view_of(OTHER, "gone"), hand.now) == [] and hand.peer().linked
    if end == "silent":
        effects = hand.tick(GONE_S + 0.05)
    elif end == "broken":
        effects = hand.membership.link_lost(OTHER.base, hand.now)
    else:
        effects = hand.link(OTHER, "gone")
    assert Tell({"event": "peer_left", **OTHER.to_map()}) in effects and not hand.membership.peers


def test_nobodys_word_ends_a_proxy_that_starts() -> None:
    """Who is said to have its name is asked, and has a moment to answer."""
    hand = Hand()
    assert hand.membership.marker_heard(Record("p1", "run0", SELF.base), 0.0) == [], "our own earlier run"
    assert not [each for each in hand.tick(0.2) if isinstance(each, Ask) and each.bases]
    hand.tick(0.5)
    namesake = Record("p1", "run0", "ipc://p9")
    view = view_of(namesake, "member")
    assert hand.membership.marker_heard(namesake, hand.now) == []
    assert hand.membership.view_heard(view, hand.now) == []
    assert hand.membership.probe_answered(view, hand.nonce(), hand.now) == []
    assert Ask(("ipc://p9",)) in hand.tick(0.2)
    hand.tick(0.2)
    assert hand.membership.state == "joining"
    hand.tick(DOUBT_S)
    assert hand.membership.state == "member", "nobody answered"


def test_the_namesakes_own_answer_does() -> None:
    hand = Hand()
    namesake = Record("p1", "run0", "ipc://p9")
    hand.membership.marker_heard(namesake, hand.now)
    (fatal,) = hand.membership.scout_answered("ipc://p9", view_of(namesake, "member"), hand.now)
    assert isinstance(fatal, Fatal) and "'p1' is taken by the proxy at ipc://p9" in fatal.why


def test_names_that_are_said_to_be_taken_leave_room_for_one_that_is() -> None:
    hand = Hand()
    for number in range(100):
        hand.membership.marker_heard(Record("p1", "run0", f"ipc://y{number}"), hand.now)
    taken = PeerView(Record("p1", "run0", "ipc://p9"), True, False, False)
    hand.membership.view_heard(view_of(OTHER, "member", taken), hand.now)
    asked = [each.bases for each in hand.tick(0.2) if isinstance(each, Ask)][-1]
    assert "ipc://p9" in asked and len(asked) == MAX_RIVALS // 2 + 1


def test_a_lost_marker_is_made_up_for_long_before_the_link_is_given_up() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    hand.tick(1.1)
    hand.link()
    assert is_member(hand)
    hand.link()
    assert count_probes(hand.tick(1.0)) <= 2, "at rest"
    assert count_probes(hand.tick(1.5)) > 10
    assert hand.peer().linked


def test_a_connection_to_the_dead_is_asked_at_once_and_more_than_once() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    hand.tick(6.0)
    assert hand.peer().dead and count_probes(hand.tick(2.0)) <= 2
    hand.membership.link_opened(OTHER.base, hand.now)
    assert count_probes(hand.tick(1.0)) > 10


def test_nobody_links_to_its_own_address() -> None:
    hand = Hand()
    assert hand.membership.marker_heard(Record("p2", "run2", SELF.base), hand.now) == []
    hand.membership.marker_heard(OTHER, hand.now)
    assert hand.membership.marker_heard(Record("p2", "run9", SELF.base), hand.now) == []


def test_who_left_is_asked_for_at_its_address_and_nowhere_in_the_list() -> None:
    hand = Hand()
    hand.membership.marker_heard(OTHER, hand.now)
    effects = hand.membership.view_heard(view_of(OTHER, "gone"), hand.now)
    assert Unlink(OTHER.base) in effects and not hand.membership.peers
    assert Ask((OTHER.base,)) in hand.tick()
    for late in (
        hand.membership.marker_heard(OTHER, hand.now),
        hand.membership.view_heard(view_of(THIRD, "member", alive(OTHER)), hand.now),
    ):
        assert Link(OTHER.base) not in late
    again = Record("p2", "run9", OTHER.base)
    assert Link(OTHER.base) in hand.membership.marker_heard(again, hand.now)
    assert Ask(()) in hand.tick(1.0)


def test_only_so_many_addresses_are_remembered() -> None:
    hand = Hand()
    for number in range(MAX_HOMES + 1):
        record = Record(f"x{number}", "run", f"ipc://x{number}")
        hand.membership.marker_heard(record, hand.now)
        hand.membership.view_heard(view_of(record, "gone"), hand.now)
    assert Ask(tuple(f"ipc://x{number}" for number in range(1, MAX_HOMES + 1))) in hand.tick()


def test_what_waits_for_an_address_without_a_proxy_does_not_pile_up() -> None:
    hand = Hand(join=("ipc://p2",))
    asked = [each for each in hand.tick(5.2) if isinstance(each, Ask)]
    assert asked.count(Ask(())) == 1 and asked[-1] == Ask(("ipc://p2",))


def test_a_dead_peer_is_forgotten_in_the_end() -> None:
    hand = Hand(forget_s=10.0)
    hand.membership.marker_heard(OTHER, hand.now)
    hand.link()
    hand.membership.marker_heard(OTHER, hand.now)
    assert Unlink(OTHER.base) not in hand.tick(9.9)
    assert Unlink(OTHER.base) in hand.tick(0.2)
    assert not hand.membership.peers


def test_the_list_has_an_end() -> None:
    hand = Hand()
    for number in range(MAX_PEERS + 1):
        hand.membership.marker_heard(phantom(number), hand.now)
        hand.link(phantom(number))
    assert len(hand.membership.peers) == MAX_PEERS and hand.membership.refused > 0
    hand.membership.link_lost("ipc://x0", hand.now)
    again = phantom(0, "run again")
    hand.membership.marker_heard(again, hand.now)
    assert hand.peer("x0").record == again, "who is in it may restart"


def test_whoever_drains_before_it_is_a_member_is_gone() -> None:
    hand = Hand()
    assert Tell({"event": "draining"}) in hand.membership.drain()
    assert hand.membership.state == "gone"
    assert hand.membership.drain() == []
    hand.tick(2.0)
    assert hand.membership.state == "gone", "and never becomes one"


@pytest.mark.parametrize(
    "change", [{"id": 1}, {"id": ""}, {"incarnation": ""}, {"incarnation": "x" * 65}, {"base": "x"}, {"base": None}]
)
def test_no_records(change: dict[str, object]) -> None:
    assert record_from(OTHER.to_map()) == OTHER
    assert record_from({**OTHER.to_map(), **change}) is None
