"""The benchmark against the peers: its arithmetic, what its page says, and one small run of its processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import report
from benchmarks.peers.fan import ALL, FEWEST_MSGS, MOST_BYTES, MOST_MSGS, ONE_PERCENT, SPREAD, TOPICS, Fan
from benchmarks.peers.figures import Results, Work
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


def test_at_a_glance_and_whether_the_aims_are_reached() -> None:
    trip = work("round_trip", better="lower", fabric=[1.0], nats=[2.0], redis=[1.2])
    text = page(work(fabric=[100.0], nats=[200.0], redis=[20.0]), trip)
    assert "| Title, 1 | **0.5** | 5 |" in text and "| Title, 1 | 2 | 1.2 |" in text and "| Title, 4" not in text
    assert "3 times every peer at every setting, is missed against NATS (at worst 0.5)." in text
    assert "1.5 times every peer at every setting, is missed against Redis (at worst 1.2)." in text
    assert "setting, is reached." in page(work(fabric=[100.0], nats=[10.0]))
    unmeasured = page(work(nats=[10.0]), trip)
    assert "'Title', 3 times every peer at every setting, is not decided: it was not measured" in unmeasured


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
    assert Fan("").count(1, 1.0) == FEWEST_MSGS
    assert Fan("", payload_bytes=65_536).count(1e9, 1.0) * 65_536 <= MOST_BYTES


def test_the_wildcard_matches_one_percent() -> None:
    assert len(TOPICS) == len(SPREAD) == 1000 and all(matches(ALL, topic) for topic in TOPICS)
    assert sum(matches(ONE_PERCENT, topic) for topic in SPREAD) == 10


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
