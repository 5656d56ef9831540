"""`graphmem lint`: exit codes, formats, thresholds, comments, baseline, pyproject.toml."""

import json
import re

import pytest
import sarif_om

import graphmem
from graphmem.analysis import tracer
from graphmem.cli import main
from graphmem.linter import remeasure
from graphmem.linter.engine import check
from support.repo import ROOT
from support.slow import one_of

MODEL = """
import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(h, h) for _ in range(3))

    def forward(self, x):
        b, s, h = x.shape
        q, k, v = (f(x).view(b, s, 2, h // 2).transpose(1, 2) for f in (self.q, self.k, self.v))
        scores = q @ k.transpose(-1, -2)  # here
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, s, h)


def model(h=32):
    return Attention(h).bfloat16()


def inputs(b=2, s=64, h=32):
    return (torch.zeros(b, s, h, dtype=torch.bfloat16),)
"""
THRESHOLDS = [("99%", 0), ("1%", 1), ("1GiB", 0), ("1KiB", 1)]
GPU = ["--gpu", "h100", "--torch", "2.13", "--cudnn", "9.20"]


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "model.py"
    file.write_text(MODEL)
    return file


def run(capsys, *arguments):
    code = main(["lint", *map(str, arguments), *GPU])
    return code, *capsys.readouterr()


def as_json(capsys, *arguments):
    code, out, _ = run(capsys, *arguments, "--format", "json")
    return code, json.loads(out)["findings"]


@pytest.mark.slow
def test_a_finding_is_exit_code_1_and_says_what_where_and_how_much(model, capsys) -> None:
    code, out, err = run(capsys, model)
    assert code == 1
    assert err == ""
    line = next(i for i, text in enumerate(MODEL.splitlines(), 1) if "# here" in text)
    assert f"model.py:{line}: error GM101 materialized-attention" in out
    assert "measured on this model" in " ".join(out.split())
    assert "1 finding in" in " ".join(out.split())


@pytest.mark.slow
def test_the_saving_is_right_at_other_points_too(model, capsys) -> None:
    _, (at_64,) = as_json(capsys, model)
    _, (at_512,) = as_json(capsys, model, "--at", "s=512", "--ignore", "GM401")
    _, (set_512,) = as_json(capsys, model, "--set", "s=512")
    assert at_512["point"]["s"] == 512
    assert at_512["saving_bytes"] == set_512["saving_bytes"] > at_64["saving_bytes"]


@pytest.mark.slow
def test_the_saving_is_right_where_the_suggested_kernel_pads(capsys, monkeypatch) -> None:
    """A mask's rows are padded at odd lengths only, so the formula needs other points than the analysis did."""
    monkeypatch.chdir(ROOT)
    arguments = ["tests/support/plain/t5_style.py", "--set", "L=1", "--set", "v=500", "--select", "GM101"]
    _, at = as_json(capsys, *arguments, "--at", "s=456,b=3")
    _, there = as_json(capsys, *arguments, "--set", "s=456", "--set", "b=3")
    assert [f["saving_bytes"] for f in at] == [f["saving_bytes"] for f in there]
    assert all(f["measured"] for f in at)
    assert len(at) == 3


@pytest.mark.slow
def test_rules_are_chosen(model, capsys) -> None:
    assert run(capsys, model, "--ignore", "GM101")[0] == 0
    assert run(capsys, model, "--ignore", "materialized-attention")[0] == 0
    assert run(capsys, model, "--select", "GM2")[0] == 0
    assert run(capsys, model, "--select", "GM1")[0] == 1


@pytest.mark.slow
def test_a_length_that_was_asked_for(model, capsys) -> None:
    _, findings = as_json(capsys, model, "--at", "s=4096", "--at", "s=8192")
    assert {f["rule"]: f["point"]["s"] for f in findings} == {"GM101": 8192, "GM401": 8192}


@pytest.mark.slow
def test_a_budget(model, capsys) -> None:
    assert run(capsys, model, "--ignore", "GM101", "--budget", "1GiB")[0] == 0
    code, out, _ = run(capsys, model, "--ignore", "GM101", "--budget", "10KiB")
    assert code == 1
    assert "over the budget of 10.00 KiB" in " ".join(out.split())
    assert "largest:" in out


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "code"), THRESHOLDS)
def test_thresholds(model, capsys, threshold, code) -> None:
    assert run(capsys, model, "--threshold", threshold)[0] == code


@pytest.mark.slow
def test_a_comment_silences_and_an_unused_one_is_reported(model, capsys) -> None:
    model.write_text(MODEL.replace("# here", "# graphmem: ignore[GM101] the probe needs them"))
    code, out, _ = run(capsys, model)
    assert code == 0
    assert "1 silenced by comments" in " ".join(out.split())
    model.write_text(MODEL.replace("x.shape", "x.shape  # graphmem: ignore[GM104, GM204, GM1o1]"))
    code, findings = as_json(capsys, model)
    assert code == 1
    said = [f["message"] for f in findings if f["rule"] == "GM903"]
    assert said == ["GM104 has nothing to say about this line", "there is no rule GM1o1"]  # GM204 is off


@pytest.mark.slow
def test_a_baseline_hides_what_is_known_until_it_grows(model, capsys, tmp_path) -> None:
    file = tmp_path / "known.json"
    assert run(capsys, model, "--baseline", file, "--write-baseline")[0] == 0
    assert "model.py:" not in file.read_text()
    model.write_text("\n\n\n" + MODEL)  # lines move, fingerprints do not
    code, out, _ = run(capsys, model, "--baseline", file)
    assert code == 0
    assert "1 in the baseline" in " ".join(out.split())
    assert run(capsys, model, "--baseline", file, "--set", "s=128")[0] == 1


@pytest.mark.slow
def test_several_targets(model, capsys, tmp_path) -> None:
    other = tmp_path / "other.py"
    other.write_text(MODEL)
    _, findings = as_json(capsys, model, other)
    assert {f["target"] for f in findings} == {str(model), str(other)}


@pytest.mark.slow
def test_settings_from_pyproject(model, capsys, tmp_path) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text('[tool.graphmem]\ntargets = ["model.py"]\nignore = ["GM101"]\nset = { s = 128 }\n')
    assert main(["lint", *GPU]) == 0
    assert main(["lint", "--ignore", "GM2", *GPU]) == 1  # the command line comes first
    capsys.readouterr()


def test_no_target_is_an_error(model, capsys) -> None:
    assert main(["lint"]) == 2
    assert "no target" in capsys.readouterr().err


def test_what_is_no_baseline(model, capsys, tmp_path) -> None:
    for content in ("[]", "{", '{"format": 1, "findings": [{}]}'):
        (tmp_path / "b.json").write_text(content)
        code, _, err = run(capsys, model, "--baseline", "b.json")
        assert code == 2
        assert "is not a baseline" in err


@pytest.mark.slow
def test_github_annotations(model, capsys) -> None:
    _, out, _ = run(capsys, model, "--format", "github")
    first = out.splitlines()[0]
    assert re.match(r"::error title=graphmem GM101 \(materialized-attention\),file=[^,:]*model\.py,line=\d+::", first)
    assert "%25 of what is saved" in first


@pytest.mark.slow
def test_markdown(model, capsys) -> None:
    _, out, _ = run(capsys, model, "--format", "markdown")
    assert "| GM101 materialized-attention |" in out


def sarif(capsys, *arguments):
    return json.loads(run(capsys, *arguments, "--format", "sarif")[1])


# The classes that were generated from the schema of SARIF 2.1.0; by property, where a value is an object of its own.
OBJECTS = {
    "runs": "Run", "tool": "Tool", "driver": "ToolComponent", "rules": "ReportingDescriptor", "results": "Result",
    "shortDescription": "MultiformatMessageString", "fullDescription": "MultiformatMessageString",
    "help": "MultiformatMessageString", "defaultConfiguration": "ReportingConfiguration", "message": "Message",
    "locations": "Location", "physicalLocation": "PhysicalLocation", "logicalLocations": "LogicalLocation",
    "artifactLocation": "ArtifactLocation", "region": "Region",
}  # fmt: skip
FREE = ("properties", "partialFingerprints")  # maps, whose keys are anybody's


def read_as(name, content):
    """An object of the schema's class: one that has what is required, and nothing that the schema does not have."""
    cls = getattr(sarif_om, name)
    known = {a.metadata["schema_property_name"]: a.name for a in cls.__attrs_attrs__}
    assert set(content) <= set(known), f"{name} has no {set(content) - set(known)}"
    values = {}
    for key, value in content.items():
        if key not in FREE and isinstance(value, dict):
            value = read_as(OBJECTS[key], value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            value = [read_as(OBJECTS[key], item) for item in value]
        values[known[key]] = value
    return cls(**values)


@pytest.mark.slow
def test_sarif_has_what_its_schema_asks_for_and_nothing_else(model, capsys) -> None:
    read = read_as("SarifLog", sarif(capsys, model, "--budget", "1KiB", "--extend-select", "ALL"))
    assert read.version == "2.1.0"
    (run_,) = read.runs
    assert run_.column_kind in ("utf16CodeUnits", "unicodeCodePoints")
    levels = {r.level for r in run_.results} | {r.default_configuration.level for r in run_.tool.driver.rules}
    assert levels <= {"none", "note", "warning", "error"}
    with pytest.raises(TypeError):  # what is not there is missed
        read_as("SarifLog", {"version": "2.1.0"})
    with pytest.raises(AssertionError):
        read_as("Result", {"message": {"text": ""}, "ruleid": "GM101"})


@pytest.mark.slow
def test_sarif_is_what_code_scanning_takes(model, capsys) -> None:
    log = sarif(capsys, model, "--budget", "1KiB")
    (written,) = log["runs"]
    rules = written["tool"]["driver"]["rules"]
    assert {r["ruleId"] for r in written["results"]} == {"GM101", "GM402"}
    assert all(rule["help"]["text"] for rule in rules)
    for result in written["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
        physical = result["locations"][0]["physicalLocation"]
        assert physical["artifactLocation"]["uri"].endswith("model.py")
        assert physical["region"]["startLine"] >= 1
        assert re.fullmatch("[0-9a-f]{32}", result["partialFingerprints"]["graphmem/v1"])


@pytest.mark.slow
def test_fingerprints_do_not_hang_on_lines_or_sizes(model, capsys) -> None:
    def prints(*options):
        return [r["partialFingerprints"] for r in sarif(capsys, model, *options)["runs"][0]["results"]]

    before = prints()
    model.write_text("\n\n" + MODEL)
    assert prints() == before
    assert prints("--set", "s=128") == before


@pytest.mark.slow
def test_no_rule_speaks_on_the_well_made_sample(capsys, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    code, out, _ = run(capsys, "samples/well_made.py", "--threshold", "0%", "--set", "L=3")
    assert (code, out.splitlines()[0][:11]) == (0, "no findings")


def test_rule_explains(capsys) -> None:
    assert main(["rule", "GM101"]) == 0
    assert capsys.readouterr().out.startswith("# materialized-attention (GM101)\n")
    assert main(["rule", "--all"]) == 0
    assert "GM903  unused-suppression" in capsys.readouterr().out
    assert main(["rule", "GM11"]) == 2
    assert "fix  did you mean GM1" in capsys.readouterr().err
    assert main(["rule"]) == 2


MEASURED = [("well_made.py", []), ("llama.py", ["GM201"]), ("gpt2.py", ["GM101", "GM201"])]


@pytest.mark.slow
@pytest.mark.parametrize(("sample", "measured"), one_of(["gpt2.py"], MEASURED, lambda case: case[0]))
def test_lint_adds_little_to_an_analysis(sample, measured, monkeypatch) -> None:
    """All rules but those whose saving is measured: one trace at most, without the checkpoints where there are some."""
    report = graphmem.analyze(str(ROOT / "samples" / sample))
    traced, replayed = [], []
    monkeypatch.setattr(tracer, "trace", counted(tracer.trace, traced))
    monkeypatch.setattr(remeasure, "replay", counted(remeasure.replay, replayed))
    assert not any(f.measured for f in check(report, ignore=measured))
    assert len(traced) == (sample == "well_made.py")
    assert not replayed


def counted(function, calls):
    def called(*args, **options):
        calls.append(args)
        return function(*args, **options)

    return called


@pytest.mark.slow
def test_json_is_as_documented(model, capsys) -> None:
    code, out, _ = run(capsys, model, "--format", "json")
    content = json.loads(out)
    page = (ROOT / "docs" / "json.md").read_text().partition("graphmem lint --format json")[2]
    documented = set(re.findall(r"`(\w+)`", page))
    assert code == 1
    assert (
        set(content) | set(content["findings"][0]) | set(content["targets"][0]) | set(content["left_out"]) <= documented
    )


@pytest.mark.slow
def test_annotations_are_put_on_the_users_own_line(capsys, monkeypatch) -> None:
    """A finding in an installed package is of no file that a pull request could show."""
    pytest.importorskip("transformers")
    monkeypatch.chdir(ROOT)
    small = [f"{name}={n}" for name, n in {"L": 2, "h": 256, "f": 512, "a": 8, "k": 8, "v": 2000, "s": 128}.items()]
    options = [option for setting in small for option in ("--set", setting)]
    _, findings = as_json(capsys, "samples/hf_llama.py", "--select", "GM203", *options)
    assert "modeling_llama.py" in findings[0]["where"]
    (result,) = sarif(capsys, "samples/hf_llama.py", "--select", "GM203", *options)["runs"][0]["results"]
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "samples/hf_llama.py"


MASKED = """
import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.f = nn.Linear(h, 3 * h)

    def forward(self, x):
        b, s, h = x.shape
        q, k, v = self.f(x).view(b, s, 3, 2, h // 2).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=torch.ones(s, s, dtype=torch.bool).tril())


def model(h=64):
    return Attention(h)


def inputs(b=2, s=64, h=64):
    return (torch.zeros(b, s, h),)
"""


def test_on_the_cpu_no_kernel_was_chosen(tmp_path, capsys) -> None:
    file = tmp_path / "masked.py"
    file.write_text(MASKED)
    assert main(["lint", str(file), "--device", "cpu", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []


@pytest.mark.slow
@pytest.mark.parametrize("by", ["link", "setting"])
def test_a_repository_does_not_say_where_a_baseline_is_written(model, capsys, tmp_path, by) -> None:
    """Only the command line names a file elsewhere."""
    inside, victim = tmp_path / "repository", tmp_path / "victim"
    inside.mkdir()
    victim.write_text("precious")
    (inside / "model.py").write_text(MODEL)
    if by == "link":
        (inside / "graphmem-baseline.json").symlink_to(victim)
    else:
        (inside / "pyproject.toml").write_text("[tool.graphmem]\nbaseline = '../victim'\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(inside)
        assert run(capsys, "model.py", "--write-baseline")[0] == 2
        assert victim.read_text() == "precious"
        assert run(capsys, "model.py", "--write-baseline", "--baseline", victim)[0] == 0
    assert victim.read_text() != "precious"
