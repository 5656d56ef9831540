"""Whole models against what an H100 kept: 0 bytes off, analysed without a GPU."""

import collections
import dataclasses

import pytest
import torch

import graphmem
from graphmem.accounts.saved import ALIVE, SAVED, sort_storages
from graphmem.trace import trace
from graphmem.units import allocated
from graphmem.validation.predict import UNSPLIT
from support import zoo
from support.h100 import ASSUMED, EXPLAINED, FAMILIES, ROWS, backend_of
from support.reports import MEASURED
from support.slow import one_of


@pytest.mark.parametrize("row", one_of(FAMILIES[::4], ROWS), ids=zoo.label)
def test_storages_are_the_measured_ones(row, h100) -> None:
    with torch.device("meta"):
        module = zoo.build(row)
    with backend_of(row):
        record = trace(
            module,
            zoo.inputs(row, "meta"),
            dataclasses.replace(h100, assumptions=ASSUMED.get(row["name"], h100.assumptions)),
            reload=lambda: zoo.inputs(row, "cpu"),
        )
    storages = sort_storages(record)
    # What is still alive once only the loss (or the output) is held, closures of checkpointing included.
    alive = [k.nbytes for k in storages if k.table in ALIVE]
    assert sum(alive) == row["req_loss"]
    # Rounded up to 512 each; a block of more than 1 MiB may have up to that much to spare (docs/validate.md).
    whole = sum(nbytes > UNSPLIT for nbytes in alive)
    assert 0 <= row["alloc_loss"] - sum(map(allocated, alive)) <= whole * UNSPLIT
    saved = collections.Counter(k.nbytes for k in storages if k.table == SAVED)
    assert sum(saved.elements()) == row["saved_act"] or row["name"] in EXPLAINED
    assert saved == collections.Counter(row["sizes"]) or row["name"] in EXPLAINED


NAMED = [row for row in ROWS if row["name"] in ("issue899", "llama", "gpt2", "bert", "nn.Transformer_dec")]


@pytest.mark.parametrize("row", one_of(["issue899"], NAMED), ids=zoo.label)
def test_reports_are_exact_and_proved(row) -> None:
    with torch.device("meta"):
        module = zoo.build(row)
    with backend_of(row):
        report = graphmem.analyze(module, zoo.inputs(row, "meta"), **MEASURED)
    assert report.saved.bytes == row["saved_act"]
    assert report.alive.bytes == row["req_loss"]
    assert report.verified.exact


@pytest.mark.slow
def test_the_sizes_are_the_measured_ones_one_by_one() -> None:
    row = next(r for r in ROWS if r["name"] == "llama" and r.get("variant") == "eager_bf16")
    with torch.device("meta"):
        module = zoo.build(row)
    report = graphmem.analyze(module, zoo.inputs(row, "meta"), **MEASURED)
    predicted = sorted((n.each_bytes for n in report.nodes for _ in range(n.count)), reverse=True)
    assert predicted == row["sizes"]
