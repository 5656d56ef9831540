"""Modules that the caller holds: after the library call, whatever came out of it, they are as they were."""

from __future__ import annotations

import random

from fuzz.case import Case
from fuzz.model_files import IN_FORWARD, INITS, RAISES, RESULTS, TEMPLATE

BUILD = """
def build():
    return model(), inputs()
"""


def module(seed: int) -> Case:
    """A module that has run for real, or not, with something odd in its forward."""
    rng = random.Random(f"module {seed}")
    parts = dict.fromkeys(("top", "before", "model", "inputs"), "pass")
    parts |= {
        "init": rng.choice(("pass", "pass", *INITS)),
        "after": rng.choice(IN_FORWARD),
        "loss": "",
        "made": "Net(h)",
    }
    if rng.random() < 0.3:
        parts["after"] += "; " + rng.choice(RAISES).replace("raise StopIteration", "1/0")
    parts |= {"result": rng.choice(("y", "y", *RESULTS)), "given": "(torch.randn(b, s, h),)"}
    parts["model"] = rng.choice(("pass", "torch.manual_seed(3)"))
    return Case(
        kind="module",
        seed=seed,
        files={"model.py": TEMPLATE.format(**parts) + BUILD},
        arguments=("model.py",),
        library=True,
    )
