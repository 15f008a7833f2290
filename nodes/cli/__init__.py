"""The `fabric` command; one module a command."""
