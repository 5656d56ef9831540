"""From facts and rules to the backend that runs, and to the best one that could."""

from __future__ import annotations

from dataclasses import dataclass, replace

from graphmem.kernels.sdpa.rules import RULES, BackendRule
from graphmem.machine import Machine
from graphmem.record import SdpaFacts

FUSED = ("cudnn", "flash", "efficient")


@dataclass(frozen=True)
class Way:
    """How a call that runs no fused kernel could run one.

    backend: what would run. steps: what to do, in words. facts: the call after that. cost: how much the steps ask.
    """

    backend: str
    steps: tuple[str, ...]
    facts: SdpaFacts
    cost: int


def choose(facts: SdpaFacts, machine: Machine) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """The backend that runs, and why each one before it was refused. None where none is left."""
    refused: list[tuple[str, str]] = []
    for backend in facts.order:
        against = _against(backend, facts, machine)
        if against is None:
            return backend, tuple(refused)
        refused.append((backend, against[1]))
    return None, tuple(refused)


def reachable(facts: SdpaFacts, machine: Machine) -> Way | None:
    """The fused backend that asks least of the caller; None where no change of ours reaches one."""
    ways = [way for backend in FUSED if (way := _way_to(backend, facts, machine)) is not None]
    return min(ways, key=lambda way: way.cost, default=None)


def regime(facts: SdpaFacts, machine: Machine) -> tuple[str | None, bool]:
    """What decides which operators run: the backend, and whether heads or mask rows are padded to a multiple of 8."""
    backend, _ = choose(facts, machine)
    padded = (backend == "flash" and facts.head % 8 > 0) or (
        backend == "efficient" and facts.mask != "none" and facts.k[-2] % 8 > 0
    )
    return backend, padded


def _against(backend: str, facts: SdpaFacts, machine: Machine) -> tuple[BackendRule | None, str] | None:
    """The first rule that refuses `backend`, with its reason; the rule is None where the backend is switched off."""
    if backend in facts.disabled:
        return None, "switched off by sdpa_kernel or torch.backends.cuda"
    for rule in RULES[backend]:
        reason = rule.refuses(facts, machine) if machine.torch[:2] >= rule.since else None
        if reason is not None:
            return rule, reason
    return None


def _way_to(backend: str, facts: SdpaFacts, machine: Machine) -> Way | None:
    steps: list[str] = []
    cost = 0
    while (against := _against(backend, facts, machine)) is not None:
        rule, _ = against
        if rule is None:
            steps.append(f"allow the {backend} backend")
            facts = replace(facts, disabled=facts.disabled - {backend})
            cost += 1
        elif rule.change is None or rule.remedy in steps:
            return None
        else:
            steps.append(rule.remedy)
            facts = rule.change(facts)
            cost += rule.cost
    chosen, _ = choose(facts, machine)
    if chosen not in FUSED:
        steps.append(f"ask for it: sdpa_kernel({backend.upper()}_ATTENTION)")
        facts, chosen, cost = replace(facts, order=(backend,)), backend, cost + 1
    return Way(chosen, tuple(steps), facts, cost)
