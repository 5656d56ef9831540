"""`F.ctc_loss` on fake tensors: torch's own path, which asks for the lengths' values and has no fake kernel.

After ctc_loss in aten/src/ATen/native/LossCTC.cpp: lengths on the GPU become numbers on the CPU, and what is kept is
log_probs, the targets, each sequence's loss and log_alpha. cuDNN's kernel, for int32 targets on the CPU, is left to torch.
"""

from __future__ import annotations

from typing import Any

import torch

from graphmem.target import Target
from graphmem.trace.record import Trace

_aten = torch.ops.aten


def ctc_loss_as_on(_target: Target, _trace: Trace) -> Any:
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
    lengths = _numbers(target_lengths)
    losses, _ = _aten._ctc_loss(log_probs, targets, _numbers(input_lengths), lengths, blank, zero_infinity)
    if zero_infinity:
        losses = torch.where(losses == float("inf"), torch.zeros((), dtype=losses.dtype, device=losses.device), losses)
    if reduction == "mean":
        return (losses / torch.tensor(lengths, dtype=losses.dtype, device=losses.device).clamp_min(1)).mean()
    return losses.sum() if reduction == "sum" else losses


def _numbers(lengths: Any) -> list[int]:
    listed = lengths.tolist() if isinstance(lengths, torch.Tensor) else list(lengths)
    return [int(n) for n in (listed if isinstance(listed, list) else [listed])]


def kept_by_ctc(args: tuple[Any, ...], _kwargs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Each sequence's loss, and log_alpha: (batch, frames, twice the longest target and one)."""
    log_probs, _targets, inputs, targets, *_ = args
    batch = log_probs.shape[1] if log_probs.dim() == 3 else 1
    frames = max(inputs) if log_probs.dim() < 3 else log_probs.shape[0]
    return log_probs.new_empty(batch), log_probs.new_empty(batch, frames, 2 * max(targets, default=0) + 1)
