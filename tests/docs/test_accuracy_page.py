"""docs/accuracy.md and its figures are made by tests/measure/accuracy.py; every measured byte is as predicted."""

import xml.etree.ElementTree as ET

import pytest

import graphmem
from measure.accuracy import FIGURES, PAGE, both_gpus, drawings, page
from measure.figures import formulas, issue_899
from support.repo import ROOT
from support.reports import MEASURED, as_keywords
from support.validated import many, not_run, points_of, samples, table

pytestmark = pytest.mark.page


SAMPLES, MANY = samples(), many()
RUNS = {
    f"{stem} {run.get('target') or content['target']} {run['options']}".strip(): run
    for stem, content in [*SAMPLES.items(), *MANY.items()]
    for run in content["runs"]
    if "result" in run
}
STALE = "run python tests/measure/accuracy.py"


def test_page_is_current() -> None:
    for file in (PAGE, *(PAGE.parent / "data").glob("*.md")):
        text = file.read_text()
        assert page(text) == text, f"{file.name}: {STALE}"


def test_figures_are_current() -> None:
    for name, drawing in drawings().items():
        ET.fromstring(drawing)
        assert (FIGURES / name).read_text() == drawing, STALE


def test_every_byte_is_as_predicted() -> None:
    for name, run in RUNS.items():
        for point in points_of([run]):
            measured, predicted = point["measured"], point["predicted"]
            assert point["exact"], (name, point["differences"])
            assert measured["saved"] == predicted["saved"], name
            if measured["requested"] is not None:
                assert measured["requested"] == predicted["requested"], (name, point["point"])
                assert measured["allocated"] - measured["unsplit"] == predicted["allocated"], (name, point["point"])
                assert measured["allocated"] <= predicted["allocated_at_most"], (name, point["point"])


AGAIN = [
    (content["target"], run["options"], "cpu" if stem.startswith("cpu_") else "cuda", points[-1])
    for stem, content in SAMPLES.items()
    for run in content["runs"][-1:]
    if (points := points_of([run]))
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "options", "device", "point"),
    AGAIN,
    ids=[f"{target} {device}" for target, _, device, _ in AGAIN],
)
def test_what_was_measured_is_predicted_today(target, options, device, point) -> None:
    """The last run of every sample, at its last point."""
    asked = as_keywords(options.split())
    asked["symbols"] |= point["point"]
    machine = {**MEASURED, "gpu": "h200"} if device == "cuda" else {}
    report = graphmem.analyze(str(ROOT / target), device=device, **machine, **asked)
    assert report.saved.bytes == point["measured"]["saved"]
    if device == "cuda":
        assert report.alive.bytes == point["measured"]["requested"]


def test_nothing_is_left_on_the_gpu() -> None:
    """Less than before is what an error held that ended the run before in the same process."""
    left = {
        r["target"]: r["left_on_gpu"] for r in MANY["h200"]["runs"] if r.get("left_on_gpu", 0) > 0 and "result" in r
    }
    assert not left


def test_what_was_measured_on_both_gpus_is_the_same() -> None:
    _, *differing = both_gpus().split("\n- ")
    assert [line.split()[0] for line in differing] == ["codegen"]  # not the same model: the page says why


def test_what_cannot_fit_is_refused_or_survived() -> None:
    refused, forced = (r for r in MANY["h200"]["runs"] if r["target"] == "gpt2.py")
    assert refused["exit"] == forced["exit"] == 2
    assert "needs at least" in refused["error"]
    small, large = forced["result"]["points"]
    assert small["exact"]
    assert "out of memory in forward" in large["failed"]


# -- the tables and figures themselves -------------------------------------------------------------------------------


def block_points():
    """Issue 899's sizes as they were measured: 12sbh + 4abs and two RNG blocks of 16 and 8 bytes."""
    return [
        {
            "point": {"s": s, "b": b, "h": 8192, "a": 32},
            "predicted": {"alive": 12 * s * b * 8192 + 4 * 32 * b * s + 24},
            "measured": {"requested": 12 * s * b * 8192 + 4 * 32 * b * s + 24},
        }
        for s in (1024, 4096)
        for b in (1, 2)
    ]


def test_three_formulas() -> None:
    point = next(p for p in block_points() if p["point"]["s"] == 4096)
    measured = point["measured"]["requested"]
    assert [value - measured for value in formulas(point).values()] == [-24, 4 * 4096 * (256 - 32) - 24, 0]


def test_drawing_of_issue_899() -> None:
    drawing = ET.fromstring(issue_899(block_points()))
    tags = [element.tag.rpartition("}")[2] for element in drawing.iter()]
    assert (tags.count("polyline"), tags.count("circle")) == (4 * 3, 2 * 2 + 2)


def test_what_could_not_run_is_listed_by_its_reason() -> None:
    failed = {"points": [{"failed": "b=9: out of memory\n  more", "measured": None}]}
    runs = [
        {"target": "x.py", "options": "--set h=3", "error": "it cannot run\n  fix  another size"},
        {"target": "y.py", "options": "", "result": failed},
    ]
    assert not_run(runs).splitlines() == [
        "- not measured: `x.py` --set h=3: it cannot run",
        "- not measured: `y.py`: b=9: out of memory",
    ]


def test_table() -> None:
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
