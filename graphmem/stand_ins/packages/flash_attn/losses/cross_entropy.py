"""flash_attn.losses.cross_entropy."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from flash_attn.ops.triton.cross_entropy import cross_entropy_loss


class CrossEntropyLoss(nn.Module):
    """Cross entropy of logits (n, v) and labels (n,)."""

    def __init__(
        self,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
        logit_scale: float = 1.0,
        lse_square_scale: float = 0.0,
        inplace_backward: bool = False,
        process_group: Any = None,
        return_z_loss: bool = False,
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "none", "sum"):
            raise NotImplementedError("Only support reduction = 'mean' or 'none' or 'sum'")
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.return_z_loss = return_z_loss
        self.settings = {
            "label_smoothing": label_smoothing,
            "logit_scale": logit_scale,
            "lse_square_scale": lse_square_scale,
            "ignore_index": ignore_index,
            "inplace_backward": inplace_backward,
            "process_group": process_group,
        }

    def forward(self, input: Tensor, target: Tensor, precomputed_lse: Tensor | None = None) -> Any:
        if not (input.is_cuda and target.is_cuda):
            raise AssertionError("Only support CUDA tensors")
        loss, z_loss = cross_entropy_loss(input, target, precomputed_lse=precomputed_lse, **self.settings)
        loss = self._reduced(loss, target)
        return (loss, self._reduced(z_loss, target)) if self.return_z_loss else loss

    def _reduced(self, losses: Tensor, target: Tensor) -> Tensor:
        if self.reduction == "mean":
            return losses.sum() / (target != self.ignore_index).sum()
        return losses.sum() if self.reduction == "sum" else losses
