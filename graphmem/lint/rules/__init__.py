"""One file per rule; `graphmem.lint.rule` says what is in each."""
