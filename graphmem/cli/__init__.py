"""The command line.

    options.py   every command with its options; what `--help` shows
    run.py       what each command does, and its exit code
    settings.py  [tool.graphmem] in pyproject.toml, for `graphmem lint`
    files.py     files and standard output: all of the content, or none of it

Nothing here imports torch before a command needs it.
"""

from graphmem.cli.run import main

__all__ = ["main"]
