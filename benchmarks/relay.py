"""A relay between browsers and a gateway that counts the bytes on the wire, whatever is compressed in them.

with relay("127.0.0.1", 8080) as found:     # in a thread of its own
    browse(f"http://127.0.0.1:{found.port}/")
    found.up, found.down                    # bytes to the gateway and from it, so far
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

CHUNK_BYTES = 65_536


class Relay:
    """up, down: bytes that went to the server, and from it. They only grow, in the relay's thread."""

    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self.port = 0
        """Where it listens, from `run` on."""
        self.up = self.down = 0
        self.ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self) -> None:
        """Serve until `stop`; the thread's own function."""
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            up_reader, up_writer = await asyncio.open_connection(*self._to)
            await asyncio.gather(self._copy(reader, up_writer, True), self._copy(up_reader, writer, False))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if up:
                    self.up += len(data)
                else:
                    self.down += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.contextmanager
def relay(host: str, port: int) -> Iterator[Relay]:
    found = Relay(host, port)
    thread = threading.Thread(target=found.run)
    thread.start()
    found.ready.wait()
    try:
        yield found
    finally:
        found.stop()
        thread.join()
