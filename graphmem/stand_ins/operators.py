"""What the stand-in packages are made of: operators that have shapes but no kernel, and functions without backward."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])


def kernel(name: str, mutates: Iterable[str] = ()) -> Callable[[F], F]:
    """Make the decorated function, which only allocates what the kernel returns, the fake kernel of operator `name`.

    Like the real kernels it refuses tensors that are on another device than a GPU.
    """

    def register(shapes: F) -> F:
        def real(*args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError(f"{name} is graphmem's stand-in: it knows shapes and computes nothing")

        def fake(*args: Any, **kwargs: Any) -> Any:
            refuse_cpu(name, *args, *kwargs.values())
            return shapes(*args, **kwargs)

        schema = torch.library.infer_schema(shapes, mutates_args=tuple(mutates))
        op = torch.library.custom_op(name, real, mutates_args=tuple(mutates), device_types="cuda", schema=schema)
        op.register_fake(fake)
        return op  # type: ignore[return-value]

    return register


def refuse_cpu(name: str, *values: Any) -> None:
    """Raise as the dispatcher does where there is no kernel for a tensor's device."""
    for value in values:
        if isinstance(value, torch.Tensor) and value.device.type not in ("cuda", "meta"):
            raise NotImplementedError(f"{name} runs on CUDA tensors only, and got one on {value.device}")


def refuse_shapes(package: str, least: tuple[int, int], q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    """Raise as the compiled kernels do: on a GPU below compute capability `least`, in float32, for heads above 256."""
    have = torch.cuda.get_device_capability()
    if have < least:
        raise RuntimeError(
            f"{package} needs compute capability {least[0]}.{least[1]}, this GPU has {have[0]}.{have[1]}"
        )
    dtypes = {str(t.dtype).removeprefix("torch.") for t in (q, k, v)}
    if len(dtypes) > 1 or not dtypes <= {"float16", "bfloat16", "float8_e4m3fn"}:
        raise RuntimeError(f"{package} takes q, k and v in one of fp16 and bf16, and got {', '.join(sorted(dtypes))}")
    if q.shape[-1] > 256:
        raise RuntimeError(f"{package} takes head sizes up to 256, not {q.shape[-1]}")


class Saving(torch.autograd.Function):
    """A function that saves for backward what the real one saves, and has no backward."""

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Refused: nobody differentiates shapes."""
        raise NotImplementedError(f"{type(ctx).__name__} is graphmem's stand-in: it has no backward")


def empty(like: torch.Tensor, *shape: int, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A new contiguous tensor on the same device, of the same type where none is given."""
    return torch.empty(shape, dtype=dtype or like.dtype, device=like.device)


def last_dim_contiguous(x: torch.Tensor) -> torch.Tensor:
    """`x`, copied where its last dimension has gaps, which no kernel takes."""
    return x if x.stride(-1) == 1 else x.contiguous()
