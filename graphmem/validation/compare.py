"""`compare`: predicted and measured storages, side by side in the order in which autograd packs them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from graphmem.validation.predict import Expected
from graphmem.validation.watch import Observed


@dataclass(frozen=True)
class Difference:
    """A storage whose size is not the predicted one. Without `seen` it was not there; without `expected` it was not
    predicted. module: where that happens, as far as it is known."""

    expected: Expected | None
    seen: Observed | None
    module: str


@dataclass(frozen=True)
class Comparison:
    """differences: none where the prediction is right. moved: how many storages came in another order."""

    differences: tuple[Difference, ...]
    moved: int


def compare(expected: Sequence[Expected], seen: Sequence[Observed]) -> Comparison:
    """Match what was predicted with what was measured, by size and order."""
    left = _unmatched([e.nbytes for e in expected], [s.nbytes for s in seen])
    modules = {e.where: e.made_in for e in reversed(expected) if e.where}
    pairs, moved = [], 0
    spare = _Spare([j for _, there in left for j in there], seen)
    blocks = []
    for here, there in left:  # first what only changed its place
        missing = [i for i in here if not spare.take(expected[i].nbytes)]
        moved += len(here) - len(missing)
        blocks.append((missing, there))
    for missing, there in blocks:
        unexpected = [j for j in there if j in spare.indices]
        for n in range(max(len(missing), len(unexpected))):
            pairs.append(
                (
                    expected[missing[n]] if n < len(missing) else None,
                    seen[unexpected[n]] if n < len(unexpected) else None,
                )
            )
    differences = (Difference(e, s, _module(e, s, modules)) for e, s in pairs)
    return Comparison(tuple(differences), moved)


def _module(expected: Expected | None, seen: Observed | None, modules: dict[str, str]) -> str:
    """For a storage that was not predicted: the module in which the prediction saves something on the same line."""
    if expected is not None:
        return expected.made_in
    return modules.get(seen.where, "") if seen is not None and seen.where else ""


class _Spare:
    """Measured storages that found no partner in their place, by size."""

    def __init__(self, indices: list[int], seen: Sequence[Observed]) -> None:
        self.indices = set(indices)
        self._by_size: dict[int, list[int]] = defaultdict(list)
        for index in reversed(indices):
            self._by_size[seen[index].nbytes].append(index)

    def take(self, nbytes: int) -> bool:
        """Use up one of that size, if there is one."""
        if not self._by_size[nbytes]:
            return False
        self.indices.discard(self._by_size[nbytes].pop())
        return True


def _unmatched(expected: list[int], seen: list[int]) -> list[tuple[list[int], list[int]]]:
    """The stretches between matches: positions on either side that have no partner."""
    start = 0
    while start < min(len(expected), len(seen)) and expected[start] == seen[start]:
        start += 1
    matcher = SequenceMatcher(None, expected[start:], seen[start:], autojunk=False)
    return [
        (list(range(start + i, start + i2)), list(range(start + j, start + j2)))
        for tag, i, i2, j, j2 in matcher.get_opcodes()
        if tag != "equal"
    ]
