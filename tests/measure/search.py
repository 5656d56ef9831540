"""Look for wrong formulas: ask reports that are proved for points at random, and trace the same points afresh.

    python tests/measure/search.py --minutes 20 --json found.json    models made at random, model types, samples
    python tests/measure/search.py --source made --seed 17 --models 1      one made model again, by its seed
    python tests/measure/search.py --source types --only llama gpt2        these model types of transformers
    python tests/measure/search.py some/folder/*.py                        these files

A point at which the two differ is a counterexample: its model is printed, as small as it still differs. A refusal of a
point that the model takes is counted apart, with its reason. The exit code is 1 where a formula was wrong. One process.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from graphmem.load import load_target  # noqa: E402
from measure.search_check import Beside, Found, SlowError, Wrong, analysed, check  # noqa: E402
from measure.search_models import Made, made  # noqa: E402

SOURCES = ("made", "types", "files")
Check = Callable[[random.Random], Found]


@dataclass(frozen=True)
class Case:
    """A model to be checked. again: the arguments that check it again. made: where it was made at random."""

    name: str
    again: str
    check: Check
    made: Made | None = None


@dataclass
class Summary:
    """What came out, in numbers, with every counterexample."""

    models: int = 0
    proved: int = 0
    points: int = 0
    equal: int = 0
    not_proved: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    outside: Counter[str] = field(default_factory=Counter)
    raises: Counter[str] = field(default_factory=Counter)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    unproved: list[dict[str, Any]] = field(default_factory=list)

    def add(self, case: Case, seed: int, found: Found) -> None:
        """Count what came out of a model."""
        self.models += 1
        known = {"model": case.name, "again": case.again}
        if found.proved is None:
            self.failed[found.why] += 1
        elif not found.proved:
            self.not_proved[found.why] += 1
            self.unproved.append({**known, "formula": found.formula, "why": found.why})
        else:
            self.proved += 1
        self.points += found.equal + len(found.wrong) + len(found.refused)
        self.equal += found.equal
        self.outside.update(found.outside)
        self.raises.update(found.raises)
        for point, why in found.refused:
            self.refused[why] += 1
            self.refusals.append({**known, "point": point, "why": why})
        self.wrong += [{**known, **asdict(one)} for one in found.wrong]

    def text(self) -> str:
        """In a few lines."""
        lines = [
            f"{self.models} models: {self.proved} proved, {self.not_proved.total()} not, {self.failed.total()} failed",
            f"{self.points} points: {self.equal} equal, {len(self.wrong)} WRONG, {self.refused.total()} refused that "
            f"the model takes; beyond the limits that the report states {self.outside.total()} more, and "
            f"{self.raises.total()} that the model refuses",
        ]
        for title, counter in (
            ("refused", self.refused),
            ("outside", self.outside),
            ("not proved", self.not_proved),
            ("failed", self.failed),
        ):
            lines += [f"  {title} {n:4} × {why}" for why, n in counter.most_common(12)]
        return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="Python files, in place of all sources")
    parser.add_argument("--source", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--only", nargs="*", default=[], help="model types of transformers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", type=int, default=10**9, help="at most so many of each source")
    parser.add_argument("--minutes", type=float, default=5.0, help="of processor time, of all sources together")
    parser.add_argument("--smaller", type=int, default=25, help="so many smaller models are tried for a counterexample")
    parser.add_argument("--json", type=Path, help="a file for the summary")
    asked = parser.parse_args()
    sources = ("files",) if asked.files else asked.source
    summary = Summary()
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            cases = {
                "made": lambda: made_models(Path(folder), asked.seed),
                "types": lambda: model_types(Path(folder), asked.seed, asked.only),
                "files": lambda: in_files(asked.files or sorted((ROOT / "samples").glob("*.py")), asked.seed),
            }[source]()
            seconds = 60 * asked.minutes / len(sources)
            search(cases, summary, models=asked.models, seconds=seconds, smaller=asked.smaller, file=asked.json)
    print(summary.text())
    sys.exit(1 if summary.wrong else 0)


def search(
    cases: Iterable[tuple[int, Case]],
    summary: Summary,
    *,
    models: int,
    seconds: float,
    smaller: int = 0,
    file: Path | None = None,
) -> None:
    """Check one model after the other, until there are enough or time is over; `file` has what was found so far."""
    end, known = time.process_time() + seconds, {one["kind"] for one in summary.wrong}
    for count, (seed, case) in enumerate(cases):
        if count >= models or time.process_time() > end:
            break
        try:
            found = case.check(random.Random(seed))
        except SlowError:
            found = Found(why="slow")
        except Exception as error:  # graphmem itself, which is another kind of finding
            found = Found(why=f"CRASH {error!r}"[:160])
        summary.add(case, seed, found)
        for one, entry in zip(found.wrong, summary.wrong[len(summary.wrong) - len(found.wrong) :], strict=True):
            entry["kind"] = kind_of(one)
            if entry["kind"] not in known:
                known.add(entry["kind"])
                entry["smallest"] = say(case, one, smaller)
        if file:
            file.write_text(json.dumps(vars(summary), indent=1, default=str) + "\n")


def kind_of(wrong: Wrong) -> str:
    """What counterexamples of the same cause have in common, as far as one can see: the lines that differ."""
    return " | ".join(f"{op} at {line}" for op, line, _ in wrong.lines) or "-"


def say(case: Case, wrong: Wrong, smaller: int) -> str | None:
    """Print a counterexample; the file of the smallest made model that still is one."""
    differ = {name: f"{got:,} for {wrong.expected[name]:,}" for name, got in wrong.got.items()}
    print(f"WRONG  {case.name}    again: {case.again}")
    print(f"  at {wrong.point} from {wrong.working}")
    print("  " + ", ".join(f"{name} {text}" for name, text in differ.items()))
    for op, line, formula in wrong.lines[:4]:
        print(f"  {op} at {line}: {formula}")
    sys.stdout.flush()
    if case.made is None:
        return None
    small = smallest(case.made, wrong.point, smaller)
    text = f"{small.source}\n\n# wrong at {wrong.point}\n"
    print(text)
    sys.stdout.flush()
    return text


# --- the sources --------------------------------------------------------------------------------------------------


def made_models(folder: Path, seed: int) -> Iterator[tuple[int, Case]]:
    """Models made at random, without end."""
    while True:
        model = made(seed)
        again = f"--source made --models 1 --seed {seed}"
        yield seed, Case(f"made {seed}", again, lambda chance, m=model: check_made(m, folder, chance), model)
        seed += 1


def check_made(model: Made, folder: Path, chance: random.Random) -> Found:
    """Check a made model, as a file."""
    file = folder / "model.py"
    file.write_text(model.source)
    return check(lambda: load_target(str(file)), dict(model.options), chance)


def smallest(model: Made, point: dict[str, int], left: int) -> Made:
    """The model with as much left out as leaves the formula proved, and wrong at the point; `left` models are tried."""
    with tempfile.TemporaryDirectory() as folder:
        again = True
        while again and left > 0:
            again = False
            for less in model.smaller():
                left -= 1
                if left < 0 or _still_wrong(less, point, Path(folder)):
                    again, model = left >= 0, less if left >= 0 else model
                    break
    return model


def _still_wrong(model: Made, point: dict[str, int], folder: Path) -> bool:
    from graphmem.errors import GraphmemError

    file = folder / "model.py"
    file.write_text(model.source)
    try:
        report = analysed(lambda: load_target(str(file)), dict(model.options))
        known = {n: v for n, v in point.items() if n in report.symbols}
        return report.verified.exact and Beside.of(report).is_wrong(known)
    except (GraphmemError, SlowError):
        return False


def model_types(folder: Path, seed: int, only: list[str]) -> Iterator[tuple[int, Case]]:
    """Model types of transformers, in an order of chance."""
    from transformers import CONFIG_MAPPING

    names = only or sorted(CONFIG_MAPPING)
    for name in random.Random(seed).sample(names, len(names)):
        again = f"--source types --only {name} --seed {seed}"
        yield seed, Case(name, again, lambda chance, n=name: check_type(n, folder, chance))


def check_type(name: str, folder: Path, chance: random.Random) -> Found:
    """Check a model type's default config with few layers, at sizes of the inputs of chance."""
    from graphmem.load.hf.subject import from_config_file
    from measure.coverage import few_layers, tasks_to_try

    file = folder / "config.json"
    said: list[dict[str, Any]] = []
    tasks = list(tasks_to_try(name, file, said.append))
    if not tasks:
        return Found(why="no config, or no class")
    few_layers(file)
    task = tasks[0][0]
    sizes = {"b": chance.choice((1, 2, 3)), "s": chance.choice((48, 64, 100, 128, 197, 256)), "frames": 128, "side": 8}

    def subject():
        known = from_config_file(str(file), settings={}, task=task, trust_remote_code=False).symbols
        settings = {n: v for n, v in sizes.items() if n in known}
        return from_config_file(str(file), settings=settings, task=task, trust_remote_code=False)

    return check(subject, {}, chance)


def in_files(files: list[Path], seed: int) -> Iterator[tuple[int, Case]]:
    """The targets of files, over and over, with other points."""
    targets = [target for file in files for target in targets_of(file)]
    while targets:
        for target in targets:
            again = f"{target.partition(':')[0]} --seed {seed}"
            yield seed, Case(target, again, lambda chance, t=target: check(lambda: load_target(t), {}, chance))
        seed += 1


def targets_of(file: Path) -> list[str]:
    """The file itself; or, of a file with inputs() and no model(), each function with a default for every parameter."""
    functions = {n.name: n.args for n in ast.parse(file.read_text()).body if isinstance(n, ast.FunctionDef)}
    if "inputs" not in functions or "model" in functions:
        return [str(file)]
    whole = [n for n, a in functions.items() if a.args and len(a.args) == len(a.defaults) and n != "inputs"]
    return [f"{file}:{name}" for name in whole]


if __name__ == "__main__":
    main()
