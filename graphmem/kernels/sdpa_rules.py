"""Which backend `scaled_dot_product_attention` runs on the target, and the first rule that refuses each other one.

After aten/src/ATen/native/transformers/cuda/sdp_utils.cpp (torch 2.11 to 2.13). The measured choices of an H100 under
torch 2.11 with cuDNN 9.19 agree with every rule here; where source and measurement differ, the measurement is followed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from graphmem.target import Target


@dataclass(frozen=True)
class SdpaFacts:
    """What the choice hangs on. Shapes are (b, heads, s, head size); `mask` is "none", "bool" or "float".

    order: the backends as torch would try them; disabled: those that sdpa_kernel or torch.backends.cuda switched off.
    """

    q: tuple[int, ...]
    k: tuple[int, ...]
    v: tuple[int, ...]
    dtypes: tuple[torch.dtype, torch.dtype, torch.dtype]
    mask: str
    mask_requires_grad: bool
    dropout: float
    causal: bool
    gqa: bool
    requires_grad: bool
    last_stride_1: bool
    order: tuple[str, ...]
    disabled: frozenset[str]

    @property
    def head(self) -> int:
        return self.q[-1]

    @property
    def half(self) -> bool:
        return self.dtypes[0] in (torch.float16, torch.bfloat16)


# A rule returns why it refuses, or None.
Rule = Callable[[SdpaFacts, Target], str | None]


def _same_dtype(f: SdpaFacts, _t: Target) -> str | None:
    return None if len(set(f.dtypes)) == 1 else "q, k and v differ in dtype"


def _four_dims(f: SdpaFacts, _t: Target) -> str | None:
    # check_tensor_shapes
    return None if len(f.q) == len(f.k) == len(f.v) == 4 else "q, k and v are not all 4-dimensional"


def _half_only(f: SdpaFacts, t: Target) -> str | None:
    # check_tensor_dtype in use_flash_attention; cuDNN likewise
    if not f.half:
        return f"{_name(f.dtypes[0])} (it takes bf16 and fp16)"
    return None


def _efficient_dtype(f: SdpaFacts, t: Target) -> str | None:
    # less_than_sm80_mem_efficient_dtypes, greater_than_or_equal_sm80_mem_efficient_dtypes
    allowed = [torch.float16, torch.float32] + ([torch.bfloat16] if t.gpu.capability >= (8, 0) else [])
    return None if f.dtypes[0] in allowed else f"{_name(f.dtypes[0])} on this GPU"


def _sm80(f: SdpaFacts, t: Target) -> str | None:
    # check_flash_attention_hardware_support: sm80 to sm121; check_cudnn_hardware_support likewise
    return None if t.gpu.capability >= (8, 0) else f"{t.gpu.name} is below compute capability 8.0"


def _sm50(f: SdpaFacts, t: Target) -> str | None:
    # check_mem_efficient_hardware_support
    return None if t.gpu.capability >= (5, 0) else f"{t.gpu.name} is below compute capability 5.0"


def _no_mask(f: SdpaFacts, _t: Target) -> str | None:
    # check_for_attn_mask
    return None if f.mask == "none" else "there is an attn_mask"


def _no_mask_gradient(f: SdpaFacts, _t: Target) -> str | None:
    # check_cudnn_tensor_shapes / use_cudnn_attention: no gradient for the bias
    return "attn_mask requires grad" if f.mask_requires_grad else None


def _head_sizes_equal(f: SdpaFacts, _t: Target) -> str | None:
    return None if f.q[-1] == f.k[-1] == f.v[-1] else "q, k and v differ in head size"


def _flash_head_size(f: SdpaFacts, _t: Target) -> str | None:
    # check_flash_attention_head_dim_size: at most 256
    return None if f.head <= 256 else f"head size {f.head} > 256"


def _flash_small_sm_head_size(f: SdpaFacts, t: Target) -> str | None:
    # check_requires_grad_and_head_dim_gt192_constraints_on_sm86_89_or_120
    capability = t.gpu.capability
    if not f.requires_grad or not ((8, 6) <= capability <= (8, 9) or capability >= (12, 0)):
        return None
    if 192 < f.head <= 224 or (f.head > 224 and f.dropout > 0):
        return f"backward with head size {f.head} on compute capability {capability[0]}.{capability[1]}"
    return None


def _causal_square(f: SdpaFacts, _t: Target) -> str | None:
    # check_flash_causal_non_square_seqlens
    return "is_causal with s_q != s_k" if f.causal and f.q[-2] != f.k[-2] else None


def _heads_without_gqa(f: SdpaFacts, t: Target) -> str | None:
    # check_batch_size_and_num_heads_dense<supports_gqa=false>
    if f.q[0] != f.k[0] or f.q[0] != f.v[0]:
        return "q, k and v differ in batch size"
    return None if f.q[1] == f.k[1] == f.v[1] else "grouped query: it needs as many key heads as query heads"


def _heads_with_gqa(f: SdpaFacts, _t: Target) -> str | None:
    # check_batch_size_and_num_heads_dense<supports_gqa=true>
    if f.q[0] != f.k[0] or f.q[0] != f.v[0]:
        return "q, k and v differ in batch size"
    if f.q[1] == f.k[1] == f.v[1]:
        return None
    if not f.gqa:
        return "q, k and v differ in number of heads, without enable_gqa"
    fits = f.k[1] == f.v[1] and f.q[1] % f.k[1] == 0
    return None if fits else "the number of query heads is no multiple of the key heads"


def _nonzero_lengths(f: SdpaFacts, _t: Target) -> str | None:
    # check_nonzero_sequence_lengths_dense
    return "a sequence length is 0" if 0 in (f.q[-2], f.k[-2]) else None


def _last_stride(f: SdpaFacts, _t: Target) -> str | None:
    # check_last_dim_stride_equals_1_dense
    return None if f.last_stride_1 else "the last dimension of q, k or v is not contiguous"


def _efficient_alignment(f: SdpaFacts, t: Target) -> str | None:
    # check_head_dim_size_mem_efficient: minimum_gemm_alignment, 16 bytes on sm80 and later
    alignment = 8 if f.half else 4 if t.gpu.capability >= (8, 0) else 1
    if f.q[-1] % alignment or f.v[-1] % alignment or f.q[-1] != f.k[-1]:
        return f"head size {f.head} is no multiple of {alignment}"
    return None


def _cudnn_there(_f: SdpaFacts, t: Target) -> str | None:
    return None if t.cudnn >= 90000 else "no cuDNN of at least 9.0"


def _cudnn_head_size(f: SdpaFacts, t: Target) -> str | None:
    # check_cudnn_head_dim... Measured on an H100, cuDNN 9.19: multiples of 8 up to 256.
    limit = 256 if t.gpu.capability[0] in (9, 10) else 128
    if f.q[-1] % 8 or f.v[-1] % 8:
        return f"head size {f.head} is no multiple of 8"
    return None if max(f.q[-1], f.v[-1]) <= limit else f"head size {max(f.q[-1], f.v[-1])} > {limit}"


def _cudnn_lengths(f: SdpaFacts, _t: Target) -> str | None:
    # check_cudnn_tensor_shapes: s_k = 1, and dropout with s_q = 1
    if f.k[-2] == 1:
        return "s_k = 1"
    return "dropout with s_q = 1" if f.dropout > 0 and f.q[-2] == 1 else None


def _cudnn_deterministic(_f: SdpaFacts, _t: Target) -> str | None:
    # check_cudnn_deterministic
    return "torch.use_deterministic_algorithms is on" if torch.are_deterministic_algorithms_enabled() else None


RULES: dict[str, tuple[Rule, ...]] = {
    "flash": (
        _sm80, _four_dims, _no_mask, _head_sizes_equal, _flash_head_size, _flash_small_sm_head_size,
        _causal_square, _same_dtype, _half_only, _heads_with_gqa, _nonzero_lengths, _last_stride,
    ),
    "efficient": (
        _sm50, _four_dims, _same_dtype, _efficient_dtype, _efficient_alignment, _heads_without_gqa,
        _nonzero_lengths, _last_stride,
    ),
    "cudnn": (
        _cudnn_there, _sm80, _four_dims, _same_dtype, _half_only, _no_mask_gradient, _cudnn_head_size,
        _cudnn_lengths, _heads_with_gqa, _nonzero_lengths, _last_stride, _cudnn_deterministic,
    ),
    "math": (),
}  # fmt: skip

_ENABLED = {
    "flash": torch.backends.cuda.flash_sdp_enabled,
    "efficient": torch.backends.cuda.mem_efficient_sdp_enabled,
    "cudnn": torch.backends.cuda.cudnn_sdp_enabled,
    "math": torch.backends.cuda.math_sdp_enabled,
}
# at::SDPBackend in aten/src/ATen/SDPBackend.h
_BY_NUMBER = {0: "math", 1: "flash", 2: "efficient", 3: "cudnn"}
_DEFAULT_ORDER = ("flash", "efficient", "math", "cudnn")  # aten/src/ATen/Context.h, sdp_priority_order
_CUDNN_FIRST = ("cudnn", "flash", "efficient", "math")  # priority_order in sdp_utils.cpp


def order(target: Target) -> tuple[str, ...]:
    """The backends as torch would try them; what the user set with sdpa_kernel(set_priority=True) comes first."""
    current = tuple(_BY_NUMBER[n] for n in torch._C._get_sdp_priority_order() if n in _BY_NUMBER)
    if current != _DEFAULT_ORDER:
        return current
    # check_prefer_cudnn_attention: sm90 and sm100, and cuDNN after 9.15.0 (torch 2.10 and later)
    prefers = target.gpu.capability[0] in (9, 10) and target.cudnn > 91500
    return _CUDNN_FIRST if prefers else _DEFAULT_ORDER


def disabled() -> frozenset[str]:
    """The backends that are switched off at the moment."""
    return frozenset(name for name, enabled in _ENABLED.items() if not enabled())


def choose(facts: SdpaFacts, target: Target) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """The backend that runs, and why each one before it was refused. None where none is left."""
    refused: list[tuple[str, str]] = []
    for backend in facts.order:
        reason = "switched off by sdpa_kernel or torch.backends.cuda" if backend in facts.disabled else None
        reason = reason or next((r for rule in RULES[backend] if (r := rule(facts, target))), None)
        if reason is None:
            return backend, tuple(refused)
        refused.append((backend, reason))
    return None, tuple(refused)


def regime(facts: SdpaFacts, target: Target) -> tuple[str | None, bool]:
    """What decides which operators run: the backend, and whether heads or mask rows are padded to a multiple of 8."""
    backend, _ = choose(facts, target)
    padded = (backend == "flash" and facts.head % 8 > 0) or (
        backend == "efficient" and facts.mask != "none" and facts.k[-2] % 8 > 0
    )
    return backend, padded


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
