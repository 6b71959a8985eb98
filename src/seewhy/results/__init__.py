"""The base class of all results, with save, load, summary, show and to_dict."""

from seewhy.results.base import SUFFIXES, Result, load

__all__ = ["SUFFIXES", "Result", "load"]
