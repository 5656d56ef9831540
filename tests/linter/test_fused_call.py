"""The call that could stand in an attention's place: one for the report's advice and for what the linter measures."""

import pytest
import torch

import graphmem
from graphmem.attention import find_attention
from graphmem.attention.call import fused_call
from graphmem.linter.engine import Checker
from graphmem.linter.example import S, attending
from graphmem.linter.rule import all_rules

MASK = "scaled_dot_product_attention, with the mask as attn_mask (sdpa.cudnn)"
CAUSAL = "scaled_dot_product_attention with is_causal=True: the mask is only causal"
GPU = {"torch_version": "2.11", "cudnn_version": "9.19"}


def analysed(attend):
    example = attending(attend)
    return graphmem.analyze(example.build(), example.inputs(), **GPU, **example.options)


def causal_mask(q, batches):
    s = q.shape[-2]
    return torch.ones(s, s, dtype=torch.bool, device=q.device).tril().expand(batches, 1, s, s)


def test_a_mask_for_each_batch_is_left_out_only_if_it_is_known_to_be_causal() -> None:
    report = analysed(lambda q, k, v: (q @ k.mT).masked_fill(~causal_mask(q, len(q)), -1e9).softmax(-1) @ v)
    derived, machine = report.analysis.derived, report.analysis.machine
    site = find_attention(derived.trace)[0]
    here = fused_call(site, derived.trace, machine, causal=True)
    everywhere = fused_call(site, derived.trace, machine, derived)
    assert (here.causal, here.masks, here.facts.mask) == (site.operands.masks[0], (), "none")
    assert (everywhere.causal, everywhere.masks, everywhere.facts.mask) == (None, site.operands.masks, "bool")
    assert (here.q, here.k, here.v) == (everywhere.q, everywhere.k, everywhere.v)
    assert here.facts.q == everywhere.facts.q


WINDOWS = [(8, MASK), (S + 6, MASK), (10**6, CAUSAL)]


@pytest.mark.slow
@pytest.mark.parametrize(("window", "how"), WINDOWS)
def test_a_window_is_no_causal_mask_however_short_the_input(window, how) -> None:
    """Longer than this input it looks causal here, and is a window at longer ones: the saving holds at both."""

    def windowed(q, k, v):
        mask = causal_mask(q, len(q))
        return (q @ k.mT).masked_fill(~(mask & ~mask.tril(-window)), -1e9).softmax(-1) @ v

    report = analysed(windowed)
    (finding,) = (f for f in Checker(report, all_rules()).findings() if f.rule.code == "GM101")
    assert finding.fix == how
    assert finding.measured
    longer = Checker(report, all_rules()).findings([{"s": 4 * S}])
    (there,) = (f for f in longer if f.rule.code == "GM101")
    assert there.measured
    assert there.saving > finding.saving > 0


@pytest.mark.slow
def test_what_only_flex_attention_does_is_not_said_to_be_causal() -> None:
    report = analysed(
        lambda q, k, v: ((q @ k.mT / 30).tanh() * 30).masked_fill(~causal_mask(q, 1), -1e9).softmax(-1) @ v
    )
    (finding,) = (f for f in Checker(report, all_rules()).findings() if f.rule.code == "GM101")
    assert finding.fix == "torch.compile(flex_attention), with a score_mod for tanh (flex)"
