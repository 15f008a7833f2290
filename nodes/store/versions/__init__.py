"""The steps between versions of the frame nodes' store, for Alembic."""
