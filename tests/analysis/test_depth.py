"""Depth: what is folded, what is not, and that the count is right either way."""

import pytest
import torch
from torch import nn

import graphmem
from graphmem.analysis.depth import Depth, depth_of
from graphmem.errors import SymbolError
from graphmem.report import Limit
from support.oracle import real_bytes
from support.slow import one_of
from support.stacks import Stack


class Layer(nn.Module):
    def __init__(self, h, wide=False) -> None:
        super().__init__()
        self.f = nn.Linear(h, 4 * h if wide else h)
        self.g = nn.Linear(4 * h if wide else h, h)

    def forward(self, x):
        return x + self.g(self.f(x).relu())


class Remembers(Stack):
    """Every layer's output is added at the end, so all of them are alive together."""

    def forward(self, x):
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x.sigmoid())
        return sum(outputs)


class ByNumber(nn.Module):
    def __init__(self, h, layer_idx) -> None:
        super().__init__()
        self.f, self.every_third = nn.Linear(h, h), layer_idx % 3 == 2

    def forward(self, x):
        x = self.f(x)
        return x.sigmoid().tanh() if self.every_third else x.relu()


def inputs(b=2, s=5, h=16):
    return (torch.randn(b, s, h),)


def alike(h=16, L=12):
    return Stack(Layer(h) for _ in range(L))


def growing(h=16, L=6):
    return Stack(Layer(h, wide=i >= 4) for i in range(L))


def patterned(h=16, L=12):
    return Stack(ByNumber(h, i) for i in range(L))


def remembering(h=16, L=12):
    return Remembers(Layer(h) for _ in range(L))


def experts(h=16, e=6):
    return Stack(Layer(h) for _ in range(e))


MODELS = [alike, growing, patterned, remembering, experts]


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_any_number_of_layers_is_what_a_full_trace_gives(model, n) -> None:
    name = "e" if model is experts else "L"
    report = graphmem.analyze(model, inputs, symbols={name: n})
    full = graphmem.analyze(model(**{name: n}), inputs())
    assert report.saved.bytes == full.saved.bytes
    assert report.alive.bytes == full.alive.bytes
    assert sum(node.count * node.each_bytes for node in report.nodes) == full.saved.bytes


def test_alike_layers_are_a_symbol_and_others_are_not() -> None:
    assert depth_of(lambda p: alike(**p), {"h": 16, "L": 12}, ["h", "L"]).periods == {"L": 1}
    assert depth_of(lambda p: growing(**p), {"h": 16, "L": 12}, ["h", "L"]) == Depth(
        periods={}, deepest={}, unlike=["L"]
    )


@pytest.mark.parametrize(("L", "found"), [(12, {"L": 3}), (6, {"L": 3}), (3, {"L": 3}), (13, {})])
def test_layers_that_take_turns_are_counted_together(L, found) -> None:
    assert depth_of(lambda p: patterned(**p), {"h": 16, "L": L}, ["h", "L"]).periods == found


class WithMore(Stack):
    """Has a list besides that is empty where there are few layers."""

    def __init__(self, h, L) -> None:
        super().__init__(ByNumber(h, i) for i in range(L))
        self.more = nn.ModuleList(nn.Linear(h, h) for _ in range(L - 8))


def test_a_list_that_is_empty_at_first_takes_no_turns() -> None:
    assert depth_of(lambda p: WithMore(**p), {"h": 16, "L": 12}, ["L"]).periods == {}


@pytest.mark.slow
def test_layers_that_take_turns_are_in_the_formula() -> None:
    report = graphmem.analyze(patterned, inputs)
    assert report.verified.exact
    assert report.symbols["L"] == 12
    for point in ({"L": 3}, {"L": 6, "h": 32}, {"L": 30, "b": 1, "s": 7}):
        sizes = {n: v for n, v in point.items() if n != "L"}
        full = graphmem.analyze(patterned(**{n: v for n, v in point.items() if n in "hL"}), inputs(**sizes))
        assert report.at(**point).saved.bytes == full.saved.bytes, point
    assert Limit("L", multiple_of=3) in report.limits
    with pytest.raises(SymbolError, match="L a multiple of 3"):
        report.at(L=13)
    largest = report.solve("L", budget="1MiB")
    assert largest % 3 == 0
    assert report.at(L=largest).saved.bytes <= 2**20 < report.at(L=largest + 3).saved.bytes


@pytest.mark.slow
def test_a_finished_module_whose_layers_take_turns() -> None:
    report = graphmem.analyze(patterned(L=24), inputs())
    assert report.verified.exact
    assert report.at(L=36).saved.bytes == fully_traced(patterned(L=36))


@pytest.mark.slow
def test_layers_that_differ_are_traced_and_that_is_said() -> None:
    report = graphmem.analyze(patterned, inputs, symbols={"L": 13})
    assert report.verified.exact
    assert "L" not in report.symbols
    assert any("the formula is for L=13" in note for note in report.notes)


@pytest.mark.slow
def test_more_layers_of_the_last_kind_are_in_the_formula() -> None:
    report = graphmem.analyze(growing, inputs)
    assert report.verified.exact
    for n in (6, 7, 20):
        assert report.at(L=n).saved.bytes == fully_traced(growing(L=n))
    with pytest.raises(SymbolError, match="from L=6 on"):
        report.at(L=3)


def test_labels_and_counts() -> None:
    report = graphmem.analyze(alike, inputs)
    row = next(m for m in report.modules if m.path == "layers.*")
    assert (row.label, row.count) == ("layers.0-11", 12)
    there = report.at(L=30)
    assert next(m for m in there.modules if m.path == "layers.*").label == "layers.0-29"


@pytest.mark.slow
def test_a_deep_model_costs_what_a_shallow_one_does(monkeypatch) -> None:
    traced = []
    import graphmem.analysis.tracer as tracer
    import graphmem.symbolic.strategy as derivation

    original = tracer.trace
    monkeypatch.setattr(tracer, "trace", lambda *a, **kw: traced.append(kw["point"]["L"]) or original(*a, **kw))
    monkeypatch.setattr(derivation, "WORTH_CHECKING", 0)
    report = graphmem.analyze(alike, inputs, symbols={"L": 126})
    assert max(traced) <= 7
    assert any("full_depth" in note for note in report.notes)
    graphmem.analyze(alike, inputs, symbols={"L": 126}, full_depth=True)
    assert max(traced) == 126


class Late(Stack):
    """A forward that treats layers by their number, from the thirteenth on."""

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i >= 12:
                x = x.sigmoid().tanh()
        return x


@pytest.mark.slow
def test_a_report_says_how_many_layers_were_seen() -> None:
    report = graphmem.analyze(lambda h=16, L=9: Late(Layer(h) for _ in range(L)), inputs)
    assert not report.at(L=9).notes
    (note,) = report.at(L=40).notes
    assert note.startswith("L=40: extrapolated from 9 layers, as if forward ran all layers alike")
    whole = graphmem.analyze(lambda h=16, L=40: Late(Layer(h) for _ in range(L)), inputs)
    assert whole.saved.bytes == fully_traced(Late(Layer(16) for _ in range(40))) > report.at(L=40).saved.bytes


class Indexed(Stack):
    """A forward that counts on as many layers as it was made with."""

    def __init__(self, layers) -> None:
        super().__init__(layers)
        self.n = len(self.layers)

    def forward(self, x):
        for i in range(self.n):
            x = self.layers[i](x)
        return x


class TwoStacks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Stack(Layer(16) for _ in range(6)), Stack(Layer(16) for _ in range(9))

    def forward(self, x):
        return self.decoder(self.encoder(x))


def fully_traced(module):
    from graphmem.accounts.saved import SAVED, sort_storages
    from graphmem.how import read_how
    from graphmem.trace import trace

    record = trace(module, inputs(), read_how({"gpu": "h100"}))
    return sum(k.nbytes for k in sort_storages(record) if k.table == SAVED)


FINISHED = {
    "alike": lambda: alike(L=20),
    "growing": lambda: growing(L=9),
    "patterned": lambda: patterned(L=11),
    "remembering": lambda: remembering(L=8),
    "indexed": lambda: Indexed(Layer(16) for _ in range(8)),
    "two stacks": TwoStacks,
}


@pytest.mark.parametrize("name", one_of(["alike"], FINISHED, str))
def test_a_finished_module_is_shortened_only_where_that_gives_the_same(name) -> None:
    module = FINISHED[name]()
    report = graphmem.analyze(module, inputs())
    assert report.saved.bytes == fully_traced(module)
    assert report.verified.exact
    names = {"alike": {"L"}, "remembering": {"L"}, "two stacks": {"L_encoder_layers", "L_decoder_layers"}}
    assert set(report.symbols) - {"b", "s"} == names.get(name, set())


def test_a_finished_module_at_another_depth() -> None:
    assert graphmem.analyze(alike(L=20), inputs()).at(L=33).saved.bytes == fully_traced(alike(L=33))


class Combined(nn.Module):
    """A place for a further module in each layer, which is not used with these settings."""

    def __init__(self, h: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(h, h) for _ in range(depth))
        self.combines = nn.ModuleList([None] * depth)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer, combine in zip(self.layers, self.combines, strict=True):
            x = x + layer(x).relu()
            x = x if combine is None else combine(x)
        return x


def test_none_in_a_list_of_layers_is_no_module() -> None:
    def model(h: int = 8, L: int = 3) -> nn.Module:
        return Combined(h, L)

    def inputs(b: int = 2, s: int = 4, h: int = 8) -> tuple[torch.Tensor]:
        return (torch.zeros(b, s, h),)

    report = graphmem.analyze(model, inputs, device="cpu")
    assert report.verified.exact
    for depth in (3, 7):
        assert report.at(L=depth).saved.bytes == real_bytes(model(L=depth), inputs())
