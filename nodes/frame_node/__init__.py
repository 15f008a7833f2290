"""The frame node: the service that manages contact codes, co-browsing and chat."""
