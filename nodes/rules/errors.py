"""The errors that only site-connect has. They travel by their names, see `register_error`. Pure."""

from __future__ import annotations

from fabric.errors import ServiceError
from fabric.services.messages import register_error


@register_error
class UnknownContactCode(ServiceError):
    """No live page holds this contact code."""


@register_error
class LeaseExpired(ServiceError):
    """The lease that this request relied on has run out."""
