"""A way to a server that can be cut: every byte goes through a process that stands between, on ports of its own.

with way("127.0.0.1:5000", ports=1) as cut:
    cut.address                            # in place of the server's; "tcp://…" stays in front where it was
    cut.cut()                              # all connections end, and new ones are refused
    cut.heal()                             # new ones are taken again; returns when, monotonic, in ns
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.peers.ports import free_ports

READY_S = 30.0
PIECE_BYTES = 256 * 1024


class Cut:
    """The process, seen from outside."""

    def __init__(self, address: str, ports: int) -> None:
        scheme, _, rest = address.rpartition("//")
        host, _, port = rest.rpartition(":")
        first = free_ports(ports)
        self.address = f"{scheme}//{host}:{first}" if scheme else f"{host}:{first}"
        pairs = [(first + step, int(port) + step) for step in range(ports)]
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(host, pairs, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._hear()

    def _hear(self) -> int:
        if not self._pipe.poll(READY_S):
            raise RuntimeError("the way to the server did not answer")
        at_ns: int = self._pipe.recv()
        return at_ns

    def cut(self) -> int:
        """Return when it was done, monotonic, in ns."""
        self._pipe.send("cut")
        return self._hear()

    def heal(self) -> int:
        self._pipe.send("heal")
        return self._hear()

    def end(self) -> None:
        self._pipe.close()
        self._process.join(5.0)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()


@contextlib.contextmanager
def way(address: str, ports: int) -> Iterator[Cut]:
    """Yield a way to a server that takes so many ports from its address on."""
    cut = Cut(address, ports)
    try:
        yield cut
    finally:
        cut.end()


def _serve(host: str, pairs: list[tuple[int, int]], pipe: Any) -> None:
    with contextlib.suppress(EOFError, OSError):  # who started it has gone
        asyncio.run(_Way(host, pairs).run(pipe))


class _Way:
    def __init__(self, host: str, pairs: list[tuple[int, int]]) -> None:
        self._host, self._pairs = host, pairs
        self._listening: list[asyncio.Server] = []
        """Empty while it is cut."""
        self._writers: set[asyncio.StreamWriter] = set()
        """Both ends of every connection."""

    async def run(self, pipe: Any) -> None:
        """Obey the pipe until its other end is closed."""
        loop = asyncio.get_running_loop()
        heard: asyncio.Queue[str] = asyncio.Queue()

        def read() -> None:
            try:
                heard.put_nowait(pipe.recv())
            except (EOFError, OSError):
                heard.put_nowait("end")

        loop.add_reader(pipe.fileno(), read)
        command = "heal"
        while command != "end":
            await (self._listen() if command == "heal" else self._cut())
            pipe.send(time.monotonic_ns())
            command = await heard.get()
        loop.remove_reader(pipe.fileno())
        await self._cut()

    async def _listen(self) -> None:
        for ours, theirs in self._pairs:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, theirs: int = theirs) -> None:
                await self._join(reader, writer, theirs)

            self._listening.append(await asyncio.start_server(serve, self._host, ours))

    async def _cut(self) -> None:
        for server in self._listening:
            server.close()
        self._listening.clear()
        for writer in self._writers:
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        try:
            back, forth = await asyncio.open_connection(self._host, port)
        except OSError:
            writer.close()
            return
        ends = {writer, forth}
        self._writers |= ends
        try:
            await asyncio.gather(_copy(reader, forth), _copy(back, writer))
        finally:
            self._writers -= ends
            for each in ends:
                each.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    writer.close()
