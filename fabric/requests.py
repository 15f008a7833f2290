"""Request and reply over the fabric: a service is found by its name, and asked within a deadline.

    from fabric.requests import Client, Server, each

    with Server(node, "clock", each(lambda request: time.time())):     # in one process, or in several
        ...
    with Client(node) as client:                                       # in another
        client.request("clock", "now", deadline_s=2.0)

Errors that a handler raises come back as what they were: `Busy`, `NotAllowed`, `StateError` and so on. A request that
was not answered in time may have been done all the same; with the same `key` it can be asked again, and one server does
it once.

Reading order: `fabric.directory` (who is there), `fabric.replies` (the shapes), `fabric.calls` (what a client decides),
`fabric.ledger` (what a server decides), all pure; then `fabric.presence`, `fabric.server`, `fabric.client`.
"""

from fabric.client import Client
from fabric.directory import Instance
from fabric.replies import Request
from fabric.server import BatchHandler, Server, each

__all__ = ["BatchHandler", "Client", "Instance", "Request", "Server", "each"]
