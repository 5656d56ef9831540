"""Where backward starts: at what forward returns, or at a loss that the model keeps (`self.last_loss = ...`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from graphmem.errors import ModelError
from graphmem.trace.inputs import named_tensors
from graphmem.trace.outputs import loss_of, named_parts, output_tensors
from graphmem.usercode.callables import defined_at

_MOST = 1000  # items of an attribute that are looked through: a longer list holds no losses


class Starts(NamedTuple):
    """The tensors that backward starts from; the caller holds them. kept_in: attributes of the model that hold them,
    empty where forward or loss() returned them. beside: what forward returned beside its loss, by name."""

    tensors: list[torch.Tensor]
    kept_in: tuple[str, ...] = ()
    beside: Mapping[str, Any] = {}


def starts_of(module: nn.Module, output: Any) -> Starts:
    """The output's `loss`; else the losses of what was returned that the model keeps; else all that was returned.

    Raises:
        ModelError: nothing was returned, or nothing in which there is a tensor.
    """
    found = loss_of(output)
    if found is not None:
        return Starts([found], beside={name: part for name, part in named_parts(output) if part is not found})
    outputs = output_tensors(output)
    losses = {} if any(map(could_be_loss, outputs)) else kept_losses(module, outputs)
    if not outputs and not losses:
        raise ModelError(
            f"forward returned {_said(output)}, in which there is no tensor",
            where=defined_at(module.forward),
            hint="return the tensor that backward starts from, or give a function: loss(output) -> tensor",
        )
    return Starts(list(losses.values()), tuple(losses)) if losses else Starts(outputs)


def _said(output: Any) -> str:
    return "None" if output is None else f"a {type(output).__name__}"


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
