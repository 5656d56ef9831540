"""Make docs/accuracy.md, the pages in docs/data and the figures of the result files in tests/truth.

    python tests/measure/accuracy.py

What stands between <!-- made: NAME --> and <!-- end of NAME --> is made here; the rest of a page is written by hand.
tests/docs/test_accuracy_page.py says when the page is stale.
"""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from graphmem.validation.predict import UNSPLIT
from measure.figures import ISSUE, figures, formulas, issue_899
from support import small_models, zoo
from support.architectures import architectures, each, on_gpu, variants
from support.repo import ROOT, measured
from support.validated import (
    PLAIN,
    TRUTH,
    many,
    off,
    others_table,
    packed,
    points_of,
    samples,
    samples_table,
    setting,
    settings_table,
    table,
    words,
    worst,
)

PAGE = ROOT / "docs" / "accuracy.md"
FIGURES = PAGE.parent / "figures"
BLOCK = re.compile(r"(<!-- made: (\w+) -->\n).*?(\n<!-- end of \2 -->)", re.DOTALL)
EXPLAINED = ("big_bird", "pegasus_x", "siglip", "ibert")


# -- what was compared with what ---------------------------------------------------------------------------------------


def compared():
    """A row for each kind of comparison, counted in the result files; that they hold is asserted by the tests named."""
    models, more = measured("h100_models.json.gz"), measured("h200_more.json.gz")
    sdpa, calls = measured("h100_sdpa.json.gz"), measured("h200_attention.json.gz")
    small = measured("h200_measured.json.gz")
    h100, h200 = _machine(models["gpu"], sdpa), _machine(more["device"], calls)
    rows = models["res"]
    block = [row for row in rows if row["name"] == "issue899"]
    others = [row for row in rows if row["name"] != "issue899"]
    names = {row["name"] for row in others}
    timm = sum(name.startswith("timm:") for name in names)
    again = [e for e in more["entries"] if e["name"] in EXPLAINED and "error" not in e]
    fresh = [e for e in more["entries"] if e["name"] not in EXPLAINED and "error" not in e]
    explained = [row for row in others if row["name"] in EXPLAINED]
    entries = [name for name, e in small["entries"].items() if "sizes" in e]
    ran = [entry for entry in calls["calls"].values() if "saved" in entry]
    return [
        (f"{len(block)} runs of the block of flash-attention issue 899 (flash, cuDNN, efficient, math; s to "
         f"{max(r['s'] for r in block)}, h to {max(r['h'] for r in block)})", h100, "saved and alive: 0 bytes off",
         "models/test_h100_models"),
        (f"{len(names) - timm - 1} architectures of transformers {models['transformers'][:4]}, {timm} of timm, "
         f"`nn.TransformerDecoderLayer`: {len(others)} runs in bf16, fp16, fp32, eager, checkpointed both ways, with "
         "LoRA: all rows of the file", h100, "alive: 0 bytes off in every run; saved: every storage identical, but for "
         f"{len(explained)} runs that are explained below", "models/test_h100_models"),
        (f"{len(again)} of these again, and {len({e['name'] for e in fresh})} more architectures of transformers, "
         f"{len(fresh)} runs", h200, "saved and alive: every storage identical", "models/test_measured_more"),
        (f"{len(sdpa['rows']):,} calls of `scaled_dot_product_attention`", h100, "backend and every storage identical",
         "kernels/test_h100_sdpa"),
        ("the same calls with cuDNN, flash, the efficient kernel or math switched off, alone and together: "
         f"{sum(map(len, calls['without'].values())):,} calls", h200,
         "backend (or refusal) and every storage identical", "kernels/test_attention_calls"),
        (f"{len(ran)} more calls: odd lengths, head sizes 1 to 512, masks of every broadcast shape, packed and strided "
         "layouts, cross attention, grouped query, `flex_attention` compiled and not, `varlen_attn`, "
         "`multi_head_attention_forward`", h200, "kernel and every storage identical", "kernels/test_attention_calls"),
        (f"every attention of {len({zoo.key(row) for row in rows})} models of the H100 file (timm's where timm is)",
         "their source, read by people", "found, and classified right", "models/test_zoo_attention"),
        ("flash-attn 2.8.3: 30 uses of its six functions, rotary, padding, norms, cross entropy",
         "its own Python code and fake kernels", "stand-in and real package keep the same storages",
         "stand_ins/test_stand_ins"),
        (f"{_starting(entries, 'small', 'float32')} small models in fp32 and {_starting(entries, 'small', 'bfloat16')} "
         "in bf16 (CUDA refuses some mixtures of dtypes)", h200,
         "every storage identical, `requested_bytes` equal to what is alive", "models/test_measured_small"),
        (f"{_starting(entries, 'sample')} runs of the samples", h200, "the same", "models/test_measured_small"),
        (f"Llama, GPT-2, BERT, SDPA and eager: {_starting(entries, 'zoo', 'under autocast')} runs under bf16 autocast, "
         f"{_starting(entries, 'zoo', 'without autocast')} without", h200, "the same", "models/test_measured_small"),
        _linted(),
        *_validated(),
        (f"the {len(small_models.MODELS)} small models and the samples, fp32 and bf16, `--device cpu`",
         "real autograd on the CPU, torch 2.13 and 2.11", "every storage identical", "models/test_cpu_oracle"),
        ("formulas, at points that were never traced", "a fresh trace there", "0 bytes off", "analysis/test_analyze"),
    ]  # fmt: skip


def _linted():
    content = json.loads((TRUTH / "h200_lint.json").read_text())
    pairs = [name for name in content["entries"] if " FIXED " in name]
    codes = {name.split()[0] for name in pairs}
    return (
        f"`graphmem lint`: {len(pairs)} examples of {len(codes)} rules and 3 mistakes in transformers' Llama, each "
        "with its fix",
        _machine(content["gpu"], content),
        "every storage identical, and as many bytes less as promised",
        "linter/test_measured",
    )


def _validated():
    for contents in (samples(), many()):
        for machine in {words(c["machine"]): c["machine"] for c in contents.values()}.values():
            runs = [run for c in contents.values() if c["machine"] == machine for run in c["runs"]]
            points = points_of(runs)
            asked = [off(p, "requested") for p in points if p["measured"]["requested"] is not None]
            what = "samples" if "target" not in runs[0] else "architectures, files and settings"
            yield (
                f"`graphmem validate`, {what}: {len(points)} points",
                words(machine),
                f"every storage as predicted at {sum(p['exact'] for p in points)}"
                + (f"; requested bytes at most {worst(asked)} off" if asked else ""),
                "docs/test_accuracy_page",
            )


def _machine(device, other):
    return words({"device": device, "torch": other["torch"], "cudnn": other["cudnn"]})


def _starting(names, start, end=""):
    return sum(name.startswith(start) and name.endswith(end) for name in names)


def summary():
    rows = [[what, against, result, f"`{test}`"] for what, against, result, test in compared()]
    return table(["what", "against", "result", "asserted in `tests`"], rows)


# -- two GPUs ----------------------------------------------------------------------------------------------------------


def both_gpus():
    """What was measured on an H100 and on an H200: how often it is the same."""
    pairs = [*_architectures_on_both(), *_small_on_both(), *_block_on_both()]
    same = sum(one == other for _, one, other in pairs)
    differing = [f"- {name}: {one:,} on the H100, {other:,} on the H200" for name, one, other in pairs if one != other]
    lines = [
        f"{len(pairs)} runs were made on both, of the same model at the same size: {same} of them keep the same bytes."
    ]
    return "\n".join([*lines, *([""] if differing else []), *differing])


def _architectures_on_both():
    rows = {
        (row["name"], row["cls"], row["b"], row.get("s")): row["req_loss"]
        for row in measured("h100_models.json.gz")["res"]
        if row.get("mode") and not row.get("variant")
    }
    runs = [run for run in on_gpu() if run["kind"] == "config" and setting(run) == PLAIN]
    for run in runs:
        for p in points_of([run]):
            name, cls = run["target"].split()
            key = name, cls, p["point"]["b"], p["point"].get("s", 128)
            if key in rows:
                yield f"{name} {cls} b={key[2]} s={key[3]}", rows[key], p["measured"]["requested"]


def _small_on_both():
    rows = {zoo.label(row): row for row in measured("h100_models.json.gz")["res"]}
    for name, entry in measured("h200_measured.json.gz")["entries"].items():
        label = name.removeprefix("zoo ").removesuffix(" without autocast")
        if label in rows:
            yield label, rows[label]["req_loss"], entry["alive"]


def _block_on_both():
    """The sample's input is made by an embedding, so it counts there (2sbh), and is the caller's own here."""
    at = {tuple(p["point"][n] for n in "sbha"): p for p in issue_points()}
    for row in measured("h100_models.json.gz")["res"]:
        size = tuple(row.get(n) for n in "sbha")
        if row["name"] == "issue899" and "FLASH" in row["backend"] and size in at:
            s, b, h, _ = size
            yield f"issue 899, s={s} b={b}", row["saved_act"], at[size]["measured"]["saved"] - 2 * s * b * h


# -- validate ----------------------------------------------------------------------------------------------------------


def issue_points():
    """Issue 899's experiment in bf16, where most points of it were measured."""
    runs = [run for run in on_gpu() if run["target"] == "flash_block.py" and not run["options"]]
    return points_of(runs) or points_of(samples()["cuda_flash_block"]["runs"][:1])


def issue_table():
    points = sorted(issue_points(), key=lambda p: (p["point"]["b"], p["point"]["s"]))
    heads = ["s", "b", "measured", *(f"{label}: off" for label in formulas(points[0]))]
    rows = []
    for p in points:
        measured_bytes = p["measured"]["requested"]
        values = [f"{value - measured_bytes:+,}".replace("+0", "0") for value in formulas(p).values()]
        rows.append([f"{p['point']['s']:,}", str(p["point"]["b"]), f"{measured_bytes:,}", *values])
    return table(heads, rows)


def allocated() -> str:
    """What the allocator set aside beyond the sum of rounded sizes, over all points that a GPU ran."""
    runs = [run for c in samples().values() if c["machine"]["device"] != "CPU" for run in c["runs"]]
    points = points_of([*runs, *on_gpu()])
    over = [off(p, "allocated") for p in points]
    rest = [off(p, "allocated") - p["measured"]["unsplit"] for p in points]
    rows = measured("h100_models.json.gz")["res"]
    small = sum(max(row["sizes"]) <= UNSPLIT for row in rows)
    return (
        f"On the H100 ({len(rows)} runs) `allocated` is the sum of rounded sizes in each of the {small} runs whose "
        "storages have at most\n1 MiB, and within these bounds in all runs (`test_h100_models`).\n\n"
        f"At {over.count(0)} of {len(points)} points of `validate` on an H200 it is the sum of rounded sizes. At the "
        f"others it is up to\n{max(over):,} bytes more, of which {worst(rest)} are not in blocks that were handed out "
        "whole."
    )


def histories():
    """Recorded requests, which tests/validation/test_allocator_rule.py goes through."""
    rows = [
        [f"`samples/{run['target']}`", run["options"], f"{sum(kind == 0 for kind, _, _ in run['events']):,}",
         str(sum(kind == 2 for kind, _, _ in run["events"])), str(len(run["marks"]))]
        for run in packed(TRUTH / "h200_allocator.json.gz")["runs"]
    ]  # fmt: skip
    return table(["recorded", "options", "requests", "segments", "readings of the counters"], rows)


def refused():
    """What cannot fit, without and with --force."""
    runs = [run for run in on_gpu() if run["target"] == "gpt2.py"]
    texts = [run.get("error") or "\n".join(p["failed"] for p in run["result"]["points"] if p["failed"]) for run in runs]
    return "\n\n".join(
        f"`graphmem validate samples/gpt2.py {run['options']} --sweep b=1,64`, exit code {run['exit']}:\n\n"
        f"```\n{text}\n```"
        for run, text in zip(runs, texts, strict=True)
    )


BLOCKS = {
    "summary": summary,
    "both_gpus": both_gpus,
    "samples": lambda: samples_table(samples()),
    "architectures": architectures,
    "settings": lambda: f"{variants()}\n\n{each(settings_table)}",
    "others": lambda: each(others_table),
    "issue": issue_table,
    "allocated": allocated,
    "histories": histories,
    "refused": refused,
}


def page(text):
    """The page with its blocks made again."""
    return BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match[2]]()}{match[3]}", text)


def drawings():
    """name -> SVG."""
    return {**figures(samples()), ISSUE: issue_899(issue_points())}


if __name__ == "__main__":
    for file in (PAGE, *(PAGE.parent / "data").glob("*.md")):
        file.write_text(page(file.read_text()))
    for name, drawing in drawings().items():
        (FIGURES / name).write_text(drawing)
