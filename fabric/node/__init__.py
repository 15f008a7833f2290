"""The node: publisher and subscriber, in one I/O thread, and its asyncio twin."""
