"""xformers.ops.fmha.attn_bias: the masks that attention takes in place of a tensor (b, a, s_q, s_k)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class AttentionBias:
    """A mask that is not a tensor."""

    def to(self, device: Any) -> Any:
        return self


class LowerTriangularMask(AttentionBias):
    """Query i sees the keys up to i."""

    def __init__(self, device: Any = None) -> None:
        pass

    def add_bias(self, bias: Tensor) -> LowerTriangularMaskWithTensorBias:
        return LowerTriangularMaskWithTensorBias(bias)


class LowerTriangularMaskWithTensorBias(LowerTriangularMask):
    """Causal, with a bias (b, a, s_q, s_k) added."""

    def __init__(self, bias: Tensor) -> None:
        super().__init__()
        self._bias = bias


class LowerTriangularFromBottomRightMask(AttentionBias):
    """The last query sees all keys, each before it one less."""

    def make_local_attention(self, window_size: int) -> LowerTriangularFromBottomRightLocalAttentionMask:
        return LowerTriangularFromBottomRightLocalAttentionMask(window_size)


class LowerTriangularFromBottomRightLocalAttentionMask(LowerTriangularFromBottomRightMask):
    """As its base, no more than `window_size` keys each."""

    def __init__(self, _window_size: int) -> None:
        self._window_size = _window_size


class LocalAttentionFromBottomRightMask(AttentionBias):
    """A window around each query."""

    def __init__(self, window_left: int, window_right: int) -> None:
        self.window_left, self.window_right = window_left, window_right


class _SeqLenInfo:
    """Packed sequences: `seqstart_py` where each starts and the last ends, and the same as an int32 tensor."""

    def __init__(self, lengths: Iterable[int], device: Any = None) -> None:
        lengths = list(lengths)
        self.max_seqlen, self.min_seqlen = max(lengths, default=-1), min(lengths, default=-1)
        self.seqstart_py = [0]
        for length in lengths:
            self.seqstart_py.append(self.seqstart_py[-1] + length)
        self.device = device

    @property
    def seqstart(self) -> Tensor:
        # Made anew each time: a mask may be made before a trace and outlive it.
        device = self.device if self.device is not None else "cuda:0" if torch.cuda.is_available() else "cpu"
        return torch.tensor(self.seqstart_py, dtype=torch.int32).to(device)

    def split(self, x: Tensor, batch_sizes: Sequence[int] | None = None) -> list[Tensor]:
        """The sequences of x (1, total, ...), in batches."""
        batch_sizes = batch_sizes or [1] * (len(self.seqstart_py) - 1)
        lengths, at = [], 0
        for size in batch_sizes:
            lengths.append(self.seqstart_py[at + size] - self.seqstart_py[at])
            at += size
        parts = x.split(lengths, dim=1)
        return [part.reshape(size, -1, *x.shape[2:]) for size, part in zip(batch_sizes, parts, strict=True)]


class BlockDiagonalMask(AttentionBias):
    """Sequences packed in one: queries of the i-th see keys of the i-th."""

    def __init__(
        self, q_seqinfo: _SeqLenInfo, k_seqinfo: _SeqLenInfo, _batch_sizes: Any = None, _window_size: int | None = None
    ) -> None:
        self.q_seqinfo, self.k_seqinfo = q_seqinfo, k_seqinfo
        self._batch_sizes = _batch_sizes
        self._window_size = _window_size

    @classmethod
    def from_seqlens(
        cls, q_seqlen: Sequence[int], kv_seqlen: Sequence[int] | None = None, *, device: Any = None
    ) -> Any:
        queries = _SeqLenInfo(q_seqlen, device)
        same = kv_seqlen is None or list(kv_seqlen) == list(q_seqlen)
        return cls(queries, queries if same else _SeqLenInfo(kv_seqlen or (), device))

    @classmethod
    def from_tensor_list(cls, tensors: Sequence[Tensor]) -> tuple[Any, Tensor]:
        """The mask for tensors (b_i, s_i, ...), and these as one (1, total, ...)."""
        mask = cls.from_seqlens([t.shape[1] for t in tensors for _ in range(t.shape[0])])
        mask._batch_sizes = [t.shape[0] for t in tensors]
        return mask, torch.cat([t.reshape(1, -1, *t.shape[2:]) for t in tensors], dim=1)

    def split(self, tensor: Tensor) -> list[Tensor]:
        return self.q_seqinfo.split(tensor, self._batch_sizes)

    split_queries = split

    def split_kv(self, tensor: Tensor) -> list[Tensor]:
        return self.k_seqinfo.split(tensor, self._batch_sizes)

    def make_causal(self) -> BlockDiagonalCausalMask:
        return BlockDiagonalCausalMask(self.q_seqinfo, self.k_seqinfo, self._batch_sizes)

    def make_causal_from_bottomright(self) -> BlockDiagonalCausalFromBottomRightMask:
        return BlockDiagonalCausalFromBottomRightMask(self.q_seqinfo, self.k_seqinfo, self._batch_sizes)

    def make_local_attention(self, window_size: int) -> BlockDiagonalCausalLocalAttentionMask:
        return BlockDiagonalCausalLocalAttentionMask(self.q_seqinfo, self.k_seqinfo, self._batch_sizes, window_size)


class BlockDiagonalCausalMask(BlockDiagonalMask):
    """Causal within each sequence."""


class BlockDiagonalCausalFromBottomRightMask(BlockDiagonalMask):
    """Causal within each sequence, the last query seeing all keys."""


class BlockDiagonalCausalLocalAttentionMask(BlockDiagonalCausalMask):
    """Causal within each sequence, within a window."""
