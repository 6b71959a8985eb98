"""Synthesise pictures: what a unit responds to most, and what a representation preserves."""
