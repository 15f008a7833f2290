"""Idempotency keys: a request that comes again, at whichever frame node, gets the reply it had, and does nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import delete, select, text, update
from sqlalchemy.sql import bindparam

from fabric.errors import FabricError, NotAllowed
from nodes.rules.errors import UnknownContactCode
from nodes.store import schema
from nodes.store.transaction import Transaction

Reply = dict[str, Any]

_CLAIM_KEY = text(
    "INSERT INTO replies (key, digest, reply, until) VALUES (:key, :digest, '', :until)"
    " ON CONFLICT (key) DO UPDATE SET digest = excluded.digest, reply = '', until = excluded.until"
    " WHERE replies.until <= :now RETURNING key"
)
_IS_KEY = schema.replies.c.key == bindparam("of_key")
_FIND_REPLY = select(schema.replies.c.digest, schema.replies.c.reply).where(_IS_KEY)
_SAVE_REPLY = update(schema.replies).where(_IS_KEY).values(reply=bindparam("reply"))
_DROP_REPLY = delete(schema.replies).where(_IS_KEY)


def once(tx: Transaction, key: str, request: Mapping[str, Any], operation: Callable[[], Reply]) -> Reply:
    """Run `operation` and keep its reply under `key`; for the same key again, return that reply and do nothing.

    key:      chosen by the sender, random
    request:  what was asked, as JSON values; the same key with another request is NotAllowed
    errors:   those of `operation`. A wrong code is kept like a reply, since it has cost an attempt; other refusals
              are not, so that the same request can be tried again
    cost:     one statement, and a share of another. The key is claimed first, so that of two frame nodes that have
              it one waits for the other
    """
    digest = digest_of(request)
    if not tx.expected.take_key(key):
        claim = {"key": key, "digest": digest, "until": tx.now + tx.options.reply_s, "now": tx.now}
        if tx.sql.execute(_CLAIM_KEY, claim).first() is None:
            return _kept(tx, key, digest)
    try:
        reply = operation()
    except UnknownContactCode as error:
        tx.new_replies[key] = json.dumps({"unknown_contact_code": str(error)})
        raise
    except FabricError:
        drop(tx, [key])
        raise
    tx.new_replies[key] = json.dumps({"reply": reply})
    return reply


def write_new(tx: Transaction) -> None:
    """Write the replies to be kept, in one statement.

    A reply whose request was rolled back to its savepoint has lost its key, and is written nowhere.
    """
    if tx.new_replies:
        rows = [{"of_key": key, "reply": reply} for key, reply in tx.new_replies.items()]
        tx.new_replies = {}
        tx.sql.execute(_SAVE_REPLY, rows)


def drop(tx: Transaction, keys: Iterable[str]) -> None:
    """Give claimed keys back, as if nobody had asked with them."""
    rows = [{"of_key": key} for key in keys]
    if rows:
        tx.sql.execute(_DROP_REPLY, rows)


def digest_of(request: Mapping[str, Any]) -> str:
    """Return what stands for a request in the table of replies: equal for equal JSON values."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _kept(tx: Transaction, key: str, digest: str) -> Reply:
    write_new(tx)  # the first request may be in this very transaction
    row = tx.sql.execute(_FIND_REPLY, {"of_key": key}).one()
    if row.digest != digest:
        raise NotAllowed(f"idempotency key {key!r} has been used for another request; each request needs its own")
    kept = json.loads(row.reply)
    if "unknown_contact_code" in kept:
        raise UnknownContactCode(kept["unknown_contact_code"])
    reply: Reply = kept["reply"]
    return reply
