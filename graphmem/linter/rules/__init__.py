"""One file per rule; `graphmem.linter.rule` says what is in each."""
