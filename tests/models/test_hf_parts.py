"""Parts of composite models, and models with other inputs than text or one image, against what the CPU really keeps.

Their classes are found by the config that they take, their inputs by the names of forward's arguments.
"""

from __future__ import annotations

import json
from collections import Counter

import pytest

from graphmem.accounts.saved import SAVED, sort_storages
from graphmem.analysis.tracer import Tracer
from graphmem.how import read_how
from graphmem.load.hf.subject import from_config_file
from graphmem.usercode.isolate import isolated
from support.oracle import real_saved
from support.slow import one_of

pytest.importorskip("transformers")

SIZES = {"b": 2, "s": 32, "s_decoder": 16, "frames": 48, "side": 4, "patches": 16, "queries": 8, "regions": 4}
TEXT = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 99}
IMAGE = {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
TOWER = {"depth": 2, "hidden_size": 64, "num_heads": 4, "intermediate_size": 128}
MODELS = {
    "align_text_model": TEXT,
    "blip_2_vision_model": {**IMAGE, "image_size": 56},
    "blip_text_model": {**TEXT, "encoder_hidden_size": 64},
    "blt_global_transformer": {**IMAGE, "num_key_value_heads": 2},
    "bridgetower_text_model": TEXT,
    "canary_decoder": {**TEXT, "num_key_value_heads": 2},
    "chinese_clip_text_model": TEXT,
    "clip_text_model": TEXT,
    "clipseg_vision_model": {**IMAGE, "image_size": 64},
    "clvp_decoder": {"num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4, "vocab_size": 99},
    "cohere_compass_vision": TOWER,
    "cosmos3_edge_vision": IMAGE,
    "csm_depth_decoder_model": {**TEXT, "num_key_value_heads": 2, "head_dim": 16, "backbone_hidden_size": 64},
    "decision_transformer": {"n_layer": 2, "hidden_size": 64},
    "ernie4_5_vl_moe_vision": TOWER,
    "exaone4_5_vision": {**TOWER, "num_key_value_heads": 2},
    "flava_multimodal_model": IMAGE,
    "flava_text_model": TEXT,
    "gemma4_vision": {**IMAGE, "num_key_value_heads": 2, "head_dim": 16, "position_embedding_size": 64},
    "glm_image_vision": TOWER,
    "granite_speech_encoder": {"num_layers": 2, "hidden_dim": 64, "num_heads": 4, "dim_head": 16},
    "hunyuan_vl_vision": {**IMAGE, "max_image_size": 256},
    "idefics2_vision": {**IMAGE, "image_size": 64},
    "kosmos_2_5_vision_model": {**IMAGE, "head_dim": 16},
    "lxmert": {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 99,
               "l_layers": 1, "x_layers": 1, "r_layers": 1},
    "metaclip_2_text_model": TEXT,
    "minimax_m3_vl_vision": IMAGE,
    "moonshine": {"encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 2, "hidden_size": 64,
                  "intermediate_size": 128, "vocab_size": 99},
    "qwen2_5_vl_vision": {**TOWER, "out_hidden_size": 64},
}  # fmt: skip
TASKS = {"lxmert": "question-answering", "moonshine": "speech-seq2seq"}


FEW = ("clip_text_model", "decision_transformer")


@pytest.mark.parametrize("model_type", one_of(FEW, MODELS, str))
def test_saved_as_for_real(model_type, tmp_path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": model_type, **MODELS[model_type]}))

    def subject_at(settings):
        task = TASKS.get(model_type, "base")
        return from_config_file(str(file), settings=settings, task=task, trust_remote_code=False)

    with isolated():
        sizes = subject_at({}).symbols
        subject = subject_at({name: min(size, sizes[name]) for name, size in SIZES.items() if name in sizes})
        point = dict(subject.symbols)
        trace = Tracer(subject, read_how({"gpu": "h100", "device": "cpu"}))(point)
    real = real_saved(subject.build_real(point), subject.make_inputs(point, True))
    assert Counter(kept.nbytes for kept in sort_storages(trace) if kept.table == SAVED and kept.nbytes) == real
    assert real
