"""The checks of `selfcheck`, one module for each property of a network that methods rely on."""
