"""Facts of a call of scaled_dot_product_attention, and the backend that takes it, without a trace."""

import torch

from graphmem.kernels.sdpa import choose
from graphmem.kernels.sdpa.order import order
from graphmem.machine import resolve
from graphmem.record import SdpaFacts

FP32, FP16, BF16, FP64 = ((dtype,) * 3 for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.float64))


def target(gpu="h100", torch_version="2.13", cudnn=None):
    return resolve(gpu=gpu, device="cuda", torch_version=torch_version, cudnn_version=cudnn)


def facts(machine, head=64, **changes):
    """A call in bf16 with 2 batches of 8 heads and 128 positions."""
    shape, unset = (2, 8, 128, head), tuple(torch._C._get_sdp_priority_order())
    return SdpaFacts(**{"q": shape, "k": shape, "v": shape, "dtypes": BF16, "order": order(machine, unset), **changes})


def chosen(machine, **changes):
    return choose(facts(machine, **changes), machine)[0]


def sizes(q=64, k=None, v=None, batch=(2, 2, 2), heads=(8, 8, 8), s=(128, 128, 128)):
    """Changes to the facts: head sizes, batch sizes, numbers of heads and lengths of q, k and v."""
    every = zip("qkv", batch, heads, s, (q, q if k is None else k, q if v is None else v), strict=True)
    return {name: tuple(shape) for name, *shape in every}
