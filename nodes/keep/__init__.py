"""Keepers: nodes that write histories to a store, and serve them."""
