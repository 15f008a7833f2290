"""The benchmark against the peers: its arithmetic, what its page says, and one small run of its processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import lab
from benchmarks.peers import aims, report
from benchmarks.peers.clients import PEERS, RIVALS, ROWS, VARIANTS, in_turn, with_variants
from benchmarks.peers.costs import Cost, Costs
from benchmarks.peers.cut import way
from benchmarks.peers.fan import (
    ALL,
    FAN_OUT,
    FEWEST_MSGS,
    LAST,
    MANY_TOPICS,
    MOST_BYTES,
    MOST_MSGS,
    NOBODY,
    ONE_PERCENT,
    SPREAD,
    TOPICS,
    Fan,
)
from benchmarks.peers.figures import Results, Work
from benchmarks.peers.repair import Caught, caught
from benchmarks.peers.words import COLOURS, NAMES, number, times
from fabric.topics import matches
from tests.support.processes import ROOT, environment

ABOUT = {"date": "2026-01-01", "cpus": 2, "system": "Linux", "python": "3.11", "load": 0.1, "took_s": 5}


def work(name: str = "fan_out", better: str = "higher", **values: list[float]) -> Work:
    found = Work(name, "Title", "deliveries/s", better, ["1", "4"])
    for peer, each in values.items():
        found.of("1", peer).values = each
    return found


def page(*works: Work) -> str:
    return "\n".join(report._page(Results(ABOUT, {"fabric": "v"}, {"nats": "the program nats-server"}, list(works))))


def test_ratios_are_taken_within_each_repetition() -> None:
    """The machine was twice as slow in the second: the ratio of the medians would say otherwise."""
    found = work(fabric=[100.0, 50.0, 100.0], nats=[50.0, 25.0, 25.0])
    assert found.ratio("1", "nats") == 2.0 and found.ratio("4", "nats") is None
    assert work(fabric=[100.0, 0.0, 30.0], nats=[50.0, 10.0, 0.0]).ratio("1", "nats") == 2.0, "0 is a failed repetition"
    assert work(fabric=[0.0, 30.0]).of("1", "fabric").median == 30.0
    assert work(better="lower", fabric=[1.0], nats=[3.0]).ratio("1", "nats") == 3.0


def test_where_a_peer_is_ahead_the_page_says_so_and_why() -> None:
    text = page(work(raw=[300.0], fabric=[100.0], nats=[200.0], redis=[50.0], zenoh=[400.0]))
    assert (
        "**NATS is ahead: 2 times at 1.** Raw ZeroMQ (300 at 1) is ahead of that, and the fabric reaches 33% " in text
    )
    assert "**Zenoh is ahead: 4 times at 1.** That is ahead of raw ZeroMQ under Python, too (300 at 1)" in text
    assert "Redis is ahead" not in text and "| Redis | 50 (x 2) |" in text and "| NATS | 200 (**x 0.5**) |" in text
    assert "left out: the program nats-server lacked" in text


@pytest.mark.parametrize("name", report.WHY)
def test_every_reason_is_given_once_for_all_who_are_ahead(name: str) -> None:
    work_name, _, peer = name.partition(" of ")
    peers = [peer] if peer else ["nats", "redis"]
    text = page(work(work_name, "higher", fabric=[100.0], **{each: [200.0] for each in peers}))
    assert text.count("is ahead: 2 times at 1.**") == len(peers) and text.count(report.WHY[name]) == 1


def test_without_the_bound_no_reason_is_made_up() -> None:
    assert "the figures do not tell why" in page(work(fabric=[100.0], nats=[200.0]))


def test_at_a_glance() -> None:
    trip = work("round_trip", better="lower", fabric=[1.0], nats=[2.0], redis=[1.2])
    text = page(work(fabric=[100.0], nats=[200.0], redis=[20.0]), trip)
    assert "| Title, 1 | **0.5** | 5 |" in text and "| Title, 1 | 2 | 1.2 |" in text and "| Title, 4" not in text


def test_each_missed_aim_is_listed_with_its_figures() -> None:
    trip = work("round_trip", better="lower", fabric=[1.0, 1.0, 2.0], nats=[2.0, 3.0, 2.0], redis=[1.2, 1.2, 3.2])
    trip.of("1", "fabric").more = {"p99": 5.0}
    trip.of("1", "nats").more = {"p99": 4.0}
    text = page(trip)
    assert "| Title | at least 1.5 times as good as every peer | 1.2 times Redis at 1 | **missed** |" in text
    assert "- Missed: Title, at least 1.5 times as good as every peer: 1.2 times Redis at 1 (1.6 at best)." in text
    assert "| Title | p99 as good as every peer | 0.8 times NATS at 1 | **missed** |" in text
    assert "- Missed: Title, p99 as good as every peer: 0.8 times NATS at 1. Most" in text, "one figure: it is the best"
    assert "libzmq" not in text, "was not measured"
    reached = page(work("round_trip", better="lower", fabric=[1.0], nats=[1.5]))
    assert "1.5 times NATS at 1 | reached |" in reached and "Missed" not in reached


def test_aims_that_are_bounds() -> None:
    found = Work("ack_proxies", "Acks", "us, median", "lower", ["1 proxy", "2 proxies"])
    found.of("1 proxy", "fabric").values, found.of("2 proxies", "fabric").values = [499.0, 501.0, 400.0], [601.0, 900.0]
    text = page(found)
    assert "| Acks | at most 500 at 1 proxy, 600 at 2 proxies, 800 at 4 proxies, 1,200 at 8 proxies, in us |" in text
    assert "Missed" in text and "in us: 750 at 2 proxies (601 at best)." in text and "499 at 1 proxy (" not in text


def test_what_a_variant_is_to_reach() -> None:
    found = Work("acks", "Acks", "us, median", "lower", ["1 held"])
    found.of("1 held", "fabric").values, found.of("1 held", "three").values = [2.0], [3.0]
    (aim,) = (each for each in aims.AIMS if each.who == "three")
    assert [each.reached for each in aims.judge(aim, found)] == [True]
    found.of("1 held", "three").values = [3.1]
    assert [each.reached for each in aims.judge(aim, found)] == [False]
    assert (
        "| Acks | fabric, three proxies: at least 0.67 times as good as fabric | 0.65 times fabric | **missed** |"
        in page(found)
    )


def test_aims_are_of_rows_and_settings_that_there_are() -> None:
    fans = {"fan_out": {fan.label for fan in FAN_OUT}, "cpu": set(Costs().parts.settings)}
    for aim in aims.AIMS:
        assert {aim.who, *aim.against} <= set(ROWS) and bool(aim.against) != bool(aim.bounds)
        assert set(aim.settings) <= fans.get(aim.work, set())


def test_even_is_not_ahead() -> None:
    assert "NATS is ahead" not in page(work(raw=[1.0], fabric=[100.0], nats=[104.0]))


def test_losses_and_notes_are_shown() -> None:
    found = work(fabric=[100.0], nats=[50.0])
    found.of("1", "nats").lost = [0.0, 0.125]
    for setting in ("1", "4"):
        found.of(setting, "zenoh").note = "has no ack"
    text = page(found)
    assert "50 †12.50% (x 2)" in text and "† so much was lost" in text
    assert text.count("Zenoh has no ack.") == 1 and "| Zenoh | - | - |" in text


def test_results_come_back_from_json_as_they_were(tmp_path: Path) -> None:
    results = Results(ABOUT, {"fabric": "v"}, {}, [work(raw=[2.0], fabric=[1.0, 2.0]), work("acks", fabric=[3.0])])
    assert Results.from_map(json.loads(json.dumps(results.as_map()))) == results
    written = report.write(results, tmp_path)
    assert [path.name for path in written] == ["RESULTS.md", "fan_out.svg", "acks.svg"]
    assert all(path.stat().st_size for path in written)


def test_a_run_is_as_long_as_it_can_be_within_its_bounds() -> None:
    assert Fan("").count(50_000, 1.0) == 50_000 and Fan("").count(1e9, 1.0) == MOST_MSGS
    assert Fan("", 4).count(400_000, 1.0) == 100_000 and Fan("", 4, publishers=2).count(400_000, 1.0) == 50_000
    assert Fan("", 4, share=100).count(100_000, 1.0) == 100_000, "its figure is messages, not deliveries"
    assert Fan("").count(1, 1.0) == FEWEST_MSGS
    assert Fan("", payload_bytes=65_536).count(1e9, 1.0) * 65_536 <= MOST_BYTES


def test_a_figure_is_deliveries_or_where_not_all_match_messages() -> None:
    assert Fan("", 4).expected(1000) == 1000 and Fan("", 4).figure(1000, 3999) == 3999
    assert Fan("", 4, share=100).expected(1000) == 10 and Fan("", 4, share=100).figure(1000, 30) == 750
    assert Fan("", share=0).expected(1000) == 1 and Fan("", share=0).figure(1000, 1) == 1000


def test_filters_match_what_they_are_said_to() -> None:
    assert len(TOPICS) == len(SPREAD) == 1000 and all(matches(ALL, topic) for topic in (*TOPICS, *MANY_TOPICS))
    assert sum(matches(ONE_PERCENT, topic) for topic in SPREAD) == 10 and len(set(MANY_TOPICS)) == 10_000
    assert [fan.topic_filter for fan in NOBODY] == [LAST] and not any(matches(LAST, topic) for topic in TOPICS)


def test_rows_of_works() -> None:
    assert with_variants(["raw", "fabric", "nats"], ["libzmq", "async"]) == ["libzmq", "raw", "fabric", "async", "nats"]
    assert with_variants(["nats"], ["libzmq", "async"]) == ["nats"], "a row goes with its peer"
    assert set(ROWS) == {*PEERS, *VARIANTS} == set(NAMES) == set(COLOURS) and set(RIVALS) < set(PEERS)
    assert list(in_turn("abc", 5)) == list("abcab") and list(in_turn("abc", 0)) == []


def test_cost_of_a_message_by_who_spends_it() -> None:
    costs = Costs()
    costs.add("fan_out", "1 subscriber", "nats", Cost(1.0, 2.0, 3.0, published=1_000_000, delivered=500_000))
    costs.add("fan_out", "8 subscribers", "nats", Cost(1.0, 2.0, 3.0, published=1_000_000, delivered=8_000_000))
    costs.add("nobody", "1 publisher", "nats", Cost(4.0, 5.0, 6.0, published=1_000_000, delivered=1))
    costs.failed("fan_out", "1 subscriber", "nats")
    costs.add("payloads", "64 B", "nats", Cost(9.0, 9.0, 9.0, published=1, delivered=1))
    parts, delivered = costs.works
    assert {setting: parts.of(setting, "nats").values for setting in parts.settings} == {
        "publisher": [1.0, 0.0], "server": [2.0, 0.0], "subscriber": [6.0, 0.0],
        "publisher, to nobody": [4.0], "server, to nobody": [5.0],
    }  # fmt: skip
    assert delivered.settings == ["1 subscriber", "8 subscribers"]
    assert delivered.of("1 subscriber", "nats").values == [12.0, 0.0]
    assert delivered.of("8 subscribers", "nats").values == [0.75] and Costs().works == []


def test_cpu_time_of_a_process() -> None:
    before, own = lab.cpu_s(os.getpid()), time.process_time()
    while time.process_time() < own + 0.02:
        pass
    assert 0.02 <= lab.cpu_s(os.getpid()) - before < 10


def test_how_figures_are_written() -> None:
    assert [number(each) for each in (0.1234, 12.34, 1234.5)] == ["0.123", "12.3", "1,234"]
    assert [times(each) for each in (0.123, 12.3, 187.0)] == ["0.12", "12", "187"]


def test_filters_in_the_words_of_each_peer() -> None:
    nats = pytest.importorskip("benchmarks.peers.clients.nats_client")
    redis = pytest.importorskip("benchmarks.peers.clients.redis_client")
    zenoh = pytest.importorskip("benchmarks.peers.clients.zenoh_client")
    assert [nats.subject(each) for each in ("a/b", "+/b", "a/#")] == ["a.b", "*.b", "a.>"]
    assert [redis.pattern(each) for each in ("a/b", "+/b", "a/#")] == ["a/b", "*/b", "a/*"]
    assert [zenoh.key(each) for each in ("a/b", "+/b", "a/#")] == ["a/b", "*/b", "a/**"]


def test_a_small_run(tmp_path: Path) -> None:
    """Two kinds of work by the peers that need no server but ours."""
    command = [sys.executable, "-m", "benchmarks.peers.run", "--quick", "--peers", "raw,fabric"]
    done = subprocess.run(
        [*command, "--works", "wildcard,round_trip", "--into", str(tmp_path)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "RESULTS.md").read_text()
    assert text.count("| fabric |") == 3 and "not to be quoted" in text
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"wildcard.svg", "round_trip.svg"}


def test_the_script_says_what_it_knows_before_it_does_anything() -> None:
    for words in (["--nonsense"], ["--peers"], ["fan_out"]):
        done = subprocess.run([ROOT / "scripts/bench", *words], capture_output=True, text=True, timeout=20)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and words[0] in done.stderr
    done = subprocess.run([ROOT / "scripts/bench", "--help"], cwd="/", capture_output=True, text=True, timeout=20)
    assert done.returncode == 0 and done.stdout.startswith("Measure the fabric") and "--install" in done.stdout


def test_unknown_peers_and_works() -> None:
    for option in ("--peers", "--works"):
        command = [sys.executable, "-m", "benchmarks.peers.run", option, "nothing"]
        done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "'nothing' is not known; there are " in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_cut_is_judged_by_when_all_that_was_missed_had_come() -> None:
    """Published one each ms; cut from 3 to 6, healed at 6 ms: 3 to 5 come at 9, twice and out of order, 7 never."""
    arrived = [(0, 0), (1, 1), (2, 2), (6, 7), (4, 8), (3, 9), (5, 9), (5, 10)]
    found = caught([(number, at * 1_000_000) for number, at in arrived], 6_000_000, lambda k: k * 1_000_000, 8)
    assert found == Caught(took_ms=3.0, missed=3, lost=1, disordered=4)
    assert caught([(0, 0)], 5, lambda k: 0, 1) == Caught(0.0, 0, 0, 0), "nothing was missed"


def test_a_way_that_is_cut_and_healed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, way(f"tcp://127.0.0.1:{server.getsockname()[1]}", 1) as cut:
        host, _, port = cut.address.removeprefix("tcp://").partition(":")

        def connect() -> tuple[socket.socket, socket.socket]:
            ours = socket.create_connection((host, int(port)), timeout=20)
            theirs, _ = server.accept()
            theirs.settimeout(20)
            theirs.sendall(b"hello")
            assert ours.recv(5) == b"hello"
            return ours, theirs

        ours, theirs = connect()
        with ours, theirs:
            cut.cut()
            assert has_ended(ours) and has_ended(theirs)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=20)
        assert cut.heal() <= time.monotonic_ns()
        for each in connect():
            each.close()


def has_ended(end: socket.socket) -> bool:
    try:
        return end.recv(1) == b""
    except ConnectionResetError:
        return True
