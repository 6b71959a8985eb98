"""Writing files atomically, run settings, and batch sizes that fit into memory."""
