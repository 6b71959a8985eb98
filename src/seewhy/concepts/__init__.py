"""Channels of hidden layers: which ones a prediction depends on, and which ones suffice."""
