"""Files that know nothing of graphmem, in the styles of public repositories: a command line each, and what it says."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import graphmem
from graphmem.cli import main
from graphmem.load.files import _run_file
from graphmem.load.names import GUESSES, LENGTHS, LETTERS
from graphmem.usercode.isolate import isolated
from support.oracle import real_saved
from support.repo import ROOT
from support.reports import predicted
from support.slow import one_of

PLAIN = ROOT / "tests" / "support" / "plain"


@dataclass(frozen=True)
class Case:
    """A file and what is expected of it.

    sets, config, inputs: the command line. kinds: of its attentions. symbols: of its formula, in any order.
    real: the model as its author would make it, at the same sizes; given: what forward gets then; loss: which output
    backward starts from.
    """

    file: str
    sets: str = ""
    kinds: str = ""
    symbols: str = ""
    real: str = ""
    given: str = ""
    loss: Any = None
    config: str | None = None
    inputs: tuple[str, ...] = ()

    def asked(self) -> dict[str, Any]:
        """As keywords of `graphmem.analyze`."""
        settings = dict(pair.split("=") for pair in self.sets.split())
        return {"symbols": settings, "input": dict(text.split("=") for text in self.inputs), "config": self.config}


CASES = [
    Case("nano_style", "b=2 s=12 h=32 a=4 L=3 v=50 block_size=16", "flash", "b s h a L v",
         "GPT(GPTConfig(block_size=16, vocab_size=50, n_layer=3, n_head=4, n_embd=32))",
         "dict(idx=ids(2, 12), targets=ids(2, 12))", 1),
    Case("mini_style", "model_type=gpt-tiny s=12 vocab_size=50 block_size=16", "standard", "b s v",
         "GPT(CfgNode(model_type='gpt-tiny', n_layer=None, n_head=None, n_embd=None, vocab_size=50, block_size=16, "
         "embd_pdrop=.1, resid_pdrop=.1, attn_pdrop=.1))", "dict(idx=ids(2, 12), targets=ids(2, 12))", 1),
    Case("mini_style", "model_type=None n_layer=3 n_head=4 n_embd=32 s=12 vocab_size=50 block_size=16", "standard",
         "b s v h a L"),
    Case("llama_style", "h=96 a=8 k=4 L=3 v=50 f=80 max_seq_len=16 s=12", "flash", "b s h a L v f",
         "Transformer(ModelArgs(dim=96, n_heads=8, n_kv_heads=4, n_layers=3, vocab_size=50, hidden_dim=80, "
         "max_seq_len=16))", "dict(tokens=ids(2, 12), targets=ids(2, 12))", 1),
    Case("lit_style", "s=12 padded_vocab_size=64", "flash", "b s h a L",
         "GPT(Config(block_size=128, n_layer=4, n_embd=128, n_head=4, padded_vocab_size=64))",
         "dict(idx=ids(2, 12))", config="Config.from_name('tiny-llm')"),
    Case("x_style", "s=12", "standard", "b s h a L",
         "TransformerWrapper(num_tokens=50, max_seq_len=16, attn_layers=Decoder(dim=32, depth=3, heads=4))",
         "dict(x=ids(2, 12))",
         config="TransformerWrapper(num_tokens=50, max_seq_len=16, attn_layers=Decoder(dim=32, depth=3, heads=4))",
),
    Case("annotated_style", "src_vocab=50 tgt_vocab=60 N=3 d_model=32 d_ff=48 h=4 s=12 t=10",
         "standard standard standard",
         "b s t h N d_model f tgt_vocab", "make_model(50, 60, N=3, d_model=32, d_ff=48, h=4)",
         "dict(src=ids(2, 12), tgt=ids(2, 10), src_mask=ones(2, 1, 12), tgt_mask=ones(2, 10, 10))"),
    Case("bert_style", "v=50 h=32 L=3 a=4 f=48 max_len=16 s=12", "standard", "b s h a L f v",
         "BertForMaskedLM(50, 32, 3, 4, 48, 16)",
         "dict(input_ids=ids(2, 12), token_type_ids=ids(2, 12), attention_mask=ones(2, 12), labels=ids(2, 12))",
         "loss"),
    Case("vit_style", "image_size=32 patch_size=8 num_classes=10 dim=32 depth=3 heads=4 mlp_dim=48 dim_head=16",
         "standard", "b c p h L a f dim_head image_size",
         "ViT(image_size=32, patch_size=8, num_classes=10, dim=32, depth=3, heads=4, mlp_dim=48, dim_head=16)",
         "dict(img=torch.randn(2, 3, 32, 32))"),
    Case("swin_style", "img_size=112 embed_dim=24 num_classes=10", "standard standard standard standard",
         "b img_size p h", "SwinTransformer(img_size=112, embed_dim=24, num_classes=10)",
         "dict(x=torch.randn(2, 3, 112, 112))"),
    Case("mixer_style", "image_size=32 patch_size=8 dim=32 depth=3 num_classes=10", "", "b image_size p h L",
         "MLPMixer(32, 3, 8, 32, 3, 10)", "dict(x=torch.randn(2, 3, 32, 32))"),
    Case("dit_style", "input_size=8 hidden_size=32 depth=3 num_heads=4 num_classes=10", "flash", "b input_size p h L a",
         "DiT(input_size=8, hidden_size=32, depth=3, num_heads=4, num_classes=10)",
         "dict(x=torch.randn(2, 4, 8, 8), t=ids(2), y=ids(2))"),
    Case("unet_style", "dim=32", "standard", "b H W h a", "Unet(dim=32)",
         "dict(x=torch.randn(2, 3, 64, 64), time=ids(2))"),
    Case("t5_style", "v=50 h=32 f=48 L=3 a=4 d_kv=8 s=12", "standard standard standard", "b s v h f L a d_kv",
         "T5ForConditionalGeneration(T5Config(50, 32, 8, 48, 3, 4))",
         "dict(input_ids=ids(2, 12), labels=ids(2, 12))", 0),
    Case("mamba_style", "h=32 L=3 v=50 s=12", "", "b s h L d_state expand d_conv", "Mamba(ModelArgs(32, 3, 50))",
         "dict(input_ids=ids(2, 12))"),
    Case("rwkv_style", "h=32 L=3 v=50 s=12", "", "b s h L",
         "RWKV(__import__('types').SimpleNamespace(n_embd=32, n_layer=3, vocab_size=50, ctx_len=16))",
         "dict(idx=ids(2, 12))"),
    Case("moe_style", "v=50 h=32 f=48 L=3 a=4 s=12", "flash", "b s v h f L a E",
         "MoETransformer(MoEConfig(50, 32, 48, 3, 4))", "dict(input_ids=ids(2, 12), labels=ids(2, 12))", "loss"),
    Case("retnet_style", "layers=3 hidden_dim=32 ffn_size=48 heads=4 vocab_size=50 s=12", "", "b s L h f",
         "RetNet(3, 32, 48, 4, 50)", "dict(X=ids(2, 12))"),
    Case("perceiver_style", "depth=3 input_dim=16 num_latents=8 latent_dim=32 heads=4 dim_head=8 s=12", "flash",
         "b s input_dim num_latents latent_dim a dim_head L",
         "Perceiver(depth=3, input_dim=16, num_latents=8, latent_dim=32, heads=4, dim_head=8)",
         "dict(data=torch.randn(2, 12, 16))"),
    Case("speech_style", "h=32 a=4 L=3 n_mels=20 s=12", "standard", "b s h a L",
         "AudioEncoder(ModelDimensions(20, 1500, 32, 4, 3))", "dict(mel=torch.randn(2, 20, 24))",
         inputs=("mel=float32[b,n_mels,2*s]",)),
    Case("cache_style", "h=32 a=4 L=3 v=50 s=12 context_length=16", "standard", "b s h a L context_length",
         "GPTModel({**MODEL_CONFIG, 'emb_dim': 32, 'n_heads': 4, 'n_layers': 3, 'vocab_size': 50, "
         "'context_length': 16})",
         "dict(in_idx=ids(2, 12))"),
    Case("lightning_style", "model_dim=32 s=12 num_layers=3", "standard", "b s input_dim h a L",
         "TransformerPredictor(__import__('types').SimpleNamespace(input_dim=16, model_dim=32, num_heads=4, "
         "num_layers=3, num_classes=10, dropout=0.1))", "dict(x=torch.randn(2, 12, 16))"),
    Case("attention_only", "embed_size=32 heads=4 s=12", "standard", "b s h a", "SelfAttention(32, 4)",
         "dict(values=torch.randn(2, 12, 32), keys=torch.randn(2, 12, 32), query=torch.randn(2, 12, 32))"),
    Case("tutorial_style", "h=32 a=4 L=3 f=48 v=50 s=12", "standard", "b s h a L f",
         "TransformerModel(50, 32, 4, 48, 3)", "dict(src=ids(12, 2))"),
    Case("seq2seq_style", "emb_size=32 nhead=4 num_encoder_layers=2 num_decoder_layers=2 src_vocab_size=50 "
         "tgt_vocab_size=60 dim_feedforward=48 s=12 t=10", "standard standard standard",
         "b s t h a f num_encoder_layers num_decoder_layers", "Seq2Seq(2, 2, 32, 4, 50, 60, 48)",
         "dict(src=ids(12, 2), trg=ids(10, 2), src_mask=~ones(12, 12), tgt_mask=~ones(10, 10), "
         "src_padding_mask=~ones(2, 12), tgt_padding_mask=~ones(2, 10), memory_key_padding_mask=~ones(2, 12))"),
    Case("lecture_style", "n_embd=32 n_head=4 n_layer=3 s=12 block_size=16", "standard", "b s h a v L"),
    Case("several_models:TextModel", "dim=32 s=12", "flash", "b s h a L", "TextModel(dim=32)",
         "dict(tokens=ids(2, 12))"),
    Case("several_models:VisionModel", "dim=32 image_size=64", "flash", "b h a L p image_size",
         "VisionModel(64, dim=32)",
         "dict(pixel_values=torch.randn(2, 3, 64, 64))"),
]  # fmt: skip


def file_of(case: Case) -> str:
    return case.file


def target_of(case: Case) -> str:
    file, colon, name = case.file.partition(":")
    return f"{PLAIN / file}.py{colon}{name}"


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=file_of)
def test_plain_file(case: Case) -> None:
    """The formula is proved, every attention is seen as what it is, and the CPU really keeps what is foretold."""
    with isolated():
        report = graphmem.analyze(target_of(case), device="cpu", **case.asked())
        seen = (" ".join(a.kind for a in report.attention), sorted(map(str, report.saved.expr.free_symbols)))
        assert seen == (case.kinds.strip(), sorted(case.symbols.split())), report.notes
        assert report.verified.exact
        if case.real:
            assert predicted(report) == really_kept(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=file_of)
def test_plain_file_runs(case: Case) -> None:
    """Without functions of its own a file can be validated all the same: built with weights, on inputs with values."""
    found = graphmem.validate(target_of(case), device="cpu", steps=1, **case.asked())
    assert found.exact
    assert found.notes  # what was guessed


def really_kept(case: Case) -> Counter[int]:
    """What autograd keeps of the model as its author would make it."""
    names = vars(_run_file(PLAIN / f"{case.file.partition(':')[0]}.py"))
    names |= {
        "torch": torch,
        "ids": lambda *shape: torch.randint(2, shape),
        "ones": lambda *shape: torch.ones(shape, dtype=torch.bool),
    }
    model, inputs = eval(case.real, names), eval(case.given, names)
    return real_saved(model.cpu(), inputs, None if case.loss is None else lambda output: output[case.loss])


@pytest.mark.slow
def test_what_was_guessed_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", str(PLAIN / "mamba_style.py"), "--set", "h=32", "--set", "L=2", "--set", "s=16"]) == 0
    notes = " ".join(capsys.readouterr().out.partition("note: ")[2].split())
    assert "the model is Mamba(ModelArgs()), with h = d_model, L = n_layer, v = vocab_size" in notes
    assert "guessed, since the file does not say: vocab_size=32000; others with --set or --config" in notes
    assert "guessed inputs: input_ids=int64[b,s]; others with --input" in notes


@pytest.mark.slow
def test_device_of_the_file_is_the_target_s() -> None:
    """device = "cuda" if torch.cuda.is_available() else "cpu" is cuda on a GPU, though there is none here."""
    case = next(c for c in CASES if c.file == "lecture_style")
    report = graphmem.analyze(target_of(case), **case.asked())
    assert report.verified.exact


# --- what cannot be guessed is asked for --------------------------------------------------------------------------

HEAD = "import torch\nfrom torch import nn\n"
LAYER = "class Net(nn.Module):\n    def __init__(self, {init}):\n        super().__init__()\n        {body}\n"
FORWARD = "    def forward(self, {arguments}):\n        return {result}\n"
NANO, SEVERAL, X = (str(PLAIN / f"{name}.py") for name in ("nano_style", "several_models", "x_style"))


def net(init: str = "n_embd=16", body: str = "self.lin = nn.Linear(n_embd, n_embd)", arguments: str = "x",
        result: str = "self.lin(x)") -> str:  # fmt: skip
    return HEAD + LAYER.format(init=init, body=body) + FORWARD.format(arguments=arguments, result=result)


ERRORS = {
    "two models": (SEVERAL, [], ["2 classes that could be the model", f"analyze {SEVERAL}:TextModel"]),
    "no such class": (f"{NANO}:GTP", [], ["has no GTP()", "GPT"]),
    "not a model": (f"{NANO}:math", [], ["has no math()", "module"]),
    "no module": (HEAD + "x = 3\n", [], ["defines no torch.nn.Module"]),
    "argument without value": (net(init="n_bananas"), [], ["Net needs n_bananas", ":3",
    "--config 'Net(n_bananas=...)'"]),
    "a part is missing": (X, [], ["needs attn_layers", "--config 'TransformerWrapper("]),
    "unknown field of args": (
        net(init="args", body="self.lin = nn.Linear(args.dim, args.bananas)"), [],
        ["Net reads args.bananas", ":6", "SimpleNamespace(dim=768, bananas=...)"],
    ),
    "several configs": (
        HEAD + "class AConfig: pass\nclass BConfig: pass\n" + net(init="config").removeprefix(HEAD), [],
        ["several: AConfig(), BConfig()", "--config 'AConfig()'"],
    ),
    "config that raises": (NANO, ["--config", "GPTConfig(n_layers=3)"], ["n_layers", "--config 'GPTConfig("]),
    "config that is unknown": (NANO, ["--config", "GPTConf()"], ["NameError", "the file has GPTConfig"]),
    "config that is no expression": (NANO, ["--config", "n_layer=12"], ["not a Python expression", "^"]),
    "config of a wrong type": (NANO, ["--config", "3"], ["is int", "neither a config nor a model"]),
    "constructor raises": (NANO, ["--set", "n_head=5"], ["GPT(GPTConfig()) raised AssertionError", "nano_style.py:"]),
    "unknown setting": (NANO, ["--set", "n_heads=3"], ["unknown symbol 'n_heads'", "did you mean"]),
    "sequence too long": (NANO, ["--set", "s=2000"], ["cannot forward 2000, block size is 1024", "nano_style.py:"]),
    "unknown argument": (NANO, ["--input", "ids=int64[b,s]"], ["has no ids", "did you mean idx"]),
    "no dtype": (NANO, ["--input", "idx=int65[b,s]"], ["no dtype int65", "^", "NAME=DTYPE[sizes]"]),
    "no bracket": (NANO, ["--input", "idx=int64[b,s"], ["bracket is not closed", "^"]),
    "no size": (NANO, ["--input", "idx=int64[b,s s]"], ["s s is not a size", "^"]),
    "no name": (NANO, ["--input", "int64[b,s]"], ["no NAME="]),
    "no value": (NANO, ["--input", "idx=what"], ["what is not a value"]),
    "size without value": (NANO, ["--input", "idx=int64[b,apples]"], ["apples in --input has no value",
    "--set apples="]),
    "input of a wrong shape": (
        NANO, ["--input", "idx=int64[b]", "--set", "L=1"], ["forward raised ValueError", "nano_style.py:"],
    ),
    "no input fits": (
        net(result="self.lin(x['image'])"), [], ["found no inputs", "Net.forward(x)", "--input 'x=float[b,s,h]'"],
    ),
    "missing package": ("import no_such_wandb  # <-\n" + net(), [], ["no_such_wandb", "m.py:1",
    "install no_such_wandb"]),
    "missing data": ("text = open('input.txt').read()\n" + net(), [], ["input.txt", "m.py:1", "__main__"]),
    "missing weights": (net() + "torch.load('weights.pt')\n", [], ["weights.pt", "m.py:9", "__main__"]),
    "training": (
        net() + "for step in range(10):\n    Net()(torch.randn(2, 16)).sum().backward()\n", [],
        ["trains as soon as it is executed", "m.py:10", "__main__"],
    ),
    "relative import": ("from .layers import x\n" + net(), [], ["relative import", "package.module:Name"]),
    "arguments that are required": (
        "import argparse\np = argparse.ArgumentParser()\np.add_argument('--data', required=True)\np.parse_args()\n"
        + net(),
        [], ["SystemExit", "m.py:4"],
    ),
}  # fmt: skip


LONG = {"sequence too long"}  # a second, for the others a tenth of one


@pytest.mark.parametrize("what", one_of(ERRORS.keys() - LONG, ERRORS, str))
def test_error(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target, options, says = ERRORS[what]
    if "\n" in target:
        (tmp_path / "m.py").write_text(target)
        target = str(tmp_path / "m.py")
    assert main(["analyze", target, *options]) == 2
    stdout, stderr = capsys.readouterr()
    error = stderr[stderr.index("graphmem: error: ") :]
    assert stdout == ""
    assert "Traceback" not in error
    assert "\n  fix  " in error
    assert all(part in error for part in says), error


def test_names_of_older_files() -> None:
    """PyTorch's own language model, the first BERT's config, and others of their time."""
    names = "ninp nhid ntoken nhead nlayers attn_heads transformer_heads vocab_size_or_config_json_file"
    assert "".join(LETTERS[name] for name in names.split()) == "hfvaLaav"
    assert "n_position" in LENGTHS
    assert GUESSES["n_src_vocab"] == GUESSES["v"]
