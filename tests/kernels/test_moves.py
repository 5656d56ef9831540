"""What a model does with `torch.cuda` in forward gives what it gives on a GPU, on a torch that has none."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import graphmem
from support.slow import first_of


def _stream(x: torch.Tensor) -> torch.Tensor:
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        y = x * 1
    torch.cuda.current_stream().wait_stream(stream)
    y.record_stream(stream)
    return y


def _event(x: torch.Tensor) -> torch.Tensor:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    end.record()
    end.synchronize()
    return x * (start.elapsed_time(end) / start.elapsed_time(end))


def _nvtx(x: torch.Tensor) -> torch.Tensor:
    with torch.cuda.nvtx.range("a"):
        torch.cuda.nvtx.range_push("b")
        torch.cuda.nvtx.mark("c")
        torch.cuda.nvtx.range_pop()
    return x


def _device(x: torch.Tensor) -> torch.Tensor:
    torch.cuda.set_device(x.device)
    with torch.cuda.device(x.device):
        return x * 1


def _memory(x: torch.Tensor) -> torch.Tensor:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return x * (1 if torch.cuda.mem_get_info()[1] > torch.cuda.max_memory_allocated() else 0)


MOVES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "cuda()": lambda x: x.cuda(), "cuda(0)": lambda x: x.cuda(0), "cuda('cuda')": lambda x: x.cuda("cuda"),
    "cuda(device=)": lambda x: x.cuda(device=torch.device("cuda")),
    "cuda(non_blocking)": lambda x: x.cuda(non_blocking=True),
    "to": lambda x: x.to("cuda"), "to(0)": lambda x: x.to(0), "to(cuda:0)": lambda x: x.to("cuda:0"),
    "to(device=)": lambda x: x.to(device="cuda"),
    "to(device, dtype)": lambda x: x.to(torch.device("cuda"), torch.float32),
    "to(non_blocking)": lambda x: x.to("cuda", non_blocking=True), "to(tensor)": lambda x: x.to(x),
    "type": lambda x: x.type(torch.float32), "type(text)": lambda x: x.type("torch.cuda.FloatTensor"),
    "type(class)": lambda x: x.type(torch.cuda.FloatTensor),
}  # fmt: skip
MADE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "ones.cuda": lambda x: x * torch.ones(16).cuda(), "pinned": lambda x: x * torch.ones(16).pin_memory().cuda(),
    "there and back": lambda x: x * x.detach().cpu().cuda(),
    "stream": _stream, "event": _event, "device": _device, "memory": _memory,
}  # fmt: skip


class Net(nn.Module):
    def __init__(self, first: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.linear, self.first = nn.Linear(16, 16), first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.first(x)).exp()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", first_of([*MOVES, "nvtx"], 2))
def test_a_move_to_where_it_is_changes_nothing(name: str) -> None:
    x = torch.randn(2, 8, 16)
    first = MOVES.get(name, _nvtx)
    plain = graphmem.analyze(Net(lambda x: x), (x,))
    report = graphmem.analyze(Net(first), (x,))
    assert report.saved == plain.saved
    assert report.alive == plain.alive


@pytest.mark.parametrize("name", first_of(MADE, 2))
def test_what_is_made_and_moved_is_on_the_gpu(name: str) -> None:
    """The linear layer keeps the product: one activation more."""
    report = graphmem.analyze(Net(MADE[name]), (torch.randn(2, 8, 16),))
    assert report.saved.bytes == 2 * (2 * 8 * 16 * 4)


def test_outside_of_a_trace_torch_is_as_it_was() -> None:
    before = torch.cuda.Stream.__new__, torch.cuda.current_stream, torch.Tensor.record_stream, torch.cuda.nvtx.mark
    graphmem.analyze(Net(_stream), (torch.randn(2, 8, 16),))
    after = torch.cuda.Stream.__new__, torch.cuda.current_stream, torch.Tensor.record_stream, torch.cuda.nvtx.mark
    assert after == before
    assert "record_stream" not in vars(torch.Tensor)
