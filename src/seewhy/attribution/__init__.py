"""Which parts of the picture an answer depends on: methods in, explanations out."""
