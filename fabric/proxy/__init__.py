"""The proxy: the process that carries streams, and its membership in the mesh."""
