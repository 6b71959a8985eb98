"""Record one forward pass and run many backward passes: tape, recorded operations and rules."""
