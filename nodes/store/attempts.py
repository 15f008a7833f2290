"""Wrong contact codes: counted for the agent who tried and for the frame node that was asked, and then no more taken.

A count belongs to a window that begins with its first wrong code; the next wrong code after its end begins another.
The agent's count does not end with its lease, so that signing in again does not help.
"""

from __future__ import annotations

import math

from sqlalchemy import bindparam, select, text, update

from fabric.errors import Busy, NotAllowed
from nodes.store.schema import attempts
from nodes.store.transaction import BaseTransaction

_LOCKED_UNTIL = select(attempts.c.locked_until).where(attempts.c.who == bindparam("of_who"))
_COUNT = text(
    "INSERT INTO attempts (who, since, wrong, locked_until) VALUES (:who, :now, 1, 0)"
    " ON CONFLICT (who) DO UPDATE SET"
    " wrong = CASE WHEN attempts.since <= :window_begin THEN 1 ELSE attempts.wrong + 1 END,"
    " since = CASE WHEN attempts.since <= :window_begin THEN :now ELSE attempts.since END"
    " RETURNING wrong, since"
)
_LOCK_OUT = update(attempts).where(attempts.c.who == bindparam("of_who")).values(locked_until=bindparam("until"))
_WRONG = select(attempts.c.wrong).where(attempts.c.who == bindparam("of_who"), attempts.c.since > bindparam("since"))


class AttemptOperations(BaseTransaction):
    """Counting wrong codes, and refusing those who tried too many."""

    def wrong_codes_at(self, node: str) -> int:
        """Return how many wrong codes the frame node `node` has seen in its present window."""
        since = self.now - self._options.window_s
        return int(self._sql.execute(_WRONG, {"of_who": f"node {node}", "since": since}).scalar() or 0)

    def _check_attempts(self, agent: str, node: str) -> None:
        """Raise NotAllowed while the agent is locked out, Busy while the frame node has seen too many wrong codes."""
        left_s = self._locked_s(f"agent {agent}")
        if left_s > 0:
            raise NotAllowed(f"too many wrong contact codes: this agent may try again in {math.ceil(left_s)} s")
        left_s = self._locked_s(f"node {node}")
        if left_s > 0:
            raise Busy("too many wrong contact codes at this frame node; try again later", left_s)

    def _count_wrong_code(self, agent: str, node: str) -> None:
        options = self._options
        wrong, _ = self._count(f"agent {agent}")
        if wrong >= options.wrong_codes:
            self._sql.execute(_LOCK_OUT, {"of_who": f"agent {agent}", "until": self.now + options.lockout_s})
        wrong, since = self._count(f"node {node}")
        if wrong >= options.node_wrong_codes:
            self._sql.execute(_LOCK_OUT, {"of_who": f"node {node}", "until": since + options.window_s})

    def _count(self, who: str) -> tuple[int, float]:
        counting = {"who": who, "now": self.now, "window_begin": self.now - self._options.window_s}
        wrong, since = self._sql.execute(_COUNT, counting).one()
        return wrong, since

    def _locked_s(self, who: str) -> float:
        until = self._sql.execute(_LOCKED_UNTIL, {"of_who": who}).scalar()
        return 0.0 if until is None else float(until) - self.now
