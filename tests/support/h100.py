"""The whole models that an H100 ran, and how they are set up again."""

import contextlib

from torch.nn.attention import SDPBackend, sdpa_kernel

from graphmem.how.assumptions import Assumptions
from support import zoo
from support.repo import measured

ROWS = zoo.rows(measured("h100_models.json.gz"))
# Rows whose saved_act holds storages that requested_bytes did not rise by, or the reverse (docs/accuracy.md says why).
EXPLAINED = ("big_bird", "pegasus_x", "siglip", "ibert")
# One model of each kind: a decoder, an encoder, both, experts, states in place of attention, images, ...
FAMILIES = (
    "issue899", "nn.Transformer_dec", "llama", "bert", "bart", "mixtral", "lfm2", 
    "deberta-v2", "longformer", "big_bird", "ibert", "switch_transformers", "convnext", "swin", "vit_msn",
)  # fmt: skip
# ibert asks whether its running range is still the initial one: after the warm-up before the measurement it is not.
ASSUMED = {"ibert": Assumptions(values={("quant_modules.py", 178): 0})}


def backend_of(row):
    backend = row.get("backend")
    return sdpa_kernel(getattr(SDPBackend, backend.split(".")[1])) if backend else contextlib.nullcontext()
