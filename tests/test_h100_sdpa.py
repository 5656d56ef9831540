"""Every measured call of scaled_dot_product_attention: the backend that an H100 chose, the storages that it kept."""

import collections

import pytest
import torch
import torch.nn.functional as F
from conftest import measured

from graphmem.trace import trace

DATA = measured("h100_sdpa.json.gz")["rows"]
DTYPES = ("bfloat16", "float16", "float32")


class Call(torch.nn.Module):
    def __init__(self, row):
        super().__init__()
        self.row = row

    def forward(self, q, k, v, mask=None):
        row = self.row
        return F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=row["p"], is_causal=row["causal"], enable_gqa=row["gqa"]
        )


def arguments(row):
    dtype = getattr(torch, row["dtype"])

    def tensor(*shape, requires_grad=row["rg"], dtype=dtype):
        return torch.empty(*shape, dtype=dtype, device="meta", requires_grad=requires_grad)

    sq, sk, kv = row["sq"], row["sk"], 2 if row["gqa"] else 8
    qkv = [tensor(2, 8, sq, row["hd"]), tensor(2, kv, sk, row["hd"]), tensor(2, kv, sk, row["hd"])]
    masks = {
        "none": lambda: [],
        "bool": lambda: [tensor(2, 1, sq, sk, requires_grad=False, dtype=torch.bool)],
        "bool_grad_free_1h": lambda: [tensor(sq, sk, requires_grad=False, dtype=torch.bool)],
        "float": lambda: [tensor(2, 1, sq, sk, requires_grad=False)],
        "float_grad": lambda: [tensor(2, 1, sq, sk, requires_grad=True)],
    }
    return (*qkv, *masks[row["mask"]]())


@pytest.mark.parametrize("dtype", DTYPES)
def test_backend_and_storages(dtype, h100):
    rows = [row for row in DATA if row["dtype"] == dtype]
    assert len(rows) > 600
    wrong = []
    for row in rows:
        record = trace(Call(row), arguments(row), h100)
        kept = collections.Counter((s.nbytes, s.device) for s in record.storages if s.keeps)
        storages = {storage: (nbytes, device) for _, _, nbytes, storage, device in row["saved"]}
        if record.sdpa[0].backend != row["choice"] or kept != collections.Counter(storages.values()):
            wrong.append((row, record.sdpa[0], kept))
    assert not wrong, f"{len(wrong)} of {len(rows)}; the first: {wrong[0]}"
