"""Announcements of a real mesh, as they come, until a deadline."""

from __future__ import annotations

import time

from fabric import Node
from nodes.observe.announcements import announcements
from nodes.observe.mesh_view import MeshView
from tests.support.processes import ProxyProcess


def test_they_fill_a_view_and_end_in_time(mesh: list[ProxyProcess]) -> None:
    view, end = MeshView(), time.monotonic() + 3.0
    with Node(mesh[0].base) as node:
        for _ in announcements(node, view, end):
            if view.is_complete():
                break
    assert view.names == ["p1", "p2"]


def test_a_deadline_that_is_over_brings_nothing(mesh: list[ProxyProcess]) -> None:
    view = MeshView()
    with Node(mesh[0].base) as node:
        assert list(announcements(node, view, time.monotonic())) == []
    assert not view.names
