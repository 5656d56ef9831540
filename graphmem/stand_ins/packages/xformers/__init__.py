"""Stands in for xformers 0.0.35 where it is not installed."""

__version__ = "0.0.35"
