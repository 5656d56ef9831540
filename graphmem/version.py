"""The version, by itself: code that writes it into a file need not import the whole package."""

__version__ = "0.1.0"
