"""A Hugging Face config.json: analysed like the model built by hand, or refused with one message."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import graphmem
from graphmem.accounts.saved import SAVED, sort_storages
from graphmem.cli import main
from graphmem.errors import ModelError
from graphmem.how import read_how
from graphmem.load.hf.file import read
from graphmem.load.hf.subject import from_config_file
from graphmem.trace import trace
from graphmem.usercode.isolate import isolated
from support.repo import ROOT
from support.slow import first_of, one_of

transformers = pytest.importorskip("transformers")

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 256, "num_attention_heads": 8,
    "num_key_value_heads": 2, "intermediate_size": 512, "num_hidden_layers": 3, "vocab_size": 1000,
    "max_position_embeddings": 256, "torch_dtype": "bfloat16", "rope_theta": 10000.0,
}  # fmt: skip
# Per model: the file, which settings besides b and s, and the symbols that the formula must have.
MODELS = {
    "llama": (LLAMA, {}, "h a k f v L b s"),
    "gpt2": (
        {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 64, "n_head": 4, "n_layer": 3,
         "n_positions": 256, "vocab_size": 500, "dtype": "bfloat16"},
        {}, "h a v L b s",
    ),
    "bert": (
        {"model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": 64, "num_attention_heads": 4,
         "num_hidden_layers": 3, "intermediate_size": 128, "vocab_size": 500, "max_position_embeddings": 512},
        {}, "h a f v L b s",
    ),
    "t5": (
        {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], "d_model": 64, "num_heads": 4,
         "d_kv": 16, "d_ff": 128, "num_layers": 2, "vocab_size": 500, "decoder_start_token_id": 0,
         "is_encoder_decoder": True},
        {"s_decoder": 48}, "h a h_a f v L_encoder L_decoder b s s_decoder",
    ),
    "vit": (
        {"model_type": "vit", "architectures": ["ViTForImageClassification"], "hidden_size": 64,
         "num_attention_heads": 4, "num_hidden_layers": 2, "intermediate_size": 128, "image_size": 64,
         "patch_size": 16, "dtype": "bfloat16"},
        {}, "h a f L b n_p",
    ),
    "whisper": (
        {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"], "d_model": 64,
         "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_layers": 2, "decoder_layers": 2,
         "encoder_ffn_dim": 128, "decoder_ffn_dim": 128, "vocab_size": 500, "max_source_positions": 100,
         "max_target_positions": 64, "pad_token_id": 0, "decoder_start_token_id": 1, "dtype": "bfloat16"},
        {"s_decoder": 48}, "h v b s_decoder f_encoder f_decoder",
    ),
    "qwen3_moe": (
        {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"], "hidden_size": 128,
         "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 256,
         "moe_intermediate_size": 64, "num_experts": 8, "num_experts_per_tok": 2, "num_hidden_layers": 2,
         "vocab_size": 500, "dtype": "bfloat16"},
        {}, "h a k h_a f_e e v L b s num_experts_per_tok",
    ),
    "mixtral": (
        {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "hidden_size": 128,
         "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 256, "num_local_experts": 4,
         "num_hidden_layers": 2, "vocab_size": 500, "dtype": "bfloat16"},
        {}, "h a k f e v L b s num_experts_per_tok",
    ),
    "deepseek_v3": (
        {"model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 128,
         "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 256, "moe_intermediate_size": 64,
         "n_routed_experts": 8, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "kv_lora_rank": 32,
         "q_lora_rank": 48, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32,
         "first_k_dense_replace": 2, "num_hidden_layers": 5, "vocab_size": 500, "dtype": "bfloat16"},
        {}, "h a f f_e e v L_dense L_moe b s kv_lora_rank",
    ),
    "gemma3_text": (
        {"model_type": "gemma3_text", "architectures": ["Gemma3ForCausalLM"], "hidden_size": 128,
         "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "intermediate_size": 256,
         "num_hidden_layers": 8, "vocab_size": 500, "sliding_window": 32, "dtype": "bfloat16"},
        {}, "h a k h_a f v L_sliding L_full b s",
    ),
    "gemma": (  # every head has its own keys: k = a
        {"model_type": "gemma", "architectures": ["GemmaForCausalLM"], "hidden_size": 128, "num_attention_heads": 4,
         "num_key_value_heads": 4, "head_dim": 32, "intermediate_size": 256, "num_hidden_layers": 3, "vocab_size": 500,
         "dtype": "bfloat16"},
        {}, "h a h_a f v L b s",
    ),
    "gemma2": (
        {"model_type": "gemma2", "architectures": ["Gemma2ForCausalLM"], "hidden_size": 288, "num_attention_heads": 8,
         "num_key_value_heads": 4, "head_dim": 32, "intermediate_size": 256, "num_hidden_layers": 6, "vocab_size": 500,
         "sliding_window": 32, "dtype": "bfloat16"},
        {}, "h a h_a f v L_sliding L_full b s",
    ),
    "bart": (
        {"model_type": "bart", "architectures": ["BartForConditionalGeneration"], "d_model": 64, "encoder_layers": 3,
         "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 128,
         "decoder_ffn_dim": 96, "vocab_size": 500, "max_position_embeddings": 256, "pad_token_id": 1,
         "dtype": "bfloat16"},
        {"s_decoder": 48}, "h v L_encoder L_decoder f_encoder f_decoder b s s_decoder",
    ),
    "olmo_hybrid": (  # a loop over chunks of 64 positions
        {"model_type": "olmo_hybrid", "architectures": ["OlmoHybridForCausalLM"], "hidden_size": 128,
         "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 256, "num_hidden_layers": 8,
         "vocab_size": 500, "pad_token_id": 0, "dtype": "bfloat16"},
        {}, "h f v L_linear L_full b s",
    ),
    "modernbert": (
        {"model_type": "modernbert", "architectures": ["ModernBertForMaskedLM"], "hidden_size": 64,
         "num_attention_heads": 4, "intermediate_size": 96, "num_hidden_layers": 7, "vocab_size": 500,
         "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2,
         "dtype": "bfloat16"},
        {}, "h a f v L_full L_sliding b s",
    ),
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def to_file(content):
        file = tmp_path / "config.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
        return str(file)

    return to_file


def report_of(path, task=None, **settings):
    return graphmem.analyze(path, symbols=settings, task=task)


def saved_by_hand(content, b, s, s_decoder=None):
    """What is saved by the same model, built as anyone would, traced once as it is."""
    config = transformers.AutoConfig.for_model(**content)
    dtype = config.dtype or torch.float32
    target = s_decoder or s
    with torch.device("meta"):
        module = getattr(transformers, content["architectures"][0])._from_config(config).train()
        if content["model_type"] == "vit":
            inputs = {"pixel_values": torch.zeros(b, 3, 64, 64, dtype=dtype), "labels": torch.zeros(b).long()}
        elif content["model_type"] == "whisper":
            inputs = {"input_features": torch.zeros(b, 80, 200, dtype=dtype), "labels": torch.zeros(b, target).long()}
        else:
            inputs = {"input_ids": torch.zeros(b, s).long(), "labels": torch.zeros(b, target).long()}
    return saved_in(module, inputs)


def saved_by(subject):
    with isolated():
        return saved_in(subject.build(subject.symbols), subject.make_inputs(subject.symbols, False))


def saved_in(module, inputs):
    traced = trace(module, inputs, read_how({"gpu": "h100"}))
    return sum(kept.nbytes for kept in sort_storages(traced) if kept.table == SAVED)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_config_is_its_model(name, write) -> None:
    content, settings, wanted = MODELS[name]
    sizes = {"b": 2, "s": 64, **settings}
    report = report_of(write(content), **{k: v for k, v in sizes.items() if k in wanted.split()})
    assert report.saved.bytes == saved_by_hand(content, **sizes)
    assert set(wanted.split()) <= {symbol.name for symbol in report.saved.expr.free_symbols}
    assert report.verified.exact


def test_a_language_model_by_its_task_gets_labels_whatever_its_class_is_called(write) -> None:
    content = {
        "model_type": "marian", "architectures": ["MarianMTModel"], "d_model": 64, "encoder_layers": 2,
        "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 128,
        "decoder_ffn_dim": 128, "vocab_size": 500, "pad_token_id": 0, "decoder_start_token_id": 0,
        "dtype": "bfloat16", "is_encoder_decoder": True,
    }  # fmt: skip
    subject = from_config_file(write(content), settings={"s": "64"}, task=None, trust_remote_code=False)
    assert set(subject.make_inputs(subject.symbols, False)) == {"input_ids", "labels"}


@pytest.mark.slow
def test_the_command_line(write, capsys) -> None:
    assert main(["analyze", write(LLAMA), "--set", "b=2", "--set", "hidden_size=512", "--set", "L=4"]) == 0
    out = capsys.readouterr().out
    assert "b=2 s=256 h=512 a=8 k=2 f=512 v=1000 L=4" in out
    assert "note: built LlamaForCausalLM (architectures: LlamaForCausalLM)" in out
    assert "note: s = 256 is not in a config.json" in out


@pytest.mark.parametrize("field", ["h_a", "head_dim"])
def test_a_derived_field_can_be_set_and_is_a_symbol_then(field, write) -> None:
    settings = {field: "64", "b": "2", "s": "64"}
    subject = from_config_file(write(LLAMA), settings=settings, task=None, trust_remote_code=False)
    assert subject.symbols["h_a"] == 64
    assert "h_a" not in from_config_file(write(LLAMA), settings={}, task=None, trust_remote_code=False).symbols


@pytest.mark.slow
def test_what_is_derived_follows_what_is_set(write) -> None:
    """As the formula has it: a Mamba's inner size is twice h, and so is one that its file spells out."""
    content = {
        "model_type": "mamba", "architectures": ["MambaForCausalLM"], "hidden_size": 64, "num_hidden_layers": 2,
        "state_size": 4, "vocab_size": 100, "expand": 2, "intermediate_size": 128, "dtype": "bfloat16",
    }  # fmt: skip
    report, wider = (report_of(write(content), b=2, s=32, h=h) for h in (64, 96))
    assert report.at(h=96).saved.bytes == wider.saved.bytes


def test_what_a_saved_config_spells_out_is_derived_all_the_same(write, tmp_path) -> None:
    """save_pretrained writes head_dim and layer_types; both follow h, a and L."""
    config = transformers.AutoConfig.for_model(**{k: v for k, v in LLAMA.items() if k != "num_key_value_heads"})
    config.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["head_dim"] == 32
    subject = from_config_file(str(tmp_path / "config.json"), settings={}, task="causal-lm", trust_remote_code=False)
    assert set(subject.symbols) == {"b", "s", "h", "a", "f", "v", "L"}


def test_settings_that_are_no_size(write) -> None:
    def saved(**settings):
        return saved_by(from_config_file(write(LLAMA), settings=settings, task=None, trust_remote_code=False))

    flash = saved(b=2, s=64)
    assert saved(b=2, s=64, attn_implementation="eager") > flash
    assert saved(b=2, s=64, gradient_checkpointing="true") < flash / 2


def test_a_task_in_place_of_the_architecture(write) -> None:
    content = {k: v for k, v in LLAMA.items() if k != "architectures"}
    subject = from_config_file(write(content), settings={}, task="sequence-classification", trust_remote_code=False)
    assert "built LlamaForSequenceClassification (--task sequence-classification)" in subject.remarks
    assert list(subject.make_inputs(subject.symbols, False)["labels"].shape) == [subject.symbols["b"]]


@pytest.mark.parametrize(
    "name", one_of(["gpt_neo"], ["gpt_neo", "gemma3n_text", "gemma4_text", "llama4_text", "deit"], str)
)
def test_fewer_layers_of_a_config_that_lists_them(name, write) -> None:
    """What has one entry per layer follows the number of layers, also where it is a default of the class."""
    file = read(write({"model_type": name}), False)
    fields, free = file.symbols()
    depths = [n for n in free if n.startswith("L")]
    assert depths
    few = file.changed({fields[n]: 2 for n in depths}).config()
    assert few.num_hidden_layers == 2 * len(depths)


def test_layers_by_kind_without_a_default_pattern(write) -> None:
    kinds = ["full_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    content = {**MODELS["gemma3_text"][0], "num_hidden_layers": 5, "layer_types": kinds}
    file = read(write(content), False)
    fields, free = file.symbols()
    assert (free["L_full"], free["L_sliding"], "L" in free) == (2, 3, False)
    fewer = file.changed({fields["L_full"]: 1}).config()
    assert (fewer.num_hidden_layers, fewer.layer_types) == (4, [*kinds[:3], kinds[4]])
    more = file.changed({fields["L_sliding"]: 4, fields["L_full"]: 2}).config()
    assert sorted(more.layer_types) == sorted([*kinds, "sliding_attention"])
    assert file.changed({fields["L"]: 2}).config().layer_types == kinds[:2]


def test_multimodal_rope_follows_the_head(write) -> None:
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}
    text = {"model_type": "qwen2_vl_text", "hidden_size": 256, "num_attention_heads": 4, "rope_parameters": rope}
    file = read(write({"model_type": "qwen2_vl", "text_config": text}), False)
    fields, _ = file.symbols()
    changed = file.changed({fields["h"]: 512}).config().text_config
    assert changed.rope_parameters["mrope_section"] == [16, 24, 24]


@pytest.mark.slow
def test_a_model_given_to_the_api_claims_no_sizes_of_its_config() -> None:
    config = transformers.AutoConfig.for_model(**LLAMA)
    with torch.device("meta"):
        module = transformers.LlamaForCausalLM._from_config(config).train()
        ids = torch.zeros(2, 64, dtype=torch.long)
    report = graphmem.analyze(module, {"input_ids": ids, "labels": ids})
    assert {symbol.name for symbol in report.saved.expr.free_symbols} <= {"b", "s"}
    assert report.verified.exact


# --- refused ------------------------------------------------------------------------------------------------------

REFUSED = [
    ("broken", '{"model_type": "llama",\n "hidden_size": }', [], "config.json:2    \"hidden_size\": }"),
    ("list", "[1, 2]", [], "holds no JSON object"),
    ("no type", {"hidden_size": 8}, [], "has no model_type"),
    ("a report", {"graphmem": "0.1.0", "format": 1}, [], "it is a report: graphmem diff"),
    ("unknown type", {"model_type": "lama"}, [], "did you mean llama?"),
    ("own code", {"model_type": "mine", "auto_map": {"AutoConfig": "conf.Mine"}}, [], "--trust-remote-code"),
    ("own code elsewhere", {"model_type": "mine", "auto_map": {"AutoConfig": "a/b--conf.Mine"}},
     ["--trust-remote-code"], "downloads nothing"),
    ("no task", {"model_type": "bert"}, [], "masked-lm"),
    ("unknown architecture", {"model_type": "bert", "architectures": ["MyBert"]}, [], "knows no MyBert"),
    ("unknown task", LLAMA, ["--task", "causal"], "unknown task 'causal'"),
    ("task of others", LLAMA, ["--task", "image-classification"], "it has: causal-lm"),
    ("unknown setting", LLAMA, ["--set", "hiden_size=8"], "did you mean hidden_size?"),
    ("option of others", LLAMA, ["--config", "Config()"], "is for Python files"),
    ("no number", LLAMA, ["--set", "s=long"], "takes a whole number"),
    ("heads do not divide", {**LLAMA, "num_attention_heads": 7}, [], "not a multiple of the number of attention heads"),
    ("wrong type", {**LLAMA, "hidden_size": "big"}, [], "hidden_size"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "options", "says"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_refused(content, options, says, write, capsys) -> None:
    assert main(["analyze", write(content), *options]) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith("graphmem: error: ")
    assert stderr.count("graphmem: ") == 1
    assert "Traceback" not in stderr
    assert re.search(r"^  fix  \S", stderr, re.M)
    assert says in stderr


def test_no_such_file(capsys) -> None:
    assert main(["analyze", "/nowhere/config.json"]) == 2
    assert "/nowhere/config.json does not exist" in capsys.readouterr().err


def test_without_transformers(write, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.setitem(sys.modules, "transformers.utils", None)
    assert main(["analyze", write(LLAMA)]) == 2
    (needed,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["hf"]
    assert f"pip install '{needed}'" in capsys.readouterr().err


def test_code_beside_the_config(write, tmp_path, monkeypatch) -> None:
    """With --trust-remote-code the files beside the config are run; sizes are found in a config of one's own too."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "cache"))
    Path(tmp_path / "conf.py").write_text(
        "from transformers import PreTrainedConfig\n"
        "class Mine(PreTrainedConfig):\n"
        "    model_type = 'mine'\n"
        "    def __init__(self, hidden_size=64, num_hidden_layers=2, vocab_size=100, **kwargs):\n"
        "        self.hidden_size, self.num_hidden_layers = hidden_size, num_hidden_layers\n"
        "        self.vocab_size = vocab_size\n"
        "        super().__init__(**kwargs)\n"
    )
    Path(tmp_path / "net.py").write_text(
        "import torch\n"
        "from transformers import PreTrainedModel\n"
        "from .conf import Mine\n"
        "class MineForCausalLM(PreTrainedModel):\n"
        "    config_class = Mine\n"
        "    def __init__(self, config):\n"
        "        super().__init__(config)\n"
        "        h = config.hidden_size\n"
        "        self.embed = torch.nn.Embedding(config.vocab_size, h)\n"
        "        self.layers = torch.nn.ModuleList(torch.nn.Linear(h, h) for _ in range(config.num_hidden_layers))\n"
        "        self.post_init()\n"
        "    def forward(self, input_ids):\n"
        "        x = self.embed(input_ids)\n"
        "        for layer in self.layers:\n"
        "            x = layer(x).relu()\n"
        "        return x\n"
    )
    content = {
        "model_type": "mine", "architectures": ["MineForCausalLM"], "hidden_size": 32, "num_hidden_layers": 3,
        "auto_map": {"AutoConfig": "conf.Mine", "AutoModelForCausalLM": "net.MineForCausalLM"},
    }  # fmt: skip
    report = graphmem.analyze(write(content), symbols={"b": 2, "s": 16}, trust_remote_code=True)
    assert report.verified.exact
    assert {"h", "L", "b", "s"} <= {symbol.name for symbol in report.saved.expr.free_symbols}


@pytest.mark.parametrize("size", ["b", "s"])
def test_sizes_of_the_inputs_are_said_to_be_guessed(size, write) -> None:
    subject = from_config_file(write(LLAMA), settings={size: 4}, task=None, trust_remote_code=False)
    (other,) = {"b", "s"} - {size}
    assert "is not in a config.json" in subject.notes[other]
    assert size not in subject.notes


NESTED = {
    "architectures": ["LlavaForConditionalGeneration"],
    "model_type": "llava",
    "text_config": {"model_type": "blip_text_model", "auto_map": {"AutoModel": "code.Mod"}},
}


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("reference", first_of(["{folder}--code.Mod", "code.Mod", "owner/name--code.Mod"]))
def test_code_of_a_config_inside_the_config_is_never_run(reference, trusted, tmp_path, monkeypatch, capsys) -> None:
    """transformers asks on stdin, and would take the "y" of `yes |`."""
    (tmp_path / "code.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Mod: pass\n")
    content = json.loads(json.dumps(NESTED).replace("code.Mod", reference.format(folder=tmp_path)))
    (tmp_path / "config.json").write_text(json.dumps(content))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    options = ["--trust-remote-code"] if trusted else []
    assert main(["analyze", str(tmp_path / "config.json"), *options]) == 2
    err = capsys.readouterr().err
    assert "needs code of its own" in err
    assert "[y/N]" not in err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [{}, {"n_layer": 5_000_000_000}])
def test_more_layers_than_are_built(tmp_path, content) -> None:
    """Refused before lists with an entry for each are made, or modules."""
    file = tmp_path / "config.json"
    small = {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 32, "n_layer": 2, "n_head": 2}
    file.write_text(json.dumps(small | content))
    with pytest.raises(ModelError, match=r"n_layer = \d+ is more layers than graphmem builds"):
        from_config_file(str(file), settings={} if content else {"L": 10**9}, task=None, trust_remote_code=False)


@pytest.mark.parametrize("content", [{"num_labels": 2**63}, {"vision_config": {"num_labels": 2**63}}])
def test_more_labels_than_are_built(tmp_path, content) -> None:
    """Refused before transformers gives every label a name, also in a config inside the config."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], **content}))
    with pytest.raises(ModelError, match=r"num_labels = 9223372036854775808 is more labels than graphmem builds"):
        from_config_file(str(file), settings={}, task=None, trust_remote_code=False)


def test_names_of_labels_are_read_once(tmp_path, monkeypatch) -> None:
    """Transformers checks each of them whenever it makes a config, and a model is built at forty points."""
    file = tmp_path / "config.json"
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    names = {str(i): f"label {i}" for i in range(7)}
    content = {"model_type": "bert", "architectures": ["BertForSequenceClassification"], "id2label": names, **small}
    file.write_text(json.dumps(content))
    subject = from_config_file(str(file), settings={}, task=None, trust_remote_code=False)
    made: list[dict[str, object]] = []
    real = graphmem.load.hf.config.made_of
    monkeypatch.setattr(
        "graphmem.load.hf.config.made_of", lambda cls, content: (made.append(content), real(cls, content))[1]
    )
    module = subject.build({**subject.symbols, "h": 64})
    assert module.config.id2label == {i: f"label {i}" for i in range(7)}
    assert module.config.num_labels == 7 == module.classifier.out_features
    assert made
    assert not any("id2label" in content for content in made)


@pytest.mark.parametrize("size", [5, 10**9])
def test_ids_are_no_padding(size, tmp_path) -> None:
    """Of a small vocabulary, too, and a large one is not listed to find one."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "dpr", "architectures": ["DPRQuestionEncoder"], "vocab_size": size}))
    subject = from_config_file(str(file), settings={}, task=None, trust_remote_code=False)
    given = subject.make_inputs(dict(subject.symbols), real=True)
    assert isinstance(given, dict)
    assert (given["input_ids"] != 0).all()
