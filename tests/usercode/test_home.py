"""Each target finds its own helpers, whatever another one has imported under the same name."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import graphmem
from graphmem.cli import main

MODEL = """
import torch
{imports}
def model(h=16): return Net(h)
def inputs(b=2, s=8, h=16): return (torch.randn(b, s, h),)
"""
NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self, h): super().__init__(); self.a = nn.Linear(h, {n} * h)
    def forward(self, x): {inside}; return self.a(x).exp()
"""
ABOVE = "import os, sys\nsys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))\n"
# imports of model.py, file of the helper, what forward does first
KINDS = {
    "a file": ("from layers import Net", "m/layers.py", "pass"),
    "a package": ("from layers.net import Net", "m/layers/net.py", "pass"),
    "from a folder above": (ABOVE + "from layers import Net", "layers.py", "pass"),
    "in forward": ("from layers import Net", "m/layers.py", "import late; x = x.view(*x.shape) if late.N else 1 / 0"),
}


@pytest.fixture
def targets(tmp_path: Path, request: pytest.FixtureRequest) -> list[str]:
    imports, helper, inside = KINDS[request.param]
    for name, n in (("old", 1), ("new", 4)):
        folder = tmp_path / name / "m"
        (tmp_path / name / helper).parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        (folder / "model.py").write_text(MODEL.format(imports=imports))
        (tmp_path / name / helper).write_text(NET.format(n=n, inside=inside))
        (folder / "late.py").write_text(f"N = {n}\n")
    return [str(tmp_path / name / "m" / "model.py") for name in ("old", "new")]


@pytest.mark.slow
@pytest.mark.parametrize("targets", KINDS, indirect=True)
def test_two_targets_in_one_process(targets: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    modules, path = dict(sys.modules), list(sys.path)
    assert main(["diff", *targets, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["a"]["saved"], found["b"]["saved"]) == (2 * 8 * 16 * 4, 4 * 2 * 8 * 16 * 4)
    assert sys.path == path
    assert not {n for n in sys.modules.keys() - modules.keys() if n.partition(".")[0] in ("layers", "late", "net")}


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["in forward"], indirect=True)
def test_a_report_that_traces_again_later_is_at_home(targets: list[str]) -> None:
    reports = [graphmem.analyze(target) for target in targets]
    for report, n in zip(reports, (1, 4), strict=True):
        assert report.at(b=1).saved.bytes == n * 8 * 16 * 4


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["a file"], indirect=True)
def test_what_the_caller_has_imported_is_the_callers(targets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same file it is shared; from another it is there again afterwards."""
    monkeypatch.syspath_prepend(str(Path(targets[0]).parent))
    monkeypatch.delitem(sys.modules, "layers", raising=False)
    import layers  # type: ignore[import-not-found]

    seen = [type(graphmem.analyze(target).analysis.tracer.subject.build({"h": 16})) for target in targets]
    assert seen[0] is layers.Net
    assert seen[1] is not layers.Net
    assert sys.modules["layers"] is layers
    del sys.modules["layers"]


@pytest.mark.slow
def test_two_targets_of_a_folder_share_a_helper(tmp_path: Path) -> None:
    """A helper may register an operator when it is imported, which can be done once."""
    helper = "import torch\ntorch.library.define('graphmem_home::op', '(Tensor x) -> Tensor')\n"
    (tmp_path / "layers.py").write_text(helper + NET.format(n=1, inside="pass"))
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(MODEL.format(imports="from layers import Net"))
        assert graphmem.analyze(str(tmp_path / name)).saved.bytes == 2 * 8 * 16 * 4


@pytest.mark.parametrize("targets", ["a file"], indirect=True)
def test_an_error_leaves_nothing(targets: list[str]) -> None:
    Path(targets[0]).write_text("import layers\n1 / 0\n")
    with pytest.raises(graphmem.GraphmemError):
        graphmem.analyze(targets[0])
    assert "layers" not in sys.modules
