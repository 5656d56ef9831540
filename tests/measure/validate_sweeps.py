"""Run `graphmem validate` over the samples, in several dtypes, over s and over b, and write what came out.

    python tests/measure/validate_sweeps.py OUT_DIR                   on the GPU at hand, at sizes worth a GPU
    python tests/measure/validate_sweeps.py OUT_DIR --device cpu      at sizes for a CPU
    python tests/measure/validate_sweeps.py OUT_DIR --only kernels    only what has this in its name

One file for each target: OUT_DIR/cuda_gpt2.json, ... What cannot run here (a package that is not installed) is written
down with its reason. Copied into tests/truth/validated, `python tests/measure/accuracy.py` makes tables and figures of
docs/accuracy.md of them.
"""

import argparse
import contextlib
import io
import json
import shlex
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import torch  # noqa: E402

from graphmem.cli import main as graphmem  # noqa: E402

BF16, FP16, FP32, CAST = "", "--dtype fp16", "--dtype fp32", "--dtype fp32 --autocast bf16"
ANY = (BF16, FP16, FP32, CAST)  # the samples are in bf16 by themselves
HALF = (BF16, FP16)
SDPA = ("--set attn=sdpa", "--dtype fp16 --set attn=sdpa", "--dtype fp32 --autocast bf16 --set attn=sdpa")
# target -> (options of each run, what is swept)
TARGETS = {
    "gpt2.py": ((*ANY, *SDPA), "s=256,512,1024 b=1,4"),
    "llama.py": (tuple(f"{dtype} --set L=8" for dtype in ANY), "s=512,1024,2048 b=1,2"),
    "megatron_layer.py": (ANY, "s=256,512,1024 b=1,4"),
    "flash_block.py": (HALF, "s=1024,2048,4096,8192 b=1,2,4"),
    "hf_llama.py": (("--set L=4", "--set L=4 --set attn=eager", f"{CAST} --set L=4"), "s=512,1024 b=1,2"),
    **{
        f"kernels.py:{kernel}": (dtypes, "s=512,2048 b=1,2")
        for kernel, dtypes in {
            "sdpa": ANY, "sdpa_flash": HALF, "sdpa_efficient": ANY, "sdpa_grouped": HALF, "sdpa_bool_mask": ANY,
            "math": ANY, "math_dropout": ANY, "math_reduced": HALF, "eager": ANY, "eager_dropout": ANY,
            "eager_fp32": HALF, "flash_attn": HALF, "flash_attn_varlen": HALF, "flash_attn_3": HALF,
            "xformers": HALF, "flex": (BF16,), "flex_eager": (BF16,), "varlen": HALF,
        }.items()
    },
}  # fmt: skip
SMALL = "--set h=64 --set a=4 --set v=100"
ON_CPU = {
    "gpt2.py": (
        (f"{SMALL} --set L=2", f"{SMALL} --set L=2 --set attn=sdpa", f"{FP32} {SMALL} --set L=2"),
        "s=16,32,64 b=1,4",
    ),
    "llama.py": ((f"{SMALL} --set k=2 --set f=128 --set L=2",), "s=16,32,64 b=1,4"),
    "megatron_layer.py": ((SMALL, f"{FP32} {SMALL}", f"{CAST} {SMALL}"), "s=16,32,64 b=1,4"),
    "flash_block.py": ((SMALL, f"{FP32} {SMALL}"), "s=16,32,64 b=1,4"),
    "hf_llama.py": ((f"{SMALL} --set k=2 --set f=128 --set L=2",), "s=16,64 b=1,4"),
    **{
        f"kernels.py:{kernel}": ((SMALL, f"{FP32} {SMALL}"), "s=16,64 b=1,4")
        for kernel in ("sdpa", "sdpa_grouped", "sdpa_bool_mask", "math", "math_dropout", "eager", "eager_fp32")
    },
}


def run(target, options, sweep, device):
    """`graphmem validate` as an entry: its exit code with its result as a dict, or with what it says is wrong."""
    said = io.StringIO()
    sweeping = ["--sweep", *sweep.split()] if sweep else []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        words = ["validate", str(target), "--device", device, "--format", "json", "-o", str(file)]
        with contextlib.redirect_stderr(said):
            code = graphmem([*words, *shlex.split(options), *sweeping])
        text = file.read_text() if file.exists() else None
    entry = {"options": options, "exit": code}
    if text is None:
        return {**entry, "error": anywhere(_error(said.getvalue()))}
    return {**entry, "result": json.loads(anywhere(text))}


def anywhere(text):
    """Without the folders of this machine."""
    for folder in (ROOT, sysconfig.get_path("purelib")):
        text = text.replace(f"{folder}/", "")
    return text


def _error(text):
    """What comes behind graphmem's own prefix; libraries may have said something before it."""
    return text.partition("graphmem: error: ")[2].strip() or text.strip()


def said(entry):
    """A line about a run."""
    if "error" in entry:
        return "not run: " + entry["error"].splitlines()[0]
    result = entry["result"]
    exact = sum(p["exact"] for p in result["points"])
    return f"{exact} of {len(result['points'])} points exact" + ("" if result["exact"] else "   <--")


def machine(device):
    return {
        "device": torch.cuda.get_device_name(0) if device == "cuda" else "CPU",
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version() if device == "cuda" else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    for target, (options, sweep) in (TARGETS if asked.device == "cuda" else ON_CPU).items():
        if asked.only not in target:
            continue
        file = asked.folder / f"{asked.device}_{target.replace('.py', '').replace(':', '_')}.json"
        content = {"target": f"samples/{target}", "machine": machine(asked.device), "runs": []}
        for option in options:
            start = time.time()
            content["runs"].append(run(ROOT / "samples" / target, option, sweep, asked.device))
            print(f"{time.time() - start:6.1f} s  {target} {option}: {said(content['runs'][-1])}", flush=True)
            file.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
