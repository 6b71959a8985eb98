"""Read activations from a network, and find the pictures that activate each channel most."""
