"""Many analyses in one process: in threads beside a training loop, and one after the other.

    python tests/measure/stress.py threads --threads 8 --analyses 200
    python tests/measure/stress.py growth --analyses 1000

threads: every analysis says what it says alone, and a training loop in one more thread ends with the same weights, to
the bit, as without them. growth: of the second half, neither memory nor time is more than that of the first. The exit
code is 1 where something is not so.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import torch  # noqa: E402
from torch import nn  # noqa: E402

import graphmem  # noqa: E402
from graphmem.render import FORMATS  # noqa: E402


class Block(nn.Module):
    """A layer of a Transformer with dropout, so that random numbers matter."""

    def __init__(self, h: int, a: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(h, a, dropout=0.1, batch_first=True)
        self.up, self.down, self.norm = nn.Linear(h, 4 * h), nn.Linear(4 * h, h), nn.LayerNorm(h)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(x, x, x, need_weights=False)[0]
        return x + self.down(torch.relu(self.up(self.norm(x))))


# Made beforehand: the constructors draw random numbers, as the training loop does.
MODELS = [(Block(h, a), torch.empty(2, 8 + a, h, device="meta")) for h, a in ((32, 4), (48, 3), (64, 2), (16, 1))]


def analysis(number: int) -> str:
    """The report of one of four models, as JSON."""
    model, x = MODELS[number % len(MODELS)]
    return str(FORMATS["json"](graphmem.analyze(model, (x,))))


def train(steps: Callable[[int], bool]) -> tuple[list[list[float]], int]:
    """The weights after as many steps as `steps` wants, and how many those were."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = Block(16, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    step = 0
    while steps(step):
        optimizer.zero_grad()
        x = torch.randn(4, 6, 16, generator=generator)
        with torch.autocast("cpu", torch.bfloat16, enabled=step % 2 == 1):
            loss = (model(x) - x).square().mean()
        loss.backward()
        optimizer.step()
        step += 1
    return [p.detach().flatten().tolist() for p in model.parameters()], step


def in_threads(threads: int, analyses: int) -> list[str]:
    """What is wrong with analyses in threads, and with a training loop beside them."""
    alone = [analysis(number) for number in range(4)]
    wrong: list[str] = []
    over = threading.Event()
    trained: list[tuple[list[list[float]], int]] = []

    def analyse(first: int) -> None:
        for number in range(first, analyses, threads):
            try:
                if analysis(number) != alone[number % 4]:
                    wrong.append(f"analysis {number} is another than alone")
            except Exception as error:
                wrong.append(f"analysis {number}: {type(error).__name__}: {error}")

    training = threading.Thread(target=lambda: trained.append(train(lambda _: not over.is_set())))
    working = [threading.Thread(target=analyse, args=(first,)) for first in range(threads)]
    for thread in (training, *working):
        thread.start()
    for thread in working:
        thread.join()
    over.set()
    training.join()
    if not trained:
        return [*wrong, "the training loop failed"]
    weights, steps = trained[0]
    print(f"{analyses} analyses in {threads} threads, beside {steps} steps of training")
    if train(lambda step: step < steps)[0] != weights:
        wrong.append(f"after {steps} steps the weights are others than without analyses")
    return wrong


def growth(analyses: int) -> list[str]:
    """What is wrong with many analyses one after the other."""
    seconds: list[float] = []
    memory: list[int] = []
    objects: list[int] = []
    for number in range(analyses):
        started = time.process_time()
        analysis(number)
        seconds.append(time.process_time() - started)
        if number % max(1, analyses // 20) == 0:
            gc.collect()
            memory.append(resident())
            objects.append(len(gc.get_objects()))
    half = analyses // 2
    first, second = statistics.median(seconds[analyses // 10 : half]), statistics.median(seconds[half:])
    middle = len(memory) // 2
    grown, made = memory[-1] - memory[middle], objects[-1] - objects[middle]
    print(f"{analyses} analyses: {first:.3f} s of processor time each, then {second:.3f} s")
    print(f"in the second half {grown / 2**20:.1f} MiB more memory, {made} more objects")
    wrong = [f"an analysis takes {second:.3f} s, after {first:.3f} s"] if second > 1.3 * first else []
    wrong += [f"{grown} bytes more memory"] if grown > 16 * 2**20 else []
    return wrong + ([f"{made} more objects"] if made > analyses // 4 else [])


def resident() -> int:
    """Bytes of memory that the process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("threads", "growth"))
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--analyses", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    wrong = in_threads(options.threads, options.analyses) if options.what == "threads" else growth(options.analyses)
    print(json.dumps(wrong, indent=1) if wrong else "nothing is wrong")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
