"""What is written to a disk as it is published, and read back: messages a second.

    kept   from the first message that is published to when the last can be read from the store
    read   all of them, by a client that has just connected

The fabric's keeper stores in SQLite, and JetStream in its file store, both in a folder of the same file system. Neither
has a publisher wait for the disk: JetStream's answer says that the server has written, and SQLite commits a batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from benchmarks.peers.clients import KEPT, peer_of
from benchmarks.peers.figures import Work
from benchmarks.peers.servers import servers
from benchmarks.peers.workers import Worker, WorkerError, workers

ROWS = {"fabric": "keeper", "jetstream_file": "jetstream_file"}
"""Row of the table -> who is started for it."""
SIZES = {"64 B": 64, "1 KiB": 1024}
TOPICS = tuple(f"keep/{number:04}/value" for number in range(1000))


def keeping(peers: Sequence[str], count: int, repeats: int, say: Callable[[str], None]) -> Work:
    """Publish `count` messages a repetition, with stores that are empty at first, and read all that is there."""
    settings = [f"{what}, {size}" for size in SIZES for what in ("kept", "read")]
    work = Work("keeping", "Kept on disk, and read back", "messages/s", "higher", settings)
    for _ in range(repeats):
        for row, who in ROWS.items():
            if peer_of(row) not in peers:
                continue
            for size, payload_bytes in SIZES.items():
                kept, read = work.of(f"kept, {size}", row), work.of(f"read, {size}", row)
                try:
                    kept_s, read_s = _once(who, payload_bytes, count)
                except (WorkerError, RuntimeError) as error:
                    kept.note = read.note = str(error)
                    continue
                kept.values.append(count / kept_s)
                read.values.append(count / read_s)
                say(f"keeping, {size}: {row} kept {count / kept_s:,.0f}/s, read {count / read_s:,.0f}/s")
    return work


def _once(who: str, payload_bytes: int, count: int) -> tuple[float, float]:
    """Return the seconds that keeping took, and reading."""
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(servers(who)).addresses[0]
        publisher, reader = stack.enter_context(workers(who, 2))
        _open(publisher, address)
        publisher.do("warm", TOPICS)
        kept_s: float = publisher.do("keep", TOPICS, payload_bytes, count)
        _open(reader, address)
        read_s, got = reader.do("read_back", KEPT)
        due = len(TOPICS) + count
        if got != due:
            raise WorkerError(f"of {due:,} messages {got:,} could be read back")
        return kept_s, read_s * count / due


def _open(worker: Worker, address: str) -> None:
    worker.do("open_publisher", address)
