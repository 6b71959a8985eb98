"""The `Model` class, and the layers, spatial grids, addresses, hooks and edits of networks."""
