"""What the trace draws for itself: always the same, and from nobody's generator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from graphmem.record import Op
from graphmem.trace.draws import Draws

_ATEN = torch.ops.aten
_TAKING = {
    "rand": (_ATEN.rand.default, ((100,),)),
    "randint": (_ATEN.randint.low, (0, 1000, (100,))),
    "randint_like": (_ATEN.randint_like.default, (torch.ones(100), 1000)),
    "bernoulli": (_ATEN.bernoulli.default, (torch.full((100,), 0.5),)),
    "poisson": (_ATEN.poisson.default, (torch.ones(100),)),
}
_OTHERS = {"native_dropout": (_ATEN.native_dropout.default, (torch.ones(100), 0.5, True))}


def drawn(target: Callable[..., torch.Tensor], args: tuple[object, ...]) -> torch.Tensor:
    op = Op(5, target, args, {}, (), -1, (), 0)
    result = Draws().draw(op, op.args, {})
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize("name", [*_TAKING, *_OTHERS])
def test_it_is_always_the_same(name: str) -> None:
    target, args = (_TAKING | _OTHERS)[name]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert torch.equal(drawn(target, args), drawn(target, args))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_extremes_come_from_nobodys_generator() -> None:
    """`deciding` works a question out anew with the lowest and the highest draw."""
    before = torch.get_rng_state()
    draws, op = Draws(), Op(5, _ATEN.rand.default, ((),), {}, (), -1, (), 0)

    def question() -> bool:
        return bool(draws.draw(op, op.args, {}) < 0)

    assert draws.deciding(question(), question) is None
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", _TAKING)
def test_another_thread_does_not_draw_a_number_twice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It draws between any two steps: nothing may touch torch's own generator for a moment."""

    def touched(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(torch.random, "fork_rng", touched)
    monkeypatch.setattr(torch, "manual_seed", touched)
    drawn(*_TAKING[name])


@pytest.mark.parametrize("name", _OTHERS)
def test_gpus_are_not_seeded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    drawn(*_OTHERS[name])
    assert not seeded
