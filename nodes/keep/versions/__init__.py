"""The steps between versions of a keeper's store, for Alembic."""
