"""The errors that only site-connect has. They travel by their names, see `register_error`. Pure."""

from __future__ import annotations

import re

from fabric.errors import NotAllowed, ServiceError
from fabric.services.messages import register_error


@register_error
class UnknownContactCode(ServiceError):
    """No live page holds this contact code."""


@register_error
class LeaseExpired(ServiceError):
    """The lease that this request relied on has run out."""


@register_error
class AskedTooSoon(NotAllowed):
    """This agent may not ask this visitor again yet. The message ends with the time that is left: `in 12 s`."""

    @property
    def retry_after_s(self) -> int:
        """How many seconds are left, in whole ones; 0 if the message does not say so."""
        found = re.search(r"in (\d{1,6}) s$", str(self))
        return int(found[1]) if found else 0
