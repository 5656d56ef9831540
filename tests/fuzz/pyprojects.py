"""Settings in pyproject.toml: of the right name with odd values, of wrong names, and text that is no TOML."""

from __future__ import annotations

import json
import random

from fuzz.case import Case
from fuzz.configs import BASES, EVIL
from fuzz.draw import NAMES, TEXTS
from fuzz.saved import WASTEFUL

KEYS = (
    *("targets", "budget", "select", "extend-select", "ignore", "threshold", "baseline", "at", "set", "input", "config", "task"),
    *("dtype", "autocast", "assume", "gpu", "device", "torch", "cudnn", "full-depth", "trust-remote-code", "format", "output"),
)  # fmt: skip
VALUES = (
    *('"model.py"', '["model.py"]', '["config.json"]', "[]", "{}", "1", "-1", "true", "1.5", '""', '"GM101"', '["GM1", "x"]'),
    *('"1GiB"', '"bf16"', '"h100"', '{ s = 4 }', '{ s = "4" }', '"Net()"', '"2.13"', "nan", "1979-05-27", '"""\n"""', "[[1]]"),
    *('"../outside.py"', '"/etc/passwd"', '["*.py"]', '"cpu"', '"open(\'RAN\', \'w\')"', "0x10", "9" * 400, '{ "\\u001b" = 1 }'),
)  # fmt: skip


def pyproject(seed: int) -> Case:
    """`lint` in a folder with settings."""
    rng = random.Random(f"pyproject {seed}")
    table = rng.choice(
        ("[tool.graphmem]", "[tool.graphmem]", "[tool.graphmem]", "[[tool.graphmem]]", "[tool]\ngraphmem = 1\n[x]")
    )
    lines = [table]
    for _ in range(rng.choice((0, 1, 2, 3))):
        text = rng.choice(VALUES) if rng.random() < 0.8 else json.dumps(rng.choice(TEXTS))
        name = rng.choice(KEYS) if rng.random() < 0.9 else json.dumps(rng.choice(NAMES))
        # For a Python file `config` is an expression, and what it does was asked for.
        lines.append(f"{name} = {text if name != 'config' or 'RAN' not in text else 'true'}")
    text = "\n".join(lines) + "\n"
    if rng.random() < 0.15:
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(("\x00", "\udcff", "=", "[", '"', "\r", "#")) + text[at:]
    evil = {**BASES[0], "auto_map": {"AutoConfig": "evil.Evil"}, "model_type": "evil"}
    files = {"model.py": WASTEFUL, "config.json": json.dumps(evil), "evil.py": EVIL, "pyproject.toml": text}
    targets = rng.choice(([], ["model.py"], ["config.json"], ["model.py", "model.py"]))
    return Case(kind="pyproject", seed=seed, files=files, arguments=("lint", *targets))
