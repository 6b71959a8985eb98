"""Results as values: save, load, summary, show and to_dict, written once."""

from seewhy.results.base import SUFFIXES, Result, load

__all__ = ["SUFFIXES", "Result", "load"]
