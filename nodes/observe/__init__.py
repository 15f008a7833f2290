"""What an operator asks a running mesh: announcements, ping, why, top."""
