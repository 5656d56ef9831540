"""`Analysis`: what a derivation says of the modules and attentions, before any point is chosen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from graphmem.accounts.saved import SAVED
from graphmem.analysis.shares import Share, shares
from graphmem.analysis.tracer import Tracer
from graphmem.attention import Site, find_attention
from graphmem.attention.instead import Instead, instead_of
from graphmem.attention.site import alike
from graphmem.errors import GraphmemError
from graphmem.how import How
from graphmem.machine import Machine
from graphmem.points import Point
from graphmem.record import Trace
from graphmem.record.paths import folded, is_within
from graphmem.symbolic.bounds import AnyBound
from graphmem.symbolic.derivation import Derivation, Group
from graphmem.symbolic.group import Count
from graphmem.symbolic.loops import tally
from graphmem.symbolic.notes import Note
from graphmem.usercode.isolate import isolated

if TYPE_CHECKING:
    import torch

K = TypeVar("K")


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """What does not change from point to point.

    bounds: lengths within which the formulas hold. layers: symbols that count layers, and how many were seen at most.
    parameters: bytes of the weights at a point.
    tracer: traces the subject at any point. anew: the analysis from another working point.
    """

    name: str
    working: Point
    derived: Derivation
    bounds: tuple[AnyBound, ...]
    layers: Mapping[str, int]
    notes: tuple[Note, ...]
    parameters: Callable[[Point], int] = field(repr=False)
    how: How
    tracer: Tracer = field(repr=False)
    anew: Callable[[Point], Analysis] = field(repr=False)

    @property
    def machine(self) -> Machine:
        return self.how.machine

    @cached_property
    def graph(self) -> torch.fx.Graph:
        """The forward at the working point. If only a few layers were traced, the first use traces all of them."""
        from graphmem.record.fx import to_graph

        if self.derived.trace.point == self.working:
            return to_graph(self.derived.trace)
        with isolated():
            return to_graph(self.tracer(self.working))

    @cached_property
    def saved(self) -> tuple[Group, ...]:
        return self.tables(SAVED)

    def tables(self, *names: str) -> tuple[Group, ...]:
        return tuple(g for g in self.derived.groups if g.key.table in names)

    @cached_property
    def instances(self) -> dict[str, Count]:
        """How many modules ran under each folded path."""
        return self._count_all(_called)

    @cached_property
    def sites(self) -> dict[Any, tuple[list[Site], Count]]:
        """Attentions by what makes them alike, with their count."""
        found = self._count_all(self._sites)
        return {key: (sites, found[key]) for key, sites in self._sites(self.derived.trace).items()}

    @cached_property
    def shares(self) -> dict[Any, list[Share]]:
        """For each of `sites` what they keep."""
        return shares(self.derived, self._sites)

    @cached_property
    def _known_sites(self) -> dict[int, dict[Any, list[Site]]]:
        return {}

    def _sites(self, trace: Trace) -> dict[Any, list[Site]]:
        """The attentions of one of the derivation's traces, by what makes them alike."""
        known = self._known_sites.get(id(trace))
        if known is None:
            known = self._known_sites[id(trace)] = _sites(trace)
        return known

    def _count_all(self, groups: Callable[[Trace], Mapping[K, Sequence[object]]]) -> dict[K, Count]:
        derived = self.derived
        found = tally(derived.trace, derived.deeper, derived.loops, groups)
        if found is None:  # the tensors that they keep do repeat, or the layers would not have been counted
            raise GraphmemError("modules or attentions differ from layer to layer, though layers keep the same tensors")
        return found

    @cached_property
    def instead(self) -> dict[Any, Instead | None]:
        """For each of `sites` the best other kernel."""
        return {
            key: None if _in_chunks(sites) else instead_of(sites[0], self.derived, self.machine)
            for key, (sites, _) in self.sites.items()
        }

    @cached_property
    def running_order(self) -> dict[str, str]:
        """Folded path -> class of every module that ran, parents first, else by first call."""
        return _running_order(self.derived.trace)


def _running_order(trace: Trace) -> dict[str, str]:
    first: dict[str, str] = {"": ""}
    for call in trace.calls:
        first.setdefault(folded(call.path, trace.containers)[0], call.cls)
        if not call.path:
            first[""] = call.cls
    ordered: dict[str, str] = {}

    def visit(path: str) -> None:
        ordered[path] = first[path]
        inside = [p for p in first if p != path and is_within(p, path)]
        for child in inside:
            if child not in ordered and not any(is_within(child, p) and p != child for p in inside):
                visit(child)

    visit("")
    return ordered


def _called(trace: Trace) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = defaultdict(list)
    for path in dict.fromkeys(call.path for call in trace.calls):
        paths[folded(path, trace.containers)[0]].append(path)
    return dict(paths)


def _sites(trace: Trace) -> dict[Any, list[Site]]:
    sites: dict[Any, list[Site]] = defaultdict(list)
    for site in find_attention(trace):
        sites[alike(site, trace)].append(site)
    return dict(sites)


def _in_chunks(sites: list[Site]) -> bool:
    """Whether one call of a module has several: they are pieces of one attention, which share k and v."""
    calls = [site.module for site in sites]
    return len(set(calls)) < len(calls)
