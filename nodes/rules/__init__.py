"""The rules of site-connect, pure: machines as tables, back-off, contact codes."""
