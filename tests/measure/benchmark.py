"""How long an analysis takes, formula included, and how much memory the process needs. No test: it prints.

python tests/measure/benchmark.py
"""

import resource
import subprocess
import sys
from pathlib import Path

CASES = {
    "Llama-3-8B's shape: 32 layers, s=8192": {},
    "126 layers, s=8192": {"L": 126},
    "Llama-3.1-405B's shape: 126 layers, s=131072": {"L": 126, "s": 131072, "h": 16384, "a": 128, "f": 53248},
    "GPT-2's, eager attention": None,
}
# config.json of two layers, the rest as transformers has it.
CONFIGS = {
    "gpt2": ("GPT2LMHeadModel", {"n_layer": 2}),
    "llama": ("LlamaForCausalLM", {"num_hidden_layers": 2, "num_key_value_heads": 8}),
    "qwen3": ("Qwen3ForCausalLM", {"num_hidden_layers": 2, "num_key_value_heads": 8}),
    "gemma": ("GemmaForCausalLM", {"num_hidden_layers": 2}),
    "gemma2": ("Gemma2ForCausalLM", {"num_hidden_layers": 2}),
    "bert": ("BertForMaskedLM", {"num_hidden_layers": 2}),
    "t5": ("T5ForConditionalGeneration", {"num_layers": 2, "num_decoder_layers": 2}),
    "mixtral": ("MixtralForCausalLM", {"num_hidden_layers": 2}),
    "deepseek_v3": ("DeepseekV3ForCausalLM", {"num_hidden_layers": 2}),
    "vit": ("ViTForImageClassification", {"num_hidden_layers": 2}),
    "modernbert": ("ModernBertForMaskedLM", {"num_hidden_layers": 2}),
}
ROOT = Path(__file__).resolve().parents[2]


def run(case) -> None:
    import time

    sys.path.insert(0, str(ROOT))
    from graphmem.analysis.analyze import analyze_subject
    from graphmem.how import read_how
    from graphmem.load import Wishes, load_target
    from graphmem.usercode.isolate import isolated

    settings = CASES[case]
    sample = ROOT / "samples" / ("gpt2.py" if settings is None else "llama.py")
    how = read_how({"gpu": "h100"})
    start = time.perf_counter()
    with isolated():
        report = analyze_subject(load_target(str(sample), Wishes(settings=settings)), how)
    seconds = time.perf_counter() - start
    assert report.verified.exact
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{case:<46} {seconds:5.2f} s   {memory:4.0f} MiB")


def config_file(model_type) -> None:
    import json
    import tempfile
    import time

    sys.path.insert(0, str(ROOT))
    import transformers

    from graphmem.analysis.analyze import analyze_subject
    from graphmem.analysis.tracer import Tracer
    from graphmem.how import read_how
    from graphmem.load.hf.subject import from_config_file
    from graphmem.usercode.isolate import isolated

    architecture, fields = CONFIGS[model_type]
    getattr(transformers, architecture)  # imported with it
    how = read_how({"gpu": "h100"})
    with tempfile.TemporaryDirectory() as folder, isolated():
        file = Path(folder) / "config.json"
        file.write_text(json.dumps({"model_type": model_type, "architectures": [architecture], **fields}))
        subject = from_config_file(str(file), settings={}, task=None, trust_remote_code=False)
        start = time.perf_counter()
        report = analyze_subject(subject, how)
        formula = time.perf_counter() - start
        start = time.process_time()
        Tracer(subject, how)(dict(subject.symbols))
        once = time.process_time() - start
    assert report.verified.exact
    print(f"{model_type}, 2 layers: {formula:5.2f} s with its formula, {once:.2f} s of processor time for one trace")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        (config_file if sys.argv[1] in CONFIGS else run)(sys.argv[1])
    else:
        for case in (*CASES, *CONFIGS):
            subprocess.run([sys.executable, __file__, case], check=True)
