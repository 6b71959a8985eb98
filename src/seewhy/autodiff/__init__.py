"""One forward pass, many backward passes: the tape, the operations it records and their rules."""
