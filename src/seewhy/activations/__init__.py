"""Activations read from a network, and the pictures in which they are highest."""
