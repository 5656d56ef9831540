"""`graphmem validate`: the model runs for real, here on the CPU, and what it keeps is what was predicted."""

from __future__ import annotations

import dataclasses
import gc
import importlib.util
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from graphmem.cli import main
from graphmem.errors import GraphmemError, UsageError
from graphmem.validation import allocator, needs, run, step
from graphmem.validation.allocator import Counters
from graphmem.validation.compare import compare
from graphmem.validation.output import FORMATS
from graphmem.validation.plot import render as svg
from graphmem.validation.predict import Expected
from graphmem.validation.run import validate
from graphmem.validation.sweep import points_of, read_sweep
from graphmem.validation.watch import Observed
from support.repo import ROOT
from support.slow import one_of

MODEL = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, h):
        super().__init__()
        self.up, self.down = nn.Linear(h, 4 * h), nn.Linear(4 * h, h)

    def forward(self, x):
        y = self.up(x)
        y = nn.functional.gelu(y)  # <-
        return {"loss": self.down(y).square().mean()}


def model(h=16): return Net(h)
def inputs(b=2, s=8, h=16): return (torch.randn(b, s, h),)
"""
SMALL = {"h": 32, "a": 4, "v": 50, "s": 8, "b": 2}
SAMPLES = [
    ("gpt2.py", {**SMALL, "L": 2}),
    ("gpt2.py", {**SMALL, "L": 2, "attn": "sdpa"}),
    ("llama.py", {**SMALL, "k": 2, "f": 48, "L": 2}),
    ("megatron_layer.py", SMALL),
    ("flash_block.py", SMALL),
    ("kernels.py:math_dropout", SMALL),
    ("kernels.py:sdpa_grouped", SMALL),
    ("kernels.py:eager_dropout", SMALL),
    ("hf_llama.py", {**SMALL, "k": 2, "f": 48, "L": 2}),
]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("graphmem.usercode.paths._START", str(tmp_path))
    Path("model.py").write_text(MODEL)
    return "model.py"


LINE = next(i for i, line in enumerate(MODEL.splitlines(), 1) if "# <-" in line)


def on_cpu(*arguments: str) -> int:
    return main(["validate", *arguments, "--device", "cpu"])


def needs_its_package(sample: str) -> None:
    if sample.startswith("hf_"):
        pytest.importorskip("transformers")


# --- it is right --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sample", "settings"),
    one_of(["gpt2.py"], SAMPLES, lambda case: case[0]),
    ids=[f"{n} {s.get('attn', '')}" for n, s in SAMPLES],
)
def test_every_storage_of_a_sample(sample: str, settings: dict[str, Any]) -> None:
    needs_its_package(sample)
    found = validate(str(ROOT / "samples" / sample), device="cpu", symbols=settings, dtype="fp32", steps=1)
    (point,) = found.points
    assert found.exact
    assert point.measured is not None
    assert point.compared is not None
    assert point.compared.moved == 0
    assert point.measured.saved_bytes == point.predicted.saved_bytes > 0
    assert point.measured.elsewhere == point.predicted.elsewhere


OPTIONS = [["--dtype", "bf16"], ["--autocast", "bf16"], ["--steps", "3"]]


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_options(file: str, options: list[str]) -> None:
    assert on_cpu(file, *options) == 0


class Caching(nn.Module):
    """Makes a mask in the first forward and keeps it; uses a constant of the file; replaces a buffer."""

    constant = torch.arange(16.0)

    def __init__(self) -> None:
        super().__init__()
        self.lin, self.mask = nn.Linear(16, 16), None
        self.register_buffer("mean", torch.zeros(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mask is None:
            self.mask = torch.rand(x.shape)
        self.mean = self.mean.detach() * 0.9 + x.detach().mean(0)
        return self.lin(x) * self.mask * self.constant * self.mean


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True], ids=["", "frozen"])
def test_what_was_there_before_does_not_count(frozen: bool, request: pytest.FixtureRequest) -> None:
    """Also where somebody has frozen it: the collector does not list that."""
    if frozen:
        gc.freeze()
        request.addfinalizer(gc.unfreeze)
    module = Caching()
    (point,) = validate(module, (torch.randn(8, 16),), device="cpu").points
    assert point.exact
    assert point.measured is not None
    assert point.measured.earlier_bytes == 8 * 16 * 4  # the mask counts, but this step did not make it
    assert point.rise == point.predicted.alive - 8 * 16 * 4
    assert point.allocated_rise == point.predicted.alive_allocated - 8 * 16 * 4
    assert module.mask is None
    assert module.lin.weight.grad is None  # a copy was run


class Remembering(nn.Module):
    """Leaves a result in an attribute: the first, the last, all of them; or a table that is made once."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.lin, self.how, self.last, self.all = nn.Linear(16, 16), how, None, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        made = self.lin(x).tanh()
        if self.how == "all":
            self.all.append(made)
        elif self.how == "table" and self.last is None:
            self.last = torch.ones(16, device=x.device)
        elif self.how == "last" or (self.how == "first" and self.last is None):
            self.last = made
        return (made + (self.last if self.how == "table" else 1)).relu()


REMEMBERED = [("first", 0), ("last", 8 * 16 * 4), ("all", 0), ("table", 16 * 4)]  # and what of it is no rise


@pytest.mark.slow
@pytest.mark.parametrize(("how", "left"), REMEMBERED, ids=lambda x: str(x))
@pytest.mark.parametrize("steps", [2, 4])
def test_what_an_earlier_step_left_and_this_one_keeps_or_replaces_is_no_rise(how: str, left: int, steps: int) -> None:
    (point,) = validate(Remembering(how), (torch.randn(8, 16),), device="cpu", steps=steps).points
    assert point.exact
    assert point.measured is not None
    assert point.measured.earlier_bytes == left


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.layers, self.reentrant = nn.Linear(16, 16), nn.Linear(16, 16), reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.utils.checkpoint.checkpoint(
            lambda y: self.layers(y).relu(), self.first(x), use_reentrant=self.reentrant
        )


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.slow
def test_checkpointing_runs_backward_too(reentrant: bool) -> None:
    assert validate(Checkpointed(reentrant), (torch.randn(8, 16),), device="cpu").exact


@pytest.mark.slow
def test_nothing_is_left(file: str) -> None:
    def floats() -> int:
        gc.collect()
        return sum(1 for value in gc.get_objects() if issubclass(type(value), torch.Tensor))

    assert on_cpu(file) == 0
    generator = torch.get_rng_state()
    before = floats()
    assert on_cpu(file, "--set", "h=24") == 0
    assert floats() == before
    assert torch.equal(torch.get_rng_state(), generator)


# --- what it says -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_table(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert on_cpu(file, "--sweep", "s=4,8", "b=1,2") == 0
    text = capsys.readouterr().out
    assert "model.py  ·  on the CPU, torch" in text
    assert text.count("each the same") == 4
    assert "s=8 b=2  saved           9,216       9,216      0  each the same" in text
    assert "saved storages as predicted at 4 of 4 points" in text
    assert "requested and allocated bytes are the CUDA allocator's" in text
    assert "peak" not in text


@pytest.mark.slow
def test_json_and_plot(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert on_cpu(file, "--sweep", "s=4,8", "b=1,2", "--format", "json", "--svg", "plot.svg") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["format"], found["exact"], found["swept"], found["steps"]) == (1, True, ["s", "b"], 2)
    assert [(p["point"]["s"], p["point"]["b"]) for p in found["points"]] == [
        (4, 1), (4, 2), (8, 1), (8, 2),
    ]  # fmt: skip
    for point in found["points"]:
        assert point["measured"]["saved"] == point["predicted"]["saved"] > 0
        assert point["measured"]["requested"] is None
        assert point["differences"] == []
    drawing = ET.parse("plot.svg").getroot()
    tags = [element.tag.rpartition("}")[2] for element in drawing.iter()]
    assert tags.count("polyline") == 2 + 2  # over s for each b, over b for each s
    assert tags.count("circle") == 2 * 4 + 2 + 2  # every point in both, and the legends
    words = {element.text for element in drawing.iter() if element.text}
    assert {"s", "b", "KiB", "predicted, b=1", "measured, s=8"} <= words


@pytest.mark.slow
def test_rows_of_a_gpu(file: str) -> None:
    """What the allocator counted is shown, and how much of it is the rest of blocks that were not split."""
    found = validate(file, device="cpu", steps=1)
    (point,) = found.points
    assert point.measured is not None
    alive = point.predicted.alive, point.predicted.alive_allocated
    assert alive == (9220, 9216 + 512)  # with the loss

    def shown(requested: int, rounded: int, unsplit: int) -> str:
        rise = Counters(requested, rounded, unsplit)
        measured = dataclasses.replace(point.measured, rise=rise, left=rise, before=0, peak=123456)  # type: ignore[type-var]
        changed = dataclasses.replace(point, measured=measured)
        return " ".join(
            FORMATS["table"](
                dataclasses.replace(found, device="cuda", points=(changed,)),
            ).split()
        )

    assert "requested 9,220 9,220 0 allocated 9,728 9,728 0 peak 123,456 saved" in shown(9220, 9728, 0)
    assert "allocated 9,728 10,240 +512 +512 blocks not split peak" in shown(9220, 10240, 512)
    assert "requested 9,220 9,222 +2 allocated 9,728 11,264 +1,536 +512 blocks not split, +1,024 otherwise" in shown(
        9222, 11264, 512
    )
    assert "otherwise" in shown(9220, 10240, 0)


@pytest.mark.slow
def test_plot_of_a_single_point(file: str) -> None:
    ET.fromstring(svg(validate(file, device="cpu")))


@pytest.mark.slow
def test_plot_with_many_lines(file: str) -> None:
    found = validate(file, device="cpu", steps=1)
    (point,) = found.points
    everywhere = [
        dataclasses.replace(point, predicted=dataclasses.replace(point.predicted, point={"s": s, "b": b}))
        for s in (1, 2)
        for b in range(1, 7)
    ]
    drawing = svg(dataclasses.replace(found, swept=("s", "b"), points=tuple(everywhere)))
    assert "predicted, b=6" in drawing
    assert "predicted, b=5" not in drawing


# --- a prediction that is wrong -----------------------------------------------------------------------------------


@pytest.fixture
def corrupt(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let every prediction go through a function first."""

    def install(change: Any) -> None:
        right = run.predict

        def wrong(*args: Any) -> Any:
            prediction = right(*args)
            return dataclasses.replace(prediction, saved=tuple(change(list(prediction.saved))))

        monkeypatch.setattr(run, "predict", wrong)

    return install


def doubled(saved: list[Expected]) -> list[Expected]:
    return [dataclasses.replace(s, nbytes=2 * s.nbytes) if s.op == "aten.gelu.default" else s for s in saved]


@pytest.mark.slow
def test_a_wrong_size_is_caught_and_named(file: str, corrupt: Any, capsys: pytest.CaptureFixture[str]) -> None:
    corrupt(doubled)
    assert on_cpu(file) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert "saved 13,312 9,216 -4,096 1 differ" in text
    what = f"aten.gelu.default float32[2, 8, 64], model.py:{LINE}, kept by AddmmBackward0"
    assert f"predicted 8,192 B, measured 4,096 B: {what}" in text
    assert "saved storages as predicted at 0 of 1 points" in text


@pytest.mark.slow
def test_a_missing_storage_is_caught_and_named(file: str, corrupt: Any, capsys: pytest.CaptureFixture[str]) -> None:
    corrupt(lambda saved: [s for s in saved if s.op != "aten.gelu.default"])
    assert on_cpu(file, "--format", "json") == 1
    (difference,) = json.loads(capsys.readouterr().out)["points"][0]["differences"]
    assert (difference["predicted"], difference["measured"]) == (None, 4096)
    assert difference["kept_by"] == ["AddmmBackward0"]
    assert difference["where"].startswith("model.py:")


@pytest.mark.slow
def test_one_storage_too_many_is_caught_and_named(file: str, corrupt: Any, capsys: pytest.CaptureFixture[str]) -> None:
    corrupt(lambda saved: [*saved, saved[-1]])
    assert on_cpu(file, "--format", "json") == 1
    (difference,) = json.loads(capsys.readouterr().out)["points"][0]["differences"]
    assert difference["measured"] is None
    assert difference["op"]
    assert difference["where"]


@pytest.mark.slow
def test_as_many_bytes_in_other_storages_are_caught(file: str, corrupt: Any) -> None:
    corrupt(lambda saved: [dataclasses.replace(saved[0], nbytes=saved[0].nbytes + 4),
                           dataclasses.replace(saved[1], nbytes=saved[1].nbytes - 4), *saved[2:]])  # fmt: skip
    assert on_cpu(file) == 1


def storages(kind: type, *sizes: int) -> list[Any]:
    if kind is Observed:
        return [Observed(n, (n,), "uint8", "MulBackward0", "model.py:2") for n in sizes]
    return [Expected(n, f"op{i}", "m", f"m.{i}", f"model.py:{i}", (n,), "uint8", ("Mul",)) for i, n in enumerate(sizes)]


@pytest.mark.parametrize(
    ("expected", "seen", "differences", "moved"),
    [
        ([1, 2, 3], [1, 2, 3], [], 0),
        ([1, 2, 3], [2, 1, 3], [], 1),
        ([1, 2, 3], [1, 4, 3], [(2, 4)], 0),
        ([1, 2, 3], [1, 3], [(2, None)], 0),
        ([1, 3], [1, 2, 3], [(None, 2)], 0),
        ([5, 5, 5, 6], [5, 5, 6], [(5, None)], 0),
        ([], [7], [(None, 7)], 0),
        ([1, 2, 3, 4], [4, 1, 2, 9], [(3, 9)], 1),
    ],
)
def test_compare(expected: list[int], seen: list[int], differences: list[Any], moved: int) -> None:
    found = compare(storages(Expected, *expected), storages(Observed, *seen))
    assert [(d.expected and d.expected.nbytes, d.seen and d.seen.nbytes) for d in found.differences] == differences
    assert found.moved == moved
    if differences == [(None, 2)]:
        assert found.differences[0].module == ""  # op 1 is on line 1, and it was seen on line 2


# --- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_cannot_fit_is_refused(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(needs, "free_memory", lambda device: 2**20)
    ran = []
    monkeypatch.setattr(run, "measure", lambda *args: ran.append(args))
    assert on_cpu(file, "--sweep", "b=2,4000") == 2
    out, error = capsys.readouterr()
    assert not ran
    assert not out
    assert "b=4000 s=8 h=16 needs at least" in error
    assert "1.00 MiB are free; nothing was run" in error
    assert f"aten.gelu.default at model.py:{LINE} " in error
    assert "--force" in error


@pytest.mark.slow
def test_force_runs_it(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "free_memory", lambda device: 1)
    assert on_cpu(file, "--force") == 0


def test_free_memory_of_this_machine() -> None:
    free = needs.free_memory("cpu")
    assert free is None or 2**20 < free < 2**50


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", [True, False], ids=["behind another error", "as it is"])
def test_out_of_memory(
    file: str, wrapped: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = step.run_forward

    def forward(module: nn.Module, args: Any, *rest: Any) -> Any:
        if args[0].shape[0] == 3:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            except torch.OutOfMemoryError as error:
                if not wrapped:
                    raise
                raise ValueError("something else") from error
        return right(module, args, *rest)

    monkeypatch.setattr(step, "run_forward", forward)
    assert on_cpu(file, "--sweep", "b=3,4", "--format", "table") == 2
    out, error = capsys.readouterr()
    assert out.count("each the same") == 1  # the other point was measured all the same
    assert "out of memory" in out
    assert "(1 ran out of memory)" in out
    assert "b=3 s=8 h=16: out of memory in forward; the prediction was at least" in error
    assert f"aten.gelu.default at model.py:{LINE} " in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_out_of_memory_in_json(file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def forward(*_args: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(step, "run_forward", forward)
    assert on_cpu(file, "--format", "json") == 2
    (point,) = json.loads(capsys.readouterr().out)["points"]
    assert point["measured"] is None
    assert "out of memory in forward" in point["failed"]


def test_unsplit_blocks() -> None:
    def block(requested: int, size: int, state: str = "active_allocated") -> dict[str, Any]:
        return {"requested_size": requested, "size": size, "state": state}

    mib = 2**20
    blocks = [
        block(100, 512),  # rounded up: not of this kind
        block(3 * mib - 100, 3 * mib),
        block(3 * mib, 3 * mib + 1024),  # whole
        block(19 * mib + 1, 20 * mib),  # whole
        block(3 * mib, 3 * mib + 4096, "inactive"),
        block(mib, mib + 512),  # small ones are always split: some setting of the user's
        block(3 * mib, 5 * mib),  # likewise
    ]
    assert allocator.unsplit_bytes([{"blocks": blocks[:3]}, {"blocks": blocks[3:]}]) == 1024 + mib - 512


def test_counters(monkeypatch: pytest.MonkeyPatch) -> None:
    def segment(device: int) -> dict[str, Any]:
        whole = {"requested_size": 3 * 2**20, "size": 4 * 2**20, "state": "active_allocated"}
        return {"device": device, "blocks": [whole]}

    answers: dict[str, Any] = {
        "get_allocator_backend": "native",
        "synchronize": None,
        "memory_stats": {"requested_bytes.all.current": 100, "allocated_bytes.all.current": 512},
        "current_device": 1,
        "memory_snapshot": [segment(0), segment(1)],
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda answer=answer: answer)
    assert allocator.counters("cuda") == Counters(100, 512, 2**20)
    assert allocator.counters("cpu") is None
    monkeypatch.setattr(torch.cuda, "get_allocator_backend", lambda: "cudaMallocAsync")
    assert allocator.counters("cuda") is None


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sweep", "s"], "--sweep s: not NAME=NUMBER"),
        (["--sweep", "s="], "--sweep s=: not NAME=NUMBER"),
        (["--sweep", "s=1,x"], "--sweep s=1,x: not NAME=NUMBER"),
        (["--sweep", "s=0"], "of positive numbers"),
        (["--sweep", "=1"], "--sweep =1"),
        (["--sweep", "s=1", "--sweep", "s=2"], "--sweep has s twice"),
        (["--sweep", "seq=1"], "unknown symbol 'seq' in --sweep"),
        (["--steps", "0"], "--steps 0: at least one step"),
        (["--svg", "."], "--svg takes a file"),
        (["--svg", "no/such/folder.svg"], "there is no folder"),
        (["--autocast", "fp32"], "torch.autocast does not run in fp32"),
        (["--set", "x=1"], "unknown symbol 'x' in --set"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_errors(file: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert on_cpu(file, *arguments) == 2
    out, error = capsys.readouterr()
    assert not out
    assert error.startswith("graphmem: error: ")
    assert said in error
    assert "Traceback" not in error


@pytest.mark.parametrize("option", ["gpu", "torch_version", "cudnn_version", "full_depth"], ids="no {}".format)
def test_another_machine_is_not_for_a_real_run(option: str) -> None:
    with pytest.raises(UsageError, match=f"runs the model on this machine and takes no {option}"):
        validate(nn.Linear(2, 2), (torch.randn(2, 2),), device="cpu", **{option: "a100"})
    with pytest.raises(UsageError, match="unknown option 'devise'"):
        validate(nn.Linear(2, 2), (torch.randn(2, 2),), **{"devise": "cpu"})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "y = self.up(x)",
            "y = self.up(x) if x.is_meta or type(x) is not torch.Tensor else 1 / 0",
            "ZeroDivisionError",
        ),
        (
            '{"loss": self.down(y).square().mean()}',
            "Fails.apply(self.down(y))",
            "backward raised RuntimeError: on purpose",
        ),
        pytest.param(
            "def model(h=16): return Net(h)",
            "def model(h=16): return Net(h).to('meta')",
            "is on the meta device",
            marks=pytest.mark.slow,
        ),
    ],
    ids=["forward", "backward", "meta"],
)
def test_the_models_own_errors(file: str, old: str, new: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    fails = """
class Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x.clone()
    @staticmethod
    def backward(ctx, g): raise RuntimeError("on purpose")
"""
    assert old in MODEL
    Path(file).write_text(MODEL.replace(old, new) + fails)
    assert on_cpu(file) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_a_gpu_that_stopped(file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever it comes out: kernels run behind."""

    def stopped(_device: str) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered\nCUDA kernel errors might be reported elsewhere")

    monkeypatch.setattr(step, "counters", stopped)
    assert on_cpu(file) == 2
    error = capsys.readouterr().err
    assert "graphmem: error: the GPU stopped: CUDA error: device-side assert triggered\n" in error
    assert "--device cpu" in error
    assert "Traceback" not in error


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", file]) == 2
    assert "there is no GPU here" in capsys.readouterr().err


def test_a_stand_in_is_no_package(capsys: pytest.CaptureFixture[str]) -> None:
    """flash-attn is not installed here: the analysis does without, a real run cannot."""
    if importlib.util.find_spec("flash_attn") is not None:
        pytest.skip("flash-attn is installed")
    assert on_cpu(str(ROOT / "samples" / "kernels.py:flash_attn"), "--set", "s=8", "--set", "h=32") == 2
    assert "flash_attn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sweep", "said"),
    [
        ({"b": 4}, "the sweep of b is a list of values, not 4"),
        ({"b": []}, r"the sweep of b is a list of values, not \[\]"),
        ({"b": "12"}, "the sweep of b is a list of values, not '12'"),
        ({"b": ["2"]}, "b must be a positive integer, not '2'"),
        ({"b": [1, 0]}, "b must be a positive integer, not 0"),
        ("b=1,2", "a sweep is a dict, not 'b=1,2'"),
    ],
)
def test_what_is_no_sweep(sweep: Any, said: str) -> None:
    with pytest.raises(GraphmemError, match=said):
        points_of(sweep, {"b": 2})


@pytest.mark.parametrize("steps", ["2", 2.0, True])
def test_steps_are_a_whole_number(steps: Any) -> None:
    with pytest.raises(UsageError, match=f"steps is a whole number, not {steps!r}"):
        validate(nn.Linear(2, 2), (torch.randn(2, 2),), device="cpu", steps=steps)


def test_points_of_a_sweep() -> None:
    sweep = read_sweep(["s=1_024,2,2", "b=3"])
    assert points_of(sweep, {"h": 5, "b": 1, "s": 1}) == [{"h": 5, "b": 3, "s": 1024}, {"h": 5, "b": 3, "s": 2}]


# --- on a GPU -----------------------------------------------------------------------------------------------------


@pytest.mark.gpu
@pytest.mark.parametrize(("sample", "settings"), SAMPLES, ids=[f"{n} {s.get('attn', '')}" for n, s in SAMPLES])
def test_on_the_gpu(sample: str, settings: dict[str, Any]) -> None:
    needs_its_package(sample)
    sizes = {**settings, "h": 256, "a": 4}
    found = validate(str(ROOT / "samples" / sample), symbols=sizes, sweep={"s": [64, 512], "b": [1, 4]})
    assert found.exact, FORMATS["table"](found)
    for point in found.points:
        assert point.measured is not None
        assert point.measured.rise is not None
        assert point.measured.rise.requested == point.predicted.alive
        assert point.measured.rise.allocated - point.measured.rise.unsplit == point.predicted.alive_allocated


@pytest.mark.gpu
@pytest.mark.parametrize("how", [how for how, _ in REMEMBERED])
@pytest.mark.parametrize("steps", [2, 4])
def test_what_steps_leave_on_the_gpu(how: str, steps: int) -> None:
    (point,) = validate(Remembering(how), (torch.randn(8, 16),), steps=steps).points
    assert point.exact
    assert point.measured is not None
    assert point.measured.rise is not None
    assert point.measured.rise.requested == point.rise
    assert point.measured.rise.allocated == point.allocated_rise


@pytest.mark.gpu
def test_it_leaves_the_gpu_as_it_was() -> None:
    validate(str(ROOT / "samples" / "megatron_layer.py"), symbols=SMALL)
    gc.collect()
    before = torch.cuda.memory_allocated()
    validate(str(ROOT / "samples" / "megatron_layer.py"), symbols=SMALL)
    assert torch.cuda.memory_allocated() == before


@pytest.mark.gpu
def test_an_assertion_on_the_gpu_is_the_models_error(file: str) -> None:
    """In a process of its own: no kernel runs there any more."""
    wrong = "y = y + self.down.weight[x.detach().sum((1, 2)).long() * 0 + 10**6].sum()"
    Path(file).write_text(MODEL.replace("y = self.up(x)", f"y = self.up(x); {wrong}"))
    command = [sys.executable, "-m", "graphmem", "validate", file]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 2
    assert "graphmem: error: " in done.stderr
    assert "Traceback" not in done.stderr
