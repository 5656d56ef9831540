"""A head size that is not a multiple of 8: the flash kernel pads q, k and v, and keeps the padded copies.

**Why is this bad?**
Each call copies q, k and v to the next multiple of 8, and the copies are kept, with an output of that size: a size of
20 keeps as much as 24. The unpadded q, k and v are often kept as well. cuDNN refuses such sizes altogether.

**Example**

    heads = 12; size = hidden // heads  # 240 / 12 = 20

**Use instead**
A number of heads that makes the size a multiple of 8, or better of 64: 240 / 10 = 24, or 240 / 15 = 16. No saving is
promised, since that is another model.

**Sources**
`pad_last_dim` in torch's attention.cpp; flash_attn pads in the same way.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from graphmem.linter.context import Context
from graphmem.linter.example import Examples, attending
from graphmem.linter.spot import Spot

CODE, NAME, SEVERITY, DEFAULT = "GM107", "padded-heads", "warning", True

_aten = torch.ops.aten
_MULTIPLE = 8


def check(context: Context) -> Iterator[Spot]:
    """Every padded copy that a call of the flash kernel keeps."""
    for call, facts in context.sdpa:
        size = facts.head
        if call.backend != "flash" or size % _MULTIPLE == 0:
            continue
        pads = [op for op in context.calls(_aten.constant_pad_nd) if call.start <= op.index < call.stop]
        kept = tuple(s for op in pads if (s := context.storage(op.index)) in context.kept)
        if kept:
            yield Spot(
                op=pads[0].index,
                storages=kept,
                message=f"heads of {size} are padded to {-(-size // _MULTIPLE) * _MULTIPLE}, and the copies are kept",
                fix="another number of heads, so that the head size is a multiple of 8",
            )


# -- examples ----------------------------------------------------------------------------------------------------------

BAD: Examples = {"20": attending(F.scaled_dot_product_attention, heads=4, h=80)}
FIXED: Examples = {}
GOOD: Examples = {"24": attending(F.scaled_dot_product_attention, heads=4, h=96)}
