"""Ctrl-C at any moment: the command ends, says so, and leaves nothing."""

from __future__ import annotations

import random
from dataclasses import replace

from fuzz.case import ANY, MODEL, Case
from fuzz.model_files import IN_FORWARD, SETTINGS, TEMPLATE
from fuzz.modules import module


def interrupt(seed: int) -> Case:
    """An analysis, a lint or a library call, interrupted within its first quarter of a second."""
    rng = random.Random(f"interrupt {seed}")
    after = rng.random() ** 2 * 0.25
    if rng.random() < 0.3:
        return replace(module(seed), kind="interrupt", interrupt=after, codes=ANY)
    parts = dict.fromkeys(("top", "init", "before", "after", "model", "inputs"), "pass")
    parts |= {"result": "y", "made": "Net(h)", "given": "(torch.randn(b, s, h),)", "loss": ""}
    parts[rng.choice(("top", "init", "before", "model", "inputs"))] = rng.choice(SETTINGS)
    parts["after"] = rng.choice(IN_FORWARD)
    text = rng.choice((MODEL, TEMPLATE.format(**parts)))
    command = rng.choice(("analyze", "analyze", "lint"))
    output = rng.choice(((), (), ("-o", "out.txt")))
    return Case(
        kind="interrupt",
        seed=seed,
        files={"model.py": text},
        arguments=(command, "model.py", *output),
        outputs=frozenset(output[1:]),
        interrupt=after,
    )
