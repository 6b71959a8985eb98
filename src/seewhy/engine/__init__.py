"""Recorded forward passes, and fast inference on many variants of a picture."""
