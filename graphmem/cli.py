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

from graphmem.errors import GraphmemError, UsageError
from graphmem.options import parser

if TYPE_CHECKING:
    from graphmem.load import Wishes
    from graphmem.report import Report

CLEAN, FINDINGS, FAILED = 0, 1, 2
_OUTPUT = "{} takes a file in an existing folder that can be written"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 clean, 1 findings, 2 could not analyse."""
    whole = parser()
    options = whole.parse_args(arguments)
    if options.command is None:
        whole.print_help(sys.stderr)
        return FAILED
    try:
        return _COMMANDS[options.command](options)
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
    except Exception:  # 1 would say that there are findings
        traceback.print_exc()
        print("graphmem: internal error: please report it with the lines above, and with the model", file=sys.stderr)
        return FAILED


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
    return CLEAN if found.value is not None else FINDINGS


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
        try:
            words = [*shlex.split(options.both), *shlex.split(own)]
        except ValueError as error:
            raise UsageError(f"cannot read {own or options.both!r}: {error}", hint="--b '--set b=2'") from None
        if target.endswith(".json") and is_report(target):
            if words:
                raise UsageError(f"{target} is a saved report: {' '.join(words)} goes with a target only")
            return load_report(target)
        words = ["analyze", target, *words]
        return _report(parser().parse_args(words)).to_dict()

    found = diff(side(options.first, options.a), side(options.second or options.first, options.b))
    from graphmem.render import diff as rendered

    _write(rendered.as_json(found) if options.format == "json" else rendered.render(found), options.output)
    return CLEAN


def _validate(options: argparse.Namespace) -> int:
    _check_output(options.output)
    _check_output(options.svg, "--svg")
    assume, _ = _pairs("--assume", options.assume), _pairs("--set", options.set)
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
            wishes=_wishes(options),
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


def _lint(options: argparse.Namespace) -> int:
    from graphmem.lint.command import lint, read_request
    from graphmem.lint.settings import with_settings

    _check_output(options.output)
    given = with_settings(vars(options))
    request = read_request(given)
    result = lint(request, given["targets"], lambda target: _report(argparse.Namespace(**{**given, "target": target})))
    if options.write_baseline:
        from graphmem.lint.baseline import DEFAULT_FILE, baseline_text

        file = given["baseline"] or DEFAULT_FILE
        _write(baseline_text(result.findings), file, "--baseline")
        print(f"graphmem: note: {file} knows {len(result.findings)} findings now", file=sys.stderr)
        return CLEAN
    from graphmem.lint.formats import FORMATS

    _write(FORMATS[given["format"]](result), options.output)
    return FINDINGS if result.findings else CLEAN


def _rule(options: argparse.Namespace) -> int:
    from graphmem.lint.explain import explained, listed
    from graphmem.lint.rule import all_rules, find_rule

    if options.all == (options.rule is not None):
        raise UsageError("one rule, or --all", hint="graphmem rule GM101")
    _print(listed(all_rules()) if options.all else explained(find_rule(options.rule)))
    return CLEAN


def _say_changed(changed: Sequence[str]) -> None:
    for note in changed:
        print(f"graphmem: note: {note}", file=sys.stderr)


def _report(options: argparse.Namespace) -> Report:
    """The report that the options of a command ask for."""
    _pairs("--set", options.set)  # a slip is told before torch is imported
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
            subject = load_target(options.target, _wishes(options))
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


def _wishes(options: argparse.Namespace) -> Wishes:
    from graphmem.load import Wishes

    settings = _pairs("--set", options.set)
    return Wishes(settings, tuple(options.input), options.config, options.task, options.trust_remote_code)


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


_COMMANDS = {
    "analyze": _analyze, "fit": _fit, "diff": _diff, "validate": _validate, "lint": _lint, "rule": _rule,
}  # fmt: skip
