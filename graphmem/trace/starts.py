"""Where backward starts: at what forward returns, or at a loss that the model keeps (`self.last_loss = ...`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from graphmem.trace.inputs import named_tensors

_MOST = 1000  # items of an attribute that are looked through: a longer list holds no losses


class Starts(NamedTuple):
    """The tensors that backward starts from; the caller holds them. kept_in: attributes of the model that hold them,
    empty where forward or loss() returned them."""

    tensors: list[torch.Tensor]
    kept_in: tuple[str, ...] = ()


def starts_of(module: nn.Module, output: Any) -> Starts:
    """The output's `loss`; else the losses of what was returned that the model keeps; else all that was returned."""
    found = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
    if isinstance(found, torch.Tensor):
        return Starts([found])
    outputs = _tensors(output)
    losses = {} if any(map(could_be_loss, outputs)) else kept_losses(module, outputs)
    return Starts(list(losses.values()), tuple(losses)) if losses else Starts(outputs)


def could_be_loss(tensor: torch.Tensor) -> bool:
    """Whether backward could start at the tensor without being told how."""
    return tensor.is_floating_point() and tensor.requires_grad and tensor.dim() == 0


def kept_losses(module: nn.Module, outputs: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Numbers in attributes of the model that were made of all `outputs`, by path.

    What was made of something else is no loss of theirs: a penalty of the experts, or what an earlier forward left.
    """
    wanted = {tensor.grad_fn for tensor in outputs if tensor.grad_fn is not None}
    return {path: tensor for path, tensor in _kept(module) if wanted <= _behind(tensor)}


def _kept(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor in an attribute that could be a loss and that some operator made."""
    seen: set[int] = set()
    for path, m in module.named_modules():
        for name, value in vars(m).items():
            if not isinstance(value, torch.Tensor) and not (type(value) in (list, tuple, dict) and len(value) < _MOST):
                continue
            for place, tensor in named_tensors(value, f"{path}.{name}".lstrip(".")).items():
                if id(tensor) not in seen and tensor.grad_fn is not None and could_be_loss(tensor):
                    seen.add(id(tensor))
                    yield place, tensor


def _behind(tensor: torch.Tensor) -> set[torch.autograd.graph.Node]:
    """The autograd nodes behind a tensor."""
    found: set[torch.autograd.graph.Node] = set()
    todo = [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is not None and node not in found:
            found.add(node)
            todo += [following for following, _ in node.next_functions]
    return found


def _tensors(value: Any) -> list[torch.Tensor]:
    """Every tensor in an output: nested tuples, lists, dicts and dataclasses."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for v in value.values() for t in _tensors(v)]
    if isinstance(value, (list, tuple, set)):
        return [t for v in value for t in _tensors(v)]
    if hasattr(value, "__dataclass_fields__"):
        return [t for name in value.__dataclass_fields__ for t in _tensors(getattr(value, name))]
    return []
