"""Run `graphmem validate` over architectures, files and settings, several processes on one machine, until time is up.

    python tests/measure/validate_models.py h200_validated.json.gz --seconds 210          on the GPU at hand
    python tests/measure/validate_models.py cpu.json.gz --device cpu --workers 1          at small sizes
    python tests/measure/validate_models.py some.json.gz --only llama,gpt2                only what has this in its name

Needs transformers; what uses timm and peft runs where they are installed. The file is written again after each run.
What fails is written down with its reason; what was not begun in time is listed. Copied to
tests/truth/h200_validated.json.gz (or cpu_validated.json.gz), `python tests/measure/accuracy.py` makes tables of
docs/accuracy.md of it.
"""

import argparse
import gzip
import json
import multiprocessing
import os
import queue
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from measure.validate_sweeps import ROOT, anywhere, machine, run, said  # noqa: E402
from support import zoo  # noqa: E402

LIMIT = 60  # seconds for one run
CAUSAL = [
    "llama", "gpt2", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text", "phi", "phi3", "gptj",
    "gpt_neox", "opt", "bloom", "mpt", "mixtral", "olmo", "olmo2", "olmoe", "qwen2_moe", "qwen3_moe", "qwen3_next",
    "gpt_oss", "glm4", "cohere", "cohere2", "granite", "starcoder2", "stablelm", "persimmon", "nemotron", "smollm3",
    "apertus", "arcee", "deepseek_v2", "deepseek_v3", "deepseek_v4", "diffllama", "ernie4_5", "exaone4", "helium",
    "lfm2", "llama4_text", "mamba", "minimax", "nanochat", "seed_oss", "vaultgemma", "xglm",
    "whisper", "trocr", "codegen", "ctrl", "biogpt", "bitnet",
]  # fmt: skip
MASKED = [
    "bert", "roberta", "xlm-roberta", "electra", "albert", "distilbert", "mpnet", "deberta-v2", "modernbert", "esm",
    "eurobert", "longformer", "nomic_bert", "roformer", "rembert", "mobilebert", "nystromformer", "tapas",
]  # fmt: skip
SEQ2SEQ = [
    "t5", "mt5", "bart", "mbart", "m2m_100", "marian", "pegasus", "longt5", "led", "switch_transformers",
    "nllb-moe", "blenderbot",
]  # fmt: skip
IMAGES = [
    "vit", "swin", "beit", "dinov2", "clip", "siglip", "convnext", "hiera", "pvt_v2", "mobilevit", "focalnet",
    "poolformer", "swiftformer", "resnet",
]  # fmt: skip
TASKS = {
    "AutoModelForCausalLM": CAUSAL,
    "AutoModelForMaskedLM": MASKED,
    "AutoModelForSeq2SeqLM": SEQ2SEQ,
    "AutoModelForImageClassification": IMAGES,
}
# What the small sizes leave wrong, and positions for s=512 where there are fewer, or padding takes the first of them.
ROOM = "--set max_position_embeddings=1026"
REST = {
    **dict.fromkeys(("roberta", "xlm-roberta", "mpnet", "longformer", "nystromformer", "blenderbot"), ROOM),
    "whisper": "--set max_target_positions=512",
    "ctrl": "--set n_positions=512",
    "deepseek_v2": "--set head_dim=16 --set num_key_value_heads=8",
    "deepseek_v3": "--set head_dim=16 --set num_key_value_heads=8",
    "qwen3_next": """--set 'layer_types=["linear_attention","full_attention"]'""",
}
WHOLE = ("swin", "hiera", "pvt_v2")  # few layers and a small width do not fit the rest of their default config
FP16, FP32, CAST = "--dtype fp16", "--dtype fp32", "--dtype fp32 --autocast bf16"
EAGER, CHECKPOINTED = "--set attn_implementation=eager", "--set gradient_checkpointing=true"
VARIED = ("llama", "gpt2", "qwen3", "gemma2", "mistral", "bert", "modernbert", "t5", "vit", "mixtral")
VARIANTS = (FP16, FP32, CAST, EAGER, f"{CAST} {EAGER}", CHECKPOINTED, f"{CAST} {CHECKPOINTED}")
FILES = {
    "nano_style.py": "--set L=4 --set h=256 --set a=8",
    "llama_style.py": "--set L=4 --set h=256 --set a=8",
    "bert_style.py": "--set L=4 --set h=256 --set a=8",
    "t5_style.py": "--set L=2",
    "moe_style.py": "--set L=2",
    "mamba_style.py": "--set L=2 --set h=256",
    "vit_style.py": "--set image_size=64 --set patch_size=8 --set dim=128 --set depth=3 --set heads=4",
    "dit_style.py": "--set depth=4 --set hidden_size=384 --set num_heads=6",
    "annotated_style.py": "--set N=2 --set d_model=64 --set d_ff=128 --set src_vocab=100 --set tgt_vocab=90 --set t=30",
    "seq2seq_style.py": "--set emb_size=64 --set nhead=4 --set dim_feedforward=128 --set t=30",
}
TIMM = ("deit3_small_patch16_224", "beit_base_patch16_224", "coatnet_0_rw_224", "eva02_tiny_patch14_224")
ON_GPU, ON_CPU = "s=128,512 b=2,8", "s=32,64 b=1,3"


@dataclass(frozen=True)
class Case:
    """One call of validate. kind: where the model comes from: config, file, sample, or row (of the tests' zoo)."""

    kind: str
    name: str
    options: str = ""
    cls: str = ""
    sweep: str = ""

    @property
    def label(self):
        return f"{self.name} {self.cls} {self.options}".strip()


def cases(device):
    """All of them; what matters most comes first."""
    found = [
        Case("config", name, REST.get(name, ""), cls, _sweep(cls, device))
        for cls, names in TASKS.items()
        for name in names
    ]
    varied = [replace(c, options=options) for c in found if c.name in VARIED for options in VARIANTS]
    sweep = ON_GPU if device == "cuda" else ON_CPU
    varied += [
        Case("row", c.name, variant, c.cls, sweep)
        for c in found
        for variant in ("ckpt_reentrant", *(("lora",) if find_spec("peft") else ()))
        if c.name in (zoo.LORA_TARGETS if variant == "lora" else VARIED) and "Image" not in c.cls
    ]
    varied += [Case("row", f"timm:{name}") for name in TIMM if find_spec("timm")]
    files = [Case("file", name, options, sweep=_sweep(name, device)) for name, options in FILES.items()]
    issue = [Case("sample", "flash_block.py", o, sweep="s=1024,2048,4096,8192,16384 b=1,2,4,8") for o in ("", FP16)]
    return [*found[:40], *varied, *(issue if device == "cuda" else []), *files, *found[40:]]


def _sweep(name, device):
    if "Image" in name or name.startswith(("vit", "dit")):
        return "b=2,8" if device == "cuda" else "b=1,3"
    return ON_GPU if device == "cuda" else ON_CPU


# What cannot fit: refused, and with --force run into the end of memory; alone, at the end.
TOO_LARGE = "--set b=64 --set s=16384 --set L=2"
ALONE = [Case("sample", "gpt2.py", o, sweep="b=1,64") for o in (TOO_LARGE, f"{TOO_LARGE} --force")]


def outcome(case, device):
    """The entry of a case, whatever happens in it."""
    start = time.time()
    before = torch.cuda.memory_allocated() if device == "cuda" else 0
    signal.alarm(LIMIT)
    try:
        entry = _ran(case, device)
    except Exception as error:  # no run may end the others
        entry = {"error": f"{type(error).__name__}: {error}"}
    finally:
        signal.alarm(0)
    if device == "cuda":
        entry["left_on_gpu"] = torch.cuda.memory_allocated() - before
    described = {"kind": case.kind, "target": f"{case.name} {case.cls}".strip(), "options": case.options}
    return {**described, **entry, "seconds": round(time.time() - start, 1)}


def _ran(case, device):
    if case.kind == "config":
        return _from_config(case, device)
    if case.kind == "row":
        return _from_row(case, device)
    folder = ROOT / ("samples" if case.kind == "sample" else "tests/support/plain")
    return run(folder / case.name, case.options, case.sweep, device)


def _from_config(case, device):
    """As a user would: a config.json, and the command line."""
    config = zoo.config({"name": case.name, "mode": "bare" if case.name in WHOLE else "small"})
    auto = getattr(__import__("transformers"), case.cls)._model_mapping[type(config)]
    config.architectures = [(auto if isinstance(auto, type) else auto[0]).__name__]
    config.dtype = "bfloat16"
    for name in ("layerdrop", "encoder_layerdrop", "decoder_layerdrop"):  # chance decides which layers run
        if hasattr(config, name):
            setattr(config, name, 0.0)
    options = case.options + (" --set s_decoder=128" if case.cls == "AutoModelForSeq2SeqLM" else "")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        file.write_text(config.to_json_string())
        entry = run(file, options, case.sweep, device)
    return json.loads(json.dumps(entry).replace(f"{folder}/", ""))


def _from_row(case, device):
    """As a library: what no config.json says, such as reentrant checkpointing, LoRA, a model of timm."""
    from graphmem.validation.json import as_dict
    from graphmem.validation.run import validate
    from graphmem.validation.sweep import read_sweep

    row = {"name": case.name, "variant": case.options, "mode": "small", **({"cls": case.cls} if case.cls else {})}

    def model():
        return zoo.build(row)

    def inputs(b=2, s=128):
        return zoo.inputs({**row, "b": b, "s": s}, "cpu")

    found = validate(model, inputs, device=device, sweep=read_sweep(case.sweep.split()))
    return {"exit": 0 if found.exact else 1, "result": json.loads(anywhere(json.dumps(as_dict(found))))}


# -- processes ---------------------------------------------------------------------------------------------------------


def _late(_signal, _frame):
    raise TimeoutError(f"more than {LIMIT} s")


def work(device, jobs, results):
    """In a process of its own: one case after the other. A process whose GPU context is broken ends."""
    signal.signal(signal.SIGALRM, _late)
    torch.set_num_threads(1)
    while (case := jobs.get()) is not None:
        results.put((os.getpid(), case, None))
        entry = outcome(case, device)
        results.put((os.getpid(), case, entry))
        if "CUDA error" in entry.get("error", ""):
            sys.exit(1)


class Pool:
    """Processes that work on cases until all are done or time is up."""

    def __init__(self, device, workers, file) -> None:
        self.device, self.workers, self.file = device, workers, file
        self.context = multiprocessing.get_context("spawn")
        self.content = {"machine": machine(device), "runs": [], "not_run": []}

    def run(self, todo, deadline):
        jobs, results = self.context.Queue(), self.context.Queue()
        for case in [*todo, *[None] * self.workers]:
            jobs.put(case)
        processes = [self._start(jobs, results) for _ in range(min(self.workers, len(todo)))]
        under_way, done = {}, set()
        while len(done) < len(todo) and time.time() < deadline:
            try:
                pid, case, entry = results.get(timeout=0.2)
            except queue.Empty:
                self._replace_dead(processes, under_way, done, jobs, results)
                continue
            under_way[pid] = case
            if entry is not None:
                done.add(under_way.pop(pid))
                self._write(entry)
        for process in processes:
            process.kill()
            process.join()
        self.content["not_run"] += [case.label for case in todo if case not in done]

    def _start(self, jobs, results):
        process = self.context.Process(target=work, args=(self.device, jobs, results), daemon=True)
        process.start()
        return process

    def _replace_dead(self, processes, under_way, done, jobs, results):
        for i, process in enumerate(processes):
            if process.is_alive() or (process.exitcode == 0 and process.pid not in under_way):
                continue
            case = under_way.pop(process.pid, None)
            if case is not None:
                done.add(case)
                described = {"kind": case.kind, "target": f"{case.name} {case.cls}".strip(), "options": case.options}
                self._write({**described, "error": f"the process died with exit code {process.exitcode}"})
            processes[i] = self._start(jobs, results)

    def _write(self, entry):
        self.content["runs"].append(entry)
        text = said(entry) if "result" in entry or "error" in entry else ""
        left = f", {entry['left_on_gpu']} bytes left on the GPU" if entry.get("left_on_gpu") else ""
        label = f"{entry['target']} {entry['options']}".strip()
        print(f"{entry.get('seconds', 0):6.1f} s  {label}: {text}{left}", flush=True)
        self.save()

    def save(self):
        partial = self.file.with_name(f"{self.file.name}.partial")
        with gzip.open(partial, "wt") as out:
            json.dump(self.content, out)
        partial.replace(self.file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=int, default=210)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    deadline = time.time() + asked.seconds
    asked.file.parent.mkdir(parents=True, exist_ok=True)
    wanted = [c for c in cases(asked.device) if any(word in c.label for word in asked.only.split(","))]
    pool = Pool(asked.device, asked.workers, asked.file)
    pool.run(wanted, deadline - 20)
    if asked.device == "cuda" and not asked.only:
        pool.workers = 1
        pool.run(ALONE, deadline)
    pool.save()
    print(f"{len(pool.content['runs'])} runs, not run: {', '.join(pool.content['not_run']) or 'none'}")


if __name__ == "__main__":
    main()
