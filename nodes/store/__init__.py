"""The frame nodes' store: page sessions, agents and codes in SQLite or PostgreSQL."""
