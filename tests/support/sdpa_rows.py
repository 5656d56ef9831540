"""The calls of scaled_dot_product_attention that were measured, made again from their rows."""

import torch
import torch.nn.functional as F


class Call(torch.nn.Module):
    def __init__(self, row) -> None:
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
