"""Look for what goes wrong: cases made at random, each run and judged.

    python tests/fuzz/fuzz.py --count 10000 --seed 1 -j 2        cases of every kind
    python tests/fuzz/fuzz.py --kind model_file --minutes 10     as many as there is time for
    python tests/fuzz/fuzz.py --kind report --seed 17 --count 1  one again, by its seed
    python tests/fuzz/fuzz.py --found DIR                        what goes wrong is written there, to be kept as a test

The exit code is 1 where something went wrong. A case that takes more than a minute, or ends its process, is one.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from fuzz.case import Case, case_of  # noqa: E402
from fuzz.command_lines import command_line  # noqa: E402
from fuzz.configs import config  # noqa: E402
from fuzz.interrupts import interrupt  # noqa: E402
from fuzz.model_files import model_file  # noqa: E402
from fuzz.modules import module  # noqa: E402
from fuzz.pyprojects import pyproject  # noqa: E402
from fuzz.saved import baseline, report  # noqa: E402

KINDS: dict[str, Callable[[int], Case]] = {
    make.__name__: make for make in (command_line, config, report, baseline, pyproject, model_file, module, interrupt)
}
FOUND = Path(__file__).parent / "found"
# A little more than a case may take by its own clock.
PATIENCE = 75


def ready() -> None:
    """Bring the process into the state that every case begins with: what is imported late is there."""
    import torch
    import torch._dynamo  # replaces functions of torch when it is first imported
    import transformers  # noqa: F401

    from fuzz.case import MODEL
    from fuzz.judge import interrupted, judge

    torch.set_num_threads(1)
    for handler in logging.getLogger("transformers").handlers:
        if type(handler) is logging.StreamHandler:  # not one of pytest's
            handler.stream = sys.__stderr__  # who imported transformers had another, which may be closed by now
    # A shell starts what it runs in the background with Ctrl-C ignored, and no case would be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGALRM, interrupted)
    for command in ("analyze", "lint", "fit"):
        judge(Case(kind="first", seed=0, files={"model.py": MODEL}, arguments=(command, "model.py")))
    # What a library changes when it is first imported is not promised: transformers may lead to Cython, say.
    config = json.dumps({"model_type": "bert", "num_hidden_layers": 1})
    judge(Case(kind="first", seed=0, files={"config.json": config}, arguments=("analyze", "config.json")))


def found() -> list[Case]:
    """The cases that once went wrong."""
    return [case_of(path.read_text()) for path in sorted(FOUND.glob("*.json"))]


def _work(tasks: Any, results: Any) -> None:
    from fuzz.judge import judge

    ready()
    for kind, seed in iter(tasks.recv, None):
        started = time.monotonic()
        results.send((judge(KINDS[kind](seed)), time.monotonic() - started))


class Worker:
    """A process that runs cases. One that hangs or dies is replaced."""

    def __init__(self) -> None:
        self.case: tuple[str, int] | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        theirs, self._tasks = context.Pipe(duplex=False)
        self.results, results = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(theirs, results), daemon=True)
        self._process.start()
        theirs.close()
        results.close()
        self._since = time.monotonic() + 60  # torch is imported first

    def give(self, case: tuple[str, int]) -> None:
        """Run it."""
        self.case, self._since = case, max(self._since, time.monotonic())
        self._tasks.send(case)

    def done(self) -> tuple[list[str], float] | None:
        """What is wrong with the case and how long it took, once it is over."""
        try:
            if self.results.poll():
                self._since = 0
                return self.results.recv()  # type: ignore[no-any-return]
        except EOFError:
            return self._again(f"the process ended: {self._process.exitcode}")
        return self._again("it hangs") if time.monotonic() - self._since > PATIENCE else None

    def _again(self, why: str) -> tuple[list[str], float]:
        self.stop()
        self._start()
        return [why], PATIENCE

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.join()


def run(kinds: list[str], first: int, count: int, processes: int, until: float, keep: Path | None) -> Counter[str]:
    """Cases by turns of the kinds. Prints what goes wrong, and counts cases and failures."""
    todo = ((kinds[i % len(kinds)], first + i // len(kinds)) for i in range(count))
    workers = [Worker() for _ in range(processes)]
    counts: Counter[str] = Counter()
    busy = [worker for worker in workers if _next(worker, todo, until)]
    while busy:
        time.sleep(0.002)
        for worker in busy[:]:
            if (done := worker.done()) is None:
                continue
            assert worker.case is not None
            _say(worker.case, *done, counts, keep)
            if not _next(worker, todo, until):
                busy.remove(worker)
    for worker in workers:
        worker.stop()
    return counts


def _next(worker: Worker, todo: Any, until: float) -> bool:
    case = next(todo, None) if time.monotonic() < until else None
    if case is not None:
        worker.give(case)
    return case is not None


def _say(case: tuple[str, int], wrong: list[str], seconds: float, counts: Counter[str], keep: Path | None) -> None:
    kind, seed = case
    counts["cases"] += 1
    counts[kind] += 1
    counts["seconds"] += round(seconds, 2)  # type: ignore[assignment]
    if wrong:
        counts["wrong"] += 1
        print(f"== {kind} --seed {seed}", *wrong, sep="\n   ", flush=True)
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            made = KINDS[kind](seed)
            (keep / f"{made.name}.json").write_text(made.to_json())


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=10**9, help="cases")
    parser.add_argument("--minutes", type=float, default=10**6)
    parser.add_argument("-j", type=int, default=1, help="processes")
    parser.add_argument("--found", type=Path, help="a folder for the cases that go wrong")
    options = parser.parse_args()
    until = time.monotonic() + 60 * options.minutes
    counts = run(options.kind, options.seed, options.count, options.j, until, options.found)
    print(", ".join(f"{name}: {number}" for name, number in counts.items()))
    return int(counts["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
