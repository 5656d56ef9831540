"""What `graphmem validate` found (tests/truth), as tables for docs/accuracy.md."""

import gzip
import json
from functools import cache
from itertools import groupby

from graphmem.units import human
from support.repo import TRUTH

PLAIN = "bf16"
FEW = 12  # models that are named
DECODER = "--set s_decoder=128"  # the length of the target, where there is one
SETTINGS = {
    "": PLAIN,
    "--dtype fp16": "fp16",
    "--dtype fp32": "fp32",
    "--dtype fp32 --autocast bf16": "autocast",
    "--set attn_implementation=eager": "eager",
    "--dtype fp32 --autocast bf16 --set attn_implementation=eager": "eager, autocast",
    "--set gradient_checkpointing=true": "checkpointed",
    "--dtype fp32 --autocast bf16 --set gradient_checkpointing=true": "checkpointed, autocast",
    "ckpt_reentrant": "reentrant",
    "lora": "LoRA",
}


@cache
def samples():
    """stem -> content of each file of validate_sweeps.py, the GPUs' first."""
    files = sorted((TRUTH / "validated").glob("*.json"), key=lambda f: (not f.stem.startswith("cuda_"), f.stem))
    return {file.stem: json.loads(file.read_text()) for file in files}


@cache
def many():
    """h200 and cpu -> content of the file of validate_models.py, where it was measured."""
    return {stem: packed(file) for stem in ("h200", "cpu") if (file := TRUTH / f"{stem}_validated.json.gz").exists()}


def packed(file):
    with gzip.open(file, "rt") as content:
        return json.load(content)


# -- runs and points ---------------------------------------------------------------------------------------------------


def points_of(runs):
    """Every point that was measured."""
    return [p for run in runs if "result" in run for p in run["result"]["points"] if p["measured"] is not None]


def off(point, what):
    return point["measured"][what] - point["predicted"][what]


def worst(values) -> str:
    return f"{max(values, key=abs, default=0):,}"


def words(machine) -> str:
    cudnn = machine["cudnn"]
    version = f", cuDNN {cudnn // 10000}.{cudnn // 100 % 100}" if cudnn else ""
    return f"{machine['device']}, torch {machine['torch'].partition('+')[0]}{version}"


def said_of(runs) -> str:
    """How much was measured, and how much of it is as predicted."""
    points = points_of(runs)
    storages = sum(p["measured"]["storages"] for p in points)
    saved = human(sum(p["measured"]["saved"] for p in points))
    return (
        f"{sum('result' in run for run in runs)} runs, {len(points)} points, {storages:,} saved storages of {saved} "
        f"together: at {sum(p['exact'] for p in points)} points every one of them as predicted."
    )


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


COUNTED = ("points", "storages", "largest saved", "saved off")
BY_ALLOCATOR = ("requested off", "allocated over rounding", "unexplained")


def _numbers(runs, gpu):
    """The columns of COUNTED, and on a GPU those of BY_ALLOCATOR."""
    points = points_of(runs)
    wanted = sum(len(run["result"]["points"]) for run in runs if "result" in run)
    found = [
        f"{sum(p['exact'] for p in points)} of {wanted}",
        f"{sum(p['measured']['storages'] for p in points):,}",
        human(max((p["measured"]["saved"] for p in points), default=0)),
        worst(off(p, "saved") for p in points),
    ]
    if gpu:
        found += [
            worst(off(p, "requested") for p in points),
            worst(off(p, "allocated") for p in points),
            worst(off(p, "allocated") - p["measured"]["unsplit"] for p in points),
        ]
    return found


def _heads(gpu):
    return [*COUNTED, *(BY_ALLOCATOR if gpu else ())]


def _over(runs):
    """s=16,32 b=1,4"""
    first = next(run["result"] for run in runs if "result" in run)
    values = {n: sorted({p["point"][n] for p in first["points"]}) for n in first["swept"]}
    return " ".join(f"{name}={','.join(map(str, found))}" for name, found in values.items())


def not_run(runs):
    """Runs and points without a measurement, with the reason."""
    reasons = {}
    for run in runs:
        name = f"`{run['target']}` {run['options']}".strip()
        if "error" in run:
            reasons.setdefault(run["error"].splitlines()[0], []).append(name)
        for point in run["result"]["points"] if "result" in run else ():
            if point["failed"]:
                reasons.setdefault(point["failed"].splitlines()[0], []).append(name)
    return "\n".join(f"- not measured: {', '.join(dict.fromkeys(names))}: {why}" for why, names in reasons.items())


def _joined(*parts):
    return "\n\n".join(part for part in parts if part)


# -- tables ------------------------------------------------------------------------------------------------------------


def samples_table(contents):
    """A table for each machine, a row for each run of a sample."""
    parts = []
    for machine, group in groupby(contents.values(), key=lambda c: c["machine"]):
        runs = [{**run, "target": content["target"]} for content in group for run in content["runs"]]
        gpu = machine["device"] != "CPU"
        rows = [
            [f"`{run['target']}`", _quoted(run["options"]), _over([run]), *_numbers([run], gpu)]
            for run in runs
            if "result" in run
        ]
        heads = ["target", "options", "over", *_heads(gpu)]
        parts += [f"### {words(machine)}", said_of(runs), table(heads, rows), not_run(runs)]
    return _joined(*parts)


def settings_table(content):
    """A row for each setting under which architectures of transformers ran."""
    groups = {}
    for run in content["runs"]:
        if setting(run):
            groups.setdefault(setting(run), []).append(run)
    gpu = content["machine"]["device"] != "CPU"
    rows = [
        [name, _models(runs), *_numbers(runs, gpu)]
        for name, runs in ((name, groups[name]) for name in SETTINGS.values() if name in groups)
        if points_of(runs)
    ]
    everything = [run for runs in groups.values() for run in runs]
    return _joined(said_of(everything), table(["setting", "models", *_heads(gpu)], rows), not_run(everything))


def _models(runs):
    names = list(dict.fromkeys(name_of(run) for run in runs if "result" in run))
    return ", ".join(names) if len(names) <= FEW else f"{len(names)} architectures"


def others_table(content):
    """Files that know nothing of graphmem, and models of timm."""
    runs = [run for run in content["runs"] if run["kind"] == "file" or run["target"].startswith("timm:")]
    gpu = content["machine"]["device"] != "CPU"
    rows = [
        [f"`{run['target']}`", _quoted(run["options"]), _over([run]), *_numbers([run], gpu)]
        for run in runs
        if "result" in run
    ]
    return _joined(said_of(runs), table(["target", "options", "over", *_heads(gpu)], rows), not_run(runs))


def _quoted(options) -> str:
    return f"`{options.strip()}`" if options.strip() else ""


def name_of(run):
    """llama, of an entry for llama AutoModelForCausalLM."""
    return run["target"].split()[0]


def setting(run):
    """Its name; None of what is no setting of its own."""
    options = run["options"].replace(DECODER, "").strip()
    if run["kind"] in ("config", "row") and options in SETTINGS and not run["target"].startswith("timm:"):
        return SETTINGS[options]
    return PLAIN if run["kind"] == "config" else None  # sizes that a config needs
