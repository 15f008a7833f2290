"""From one version of a schema to the next, by Alembic: for every store of this project.

A package with a store has a folder `versions`, with one file for each step between two versions. A new database gets
its tables at once, from the package's metadata; an older one is brought up by the steps that are missing, all within
the transaction in which it is opened: of two nodes that start at once one waits for the other. A node of the version
before must not run on the same store then.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, MetaData

_ONE_AT_A_TIME = threading.Lock()
"""Alembic's `op`, which the steps use, is one for the whole process."""


class Migrations:
    """The versions of one schema.

    package:  the one that has the folder `versions`
    metadata: the tables of the newest version
    table:    the one in which Alembic keeps the version of the database
    """

    def __init__(self, package: str, metadata: MetaData, table: str = "alembic_version") -> None:
        self._package, self._metadata, self._table = package, metadata, table

    def versions(self) -> list[str]:
        """Return all versions, the newest first."""
        return [step.revision for step in self._script().walk_revisions()]

    def bring_up(self, connection: Connection, before: str | None = None) -> None:
        """Make the tables of a new database, or bring those of an older one up.

        before: the version of a database that was made before Alembic kept it there; None: it is new then
        errors: ValueError for a version that is not known here
        """
        script = self._script()

        def steps(revision: str | tuple[str, ...], _: MigrationContext) -> Iterable[Any]:
            return script._upgrade_revs("head", revision or None)  # type: ignore[arg-type]

        with _ONE_AT_A_TIME:
            context = MigrationContext.configure(connection, opts={"version_table": self._table, "fn": steps})
            if context.get_current_revision() is None:
                if before is None:
                    self._metadata.create_all(connection)
                context.stamp(script, before or "head")
            try:
                with Operations.context(context):
                    context.run_migrations()
            except CommandError as error:
                found = context.get_current_revision()
                newest = script.get_current_head()
                raise ValueError(f"the store has schema version {found}; this program knows {newest} only") from error

    def _script(self) -> ScriptDirectory:
        file = importlib.import_module(self._package).__file__
        assert file is not None
        folder = Path(file).parent
        return ScriptDirectory(str(folder), version_locations=[str(folder / "versions")])
