"""A validation for a terminal: predicted, measured and the difference, for each point."""

from __future__ import annotations

import shutil

from graphmem.render.text import filled, table, wrapped
from graphmem.units import human
from graphmem.validation.compare import Difference
from graphmem.validation.needs import named
from graphmem.validation.result import PointResult, Validation

NARROWEST, WIDEST = 80, 160
MOST = 20  # differences named for a point; all of them: --format json
_ON_CPU = "requested and allocated bytes are the CUDA allocator's: the CPU does not have these counters"


def render(validation: Validation, width: int | None = None) -> str:
    """The whole result.

    Args:
        width: columns to fill; default the terminal's, kept between 80 and 160.
    """
    columns = max(NARROWEST, min(WIDEST, width or shutil.get_terminal_size((NARROWEST, 24)).columns))
    parts = [
        _head(validation, columns),
        table(
            [_swept(validation), "", "predicted", "measured", "off", ""],
            [row for point in validation.points for row in _rows(point, validation)],
            columns,
            right=(2, 3, 4),
        ),
        *(text for point in validation.points if (text := _differences(point, validation, columns))),
        _verdict(validation),
        _notes(validation, columns),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(validation: Validation, columns: int) -> str:
    settings = [f"{name} {value}" for name, value in validation.settings.items()]
    first = filled([validation.name, f"on {validation.machine}", *settings], "  ·  ", columns)
    fixed = {n: v for n, v in validation.points[0].point.items() if n not in validation.swept}
    return "\n".join([*first, *filled([f"{n}={v}" for n, v in fixed.items()], " ", columns)])


def _swept(validation: Validation) -> str:
    return " ".join(validation.swept) or "point"


def _label(point: PointResult, validation: Validation) -> str:
    return " ".join(f"{name}={point.point[name]}" for name in validation.swept)


def _rows(point: PointResult, validation: Validation) -> list[list[str]]:
    predicted, measured = point.predicted, point.measured
    label = _label(point, validation)
    if measured is None:
        return [[label, "saved", f"{predicted.saved_bytes:,}", "", "", "out of memory"]]
    rows = [
        [label, "saved", *_compared(predicted.saved_bytes, measured.saved_bytes), _exactness(point)],
        ["", "storages", *_compared(len(predicted.saved), len(measured.saved)), ""],
    ]
    if predicted.elsewhere or measured.elsewhere:
        rows.append(["", "elsewhere", *_compared(predicted.elsewhere, measured.elsewhere), ""])
    if measured.rise is not None:
        off = measured.rise.allocated - point.allocated_rise
        rows += [
            ["", "requested", *_compared(point.rise, measured.rise.requested), ""],
            ["", "allocated", *_compared(point.allocated_rise, measured.rise.allocated), _whole(point, off)],
        ]
    if measured.peak is not None:
        rows.append(["", "peak", "", f"{measured.peak:,}", "", ""])
    return rows


def _compared(predicted: int, measured: int) -> tuple[str, str, str]:
    off = measured - predicted
    return f"{predicted:,}", f"{measured:,}", f"{off:+,}" if off else "0"


def _exactness(point: PointResult) -> str:
    assert point.compared is not None
    if point.compared.differences:
        return f"{len(point.compared.differences)} differ"
    return "each the same" + (f", {point.compared.moved} in another order" if point.compared.moved else "")


def _whole(point: PointResult, off: int) -> str:
    """How much of the difference comes from blocks that the allocator handed out whole."""
    assert point.measured is not None
    assert point.measured.rise is not None
    unsplit = point.measured.rise.unsplit
    parts = [(unsplit, "blocks not split"), (off - unsplit, "otherwise")]
    return ", ".join(f"{nbytes:+,} {why}" for nbytes, why in parts if nbytes)


def _differences(point: PointResult, validation: Validation, columns: int) -> str:
    if point.compared is None or not point.compared.differences:
        return ""
    found = point.compared.differences
    at = _label(point, validation) or named(point.point)
    lines = [f"differences at {at}, in the order in which autograd saves"]
    for difference in found[:MOST]:
        lines += wrapped(described(difference), columns, "      ", "  ")
    if len(found) > MOST:
        lines.append(f"  and {len(found) - MOST} more; all of them: --format json")
    return "\n".join(lines)


def described(difference: Difference) -> str:
    """One sentence: the sizes, the operator, its module, its line, and who keeps it."""
    expected, seen = difference.expected, difference.seen
    sizes = "predicted " + (f"{expected.nbytes:,} B" if expected else "nothing")
    sizes += ", measured " + (f"{seen.nbytes:,} B" if seen else "nothing")
    if expected is not None:
        what = f"{expected.op} {expected.dtype}{list(expected.shape)}"
        where, keepers = expected.where, ", ".join(expected.kept_by)
    else:
        assert seen is not None
        what, where, keepers = f"{seen.dtype}{list(seen.shape)}", seen.where, seen.node
    module = f" in {difference.module}" if difference.module else ""
    return f"{sizes}: {what}{module}" + (f", {where}" if where else "") + f", kept by {keepers}"


def _verdict(validation: Validation) -> str:
    exact = sum(p.exact for p in validation.points)
    measured = sum(p.measured is not None for p in validation.points)
    total = len(validation.points)
    tried = "" if measured == total else f" ({total - measured} ran out of memory)"
    saved = sum(p.measured.saved_bytes for p in validation.points if p.measured is not None)
    return f"saved storages as predicted at {exact} of {total} points{tried}; {human(saved)} measured"


def _notes(validation: Validation, columns: int) -> str:
    notes = list(validation.notes)
    if validation.device == "cpu":
        notes.append(_ON_CPU)
    for point in validation.points:
        if point.measured is not None and point.measured.earlier:
            at = _label(point, validation) or "here"
            there = (
                f"{point.measured.earlier_bytes:,} bytes left over from an earlier step (in an attribute, for example)"
            )
            notes.append(f"{at}: {there} are reused or replaced by this step and do not count as growth")
    return "\n".join(line for note in notes for line in wrapped(note, columns, "      ", "note: "))
