"""Which architectures were measured where, and how: tables for docs/accuracy.md, over all result files."""

from collections import Counter

from support.repo import measured
from support.validated import many, name_of, points_of, setting, table, words


def on_gpu():
    """The runs of validate_models.py on a GPU."""
    return many()["h200"]["runs"]


def architectures():
    """How often each architecture was measured."""
    h100 = Counter(row["name"] for row in measured("h100_models.json.gz")["res"] if "cls" in row)
    h200 = Counter(e["name"] for e in measured("h200_more.json.gz")["entries"] if "error" not in e)
    columns = {"H100": h100, "H200": h200}
    for stem, content in many().items():
        points = Counter()
        for run in content["runs"]:
            points[name_of(run)] += len(points_of([run])) if setting(run) else 0
        columns[f"validate, {'CPU' if stem == 'cpu' else 'H200'}"] = points
    names = sorted({name for column in columns.values() for name, count in column.items() if count})
    rows = [[name, *(str(column[name] or "") for column in columns.values())] for name in names]
    totals = [f"**{len(names)}**", *(f"**{sum(map(bool, c.values()))}** ({sum(c.values())})" for c in columns.values())]
    return table(["architecture", *columns], [totals, *rows])


def variants() -> str:
    """In which settings other scripts have measured."""
    rows = Counter(row["variant"] for row in measured("h100_models.json.gz")["res"] if row.get("variant"))
    kept = {name: count for name, count in rows.items() if "autocast" not in name}  # autocast was not in force
    cast = sum(name.endswith("under autocast") for name in measured("h200_measured.json.gz")["entries"])
    shown = ", ".join(f"{name} {count}" for name, count in kept.items())
    return (
        "The scripts of [architectures](architectures.md) measured, besides bf16:\n\n"
        f"- on the H100 {shown} runs\n- on the H200 {cast} runs under bf16 autocast"
    )


def each(of):
    """A table for each machine that has run validate_models.py."""
    return "\n\n".join(f"### {words(c['machine'])}\n\n{of(c)}" for c in many().values())
