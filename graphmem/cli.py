"""The command line: arguments in, text and an exit code out. Nothing here imports torch before a command needs it."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import shutil
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphmem import __version__
from graphmem.errors import GraphmemError, UsageError

if TYPE_CHECKING:
    from graphmem.report import Report

CLEAN, FOUND, FAILED = 0, 1, 2
_OUTPUT = "-o takes a file in an existing folder that can be written"

# As in graphmem.render, which imports torch's neighbours.
_FORMATS = ("table", "json", "markdown", "html", "latex", "python")

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
        epilog="exit codes: 0 clean, 1 it does not fit, 2 could not analyse",
    )
    parser.add_argument("--version", action="version", version=f"graphmem {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    analyze = commands.add_parser(
        "analyze",
        help="what autograd keeps for backward, where, and why",
        description="What autograd keeps for backward: by module, by attention, by tensor, in bytes and as a formula.",
    )
    _add_options(analyze)
    analyze.add_argument("--format", default="table", choices=_FORMATS, help="default: table")
    analyze.add_argument("--ascii", action="store_true", help="s^2 for s², x for ×: plain ASCII")
    analyze.set_defaults(run=_analyze)
    _add_fit(commands)
    _add_diff(commands)
    return parser


def _add_options(command: argparse.ArgumentParser) -> None:
    """What every command takes that analyses a target."""
    command.add_argument("target", metavar="TARGET", help=_TARGET)
    command.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a parameter of model() or inputs(); repeatable",
    )
    command.add_argument(
        "--input",
        metavar="NAME=SPEC",
        action="append",
        default=[],
        help="for a file without inputs(): an argument of forward, such as idx=int64[b,s]; repeatable",
    )
    command.add_argument("--config", help="for a file without model(): how to make it, such as GPTConfig(n_layer=12)")
    command.add_argument("--task", help="for config.json: causal-lm, masked-lm, ... (default: by its architectures)")
    command.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="for config.json: run the code that it names, from this machine",
    )
    command.add_argument("--dtype", help="cast the model and floating inputs: bf16, fp16, fp32 (default: as they are)")
    command.add_argument("--autocast", metavar="DTYPE", help="as under torch.autocast with this dtype: bf16, fp16")
    command.add_argument(
        "--gpu", help="the GPU that is meant, such as h100 or a100 (default: the one present, else h100)"
    )
    command.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="where the model is meant to run")
    command.add_argument("--torch", metavar="VERSION", help="whose kernel choices apply (default: the installed torch)")
    command.add_argument("--cudnn", metavar="VERSION", help="likewise for cuDNN (default: that torch release's own)")
    command.add_argument(
        "--assume",
        metavar="WHAT=VALUE",
        action="append",
        default=[],
        help="where forward asks for a value that weights or activations decide: experts=worst if all tokens choose "
        "the same experts (default: balanced), or the answer for a line: model.py:88=3; repeatable",
    )
    command.add_argument("--full-depth", action="store_true", help="trace all layers, however many there are")
    command.add_argument("-o", "--output", metavar="FILE", help="write the report there instead of to stdout")
    command.add_argument("--traceback", action="store_true", help="on an error show where it came from")


def _add_fit(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fit = commands.add_parser(
        "fit",
        help="the largest length or batch that fits into memory",
        description="The largest value of a symbol at which parameters and what forward leaves alive fit into memory.",
    )
    _add_options(fit)
    fit.add_argument("--solve", metavar="SYMBOL", required=True, help="what to make as large as possible: s, b, L, ...")
    fit.add_argument("--memory", metavar="BYTES", help="such as 80GiB (default: that of the GPU)")
    fit.add_argument(
        "--reserve", metavar="BYTES", default="0", help="for gradients, optimizer state, temporaries: such as 30GiB"
    )
    fit.add_argument("--format", default="table", choices=("table", "json"), help="default: table")
    fit.set_defaults(run=_fit)


def _add_diff(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    diff = commands.add_parser(
        "diff",
        help="what one model or setting keeps more than another",
        description="Compare two targets, two settings of one, or two reports that --format json -o FILE wrote.",
        epilog='example: graphmem diff samples/gpt2.py --b "--set attn=sdpa"',
    )
    diff.add_argument("first", metavar="A", help="a target as for analyze, or a saved report")
    diff.add_argument("second", metavar="B", nargs="?", help="likewise (default: A again, with the options of --b)")
    diff.add_argument(
        "--a", metavar="OPTIONS", default="", help='options of analyze for A alone, in quotes: "--set s=512"'
    )
    diff.add_argument("--b", metavar="OPTIONS", default="", help="likewise for B")
    diff.add_argument("--both", metavar="OPTIONS", default="", help="likewise for both")
    diff.add_argument("--format", default="table", choices=("table", "json"), help="default: table")
    diff.add_argument("-o", "--output", metavar="FILE", help="write it there instead of to stdout")
    diff.add_argument("--traceback", action="store_true", help="on an error show where it came from")
    diff.set_defaults(run=_diff)


def _analyze(options: argparse.Namespace) -> int:
    _check_output(options.output)
    report = _report(options)
    from graphmem.render import FORMATS
    from graphmem.render.code import ascii_only

    text = FORMATS[options.format](report)
    _write(ascii_only(text) if options.ascii else text, options.output)
    return CLEAN


def _fit(options: argparse.Namespace) -> int:
    _check_output(options.output)
    report = _report(options)
    from graphmem.render import fit as rendered
    from graphmem.report.fit import fit

    found = fit(report, options.solve, _memory(options), _bytes("--reserve", options.reserve))
    _write(rendered.as_json(found) if options.format == "json" else rendered.render(found), options.output)
    return CLEAN if found.value is not None else FOUND


def _memory(options: argparse.Namespace) -> int:
    from graphmem.target import resolve

    return _bytes("--memory", options.memory) if options.memory else resolve(gpu=options.gpu, device="cuda").gpu.memory


def _bytes(option: str, text: str) -> int:
    from graphmem.units import parse_bytes

    try:
        return parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint=f"{option} 40GiB") from None


def _diff(options: argparse.Namespace) -> int:
    _check_output(options.output)
    from graphmem.report.diff import diff, is_report, load_report

    def side(target: str, own: str) -> Mapping[str, Any]:
        if target.endswith(".json") and is_report(target):
            return load_report(target)
        words = ["analyze", target, *shlex.split(options.both), *shlex.split(own)]
        return _report(_parser().parse_args(words)).to_dict()

    found = diff(side(options.first, options.a), side(options.second or options.first, options.b))
    from graphmem.render import diff as rendered

    _write(rendered.as_json(found) if options.format == "json" else rendered.render(found), options.output)
    return CLEAN


def _report(options: argparse.Namespace) -> Report:
    """The report that the options of a command ask for."""
    settings = _pairs("--set", options.set)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to initialize NumPy")  # torch runs without it
        import torch  # noqa: F401
    from graphmem.analysis import analyze_subject, as_autocast, as_dtype
    from graphmem.load import Wishes, isolated, load_target
    from graphmem.target import resolve
    from graphmem.trace.assumptions import read_assumptions

    target = resolve(gpu=options.gpu, device=options.device, torch_version=options.torch, cudnn_version=options.cudnn)
    dtype, autocast = as_dtype(options.dtype), as_autocast(options.autocast)
    wishes = Wishes(settings, tuple(options.input), options.config, options.task, options.trust_remote_code)
    changed: list[str] = []
    try:
        with isolated(changed, keep_stdout_clean=True):
            subject = load_target(options.target, wishes)
            return analyze_subject(
                subject,
                target,
                dtype=dtype,
                autocast=autocast,
                full_depth=options.full_depth,
                assumptions=read_assumptions(_pairs("--assume", options.assume)),
            )
    finally:
        for note in changed:
            print(f"graphmem: note: {note}", file=sys.stderr)


_EXAMPLES = {"--set": "--set s=4096", "--assume": "--assume experts=worst"}


def _pairs(option: str, pairs: Sequence[str]) -> dict[str, object]:
    settings: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.rpartition("=") if option == "--assume" else pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {pair}: not NAME=VALUE", hint=_EXAMPLES[option])
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
