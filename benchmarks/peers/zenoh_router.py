"""A zenoh router: a session in mode router in a separate process; all of it is the Rust code that zenohd runs, too.

python -m benchmarks.peers.zenoh_router PORT [PORT OF ANOTHER ROUTER]
"""

from __future__ import annotations

import signal
import sys

import zenoh

from benchmarks.peers.clients.zenoh_client import config


def main() -> None:
    port, *others = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    settings = {
        "listen__endpoints": [f"tcp/127.0.0.1:{port}"],
        "transport__unicast__accept_pending": 1000,  # a storm of connections is measured, too
        "connect__endpoints": [f"tcp/127.0.0.1:{other}" for other in others],
    }
    with zenoh.open(config("router", **settings)):
        print('{"event":"ready"}', flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
