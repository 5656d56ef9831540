"""Every model type of transformers through graphmem: `python tests/measure/coverage.py` writes docs/coverage.md.

Each type's default config with fewer layers is written as a config.json and analysed. The outcome has to be a report
or a GraphmemError; anything else is a crash. Nothing is downloaded. It takes about half an hour with two processes.
"""

from __future__ import annotations

import argparse
import json
import queue
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PAGE = ROOT / "docs" / "coverage.md"
ROWS = ROOT / "docs" / "data" / "coverage.md"
LIMIT = 45  # seconds of processor time for a model type
Result = dict[str, Any]
SIZES = {"b": 2, "s": 128, "s_decoder": 128, "frames": 128, "side": 8, "patches": 128}
# Per model type the first of these tasks that it has; of the second row for types that have none of the first.
MAIN = (
    "causal-lm", "masked-lm", "seq2seq-lm", "speech-seq2seq", "image-text-to-text", "multimodal-lm", "ctc",
    "image-classification", "audio-classification", "video-classification", "object-detection",
    "semantic-segmentation", "universal-segmentation", "depth-estimation", "zero-shot-image-classification",
    "time-series-prediction", "mask-generation", "keypoint-detection", "text-to-waveform",
)  # fmt: skip
SECOND = ("sequence-classification", "token-classification", "question-answering", "multiple-choice", "base")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="model types; default: all, and the page is written")
    parser.add_argument("--results", type=Path, help="a file for the raw results: of the types named they are replaced")
    parser.add_argument("-j", type=int, default=2, help="processes")
    parser.add_argument("--bytes", action="store_true", help="no formulas, which take most of the time")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        if options.bytes:
            from graphmem.symbolic import probes

            probes.EXPLORED = 0
        _work(formulas=not options.bytes)
        return
    from transformers import CONFIG_MAPPING

    started = time.time()
    names = options.names or sorted(CONFIG_MAPPING)
    known = json.loads(options.results.read_text()) if options.results and options.results.exists() else []
    results = [r for r in known if r["type"] not in names]

    def done(_name: str, new: list[Result]) -> None:
        results.extend(new)
        if options.results:
            options.results.write_text(json.dumps(_sorted(results), indent=0))

    _all(names, options.j, done, ["--bytes"] if options.bytes else [])
    results = _sorted(results)
    if options.results or not options.names:
        PAGE.write_text(_page(results))
        ROWS.write_text(_table(results))
    else:
        print(json.dumps(results, indent=1))
    counts = Counter(r["outcome"] for r in results)
    print(f"{dict(counts)}, {time.time() - started:.0f} s", file=sys.stderr)
    for result in results:
        if result["outcome"] == "crash":
            print(result["type"], result["class"], result.get("traceback", result["text"]), file=sys.stderr)
    sys.exit(1 if counts["crash"] else 0)


# --- the processes ------------------------------------------------------------------------------------------------


def _all(names: list[str], processes: int, done: Callable[[str, list[Result]], None], flags: list[str]) -> None:
    """Give `done` each model type's results as they come."""
    jobs: queue.Queue[str] = queue.Queue()
    for name in names:
        jobs.put(name)
    threads = [threading.Thread(target=_feed, args=(jobs, done, flags)) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _sorted(results: list[Result]) -> list[Result]:
    return sorted(results, key=lambda r: (str(r["type"]), str(r["class"])))


def _feed(jobs: queue.Queue[str], done: Callable[[str, list[Result]], None], flags: list[str]) -> None:
    """Give one process a model type after the other; a new process where one dies or takes too long."""
    worker = None
    while True:
        try:
            name = jobs.get_nowait()
        except queue.Empty:
            break
        if worker is None:
            command = [sys.executable, __file__, "--worker", *flags]
            worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        results, alive = _ask(worker, name)
        worker = worker if alive else None
        done(name, results)
        for result in results:
            print(result["type"], result["class"], result["outcome"], result["text"], file=sys.stderr)
    if worker is not None:
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()


def _ask(worker: subprocess.Popen[str], name: str) -> tuple[list[Result], bool]:
    """What a worker says of a model type, and whether it still lives."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(name + "\n")
    worker.stdin.flush()
    current: Result = {"type": name, "class": ""}
    results: list[Result] = []
    while line := worker.stdout.readline():
        message = json.loads(line)
        if message.get("done"):
            return results, True
        if "outcome" in message:
            results.append(message)
        else:
            current |= message
    slow = worker.wait() == -signal.SIGXCPU
    end = ("slow", f"more than {LIMIT} s") if slow else ("crash", "the process died")
    return [*results, {**current, "outcome": end[0], "text": end[1]}], False


def _work(*, formulas: bool) -> None:
    out = sys.stdout
    sys.stdout = sys.stderr

    def say(message: Result) -> None:
        out.write(json.dumps(message) + "\n")
        out.flush()

    for line in sys.stdin:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + LIMIT
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        try_out(line.strip(), say, formulas=formulas)
        say({"done": True})


def try_out(name: str, say: Callable[[Result], None], *, formulas: bool) -> None:
    """Say what comes out of a model type, and before that which class it is."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        for task, cls in tasks_to_try(name, file, say):
            say({"type": name, "class": cls})
            say({"type": name, "class": cls, **_outcome(str(file), task), **({} if formulas else {"proved": None})})


def tasks_to_try(name, file, say):
    """Write the type's default config; the tasks to try, with the class of each."""
    from graphmem.errors import GraphmemError
    from graphmem.load.hf.file import read
    from graphmem.load.hf.tasks import class_for, tasks_of

    file.write_text(json.dumps({"model_type": name, "dtype": "bfloat16"}))
    try:
        made = read(str(file), False)
        config = made.config()
    except GraphmemError as error:
        say({"type": name, "class": "", "outcome": "config", "text": _first(error).replace(str(file), "config.json")})
        return []
    except Exception as error:
        say({"type": name, "class": "", "outcome": "crash", "text": repr(error), "traceback": traceback.format_exc()})
        return []
    known = tasks_of(config)
    chosen = ([t for t in (*MAIN, *SECOND) if t in known] or known)[:1]
    if not chosen:
        say({"type": name, "class": "", "outcome": "none", "text": "no class of transformers takes it alone"})
    try:
        classes = [(t, class_for(config, t)) for t in chosen]
    except GraphmemError as error:
        say({"type": name, "class": "", "outcome": "error", "text": _first(error)})
        return []
    return [(t, (found if isinstance(found, type) else found[0]).__name__) for t, found in classes]


def _outcome(file: str, task: str) -> Result:
    """The outcome with few layers in bfloat16; with all of them, or in float32, where the rest does not fit that."""
    whole = Path(file).read_text()
    try:
        few_layers(Path(file))
    except Exception as error:
        return {"outcome": "crash", "text": repr(error)[:200], "traceback": traceback.format_exc()}
    few = _in_either(file, task)
    if few["outcome"] == "error" and Path(file).read_text() != whole:
        Path(file).write_text(whole)
        all_layers = _in_either(file, task)
        few = all_layers if all_layers["outcome"] != "error" else few
    if few["outcome"] == "error" and _raises_without(file, task, str(few["text"])):
        few["without"] = True
    return few


def few_layers(file: Path) -> None:
    """Write the config anew with two layers of each kind; as it is where that is no config."""
    from graphmem.errors import GraphmemError
    from graphmem.load.hf.file import read

    whole = file.read_text()
    try:
        made = read(str(file), False)
        fields, free = made.symbols()
        shallow = made.changed({fields[n]: 2 for n, v in free.items() if n.startswith("L") and v > 2})
        file.write_text(json.dumps(dict(shallow.content), default=str))
        read(str(file), False).config()
    except GraphmemError:
        file.write_text(whole)


_DTYPES = re.compile(r"scalar type|[Uu]nsupported dtype|same dtype|BF16 type|BFloat16")


def _in_either(file: str, task: str) -> Result:
    found = _analysed(file, task)
    if found["outcome"] == "error" and _DTYPES.search(str(found["text"])):
        Path(file).write_text(Path(file).read_text().replace('"bfloat16"', '"float32"'))
        again = _analysed(file, task)
        if again["outcome"] != "error":
            return {**again, "dtype": "float32"}
    return found


def _raises_without(file: str, task: str, text: str) -> bool:
    """Whether the class raises the same without graphmem, on the meta device, with the same inputs."""
    import torch

    from graphmem.load.hf.file import read
    from graphmem.load.hf.subject import from_config_file
    from graphmem.load.hf.tasks import class_for
    from graphmem.usercode.isolate import isolated

    try:
        with isolated(keep_stdout_clean=True):
            config = read(file, False).config()
            found = class_for(config, task)
            cls = found if isinstance(found, type) else found[0]
            with torch.device("meta"):
                model = cls._from_config(config).train()
            sizes = from_config_file(file, settings={}, task=task, trust_remote_code=False).symbols
            settings = {name: min(limit, sizes[name]) for name, limit in SIZES.items() if name in sizes}
            subject = from_config_file(file, settings=settings, task=task, trust_remote_code=False)
            inputs = subject.make_inputs(subject.symbols, False)
            model(**{k: v.to("meta") if isinstance(v, torch.Tensor) else v for k, v in inputs.items()})
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return f"raised {type(error).__name__}: {lines[0]}"[:60] in text
    return False


def _analysed(file: str, task: str) -> Result:
    from graphmem.analysis.analyze import analyze_subject
    from graphmem.errors import GraphmemError
    from graphmem.how import read_how
    from graphmem.load.hf.subject import from_config_file
    from graphmem.usercode.isolate import isolated

    started = time.time()
    try:
        with isolated(keep_stdout_clean=True):
            sizes = from_config_file(file, settings={}, task=task, trust_remote_code=False).symbols
            settings = {name: min(limit, sizes[name]) for name, limit in SIZES.items() if name in sizes}
            subject = from_config_file(file, settings=settings, task=task, trust_remote_code=False)
            report = analyze_subject(subject, read_how({"gpu": "h100"}))
    except GraphmemError as error:
        return {"outcome": "error", "kind": type(error).__name__, "text": _first(error), "at": error.where or ""}
    except Exception as error:
        return {"outcome": "crash", "text": repr(error)[:200], "traceback": traceback.format_exc()}
    return {
        "outcome": "report",
        "text": f"{report.saved.bytes:,}",
        "proved": bool(report.verified.exact),
        "seconds": round(time.time() - started, 1),
        "notes": list(report.notes),
    }


def _first(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].replace("|", "/")


# --- the page -----------------------------------------------------------------------------------------------------

CAUSES = (
    (r"library|packages|No module named|ImportError|pip install", "an optional package is missing"),
    (r"couldn't connect|offline|huggingface", "the config asks for a download"),
    (r"asks for the value of a tensor", "forward asks for a value that depends on parameters or large activations"),
    (r"has no fake kernel|not compiled with CUDA", "an operator without a fake kernel"),
    (r"only cuDNN knows", "an LSTM, whose reserve only cuDNN knows"),
    (r"\(config\) raised|refuses it", "transformers cannot build its own default config"),
    (r"image tokens|image features|audio tokens", "text and images have to agree"),
    (r"expected scalar type|same dtype|should be the same|have the same", "dtypes that do not fit: not only bf16"),
    (r"missing|specify|provided|NoneType|must be passed|Either|required|forward", "graphmem does not know the inputs"),
)


WITHOUT = "the default config or these inputs raise the same in transformers itself, without graphmem"


def _cause(result: Result) -> str:
    text = str(result["text"])
    if "without" in result and not re.search(CAUSES[0][0], text, re.I):
        return WITHOUT
    return next((cause for pattern, cause in CAUSES if re.search(pattern, text, re.I)), "other")


def _page(results: list[Result]) -> str:
    import transformers

    tried = [r for r in results if r["outcome"] not in ("config", "none")]
    counts = Counter(r["outcome"] for r in tried)
    proved = sum(bool(r.get("proved")) for r in tried)
    causes = Counter(_cause(r) for r in tried if r["outcome"] == "error")
    types = len({r["type"] for r in results})
    analysed = len({r["type"] for r in results if r["outcome"] == "report"})
    lines = [
        "# Coverage",
        "",
        f"All {types} model types of transformers {transformers.__version__}, each with its default config (but few "
        "layers, in bfloat16) as a config.json,",
        f"and its main class. Written by `python tests/measure/coverage.py{'' if proved else ' --bytes'}`. "
        "[The table](data/coverage.md) has every model",
        "type.",
        "",
        f"- {len(tried)} classes of {len({r['type'] for r in tried})} types were tried, {counts['report']} of "
        f"{analysed} types analysed" + (f", {proved} of them with a formula that is proved" if proved else ""),
        f"- {counts['error']} ended with an error that graphmem explains, {counts['slow']} took more than {LIMIT} s, "
        f"{counts['crash']} crashed",
        f"- {sum(r['outcome'] == 'config' for r in results)} types have no default config that can be made here, "
        f"{sum(r['outcome'] == 'none' for r in results)} have no class in transformers' auto mappings",
        "",
        "## Errors by cause",
        "",
        "| cause | classes | for example |",
        "| --- | --- | --- |",
    ]
    for cause, count in causes.most_common():
        some = [str(r["type"]) for r in tried if r["outcome"] == "error" and _cause(r) == cause][:6]
        lines.append(f"| {cause} | {count} | {', '.join(some)} |")
    return "\n".join(lines) + "\n"


def _table(results: list[Result]) -> str:
    lines = [
        "# Coverage: every model type",
        "",
        "Part of [coverage](../coverage.md), and written with it.",
        "",
        "Bytes are saved for backward at b=2 and s=128 (or as many frames), as on an H100.",
        "",
        "| model type | class | saved, or what was wrong |",
        "| --- | --- | --- |",
    ]
    lines += map(row, results)
    return "\n".join(lines) + "\n"


def row(result: Result) -> str:
    """Its line in the table of all of them."""
    return f"| {result['type']} | {result['class']} | {_said(result)} |"


def _said(result: Result) -> str:
    if result["outcome"] == "report":
        dtype = f" in {result['dtype']}" if "dtype" in result else ""
        proved = {None: "", True: ", proved", False: ", not proved"}[result["proved"]]
        return f"{result['text']}{dtype}{proved}"
    text = str(result["text"])
    short = text if len(text) < 160 else text[:157] + "..."
    return {"error": "", "config": "no config: ", "none": "", "slow": "", "crash": "CRASH: "}[
        str(result["outcome"])
    ] + short


if __name__ == "__main__":
    main()
