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

CLEAN, FOUND, FAILED = 0, 1, 2
_OUTPUT = "-o takes a file in an existing folder that can be written"

_TARGET = """what to analyse: model.py, model.py:factory or package.module:factory. The file is EXECUTED, so it can do
whatever its author wrote: analyse only files that you would run. It has two functions, whose parameters are the
symbols and whose defaults are the working point: model(h=768, a=12, ...) -> nn.Module and inputs(b=8, s=1024, ...) ->
tuple or dict of tensors; and, if the model returns no loss, optionally loss(output) -> tensor."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 clean, 1 findings or over budget, 2 could not analyse."""
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
        epilog="exit codes: 0 clean, 1 findings or over budget, 2 could not analyse",
    )
    parser.add_argument("--version", action="version", version=f"graphmem {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    analyze = commands.add_parser(
        "analyze",
        help="what autograd keeps for backward, where, and why",
        description="What autograd keeps for backward: by module, by attention, by tensor, in bytes and as a formula.",
    )
    analyze.add_argument("target", metavar="TARGET", help=_TARGET)
    _add_analysis(analyze)
    analyze.add_argument("--format", default="table", choices=("table", "json"), help="default: table")
    _add_output(analyze)
    analyze.set_defaults(run=_analyze)
    _add_lint(commands)
    rule = commands.add_parser("rule", help="explain a rule of lint", description="Explain a rule of lint.")
    rule.add_argument("rule", metavar="RULE", nargs="?", help="a code or a name: GM101, materialized-attention")
    rule.add_argument("--all", action="store_true", help="list all rules")
    rule.set_defaults(run=_rule, traceback=False)
    return parser


def _add_analysis(command: argparse.ArgumentParser) -> None:
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


def _add_output(command: argparse.ArgumentParser) -> None:
    command.add_argument("-o", "--output", metavar="FILE", help="write the report there instead of to stdout")
    command.add_argument("--traceback", action="store_true", help="on an error show where it came from")


def _add_lint(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lint = commands.add_parser(
        "lint",
        help="memory mistakes, each with its bytes and a way out",
        description="Memory mistakes, each with its bytes and a way out. What is not given here is taken from "
        "[tool.graphmem] in pyproject.toml.",
    )
    lint.add_argument("targets", metavar="TARGET", nargs="*", help=f"{_TARGET} Several are judged one by one.")
    lint.add_argument("--budget", metavar="SIZE", help="bytes that forward may leave alive: 40GiB")
    lint.add_argument(
        "--at",
        metavar="NAME=VALUE",
        action="append",
        help="judge there, and not at the working point: s=8192; repeatable",
    )
    for name, what in (
        ("select", "only these rules"),
        ("extend-select", "these rules as well"),
        ("ignore", "not these rules"),
    ):
        lint.add_argument(f"--{name}", metavar="RULES", action="append", help=f"{what}: GM101,GM2 or names; repeatable")
    lint.add_argument("--threshold", metavar="SIZE", help="what is too small to report: 10MiB or 2%% (default: 1%%)")
    lint.add_argument("--baseline", metavar="FILE", help="findings that are known, and not reported unless they grow")
    lint.add_argument(
        "--write-baseline", action="store_true", help="make all findings known: write them to the baseline"
    )
    lint.add_argument("--config", metavar="FILE", help="a pyproject.toml (default: the nearest one above)")
    lint.add_argument("--format", choices=("text", "json", "sarif", "github", "markdown"), help="default: text")
    _add_analysis(lint)
    _add_output(lint)
    lint.set_defaults(run=_lint, device=None)


def _rule(options: argparse.Namespace) -> int:
    from graphmem.lint.explain import explained, listed
    from graphmem.lint.rule import all_rules, find_rule

    if options.all == (options.rule is not None):
        raise UsageError("one rule, or --all", hint="graphmem rule GM101")
    _print(listed(all_rules()) if options.all else explained(find_rule(options.rule)))
    return CLEAN


def _lint(options: argparse.Namespace) -> int:
    from graphmem.lint.command import lint, read_request
    from graphmem.lint.settings import with_settings

    _check_output(options.output)
    given = with_settings(vars(options))
    request = read_request(given)
    result = lint(request, given["targets"], lambda target: _report(argparse.Namespace(**{**given, "target": target})))
    if options.write_baseline:
        from graphmem.lint.baseline import DEFAULT_FILE, baseline_text

        _write(baseline_text(result.findings), given["baseline"] or DEFAULT_FILE)
        return CLEAN
    from graphmem.lint.formats import FORMATS

    _write(FORMATS[given["format"]](result), options.output)
    return FOUND if result.findings else CLEAN


def _analyze(options: argparse.Namespace) -> int:
    _check_output(options.output)
    report = _report(options)
    from graphmem.render import FORMATS

    _write(FORMATS[options.format](report), options.output)
    return CLEAN


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
