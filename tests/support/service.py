"""A service as a process of its own, for tests: `python -m tests.support.service BASE NAME`.

    echo   answers with the body
    who    answers with the instance's id
    hold   says so on stdout, and answers only once `go` comes on stdin; meant to be killed before
    sleep  answers after as many seconds as the body says

Each request that the handler gets is a line of JSON on stdout; `ready` comes first. It ends when stdin does.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from fabric import Node
from fabric.services import Request, Server, each


def main() -> None:
    base, name = sys.argv[1:3]
    go = threading.Event()

    def handle(request: Request) -> Any:
        say({"event": "handled", "op": request.op, "key": request.key, "body": request.body})
        if request.op == "who":
            return server.instance
        if request.op == "hold":
            go.wait()
        elif request.op == "sleep":
            time.sleep(request.body)
        return request.body

    with Node(base, name=f"service-{name}") as node, Server(node, name, each(handle), workers=4) as server:
        server.wait_ready()
        say({"event": "ready", "instance": server.instance})
        for line in sys.stdin:
            if line.strip() == "go":
                go.set()
        go.set()


def say(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")  # in one piece: four workers speak
    sys.stdout.flush()


if __name__ == "__main__":
    main()
