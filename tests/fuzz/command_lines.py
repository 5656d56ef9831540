"""Options and targets in any combination, with values that nobody should write."""

from __future__ import annotations

import random

from fuzz.case import MODEL, Case
from fuzz.draw import NAMES, NUMBERS, SPECS, TEXTS

FILES = {
    "model.py": MODEL,
    "package/__init__.py": "",
    "package/net.py": MODEL,
    "folder/x.txt": "text",
    "dir.py": "/",
    "link.py": "-> model.py",
    "broken.py": "-> nowhere.py",
    "loop.py": "-> loop.py",
    "pipe.py": "|",
    "bytes.py": "\udcff\udcfe\x00",
    "empty.py": "",
    "config.json": "{}",
    "outside/kept.txt": "kept",
    "out_link.txt": "-> outside/kept.txt",
    "out_broken.txt": "-> outside/new.txt",
}
TARGETS = (
    *("model.py", "model.py", "model.py", "model.py:Net", "model.py:model", "package.net", "package.net:Net", "link.py"),
    *("missing.py", "folder", "folder/", "model.py:", "model.py:nothing", "model.py:Net:x", "os:system", "", ".", "..", "-"),
    *("/dev/null", "pipe.py", "broken.py", "loop.py", "dir.py", "bytes.py", "empty.py", "config.json", "model.pyc", "~", "*"),
    *("a" * 5000, "model.py\n", "nul\x00.py", "package", "package.missing:Net", ":", "json:", "sys:exit", "\udcff.py"),
)  # fmt: skip
OUTPUTS = (
    *("out.txt", "out.txt", "folder/out.txt", "missing/out.txt", "folder", "/dev/full", "/dev/null", "out_link.txt", "", "-"),
    *("out_broken.txt", "loop.py", "a" * 300, "nul\x00", "outside/kept.txt", "pipe.py", ".", "\udcff.txt", "a\nb.txt"),
)  # fmt: skip
# What an option may be given; None for one without a value.
COMMON = {
    "--set": tuple(f"{n}={v}" for n in ("s", "h", "b", "f", "zz", "") for v in NUMBERS) + NAMES,
    "--input": SPECS,
    "--config": (
        "Net()",
        "Net(16, 32)",
        "1/0",
        "",
        "Net(",
        "raise SystemExit",
        "exit(3)",
        "lambda: 0",
        "'" * 3,
        "Net(h=9)",
    ),
    "--task": ("causal-lm", "x", "", "\x1b[0m"),
    "--dtype": ("bf16", "fp16", "fp32", "float64", "int8", "", "\x1b"),
    "--autocast": ("bf16", "fp16", "fp32", "x"),
    "--assume": (
        "experts=worst",
        "experts=balanced",
        "model.py:14=3",
        "model.py:0=x",
        "=",
        "x",
        "model.py:9" + "9" * 400 + "=1",
    ),
    "--device": ("cpu", "cuda", "tpu"),
    "--traceback": None,
}
OF_MACHINE = {
    "--gpu": ("h100", "a100", "b200", "H100", "rtx 4090", "zz", "", "\n"),
    "--torch": ("2.11", "2.13", "2.13.0", "1.0", "99.9", "x", "2", ""),
    "--cudnn": ("9.19", "8", "x", "-1", "9.20"),
    "--full-depth": None,
}
OPTIONS = {
    "analyze": COMMON | OF_MACHINE | {
        "--format": ("table", "json", "markdown", "html", "latex", "python", "xml"), "--ascii": None, "-o": OUTPUTS,
    },
    "fit": COMMON | OF_MACHINE | {
        "--solve": (*NAMES, "s", "b"), "--memory": ("80GiB", "1GB", "0", "-1GiB", "x", "9" * 400, "1e400GiB", "", "8 GiB"),
        "--reserve": ("1GiB", "0", "-1", "x"), "-o": OUTPUTS, "--format": ("table", "json", "x"),
    },
    "diff": {"--a": ("--set s=4", "--set", "'", "-h", "--nothing", "\x00"), "--b": ("--set s=9", "--dtype bf16", '"', "--set s=x"),
             "--both": ("--device cpu", "--gpu zz"), "-o": OUTPUTS, "--format": ("table", "json", "x"), "--traceback": None},
    "lint": COMMON | OF_MACHINE | {
        "--budget": ("1GiB", "0", "-1", "x", "9" * 400), "--at": COMMON["--set"], "--select": ("GM101", "GM", "x", "", "ALL"),
        "--ignore": ("GM1", "zz", "GM101,GM2"), "--threshold": ("0", "1%", "200%", "-1", "x", "nan%", "inf"),
        "--baseline": ("missing.json", "config.json", "folder", "pipe.py", "model.py"), "--pyproject": ("missing.toml", "model.py", "folder"),
        "--format": ("text", "json", "sarif", "github", "markdown", "x"), "-o": OUTPUTS,
    },
    "validate": COMMON | {
        "--sweep": ("s=4,8", "s=", "s=x", "zz=1", "s=4,8 b=1,2", "s=0", "s=-1", "s=" + "9" * 400), "--steps": ("1", "2", "0", "-1", "x", "9" * 30),
        "--format": ("table", "json"), "-o": OUTPUTS, "--svg": OUTPUTS,
    },
    "rule": {"--all": None},
}  # fmt: skip
WRITTEN = ("-o", "--svg")


def command_line(seed: int) -> Case:
    """One command with up to four options."""
    rng = random.Random(f"command line {seed}")
    command = rng.choice([*OPTIONS, "analyze", "lint", "fit"])
    options = OPTIONS[command]
    arguments: list[str] = [command]
    outputs: set[str] = set()
    for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 4))):
        name = rng.choice(list(options))
        arguments.append(name)
        values = options[name]
        if values is not None and rng.random() < 0.98:
            arguments.append(given := rng.choice(values))
            outputs |= {given} if name in WRITTEN else set()
    places = {"rule": ("GM101", "GM1", "zz", "", "\x1b", "materialized-attention")}.get(command, TARGETS)
    targets = [rng.choice(places) for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 2)))]
    at = rng.choice((1, len(arguments)))
    arguments[at:at] = targets
    if rng.random() < 0.05:
        arguments.insert(rng.randrange(len(arguments) + 1), rng.choice(TEXTS))
    return Case(kind="command_line", seed=seed, files=FILES, arguments=tuple(arguments), outputs=frozenset(outputs))
