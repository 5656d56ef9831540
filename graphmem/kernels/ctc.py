"""`F.ctc_loss` on fake tensors: torch's own path, which asks for the lengths' values and has no fake kernel.

After ctc_loss in aten/src/ATen/native/LossCTC.cpp: lengths on the GPU become numbers on the CPU, and what is kept is
log_probs, the targets, each sequence's loss and log_alpha. cuDNN's kernel, for int32 targets on the CPU, is left out.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from graphmem.kernels.registry import replaces, result_of
from graphmem.machine import Machine
from graphmem.record import Trace

_aten = torch.ops.aten


@replaces(F.ctc_loss)
def ctc_loss_as_on(_machine: Machine, _trace: Trace) -> Any:
    """A function like F.ctc_loss."""
    return _ctc_loss


def _ctc_loss(
    log_probs: torch.Tensor,
    targets: torch.Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> torch.Tensor:
    batched = log_probs.dim() == 3
    log_probs = log_probs if batched else log_probs.unsqueeze(1)
    # Only the longest target shows in what is kept; asking for every length would be an operator for each.
    lengths = [_longest(target_lengths)] * log_probs.shape[1]
    losses: torch.Tensor = _aten._ctc_loss(
        log_probs, targets, [len(log_probs)] * len(lengths), lengths, blank, zero_infinity
    )[0]
    if zero_infinity:
        losses = torch.where(losses == float("inf"), torch.zeros((), dtype=losses.dtype, device=losses.device), losses)
    if reduction == "mean":
        divisors = torch.full((len(lengths),), lengths[0], dtype=losses.dtype, device=losses.device)
        return (losses / divisors.clamp_min(1)).mean()
    if reduction == "sum":
        return losses.sum()
    return losses if batched else losses.squeeze(0)


def _longest(lengths: Any) -> int:
    return int(lengths.max()) if isinstance(lengths, torch.Tensor) else max(lengths)


@result_of(_aten._ctc_loss.default)
def kept_by_ctc(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Each sequence's loss, and log_alpha: (batch, frames, twice the longest target and one)."""
    log_probs, _targets, _input_lengths, target_lengths, *_ = args
    frames, batch, _classes = log_probs.shape
    return log_probs.new_empty(batch), log_probs.new_empty(batch, frames, 2 * max(target_lengths) + 1)
