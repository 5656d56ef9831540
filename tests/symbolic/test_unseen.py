"""Formulas that were proved and wrong at points that no trace had come near: each kind, as small as it shows."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import graphmem
from graphmem.errors import SymbolError
from graphmem.report import Limit
from support.at_points import right_or_refused
from support.oracle import real_bytes
from support.reports import emitted


def tokens(b: int = 2, s: int = 40, h: int = 64) -> tuple[torch.Tensor, ...]:
    return (torch.zeros(b, s, h),)


def squeezed(h: int = 64) -> nn.Module:
    """As squeeze-and-excitation has it: Python rounds halves to the even number."""
    return nn.Sequential(nn.Linear(h, round(h / 4)), nn.Sigmoid())


def test_a_size_rounded_to_the_nearest() -> None:
    report = graphmem.analyze(squeezed, tokens, device="cpu")
    assert report.verified.exact
    for h in (*range(34, 43), 67, 70):
        assert report.at(h=h).saved.bytes == real_bytes(squeezed(h), tokens(h=h)), h


class Middle(nn.Module):
    """Layer L // 2 has a second output."""

    def __init__(self, h: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(h, h) for _ in range(depth))
        self.middle = nn.Linear(h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i, layer in enumerate(self.layers, 1):
            x = layer(x).sigmoid()
            if i == len(self.layers) // 2:
                x = x + self.middle(x).tanh()
        return x


def test_one_layer_that_has_no_middle() -> None:
    def model(h: int = 64, L: int = 4) -> nn.Module:
        return Middle(h, L)

    report = graphmem.analyze(model, tokens, device="cpu")
    assert Limit("L", least=2) in report.limits
    for depth in (2, 3, 9):
        assert report.at(L=depth).saved.bytes == real_bytes(model(L=depth), tokens())
    assert report.at(L=1).saved.bytes == real_bytes(model(L=1), tokens())  # which is analysed again


class Windows(nn.Module):
    """Pads to whole windows, and only where that is needed."""

    def __init__(self, h: int, window: int) -> None:
        super().__init__()
        self.f, self.window = nn.Linear(h, h), window

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.f(x)
        left = -y.shape[1] % self.window
        return (F.pad(y, (0, 0, 0, left)).exp() if left else y).tanh()


class Strided(nn.Module):
    """Half as many positions, in whole windows."""

    def __init__(self, h: int, window: int) -> None:
        super().__init__()
        self.conv, self.windows = nn.Conv1d(h, h, 3, stride=2, padding=1), Windows(h, window)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.windows(self.conv(x.transpose(1, 2)).transpose(1, 2))


def test_windows_that_fill_half_the_length() -> None:
    """Of ceil(s/2) positions: 56 for an s of 111 as for one of 112."""

    def model(h: int = 64, w: int = 28) -> nn.Module:
        return Strided(h, w)

    report = graphmem.analyze(model, tokens, device="cpu")
    assert {Limit("s", not_multiple_of=2, by="w", beside=more) for more in (0, 1)} <= {*report.limits}
    assert any("s not a multiple of 2 w, s + 1 not a multiple of 2 w" in note for note in report.notes)
    for s, w in ((41, 28), (113, 28), (110, 28), (64, 31)):
        assert report.at(s=s, w=w).saved.bytes == real_bytes(model(w=w), tokens(s=s))
    for s in (111, 112):
        with pytest.raises(SymbolError, match="not a multiple of 2 w"):
            report.at(s=s)
    saved_bytes = emitted(report)
    known = {**report.symbols, "w": 28}
    assert saved_bytes(**{**known, "s": 113}) == report.at(s=113).saved.bytes
    with pytest.raises(ValueError, match=r"s \+ 1 not a multiple of \(2\*w\)"):
        saved_bytes(**{**known, "s": 111})


def test_windows_that_fill_the_length() -> None:
    def model(h: int = 64, w: int = 28) -> nn.Module:
        return Windows(h, w)

    report = graphmem.analyze(model, tokens, device="cpu")
    assert Limit("s", not_multiple_of=1, by="w") in report.limits
    assert any("s not a multiple of w" in note for note in report.notes)
    for s, w in ((41, 28), (100, 28), (64, 31)):
        assert report.at(s=s, w=w).saved.bytes == real_bytes(model(w=w), tokens(s=s))
    for point in ({"s": 56}, {"s": 93, "w": 31}):
        with pytest.raises(SymbolError, match="s not a multiple of w only"):
            report.at(**point)
    saved_bytes = emitted(report)
    known = {**report.symbols, "s": 93}
    assert saved_bytes(**{**known, "w": 28}) == report.at(s=93).saved.bytes
    with pytest.raises(ValueError, match=r"not a multiple of \(w\)"):
        saved_bytes(**{**known, "w": 31})


class Choice(nn.Module):
    """Each of e experts takes 2 b s / e tokens, rounded up."""

    def __init__(self, h: int, e: int, s: int) -> None:
        super().__init__()
        self.router, self.up, self.e = nn.Linear(h, e), nn.Parameter(torch.zeros(e, h, h)), e
        self.positions = nn.Parameter(torch.zeros(s, h))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = (x + self.positions[: x.shape[1]]).flatten(0, 1)
        weight, chosen = self.router(flat).softmax(0).topk(-(-2 * len(flat) // self.e), 0)
        taken = flat[chosen.flatten()].unflatten(0, chosen.shape).transpose(0, 1)
        return (taken @ self.up).sigmoid() * weight.T[:, :, None]


@pytest.mark.slow
def test_experts_that_do_not_divide_the_tokens() -> None:
    def model(h: int = 64, e: int = 2, s: int = 510) -> nn.Module:
        return Choice(h, e, s)

    points = [{"e": 3, "s": 512}, {"e": 3, "s": 510}, {"e": 5, "s": 101}, {"e": 4, "s": 65}]
    right_or_refused(model, lambda b=2, s=510, h=64: tokens(b, s, h), points)  # no formula for other e is right, too


class Attends(nn.Module):
    def __init__(self, h: int, a: int, masked: bool) -> None:
        super().__init__()
        self.qkv, self.a, self.masked = nn.Linear(h, 3 * h), a, masked

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (t.unflatten(-1, (self.a, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        mask = x[:, None, None, :, 0] >= 0 if self.masked else None
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)


class Last(nn.Module):
    """Only the last of the layers attends, so layers are not alike, and its path depends on their number."""

    def __init__(self, h: int, a: int, depth: int) -> None:
        super().__init__()
        kinds = (
            Attends(h, a, masked=True) if i == depth - 1 else nn.Sequential(nn.Linear(h, h), nn.Sigmoid())
            for i in range(depth)
        )
        self.layers = nn.ModuleList(kinds)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return x


@pytest.mark.slow
def test_the_kernel_of_a_layer_that_comes_last() -> None:
    def model(h: int = 64, a: int = 4, L: int = 5) -> nn.Module:
        return Last(h, a, L).bfloat16()

    def half(b: int = 2, s: int = 40, h: int = 64) -> tuple[torch.Tensor, ...]:
        return tuple(t.bfloat16() for t in tokens(b, s, h))

    report = graphmem.analyze(model, half, gpu="h100")
    assert report.verified.exact
    assert report.at(h=128).attention[0].kernel == report.attention[0].kernel
    with pytest.raises(SymbolError, match="scaled_dot_product_attention runs math"):
        report.at(h=44)


class Later(nn.Module):
    """Attention that is computed again in backward, so that the number of heads moves nothing that is kept."""

    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.attends = Attends(h, a, masked=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = checkpoint(self.attends, x, use_reentrant=False)
        assert isinstance(y, torch.Tensor)
        return y


def test_heads_that_are_padded_where_nothing_of_them_is_kept() -> None:
    """flash pads heads of 20 to 24, and what is given back is a slice then."""

    def model(h: int = 160, a: int = 4) -> nn.Module:
        return nn.Sequential(nn.Linear(h, h), Later(h, a), nn.Tanh()).bfloat16()

    def half(b: int = 2, s: int = 40, h: int = 160) -> tuple[torch.Tensor, ...]:
        return tuple(t.bfloat16() for t in tokens(b, s, h))

    report = graphmem.analyze(model, half, gpu="a100")
    assert report.verified.exact
    assert report.at(a=2, b=3).attention[0].kernel == "sdpa.flash"
    with pytest.raises(SymbolError, match="padded heads"):
        report.at(a=8)


class Heads(nn.Module):
    """Heads of more than 32 run a kernel that pads its rows to 32 and keeps as much as the other one at s = 64."""

    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.f, self.a = nn.Linear(h, h), a

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.f(x).unflatten(-1, (self.a, -1)).sigmoid()
        rows = y.sum(-1)
        return (F.pad(rows, (0, 0, 0, -rows.shape[1] % 32)) if y.shape[-1] > 32 else rows * 1).exp()


def test_a_head_that_is_too_large_for_a_kernel() -> None:
    def model(h: int = 64, a: int = 4) -> nn.Module:
        return Heads(h, a)

    report = graphmem.analyze(model, lambda b=2, s=64, h=64: tokens(b, s, h), device="cpu")
    assert Limit("h", most=128, by="a", times="32") in report.limits
    assert report.at(h=96, a=3, s=61).saved.bytes == real_bytes(model(96, 3), tokens(s=61, h=96))
    with pytest.raises(SymbolError, match=r"h <= 96 \(32\*a\) only"):
        report.at(h=120, a=3, s=61)


class Repeated(nn.Module):
    """Heads of keys are repeated; with more of them than of queries nothing is left of them."""

    def __init__(self, h: int, a: int, k: int) -> None:
        super().__init__()
        self.keys, self.repeats = nn.Linear(h, k * (h // a)), a // k
        self.k = k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.keys(x).unflatten(-1, (self.k, -1)).sigmoid()
        return F.scaled_dot_product_attention(y, y, y).repeat_interleave(self.repeats, 2).exp()


@pytest.mark.slow
def test_more_heads_of_keys_than_of_queries_on_the_cpu() -> None:
    """There torch chooses the kernel, so that another one runs is no reason to leave a point alone."""

    def model(h: int = 96, a: int = 6, k: int = 6) -> nn.Module:
        return Repeated(h, a, k)

    report = graphmem.analyze(model, lambda b=2, s=40, h=96: tokens(b, s, h), device="cpu")
    assert Limit("k", most=6, by="a") in report.limits
    with pytest.raises(SymbolError, match=r"k <= 6 \(a\) only"):
        report.at(k=12)


class Third(nn.Module):
    """A width of 8h/3, of heads that divide h: with 6 of them nothing is rounded."""

    def __init__(self, h: int, a: int, k: int) -> None:
        super().__init__()
        self.keys, self.up = nn.Linear(h, h), nn.Linear(h, 8 * h // 3)
        self.heads = a // k, k, h // a
        if a % k or h % a:
            raise ValueError("heads")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.keys(x).unflatten(-1, self.heads).sigmoid()
        return self.up(y.flatten(2)).sigmoid()


def test_a_third_that_no_size_of_a_few_heads_shows() -> None:
    def model(h: int = 96, a: int = 6, k: int = 2) -> nn.Module:
        return Third(h, a, k)

    points = [{"h": 200, "a": 5, "k": 5}, {"h": 320, "a": 8, "k": 2}, {"h": 100, "a": 10, "k": 2}]
    right_or_refused(model, lambda b=2, s=40, h=96: tokens(b, s, h), points)


class Capped(nn.Module):
    """A vocabulary of up to 512 is padded to that."""

    def __init__(self, h: int, v: int) -> None:
        super().__init__()
        self.f, self.head = nn.Linear(h, h), nn.Linear(h, -(-v // 512) * 512)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.f(x).sigmoid()).exp()


def test_a_size_that_moves_nothing_until_it_is_far_larger() -> None:
    def model(h: int = 64, v: int = 256) -> nn.Module:
        return Capped(h, v)

    report = graphmem.analyze(model, tokens, device="cpu")
    for v in (100, 512, 513, 768, 3000):
        assert report.at(v=v).saved.bytes == real_bytes(model(v=v), tokens()), v


class Sliced(nn.Module):
    """What is left of windows that do not fill the length is cut off, which needs a copy if b is not 1."""

    def __init__(self, h: int, w: int) -> None:
        super().__init__()
        self.f, self.w = nn.Linear(h, h), w

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = x.shape[1]
        y = F.pad(self.f(x), (0, 0, 0, -s % self.w)).unflatten(1, (-1, self.w)).exp()
        return y.flatten(1, 2)[:, :s].contiguous() ** 2


def test_two_symbols_that_matter_only_together() -> None:
    def model(h: int = 64, w: int = 32) -> nn.Module:
        return Sliced(h, w)

    points = [(1, 1024, 521), (3, 1024, 521), (3, 1024, 16), (2, 1000, 100), (2, 1000, 101)]
    named = [{"b": b, "s": s, "w": w} for b, s, w in points]
    assert right_or_refused(model, lambda b=1, s=1024, h=64: tokens(b, s, h), named) >= 2


class Frames(nn.Module):
    """Two halves of two sizes: b ceil(s/2) tokens, and half of these."""

    def __init__(self, h: int) -> None:
        super().__init__()
        self.f = nn.Linear(h, h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.f(x)[:, ::2].flatten(0, 1).exp()
        return y[: (len(y) + 1) // 2].sigmoid()


def test_half_of_what_is_halved() -> None:
    def model(h: int = 64) -> nn.Module:
        return Frames(h)

    report = graphmem.analyze(model, lambda b=2, s=96, h=64: tokens(b, s, h), device="cpu")
    for b, s in ((3, 97), (13, 107), (5, 99), (4, 97)):
        assert report.at(b=b, s=s).saved.bytes == real_bytes(model(), tokens(b, s)), (b, s)


class Latents(nn.Module):
    """Two calls of attention in one line: latents read the tokens, and the tokens what the latents have read."""

    def __init__(self, h: int, q: int) -> None:
        super().__init__()
        self.f, self.latents = nn.Linear(h, h), nn.Parameter(torch.zeros(1, 1, q, h))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.f(x)[:, None]
        return self.read(tokens, self.read(self.latents.expand(len(x), -1, -1, -1), tokens))[:, 0]

    def read(self, q: torch.Tensor, kv: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(q, kv, kv)


def test_two_attentions_in_one_line_of_every_layer() -> None:
    def model(h: int = 64, q: int = 24, L: int = 3) -> nn.Module:
        return nn.Sequential(*(Latents(h, q) for _ in range(L))).bfloat16()

    def half(b: int = 2, s: int = 40, h: int = 64) -> tuple[torch.Tensor, ...]:
        return tuple(t.bfloat16() for t in tokens(b, s, h))

    report = graphmem.analyze(model, half, gpu="h100")
    assert report.verified.exact
    assert report.at(s=72, q=16, L=5).attention[0].kernel == report.attention[0].kernel
    with pytest.raises(SymbolError, match="scaled_dot_product_attention runs flash"):
        report.at(h=68)


def test_what_was_not_looked_at_is_not_proved(monkeypatch) -> None:
    """A check that there is no budget for is no check that has passed."""
    monkeypatch.setattr("graphmem.symbolic.probes.LOOKING", 0)
    report = graphmem.analyze(squeezed, tokens, device="cpu")
    with pytest.raises(SymbolError):
        report.at(h=68)
    assert report.saved.bytes == real_bytes(squeezed(), tokens())
