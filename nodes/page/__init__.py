"""A visitor's page: its core, its Python half (hosted page), and the host of many pages."""
