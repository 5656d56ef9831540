"""What formulas are used for: what fits, what differs, and taking them away."""

import dataclasses
import functools
import json
import random
import xml.etree.ElementTree as ET

import pytest
import sympy
import torch
from torch import nn

import graphmem
from graphmem.analysis.fit import fit
from graphmem.cli import main
from graphmem.errors import SymbolError, UsageError
from graphmem.render import FORMATS
from graphmem.report.diff import diff
from graphmem.report.saved import load_report
from graphmem.symbolic.curves import symbol
from graphmem.symbolic.read import read_expression
from support.oracle import real_saved
from support.repo import ROOT
from support.reports import emitted, of_sample
from support.slow import one_of


def words(settings):
    return [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]


SMALL = {"b": 2, "s": 64, "h": 64, "a": 4, "L": 3, "v": 500}


SAMPLES = {
    "eager": ("gpt2.py", SMALL),
    "fused": ("gpt2.py", {**SMALL, "attn": "sdpa"}),
    "llama": ("llama.py", {**SMALL, "k": 2, "f": 160}),
    "layer": ("megatron_layer.py", {"b": 2, "s": 64, "h": 64, "a": 4}),
    "block": ("flash_block.py", {"b": 2, "s": 64, "h": 64, "a": 4}),
}


@functools.cache
def report_of(name):
    sample, sizes = SAMPLES[name]
    return of_sample(sample, **sizes)


@pytest.fixture
def reports():
    return [report_of(name) for name in SAMPLES]


def brute(needs, budget, top=3000):
    """The largest value below `top`, one by one."""

    def fits(value):
        try:
            return needs(value) <= budget
        except ValueError:  # beyond the limits of the formula
            return False

    return max((value for value in range(1, top) if fits(value)), default=None)


@pytest.mark.slow
def test_solve_agrees_with_brute_force(reports) -> None:
    chance, functions = random.Random(1), [emitted(report) for report in reports]
    for _ in range(100):
        report, function = chance.choice(list(zip(reports, functions, strict=True)))
        name = chance.choice([n for n in report.symbols if n in ("s", "b", "L", "v", "f")])
        others = {"b": chance.randint(2, 8)} if name != "b" and chance.random() < 0.5 else {}
        high = function(**{**others, name: chance.randint(2, 2000)})
        expected = brute(lambda value: function(**others, **{name: value}), high)  # noqa: B023
        assert report.solve(name, budget=high, **others) == expected
        assert report.at(**others, **{name: expected}).saved.bytes <= high


@pytest.mark.slow
def test_solve_says_what_is_wrong(reports) -> None:
    report = reports[0]
    with pytest.raises(SymbolError, match="nothing fits into 10 B: s=1 needs"):
        report.solve("s", budget=10)
    with pytest.raises(SymbolError, match="x is not in the formula"):
        report.solve("x", budget="1GiB")
    with pytest.raises(UsageError, match="not a number of bytes"):
        report.solve("s", budget="much")
    with pytest.raises(SymbolError, match="s is what is solved for"):
        report.solve("s", budget="1GiB", s=64)
    assert report.solve("s", budget="1GiB") == report.solve("s", budget=2**30)


class Padded(nn.Module):
    """A mask whose rows are padded unless s is a multiple of 8: the formula holds for the padded ones."""

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Linear(32, 96)

    def forward(self, x, mask):
        q, k, v = self.f(x).unflatten(-1, (3, 2, 16)).permute(2, 0, 3, 1, 4)
        return nn.functional.scaled_dot_product_attention(q, k, v, mask)


def test_solve_stays_where_the_traced_kernel_runs() -> None:
    report = graphmem.analyze(Padded(), (torch.randn(2, 21, 32), torch.randn(2, 1, 21, 21)))
    found = report.solve("s", budget="1MiB")
    assert found % 8
    larger = [v for v in range(found + 1, found + 8) if v % 8]
    assert all(report.at(s=v).saved.bytes > 2**20 for v in larger)


@pytest.mark.slow
def test_fit_counts_parameters_and_what_is_reserved(capsys) -> None:
    command = ["fit", str(ROOT / "samples" / "gpt2.py"), "--solve", "b", "--memory", "4GiB", "--set", "s=64"]
    assert main([*command, "--format", "json"]) == 0
    roomy = json.loads(capsys.readouterr().out)
    assert roomy["alive"] + roomy["parameters"] <= 4 * 2**30
    assert main([*command, "--format", "json", "--reserve", "2GiB"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] < roomy["value"]
    assert main([*command, "--reserve", "4GiB"]) == 1
    assert "nothing fits" in capsys.readouterr().out
    assert main([*command, "--reserve", "lots"]) == 2
    assert "--reserve 40GiB" in capsys.readouterr().err


@pytest.mark.slow
def test_diff_of_two_settings(capsys, tmp_path) -> None:
    sizes = " ".join(words(SMALL))
    sample = str(ROOT / "samples" / "gpt2.py")
    assert main(["diff", sample, "--both", f"{sizes} --set p=0.0 --torch 2.11", "--b", "--set attn=sdpa"]) == 0
    shown = capsys.readouterr().out
    assert "b - a = 4absL - 2as²bL" in shown
    assert "attention blocks.*.attn: eager -> sdpa" in shown
    for name, attn in (("a", "eager"), ("b", "sdpa")):
        saved = ["--format", "json", "-o", str(tmp_path / f"{name}.json")]
        assert (
            main(
                [
                    "analyze",
                    sample,
                    *sizes.split(),
                    "--set",
                    "p=0.0",
                    "--torch",
                    "2.11",
                    "--set",
                    f"attn={attn}",
                    *saved,
                ]
            )
            == 0
        )
    assert main(["diff", str(tmp_path / "a.json"), str(tmp_path / "b.json"), "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["b"]["saved"] - data["a"]["saved"] == data["saved"] < 0
    assert sum(m["b"] - m["a"] for m in data["modules"]) == data["saved"]


@pytest.mark.slow
def test_diff_of_models_with_other_symbols(reports) -> None:
    found = diff(reports[0].to_dict(), reports[2].to_dict())
    assert found.expr is None
    assert found.saved.more == reports[2].saved.bytes - reports[0].saved.bytes


def test_what_is_no_report(tmp_path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UsageError, match="is not a graphmem report"):
        load_report(str(tmp_path / "x.json"))
    with pytest.raises(UsageError, match="cannot read"):
        load_report(str(tmp_path / "y.json"))


# -- to take away -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", one_of(["block"], SAMPLES, str))
def test_the_python_function_needs_no_graphmem_and_is_exact(name) -> None:
    report = report_of(name)
    source = FORMATS["python"](report)
    assert "graphmem" not in source.replace(report.name, "")
    function = emitted(report)
    assert function() == report.saved.bytes
    elsewhere = {n: v for n, v in {"b": 3, "s": 4096}.items() if n in report.symbols}
    try:
        expected = report.at(**elsewhere).saved.bytes
    except SymbolError:
        with pytest.raises(ValueError, match="formula holds for"):
            function(**elsewhere)
    else:
        assert function(**elsewhere) == expected


def test_latex() -> None:
    text = FORMATS["latex"](report_of("eager"))
    assert text.startswith("\\[ \\text{saved for backward} = ")
    assert "s^{2}" in text


def test_markdown_and_html() -> None:
    report = report_of("eager")
    markdown = FORMATS["markdown"](report)
    assert "| blocks.0-2.attn" in markdown
    assert f"{report.saved.bytes:,}" in markdown
    page = FORMATS["html"](report)
    assert "<table>" in page
    ET.fromstring(page.split("\n", 1)[1].replace('<meta charset="utf-8">', ""))


@pytest.mark.slow
def test_plain_ascii(capsys) -> None:
    assert main(["analyze", str(ROOT / "samples" / "gpt2.py"), *words(SMALL), "--ascii"]) == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert "5as^2b" in shown


class Shifted(nn.Module):
    """Labels are shifted by slicing a padded copy: with a batch of 1 that is contiguous as it is, and kept whole."""

    def __init__(self, h, v) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(v, h), nn.Linear(h, v)

    def forward(self, ids):
        logits = self.head(self.embed(ids).tanh())
        labels = nn.functional.pad(ids, (0, 1))[..., 1:].contiguous()
        return nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def shifted(h=16, v=50):
    return Shifted(h, v)


def ids(b=4, s=20, v=50):
    return (torch.randint(v, (b, s)),)


def really(**sizes):
    return sum(size * n for size, n in real_saved(shifted(), ids(**sizes)).items())


@pytest.mark.slow
@pytest.mark.parametrize("b", one_of([4], [1, 4], int))
def test_a_batch_of_one_has_a_formula_of_its_own(b) -> None:
    report = graphmem.analyze(shifted, ids, symbols={"b": b}, device="cpu")
    for point in ({"b": 1}, {"b": 3}, {"b": 1, "s": 77}, {"b": 9, "s": 5}):
        assert report.at(**point).saved.bytes == really(**point), point
    assert report.at(b=3).at(b=1).at(s=30).saved.bytes == really(b=1, s=30)
    assert report.at(b=1).at(b=3).saved.bytes == really(b=3)
    assert report.at(b=1).saved.expr == report.at(b=6).at(b=1).saved.expr


@pytest.mark.parametrize("working", [1, 4])
@pytest.mark.slow
def test_solve_with_a_batch_of_one_and_for_it(working) -> None:
    report = graphmem.analyze(shifted, ids, symbols={"b": working}, device="cpu")
    for b in (1, 2):
        s = report.solve("s", budget=20_000, b=b)
        assert really(b=b, s=s) <= 20_000 < really(b=b, s=s + 1)
    found = report.solve("b", budget=60_000, s=20)
    assert really(b=found) <= 60_000 < really(b=found + 1)
    assert report.solve("b", budget=really(b=1)) == 1
    with pytest.raises(SymbolError, match="nothing fits"):
        report.solve("b", budget=really(b=1) - 1)


@pytest.mark.slow
def test_what_is_asked_twice_is_analysed_once(monkeypatch) -> None:
    report = graphmem.analyze(shifted, ids, device="cpu")
    first = report.at(b=1)
    monkeypatch.setattr("graphmem.analysis.tracer.trace", None)
    assert report.at(b=1, s=30).saved.bytes == first.at(s=30).saved.bytes == really(b=1, s=30)


@pytest.mark.parametrize("text", ["4*L*b*s + 8*s**2/3 - ceiling(s/32)*b", "Min(s, b) - floor(s**2/b)", "-s", "0"])
def test_expressions_are_read_as_sympy_wrote_them(text) -> None:
    names = {n: symbol(n) for n in "Lbs"}
    assert read_expression(text, names) == sympy.sympify(text, locals=names)


@pytest.mark.parametrize(
    "text", ['__import__("os").system("true")', "s.free_symbols", "9**9**9", "q", "[s]", "1 +", "(" * 900]
)
def test_a_report_runs_no_code(text, tmp_path, monkeypatch, capsys) -> None:
    data = json.loads(report_of("eager").to_json())
    (tmp_path / "a.json").write_text(json.dumps(data))
    data["saved"]["expr"] = text
    (tmp_path / "b.json").write_text(json.dumps(data))
    assert main(["diff", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    assert "not a graphmem report" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"saved": 5}, {"modules": [{"x": 1}]}, {"attention": 3}, {"symbols": None}])
def test_a_report_changed_by_hand_is_refused(change, tmp_path, capsys) -> None:
    data = json.loads(report_of("eager").to_json())
    (tmp_path / "a.json").write_text(json.dumps(data))
    (tmp_path / "b.json").write_text(json.dumps({**data, **change}))
    assert main(["diff", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 2
    said = capsys.readouterr().err
    assert "not a graphmem report" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_diff_refuses_settings_it_cannot_use(reports, tmp_path, capsys) -> None:
    (tmp_path / "a.json").write_text(reports[0].to_json())
    assert main(["diff", str(tmp_path / "a.json"), str(tmp_path / "a.json"), "--b", "--set b=2"]) == 2
    assert "is a saved report: --set b=2 is for a target only" in capsys.readouterr().err
    assert main(["diff", str(ROOT / "samples" / "gpt2.py"), "--b", "--set 'b"]) == 2
    assert "No closing quotation" in capsys.readouterr().err


def test_the_function_refuses_what_the_report_refuses() -> None:
    report = graphmem.analyze(shifted, ids, device="cpu")
    function = emitted(report)
    assert function(b=7, s=11) == report.at(b=7, s=11).saved.bytes
    with pytest.raises(ValueError, match="the formula holds for b >= 2 only"):
        function(b=1)
    assert "b >= 2" in FORMATS["latex"](report)


class Positions(nn.Module):
    """Learned positions, as many as the model says, and one more token than the input has; the last layer is as wide
    as that, so their number is in the formula."""

    def __init__(self, positions, more) -> None:
        super().__init__()
        self.embed, self.positions = nn.Embedding(50, 8), nn.Embedding(positions, 8)
        self.out, self.more = nn.Linear(8, positions), more

    def forward(self, ids):
        ids = nn.functional.pad(ids, (self.more, 0))
        return self.out(self.embed(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))).sigmoid()


@pytest.mark.slow
@pytest.mark.parametrize("more", [0, 1])
def test_the_function_moves_a_limit_with_what_it_depends_on(more) -> None:
    report = graphmem.analyze(lambda P=40: Positions(P, more), ids, device="cpu")
    function = emitted(report)
    for P, s in ((64, 60), (64, 64 - more), (24, 24 - more)):
        real = real_saved(Positions(P, more), ids(s=s))
        assert function(P=P, s=s) == report.at(P=P, s=s).saved.bytes == sum(size * n for size, n in real.items())
    for P in (24, 40, 64):
        with pytest.raises(ValueError, match=f"s <= P{' - 1' if more else ''} only"):
            function(P=P, s=P - more + 1)


@pytest.mark.slow
def test_the_function_of_what_is_not_proved_is_for_one_point() -> None:
    report = graphmem.analyze(shifted, ids, device="cpu")
    unproved = dataclasses.replace(report, verified=dataclasses.replace(report.verified, exact=False))
    function = emitted(unproved)
    assert function() == report.saved.bytes
    with pytest.raises(ValueError, match="not proved, so it is for b=4"):
        function(s=21)


class Turns(nn.Module):
    """A state that goes from position to position."""

    def __init__(self, h) -> None:
        super().__init__()
        self.f = nn.Linear(h, h)

    def forward(self, x):
        state, states = torch.zeros_like(x[:, 0]), []
        for i in range(x.shape[1]):
            state = torch.tanh(state * 0.9 + self.f(x[:, i]))
            states.append(state)
        return torch.stack(states, dim=1)


class Wide(nn.Module):
    """Heads of 16: h is 16 a."""

    def __init__(self, h, a) -> None:
        super().__init__()
        self.f, self.a = nn.Linear(h, h), a

    def forward(self, x):
        return self.f(x).unflatten(-1, (self.a, 16)).sigmoid().flatten(2)


@pytest.mark.parametrize(
    ("model", "limit", "outside"),
    [
        pytest.param(lambda h=64: Turns(h), {"symbol": "s", "least": 12}, {"s": 9}, marks=pytest.mark.slow),
        (lambda h=64, a=4: Wide(h, a), {"symbol": "a", "equals": "h/16"}, {"h": 72}),
    ],
    ids=["turns", "follows"],
)
def test_the_function_refuses_turns_and_sizes_that_the_formula_is_not_for(model, limit, outside) -> None:
    report = graphmem.analyze(model, lambda b=2, s=12, h=64: (torch.randn(b, s, h),), device="cpu")
    assert any(limit.items() <= entry.items() for entry in report.to_dict()["limits"])
    with pytest.raises(SymbolError):
        report.at(**outside)
    with pytest.raises(ValueError, match="the formula holds for"):
        emitted(report)(**outside)
    assert emitted(report)(b=3) == report.at(b=3).saved.bytes


def test_the_function_names_the_kernel_that_it_is_for() -> None:
    assert "sizes at which attention runs sdpa." in FORMATS["python"](report_of("block"))
    assert "sizes at which" not in FORMATS["python"](report_of("eager"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["L", "f", "h"])
def test_fit_counts_the_parameters_of_the_model_that_fits(name, capsys) -> None:
    sample = ROOT / "samples" / "llama.py"
    command = ["fit", str(sample), "--solve", name, "--memory", "8MiB", "--format", "json"]
    command += words({**SMALL, "k": 2, "f": 160})
    assert main(command) == 0
    found = json.loads(capsys.readouterr().out)
    sizes = {**SMALL, "k": 2, "f": 160, name: found["value"]}
    there = of_sample("llama.py", **sizes)
    weights = next(n.bytes for n in there.not_counted if n.what == "parameters")
    assert (found["parameters"], found["alive"]) == (weights, there.alive.bytes)
    assert weights + there.alive.bytes <= 8 * 2**20


def test_where_nothing_fits_the_weights_are_those_of_the_least() -> None:
    def layers(L=6):
        return nn.Sequential(*(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(L)))

    report = graphmem.analyze(layers, lambda b=4: (torch.randn(b, 8),))
    found = fit(report, "L", 400, 0)
    assert (found.value, found.parameters) == (None, sum(p.nbytes for p in layers(L=1).parameters()))
    assert "L=1 needs" in found.why
    with pytest.raises(SymbolError, match="x is not in the formula"):
        fit(report, "x", 400, 0)


@pytest.mark.slow
def test_parameters_go_with_the_sizes(reports) -> None:
    for report in reports[:2]:
        there = report.at(L=5, h=128)
        fresh = of_sample("gpt2.py", **{**SMALL, "L": 5, "h": 128})
        assert there.not_counted[0] == fresh.not_counted[0]
