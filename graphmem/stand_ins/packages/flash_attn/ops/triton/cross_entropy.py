"""flash_attn.ops.triton.cross_entropy: saves the logits as they came, and a sum in float32 for each row."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.stand_ins.operators import Saving, empty, kernel


@kernel("graphmem::cross_entropy")
def _losses(logits: Tensor, labels: Tensor, precomputed_lse: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    losses, lse, z_losses = (empty(logits, logits.shape[0], dtype=torch.float32) for _ in range(3))
    return losses, lse, z_losses


class CrossEntropyLoss(Saving):
    """Saves logits (n, v), lse (n,) and labels (n,)."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        precomputed_lse: Tensor | None = None,
        smoothing: float = 0.0,
        logit_scale: float = 1.0,
        lse_square_scale: float = 0.0,
        ignore_index: int = -100,
        inplace_backward: bool = False,
        process_group: Any = None,
    ) -> tuple[Tensor, Tensor]:
        if process_group is not None:
            raise NotImplementedError("graphmem's stand-in for flash_attn's cross entropy knows no process groups")
        if labels.dtype == torch.long and labels.storage_offset() * labels.element_size() % 16:
            labels = F.pad(labels, (0, 1))[..., :-1]  # the kernel wants the labels aligned
        if logits.stride(-1) != 1:
            logits = logits.contiguous()
        usable = precomputed_lse is not None and logit_scale == 1.0 and smoothing == 0.0
        losses, lse, z_losses = _losses(logits, labels, precomputed_lse if usable else None)
        if usable and precomputed_lse is not None:
            lse = precomputed_lse.contiguous()
        ctx.save_for_backward(logits, lse, labels)
        ctx.mark_non_differentiable(z_losses)
        return losses, z_losses


def cross_entropy_loss(
    logits: Tensor,
    labels: Tensor,
    precomputed_lse: Tensor | None = None,
    label_smoothing: float = 0.0,
    logit_scale: float = 1.0,
    lse_square_scale: float = 0.0,
    ignore_index: int = -100,
    inplace_backward: bool = False,
    process_group: Any = None,
) -> Any:
    """Losses (n,) and the part of them that lse_square_scale makes (n,), both float32."""
    how = (label_smoothing, logit_scale, lse_square_scale, ignore_index, inplace_backward, process_group)
    return CrossEntropyLoss.apply(logits, labels, precomputed_lse, *how)
