"""Which calls each backend of `scaled_dot_product_attention` refuses, as data: a predicate, its source, and a way out.

Sources are functions of aten/src/ATen/native/transformers/cuda/sdp_utils.cpp and ../sdp_utils_cpp.h, in torch 2.11 to
main of August 2026. What an H200 chose under torch 2.11 with cuDNN 9.19 agrees with every rule here (tests/truth).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from graphmem.kernels.sdpa.facts import four_dims
from graphmem.machine import Machine
from graphmem.record.sdpa import SdpaFacts, Shape


@dataclass(frozen=True)
class BackendRule:
    """refuses: the reason why, or None. source: where torch says so. since: the first release with the rule.
    remedy: what the caller can do about it; change: the facts after that. Without a change there is no way out.
    cost: how much the remedy asks of the caller; 3 where the model computes something else afterwards."""

    refuses: Callable[[SdpaFacts, Machine], str | None]
    source: str
    remedy: str = ""
    change: Callable[[SdpaFacts], SdpaFacts] | None = None
    since: tuple[int, int] = (2, 5)
    cost: int = 1


def _below(major: int) -> Callable[[SdpaFacts, Machine], str | None]:
    def refuses(_f: SdpaFacts, t: Machine) -> str | None:
        if t.gpu.capability[0] < major:
            return f"{t.gpu.name} is below compute capability {major}.0"
        return f"{t.gpu.name} is newer than torch {t.release}" if t.gpu.capability > (12, 1) else None

    return refuses


def _four_dims(f: SdpaFacts, _t: Machine) -> str | None:
    return None if len(f.q) == len(f.k) == len(f.v) == 4 else "q, k and v are not all 4-dimensional"


def _as_four_dims(f: SdpaFacts) -> SdpaFacts:
    return replace(f, q=four_dims(f.q), k=four_dims(f.k), v=four_dims(f.v))


def _half_only(f: SdpaFacts, _t: Machine) -> str | None:
    return None if f.half and _of_one_dtype(f) else f"{_names(f)} (it takes bf16 and fp16)"


def _of_one_dtype(f: SdpaFacts) -> bool:
    """Always so in a call that a model makes; an attention that it writes out may keep v in another dtype."""
    return len(set(f.dtypes)) == 1


def _in_bf16(f: SdpaFacts) -> SdpaFacts:
    return replace(f, dtypes=(torch.bfloat16,) * 3)


def _in_fp16(f: SdpaFacts) -> SdpaFacts:
    return replace(f, dtypes=(torch.float16,) * 3)


def _efficient_dtype(f: SdpaFacts, t: Machine) -> str | None:
    allowed = {torch.float16, torch.float32} | ({torch.bfloat16} if t.gpu.capability[0] >= 8 else set())
    return None if _of_one_dtype(f) and set(f.dtypes) <= allowed else f"{_names(f)} on this GPU"


def _no_mask(f: SdpaFacts, _t: Machine) -> str | None:
    return None if f.mask == "none" else "there is an attn_mask"


def without_mask(f: SdpaFacts) -> SdpaFacts:
    """The same call without attn_mask."""
    return replace(
        f, mask="none", mask_shape=(), mask_requires_grad=False, mask_broadcasts=True, mask_last_stride_1=True
    )


def _no_mask_gradient(f: SdpaFacts, _t: Machine) -> str | None:
    return "attn_mask requires grad" if f.mask_requires_grad else None


def _mask_broadcasts(f: SdpaFacts, _t: Machine) -> str | None:
    return None if f.mask_broadcasts else f"attn_mask is of shape {list(f.mask_shape)}"


def _mask_of_four_dims(f: SdpaFacts) -> SdpaFacts:
    return replace(f, mask_broadcasts=True, mask_shape=(1,) * (4 - len(f.mask_shape)) + f.mask_shape)


def _head_sizes_equal(f: SdpaFacts, _t: Machine) -> str | None:
    return None if f.q[-1] == f.k[-1] == f.v[-1] else "q, k and v differ in head size"


def _flash_head_size(f: SdpaFacts, _t: Machine) -> str | None:
    return None if f.head <= 256 else f"head size {f.head} > 256"


def _flash_small_sm_head_size(f: SdpaFacts, t: Machine) -> str | None:
    capability = t.gpu.capability
    if not f.requires_grad or not ((8, 6) <= capability <= (8, 9) or capability[0] >= 12):
        return None
    if f.head > 192 and (f.head <= 224 or f.dropout > 0):
        return f"backward with head size {f.head} on compute capability {capability[0]}.{capability[1]}"
    return None


def _causal_square(f: SdpaFacts, _t: Machine) -> str | None:
    return "is_causal with s_q != s_k" if f.causal and f.q[-2] != f.k[-2] else None


def _batches_equal(f: SdpaFacts, _t: Machine) -> str | None:
    return None if f.q[0] == f.k[0] == f.v[0] else "q, k and v differ in batch size"


def _with_one_batch(f: SdpaFacts) -> SdpaFacts:
    b = max(f.q[0], f.k[0], f.v[0])
    return replace(f, q=(b, *f.q[1:]), k=(b, *f.k[1:]), v=(b, *f.v[1:]))


def _implicit_multi_query(f: SdpaFacts, t: Machine) -> bool:
    """https://github.com/pytorch/pytorch/pull/191085, in 2.14."""
    return t.torch >= (2, 14) and f.k[-3] == f.v[-3] == 1


def _heads_equal(f: SdpaFacts, t: Machine) -> str | None:
    if f.q[-3] == f.k[-3] == f.v[-3] or _implicit_multi_query(f, t):
        return None
    if t.torch >= (2, 14) and f.gqa and not _key_and_value_heads(f, t) and not _heads_divide(f, t):
        return None
    return "grouped query: it needs as many key heads as query heads"


def _heads_repeated(f: SdpaFacts) -> SdpaFacts:
    heads = f.q[-3]
    return replace(f, k=(f.k[0], heads, *f.k[2:]), v=(f.v[0], heads, *f.v[2:]), gqa=False)


def _flag_for_gqa(f: SdpaFacts, t: Machine) -> str | None:
    same = f.q[-3] == f.k[-3] == f.v[-3]
    if same or f.gqa or _implicit_multi_query(f, t):
        return None
    return "q, k and v differ in number of heads, without enable_gqa"


def _heads_divide(f: SdpaFacts, _t: Machine) -> str | None:
    fits = f.k[-3] and f.v[-3] and f.q[-3] % f.k[-3] == 0 and f.q[-3] % f.v[-3] == 0
    return None if fits else "the number of query heads is not a multiple of the key heads"


def _key_and_value_heads(f: SdpaFacts, _t: Machine) -> str | None:
    return None if f.k[-3] == f.v[-3] else "k and v differ in number of heads"


def _nonzero_lengths(f: SdpaFacts, _t: Machine) -> str | None:
    return "a sequence length is 0" if 0 in (f.q[-2], f.k[-2]) else None


def _last_stride(ignore_one: bool) -> Callable[[SdpaFacts, Machine], str | None]:
    def refuses(f: SdpaFacts, _t: Machine) -> str | None:
        if not (f.last_stride_1 or (ignore_one and f.head == 1)):
            return "the last dimension of q, k or v is not contiguous"
        return None if f.mask_last_stride_1 else "the last dimension of attn_mask is not contiguous"

    return refuses


def _contiguous(f: SdpaFacts) -> SdpaFacts:
    return replace(f, last_stride_1=True, mask_last_stride_1=True, offsets_aligned=True)


def _efficient_alignment(f: SdpaFacts, t: Machine) -> str | None:
    """minimum_gemm_alignment: 16 bytes where tensor cores are used, else 4 elements from sm80 on and 1 before."""
    major = t.gpu.capability[0]
    alignment = 8 if f.half and major >= 7 else 4 if major >= 8 else 1
    if f.q[-1] != f.k[-1]:
        return "q and k differ in head size"
    wrong = next((d for d in (f.q[-1], f.v[-1]) if d % alignment), None)
    return None if wrong is None else f"head size {wrong} is not a multiple of {alignment}"


def _padded_to_8(f: SdpaFacts) -> SdpaFacts:
    def pad(shape: Shape) -> Shape:
        return (*shape[:-1], -(-shape[-1] // 8) * 8)

    return replace(f, q=pad(f.q), k=pad(f.k), v=pad(f.v))


def _offsets(f: SdpaFacts, t: Machine) -> str | None:
    aligned = f.offsets_aligned or t.gpu.capability[0] < 8
    return None if aligned else "q, k or v does not start at a multiple of 16 bytes"


def _cudnn_there(_f: SdpaFacts, t: Machine) -> str | None:
    return None if t.cudnn >= 90000 else "no cuDNN of at least 9.0"


def _cudnn_dropout_version(f: SdpaFacts, t: Machine) -> str | None:
    return "dropout with cuDNN 9.11 to 9.13" if f.dropout > 0 and 91100 < t.cudnn < 91400 else None


def _cudnn_dropout_step(f: SdpaFacts, _t: Machine) -> str | None:
    return None if f.dropout * 16 % 1 == 0 else f"dropout {f.dropout:g} is not a multiple of 1/16"


def _cudnn_head_limit(f: SdpaFacts, t: Machine) -> str | None:
    """check_cudnn_tensor_shapes: 256 on Hopper with cuDNN 9.10 (https://github.com/pytorch/pytorch/pull/161210); since
    2.14 on sm90 and sm10x with cuDNN after 9.22 (https://github.com/pytorch/pytorch/pull/185553)."""
    capability, pair = t.gpu.capability, (f.q[-1], f.v[-1])
    if t.torch >= (2, 14):
        datacenter = capability == (9, 0) or capability[0] == 10
        to_256 = datacenter and t.cudnn > (92500 if capability == (10, 7) else 92200)
        to_192 = datacenter and t.cudnn >= 91100
    else:
        to_256 = capability == (9, 0) and t.cudnn >= 91000
        to_192 = capability[0] == 10 and t.cudnn >= 91100 and t.torch >= (2, 11)
    limit = 256 if to_256 else 128
    fits = max(pair) <= limit or (to_192 and pair == (192, 128))
    return None if fits else f"head size {max(pair)} > {limit}"


def _cudnn_head_backward(f: SdpaFacts, t: Machine) -> str | None:
    large = max(f.q[-1], f.v[-1]) > 128
    if f.requires_grad and large and (f.q[-1], f.v[-1]) not in ((192, 128), (256, 256)):
        return f"backward with head sizes {f.q[-1]} and {f.v[-1]}"
    return None


def _cudnn_multiple_of_8(f: SdpaFacts, _t: Machine) -> str | None:
    wrong = next((d for d in (f.q[-1], f.v[-1]) if d % 8), None)
    return None if wrong is None else f"head size {wrong} is not a multiple of 8"


def _cudnn_lengths(f: SdpaFacts, _t: Machine) -> str | None:
    if f.k[-2] == 1:
        return "s_k = 1"
    return "dropout with s_q = 1" if f.dropout > 0 and f.q[-2] == 1 else None


def _cudnn_sizes(f: SdpaFacts, _t: Machine) -> str | None:
    return None if max(f.q[0], f.q[1]) <= 65535 else "more than 65,535 batches or heads"


def _deterministic(f: SdpaFacts, _t: Machine) -> str | None:
    return "torch.use_deterministic_algorithms is on" if f.deterministic else None


_DIMS = BackendRule(_four_dims, "check_tensor_shapes", "pass q, k and v as (batch, heads, s, head size)", _as_four_dims)
_HALF = BackendRule(_half_only, "check_dtypes_low_precision", "bf16 or fp16, as under torch.autocast", _in_bf16, cost=3)
_BATCH = BackendRule(
    _batches_equal, "check_batch_size_and_num_heads_dense", "expand q, k and v to one batch size", _with_one_batch
)
_FLAG = BackendRule(
    _flag_for_gqa, "check_batch_size_and_num_heads_dense", "enable_gqa=True", lambda f: replace(f, gqa=True)
)
_DIVIDE = BackendRule(_heads_divide, "check_grouped_query_attention")
_LENGTHS = BackendRule(_nonzero_lengths, "check_nonzero_sequence_lengths_dense")
_PAD = "pad the head size to a multiple of 8"


def _strides(ignore_one: bool) -> BackendRule:
    source, remedy = (
        "check_last_dim_stride_equals_1_dense",
        "make q, k, v and the mask contiguous in the last dimension",
    )
    return BackendRule(_last_stride(ignore_one), source, remedy, _contiguous)


RULES: dict[str, tuple[BackendRule, ...]] = {
    "flash": (
        BackendRule(_below(8), "check_flash_attention_hardware_support"),
        _DIMS,
        BackendRule(_no_mask, "check_for_attn_mask", "no mask (is_causal=True if it is causal)", without_mask, cost=3),
        BackendRule(_head_sizes_equal, "check_head_dim_size_flash"),
        BackendRule(_flash_head_size, "check_head_dim_size_flash"),
        BackendRule(_flash_small_sm_head_size, "check_requires_grad_and_head_dim_gt192_constraints_on_sm86_89_or_120"),
        BackendRule(_causal_square, "check_flash_causal_non_square_seqlens"),
        _HALF, _BATCH, _FLAG, _DIVIDE,
        BackendRule(_key_and_value_heads, "check_grouped_query_attention"),
        _LENGTHS, _strides(ignore_one=True),
    ),
    "efficient": (
        BackendRule(_below(5), "check_mem_efficient_hardware_support"),
        _DIMS,
        BackendRule(_efficient_dtype, "can_use_mem_efficient_attention", "fp16", _in_fp16, cost=3),
        BackendRule(_efficient_alignment, "check_head_dim_size_mem_efficient", _PAD, _padded_to_8),
        # https://github.com/pytorch/pytorch/pull/184258
        BackendRule(
            _offsets, "check_data_ptr_alignment_mem_efficient", "make q, k and v contiguous", _contiguous, since=(2, 13)
        ),
        _BATCH,
        BackendRule(
            _heads_equal, "check_batch_size_and_num_heads_dense", "repeat the key and value heads", _heads_repeated
        ),
        _LENGTHS, _strides(ignore_one=False),
    ),
    "cudnn": (
        BackendRule(_cudnn_there, "can_use_cudnn_attention"),
        # https://github.com/pytorch/pytorch/pull/163903
        BackendRule(_cudnn_dropout_version, "can_use_cudnn_attention", since=(2, 9)),
        BackendRule(_below(8), "check_cudnn_hardware_support"),
        _DIMS, _HALF,
        BackendRule(_no_mask_gradient, "check_attn_mask_shape"),
        BackendRule(_mask_broadcasts, "check_attn_mask_shape", "a mask of two or four dimensions", _mask_of_four_dims),
        # https://github.com/pytorch/pytorch/pull/174245
        BackendRule(_cudnn_dropout_step, "check_cudnn_dropout", since=(2, 12)),
        BackendRule(_cudnn_sizes, "check_cudnn_tensor_shapes", since=(2, 12)),
        BackendRule(_cudnn_head_limit, "check_cudnn_tensor_shapes"),
        BackendRule(_cudnn_multiple_of_8, "check_cudnn_tensor_shapes", _PAD, _padded_to_8),
        BackendRule(_cudnn_lengths, "check_cudnn_tensor_shapes"),
        BackendRule(_cudnn_head_backward, "check_cudnn_d256_bprop_head_dim", since=(2, 14)),
        _BATCH, _FLAG, _DIVIDE, _LENGTHS, _strides(ignore_one=True),
        BackendRule(_deterministic, "check_cudnn_deterministic"),
    ),
    "math": (),
}  # fmt: skip


def _names(f: SdpaFacts) -> str:
    return " and ".join(dict.fromkeys(str(dtype).removeprefix("torch.") for dtype in f.dtypes))
