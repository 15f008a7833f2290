"""The demo in browsers: a proxy, a frame node, and a gateway with a shop and an agent, until Ctrl-C.

`scripts/demo --web [PORT]` runs this. It prints the addresses to open and the agent's sign-in, with a password that is
drawn for each run. The `fabric` command does everything; this module starts it, and stops it.
"""

from __future__ import annotations

import json
import secrets
import signal
import sys
import tempfile
import threading
from pathlib import Path

from fabric import private_files
from fabric.errors import expected
from nodes.demo.stage import START_TIMEOUT_S, Child, Failed, Stage
from nodes.gateway.credentials import SALT_BYTES, make

AGENT = "ada"
BUTTON = "help"  # the chat button of the demo shop
DEFAULT_PORT = 8080


def start(stage: Stage, folder: Path, port: int) -> tuple[str, str]:
    """Start everything; return the gateway's address and the agent's password. Failed when something does not come."""
    base, agents, password = f"ipc://{folder}/p1", folder / "agents.jsonl", secrets.token_urlsafe(6)
    line = make(AGENT, "Ada", [BUTTON], password, secrets.token_bytes(SALT_BYTES)).to_line()
    private_files.write(agents, f"{line}\n".encode())
    ready(stage.start("proxy", "proxy", "--listen", base, "--name", "p1"))
    ready(stage.start("frame node", "frame", "--store", f"sqlite:///{folder}/frame.db", "--connect", base))
    listen = f"http://127.0.0.1:{port}"
    options = ["--listen", listen, "--connect", base, "--agents", str(agents), "--demo-shop"]
    return str(ready(stage.start("gateway", "gateway", *options))["url"]), password


def ready(child: Child) -> dict[str, object]:
    """Return a process's line about being ready, once it is printed."""
    found: dict[str, object] = {}

    def come() -> bool:
        for _, line in child.lines:
            if (said := json.loads(line)).get("event") == "ready":
                found.update(said)
        return bool(found)

    child.wait_until(come, "its readiness", START_TIMEOUT_S)
    return found


def tell(url: str, password: str) -> None:
    print(f"A visitor:  {url}/shop/", flush=True)
    print("            press Help there, and read the contact code", flush=True)
    print(f"An agent:   {url}/agent/   (another window; agent {AGENT}, password {password})", flush=True)
    print("            sign in and type the code; once the visitor allows it you see their page")
    print("            be available, and the shop's Chat works; from a chat you can ask without a code")
    print(f"Privacy:    {url}/privacy/   (a page to try marks and rules on)", flush=True)
    print("\nCtrl-C ends it.", flush=True)


def main() -> int:
    """Run until a signal; 0 then, 1 when something did not start, 2 for a wrong port."""
    words = sys.argv[1:]
    if len(words) > 1 or not all(word.isdigit() and int(word) < 65_536 for word in words):
        print(f"scripts/demo --web: {expected('port', ' '.join(words), '0 to 65535, or nothing')}", file=sys.stderr)
        return 2
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: ended.set())
    stage = Stage()
    with tempfile.TemporaryDirectory(prefix="fabric-demo-") as folder:
        try:
            tell(*start(stage, Path(folder), int(words[0]) if words else DEFAULT_PORT))
            ended.wait()
        except Failed as error:
            print(f"scripts/demo --web: {error}", file=sys.stderr)
            return 1
        finally:
            stage.clear()
    return 0


if __name__ == "__main__":
    sys.exit(main())
