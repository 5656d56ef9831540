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

CLEAN, FINDINGS, FAILED = 0, 1, 2
_OUTPUT = "{} takes a file in an existing folder that can be written"

_TARGET = """what to analyse: model.py, model.py:factory or package.module:factory. The file is EXECUTED, so it can do
whatever its author wrote: analyse only files that you would run. It has two functions, whose parameters are the
symbols and whose defaults are the working point: model(h=768, a=12, ...) -> nn.Module and inputs(b=8, s=1024, ...) ->
tuple or dict of tensors; and, if the model returns no loss, optionally loss(output) -> tensor."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 clean, 1 findings, 2 could not analyse."""
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
        epilog="exit codes: 0 clean, 1 findings, 2 could not analyse",
    )
    parser.add_argument("--version", action="version", version=f"graphmem {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    analyze = commands.add_parser(
        "analyze",
        help="what autograd keeps for backward, where, and why",
        description="What autograd keeps for backward: by module, by attention, by tensor, in bytes and as a formula.",
    )
    _add_subject(analyze)
    analyze.add_argument(
        "--gpu", help="the GPU that is meant, such as h100 or a100 (default: the one present, else h100)"
    )
    analyze.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="where the model is meant to run")
    analyze.add_argument("--torch", metavar="VERSION", help="whose kernel choices apply (default: the installed torch)")
    analyze.add_argument("--cudnn", metavar="VERSION", help="likewise for cuDNN (default: that torch release's own)")
    analyze.add_argument("--full-depth", action="store_true", help="trace all layers, however many there are")
    _add_output(analyze)
    analyze.set_defaults(run=_analyze)
    _add_validate(commands)
    return parser


def _add_validate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    validate = commands.add_parser(
        "validate",
        help="run the model for real and compare",
        description="Run forward, loss and backward with random weights and compare what autograd keeps, storage by "
        "storage, and what the allocator counts, with the prediction.",
        epilog="exit codes: 0 every saved storage is as predicted, 1 one is not, 2 could not run",
    )
    _add_subject(validate)
    validate.add_argument(
        "--sweep",
        metavar="NAME=N,N,..",
        nargs="+",
        action="extend",
        default=[],
        help="run at these values, every combination of them: s=512,1024,2048 b=1,4",
    )
    validate.add_argument(
        "--steps", type=int, default=2, help="training steps for each point; all but the last warm up (default: 2)"
    )
    validate.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="where to run it (default: cuda)")
    validate.add_argument("--force", action="store_true", help="run what does not fit by its own prediction")
    validate.add_argument("--svg", metavar="FILE", help="plot predicted and measured over what is swept")
    _add_output(validate)
    validate.set_defaults(run=_validate)


def _add_subject(command: argparse.ArgumentParser) -> None:
    command.add_argument("target", metavar="TARGET", help=_TARGET)
    command.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of model() or inputs(); repeatable",
    )
    command.add_argument("--dtype", help="cast the model and floating inputs: bf16, fp16, fp32 (default: as they are)")
    command.add_argument("--autocast", metavar="DTYPE", help="as under torch.autocast with this dtype: bf16, fp16")
    command.add_argument(
        "--assume",
        metavar="WHAT=VALUE",
        action="append",
        default=[],
        help="where forward asks for a value that weights or activations decide: experts=worst if all tokens choose "
        "the same experts (default: balanced), or the answer for a line: model.py:88=3; repeatable",
    )


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("--format", default="table", choices=("table", "json"), help="default: table")
    command.add_argument("-o", "--output", metavar="FILE", help="write the report there instead of to stdout")
    command.add_argument("--traceback", action="store_true", help="on an error show where it came from")


def _analyze(options: argparse.Namespace) -> int:
    _check_output(options.output)
    report = _report(options)
    from graphmem.render import FORMATS

    _write(FORMATS[options.format](report), options.output)
    return CLEAN


def _validate(options: argparse.Namespace) -> int:
    _check_output(options.output)
    _check_output(options.svg, "--svg")
    settings, assume = _pairs("--set", options.set), _pairs("--assume", options.assume)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to initialize NumPy")  # torch runs without it
        import torch  # noqa: F401
    from graphmem.validate import validate_target
    from graphmem.validate.output import FORMATS, svg
    from graphmem.validate.sweep import read_sweep

    changed: list[str] = []
    try:
        result = validate_target(
            options.target,
            device=options.device,
            sweep=read_sweep(options.sweep),
            steps=options.steps,
            dtype=options.dtype,
            autocast=options.autocast,
            settings=settings,
            assume=assume,
            force=options.force,
            changed=changed,
        )
    finally:
        _say_changed(changed)
    _write(FORMATS[options.format](result), options.output)
    if options.svg is not None:
        _write(svg(result), options.svg, "--svg")
    for failure in result.failures:
        print(f"graphmem: error: {failure}", file=sys.stderr)
    return FAILED if result.failures else CLEAN if result.exact else FINDINGS


def _say_changed(changed: Sequence[str]) -> None:
    for note in changed:
        print(f"graphmem: note: {note}", file=sys.stderr)


def _report(options: argparse.Namespace) -> Report:
    """The report that the options of a command ask for."""
    settings = _pairs("--set", options.set)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to initialize NumPy")  # torch runs without it
        import torch  # noqa: F401
    from graphmem.analysis import analyze_subject, as_autocast, as_dtype
    from graphmem.load import isolated, load_target
    from graphmem.target import resolve
    from graphmem.trace.assumptions import read_assumptions

    target = resolve(gpu=options.gpu, device=options.device, torch_version=options.torch, cudnn_version=options.cudnn)
    dtype, autocast = as_dtype(options.dtype), as_autocast(options.autocast)
    changed: list[str] = []
    try:
        with isolated(changed, keep_stdout_clean=True):
            subject = load_target(options.target, settings)
            return analyze_subject(
                subject,
                target,
                dtype=dtype,
                autocast=autocast,
                full_depth=options.full_depth,
                assumptions=read_assumptions(_pairs("--assume", options.assume)),
            )
    finally:
        _say_changed(changed)


_EXAMPLES = {"--set": "--set s=4096", "--assume": "--assume experts=worst"}


def _pairs(option: str, pairs: Sequence[str]) -> dict[str, object]:
    settings: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.rpartition("=") if option == "--assume" else pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {pair}: not NAME=VALUE", hint=_EXAMPLES[option])
        settings[name.strip()] = value.strip()
    return settings


def _check_output(file: str | None, option: str = "-o") -> None:
    """Refuse a file that cannot be written before any work is done for it."""
    if file is None:
        return
    path = Path(file)
    if not path.name or path.is_dir():
        raise UsageError(f"cannot write {file!r}: it is a folder", hint=_OUTPUT.format(option))
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {file}: there is no folder {path.parent}", hint=_OUTPUT.format(option))


def _write(text: str, file: str | None, option: str = "-o") -> None:
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
        raise UsageError(f"cannot write {path}: {error.strerror}", hint=_OUTPUT.format(option)) from error


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
