"""Channels inside a network: which of them an answer depends on, and which of them suffice."""
