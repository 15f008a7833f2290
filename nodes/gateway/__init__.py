"""The gateway: browsers in, over WebSockets, to pages and agents on the fabric."""
