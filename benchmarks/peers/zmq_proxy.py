"""libzmq's own proxy, XSUB to XPUB, and nothing else.

python -m benchmarks.peers.zmq_proxy PORT          # publishers connect there, subscribers at the next port
"""

from __future__ import annotations

import sys

import zmq


def main() -> None:
    port = int(sys.argv[1])
    context = zmq.Context()
    publishers, subscribers = context.socket(zmq.XSUB), context.socket(zmq.XPUB)
    publishers.rcvhwm = subscribers.sndhwm = 0
    subscribers.bind(f"tcp://127.0.0.1:{port + 1}")
    publishers.bind(f"tcp://127.0.0.1:{port}")
    zmq.proxy(publishers, subscribers)


if __name__ == "__main__":
    main()
