"""A recorded forward pass, and the network as fast as it runs on many variants of a picture."""
