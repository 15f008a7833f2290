"""From a short description of a fabric to its processes: names, hosts, commands, and the order they start in. Pure.

    proxies = 3                     # how many, or a table for each, see below
    frames = 2                      # frame nodes
    gateways = 2                    # for browsers
    pages = 200                     # hosted pages: one process of them on each host
    store = "postgresql://…"        # without a password; default: SQLite in the state folder of the first host
    store_file = "/etc/fabric/store"  # instead: a file of mode 600 on each host of a frame node, which holds the URL
    listen = "tcp://127.0.0.1:5570" # the first proxy's; the others' ports are 10, 20, … above it
    gateway_listen = "http://127.0.0.1:8080"  # the first gateway's on each host; the others' ports are 1, 2, … above
    allow_origins = ["https://shop.example.org"]  # sites whose pages may use the gateways
    agents = "/etc/fabric/agents.jsonl"  # a file on each host of a gateway: lines of `fabric gateway-token`
    secret_file = "/etc/fabric/secret"  # another; default: `scripts/up` makes one, and places it
    http = "http://127.0.0.1:9100"  # status pages: of frame nodes from this port on, of gateways from 100 above, of
                                    # keepers 200, of pages 300. A proxy has its own, 5 above its base
    http_token_file = "/etc/fabric/http"  # a token of mode 600 on each host, for the status pages that others may ask
    log_json = true                 # logs as lines of JSON
    restart = "on-failure"          # what ended is started again: "no", after a failure, or "always"
    keys = "keys"                   # folder of keys on this machine: `scripts/up` makes and places what is missing
    insecure = true                 # instead: proxies that other machines reach let everybody do everything
    runner = "ssh {host}"           # what runs a command on a host: `ip netns exec {host}` does as well
    ready_s = 30                    # after this time, a process that is not ready has failed
    grace_s = 10                    # from SIGTERM to SIGKILL

    [hosts.h1]                      # without hosts, everything runs on this machine; with hosts, they take turns
    address = "10.0.0.1"            # at which the others reach it; default: its name
    fabric = "/opt/fabric/bin/fabric"
    state = "/var/lib/fabric"       # folder there for logs and process ids

    [[proxies]]                     # instead of `proxies = 3`; every key may be left out
    name = "p1"
    host = "h1"
    listen = "tcp://10.0.0.1:5570"
    args = ["--drain", "20"]        # added to the command
    http = "off"                    # its status page
    restart = "always"
    env = { TZ = "UTC" }            # variables of its environment: in no list of processes

    [[keepers]]
    filters = ["truck/#"]           # what it keeps
    keeper = "keeper"               # under which it is asked; default: its name
    args = ["--for", "24h"]

    [[run]]                         # a command of your own, after all the others are ready
    name = "feed"
    command = "python3 feed.py"     # or a list of words; finds the proxies in FABRIC_CONNECT
    count = 2                       # feed1, feed2; which one it is, is in FABRIC_NUMBER
    folder = "/srv/feed"            # where it runs; default: here that of this file, on a host its state folder
    env = { TOKEN = "…" }
    restart = "on-failure"
    role = "node"                   # of its key, where there are keys
    ready = true                    # it prints {"event":"ready"} when it is; else it is when it runs

`[[frames]]` and `[[keepers]]` have store and store_file, too; `[[gateways]]` listen, agents, secret_file and
allow_origins; `[[pages]]` count. A node connects to the proxies of its host first, then to all others, so that it can
move.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nodes.deployment.checks import check_plan
from nodes.deployment.commands import commands_of
from nodes.deployment.description import check, hosts_of, seconds
from nodes.deployment.dressing import dressed
from nodes.deployment.process import Plan
from nodes.deployment.proxies import proxies_of
from nodes.deployment.services import frames_of, gateways_of, keepers_of, pages_of


def make(description: Mapping[str, Any], *, fabric: str, state: str, folder: str = "") -> Plan:
    """Return the plan of a description, see above; ValueError says what is wrong and what was expected.

    fabric: the command on this machine, and on hosts that name no other
    state:  the state folder on this machine, and on hosts that name no other
    folder: where commands of `[[run]]` run on this machine; empty: in the state folder
    """
    check({"fabric": fabric, "state": state}, "hosts")
    check(description, "")
    hosts = hosts_of(description, fabric, state)
    placed = proxies_of(description, hosts)
    proxies = [process for process, _ in placed]
    for each in (keepers_of, frames_of, gateways_of, pages_of):
        placed += each(description, hosts, proxies)
    placed += commands_of(description, hosts, proxies, folder)
    processes = tuple(dressed(placed, description))
    check_plan(processes, description)
    return Plan(
        processes, seconds(description, "ready_s", 30), seconds(description, "grace_s", 10), description.get("keys", "")
    )
