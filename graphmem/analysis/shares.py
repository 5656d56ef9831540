"""What each attention of a report keeps: its share of groups that other attentions are part of, too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from graphmem.attention import Site
from graphmem.record import Trace
from graphmem.symbolic.derivation import Derivation, Group
from graphmem.symbolic.group import Count, Key, key_of, layers

# Attentions of a trace, by what makes them alike.
Sites = Mapping[Any, Sequence[Site]]


class _Where(NamedTuple):
    """Which row's attentions keep a storage, as which part. counted: no row before it keeps that storage, too."""

    row: Any
    part: str
    counted: bool
    group: Key


@dataclass(frozen=True)
class Share:
    """Storages that are one `part` of the attentions of one row. counted: False if a row above counts them already."""

    part: str
    counted: bool
    group: Group


def shares(derived: Derivation, sites_of: Callable[[Trace], Sites]) -> dict[Any, list[Share]]:
    """For each row what its attentions keep. Over all rows every storage counts once."""
    rows = list(sites_of(derived.trace))
    groups = {group.key: group for group in derived.groups}
    found = _numbers(derived.trace, derived, sites_of, rows)
    whole = all(n == len(groups[where.group].members) for where, n in found.items())
    deeper = {} if whole else {d: _numbers(t, derived, sites_of, rows) for d, t in derived.deeper.items()}
    shared: dict[Any, list[Share]] = {row: [] for row in rows}
    for where, n in found.items():
        group = groups[where.group]
        part = group if n == len(group.members) else _part(group, where, n, deeper, derived)
        shared[where.row].append(Share(where.part, where.counted, part))
    return shared


def _numbers(
    trace: Trace, derived: Derivation, sites_of: Callable[[Trace], Sites], rows: Sequence[Any]
) -> Counter[_Where]:
    """How many storages each row keeps of each group in `trace`."""
    kept, sites = derived.account(trace), sites_of(trace)
    found: Counter[_Where] = Counter()
    earlier: set[int] = set()
    for row in rows:
        own = {k.storage: (site.part(k), k) for site in sites.get(row, ()) for k in site.kept(kept)}
        for storage, (part, k) in own.items():
            known = trace is derived.trace
            key = derived.group_of[storage].key if known else key_of(k, trace.containers)
            found[_Where(row, part, storage not in earlier, key)] += 1
        earlier |= own.keys()
    return found


def _part(group: Group, where: _Where, n: int, deeper: Mapping[str, Counter[_Where]], derived: Derivation) -> Group:
    """`n` members of the group, and what further layers add to them."""
    if not derived.loops:
        slopes = {layers(d, derived.base, derived.deeper[d].point): more[where] - n for d, more in deeper.items()}
        return replace(group, count=Count(n, tuple(((repeat,), m) for repeat, m in slopes.items() if m)))
    # Turns of a loop are told apart by their line alone: a share of all of them is all that can be said.
    return group.share(n) or replace(group, count=Count(n), dims=None)
