"""Each rule of each backend: what is just taken, what is just refused and why, and the call after the way out.

Expected is what aten/src/ATen/native/transformers/cuda/sdp_utils.cpp says for these sizes.
"""

import pytest
import torch

from graphmem.kernels.sdpa import choose, without_mask
from graphmem.kernels.sdpa.rules import RULES
from support.sdpa_facts import BF16, FP16, FP32, FP64, facts, sizes, target

HEADS = "q, k and v differ in number of heads, without enable_gqa"
MULTIPLE = "the number of query heads is not a multiple of the key heads"
GROUPED = "grouped query: it needs as many key heads as query heads"
STRIDES, MASK_STRIDES = (f"the last dimension of {what} is not contiguous" for what in ("q, k or v", "attn_mask"))
GQA, STRIDED, INFERENCE = {"gqa": True}, {"last_stride_1": False}, {"requires_grad": False}


def why(backend, machine, changes):
    """The reason of the rule that refuses the call; None where the backend takes it."""
    taken, refused = choose(facts(machine, order=(backend,), **changes), machine)
    assert [taken] == ([None] if refused else [backend])
    return refused[0][1] if refused else None


def longs(q, k):
    return sizes(s=(q, k, k))


def dims(q, k, v):
    """Shapes of so many dimensions."""
    full = (1, 2, 8, 128, 64)
    return {"q": full[-q:], "k": full[-k:], "v": full[-v:]}


@pytest.mark.parametrize("backend", ["flash", "efficient", "cudnn"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *((dims(*n), "q, k and v are not all 4-dimensional") for n in [(3, 3, 3), (5, 5, 5), (3, 4, 4), (4, 3, 3)]),
        (dims(4, 4, 3), "q, k and v are not all 4-dimensional"),
        *((sizes(batch=b), "q, k and v differ in batch size") for b in [(2, 1, 1), (1, 2, 2), (2, 2, 1)]),
        (longs(0, 128), "a sequence length is 0"),
        (longs(128, 0), "a sequence length is 0"),
        (STRIDED, STRIDES),
    ],
)
def test_what_every_kernel_refuses(backend, changes, reason) -> None:
    assert why(backend, target(), changes) == reason


@pytest.mark.parametrize(
    ("backend", "gpu", "reason"),
    [
        ("flash", "a100", None),
        ("flash", "t4", "Tesla T4 is below compute capability 8.0"),
        ("cudnn", "a100", None),
        ("cudnn", "t4", "Tesla T4 is below compute capability 8.0"),
        ("efficient", "sm_50:8GiB", None),
        ("efficient", "sm_37:8GiB", "GPU sm_37 8.00 GiB is below compute capability 5.0"),
        *((backend, "sm_121:8GiB", None) for backend in ("flash", "efficient", "cudnn")),
        *((b, "sm_122:8GiB", "GPU sm_122 8.00 GiB is newer than torch 2.13") for b in ("flash", "efficient", "cudnn")),
    ],
)
def test_gpus(backend, gpu, reason) -> None:
    assert why(backend, target(gpu), {"dtypes": FP16}) == reason


# Backend, GPU, torch, what is just taken, what is just refused, and why.
LIMITS = [
    ("flash", "h100", "2.13", {}, {"mask": "bool"}, "there is an attn_mask"),
    ("flash", "a100", "2.13", sizes(200), sizes(64, v=72), "q, k and v differ in head size"),
    ("flash", "a100", "2.13", sizes(72), sizes(64, k=72), "q, k and v differ in head size"),
    ("flash", "h100", "2.13", sizes(256), sizes(257), "head size 257 > 256"),
    ("flash", "h100", "2.13", longs(128, 128) | {"causal": True}, longs(128, 64) | {"causal": True}, "is_causal with"),
    ("flash", "h100", "2.13", longs(128, 64), longs(64, 128) | {"causal": True}, "is_causal with s_q != s_k"),
    ("flash", "h100", "2.13", {"dtypes": FP16}, {"dtypes": FP32}, "float32 (it takes bf16 and fp16)"),
    ("flash", "h100", "2.13", {}, {"dtypes": (*BF16[:2], torch.float16)}, "bfloat16 and float16 (it takes"),
    ("flash", "h100", "2.13", {}, {"dtypes": (BF16[0], *FP32[:2])}, "bfloat16 and float32 (it takes"),
    ("flash", "h100", "2.13", sizes(heads=(8, 2, 2)) | GQA, sizes(heads=(8, 2, 2)), HEADS),
    ("flash", "h100", "2.13", {}, sizes(heads=(8, 1, 1)), HEADS),
    ("flash", "h100", "2.13", {}, sizes(heads=(8, 8, 2)), HEADS),
    ("flash", "h100", "2.13", {}, sizes(heads=(2, 8, 8)) | GQA, MULTIPLE),
    ("flash", "h100", "2.13", {}, sizes(heads=(8, 3, 4)) | GQA, MULTIPLE),
    ("flash", "h100", "2.13", {}, sizes(heads=(8, 4, 3)) | GQA, MULTIPLE),
    ("flash", "h100", "2.13", {}, sizes(heads=(8, 0, 8)) | GQA, MULTIPLE),
    ("flash", "h100", "2.13", {}, sizes(heads=(8, 8, 0)) | GQA, MULTIPLE),
    ("flash", "h100", "2.13", {}, sizes(heads=(8, 4, 2)) | GQA, "k and v differ in number of heads"),
    ("flash", "h100", "2.13", sizes(1) | STRIDED, sizes(2) | STRIDED, STRIDES),
    ("efficient", "h100", "2.13", {"dtypes": FP32}, {"dtypes": FP64}, "float64 on this GPU"),
    ("efficient", "h100", "2.13", {}, {"dtypes": (*BF16[:2], torch.float32)}, "bfloat16 and float32 on this GPU"),
    ("efficient", "a100", "2.13", {}, {"dtypes": (FP16[0], *BF16[:2])}, "float16 and bfloat16 on this GPU"),
    ("efficient", "v100", "2.13", {"dtypes": FP16}, {}, "bfloat16 on this GPU"),
    ("efficient", "a100", "2.13", sizes(16), sizes(12), "head size 12 is not a multiple of 8"),
    ("efficient", "a100", "2.13", sizes(16, v=8), sizes(16, v=12), "head size 12 is not a multiple of 8"),
    ("efficient", "a100", "2.13", sizes(12) | {"dtypes": FP32}, sizes(10) | {"dtypes": FP32}, "head size 10 is not"),
    ("efficient", "a100", "2.13", {}, sizes(9, v=8) | {"dtypes": FP32}, "head size 9 is not a multiple of 4"),
    ("efficient", "v100", "2.13", sizes(8) | {"dtypes": FP16}, sizes(4) | {"dtypes": FP16}, "head size 4 is not"),
    ("efficient", "sm_61:8GiB", "2.13", sizes(1) | {"dtypes": FP16}, {"dtypes": FP64}, "float64 on this GPU"),
    ("efficient", "v100", "2.13", sizes(1) | {"dtypes": FP32}, sizes(1) | STRIDED | {"dtypes": FP32}, STRIDES),
    ("efficient", "a100", "2.13", sizes(64), sizes(64, k=72), "q and k differ in head size"),
    ("efficient", "h100", "2.12", {"offsets_aligned": False}, {"mask_last_stride_1": False}, MASK_STRIDES),
    ("efficient", "a100", "2.13", {}, {"offsets_aligned": False}, "q, k or v does not start at a multiple of 16"),
    ("efficient", "t4", "2.13", {"offsets_aligned": False, "dtypes": FP16}, {}, "bfloat16 on this GPU"),
    ("efficient", "h100", "2.13", sizes(64), sizes(64, heads=(8, 2, 2)), GROUPED),
    ("efficient", "h100", "2.13", sizes(64), sizes(64, heads=(8, 2, 2)) | GQA, GROUPED),
    ("efficient", "h100", "2.13", sizes(64), sizes(64, heads=(8, 8, 2)), GROUPED),
    ("cudnn", "h100", "2.5", {"dtypes": FP16}, {"dtypes": FP32}, "float32 (it takes bf16 and fp16)"),
    ("cudnn", "h100", "2.13", {"mask": "float"}, {"mask": "float", "mask_requires_grad": True}, "attn_mask requires"),
    (
        "cudnn",
        "h100",
        "2.13",
        {},
        {"mask_shape": (8, 9, 7), "mask_broadcasts": False},
        "attn_mask is of shape [8, 9, 7]",
    ),
    ("cudnn", "h100", "2.12", {"dropout": 0.0625}, {"dropout": 0.06}, "dropout 0.06 is not a multiple of 1/16"),
    ("cudnn", "h100", "2.11", {"dropout": 0.06}, {"mask_last_stride_1": False}, MASK_STRIDES),
    (
        "cudnn",
        "h100",
        "2.12",
        sizes(batch=(65535,) * 3),
        sizes(batch=(65536,) * 3),
        "more than 65,535 batches or heads",
    ),
    (
        "cudnn",
        "h100",
        "2.12",
        sizes(heads=(65535,) * 3),
        sizes(heads=(65536,) * 3),
        "more than 65,535 batches or heads",
    ),
    ("cudnn", "h100", "2.11", sizes(batch=(65536,) * 3), {"deterministic": True}, "torch.use_deterministic_algorithms"),
    ("cudnn", "h100", "2.12", longs(65536, 65536), sizes(64, v=60), "head size 60 is not a multiple of 8"),
    ("cudnn", "h100", "2.13", sizes(64), sizes(60, v=64), "head size 60 is not a multiple of 8"),
    ("cudnn", "h100", "2.13", longs(128, 2), longs(128, 1), "s_k = 1"),
    ("cudnn", "h100", "2.13", longs(1, 128), longs(1, 128) | {"dropout": 0.5}, "dropout with s_q = 1"),
    ("cudnn", "h100", "2.13", longs(2, 128) | {"dropout": 0.5}, longs(1, 1) | {"dropout": 0.5}, "s_k = 1"),
    ("cudnn", "h100", "2.13", sizes(heads=(8, 4, 2)) | GQA, sizes(heads=(8, 3, 3)) | GQA, MULTIPLE),
    ("cudnn", "h100", "2.13", {}, sizes(heads=(8, 1, 1)), HEADS),
]


@pytest.mark.parametrize(("backend", "gpu", "release", "taken", "refused", "reason"), LIMITS)
def test_where_a_rule_begins(backend, gpu, release, taken, refused, reason) -> None:
    machine = target(gpu, release)
    assert why(backend, machine, taken) is None
    assert why(backend, machine, refused).startswith(reason)


# The backward of flash on what is not a datacenter's GPU: head size, other facts, whether it is refused.
BACKWARD = [
    (192, {}, False), (193, {}, True), (224, {}, True), (224, INFERENCE, False), (225, {}, False), (256, {}, False),
    (192, {"dropout": 0.1}, False), (225, {"dropout": 0.1}, True), (225, {"dropout": 0.1} | INFERENCE, False),
]  # fmt: skip


@pytest.mark.parametrize("gpu", ["8.5", "8.6", "8.9", "9.0", "11.0", "12.0", "12.1"])
@pytest.mark.parametrize(("head", "changes", "refused"), BACKWARD)
def test_the_backward_of_large_heads(gpu, head, changes, refused) -> None:
    machine = target(f"sm_{gpu.replace('.', '')}:8GiB")
    refused &= gpu in ("8.6", "8.9", "12.0", "12.1")
    reason = f"backward with head size {head} on compute capability {gpu}" if refused else None
    assert why("flash", machine, sizes(head) | changes) == reason


# torch, cuDNN, GPU, head sizes of q and v, the limit that refuses them.
HEADS_OF_CUDNN = [
    ("2.13", "9.9.99", "h100", (128, 128), None), ("2.13", "9.9.99", "h100", (136, 136), 128),
    ("2.13", "9.10", "h100", (256, 256), None), ("2.13", "9.10", "h100", (257, 257), 256),
    ("2.13", "9.10", "h100", (64, 264), 256), ("2.13", "9.24", "sm_91:80GiB", (129, 64), 128),
    ("2.13", "9.24", "a100", (136, 136), 128), ("2.13", "9.24", "sm_120:32GiB", (192, 128), 128),
    ("2.11", "9.11", "b200", (192, 128), None), ("2.11", "9.10.99", "b200", (192, 128), 128),
    ("2.10.1", "9.24", "b200", (192, 128), 128), ("2.13", "9.24", "b200", (192, 192), 128),
    ("2.13", "9.24", "b200", (128, 192), 128), ("2.13", "9.24", "sm_107:80GiB", (192, 128), None),
    ("2.13.1", "9.24", "b200", (256, 256), 128), ("2.14", "9.22", "h100", (136, 136), 128),
    ("2.14", "9.22.1", "h100", (256, 256), None), ("2.14", "9.22.1", "b200", (256, 256), None),
    ("2.14", "9.22.1", "b200", (257, 256), 256), ("2.14", "9.24", "sm_91:80GiB", (136, 136), 128),
    ("2.14", "9.24", "a100", (192, 128), 128), ("2.14", "9.24", "sm_120:32GiB", (136, 136), 128),
    ("2.14", "9.25", "sm_107:80GiB", (256, 256), 128), ("2.14", "9.25.1", "sm_107:80GiB", (256, 256), None),
    ("2.14", "9.25", "sm_107:80GiB", (192, 128), None), ("2.14", "9.24", "sm_117:80GiB", (256, 256), 128),
    ("2.14", "9.11", "h100", (192, 128), None), ("2.14", "9.10.99", "h100", (192, 128), 128),
    ("2.14.1", "9.11", "b200", (192, 128), None), ("2.14", "9.11", "b200", (192, 120), 128),
    ("2.14", "9.11", "b200", (184, 128), 128), ("2.14", "9.22.1", "sm_103:80GiB", (256, 256), None),
    ("3.0", "9.22.1", "h100", (256, 256), None),
]  # fmt: skip


@pytest.mark.parametrize(("release", "cudnn", "gpu", "heads", "limit"), HEADS_OF_CUDNN)
def test_the_largest_head_of_cudnn(release, cudnn, gpu, heads, limit) -> None:
    reason = None if limit is None else f"head size {max(heads)} > {limit}"
    assert why("cudnn", target(gpu, release, cudnn), sizes(heads[0], v=heads[1])) == reason


@pytest.mark.parametrize("heads", [(128, 128), (192, 128), (256, 256), (136, 128), (128, 136), (192, 192), (256, 128)])
def test_the_backward_of_cudnn_since_2_14(heads) -> None:
    alike = sizes(heads[0], v=heads[1])
    assert why("cudnn", target("h100", "2.13"), alike) is None
    assert why("cudnn", target("h100", "2.14"), alike | INFERENCE) is None
    refused = heads not in ((128, 128), (192, 128), (256, 256))
    reason = f"backward with head sizes {heads[0]} and {heads[1]}" if refused else None
    assert why("cudnn", target("h100", "2.14"), alike) == reason


@pytest.mark.parametrize("release", ["2.13", "2.13.1", "2.14", "2.14.1", "3.0"])
@pytest.mark.parametrize(
    ("heads", "gqa", "taken"),
    [
        ((8, 1, 1), False, "flash cudnn efficient"), ((8, 1, 1), True, "flash cudnn efficient"),
        ((8, 2, 2), False, ""), ((8, 2, 2), True, "flash cudnn efficient"), ((8, 1, 2), False, ""),
        ((8, 2, 1), False, ""), ((8, 3, 3), True, ""), ((8, 4, 2), True, "cudnn"), ((8, 0, 0), True, ""),
        ((8, 8, 8), False, "flash cudnn efficient"),
    ],
)  # fmt: skip
def test_grouped_queries_since_2_14(release, heads, gqa, taken) -> None:
    """Since then the efficient kernel takes them, and a single head of k and v needs no flag."""
    expected = set(taken.split())
    if release < "2.14" and heads != (8, 8, 8):
        expected = expected - {"efficient"} if gqa else set()
    machine = target("h100", release)
    assert {
        b for b in ("flash", "cudnn", "efficient") if not why(b, machine, sizes(heads=heads) | {"gqa": gqa})
    } == expected


@pytest.mark.parametrize(
    ("release", "cudnn", "refused"),
    [
        ("2.9", "9.11.0", False), ("2.9", "9.11.1", True), ("2.11", "9.12", True), ("2.11", "9.13.99", True),
        ("2.11", "9.14", False), ("2.8", "9.12", False),
    ],
)  # fmt: skip
def test_releases_of_cudnn_without_dropout(release, cudnn, refused) -> None:
    machine = target("h100", release, cudnn)
    assert why("cudnn", machine, {"dropout": 0.25}) == ("dropout with cuDNN 9.11 to 9.13" if refused else None)
    assert why("cudnn", machine, {}) is None


@pytest.mark.parametrize(("cudnn", "refused"), [("8.99.99", True), ("9.0", False), ("9.9", False)])
def test_cudnn_has_to_be_there(cudnn, refused) -> None:
    assert why("cudnn", target("h100", "2.13", cudnn), {}) == ("no cuDNN of at least 9.0" if refused else None)


def test_every_rule_says_where_it_comes_from() -> None:
    for rules in RULES.values():
        for rule in rules:
            assert rule.source.startswith(("check_", "can_use_"))
            assert (rule.change is None) == (not rule.remedy)
            assert isinstance(rule.remedy, str)


# -- the call after the way out --------------------------------------------------------------------------------------


def after(backend, start, changes):
    """The facts after the way out of the rule whose remedy begins with `start`."""
    (change,) = [rule.change for rule in RULES[backend] if rule.remedy.startswith(start)]
    return change(facts(target(), **changes))


MASKED = {
    "mask": "bool", "mask_shape": (8, 128, 128), "mask_broadcasts": False, "mask_requires_grad": True,
    "mask_last_stride_1": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("backend", "start", "changes", "then"),
    [
        (
            "flash",
            "pass q, k and v as",
            dims(3, 2, 5),
            {"q": (1, 8, 128, 64), "k": (1, 1, 128, 64), "v": (2, 8, 128, 64)},
        ),
        ("flash", "no mask", MASKED, {}),
        ("flash", "bf16 or fp16", {"dtypes": FP32}, {"dtypes": BF16}),
        ("efficient", "fp16", {"dtypes": FP64}, {"dtypes": FP16}),
        ("flash", "expand q, k and v", sizes(batch=(3, 1, 1)), sizes(batch=(3, 3, 3))),
        ("flash", "expand q, k and v", sizes(batch=(1, 3, 1)), sizes(batch=(3, 3, 3))),
        ("flash", "expand q, k and v", sizes(batch=(1, 1, 3)), sizes(batch=(3, 3, 3))),
        ("cudnn", "enable_gqa", sizes(heads=(8, 2, 2)), sizes(heads=(8, 2, 2)) | GQA),
        ("efficient", "repeat the key", sizes(heads=(8, 4, 1)) | GQA, sizes(heads=(8, 8, 8))),
        ("efficient", "pad", sizes(65, v=20), sizes(72, v=24)),
        ("efficient", "make q, k and v contiguous", {"offsets_aligned": False}, {}),
        ("efficient", "make q, k, v and", STRIDED | {"offsets_aligned": False, "mask_last_stride_1": False}, {}),
        ("cudnn", "a mask of", MASKED, MASKED | {"mask_shape": (1, 8, 128, 128), "mask_broadcasts": True}),
    ],
)
def test_the_call_after_the_way_out(backend, start, changes, then) -> None:
    assert after(backend, start, changes) == facts(target(), **then)


def test_without_a_mask() -> None:
    assert without_mask(facts(target(), **MASKED)) == facts(target())
