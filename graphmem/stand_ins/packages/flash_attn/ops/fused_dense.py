"""flash_attn.ops.fused_dense, which runs the extension fused_dense_lib; without tensor parallelism.

Shapes: x (..., n), weights (out, in).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from flash_attn.ops.activations import sqrelu_fwd
from graphmem.stand_ins.operators import Saving, empty, kernel

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_approx": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
    "sqrelu": sqrelu_fwd,
}


@kernel("graphmem::linear_act_forward")
def _linear_act(x: Tensor, weight: Tensor, bias: Tensor | None, is_gelu: bool, save_pre_act: bool) -> list[Tensor]:
    """The activation's output (m, out), and its input: whole for GELU, a bit mask for ReLU."""
    rows, width = x.shape[0], weight.shape[0]
    pre_act = empty(x, rows, width) if is_gelu else empty(x, rows, width // 8, dtype=torch.uint8)
    return [empty(x, rows, width), *([pre_act] if save_pre_act else [])]


def _one_process(process_group: Any) -> None:
    if process_group is not None:
        raise NotImplementedError("graphmem's stand-in for flash_attn's fused dense layers knows no process groups")


def _as_autocast(*tensors: Tensor | None) -> list[Any]:
    if not torch.is_autocast_enabled("cuda"):
        return list(tensors)
    dtype = torch.get_autocast_dtype("cuda")
    return [None if t is None else t.to(dtype) for t in tensors]


def _half(x: Tensor, *others: Tensor | None) -> bool:
    halved = x.dtype == torch.float32 and torch.is_autocast_enabled("cuda")
    on_gpu = all(t is None or t.is_cuda for t in (x, *others))
    return on_gpu and (halved or x.dtype in (torch.float16, torch.bfloat16))


class FusedDenseFunc(Saving):
    """Saves the weight, and x where the weight is trained."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        return_residual: bool = False,
        process_group: Any = None,
        sequence_parallel: bool = True,
    ) -> Any:
        _one_process(process_group)
        trained = weight.requires_grad
        x, weight, bias = _as_autocast(x, weight, bias)
        x, weight = x.contiguous(), weight.contiguous()
        output = F.linear(x, weight, bias)
        ctx.save_for_backward(*((x, weight) if trained else (weight,)))
        return (output, x) if return_residual else output


def fused_dense_func(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    return_residual: bool = False,
    process_group: Any = None,
    sequence_parallel: bool = True,
) -> Any:
    """linear(x), with x returned too if asked for."""
    if _half(x, weight, bias):
        return FusedDenseFunc.apply(x, weight, bias, return_residual, process_group, sequence_parallel)
    out = F.linear(x, weight, bias)
    return (out, x) if return_residual else out


class FusedDense(nn.Linear):
    """nn.Linear by `fused_dense_func`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        return_residual: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias, device=device, dtype=dtype)
        self.return_residual = return_residual

    def forward(self, x: Tensor, process_group: Any = None) -> Any:
        return fused_dense_func(x, self.weight, self.bias, self.return_residual, process_group)


class FusedMLPFunc(Saving):
    """Saves x and the weights; by `checkpoint_lvl` also the activation's input and output, or the first bias."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight1: Tensor,
        bias1: Tensor | None,
        weight2: Tensor,
        bias2: Tensor | None,
        activation: str,
        save_pre_act: bool,
        return_residual: bool,
        checkpoint_lvl: int,
        heuristic: int,
        process_group: Any = None,
        sequence_parallel: bool = True,
    ) -> Any:
        _one_process(process_group)
        level = checkpoint_lvl if save_pre_act else 2
        x, weight1, bias1, weight2, bias2 = _as_autocast(x, weight1, bias1, weight2, bias2)
        x, weight1, weight2 = x.contiguous(), weight1.contiguous(), weight2.contiguous()
        pre_act: Any = None
        if heuristic == -1:
            pre_act = F.linear(x, weight1, bias1)
            hidden = ACTIVATIONS[activation](pre_act)
        else:
            rows = x.reshape(-1, x.shape[-1])
            hidden, *made = _linear_act(rows, weight1, bias1, activation == "gelu_approx", save_pre_act)
            pre_act = made[0] if made else None
        output = F.linear(hidden, weight2, bias2)
        if level == 0 or (level == 1 and activation == "relu"):
            ctx.save_for_backward(x, weight1, weight2, pre_act, hidden)
        else:
            ctx.save_for_backward(x, weight1, weight2, pre_act if level == 1 else bias1)
        output = output.reshape(*x.shape[:-1], output.shape[-1])
        return (output, x) if return_residual else output


def fused_mlp_func(
    x: Tensor,
    weight1: Tensor,
    weight2: Tensor,
    bias1: Tensor | None = None,
    bias2: Tensor | None = None,
    activation: str = "gelu_approx",
    save_pre_act: bool = True,
    return_residual: bool = False,
    checkpoint_lvl: int = 0,
    heuristic: int = 0,
    process_group: Any = None,
    sequence_parallel: bool = True,
) -> Any:
    """linear(activation(linear(x)))."""
    aligned = not save_pre_act or x.shape[-1] % (128 if activation == "relu" else 8) == 0
    if _half(x, weight1, weight2, bias1, bias2) and aligned:
        how = (activation, save_pre_act, return_residual, checkpoint_lvl, heuristic, process_group)
        return FusedMLPFunc.apply(x, weight1, bias1, weight2, bias2, *how)
    pre_act = F.linear(x, weight1, bias1)
    hidden = F.gelu(pre_act, approximate="tanh") if activation == "gelu_approx" else F.relu(pre_act, inplace=True)
    output = F.linear(hidden, weight2, bias2)
    return (output, x) if return_residual else output


class FusedMLP(nn.Module):
    """Two linear layers with an activation between, by `fused_mlp_func`."""

    def __init__(
        self,
        in_features: int,
        hidden_features: int | None = None,
        out_features: int | None = None,
        bias1: bool = True,
        bias2: bool = True,
        activation: str = "gelu_approx",
        return_residual: bool = False,
        checkpoint_lvl: int = 0,
        heuristic: int | str = "auto",
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS or checkpoint_lvl not in (0, 1, 2):
            raise AssertionError(f"FusedMLP: activation {activation!r}, checkpoint_lvl {checkpoint_lvl}")
        hidden_features = hidden_features or in_features * 4
        self.activation = activation
        self.return_residual = return_residual
        self.checkpoint_lvl = checkpoint_lvl
        self.heuristic = -1 if activation == "sqrelu" else heuristic
        self.fc1 = nn.Linear(in_features, hidden_features, bias=bias1, device=device, dtype=dtype)
        self.fc2 = nn.Linear(hidden_features, out_features or in_features, bias=bias2, device=device, dtype=dtype)

    def forward(self, x: Tensor, process_group: Any = None) -> Any:
        heuristic = self.heuristic
        if isinstance(heuristic, str):  # the fused kernel is slower on an H100
            slow = self.activation == "gelu_approx" and torch.cuda.get_device_capability() == (9, 0)
            heuristic = -1 if slow else 0
        return fused_mlp_func(
            x,
            self.fc1.weight,
            self.fc2.weight,
            self.fc1.bias,
            self.fc2.bias,
            activation=self.activation,
            save_pre_act=self.training,
            return_residual=self.return_residual,
            checkpoint_lvl=self.checkpoint_lvl,
            heuristic=heuristic,
            process_group=process_group,
        )
