"""Inputs made at random, and whether what the README and docs/security.md promise holds for them.

case.py           a case: files, a command line, and the exit codes that are right
draw.py           odd values to draw from: numbers, names, texts, JSON
command_lines.py  options and targets in any combination
configs.py        a config.json with something wrong in it
saved.py          saved reports and baselines with something wrong in them
pyprojects.py     settings in pyproject.toml
model_files.py    models that raise, change settings, return odd things, or keep tensors
modules.py        modules that the caller holds, analysed by the library call
interrupts.py     Ctrl-C at any moment

state.py          what a process has that an analysis might change
judge.py          runs a case, and says what is wrong with what came out
fuzz.py           by hand: many cases in several processes, with a limit on time
found/            cases that once went wrong, as files
"""
