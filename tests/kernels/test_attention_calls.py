"""Attention calls that a GPU ran, analysed without one: the kernel that it chose, the storages that it kept.

tests/truth/h200_attention.json.gz was written by tests/measure/measure_attention.py with torch 2.11 and cuDNN 9.19.
"""

import collections
import contextlib

import pytest
import torch

from graphmem.errors import ModelError
from graphmem.kernels.sdpa import choose
from graphmem.kernels.sdpa.facts import facts_of
from graphmem.trace import trace
from support.attention_calls import CALLS, leaves
from support.repo import measured
from support.sdpa_rows import Call, arguments
from support.slow import one_of

MEASURED = measured("h200_attention.json.gz")
CALLED = MEASURED["calls"]
RAN = [name for name, entry in CALLED.items() if "saved" in entry]
WITHOUT = {
    "cudnn": torch.backends.cuda.enable_cudnn_sdp,
    "flash": torch.backends.cuda.enable_flash_sdp,
    "efficient": torch.backends.cuda.enable_mem_efficient_sdp,
    "math": torch.backends.cuda.enable_math_sdp,
}


def kept(record):
    return collections.Counter((s.nbytes, s.device) for s in record.storages if s.keeps and s.nbytes)


@pytest.mark.parametrize("name", one_of(None, RAN, lambda name: name.split(",")[0]))
def test_kernel_and_storages(name, h100) -> None:
    specs, module = CALLS[name]
    record = trace(module, tuple(leaves(specs, "meta")), h100)
    assert [call.backend for call in record.sdpa] == CALLED[name]["choice"] or not CALLED[name]["choice"]
    assert kept(record) == collections.Counter(tuple(s) for s in CALLED[name]["saved"])


def test_every_call_was_measured() -> None:
    assert set(CALLED) == set(CALLS)


def test_what_the_kernel_refuses_is_an_error(h100) -> None:
    specs, module = CALLS["mask (100, 1), added float32"]
    assert "contiguous" in CALLED["mask (100, 1), added float32"]["error"]
    with pytest.raises(ModelError, match="last dimension"):
        trace(module, tuple(leaves(specs, "meta")), h100)


@contextlib.contextmanager
def switched_off(names):
    for name in names:
        WITHOUT[name](False)
    try:
        yield
    finally:
        for name in names:
            WITHOUT[name](True)


@pytest.mark.slow
@pytest.mark.parametrize("names", MEASURED["without"])
def test_with_backends_switched_off(names, h100) -> None:
    """Every row of h100_sdpa.json.gz once more: cuDNN out of the way, and other sets. The choice in all of them, what
    is kept in every seventh: all of them took a minute, and were identical."""
    answers, wrong = MEASURED["without"][names], []
    unset = tuple(torch._C._get_sdp_priority_order())
    for i, (row, (choice, saved)) in enumerate(zip(measured("h100_sdpa.json.gz")["rows"], answers, strict=True)):
        with switched_off(names.split()):
            if i % 7:
                mask = (arguments(row)[3:] or (None,))[0]
                options = (row["p"], row["causal"], row["gqa"])
                facts = facts_of(*arguments(row)[:3], mask, *options, h100.machine, unset)
                if (choose(facts, h100.machine)[0] or "none") != choice:
                    wrong.append((row, facts, choice))
                continue
            try:
                record = trace(Call(row), arguments(row), h100)
            except ModelError:
                found = ("none", None)
            else:
                found = (record.sdpa[0].backend, kept(record))
        if found != (choice, collections.Counter(map(tuple, saved)) if saved is not None else None):
            wrong.append((row, found, choice, saved))
    assert not wrong, f"{len(wrong)} of {len(answers)}; the first: {wrong[0]}"


@pytest.mark.gpu
def test_the_choice_of_the_gpu_at_hand() -> None:
    """torch._fused_sdp_choice on this very GPU, over the calls above and with cuDNN switched off."""
    from graphmem.how import read_how
    from measure.measure_attention import arguments as real
    from measure.measure_attention import choice_of

    here, wrong = read_how({}), []
    for row in measured("h100_sdpa.json.gz")["rows"][::7]:
        for names in ("", "cudnn", "cudnn flash"):
            with switched_off(names.split()):
                chosen = trace(Call(row), arguments(row), here).sdpa[0].backend
                if chosen != choice_of(row, real(row)):
                    wrong.append((row, names, chosen))
    assert not wrong
