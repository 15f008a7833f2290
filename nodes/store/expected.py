"""What was prepared in a transaction for the grants that follow in it. Pure: `grants` fills it, `finish` empties it.

A grant takes from here what it would otherwise ask the database for. Without preparation all is empty, and each grant
asks for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Expected:
    """Each part is taken at most once. What is left at the end of the transaction must be given back.

    keys:   idempotency keys whose rows in `replies` this transaction has claimed and not answered; `replies.once`
            takes its key from here
    absent: sessions that had no row in `pages`, and got none since; `rows.find_page` takes its session from here, so
            the second look at one asks the database
    codes:  codes whose rows in `codes` this transaction has claimed, and which no page holds; `codes.draw` takes one.
            At most as many as there are places left
    """

    keys: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    codes: list[str] = field(default_factory=list)

    @property
    def more_pages(self) -> bool:
        """Whether new pages may follow that can be written together with those that have begun."""
        return bool(self.absent or self.codes)

    def take_key(self, key: str) -> bool:
        """Say whether `key` is claimed already; a second time it is not."""
        if key not in self.keys:
            return False
        self.keys.discard(key)
        return True

    def take_absent(self, session: str) -> bool:
        """Say whether the page is known to be new; a second time it is not."""
        if session not in self.absent:
            return False
        self.absent.discard(session)
        return True

    def take_code(self) -> str | None:
        """Return a code that nobody holds; None when all that were prepared are taken."""
        return self.codes.pop() if self.codes else None
