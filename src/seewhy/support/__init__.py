"""How files are written, how things are run, and how much fits in memory."""
