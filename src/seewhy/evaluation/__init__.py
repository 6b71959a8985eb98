"""Evaluate explanations: selectivity, sufficiency and similarity."""
