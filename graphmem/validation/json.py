"""A validation as JSON. `format` is the version of this layout: it grows when a field changes its meaning or goes."""

from __future__ import annotations

import json
from typing import Any

from graphmem.validation.compare import Difference
from graphmem.validation.result import PointResult, Validation
from graphmem.validation.text import described
from graphmem.version import __version__

FORMAT = 1


def render(validation: Validation) -> str:
    """The JSON text, with a newline at the end."""
    return json.dumps(as_dict(validation), indent=2, ensure_ascii=False) + "\n"


def as_dict(validation: Validation) -> dict[str, Any]:
    """The result as plain data; all sizes in bytes. See docs/json.md."""
    return {
        "format": FORMAT,
        "graphmem": __version__,
        "name": validation.name,
        "target": validation.machine,
        "device": validation.device,
        "settings": dict(validation.settings),
        "steps": validation.steps,
        "swept": list(validation.swept),
        "exact": validation.exact,
        "points": [_point(p) for p in validation.points],
        "notes": list(validation.notes),
    }


def _point(point: PointResult) -> dict[str, Any]:
    predicted = point.predicted
    return {
        "point": dict(predicted.point),
        "exact": point.exact,
        "predicted": {
            "saved": predicted.saved_bytes,
            "storages": len(predicted.saved),
            "alive": predicted.alive,
            "requested": point.rise,
            "allocated": point.allocated_rise,
            "allocated_at_most": point.allocated_rise + predicted.spare,
            "held_otherwise": predicted.otherwise,
            "saved_elsewhere": predicted.elsewhere,
            "parameters": predicted.parameters,
            "gradients": predicted.gradients,
            "buffers": predicted.buffers,
            "inputs": predicted.inputs,
        },
        "measured": _measured(point),
        "differences": [_difference(d) for d in point.compared.differences] if point.compared else [],
        "in_another_order": point.compared.moved if point.compared else 0,
        "failed": point.failed,
    }


def _measured(point: PointResult) -> dict[str, Any] | None:
    measured = point.measured
    if measured is None:
        return None
    rise, left = measured.rise, measured.left
    return {
        "saved": measured.saved_bytes,
        "storages": len(measured.saved),
        "left_by_earlier_steps": measured.earlier_bytes,
        "saved_elsewhere": measured.elsewhere,
        "requested": rise.requested if rise else None,
        "allocated": rise.allocated if rise else None,
        "unsplit": rise.unsplit if rise else None,
        "left_after_step": left.requested if left else None,
        "allocated_before": measured.before,
        "max_memory_allocated": measured.peak,
    }


def _difference(difference: Difference) -> dict[str, Any]:
    expected, seen = difference.expected, difference.seen
    return {
        "text": described(difference),
        "predicted": expected.nbytes if expected else None,
        "measured": seen.nbytes if seen else None,
        "op": expected.op if expected else None,
        "module": difference.module,
        "where": expected.where if expected else seen.where if seen else None,
        "kept_by": list(expected.kept_by) if expected else [seen.node] if seen else [],
        "shape": list(expected.shape if expected else seen.shape if seen else ()),
        "dtype": expected.dtype if expected else seen.dtype if seen else None,
    }
