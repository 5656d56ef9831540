"""The command line: arguments in, text and an exit code out. Nothing here imports torch before a command needs it."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graphmem import __version__
from graphmem.errors import GraphmemError, UsageError

if TYPE_CHECKING:
    from graphmem.report import Report

CLEAN, FAILED = 0, 2
_OUTPUT = "-o takes a file in an existing folder that can be written"

_TARGET = """what to analyse: model.py, model.py:name, package.module:name, or a Hugging Face config.json. A Python file
is EXECUTED, so it can do whatever its author wrote: analyse only files that you would run. Best it has two functions,
whose parameters are the symbols and whose defaults are the working point: model(h=768, a=12, ...) -> nn.Module and
inputs(b=8, s=1024, ...) -> tuple or dict of tensors; and, if the model returns no loss, optionally loss(output) ->
tensor. In any other file the model's class, its config and its inputs are guessed, and what was guessed is said."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 clean, 2 could not analyse."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return FAILED
    try:
        return int(options.run(options))
    except GraphmemError as error:
        if options.traceback:
            traceback.print_exc()
        print(f"graphmem: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("graphmem: interrupted", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # the reader of stdout has seen enough
        sys.stderr.close()
        return CLEAN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graphmem",
        description="Where a Transformer's activation memory goes, in bytes and as a formula, without a GPU.",
        epilog="exit codes: 0 clean, 2 could not analyse",
    )
    parser.add_argument("--version", action="version", version=f"graphmem {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    analyze = commands.add_parser(
        "analyze",
        help="what autograd keeps for backward, where, and why",
        description="What autograd keeps for backward: by module, by attention, by tensor, in bytes and as a formula.",
    )
    analyze.add_argument("target", metavar="TARGET", help=_TARGET)
    analyze.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of model() or inputs(); repeatable",
    )
    analyze.add_argument(
        "--input",
        metavar="NAME=SPEC",
        action="append",
        default=[],
        help="for a file without inputs(): an argument of forward, such as idx=int64[b,s]; repeatable",
    )
    analyze.add_argument("--config", help="for a file without model(): how to make it, such as GPTConfig(n_layer=12)")
    analyze.add_argument("--task", help="for config.json: causal-lm, masked-lm, ... (default: by its architectures)")
    analyze.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="for config.json: run the code that it names, from this machine",
    )
    analyze.add_argument("--dtype", help="cast the model and floating inputs: bf16, fp16, fp32 (default: as they are)")
    analyze.add_argument("--autocast", metavar="DTYPE", help="as under torch.autocast with this dtype: bf16, fp16")
    analyze.add_argument(
        "--gpu", help="the GPU that is meant, such as h100 or a100 (default: the one present, else h100)"
    )
    analyze.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="where the model is meant to run")
    analyze.add_argument("--torch", metavar="VERSION", help="whose kernel choices apply (default: the installed torch)")
    analyze.add_argument("--cudnn", metavar="VERSION", help="likewise for cuDNN (default: that torch release's own)")
    analyze.add_argument("--full-depth", action="store_true", help="trace all layers, however many there are")
    analyze.add_argument("--format", default="table", choices=("table", "json"), help="default: table")
    analyze.add_argument("-o", "--output", metavar="FILE", help="write the report there instead of to stdout")
    analyze.add_argument("--traceback", action="store_true", help="on an error show where it came from")
    analyze.set_defaults(run=_analyze)
    return parser


def _analyze(options: argparse.Namespace) -> int:
    _check_output(options.output)
    report = _report(options)
    from graphmem.render import FORMATS

    _write(FORMATS[options.format](report), options.output)
    return CLEAN


def _report(options: argparse.Namespace) -> Report:
    """The report that the options of a command ask for."""
    settings = _settings(options.set)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to initialize NumPy")  # torch runs without it
        import torch  # noqa: F401
    from graphmem.analysis import analyze_subject, as_autocast, as_dtype
    from graphmem.load import Wishes, isolated, load_target
    from graphmem.target import resolve

    target = resolve(gpu=options.gpu, device=options.device, torch_version=options.torch, cudnn_version=options.cudnn)
    dtype, autocast = as_dtype(options.dtype), as_autocast(options.autocast)
    wishes = Wishes(settings, tuple(options.input), options.config, options.task, options.trust_remote_code)
    changed: list[str] = []
    try:
        with isolated(changed, keep_stdout_clean=True):
            subject = load_target(options.target, wishes)
            return analyze_subject(subject, target, dtype=dtype, autocast=autocast, full_depth=options.full_depth)
    finally:
        for note in changed:
            print(f"graphmem: note: {note}", file=sys.stderr)


def _settings(pairs: Sequence[str]) -> dict[str, object]:
    settings: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {pair}: not NAME=VALUE", hint="--set s=4096")
        settings[name.strip()] = value.strip()
    return settings


def _check_output(file: str | None) -> None:
    """Refuse a file that cannot be written before any work is done for it."""
    if file is None:
        return
    path = Path(file)
    if not path.name or path.is_dir():
        raise UsageError(f"cannot write {file!r}: it is a folder", hint=_OUTPUT)
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {file}: there is no folder {path.parent}", hint=_OUTPUT)


def _write(text: str, file: str | None) -> None:
    if file is None:
        _print(text)
        return
    path = Path(os.path.realpath(file))  # a link stays a link
    if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
        path.write_text(text, encoding="utf-8")
        return
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        if path.exists():
            shutil.copymode(path, partial)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise UsageError(f"cannot write {path}: {error.strerror}", hint=_OUTPUT) from error


def _print(text: str) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ² shows ?
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What could not be written must not be tried again when the interpreter closes stdout.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(f"cannot write to stdout: {error.strerror}", hint="free some space, or -o FILE") from error
