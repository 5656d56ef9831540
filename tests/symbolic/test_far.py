"""What shows far from the base only, and not in the first formula that agrees with everything near it."""

from __future__ import annotations

import pytest
import sympy
import torch
import torch.nn.functional as F
from torch import nn

import graphmem
from graphmem.errors import SymbolError
from graphmem.symbolic.curves import symbol
from graphmem.symbolic.dims import sums_in
from support.oracle import real_bytes


def tokens(b: int = 2, s: int = 96, h: int = 64) -> tuple[torch.Tensor, ...]:
    return (torch.randn(b, s, h),)


class Rows(nn.Module):
    """Windows of w positions in rows of 32, as a kernel has them."""

    def __init__(self, h: int, w: int) -> None:
        super().__init__()
        self.f, self.w = nn.Linear(h, h), w

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        windows = F.pad(self.f(x), (0, 0, 0, -x.shape[1] % self.w)).unflatten(1, (-1, self.w))
        return F.pad(windows, (0, 0, 0, -self.w % 32)).exp()


def test_windows_that_fill_one_row_at_the_base() -> None:
    def model(h: int = 64, w: int = 3) -> nn.Module:
        return Rows(h, w)

    report = graphmem.analyze(model, lambda b=2, s=1000, h=64: tokens(b, s, h), device="cpu")
    assert report.verified.exact
    for w in (7, 31, 33, 65, 257):
        assert report.at(w=w).saved.bytes == real_bytes(model(w=w), tokens(s=1000)), w


class Padded(nn.Module):
    """Patches of an image and a token, padded to a multiple of 32."""

    def __init__(self, h: int, p: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, h, p, p)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = F.pad(self.conv(image).flatten(2).exp(), (0, 1)).sigmoid()
        return F.pad(x, (0, -x.shape[2] % 32)).exp()


def test_a_rounded_sum_of_what_is_itself_rounded() -> None:
    """32 ceil((n²/p² + 1)/32) agrees with the first traces, until patches are known not to fill the image."""

    def model(h: int = 16, p: int = 4) -> nn.Module:
        return Padded(h, p)

    def images(b: int = 2, n: int = 64) -> tuple[torch.Tensor, ...]:
        return (torch.randn(b, 3, n, n),)

    report = graphmem.analyze(model, images, device="cpu")
    assert report.verified.exact
    for n, p in ((68, 6), (64, 6), (127, 4), (66, 4), (97, 5)):
        assert report.at(n=n, p=p).saved.bytes == real_bytes(model(p=p), images(n=n)), (n, p)


def test_a_rounded_sum_is_looked_for_again_where_no_tensor_has_that_sum() -> None:
    n, p = symbol("n"), symbol("p")
    assert sums_in(32 * sympy.ceiling((n**2 / p**2 + 1) / 32)) == {n**2 / p**2 + 1}
    assert sums_in(4 * sympy.ceiling(n / 32)) == set()


class Pieces(nn.Module):
    """Of tokens in pieces of 76, b s - 76 b = b are left where s is 77: with 77 sequences they fill another piece."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([piece.exp().sum() for piece in x.flatten(0, 1).split(76)]).sum()


def test_turns_that_are_one_more_beyond_a_length() -> None:
    def model(h: int = 8) -> nn.Module:
        return nn.Sequential(nn.Linear(h, h), Pieces())

    report = graphmem.analyze(model, lambda b=2, h=8: tokens(b, 77, h), device="cpu")
    for b in (3, 40, 76):
        assert report.at(b=b).saved.bytes == real_bytes(model(), tokens(b, 77, 8)), b
    with pytest.raises(SymbolError, match="b <= 76"):
        report.at(b=97)


class Gated(nn.Module):
    """A feed-forward of 8h/3, rounded down, beside heads of h/a; the second input is in blocks of 8."""

    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        assert h % a == 0
        self.a, self.first = a, nn.Linear(h, h)
        self.both, self.down = nn.Linear(h, 2 * (8 * h // 3)), nn.Linear(8 * h // 3, h)

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        blocks = c.unflatten(1, (-1, 8)).sum((1, 2))
        heads = self.first(x).unflatten(2, (self.a, -1)).transpose(1, 2).contiguous().exp()
        x = x + heads.transpose(1, 2).flatten(2) * blocks[:, None]
        gate, up = self.both(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


def test_a_part_that_every_number_of_such_heads_makes_whole() -> None:
    """h = 8 * 12: with these heads, or with heads of 12, every h is a multiple of 3."""

    def model(h: int = 96, a: int = 12) -> nn.Module:
        return Gated(h, a)

    def given(b: int = 2, s: int = 48, t: int = 48, h: int = 96) -> tuple[torch.Tensor, ...]:
        return torch.randn(b, s, h), torch.randn(b, t, h)

    report = graphmem.analyze(model, given, device="cpu")
    assert report.verified.exact
    for h, a in ((104, 13), (112, 14), (128, 16), (320, 10), (96, 3)):
        assert report.at(h=h, a=a).saved.bytes == real_bytes(model(h, a), given(h=h)), (h, a)


class Thirds(nn.Module):
    """A width of h/3 with which the model runs for every h, but no other h than multiples of 3 was tried."""

    def __init__(self, h: int) -> None:
        super().__init__()
        self.f = nn.Linear(h, h // 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.f(x).exp()


def test_a_dimension_is_a_whole_number(monkeypatch) -> None:
    """b s h/3 may be one where h/3 is not."""
    monkeypatch.setattr("graphmem.symbolic.derive.look_beside", lambda *_: graphmem.symbolic.beside.Beside(moving={}))
    report = graphmem.analyze(lambda h=96: Thirds(h), lambda b=3, s=96, h=96: tokens(b, s, h), device="cpu")
    assert "floor" not in str(report.saved.expr)
    with pytest.raises(SymbolError, match="h a multiple of 3"):
        report.at(h=97)
