"""An agent who joins pages by code: its core, and the node around it."""
