"""The call that could stand in an attention's place: one for the report's advice and for what the linter measures."""

import torch

import graphmem
from graphmem.attention import find_attention
from graphmem.attention.call import fused_call
from graphmem.linter.engine import Checker
from graphmem.linter.example import attending
from graphmem.linter.rule import all_rules

GPU = {"torch_version": "2.11", "cudnn_version": "9.19"}


def analysed(attend):
    example = attending(attend)
    return graphmem.analyze(example.build(), example.inputs(), **GPU, **example.options)


def causal_mask(q, batches):
    s = q.shape[-2]
    return torch.ones(s, s, dtype=torch.bool, device=q.device).tril().expand(batches, 1, s, s)


def test_a_masks_values_count_only_where_one_length_is_asked_about():
    """One mask for each batch: at this length it is known to be causal, at others it might be a window."""
    report = analysed(lambda q, k, v: (q @ k.mT).masked_fill(~causal_mask(q, len(q)), -1e9).softmax(-1) @ v)
    derived, machine = report.analysis.derived, report.analysis.machine
    site = find_attention(derived.trace)[0]
    here = fused_call(site, derived.trace, machine)
    everywhere = fused_call(site, derived.trace, machine, derived)
    assert (here.causal, here.masks, here.facts.mask) == (site.operands.masks[0], (), "none")
    assert (everywhere.causal, everywhere.masks, everywhere.facts.mask) == (None, site.operands.masks, "bool")
    assert (here.q, here.k, here.v) == (everywhere.q, everywhere.k, everywhere.v)
    assert here.facts.q == everywhere.facts.q


def test_what_only_flex_attention_does_is_not_said_to_be_causal():
    report = analysed(
        lambda q, k, v: ((q @ k.mT / 30).tanh() * 30).masked_fill(~causal_mask(q, 1), -1e9).softmax(-1) @ v
    )
    (finding,) = (f for f in Checker(report, all_rules()).findings() if f.rule.code == "GM101")
    assert finding.fix == "torch.compile(flex_attention), with a score_mod for tanh (flex)"
