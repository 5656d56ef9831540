"""How long an analysis takes, formula included, and how much memory the process needs. No test: it prints.

python tests/benchmark.py
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
# config.json of two layers, the rest as transformers has it: one trace, without a formula, in processor time.
TRACED = {
    "llama": {"architectures": ["LlamaForCausalLM"], "num_hidden_layers": 2},
    "gpt2": {"architectures": ["GPT2LMHeadModel"], "n_layer": 2},
    "bert": {"architectures": ["BertForMaskedLM"], "num_hidden_layers": 2},
}
ROOT = Path(__file__).resolve().parents[1]


def run(case):
    import time

    sys.path.insert(0, str(ROOT))
    from graphmem.analysis import analyze_subject
    from graphmem.load import Wishes, isolated, load_target
    from graphmem.target import resolve

    settings = CASES[case]
    sample = ROOT / "samples" / ("gpt2.py" if settings is None else "llama.py")
    target = resolve(gpu="h100", device="cuda")
    start = time.perf_counter()
    with isolated():
        report = analyze_subject(load_target(str(sample), Wishes(settings)), target)
    seconds = time.perf_counter() - start
    assert report.verified.exact
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{case:<46} {seconds:5.2f} s   {memory:4.0f} MiB")


def trace_twice(model_type):
    import json
    import tempfile
    import time

    sys.path.insert(0, str(ROOT))
    from graphmem.analysis import Tracer
    from graphmem.load import isolated
    from graphmem.load.huggingface import from_config_file
    from graphmem.target import resolve

    target, seconds = resolve(gpu="h100", device="cuda"), []
    with tempfile.TemporaryDirectory() as folder, isolated():
        file = Path(folder) / "config.json"
        file.write_text(json.dumps({"model_type": model_type, "dtype": "bfloat16", **TRACED[model_type]}))
        subject = from_config_file(str(file), settings={}, task=None, trust_remote_code=False)
        for _ in range(2):
            start = time.process_time()
            Tracer(subject, target, None, None)(dict(subject.symbols))
            seconds.append(time.process_time() - start)
    print(f"{model_type}, 2 layers, one trace: {seconds[0]:.2f} s the first time, {seconds[1]:.2f} s then")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        (trace_twice if sys.argv[1] in TRACED else run)(sys.argv[1])
    else:
        for case in (*CASES, *TRACED):
            subprocess.run([sys.executable, __file__, case], check=True)
