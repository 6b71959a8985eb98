"""Results as values: save, summary, show, to_dict and load, written once."""
