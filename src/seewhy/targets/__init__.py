"""What is explained, visualised or edited towards, and the number that answers it."""
