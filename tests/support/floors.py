"""The rooms of graphmem, by floor: docs/how_it_works.md shows them, and tests/test_layers.py holds imports to them."""

# From the ground up. Rooms on one floor stand side by side: neither knows the other.
FLOORS = [
    {"version", "errors", "patches", "points"},
    {"units"},
    {"record", "machine", "stand_ins"},
    {"usercode", "how"},
    {"kernels", "accounts"},
    {"trace", "symbolic"},
    {"load", "attention", "report"},
    {"render"},
    {"analysis"},
    {"linter", "validation"},
    {"pytest_plugin", "cli"},
    {"__init__", "__main__"},
]
