"""Where an analysis is asked for: within modes of torch's that would see its operators, it runs apart from them; where
autograd itself is another one, it is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from graphmem._torch import disable_current_modes, functorch_level, no_saved_tensors_hooks
from graphmem.errors import UsageError


@contextmanager
def apart_from_modes() -> Iterator[None]:
    """Inside the block no dispatch mode of the caller's is on: a FakeTensorMode, a counter of operations.

    Raises:
        UsageError: within torch.vmap, torch.func.grad and the like, or where saved-tensor hooks are switched off.
    """
    is_tracing: Callable[[], bool] = torch.jit.is_tracing  # type: ignore[attr-defined]
    if functorch_level() is not None or is_tracing():
        raise UsageError(
            "an analysis is asked for within torch.vmap, torch.func.grad, torch.jit.trace or another transform",
            hint="analyse outside of it: what autograd keeps there depends on the transform",
        )
    reason = no_saved_tensors_hooks()
    if reason is not None:
        raise UsageError(
            f"saved-tensor hooks are switched off here ({reason}), and graphmem sees by them what autograd keeps",
            hint="analyse outside of torch.autograd.graph.disable_saved_tensors_hooks()",
        )
    with disable_current_modes():
        yield
