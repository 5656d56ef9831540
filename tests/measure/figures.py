"""The figures of docs/accuracy.md: predicted lines and measured dots, and issue 899's three formulas."""

from graphmem.validation.plot import Row, chart
from graphmem.validation.svg import Panel, Series, drawn

SHOWN = "gpt2", "llama", "megatron_layer", "hf_llama"
ISSUE = "issue_899.svg"
GIB, MIB = 2**30, 2**20


def figures(contents):
    """name -> SVG: the first run of each target in SHOWN, and issue 899's experiment where a GPU ran it."""
    drawings = {}
    for name in SHOWN:
        content = contents.get(f"cuda_{name}") or contents.get(f"cpu_{name}")
        run = next((r for r in content["runs"] if "result" in r), None) if content else None
        if run:
            rows = [
                Row(p["point"], p["predicted"]["saved"], p["measured"] and p["measured"]["saved"])
                for p in run["result"]["points"]
            ]
            title = f"{content['target']}, {content['machine']['device']}: saved"
            drawings[f"{name}.svg"] = chart(title, run["result"]["swept"], rows)
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
