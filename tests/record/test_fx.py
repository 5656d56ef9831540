"""report.graph is a torch.fx.Graph with the metadata that other tools expect."""

import pytest
import torch
from torch.fx import Graph

import graphmem
from support.reports import of_sample


@pytest.mark.slow
def test_metadata() -> None:
    report = of_sample("gpt2.py", L=3, s=64, h=64, a=4, b=2, v=100)
    graph = report.graph
    assert isinstance(graph, Graph)
    assert graph is report.graph
    softmaxes = [n for n in graph.nodes if n.target == torch.ops.aten._softmax.default]
    assert len(softmaxes) == 3
    node = softmaxes[2]
    assert node.meta["val"].shape == (2, 4, 64, 64)
    assert node.meta["val"].device.type == "cuda"
    assert [*node.meta["nn_module_stack"]] == ["", "blocks.2", "blocks.2.attn"]
    assert "gpt2.py" in node.meta["stack_trace"]
    assert "softmax(-1)" in node.meta["stack_trace"]
    assert "SoftmaxBackward0" in node.meta["kept_by"]


@pytest.mark.slow
def test_views_share_a_storage_and_keepers_add_up() -> None:
    report = of_sample("llama.py", L=2, s=64, h=64, a=4, k=2, f=96, b=2, v=100)
    storages = {}
    for node in report.graph.nodes:
        facts = node.meta.get("storage", ())
        for storage in facts if isinstance(facts, tuple) else (facts,):
            storages.setdefault(storage, []).append(node)
    views = [n for n in report.graph.nodes if n.target == torch.ops.aten.view.default]
    assert views
    for view in views:
        assert view.meta["storage"] == view.args[0].meta["storage"]


def test_the_graph_of_a_module() -> None:
    report = graphmem.analyze(torch.nn.Linear(8, 4), (torch.randn(3, 8),))
    targets = [n.target for n in report.graph.nodes if n.op == "call_function"]
    assert torch.ops.aten.addmm.default in targets
