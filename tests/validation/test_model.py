"""What can be validated besides files with model() and inputs(): config.json, any other file, a module with tensors."""

import contextlib
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from graphmem.cli import main
from graphmem.load import load_target
from graphmem.usercode.isolate import isolated
from graphmem.validation.run import validate

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50, "dtype": "bfloat16",
}  # fmt: skip
CHECKPOINTED = "--set gradient_checkpointing=true"
OPTIONS = (
    "", "--dtype fp16", "--dtype fp32", "--dtype fp32 --autocast bf16", "--set attn_implementation=eager",
    CHECKPOINTED, f"--dtype fp32 --autocast bf16 {CHECKPOINTED}", "--task sequence-classification", "--steps 1",
)  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
def test_config_json(options, here, capsys) -> None:
    pytest.importorskip("transformers")
    Path("config.json").write_text(json.dumps(LLAMA))
    words = ["validate", "config.json", "--device", "cpu", "--sweep", "s=8,12", "b=1,2", *options.split()]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "as predicted at 4 of 4 points" in out
    assert "note: built LlamaFor" in out
    assert "not in a config.json" not in out  # b and s are swept


@pytest.mark.slow
def test_a_size_that_was_taken_is_said(here, capsys) -> None:
    pytest.importorskip("transformers")
    Path("config.json").write_text(json.dumps(LLAMA))
    assert main(["validate", "config.json", "--device", "cpu", "--set", "s=8", "--steps", "1"]) == 0
    assert "note: b = 8 is not in a config.json" in capsys.readouterr().out


INSTANCE = """
import torch
from torch import nn

device = "cuda" if torch.cuda.is_available() else "cpu"

class Net(nn.Module):
    def __init__(self, n_embd=16):
        super().__init__()
        self.up = nn.Linear(n_embd, 4 * n_embd)
    def forward(self, x):
        return self.up(x).relu() * torch.ones(1, device=device)

net = Net(){after}
"""


AFTER = ["\nnet.up.bias.data.zero_()\nnets = [net]", ""]


@pytest.mark.slow
@pytest.mark.parametrize("after", AFTER, ids=["changed", "made"])
def test_an_instance_of_the_file_is_copied(after, here) -> None:
    """A run moves the model and leaves gradients: not in what the file has made."""
    Path("mine.py").write_text(INSTANCE.format(after=after))
    with isolated(standing_in=False):
        subject = load_target("mine.py:net")
        first, second = (subject.build_real(subject.symbols) for _ in range(2))
    assert not {p.data_ptr() for p in first.parameters()} & {p.data_ptr() for p in second.parameters()}
    assert all(p.device.type == "cpu" for p in first.parameters())
    assert main(["validate", "mine.py:net", "--device", "cpu", "--sweep", "b=1,2"]) == 0


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = nn.Embedding(10, 16), nn.Linear(16, 10)

    def forward(self, ids, weight):
        return (self.out(self.table(ids)).logsumexp(-1) * weight).sum()


@pytest.mark.slow
def test_values_of_tensors_are_repeated_where_a_sweep_needs_more() -> None:
    """Ids have to stay ids: the third row is the first again."""
    inputs = {"ids": torch.tensor([[9, 1, 2], [3, 4, 9]]), "weight": torch.rand(2, 3, requires_grad=True)}
    found = validate(Net(), inputs, device="cpu", sweep={"b": [1, 2, 5], "s": [2, 3, 8]})
    assert found.exact
    assert len({p.measured.saved_bytes for p in found.points}) == 9
    assert inputs["weight"].grad is None


@pytest.mark.parametrize("around", [None, "cpu", "meta"])
def test_a_default_device_that_the_model_sets(around, here, capsys) -> None:
    """It is put back where it is set while the model is built, on a device, also within a block of the caller's."""
    Path("model.py").write_text(
        "import torch\nfrom torch import nn\ndef model(h=4):\n    torch.set_default_device('cpu')\n"
        "    return nn.Linear(h, h)\ndef inputs(b=2, h=4):\n    return torch.randn(b, h)\n"
    )
    modes = torch._C._len_torch_function_stack()
    with torch.device(around) if around else contextlib.nullcontext():
        assert main(["validate", "model.py", "--device", "cpu", "--steps", "1"]) == 0
        assert torch.empty(1).device.type == (around or "cpu")
    assert (torch._C._len_torch_function_stack(), torch.get_default_device().type) == (modes, "cpu")
    assert "as predicted" in capsys.readouterr().out
