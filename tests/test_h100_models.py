"""Whole models against what an H100 kept: 0 bytes off, analysed without a GPU."""

import contextlib

import pytest
import torch
import zoo
from conftest import measured
from torch.nn.attention import SDPBackend, sdpa_kernel

import graphmem

NAMES = ("issue899", "llama", "gpt2", "bert", "nn.Transformer_dec")
ROWS = [row for row in zoo.rows(measured("h100_models.json.gz")) if row["name"] in NAMES]


@pytest.mark.parametrize("row", ROWS, ids=zoo.label)
def test_saved_and_alive_are_what_was_measured(row):
    with torch.device("meta"):
        module = zoo.build(row)
    backend = row.get("backend")
    with sdpa_kernel(getattr(SDPBackend, backend.split(".")[1])) if backend else contextlib.nullcontext():
        report = graphmem.analyze(module, zoo.inputs(row, "meta"), torch_version="2.11", cudnn_version="9.19")
    assert report.saved.bytes == row["saved_act"]
    # What is still alive once only the loss (or the output) is held, closures of checkpointing included.
    assert report.alive.bytes == row["req_loss"]
    assert report.verified.exact


def test_the_sizes_are_the_measured_ones_one_by_one():
    row = next(r for r in ROWS if r["name"] == "llama" and r.get("variant") == "eager_bf16")
    with torch.device("meta"):
        module = zoo.build(row)
    report = graphmem.analyze(module, zoo.inputs(row, "meta"), torch_version="2.11", cudnn_version="9.19")
    predicted = sorted((n.each_bytes for n in report.nodes for _ in range(n.count)), reverse=True)
    assert predicted == row["sizes"]
