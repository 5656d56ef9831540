"""flash_attn.bert_padding: between (batch, seqlen, ...) and the tokens that the mask keeps (total, ...)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.stand_ins.operators import Saving


class IndexFirstAxis(Saving):
    """input[indices] by a gather; saves the indices (total,)."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, indices: Tensor) -> Tensor:
        ctx.save_for_backward(indices)
        rest = input.shape[1:]
        rows = indices[:, None].expand(-1, rest.numel())
        return torch.gather(input.reshape(input.shape[0], -1), 0, rows).reshape(-1, *rest)


class IndexFirstAxisResidual(Saving):
    """input[indices] and input itself; saves the indices."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(indices)
        return input[indices], input.detach()


class IndexPutFirstAxis(Saving):
    """Zeros (first_axis_dim, ...) with `values` at `indices`, which are saved."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, indices: Tensor, first_axis_dim: int) -> Tensor:
        ctx.save_for_backward(indices)
        output = torch.zeros(first_axis_dim, *values.shape[1:], device=values.device, dtype=values.dtype)
        output[indices] = values
        return output


index_first_axis = IndexFirstAxis.apply
index_first_axis_residual = IndexFirstAxisResidual.apply
index_put_first_axis = IndexPutFirstAxis.apply


def _starts(lengths: Tensor) -> Tensor:
    return F.pad(torch.cumsum(lengths, dim=0, dtype=torch.int32), (1, 0))


def _positions(mask: Tensor) -> Tensor:
    return torch.nonzero(mask.flatten(), as_tuple=False).flatten()


def unpad_input(hidden_states: Tensor, attention_mask: Tensor, unused_mask: Tensor | None = None) -> Any:
    """The kept tokens (total, ...), their indices, the starts (batch + 1), the longest length, the used lengths."""
    kept = attention_mask if unused_mask is None else attention_mask + unused_mask
    lengths = kept.sum(dim=-1, dtype=torch.int32)
    used = attention_mask.sum(dim=-1, dtype=torch.int32)
    indices = _positions(kept)
    longest = lengths.max().item()
    return index_first_axis(hidden_states.flatten(0, 1), indices), indices, _starts(lengths), longest, used


def unpad_input_for_concatenated_sequences(hidden_states: Tensor, attention_mask_in_length: Tensor) -> Any:
    """As `unpad_input`, for rows that hold several samples: the mask (batch, seqlen) lists their lengths."""
    total = attention_mask_in_length.sum(dim=-1)
    seqlen = attention_mask_in_length.size(-1)
    kept = torch.arange(seqlen, device=total.device, dtype=total.dtype) < total[:, None]
    lengths = attention_mask_in_length.flatten()[_positions(attention_mask_in_length)]
    indices = _positions(kept)
    longest = lengths.max().item()
    return index_first_axis(hidden_states.flatten(0, 1), indices), indices, _starts(lengths), longest


def pad_input(hidden_states: Tensor, indices: Tensor, batch: int, seqlen: int) -> Tensor:
    """Back to (batch, seqlen, ...), zeros where the mask kept nothing."""
    return index_put_first_axis(hidden_states, indices, batch * seqlen).unflatten(0, (batch, seqlen))  # type: ignore[no-any-return]
