"""Wrong contact codes: counted for the agent who tried and for the frame node that was asked, and then no more taken.

A code that was somebody else's is wrong, too: its visitor does not allow the request, and it counts for the agent then.
Until that is known it counts as a wrong one would, so that nobody tries many codes at once.

A count belongs to a window that begins with its first wrong code; the next wrong code after its end begins another.
The agent's count does not end with its lease, so that signing in again does not help.

Rows of the same table hold the rest of an agent that was declined by a page: only `locked_until` says something there.
"""

from __future__ import annotations

import math

from sqlalchemy import bindparam, func, select, text, update

from fabric.errors import Busy, NotAllowed
from nodes.store.schema import agents, attempts, pages
from nodes.store.transaction import Transaction

_LOCKED_UNTIL = select(attempts.c.locked_until).where(attempts.c.who == bindparam("of_who"))
_WRONG = select(attempts.c.wrong).where(
    attempts.c.who == bindparam("of_who"), attempts.c.since > bindparam("window_begin")
)
_ASKING = (
    select(func.count())
    .select_from(pages)
    .where(pages.c.agent == bindparam("of_agent"), pages.c.cobrowse == "asked", pages.c.asked_by == "code")
)
_SINCE = select(agents.c.since).where(agents.c.agent == bindparam("of_agent"))
_COUNT = text(
    "INSERT INTO attempts (who, since, wrong, locked_until) VALUES (:who, :now, 1, 0)"
    " ON CONFLICT (who) DO UPDATE SET"
    " wrong = CASE WHEN attempts.since <= :window_begin THEN 1 ELSE attempts.wrong + 1 END,"
    " since = CASE WHEN attempts.since <= :window_begin THEN :now ELSE attempts.since END"
    " RETURNING wrong, since"
)
_LOCK = text(
    "INSERT INTO attempts (who, since, wrong, locked_until) VALUES (:who, :now, 0, :until)"
    " ON CONFLICT (who) DO UPDATE SET since = :now, locked_until = :until"
)
_LOCK_OUT = update(attempts).where(attempts.c.who == bindparam("of_who")).values(locked_until=bindparam("until"))


def check(tx: Transaction, agent: str, node: str) -> None:
    """Raise NotAllowed while the agent is locked out, or would be if what it asks by code now were all declined; Busy
    while the frame node has seen too many wrong codes, and the agent is new or has used some of them."""
    left_s = _locked_s(tx, f"agent {agent}")
    if left_s > 0:
        raise NotAllowed(f"too many wrong contact codes: this agent may try again in {math.ceil(left_s)} s")
    left_s = _locked_s(tx, f"node {node}")
    if left_s > 0 and not _is_known(tx, agent):
        raise Busy("too many wrong contact codes at this frame node; try again later", left_s)
    asking = int(tx.sql.execute(_ASKING, {"of_agent": agent}).scalar_one())
    if asking and asking + _wrong(tx, f"agent {agent}") >= tx.options.wrong_codes:
        raise NotAllowed(f"{asking} visitors whose contact codes were used have not answered yet; wait for them")


def count_wrong_code(tx: Transaction, agent: str, node: str) -> None:
    """Count one more wrong code, and lock out the agent or the frame node that has reached its limit."""
    options = tx.options
    count_declined(tx, agent)
    wrong, since = _count(tx, f"node {node}")
    if wrong >= options.node_wrong_codes:
        tx.sql.execute(_LOCK_OUT, {"of_who": f"node {node}", "until": since + options.window_s})


def count_declined(tx: Transaction, agent: str) -> None:
    """Count a code that was somebody else's, for the agent alone; lock it out when it has reached its limit."""
    wrong, _ = _count(tx, f"agent {agent}")
    if wrong >= tx.options.wrong_codes:
        tx.sql.execute(_LOCK_OUT, {"of_who": f"agent {agent}", "until": tx.now + tx.options.lockout_s})


def lock(tx: Transaction, who: str, until: float) -> None:
    """Lock `who` out until then, in seconds of the store's clock."""
    tx.sql.execute(_LOCK, {"who": who, "now": tx.now, "until": until})


def locked_until(tx: Transaction, who: str) -> float:
    """Return until when `who` is locked out, in seconds of the store's clock; 0 if it never was."""
    until = tx.sql.execute(_LOCKED_UNTIL, {"of_who": who}).scalar()
    return 0.0 if until is None else float(until)


def _is_known(tx: Transaction, agent: str) -> bool:
    """Say whether an agent was there before the present window, and has used no wrong code in it."""
    since = tx.sql.execute(_SINCE, {"of_agent": agent}).scalar()
    return since is not None and since <= tx.now - tx.options.window_s and not _wrong(tx, f"agent {agent}")


def _wrong(tx: Transaction, who: str) -> int:
    """Return the wrong codes in the present window."""
    counted = {"of_who": who, "window_begin": tx.now - tx.options.window_s}
    return int(tx.sql.execute(_WRONG, counted).scalar() or 0)


def _count(tx: Transaction, who: str) -> tuple[int, float]:
    """Count one; return the wrong codes in the present window, and when that began."""
    counting = {"who": who, "now": tx.now, "window_begin": tx.now - tx.options.window_s}
    wrong, since = tx.sql.execute(_COUNT, counting).one()
    return wrong, since


def _locked_s(tx: Transaction, who: str) -> float:
    """Return for how many more seconds `who` is locked out; 0 or less when it is not."""
    return locked_until(tx, who) - tx.now
