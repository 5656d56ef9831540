"""The end of docs/validate.md and its figures are made of tests/truth/validated. `--overwrite` makes them again."""

import copy
import re
import xml.etree.ElementTree as ET

import pytest
from conftest import ROOT
from validated import figures, formulas, issue_899, results, section

PAGE = ROOT / "docs" / "validate.md"
SECTION = re.compile(r"(<!-- validated -->\n).*?(\n<!-- end of validated -->)", re.DOTALL)
CONTENTS = results()


def test_section_is_current(request):
    text = PAGE.read_text()
    fresh = SECTION.sub(lambda match: match[1] + section(CONTENTS) + match[2], text)
    if request.config.getoption("--overwrite"):
        PAGE.write_text(fresh)
    else:
        assert fresh == text, "refresh with --overwrite"


def test_figures_are_current(request):
    folder = PAGE.parent / "figures"
    for name, drawing in figures(CONTENTS).items():
        ET.fromstring(drawing)
        if request.config.getoption("--overwrite"):
            folder.mkdir(exist_ok=True)
            (folder / name).write_text(drawing)
        else:
            assert (folder / name).read_text() == drawing, "refresh with --overwrite"


@pytest.mark.parametrize("stem", CONTENTS)
def test_every_saved_byte_is_as_predicted(stem):
    for run in CONTENTS[stem]["runs"]:
        for point in run["result"]["points"] if "result" in run else ():
            measured, predicted = point["measured"], point["predicted"]
            assert measured is not None, point["failed"]
            assert point["exact"], (run["options"], point["differences"])
            if measured["requested"] is not None:
                assert measured["requested"] == predicted["requested"], (run["options"], point["point"])
                assert measured["allocated"] - measured["unsplit"] == predicted["allocated"]
                assert measured["allocated"] <= predicted["allocated_at_most"]


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


def test_three_formulas():
    point = next(p for p in block_points() if p["point"]["s"] == 4096)
    measured = point["measured"]["requested"]
    assert [value - measured for value in formulas(point).values()] == [-24, 4 * 4096 * (256 - 32) - 24, 0]


def test_drawing_of_issue_899():
    drawing = ET.fromstring(issue_899(block_points()))
    tags = [element.tag.rpartition("}")[2] for element in drawing.iter()]
    assert (tags.count("polyline"), tags.count("circle")) == (4 * 3, 2 * 2 + 2)


def test_a_gpus_results_have_more_columns():
    content = copy.deepcopy(next(c for stem, c in CONTENTS.items() if stem.endswith("flash_block")))
    content["machine"] = {"device": "NVIDIA H200", "torch": "2.11.0+cu130", "cudnn": 91900}
    for run in content["runs"]:
        for point in run["result"]["points"]:
            predicted = point["predicted"]
            point["measured"] |= {
                "requested": predicted["requested"],
                "allocated": predicted["allocated"] + 4096,
                "unsplit": 4096,
            }
    content["runs"].append({"options": "--set h=3", "error": "it cannot run\n  fix  another size"})
    text = section({"cuda_flash_block": content})
    assert "### NVIDIA H200, torch 2.11.0, cuDNN 9.19" in text
    assert "| 0 | 0 | 4,096 | 0 |" in text
    assert "- not measured: `samples/flash_block.py` --set h=3: it cannot run" in text
    assert "figures/issue_899.svg" in text
