"""The version, by itself: whoever writes it into a file need not import the package's surface."""

__version__ = "0.1.0"
