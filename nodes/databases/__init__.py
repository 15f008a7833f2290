"""What every store stands on: opening SQLite and PostgreSQL, and bringing an older schema up."""
