"""Networks as they are: layers, grids, addresses, hooks and edits."""
