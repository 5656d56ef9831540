"""The rules on a model of transformers, where the literature reports the mistakes."""

import pytest
from conftest import ROOT

from graphmem.analysis import analyze_subject
from graphmem.lint.engine import check
from graphmem.load import Wishes, isolated, load_target

SIZES = {"L": 2, "a": 8, "k": 8, "h": 256, "f": 512, "v": 8000, "s": 256}


def analysed(h100, **settings):
    pytest.importorskip("transformers")
    with isolated():
        subject = load_target(str(ROOT / "samples" / "hf_llama.py"), Wishes({**SIZES, **settings}))
        return analyze_subject(subject, h100)


def test_llama_written_out(h100):
    """What GM101 promises is what the same model keeps less with attn_implementation="sdpa", to the byte."""
    eager, sdpa = analysed(h100, attn="eager"), analysed(h100, attn="sdpa")
    found = {f.rule.code: f for f in check(eager)}
    assert set(found) == {"GM101", "GM201", "GM203"}
    assert found["GM101"].saving == eager.saved.bytes - sdpa.saved.bytes
    assert found["GM101"].fix.startswith("scaled_dot_product_attention with is_causal=True")
    assert {f.rule.code for f in check(sdpa)} == {"GM201", "GM203"}
    named = {f.rule.code for f in check(eager, select=["float32-softmax"])}
    assert named == {"GM106"}
