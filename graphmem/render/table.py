"""A report for a terminal: what is kept, where, by which attention, in which tensors. Reads well from 80 columns on."""

from __future__ import annotations

import re
import shutil

import sympy

from graphmem.points import as_text
from graphmem.render.attention import attention, each
from graphmem.render.proof import of_one, proof, summed
from graphmem.render.text import amount, filled, short, table, wrapped
from graphmem.report import ModuleRow, NodeRow, ReportData
from graphmem.units import human, unit_for

NARROWEST, WIDE, WIDEST = 80, 120, 160
WORTH_A_LINE = 0.01  # a loss of 2 bytes is in the list of what is not counted, and that is enough
LARGEST = 10
_ABBREVIATIONS = {
    "bfloat16": "bf16", "float16": "f16", "float32": "f32", "float64": "f64", "int64": "i64", "int32": "i32",
    "uint64": "u64", "uint8": "u8", "int8": "i8", "int16": "i16", "bool": "bool",
}  # fmt: skip


def render(report: ReportData, width: int | None = None) -> str:
    """The whole report.

    Args:
        width: columns to fill; default the terminal's, kept between 80 and 160.
    """
    columns = max(NARROWEST, min(WIDEST, width or shutil.get_terminal_size((NARROWEST, 24)).columns))
    sections = [
        _headline(report, columns),
        _saved(report, columns),
        _modules(report, columns),
        attention(report, columns),
        _largest(report, columns),
        _not_counted(report, columns),
        _notes(report, columns),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _headline(report: ReportData, columns: int) -> str:
    settings = [f"{k} {v}" for k, v in report.settings.items()]
    symbols = as_text(report.symbols)
    return "\n".join(
        [*filled([report.name, f"as on {report.machine}", *settings], "  ·  ", columns), *wrapped(symbols, columns, "")]
    )


def _saved(report: ReportData, columns: int) -> str:
    saved = report.saved
    label = "saved for backward "
    indent = " " * (len(label) + 2)
    lines = [f"{label}  {human(saved.bytes)}  ({saved.bytes:,} bytes; {saved.allocated_bytes:,} allocated)"]
    if report.symbols:
        lines += wrapped(f"= {summed(saved, report)}", columns, indent)
    lines += wrapped(proof(report), columns, indent)
    growth = _growth(report)
    if growth:
        lines += wrapped(growth, columns, indent, "s² terms".ljust(len(indent)))
    if report.alive.bytes - saved.bytes >= WORTH_A_LINE * saved.bytes:
        alive = f"{human(report.alive.bytes)}  ({report.alive.bytes:,} bytes)"
        lines += wrapped(alive, columns, indent, "alive after forward ".ljust(len(indent)))
        if report.symbols:
            lines += wrapped(f"= {summed(report.alive, report)}", columns, indent)
    return "\n".join(lines)


def _growth(report: ReportData) -> str:
    """How much grows with s² or more, from where, and from which s on it is more than half."""
    s = next((x for x in report.saved.expr.free_symbols if x.name == "s"), None)
    if s is None:
        return ""
    point = {x: report.symbols[x.name] for x in report.saved.expr.free_symbols}
    terms = sympy.Add.make_args(sympy.expand(report.saved.expr))
    if not all(_unrounded(t).is_polynomial(s) for t in terms):
        return ""
    square = sympy.Add(*(t for t in terms if _degree(t, s) >= 2))
    if square == 0:
        return ""
    nbytes = int(square.subs(point))
    at = {x: v for x, v in point.items() if x != s}
    both = _unrounded(2 * square - report.saved.expr).subs(at)
    crossing = [r for r in sympy.Poly(both, s).nroots() if r.is_real and r > 0]
    where = sorted({n.module for n in report.nodes if n.proved and _degree(n.each_expr, s) >= 2})
    share = 100 * nbytes / report.saved.bytes
    text = f"{human(nbytes)}, {share:.0f} %, from {', '.join(w or 'the model' for w in where[:3])}"
    return text + (f"; more than half from s={int(max(crossing)) + 1:,} on" if crossing else "")


def _degree(expression: sympy.Expr, s: sympy.Symbol) -> int:
    smooth = _unrounded(expression)
    return int(sympy.degree(smooth, s)) if smooth.is_polynomial(s) else 0


def _unrounded(expression: sympy.Expr) -> sympy.Expr:
    """Without its roundings, which do not matter for how it grows."""
    for rounding in expression.atoms(sympy.ceiling, sympy.floor):
        expression = expression.subs(rounding, rounding.args[0])
    return expression


def _modules(report: ReportData, columns: int) -> str:
    unit, size = unit_for(report.saved.bytes)
    shown = _shown(report)
    rows = [
        [
            _indented(m, shown),
            m.count if m.count > 1 else "",
            amount(m.size.bytes, size),
            _percent(m, report),
            each(m, report) if m.path else "",
        ]
        for m in shown
    ]
    return table(["module", "×", unit, "%", "each keeps"], rows, columns, right=(1, 2, 3))


def _shown(report: ReportData) -> list[ModuleRow]:
    """All modules but those that only pass on what their one child keeps."""
    return [m for m in report.modules if m.own.bytes or not _only_passes(m, report)]


def _only_passes(module: ModuleRow, report: ReportData) -> bool:
    inside = [
        m for m in report.modules if m.path != module.path and m.path.startswith(module.path and f"{module.path}.")
    ]
    return bool(module.path) and any(m.size.bytes == module.size.bytes and m.count == module.count for m in inside)


def _indented(module: ModuleRow, shown: list[ModuleRow]) -> str:
    if not module.path:
        return module.cls
    above = [m for m in shown if m.path and module.path.startswith(f"{m.path}.")]
    closest = max(above, key=lambda m: len(m.path), default=None)
    name = module.label if closest is None else module.path[len(closest.path) + 1 :]
    return "  " * (len(above) + 1) + name


def _largest(report: ReportData, columns: int) -> str:
    unit, size = unit_for(report.saved.bytes)
    rows = [
        [
            amount(n.size.bytes, size),
            n.count,
            of_one(n, report),
            _tensor(n),
            _maker(n, with_module=columns >= WIDE),
            ", ".join(_short_node(node) for node in n.kept_by),
        ]
        for n in report.nodes[:LARGEST]
    ]
    headers = [unit, "×", "each", "largest tensors", "made by", "kept by"]
    text = table(headers, rows, columns, right=(0, 1))
    rest = report.nodes[LARGEST:]
    if rest:
        text += f"\nand {len(rest)} more, {human(sum(n.size.bytes for n in rest))} together; all of them: --format json"
    return text


def _tensor(node: NodeRow) -> str:
    return f"{_ABBREVIATIONS.get(node.dtype, node.dtype)}[{','.join(map(str, node.shape))}]"


def _maker(node: NodeRow, *, with_module: bool) -> str:
    op = node.op.removeprefix("aten.").rsplit(".", 1)[0].lstrip("_")
    op = re.sub(r"^scaled_dot_product_(\w+)_attention", r"sdpa \1", op)
    where = f" {short(node.where)}" if node.where else ""
    return f"{op}{where}" + (f" in {node.made_in or 'the model'}" if with_module else "")


def _short_node(name: str) -> str:
    """`MulBackward0` as `Mul`: they are all backward nodes."""
    return re.sub(r"^ScaledDotProduct(\w+)Attention", r"Sdpa\1", re.sub(r"Backward\d*$", "", name))


def _not_counted(report: ReportData, columns: int) -> str:
    lines = ["not counted"]
    for row in report.not_counted:
        amount = human(row.bytes) if row.bytes is not None else ""
        lines += wrapped(f"{row.why}", columns, " " * 32, f"  {row.what:<17} {amount:>10}  ")
    return "\n".join(lines)


def _notes(report: ReportData, columns: int) -> str:
    return "\n".join(line for note in report.notes for line in wrapped(note, columns, "      ", "note: "))


def _percent(module: ModuleRow, report: ReportData) -> str:
    return f"{100 * module.size.bytes / report.saved.bytes:.1f}" if report.saved.bytes else ""
