"""ZeroMQ contexts that the nodes of one process share: each has an I/O thread, which costs more than it is used.

A node leases one when it is made and gives it back when it is closed; the last one ends it. In a forked child there is
none: contexts do not survive a fork.
"""

from __future__ import annotations

import os
import threading

from fabric import sockets

NODES_A_CONTEXT = 16
"""So many nodes share an I/O thread at most; then there is another one."""
SOCKETS_A_NODE = 16
"""Room for them; a node has up to ten, while it moves."""


class Contexts:
    """The contexts of one process. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        """Guards `_users`. A destructor may close a node while its thread makes one."""
        self._users: dict[sockets.Context, int] = {}
        """Nodes that have leased it and not given it back, 1 to `NODES_A_CONTEXT`, for each context that lives."""

    def lease(self) -> sockets.Context:
        """Return a context that has room for one node more, or a new one."""
        with self._lock:
            context = next((each for each, users in list(self._users.items()) if users < NODES_A_CONTEXT), None)
            if context is None:
                context = sockets.new_context(max_sockets=NODES_A_CONTEXT * SOCKETS_A_NODE)
            self._users[context] = self._users.get(context, 0) + 1
            return context

    def give_back(self, context: sockets.Context) -> None:
        """The node has closed its sockets; with the last one the context ends."""
        with self._lock:
            self._users[context] -= 1
            if self._users[context]:
                return
            del self._users[context]
        context.term()


_contexts = Contexts()


def of_this_process() -> Contexts:
    """Those of the running process."""
    return _contexts


def _after_fork_in_child() -> None:
    global _contexts
    _contexts = Contexts()


os.register_at_fork(after_in_child=_after_fork_in_child)
