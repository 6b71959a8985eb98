"""Targets: the scores that are explained, visualised or edited towards."""
