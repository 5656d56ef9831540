"""Saved reports and baselines with something wrong in them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from fuzz.case import MODEL, Case
from fuzz.draw import FORMULAS, mutated, written

# With something for lint to find.
WASTEFUL = MODEL.replace("torch.relu(self.up(x))", "torch.exp(self.up(x).float()).softmax(-1).to(x.dtype)")


@cache
def _made(command: str, *arguments: str) -> Any:
    """What graphmem itself writes into the file `made.json`."""
    from graphmem.cli import main

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        Path(folder, "model.py").write_text(WASTEFUL)
        os.chdir(folder)
        try:
            main([command, "model.py", *arguments])
            return json.loads(Path("made.json").read_text())
        finally:
            os.chdir(before)


def _with_formulas(rng: random.Random, tree: Any) -> Any:
    """Some texts are exchanged for formulas."""
    if isinstance(tree, dict):
        return {k: _with_formulas(rng, v) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_with_formulas(rng, v) for v in tree]
    return rng.choice(FORMULAS) if isinstance(tree, str) and rng.random() < 0.05 else tree


def report(seed: int) -> Case:
    """`diff` of a report with something wrong in it."""
    rng = random.Random(f"report {seed}")
    whole = _made("analyze", "--format", "json", "-o", "made.json")
    tree = _with_formulas(rng, whole) if rng.random() < 0.5 else mutated(rng, whole, rng.choice((1, 1, 2, 5)))
    files = {"model.py": WASTEFUL, "saved.json": written(rng, tree), "other.json": json.dumps(whole)}
    pair = rng.choice(
        (["saved.json", "other.json"], ["other.json", "saved.json"], ["saved.json"], ["saved.json", "model.py"])
    )
    options = rng.choice(([], [], ["--format", "json"], ["--b", "--set s=9"]))
    return Case(kind="report", seed=seed, files=files, arguments=("diff", *pair, *options))


def baseline(seed: int) -> Case:
    """`lint` with a baseline that has something wrong in it, which it may be asked to write again."""
    rng = random.Random(f"baseline {seed}")
    tree = mutated(rng, _made("lint", "--baseline", "made.json", "--write-baseline"), rng.choice((0, 1, 1, 2, 5)))
    arguments = ["lint", "model.py", "--baseline", "saved.json"]
    again = rng.random() < 0.2
    return Case(
        kind="baseline",
        seed=seed,
        files={"model.py": WASTEFUL, "saved.json": written(rng, tree)},
        arguments=(*arguments, *(["--write-baseline"] if again else [])),
        outputs=frozenset({"saved.json"} if again else ()),
    )
