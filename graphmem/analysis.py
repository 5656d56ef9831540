"""`analyze`: the stages in their order. load -> trace -> saved -> symbolic -> attention -> report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn

from graphmem.collector import set_aside
from graphmem.derivation import derive_for
from graphmem.errors import ModelError, UsageError
from graphmem.load import Subject, from_factories, from_module, isolated
from graphmem.report import Report
from graphmem.report.build import build_report
from graphmem.report.elsewhere import runs_the_same_kernels
from graphmem.report.findings import Findings
from graphmem.symbolic.depth import depth_symbols
from graphmem.target import Target, resolve
from graphmem.target.pretend import answering_as
from graphmem.trace import Trace, trace
from graphmem.trace.answers import Answers
from graphmem.trace.assumptions import Assumptions, read_assumptions

_DTYPES = {
    "fp32": torch.float32, "float32": torch.float32, "fp16": torch.float16, "float16": torch.float16,
    "half": torch.float16, "bf16": torch.bfloat16, "bfloat16": torch.bfloat16, "fp64": torch.float64,
    "float64": torch.float64,
}  # fmt: skip


def analyze(
    model: nn.Module | Callable[..., nn.Module],
    inputs: Any,
    *,
    gpu: str | None = "h100",
    device: str = "cuda",
    torch_version: str | None = None,
    cudnn_version: str | None = None,
    autocast: torch.dtype | str | None = None,
    symbols: Mapping[str, int] | None = None,
    loss: Callable[[Any], torch.Tensor] | None = None,
    full_depth: bool = False,
    assume: Mapping[str, object] | None = None,
) -> Report:
    """What autograd keeps of one forward of `model`, in bytes and as a formula. Nothing runs on a GPU.

    Args:
        model: a module (meta device welcome; dtype and train/eval mode are kept; nothing in it is changed), or a
            function whose parameters are symbols with their working point as defaults and which returns one.
        inputs: a tuple or dict of tensors (meta welcome; dtype and requires_grad are kept), or such a function.
        gpu: the GPU whose kernels are meant; see `graphmem.target.gpus`. None: the one present, else an H100.
        device: "cuda", or "cpu" for what the CPU keeps.
        torch_version, cudnn_version: whose backend rules apply ("2.11", "9.19"); default: the installed torch and the
            cuDNN that its CUDA build carries.
        autocast: the dtype, as `torch.autocast(device, dtype)` around forward and loss.
        symbols: with functions: values in place of their defaults. With tensors: names for sizes, {"b": 2, "s": 200}.
        loss: forward's output -> the tensor that backward starts from. Default: the output's `loss`, and all other
            outputs are released; without one all outputs are kept.
        full_depth: trace all layers, however many. By default that is left out where there are very many and the first
            ones are alike; the report says so.
        assume: answers where forward asks for a value that weights or activations decide: {"experts": "worst"} if all
            tokens choose the same experts (default: all experts equally often), {"model.py:88": 3} for a line.

    Raises:
        GraphmemError: see `graphmem.errors`.
    """
    target = resolve(gpu=gpu, device=device, torch_version=torch_version, cudnn_version=cudnn_version)
    with isolated():
        if isinstance(model, nn.Module):
            if callable(inputs) and not isinstance(inputs, torch.Tensor):
                raise UsageError("a module goes with tensors, a function with a function: inputs is a function")
            subject = from_module(model, inputs, loss=loss, symbols=symbols)
        else:
            if not callable(inputs):
                raise UsageError("a function for the model needs a function for the inputs")
            name = getattr(model, "__qualname__", type(model).__name__)
            subject = from_factories(model, inputs, name=name, loss=loss, settings=symbols)
        return analyze_subject(
            subject,
            target,
            autocast=as_autocast(autocast),
            full_depth=full_depth,
            assumptions=read_assumptions(assume or {}),
        )


@set_aside()
def analyze_subject(
    subject: Subject,
    target: Target,
    *,
    dtype: torch.dtype | None = None,
    autocast: torch.dtype | None = None,
    full_depth: bool = False,
    assumptions: Assumptions | None = None,
) -> Report:
    """`analyze` for a loaded subject; the caller isolates it."""
    working = dict(subject.symbols)
    settings = {k: _name(v) for k, v in (("dtype", dtype), ("autocast", autocast)) if v is not None}
    tracer = Tracer(subject, target, dtype, autocast, assumptions)
    findings = _Finder(tracer, settings, *_depth(subject, target, working), full_depth)(working)
    return build_report(findings, working)


def _depth(subject: Subject, target: Target, working: dict[str, int]) -> tuple[dict[str, int], list[str]]:
    names = [n for n in working if n in subject.model_symbols and working[n] > 0]
    with answering_as(target, building=True):
        return depth_symbols(subject.build, working, names)


@dataclass(frozen=True)
class _Finder:
    """Makes the findings from a working point, once for each.

    tracer: for what is asked for later; what a derivation traces is forgotten with it.
    """

    tracer: Tracer
    settings: dict[str, str]
    depth: dict[str, int]
    unlike: list[str]
    full_depth: bool
    _found: dict[tuple[tuple[str, int], ...], Findings] = field(default_factory=dict)

    def __call__(self, working: dict[str, int]) -> Findings:
        key = tuple(sorted(working.items()))
        if key not in self._found:
            tracer = self.tracer.afresh()
            found = self._derive(tracer, working, short=True)
            same = runs_the_same_kernels(found, working)
            self._found[key] = found if same else self._derive(tracer, working, short=False)
        return self._found[key]

    def _anew(self, working: dict[str, int]) -> Findings:
        with isolated(), set_aside():
            return self(working)

    def _derive(self, tracer: Tracer, working: dict[str, int], *, short: bool) -> Findings:
        subject = tracer.subject
        derived, bounds, remarks = derive_for(
            tracer, working, subject.model_symbols, self.depth, self.unlike, full_depth=self.full_depth, short=short
        )
        return Findings(
            name=subject.name,
            settings=self.settings,
            working=working,
            derived=derived,
            bounds=bounds,
            notes=(
                *subject.remarks,
                *(note for name, note in subject.notes.items() if name in derived.symbols),
                *remarks,
            ),
            machine=tracer.target,
            make_graph=_Graph(self.tracer, working, derived.trace),
            tracer=self.tracer,
            anew=self._anew,
            parameters=_Parameters(self.tracer, derived.base, derived.periods),
        )


@dataclass(frozen=True)
class _Parameters:
    """Bytes of the weights at a point. Layers that are alike have as many each: few of them are built."""

    tracer: Tracer
    base: dict[str, int]
    periods: dict[str, int]
    _known: dict[tuple[tuple[str, int], ...], int] = field(default_factory=dict)

    def __call__(self, point: Mapping[str, int]) -> int:
        few = {n: self.base[n] if n in self.periods else v for n, v in point.items()}
        built = self._built(few)
        rounds = {d: (point[d] - few[d]) // period for d, period in self.periods.items() if point[d] != few[d]}
        added = {d: self._built({**few, d: few[d] + self.periods[d]}) - built for d in rounds}
        return built + sum(added[d] * n for d, n in rounds.items())

    def _built(self, point: Mapping[str, int]) -> int:
        model = self.tracer.subject.model_symbols
        key = tuple(sorted((n, v) for n, v in point.items() if n in model))
        if key not in self._known:
            with isolated():
                self._known[key] = self.tracer.parameter_bytes(point)
        return self._known[key]


@dataclass(frozen=True)
class Tracer:
    """Traces a subject at a point; the same point is traced once."""

    subject: Subject
    target: Target
    dtype: torch.dtype | None
    autocast: torch.dtype | None
    assumptions: Assumptions | None = None
    most_operators: int | None = None
    _made: dict[tuple[tuple[str, int], ...], Trace] = field(default_factory=dict)
    _answers: Answers = field(default_factory=Answers)

    def __call__(self, point: dict[str, int]) -> Trace:
        key = tuple(sorted(point.items()))
        if key not in self._made:
            subject = self.subject
            with answering_as(self.target, building=True):
                module = subject.build(point)
            try:
                self._made[key] = trace(
                    module,
                    subject.make_inputs(point, False),
                    self.target,
                    point=point,
                    dtype=self.dtype,
                    autocast=self.autocast,
                    loss=subject.loss,
                    reload=lambda: subject.values_at(point),
                    assumptions=self.assumptions,
                    most_operators=self.most_operators,
                    answers=self._answers,
                )
            except ModelError as error:
                error.hint = "\n".join(filter(None, (error.hint, subject.remedy)))
                raise
        return self._made[key]

    def limited(self, most_operators: int) -> Tracer:
        """The same, but giving up where there are more operators."""
        return replace(self, most_operators=most_operators)

    def afresh(self) -> Tracer:
        """The same without what it has traced."""
        return replace(self, _made={}, _answers=Answers())

    @property
    def finished(self) -> bool:
        """Whether the module exists, and is only shortened."""
        return self.subject.finished

    def knows(self, point: dict[str, int]) -> bool:
        """Whether that point was traced."""
        return tuple(sorted(point.items())) in self._made

    def parameter_bytes(self, point: Mapping[str, int]) -> int:
        """Bytes of the model's parameters at `point`, each once."""
        with answering_as(self.target, building=True):
            parameters = self.subject.build(dict(point)).parameters()
        return sum(
            p.numel() * (self.dtype if self.dtype and p.is_floating_point() else p.dtype).itemsize for p in parameters
        )


@dataclass(frozen=True)
class _Graph:
    """Makes the fx graph of the working point when somebody asks for it."""

    tracer: Tracer
    point: dict[str, int]
    traced: Trace

    def __call__(self) -> torch.fx.Graph:
        return self._graph

    @cached_property
    def _graph(self) -> torch.fx.Graph:
        from graphmem.trace.graph import to_graph

        if self.traced.point == self.point:
            return to_graph(self.traced)
        with isolated():
            return to_graph(self.tracer(self.point))


def as_dtype(name: torch.dtype | str | None) -> torch.dtype | None:
    """A dtype by the names people use: bf16, float16, torch.float32.

    Raises:
        UsageError: an unknown name.
    """
    if name is None or isinstance(name, torch.dtype):
        return name
    found = _DTYPES.get(name.lower().removeprefix("torch."))
    if found is None:
        raise UsageError(f"unknown dtype {name!r}", hint="bf16, fp16, fp32 or fp64")
    return found


def as_autocast(name: torch.dtype | str | None) -> torch.dtype | None:
    """A dtype that torch.autocast takes.

    Raises:
        UsageError: any other; torch would warn and switch autocast off.
    """
    dtype = as_dtype(name)
    if dtype not in (None, torch.bfloat16, torch.float16):
        raise UsageError(f"torch.autocast does not run in {name}", hint="bf16 or fp16")
    return dtype


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
