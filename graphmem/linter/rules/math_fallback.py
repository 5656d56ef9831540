"""`scaled_dot_product_attention` runs its math path, which materialises the scores.

**Why is this bad?**
The call looks like fused attention and gives no warning. But each fused kernel refuses some calls, by dtype, head
size, mask, grouped heads, GPU and torch release, and where all refuse, torch writes the attention out: 4 to 12 bytes
for each of as²b.

**Example**

    # float32: flash and cuDNN want 16 bits, and the efficient kernel does not take grouped heads
    F.scaled_dot_product_attention(q, k, v, enable_gqa=True)

**Use instead**
What the finding says: it names the condition that refused each kernel, and the least change that reaches one. Here

    k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
    F.scaled_dot_product_attention(q, k, v)

or bf16. The saving is measured: the traced model is run again with that change.

**Sources**
[transformers#46960](https://github.com/huggingface/transformers/pull/46960): "completely silent",
[ComfyUI#15135](https://github.com/Comfy-Org/ComfyUI/pull/15135): 45.64 GiB,
[pytorch#97514](https://github.com/pytorch/pytorch/issues/97514).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from graphmem.attention.site import alike
from graphmem.linter.context import Context
from graphmem.linter.example import Example, Examples, attending, hidden
from graphmem.linter.fused import fusing
from graphmem.linter.spot import Spot

CODE, NAME, SEVERITY, DEFAULT = "GM102", "math-fallback", "error", True


def check(context: Context) -> Iterator[Spot]:
    """Every call that the math path runs, where a change reaches a fused kernel that keeps less."""
    for row, sites in context.attention:
        if row.kernel != "sdpa.math" or row.instead is None:
            continue
        key = alike(sites[0], context.trace)
        change = fusing(key, context.machine)
        for site in sites:
            yield Spot(
                op=min(site.ops),
                storages=tuple(k.storage for k in site.kept(context.derived.kept)),
                message=f"scaled_dot_product_attention runs the math path and keeps s² terms ({row.why})",
                fix=f"{row.instead.how} ({row.instead.kernel})",
                change=change,
                module=site.module,
            )


# -- examples ----------------------------------------------------------------------------------------------------------


def _grouped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)


def _repeated(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = (t.repeat_interleave(2, dim=1) for t in (k, v))
    return F.scaled_dot_product_attention(q, k, v)


def _wide(attend: object) -> Example:
    """Floats, since no 16-bit kernel is in the way then."""
    made = attending(attend, keys=2)  # type: ignore[arg-type]
    return Example(made.module, lambda: tuple(t.float() for t in hidden()), dtype=torch.float32)


BAD: Examples = {"grouped heads in float32": _wide(_grouped)}
FIXED: Examples = {"grouped heads in float32": _wide(_repeated)}
GOOD: Examples = {
    "grouped heads in bf16": attending(_grouped, keys=2),
    "plain": attending(F.scaled_dot_product_attention),
}
