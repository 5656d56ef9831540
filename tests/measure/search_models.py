"""Models made at random from the parts of `search_pieces`, as files that `graphmem analyze` takes."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

PIECES = "\n\n".join(Path(__file__).with_name(name).read_text() for name in ("search_pieces.py", "search_mixers.py"))
IMPORTS = """import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
"""
# Sizes: what people write, what rounds, and what nothing divides.
LENGTHS = (16, 24, 33, 64, 77, 96, 100, 128, 197, 200, 250, 256, 384, 512, 1000, 1024, 1500, 2048, 4096)
WINDOWS = (3, 7, 8, 16, 32, 64, 100, 128)
HEADS = (8, 16, 20, 32, 40, 64, 72, 80, 96, 128)
WIDTHS = ("4 * h", "4 * h", "f", "f", "2 * f", "up_to(8 * h // 3, 64)", "up_to(8 * h // 3, 256)", "8 * h // 3", "h",
          "up_to(f, 64)", "int(2.5 * h)", "f // 2")  # fmt: skip
VOCABULARIES = ("v", "v", "v", "up_to(v, 64)", "up_to(v, 512)", "up_to(v, 128)", "v + 1", "v + 3")
NORMS = ("nn.LayerNorm(h)", "nn.LayerNorm(h)", "HandNorm(h)", "nn.RMSNorm(h)", "nn.Identity()",
         "nn.LayerNorm(h, elementwise_affine=False)")  # fmt: skip
FEEDS = (
    "FeedForward(h, {f})", "FeedForward(h, {f}, F.relu)", "FeedForward(h, {f}, p=0.1)", "Gated(h, {f})",
    "Gated(h, {f})", "InPieces(h, {f}, u)", "Experts(h, {f}, e, 2)", "Adapter(h, r)", "Later(FeedForward(h, {f}))",
    "FeedForward(h, f * (i + 1))", "FeedForward(h, f if i < 2 else 2 * f)",
)  # fmt: skip
MIXERS = (
    "Sdpa(h, a)", "Sdpa(h, a, kind='causal')", "Sdpa(h, a, kind='bool')", "Sdpa(h, a, kind='float')",
    "Sdpa(h, a, kind='padding')", "Sdpa(h, a, k)", "Sdpa(h, a, k, kind='causal', repeat=True)", "Sdpa(h, a, k, d)",
    "Sdpa(h, a, k, kind='bool')", "Sdpa(h, a, 1, repeat=True)", "Sdpa(h, a, d=d, kind='causal', p=0.1)",
    "Eager(h, a)", "Eager(h, a, k)", "Eager(h, a, p=0.1)", "Eager(h, a, fp32=True)", "Eager(h, a, mask={m})",
    "Eager(h, a, 1)", "Local(h, a, w)", "Local(h, a, w, fused=True)", "Local(h, a, w, look=True)", "Sliding(h, a, w)",
    "Biased(h, a, w)", "Biased(h, a, {m})", "Rotary(h, a, {m})", "Rotary(h, a, {m}, 2)", "Linearly(h, a)",
    "Coarser(h, a, w)", "Coarser(h, a, 2, ceil=True)", "Convolved(h, 4)", "Convolved(h, w)", "Latents(h, a, q)",
    "Library(h, a, True)", "Library(h, a, False)", "Later(Sdpa(h, a))",
)  # fmt: skip
TWO = (
    "TwoJoint(h, a)", "TwoJoint(h, a, False)", "TwoCross(h, a)", "TwoCross(h, a, False)", "TwoCross(h, a, kind='bool')",
    "TwoCross(h, a, False, 'bool')", "TwoCross(h, a, kind='padding')",
)  # fmt: skip
OPTIONS = (
    (), (), (), (("gpu", "a100"),), (("device", "cpu"),), (("autocast", "bf16"),), (("dtype", "bf16"),),
)  # fmt: skip
# Which of several kinds of layers layer i is.
PATTERNS = ("i % 2", "i % 2", "int(i % 3 == 2)", "int(i == 0)", "int(i == L - 1)", "int(i < 2)", "int(i >= L // 2)")


@dataclass(frozen=True, kw_only=True)
class Made:
    """A made model: texts of its parts, in terms of the sizes in `values`.

    kinds: for each kind of layer its parts. pattern: which kind layer i is. inputs: a text for each input.
    given: sizes of which the model may know, but that are the inputs' in the first place.
    options: of the analysis.
    """

    values: dict[str, int]
    stems: tuple[str, ...]
    kinds: tuple[tuple[str, ...], ...]
    pattern: str
    norm: str
    head: str
    inputs: tuple[str, ...]
    dtype: str
    options: tuple[tuple[str, str], ...]

    @property
    def source(self) -> str:
        """The file."""
        layer = "TwoLayer" if len(self.stems) == 2 else "Layer"
        parts = [", ".join(map(self._part, kind)) for kind in self.kinds]
        kinds = "".join(f"        lambda i: {layer}({text}),\n" for text in parts)
        net = f"{'Two' * (len(self.stems) - 1)}Net({', '.join(self.stems)}, layers, {self.head}){self.dtype}"
        body = (
            f"    kinds = [\n{kinds}    ]\n    layers = [kinds[{self.pattern}](i) for i in range(L)]\n    return {net}"
        )
        inputs = ", ".join(self.inputs)
        model = f"def model({self._defaults(body)}):\n{body}\n"
        made = f"def inputs({self._defaults(f'({inputs},)')}):\n    return ({inputs},)\n"
        options = ", ".join(f"{k}={v}" for k, v in self.options)
        head = f'"""Made at random{"; analysed with " + options if options else ""}."""\n\n{IMPORTS}\n\n'
        return head + "\n\n".join([*_parts(net + kinds), model, made])

    def _part(self, part: str) -> str:
        return part if part.startswith("Two") else f"({self.norm}, {part})"

    def _defaults(self, text: str) -> str:
        used = _names(text)
        return ", ".join(f"{name}={value}" for name, value in self.values.items() if name in used)

    def smaller(self) -> Iterator[Made]:
        """The same with something left out."""
        if len(self.kinds) > 1:
            yield from (replace(self, kinds=(kind,), pattern="0") for kind in self.kinds)
        for i, kind in enumerate(self.kinds):
            for j in range(len(kind) if len(kind) > 1 else 0):
                yield replace(self, kinds=(*self.kinds[:i], (*kind[:j], *kind[j + 1 :]), *self.kinds[i + 1 :]))
        if self.norm != "nn.Identity()":
            yield replace(self, norm="nn.Identity()")
        if not self.head.startswith("Pooled"):
            yield replace(self, head="Pooled(h, 10)")
        if not self.stems[0].startswith("nn.Linear") and "s" in _names(self.inputs[0]):
            head = "Pooled(h, 10)"
            inputs = ("torch.randn(b, s, 8)", *self.inputs[1:])
            yield replace(self, stems=("nn.Linear(8, h)", *self.stems[1:]), head=head, inputs=inputs)
        if self.options:
            yield replace(self, options=())
        if self.dtype:
            yield replace(self, dtype="")


def _names(text: str) -> set[str]:
    lines = text if text.startswith("    ") else f"    {text}"
    return {n.id for n in ast.walk(ast.parse(f"def f():\n{lines}")) if isinstance(n, ast.Name)}


@cache
def _pieces() -> dict[str, tuple[str, set[str]]]:
    """The source of every piece, and the names that are in it."""
    tops = [n for n in ast.parse(PIECES).body if isinstance(n, (ast.ClassDef, ast.FunctionDef))]
    lines = PIECES.splitlines()
    return {
        top.name: (
            "\n".join(lines[top.lineno - 1 : top.end_lineno]) + "\n",
            {n.id for n in ast.walk(top) if isinstance(n, ast.Name)},
        )
        for top in tops
    }


def _parts(text: str) -> list[str]:
    """The source of what `text` names, and of what that names."""
    found = _pieces()
    needed: set[str] = set()
    new = {name for name in found if f"{name}(" in text}
    while new:
        needed |= new
        new = set().union(*(found[name][1] for name in new)) & found.keys() - needed
    return [text for name, (text, _) in found.items() if name in needed]


def made(seed: int) -> Made:
    """The model of this seed."""
    chance = random.Random(seed)
    values = _values(chance)
    kind = chance.choices(("tokens", "hidden", "image", "sound", "two"), (5, 1, 2, 1, 2))[0]
    vocabulary, table = (
        chance.choice(VOCABULARIES),
        chance.choice(("None", "None", "m", "s", str(values["m"]), "m + 2")),
    )
    count = chance.choice(("None", "(n // p) ** 2"))
    classes = "Pooled(h, c)"
    words = chance.choice(("", "", "'shift'", "'last'", "'pieces', 2 * u"))
    tokens = (
        f"Tokens({vocabulary}, h, {table})",
        "torch.randint(v, (b, s))",
        f"Words(h, {vocabulary}, {words or repr('')})",
    )
    hidden = ("nn.Linear(c, h)", "torch.randn(b, s, c)", classes)
    stem, given, head = {
        "tokens": tokens,
        "hidden": hidden,
        "image": (f"Patches(3, h, p, {chance.random() < 0.5}, {count})", "torch.randn(b, 3, n, n)", classes),
        "sound": (f"Frames(c, h, {chance.choice((1, 2, 2))})", "torch.randn(b, c, s)", classes),
        "two": chance.choice((tokens, hidden)),
    }[kind]
    several = chance.random() < 0.35
    two = kind == "two"
    chosen = tuple(_layer(chance, values, two) for _ in range(2 if several else 1))
    return Made(
        values=values,
        stems=(stem, "nn.Linear(g, h)") if two else (stem,),
        kinds=chosen,
        pattern=chance.choice(PATTERNS) if several else "0",
        norm=chance.choice(NORMS),
        head=head,
        inputs=(given, "torch.randn(b, t, g)") if two else (given,),
        dtype=chance.choice(("", ".bfloat16()", ".bfloat16()")) if "randn" not in given and not two else "",
        options=chance.choice(OPTIONS),
    )


def _layer(chance: random.Random, values: dict[str, int], two: bool) -> tuple[str, ...]:
    feed = chance.choice(FEEDS).format(f=chance.choice(WIDTHS))
    mixer = chance.choice(MIXERS).format(m=chance.choice(("m", "m", "s", str(values["m"]))))
    parts = chance.choice(((mixer, feed), (mixer, feed), (mixer,), (feed,), (mixer, "nn.Tanh()")))
    if not two:
        return parts
    both = tuple(f"TwoParts({part}, {chance.random() < 0.5})" for part in parts[-1:])
    return (chance.choice(TWO), *(both if chance.random() < 0.6 else ()))


def _values(chance: random.Random) -> dict[str, int]:
    a, d = chance.choice((1, 2, 3, 4, 4, 6, 8, 8, 12, 16)), chance.choice(HEADS)
    h = a * d
    s, p = chance.choice(LENGTHS), chance.choice((2, 4, 7, 8, 14, 16))
    return {
        "h": h,
        "a": a,
        "k": chance.choice([k for k in range(1, a + 1) if a % k == 0]),
        "d": chance.choice((d, 16, 64)),
        "f": chance.choice((4 * h, 2 * h, 100, 250, 512, 1000, 1408)),
        "L": chance.choice((1, 2, 2, 3, 3, 4, 5, 6)),
        "v": chance.choice((100, 256, 257, 1000, 1003, 32000, 50257, 50254)),
        "m": max(s, chance.choice((s, s + 1, 2 * s, 512, 1024, 4096))),
        "w": chance.choice(WINDOWS),
        "u": max(chance.choice((s // 2, s // 3, s // 4 + 1, 64, 256)), s // 10),
        "q": chance.choice((5, 16, 32, 64, 100)),
        "r": chance.choice((4, 8, 16, 64)),
        "e": chance.choice((2, 4, 5, 8)),
        "c": chance.choice((8, 10, 80, 128, 1000)),
        "g": chance.choice((8, 64, h)),
        "p": p,
        "b": chance.choice((1, 2, 2, 3, 4, 8)),
        "s": s,
        "t": chance.choice((7, 16, 64, 77, 100, 256, s)),
        "n": p * chance.choice((4, 5, 7, 8, 14, 16)),
    }
