"""The command line: options, commands, and the files that they write."""

from graphmem.cli.run import main

__all__ = ["main"]
