"""`graphmem analyze` on files that can be analysed: what it prints, what it writes, what its options do."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import sympy

from graphmem.cli import main
from support.repo import ROOT
from support.slow import one_of

ATTENTION = """
import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    def __init__(self, h, a, eager):
        super().__init__()
        self.qkv, self.out, self.a, self.eager = nn.Linear(h, 3 * h), nn.Linear(h, h), a, eager

    def forward(self, x):
        b, s, h = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, self.a, h // self.a).permute(2, 0, 3, 1, 4)
        if self.eager:
            y = (q @ k.transpose(-1, -2) / (h // self.a) ** 0.5).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, s, h))


class Layer(nn.Module):
    def __init__(self, h, a, eager):
        super().__init__()
        self.norm, self.attention = nn.LayerNorm(h), Attention(h, a, eager)

    def forward(self, x):
        return x + self.attention(self.norm(x))


class Net(nn.Module):
    def __init__(self, v, h, a, L):
        super().__init__()
        self.embedding, self.head = nn.Embedding(v, h), nn.Linear(h, v)
        self.layers = nn.ModuleList(Layer(h, a, eager=False) for _ in range(L))
        self.last = Layer(h, a, eager=True)

    def forward(self, ids):
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x)
        return F.cross_entropy(self.head(self.last(x)).flatten(0, 1), ids.flatten())


def model(v=32, h=16, a=2, L=3): return Net(v, h, a, L)
def inputs(v=32, b=2, s=8): return (torch.randint(v, (b, s)),)
"""

# relu keeps its result, which the second Linear keeps too; gelu keeps its input; dropout keeps a mask and its result.
MLP = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, h, p, wide, act):
        super().__init__()
        self.up, self.down = nn.Linear(h, 4 * h if wide else h), nn.Linear(4 * h if wide else h, h)
        self.act, self.drop = {"relu": nn.ReLU, "gelu": nn.GELU}[act](), nn.Dropout(p)

    def forward(self, x):
        return self.down(self.drop(self.act(self.up(x))))


def model(h=16, p=0.0, wide=True, act="relu"): return Net(h, p, wide, act)
def inputs(b=2, s=8, h=16): return {"x": torch.randn(b, s, h)}
def other(h=16): return Net(h, 0.0, False, "relu")
"""
HIDDEN = 2 * 8 * 64 * 4  # bytes of a (b, s, 4h) tensor of float32
LONG = """
import torch
from torch import nn

class Wrapper(nn.Module):
    def __init__(self, name, inner):
        super().__init__()
        self.name = name
        self.add_module(name, inner)
    def forward(self, x):
        return torch.tanh(getattr(self, self.name)(x))

def model(hidden_size=16, depth_of_nothing=3, probability_of_dropout=0, intermediate_size=24, ratio_of_nothing=1):
    inner = nn.Sequential(nn.Linear(hidden_size, intermediate_size), nn.Linear(intermediate_size, hidden_size))
    for name in ["feed_forward_network", "transformer_encoder_layer", "bidirectional_encoder", "the_language_model"]:
        inner = Wrapper(name, inner)
    return inner

def inputs(batch_size=2, sequence_length=8, hidden_size=16, number_of_images=1):
    return torch.randn(batch_size, number_of_images, sequence_length, hidden_size)
"""
SOURCES = {"attention": ATTENTION, "mlp": MLP, "long names": LONG}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def analyze(*arguments: str, source: str | None = None) -> dict[str, Any]:
    """The JSON report, by way of a file in the working directory."""
    if source is not None:
        Path("model.py").write_text(source)
    assert main(["analyze", *(arguments or ["model.py"]), "--format", "json", "-o", "out.json"]) == 0
    return json.loads(Path("out.json").read_text())  # type: ignore[no-any-return]


def saved(*options: str, source: str = MLP) -> int:
    return int(analyze("model.py", *options, source=source)["saved"]["bytes"])


# --- what is printed ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("columns", [80, 120, 160])
def test_table_fits(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int, source: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    (folder / "model.py").write_text(source)
    assert main(["analyze", "model.py"]) == 0
    stdout, stderr = capsys.readouterr()
    assert "saved for backward" in stdout
    assert [line for line in stdout.splitlines() if len(line) > columns] == []
    assert [line for line in stdout.splitlines() if line != line.rstrip()] == []
    assert stderr == ""


@pytest.mark.slow
def test_table_says_the_same_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = analyze(source=ATTENTION)
    assert main(["analyze", "model.py"]) == 0
    stdout = capsys.readouterr().out
    assert f"({report['saved']['bytes']:,} bytes; {report['saved']['allocated_bytes']:,} allocated)" in stdout
    assert "v=32 h=16 a=2 L=3" in stdout or "b=2 s=8" in stdout
    for row in report["attention"]:
        assert row["kernel"] in stdout


@pytest.mark.slow
@pytest.mark.parametrize("encoding", one_of(["ascii"], ["ascii", "latin-1", "cp1252", "utf-8"], str))
def test_terminal_of_any_encoding(folder: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    (folder / "model.py").write_text(ATTENTION)
    written = io.BytesIO()
    stdout = io.TextIOWrapper(written, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main(["analyze", "model.py"]) == 0
    stdout.flush()
    assert b"saved for backward" in written.getvalue()


@pytest.mark.slow
def test_same_twice(folder: Path) -> None:
    assert analyze(source=ATTENTION) == analyze(source=ATTENTION)


# --- JSON ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=one_of([MLP], SOURCES.values(), str), ids=SOURCES)
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with contextlib.chdir(tmp_path_factory.mktemp("report")):
        return analyze(source=request.param)


def rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [report["saved"], report["alive"], *report["nodes"], *report["attention"], *report["modules"]]


def test_fields(report: dict[str, Any]) -> None:
    assert report["format"] == 1
    assert all(isinstance(v, int) for v in report["symbols"].values())
    assert report["verified"].keys() == {"point", "exact", "points", "share"}
    assert report["verified"]["exact"] is True
    assert report["verified"]["point"].keys() >= report["symbols"].keys()
    assert report["nodes"]
    for row in rows(report):
        assert isinstance(row["bytes"], int)
        assert row["allocated_bytes"] >= row["bytes"]
        assert isinstance(row["expr"], str)
    for row in report["attention"]:
        assert all(row[k] and isinstance(row[k], str) for k in ("module", "kind", "kernel", "why"))
    for row in report["not_counted"]:
        assert row["what"]
        assert row["why"]
        assert row["bytes"] is None or row["bytes"] > 0


@pytest.mark.slow
def test_both_attentions_are_there(folder: Path) -> None:
    attention = analyze(source=ATTENTION)["attention"]
    assert [(row["module"], row["count"]) for row in attention] == [("layers.*.attention", 3), ("last.attention", 1)]
    assert len({row["kind"] for row in attention}) == 2
    assert "s**2" in attention[1]["expr"]
    assert "s**2" not in attention[0]["expr"]


def test_rows_add_up(report: dict[str, Any]) -> None:
    total = report["saved"]["bytes"]
    assert total > 0
    assert sum(n["bytes"] for n in report["nodes"]) == total
    assert sum(m["own_bytes"] for m in report["modules"]) == total
    assert sum(n["allocated_bytes"] for n in report["nodes"]) == report["saved"]["allocated_bytes"]
    assert all(n["count"] * n["each_bytes"] == n["bytes"] for n in report["nodes"])
    assert next(m["bytes"] for m in report["modules"] if m["module"] == "") == total


def test_expressions_are_the_bytes(report: dict[str, Any]) -> None:
    symbols = {name: sympy.Symbol(name) for name in report["symbols"]}
    values = {symbols[name]: value for name, value in report["symbols"].items()}
    for row in rows(report):
        expr = sympy.sympify(row["expr"], locals=symbols)
        assert expr.free_symbols <= symbols.keys() | set(symbols.values())
        assert expr.subs(values) == row["bytes"], row


def test_size_of_one_times_count(report: dict[str, Any]) -> None:
    symbols = {name: sympy.Symbol(name) for name in report["symbols"]}
    values = {symbols[name]: value for name, value in report["symbols"].items()}
    for row in report["modules"]:
        if row["each"] is not None:
            assert sympy.sympify(row["each"], locals=symbols).subs(values) * row["count"] == row["bytes"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["N", "S", "E", "I", "Q", "O", "beta", "pi", "sin"])
def test_names_that_sympy_uses(folder: Path, name: str) -> None:
    source = (
        f"import torch\nfrom torch import nn\ndef model({name}=16): return nn.Sequential(nn.Linear({name}, {name}), "
    )
    source += f"nn.ReLU())\ndef inputs(b=2, {name}=16): return torch.randn(b, {name})\n"
    report = analyze(source=source)
    assert report["symbols"] == {"b": 2, name: 16}
    symbols = {n: sympy.Symbol(n) for n in report["symbols"]}
    expr = sympy.sympify(report["saved"]["expr"], locals=symbols)
    assert expr == 4 * symbols["b"] * symbols[name]


# --- TARGET -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_factory_by_name(folder: Path) -> None:
    (folder / "model.py").write_text(MLP)
    assert analyze("model.py:other")["saved"]["bytes"] == HIDDEN // 4
    assert analyze(f"{folder}/model.py:other")["saved"]["bytes"] == HIDDEN // 4


@pytest.mark.parametrize(
    ("target", "nbytes"),
    one_of(
        ["zoo.mlp:other"],
        [("zoo.mlp:other", HIDDEN // 4), ("zoo.mlp:model", HIDDEN), ("zoo.mlp", HIDDEN), ("zoo/mlp.py", HIDDEN)],
        lambda case: case[0],
    ),
)
def test_module_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch, target: str, nbytes: int) -> None:
    package = f"zoo_{folder.name}".replace("-", "_")
    (folder / package).mkdir()
    (folder / package / "__init__.py").touch()
    (folder / package / "mlp.py").write_text(MLP)
    path = list(sys.path)
    assert analyze(target.replace("zoo", package))["saved"]["bytes"] == nbytes
    assert sys.path == path


@pytest.mark.slow
def test_helper_beside_the_file(folder: Path) -> None:
    (folder / "below").mkdir()
    (folder / "below" / "helper_beside.py").write_text(MLP)
    (folder / "below" / "model.py").write_text("from helper_beside import inputs, model\n")
    assert analyze("below/model.py")["saved"]["bytes"] == HIDDEN


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "nbytes"),
    [
        ("model = lambda h=16, build=model: build(h)", HIDDEN),
        ("import functools; model = functools.partial(model, act='gelu')", 2 * HIDDEN),
        ("class Build:\n    def __call__(self, h=16): return other(h)\nmodel = Build()", HIDDEN // 4),
    ],
    ids=["lambda", "partial", "callable object"],
)
def test_factories_of_other_kinds(folder: Path, line: str, nbytes: int) -> None:
    assert saved(source=f"{MLP}{line}\n") == nbytes


# --- options ------------------------------------------------------------------------------------------------------


SETTINGS = [
    ("", HIDDEN),
    ("s=8_000", 1000 * HIDDEN),
    ("s=16", 2 * HIDDEN),
    ("h=32", 2 * HIDDEN),
    ("b=1 s=24", 3 * HIDDEN // 2),
    ("p=0.5", 2 * HIDDEN + HIDDEN // 4),
    ("p=0", HIDDEN),
    ("wide=False", HIDDEN // 4),
    ("wide=0", HIDDEN // 4),
    ("wide=true", HIDDEN),
    ("act=gelu", 2 * HIDDEN),
]


@pytest.mark.parametrize(("settings", "nbytes"), one_of(["s"], SETTINGS, lambda case: case[0].split("=")[0]))
def test_set(folder: Path, settings: str, nbytes: int) -> None:
    options = [x for pair in settings.split() for x in ("--set", pair)]
    assert saved(*options) == nbytes


@pytest.mark.slow
def test_set_is_in_the_report(folder: Path) -> None:
    assert analyze("model.py", "--set", "s=16", source=MLP)["symbols"] == {"b": 2, "s": 16, "h": 16}


@pytest.mark.slow
def test_set_of_one_of_two_different_defaults(folder: Path) -> None:
    source = MLP.replace("s=8, h=16", "s=8, h=99")
    assert saved("--set", "h=16", source=source) == HIDDEN


DTYPES = [("bf16", HIDDEN // 2), ("fp16", HIDDEN // 2), ("torch.float32", HIDDEN), ("FP64", 2 * HIDDEN)]


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "nbytes"), DTYPES)
def test_dtype(folder: Path, dtype: str, nbytes: int) -> None:
    report = analyze("model.py", "--dtype", dtype, source=MLP)
    assert report["saved"]["bytes"] == nbytes
    assert "dtype" in report["settings"]


@pytest.mark.slow
def test_autocast(folder: Path) -> None:
    report = analyze("model.py", "--autocast", "bf16", source=MLP)
    assert report["settings"] == {"autocast": "bfloat16"}
    assert {n["dtype"] for n in report["nodes"]} == {"bfloat16"}


@pytest.mark.slow
def test_device_cpu(folder: Path) -> None:
    report = analyze("model.py", "--device", "cpu", source=MLP)
    assert "CPU" in report["target"]
    assert report["saved"]["bytes"] == HIDDEN


@pytest.mark.slow
@pytest.mark.parametrize(("gpu", "name"), [("a100", "A100"), ("H100", "H100"), ("rtx-4090", "4090")])
def test_gpu(folder: Path, gpu: str, name: str) -> None:
    assert name in analyze("model.py", "--gpu", gpu, source=MLP)["target"]


@pytest.mark.slow
def test_torch_and_cudnn(folder: Path) -> None:
    target = analyze("model.py", "--torch", "2.11", "--cudnn", "9.15", source=MLP)["target"]
    assert "torch 2.11, cuDNN 9.15" in target


@pytest.mark.slow
def test_output_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "model.py").write_text(MLP)
    (folder / "report.txt").write_text("old")
    assert main(["analyze", "model.py", "-o", "report.txt"]) == 0
    assert capsys.readouterr() == ("", "")
    written = (folder / "report.txt").read_text()
    assert main(["analyze", "model.py"]) == 0
    assert capsys.readouterr().out == written
    assert sorted(p.name for p in folder.iterdir()) == ["model.py", "report.txt"]


# --- help ---------------------------------------------------------------------------------------------------------


def help_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


TALKS = """
import os
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.up, self.down = nn.Linear(h, 4 * h), nn.Linear(4 * h, h)

    def forward(self, x):
        print("1 of 2")
        os.write(1, b"2 of 2")
        return x + self.down(self.up(x).relu())


def model(h=16, L=3): return nn.Sequential(*[Layer(h) for _ in range(L)])
def inputs(b=2, s=8, h=16): return (torch.randn(b, s, h),)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [["fit", "--solve", "h", "--memory", "1GiB"], ["lint", "--budget", "1KiB"]],
    ids=" ".join,
)
def test_what_the_model_prints_goes_to_stderr(
    folder: Path, capfd: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (folder / "model.py").write_text(TALKS)
    name, *options = command
    main([name, "model.py", *options, "--format", "json"])
    out, err = capfd.readouterr()
    assert json.loads(out)
    assert "1 of 2" in err
    assert "2 of 2" in err


def test_help_warns_that_the_file_is_executed(capsys: pytest.CaptureFixture[str]) -> None:
    assert "A Python file is EXECUTED" in " ".join(help_of(capsys, "analyze").split())


def test_readme_warns_that_the_file_is_executed() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "execut" in text.lower()


@pytest.mark.parametrize("command", [[], ["analyze"]], ids=["graphmem", "analyze"])
def test_help_fits(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = help_of(capsys, *command)
    assert "analyze" in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_help_names_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert "exit codes: 0" in help_of(capsys)


@pytest.mark.slow
def test_output_leaves_links_and_special_files_what_they_are(tmp_path) -> None:
    (tmp_path / "model.py").write_text(
        "import torch\ndef model(h=8): return torch.nn.Linear(h, h)\ndef inputs(b=2, h=8): return (torch.ones(b, h),)\n"
    )
    target, link = tmp_path / "real.json", tmp_path / "link.json"
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    assert main(["analyze", str(tmp_path / "model.py"), "--format", "json", "-o", str(link)]) == 0
    assert link.is_symlink()
    assert target.read_text().startswith("{")
    assert target.stat().st_mode & 0o777 == 0o600
    assert main(["analyze", str(tmp_path / "model.py"), "-o", "/dev/null"]) == 0
    assert not Path("/dev/null").is_file()


def test_an_error_of_our_own_is_no_finding(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_given: object) -> str:
        raise ZeroDivisionError("here")

    monkeypatch.setattr("graphmem.linter.explain.explained", broken)
    assert main(["rule", "GM101"]) == 2
    said = capsys.readouterr().err
    assert "ZeroDivisionError: here" in said
    assert "internal error: please report it" in said
