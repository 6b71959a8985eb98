"""Measurements of explanations: selectivity, sufficiency, similarity."""
