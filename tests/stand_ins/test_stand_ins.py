"""Packages that are not installed: what their stand-ins save, against the real Python code and against the facts."""

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from types import ModuleType
from typing import Never

import pytest
import torch
import transformers
from torch import nn

from graphmem.accounts.saved import sort_storages
from graphmem.errors import ModelError
from graphmem.how import read_how
from graphmem.machine.pretend import answering_as
from graphmem.stand_ins import stand_ins
from graphmem.stand_ins.imports import LEAVES, NAMES, PACKAGES
from graphmem.trace import trace

BF16 = torch.bfloat16
B, S, A = 2, 40, 4


class Call(nn.Module):
    """`function(*inputs)`, with what it imports."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def tensor(*shape, grad=True, dtype=BF16):
    return torch.empty(*shape, dtype=dtype, device="meta", requires_grad=grad)


def calls(name, *shapes, grads=(True, True, True), **kwargs):
    """A case: a function of flash_attn on tensors of these shapes, and of starts where it takes packed sequences."""

    def function(*inputs):
        import flash_attn

        starts = ()
        if "varlen" in name:
            cu = torch.arange(3, dtype=torch.int32, device="cuda") * (inputs[0].shape[0] // 2)
            starts = (cu, 30) if "qkv" in name else (cu, cu.clone(), 30, 30)
        return getattr(flash_attn, name)(*inputs, *starts, **kwargs)

    return lambda: (function, [tensor(*shape, grad=grad) for shape, grad in zip(shapes, grads, strict=False)])


def dense(d, k=A, **kwargs):
    return calls("flash_attn_func", (B, S, A, d), (B, S, k, d), (B, S, k, d), **kwargs)


def varlen(d, k=A, **kwargs):
    return calls("flash_attn_varlen_func", (S, A, d), (S, k, d), (S, k, d), **kwargs)


def rotary(apply, *shape, **kwargs):
    def function(x, cos, sin):
        from flash_attn.layers import rotary as module

        x = x * 2  # what is written in place must not be a leaf
        return getattr(module, apply)(x, cos, sin, **kwargs) * 2

    return lambda: (function, [tensor(*shape), tensor(S, 16, grad=False), tensor(S, 16, grad=False)])


def rotary_module(kv=False):
    class Rotated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            from flash_attn.layers.rotary import RotaryEmbedding

            self.rotary = RotaryEmbedding(32, scale_base=512 if kv else None, device="meta")

        def forward(self, qkv):
            qkv = qkv * 2
            return self.rotary(qkv[:, :, 0] * 1, kv=qkv[:, :, 1:] * 1)[0] if kv else self.rotary(qkv)

    return lambda: (Rotated, [tensor(B, S, 3, A, 64)])


def unpadded(hidden):
    from flash_attn.bert_padding import pad_input, unpad_input

    kept, indices, *_ = unpad_input(hidden * 2, torch.ones(B, S, dtype=torch.int64, device=hidden.device).tril(30))
    return pad_input(kept * 2, indices, B, S)


def cross_entropy(logits):
    from flash_attn.losses.cross_entropy import CrossEntropyLoss

    return CrossEntropyLoss()(logits * 2, torch.zeros(logits.shape[0], dtype=torch.int64, device=logits.device))


def norm(*names, fn="rms_norm_fn", **kwargs):
    def function(x, weight, *others):
        from flash_attn.ops.triton import layer_norm

        given = dict(zip(names, (other * 2 for other in others), strict=True))
        return getattr(layer_norm, fn)(x * 2, weight, None, **given, **kwargs)

    return lambda: (function, [tensor(B, S, 64), tensor(64), *(tensor(B, S, 64) for _ in names)])


CASES = {
    "64": dense(64),
    "72 causal": dense(72, causal=True),
    "60 padded": dense(60),
    "60 padded, dropout, window": dense(60, dropout_p=0.1, window_size=(8, 0), causal=True),
    "grouped query": dense(64, k=2),
    "dropout and probabilities": dense(64, dropout_p=0.1, return_attn_probs=True),
    "no gradient": dense(64, grads=(False, False, False)),
    "one gradient": dense(60, grads=(False, False, True)),
    "qkv packed": calls("flash_attn_qkvpacked_func", (B, S, 3, A, 64)),
    "qkv packed, padded": calls("flash_attn_qkvpacked_func", (B, S, 3, A, 60), dropout_p=0.1),
    "kv packed": calls("flash_attn_kvpacked_func", (B, S, A, 64), (B, S, 2, 2, 64)),
    "kv packed, padded, one gradient": calls(
        "flash_attn_kvpacked_func", (B, S, A, 60), (B, S, 2, A, 60), grads=(True, False)
    ),
    "varlen": varlen(64, causal=True),
    "varlen padded": varlen(60, k=2, dropout_p=0.2),
    "varlen no gradient": varlen(64, grads=(False, False, False)),
    "varlen qkv packed": calls("flash_attn_varlen_qkvpacked_func", (S, 3, A, 64)),
    "varlen kv packed": calls("flash_attn_varlen_kvpacked_func", (S, A, 64), (S, 2, 2, 64), causal=True),
    "rotary": rotary("apply_rotary_emb", B, S, A, 64),
    "rotary in place": rotary("apply_rotary_emb", B, S, A, 64, inplace=True),
    "rotary qkv": rotary("apply_rotary_emb_qkv_", B, S, 3, A, 64),
    "rotary grouped qkv": rotary("apply_rotary_emb_qkv_", B, S, 8, 64, num_heads_q=4),
    "rotary kv": rotary("apply_rotary_emb_kv_", B, S, 2, A, 64),
    "rotary module": rotary_module(),
    "rotary module, scaled kv": rotary_module(kv=True),
    "padding": lambda: (unpadded, [tensor(B, S, 64)]),
    "cross entropy": lambda: (cross_entropy, [tensor(S, 100)]),
    "rms norm": norm(),
    "layer norm, sum": norm("residual", fn="layer_norm_fn", prenorm=True),
    "layer norm, dropout": norm("residual", fn="layer_norm_fn", dropout_p=0.1, return_dropout_mask=True),
    "rms norm, sum in float32": norm(residual_in_fp32=True, prenorm=True),
}


def saved(case, target):
    """What is alive after forward, and the attention operators that ran."""
    function, inputs = CASES[case]()
    record = trace(function() if isinstance(function, type) else Call(function), tuple(inputs), target)
    alive = sorted((kept.table, kept.nbytes, list(kept.shape), list(kept.keepers)) for kept in sort_storages(record))
    return [alive, [op.name for op in record.ops if "_attn_" in op.name]]


# -- against the real package's Python code ----------------------------------------------------------------------------


def without_triton(launch) -> None:
    """Let Python code around Triton kernels be imported and run; `launch` is what a kernel does."""
    import torch._dynamo

    triton, language = ModuleType("triton"), ModuleType("triton.language")
    triton.jit = lambda function: Grid(launch)
    triton.autotune = triton.heuristics = lambda *args, **kwargs: lambda kernel: kernel
    triton.Config = lambda *args, **kwargs: None
    triton.cdiv, triton.next_power_of_2 = lambda a, b: -(-a // b), lambda n: 1 << (n - 1).bit_length()
    triton.language, language.constexpr = language, None
    sys.modules |= {"triton": triton, "triton.language": language}
    torch.library.wrap_triton = lambda kernel: kernel
    torch._subclasses.fake_tensor.FakeTensor.data_ptr = lambda self: 0


class Grid:
    """A kernel: `kernel[grid](...)` launches it."""

    def __init__(self, launch) -> None:
        self.launch = launch

    def __getitem__(self, grid: object) -> Callable[..., object]:
        return self.launch


def no_launch(*args, **kwargs) -> Never:
    raise AssertionError("a kernel was launched on fake tensors")


def write_saved(kind) -> None:
    """In a process of its own: every case, as JSON on stdout.

    stand-in: by the stand-in; real: by the real Python code, with kernels that do nothing; loaded: by a real package
    that was imported before, as in a user's training script.
    """
    target = read_how({"gpu": "h100", "torch_version": "2.11", "cudnn_version": "9.19"})
    without = ()
    if kind == "stand-in":
        sys.path.insert(0, str(PACKAGES))
    elif kind == "real":
        without_triton(lambda *args, **kwargs: None)
        without = tuple(leaf for leaf in LEAVES if "triton" in leaf)
    else:
        without_triton(no_launch)
        sys.modules["flash_attn_2_cuda"] = ModuleType("flash_attn_2_cuda")
        with answering_as(target.machine):
            from flash_attn.layers import rotary
            from flash_attn.losses import cross_entropy  # noqa: F401
            from flash_attn.ops.triton import layer_norm  # noqa: F401
        original = rotary.apply_rotary
    with stand_ins(without=without):
        with answering_as(target.machine):
            import flash_attn.ops.triton.layer_norm  # noqa: F401  asks for the GPU
        rows = {case: saved(case, target) for case in CASES}
    assert kind != "loaded" or rotary.apply_rotary is original
    print(json.dumps(rows))


@pytest.fixture(scope="module")
def by_kind():
    if importlib.util.find_spec("flash_attn") is None:
        pytest.skip("the real Python package flash-attn is not installed")
    processes = {
        kind: subprocess.Popen([sys.executable, __file__, kind], stdout=subprocess.PIPE, text=True)
        for kind in ("stand-in", "real", "loaded")
    }
    return {kind: json.loads(process.communicate()[0]) for kind, process in processes.items()}


@pytest.mark.parametrize("kind", ["stand-in", "loaded"])
@pytest.mark.parametrize("case", CASES)
def test_as_the_real_package(case, kind, by_kind) -> None:
    assert by_kind[kind][case] == by_kind["real"][case]


# -- against what is known, with whatever is installed -----------------------------------------------------------------


def sizes(function, inputs, target):
    """Bytes of all saved storages, and the operators of attention kernels."""
    record = trace(Call(function), tuple(inputs), target)
    kept = Counter(k.nbytes for k in sort_storages(record) if k.table.startswith("saved"))
    return kept, [op.name for op in record.ops if "flash" in op.name or "efficient" in op.name]


QKVO, LSE, RNG = 2 * B * S * A * 64, 4 * B * A * S, 16


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("64", [QKVO] * 4 + [LSE, RNG]),
        ("60 padded", [QKVO] * 4 + [LSE, RNG]),
        ("one gradient", [QKVO] * 4 + [LSE, RNG]),
        ("grouped query", [QKVO, QKVO // 2, QKVO // 2, QKVO, LSE, RNG]),
        ("qkv packed", [3 * QKVO, QKVO, LSE, RNG]),
        ("no gradient", []),
        ("varlen", [QKVO // B] * 4 + [LSE // B, RNG, 4 * (B + 1), 4 * (B + 1)]),
        ("varlen no gradient", []),
        ("rms norm", [2 * B * S * 64, 4 * B * S, 2 * 64]),
    ],
)
def test_flash_attn_2(case, expected, h100) -> None:
    with stand_ins():
        kept, _ = sizes(*CASES[case](), h100)
    assert kept == Counter(expected)


def flash_attn_3(q, k, v):
    import flash_attn_interface

    return flash_attn_interface.flash_attn_func(q, k, v, causal=True)


def flash_attn_4(q, k, v):
    from flash_attn.cute import flash_attn_func

    return flash_attn_func(q, k, v, causal=True)[0]


def xformers(**kwargs):
    def function(q, k, v, bias=None):
        import xformers.ops as xops

        causal = xops.LowerTriangularMask()
        return xops.memory_efficient_attention(q, k, v, causal if bias is None else bias, **kwargs)

    return function


def xformers_packed(q, k, v):
    from xformers.ops import fmha

    mask = fmha.attn_bias.BlockDiagonalCausalMask.from_seqlens([S // 2, S + S // 2], device=q.device)
    return fmha.memory_efficient_attention(*(x.flatten(0, 1)[None] for x in (q, k, v)), mask)


@pytest.mark.parametrize(
    ("function", "head_size", "dtype", "lse", "operator"),
    [
        (flash_attn_3, 64, BF16, LSE, "flash_attn_3._flash_attn_forward.default"),
        (flash_attn_4, 64, BF16, LSE, "flash_attn_4._flash_attn_forward.default"),
        (xformers(), 64, BF16, LSE, "xformers_flash.flash_fwd.default"),
        (xformers(p=0.1), 256, BF16, LSE, "xformers_flash.flash_fwd.default"),
        (xformers_packed, 64, BF16, LSE, "xformers_flash.flash_fwd.default"),
        (xformers(), 320, BF16, 4 * B * A * 64, "aten._efficient_attention_forward.default"),
        (xformers(p=0.1), 64, torch.float32, 4 * B * A * 64, "aten._efficient_attention_forward.default"),
    ],
)
def test_other_packages(function, head_size, dtype, lse, operator, h100) -> None:
    qkv = [tensor(B, S, A, head_size, dtype=dtype) for _ in range(3)]
    with stand_ins():
        kept, operators = sizes(function, qkv, h100)
    assert operators == [operator]
    assert kept == Counter([dtype.itemsize * B * S * A * head_size] * 4 + [lse])


def test_xformers_takes_a_bias_and_refuses_what_it_cannot(h100) -> None:
    qkv = [tensor(B, S, A, 64) for _ in range(3)]
    with stand_ins():
        kept, operators = sizes(xformers(), [*qkv, tensor(B, A, S, S)], h100)
        assert operators == ["aten._efficient_attention_forward.default"]
        assert kept == Counter([QKVO] * 4 + [4 * B * A * 64])  # the bias hangs on the node: saved, but by no hook
        with pytest.raises(ModelError, match="no backward for five dimensions"):
            sizes(xformers(), [x[:, :, None] for x in qkv], h100)
        with pytest.raises(ModelError, match="not aligned"):
            sizes(xformers(), [tensor(B, S, A, 60) for _ in range(3)], h100)


@pytest.mark.parametrize("function", [flash_attn_3, flash_attn_4, xformers()])
def test_not_on_the_cpu(function) -> None:
    with stand_ins(), pytest.raises(ModelError, match=r"CUDA|device cpu"):
        sizes(function, [tensor(B, S, A, 64) for _ in range(3)], read_how({"gpu": "h100", "device": "cpu"}))


# -- the context manager -----------------------------------------------------------------------------------------------


def imported():
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in NAMES}


def test_everything_is_as_before() -> None:
    before, path, finders = imported(), list(sys.path), list(sys.meta_path)
    copies = set()
    for _ in range(2):
        with stand_ins() as outer:
            import flash_attn.layers.rotary
            import xformers.ops  # noqa: F401

            copies.add(flash_attn.layers.rotary)
            with stand_ins() as inner:
                assert inner is outer
            assert importlib.metadata.version("flash-attn") >= "2"
        assert (imported(), sys.path, sys.meta_path) == (before, path, finders)
    assert len(copies) == 1  # another one would define its operators again
    for name in NAMES:
        assert importlib.util.find_spec(name) is None or str(PACKAGES) not in str(importlib.util.find_spec(name).origin)


def test_what_raises_on_the_way_in_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real flash-attn, of which one part was exchanged already."""
    real = {name: ModuleType(name) for name in ("flash_attn", *LEAVES[2:4])}
    for name, module in real.items():
        monkeypatch.setitem(sys.modules, name, module)
        module.__spec__ = importlib.util.spec_from_loader(name, None)
        module.swiglu = original = object.__repr__

    def leaf(name: str) -> ModuleType:
        if name == LEAVES[3]:
            raise KeyboardInterrupt
        ours = ModuleType(name)
        ours.swiglu = len
        return ours

    monkeypatch.setattr("graphmem.stand_ins.imports._leaf", leaf)
    with pytest.raises(KeyboardInterrupt), stand_ins():
        pass
    assert all(module.swiglu is original for module in real.values())


def test_finders_that_somebody_takes_away() -> None:
    before = list(sys.meta_path)
    with stand_ins():
        added = [finder for finder in sys.meta_path if finder not in before]
        sys.meta_path[:] = before
    assert added
    assert sys.meta_path == before


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is not None, reason="nothing stands in for flash-attn")
def test_what_a_stand_in_lacks_it_names() -> None:
    install = "pip install --no-build-isolation"
    with stand_ins():
        import flash_attn

        with pytest.raises(ImportError, match=f"flash_attn.modules.*{install}"):
            import flash_attn.modules.mha
        with pytest.raises(ImportError, match=f"flash_attn.flash_attn_fancy_func.*{install}"):
            from flash_attn import flash_attn_fancy_func  # noqa: F401
        with pytest.raises(AttributeError, match=f"flash_attn.fancy.*{install}"):
            flash_attn.fancy  # noqa: B018
    with stand_ins(without=["flash_attn.ops.rms_norm"]):
        import flash_attn.ops

        with pytest.raises(ImportError):
            import flash_attn.ops.rms_norm
    with pytest.raises(ModuleNotFoundError), stand_ins(without=["flash_attn"]):
        import flash_attn


@pytest.mark.parametrize("version", [2, 3, 4])
def test_transformers(version, h100) -> None:
    checks, flash = transformers.utils.import_utils, transformers.modeling_flash_attention_utils
    before = (dict(checks.PACKAGE_DISTRIBUTION_MAPPING), flash._loaded_implementation, flash._flash_fn)
    config = transformers.LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=100,
        dtype=BF16,
        use_cache=False,
        attn_implementation=f"flash_attention_{version}",
    )
    ids = torch.empty(2, 96, dtype=torch.int64, device="meta")
    with stand_ins():
        with answering_as(h100.machine), torch.device("meta"):
            model = transformers.LlamaForCausalLM(config).to(BF16)
        record = trace(model, {"input_ids": ids, "labels": ids}, h100)
    name = {2: "flash_attn._flash", 3: "flash_attn_3._flash", 4: "flash_attn_4._flash"}[version]
    kept = sort_storages(record)
    assert len([op for op in record.ops if op.name.startswith(name)]) == 2
    assert not [k for k in kept if k.shape.count(96) > 1]
    assert [k.nbytes for k in kept if k.shape == (2, 4, 96)] == [4 * 2 * 4 * 96] * 2
    assert (checks.PACKAGE_DISTRIBUTION_MAPPING, flash._loaded_implementation, flash._flash_fn) == before
    assert not checks.is_torch_cuda_available() or torch.cuda.is_available()
    assert not checks.is_flash_attn_2_available() or torch.cuda.is_available()


if __name__ == "__main__":
    write_saved(sys.argv[1])
