"""`analyze`: the stages in their order. load -> trace -> accounts -> symbolic -> attention -> report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Unpack

from graphmem.accounts.saved import ELSEWHERE, SAVED, sort_storages
from graphmem.analysis.analysis import Analysis
from graphmem.analysis.at import runs_the_same_kernels
from graphmem.analysis.build import build_report
from graphmem.analysis.depth import Depth, depth_of
from graphmem.analysis.parameters import Parameters
from graphmem.analysis.report import Report
from graphmem.analysis.tracer import Tracer
from graphmem.how import How, Options, read_how
from graphmem.load import Loss, Model, Subject, subject_of, wishes_of
from graphmem.machine.pretend import answering_as
from graphmem.memo import Memo
from graphmem.points import Point
from graphmem.symbolic.derivation import Derivation
from graphmem.symbolic.notes import Note
from graphmem.symbolic.strategy import Search, derive_for
from graphmem.usercode.garbage import set_aside
from graphmem.usercode.isolate import isolated

_NO_GRADIENT = (
    "autograd keeps nothing: nothing requires a gradient, or the output does not depend on anything that does"
)
_ALL_ELSEWHERE = "all that is saved for backward lies on another device: see 'saved elsewhere'"
_ALL_BEFORE = (
    "autograd keeps nothing that forward made: backward needs what exists anyway (parameters, inputs), or makes it "
    "again (checkpoints)"
)


def analyze(
    model: Model,
    inputs: Any = None,
    *,
    symbols: Mapping[str, object] | None = None,
    loss: Loss | None = None,
    config: str | None = None,
    input: Mapping[str, str] | None = None,
    task: str | None = None,
    trust_remote_code: bool = False,
    **options: Unpack[Options],
) -> Report:
    """What autograd keeps of one forward of `model`, in bytes and as a formula. Nothing runs on a GPU.

    Args:
        model: a module (meta device welcome; dtype and train/eval mode are kept; nothing in it is changed); or a
            function that returns one, whose parameters are symbols and whose defaults are the working point; or a
            target as on the command line: "model.py", "model.py:name", "package.module:name", "config.json".
        inputs: a tuple or dict of tensors (meta welcome; dtype and requires_grad are kept), or such a function. A
            target brings its own.
        symbols: with functions and targets: values in place of their defaults, as `--set` takes them. With tensors:
            names for sizes, {"b": 2, "s": 200}.
        loss: forward's output -> the tensor that backward starts from. Default: the output's `loss`, or one that the
            model keeps in an attribute, and all other outputs are released; without one all outputs are kept.
        config, input, task, trust_remote_code: with targets, as `--config`, `--input` ({"idx": "int64[b,s]"}), `--task`
            and `--trust-remote-code`.
        options: gpu (default "h100"), device, torch_version, cudnn_version, dtype, autocast, assume, full_depth: see
            `graphmem.how.Options`.

    Raises:
        GraphmemError: see `graphmem.errors`.
    """
    how = read_how({**options, "gpu": options.get("gpu", "h100")})
    wishes = wishes_of(symbols, config, input, task, trust_remote_code)
    with isolated():
        return analyze_subject(subject_of(model, inputs, loss, wishes), how)


@set_aside()
def analyze_subject(subject: Subject, how: How) -> Report:
    """`analyze` for a loaded subject; the caller isolates it."""
    working = dict(subject.symbols)
    return build_report(_Analyst(Tracer(subject, how), _depth(subject, how, working))(working), working)


def _depth(subject: Subject, how: How, working: dict[str, int]) -> Depth:
    names = [n for n in working if n in subject.model_symbols and working[n] > 0]
    with answering_as(how.machine, building=True):
        return depth_of(subject.build, working, names)


@dataclass(frozen=True)
class _Analyst:
    """Makes the analysis of a working point, once for each.

    tracer: for later questions. A derivation has a tracer of its own, whose traces are forgotten with it.
    """

    tracer: Tracer
    depth: Depth
    _made: Memo[Analysis] = field(default_factory=Memo)

    def __call__(self, working: Point) -> Analysis:
        return self._made.at(working, lambda: self._analyse(dict(working)))

    def _analyse(self, working: dict[str, int]) -> Analysis:
        tracer = self.tracer.afresh()
        found = self._derive(tracer, working, short=True)
        same = runs_the_same_kernels(found, working)
        return found if same else self._derive(tracer, working, short=False)

    def _anew(self, working: Point) -> Analysis:
        with isolated(), set_aside():
            return self(working)

    def _derive(self, tracer: Tracer, working: dict[str, int], *, short: bool) -> Analysis:
        subject, how = tracer.subject, tracer.how
        search = Search(
            tracer=tracer,
            account=sort_storages,
            total=SAVED,
            model_symbols=subject.model_symbols,
            depth=self.depth.periods,
            unlike=self.depth.unlike,
            deepest=self.depth.deepest,
            full_depth=how.full_depth,
            room=subject.room,
        )
        derived, bounds, remarks = derive_for(search, working, short=short)
        guessed = [note for name, note in subject.notes.items() if name in derived.symbols]
        others = [*_where_nothing_is_saved(derived), *filter(None, [how.machine.not_followed])]
        return Analysis(
            name=subject.name,
            working=working,
            derived=derived,
            bounds=bounds,
            layers={d: max(n, working[d]) if tracer.knows(working) else n for d, n in derived.layers.items()},
            notes=(*map(Note, subject.remarks), *map(Note, guessed), *remarks, *map(Note, others)),
            how=how,
            tracer=self.tracer,
            anew=self._anew,
            parameters=Parameters(self.tracer, derived.base, derived.periods),
        )


def _where_nothing_is_saved(derived: Derivation) -> list[str]:
    """Why nothing is saved for backward, where that is so."""
    tables = {group.key.table for group in derived.groups}
    if SAVED in tables:
        return []
    if not derived.trace.differentiable:
        return [_NO_GRADIENT]
    return [_ALL_ELSEWHERE if ELSEWHERE in tables else _ALL_BEFORE]
