"""Recordings: messages in a file, with the times to play them again."""
