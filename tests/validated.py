"""The files of tests/truth/validated as a section and figures of docs/validate.md."""

import json
from itertools import groupby

from conftest import HERE

from graphmem.units import human
from graphmem.validate.plot import Row, chart
from graphmem.validate.svg import Panel, Series, drawn

FOLDER = HERE / "truth" / "validated"
FIGURES = "gpt2", "llama", "megatron_layer", "hf_llama"
ISSUE = "issue_899.svg"
GIB, MIB = 2**30, 2**20


def results():
    """stem -> content of each file, the GPUs' first."""
    files = sorted(FOLDER.glob("*.json"), key=lambda f: (not f.stem.startswith("cuda_"), f.stem))
    return {file.stem: json.loads(file.read_text()) for file in files}


# -- the table ---------------------------------------------------------------------------------------------------------


def section(contents):
    """The tables, one for each machine, and the figures."""
    parts = []
    for machine, group in groupby(contents.values(), key=lambda c: c["machine"]):
        group = list(group)
        parts += [f"### {_words(machine)}", _summary(group), _table(group), _not_run(group)]
    parts += [f"![{name}](figures/{name})" for name in figures(contents)]
    return "\n\n".join(part for part in parts if part)


def _words(machine):
    cudnn = machine["cudnn"]
    version = f", cuDNN {cudnn // 10000}.{cudnn // 100 % 100}" if cudnn else ""
    return f"{machine['device']}, torch {machine['torch'].partition('+')[0]}{version}"


def _runs(group):
    return [(c["target"], run) for c in group for run in c["runs"]]


def _points(run):
    return [p for p in run["result"]["points"] if p["measured"] is not None]


def _summary(group):
    done = [run for _, run in _runs(group) if "result" in run]
    points = [p for run in done for p in _points(run)]
    exact = sum(p["exact"] for p in points)
    storages = sum(p["measured"]["storages"] for p in points)
    measured = sum(p["measured"]["saved"] for p in points)
    return (
        f"{len(done)} runs, {len(points)} points, {storages:,} saved storages of {human(measured)} together: at "
        f"{exact} points every one of them as predicted."
    )


def _table(group):
    gpu = any(
        p["measured"]["requested"] is not None for _, run in _runs(group) if "result" in run for p in _points(run)
    )
    more = ["requested off", "allocated over rounding", "unexplained"] if gpu else []
    heads = ["target", "options", "over", "points", "storages", "largest saved", "saved off", *more]
    rows = [_row(target, run, gpu) for target, run in _runs(group) if "result" in run]
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _row(target, run, gpu):
    points = _points(run)
    over = " ".join(
        f"{name}={','.join(str(v) for v in sorted({p['point'][name] for p in run['result']['points']}))}"
        for name in run["result"]["swept"]
    )
    row = [
        f"`{target}`",
        f"`{run['options']}`" if run["options"] else "",
        over,
        f"{sum(p['exact'] for p in points)} of {len(run['result']['points'])}",
        str(sum(p["measured"]["storages"] for p in points)),
        human(max((p["measured"]["saved"] for p in points), default=0)),
        _worst(_off(p, "saved") for p in points),
    ]
    if gpu:
        row += [
            _worst(_off(p, "requested") for p in points),
            _worst(_off(p, "allocated") for p in points),
            _worst(_off(p, "allocated") - p["measured"]["unsplit"] for p in points),
        ]
    return row


def _off(point, what):
    return point["measured"][what] - point["predicted"][what]


def _worst(values):
    return f"{max(values, key=abs, default=0):,}"


def _not_run(group):
    """Runs and points without a measurement, with the reason."""
    reasons = {}
    for target, run in _runs(group):
        if "error" in run:
            reasons.setdefault(run["error"].splitlines()[0], []).append(f"`{target}` {run['options']}".strip())
        else:
            for point in run["result"]["points"]:
                if point["failed"]:
                    reasons.setdefault(point["failed"].splitlines()[0], []).append(f"`{target}`")
    return "\n".join(f"- not measured: {', '.join(dict.fromkeys(names))}: {why}" for why, names in reasons.items())


# -- the figures -------------------------------------------------------------------------------------------------------


def figures(contents):
    """name -> SVG: the first run of each target in FIGURES, and issue 899's experiment where a GPU ran it."""
    drawings = {}
    for name in FIGURES:
        content = contents.get(f"cuda_{name}") or contents.get(f"cpu_{name}")
        run = next((r for r in content["runs"] if "result" in r), None) if content else None
        if run:
            rows = [
                Row(p["point"], p["predicted"]["saved"], p["measured"] and p["measured"]["saved"])
                for p in run["result"]["points"]
            ]
            title = f"{content['target']}, {content['machine']['device']}: saved"
            drawings[f"{name}.svg"] = chart(title, run["result"]["swept"], rows)
    block = contents.get("cuda_flash_block")
    run = next((r for r in block["runs"] if "result" in r), None) if block else None
    if run:
        drawings[ISSUE] = issue_899(_points(run))
    return drawings


def formulas(point):
    """Bytes by the formula that the issue ends with, h_a read in either way, and by graphmem."""
    s, b, h, a = (point["point"][n] for n in "sbha")
    return {
        "12sbh + 4sbh_a, h_a heads": 12 * s * b * h + 4 * s * b * a,
        "12sbh + 4sbh_a, h_a head size": 12 * s * b * h + 4 * s * b * h // a,
        "graphmem, alive after forward": point["predicted"]["alive"],
    }


def issue_899(points):
    """Both readings and graphmem against requested_bytes: as they are, and what each is off."""
    least, most = min(p["point"]["b"] for p in points), max(p["point"]["s"] for p in points)
    over = {
        "s": (f"b={least}", [p for p in points if p["point"]["b"] == least]),
        "b": (f"s={most}", [p for p in points if p["point"]["s"] == most]),
    }
    panels = [
        Panel(f"Alive after forward, {at}", symbol, "GiB", (*_lines(symbol, some, GIB), _dots(symbol, some)))
        for symbol, (at, some) in over.items()
    ]
    panels += [
        Panel(f"Formula less measured, {at}", symbol, "MiB", _lines(symbol, some, MIB, less=True))
        for symbol, (at, some) in over.items()
    ]
    return drawn(panels)


def _dots(symbol, points):
    values = tuple((p["point"][symbol], p["measured"]["requested"] / GIB) for p in points)
    return Series("measured: rise of requested_bytes", values, dots=True, colour=6)


def _lines(symbol, points, unit, less=False):
    return tuple(
        Series(
            label,
            tuple(
                (p["point"][symbol], (formulas(p)[label] - (p["measured"]["requested"] if less else 0)) / unit)
                for p in points
            ),
            colour=i,
            dashed=i == 2,  # it lies on the first, which is to be seen below it
        )
        for i, label in enumerate(formulas(points[0]))
    )
