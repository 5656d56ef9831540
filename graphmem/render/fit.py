"""What `graphmem fit` found, for a terminal and as JSON."""

from __future__ import annotations

import json

from graphmem.escapes import one_line
from graphmem.points import as_text
from graphmem.render.proof import summed
from graphmem.report.fit import Fit
from graphmem.units import human


def render(fit: Fit) -> str:
    """The value, and where the memory goes."""
    report = fit.at
    others = as_text({n: v for n, v in report.symbols.items() if n != fit.symbol})
    lines = [f"{one_line(report.name)}  ·  as on {report.machine}  ·  {others}", ""]
    if fit.value is None:
        lines += [f"{fit.symbol}: {one_line(fit.why)}", ""]
    else:
        why = "the model takes" if fit.value == fit.most else f"fits into {human(fit.memory)}"
        lines += [f"{fit.symbol} = {fit.value:,} is the largest that {why}", ""]
        kept = summed(report.alive, report)
        lines.append(f"  alive after forward  {human(report.alive.bytes):>11}  = {kept}")
    lines += [
        f"  parameters           {human(fit.parameters):>11}  the weights themselves",
        f"  reserved             {human(fit.reserve):>11}  --reserve: gradients, optimizer state, temporaries",
    ]
    if fit.value is not None:
        lines.append(f"  free                 {human(fit.memory - fit.used):>11}")
    return "\n".join(lines) + "\n"


def as_json(fit: Fit) -> str:
    """`format` 1; bytes."""
    data = {
        "format": 1,
        "name": fit.at.name,
        "symbol": fit.symbol,
        "value": fit.value,
        "why": fit.why or None,
        "memory": fit.memory,
        "parameters": fit.parameters,
        "reserve": fit.reserve,
        "alive": fit.at.alive.bytes if fit.value is not None else None,
        "symbols": dict(fit.at.symbols),
    }
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
