"""The command line: arguments in, text and an exit code out. Nothing here imports torch before a command needs it."""

from __future__ import annotations

import argparse
import shlex
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from graphmem.cli.files import check_output, refuse_elsewhere, show, write
from graphmem.cli.options import parser
from graphmem.errors import GraphmemError, TorchError, UsageError
from graphmem.escapes import safe_text, said
from graphmem.saved_json import is_readable_twice
from graphmem.units import read_size
from graphmem.usercode.interrupts import held_back, may_come

if TYPE_CHECKING:
    from graphmem.analysis.report import Report
    from graphmem.how import How
    from graphmem.load import Wishes

CLEAN, NOT_CLEAN, FAILED = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 clean, 1 not clean, 2 could not analyse."""
    try:
        whole = parser()
        options = whole.parse_args(arguments)
        if options.command is None:
            whole.print_help(sys.stderr)
            return FAILED
        with held_back(), may_come():  # but not in destructors
            return _COMMANDS[options.command](options)
    except GraphmemError as error:
        return _failed(error, options)
    except KeyboardInterrupt as error:
        _say("interrupted" + _where(error))
        return FAILED
    except BrokenPipeError:  # the reader of stdout has seen enough
        sys.stderr.close()
        return CLEAN
    except SystemExit:  # argparse, for the words of --a and --b
        raise
    except BaseException as error:  # 1 would be an answer
        missing = _not_installed(error)
        if missing is not None:
            return _failed(missing, options)
        traceback.print_exc()
        _say("internal error: please report it with the lines above, and with the model")
        return FAILED


def _say(text: str) -> None:
    """To stderr, as graphmem's words."""
    print(safe_text(f"graphmem: {text}"), file=sys.stderr)


def _where(error: BaseException) -> str:
    """The line of the user's that was under way; or that raised it itself."""
    from graphmem.usercode.paths import is_users, shown

    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    return f"\n  at   {shown(frames[-1].filename)}:{frames[-1].lineno}    {frames[-1].line}" if frames else ""


def _failed(error: GraphmemError, options: argparse.Namespace) -> int:
    if options.traceback:
        traceback.print_exc()
    _say(f"error: {error}")
    return error.exit_code


def _not_installed(error: BaseException) -> TorchError | None:
    """The error for a torch that is not there, or does not start: libraries of CUDA that are missing, say. Or for
    another package that graphmem needs."""
    if isinstance(error, ModuleNotFoundError) and error.name in ("sympy", "networkx", "tabulate"):
        return TorchError(
            f"{error.name} is not installed here", where=sys.executable, hint="pip install graphmem, which brings it"
        )
    if not isinstance(error, (ImportError, OSError)):
        return None
    try:
        import torch  # noqa: F401
    except Exception as problem:
        gone = isinstance(problem, ModuleNotFoundError) and problem.name == "torch"
        return TorchError(
            "torch is not installed here" if gone else f"torch cannot be imported: {said(problem)}",
            where=sys.executable,
            hint="pip install torch, where graphmem is installed",
        )
    return None


def _analyze(options: argparse.Namespace) -> int:
    check_output(options.output)
    with _report(options) as report:
        from graphmem.render import FORMATS
        from graphmem.render.formula import ascii_only

        content = FORMATS[options.format](report)
    write(ascii_only(content) if options.ascii and isinstance(content, str) else content, options.output)
    return CLEAN


def _fit(options: argparse.Namespace) -> int:
    check_output(options.output)
    with _report(options) as report:
        from graphmem.analysis.fit import fit
        from graphmem.render import FIT_FORMATS

        found = fit(report, options.solve, _memory(options), read_size(options.reserve, "--reserve"))
        content = FIT_FORMATS[options.format](found)
    write(content, options.output)
    return CLEAN if found.value is not None else NOT_CLEAN


def _memory(options: argparse.Namespace) -> int:
    from graphmem.machine import resolve

    return (
        read_size(options.memory, "--memory") if options.memory else resolve(gpu=options.gpu, device="cuda").gpu.memory
    )


def _diff(options: argparse.Namespace) -> int:
    check_output(options.output)
    from graphmem.report.diff import diff
    from graphmem.report.saved import as_report, is_report, load_json

    def side(target: str, own: str) -> Mapping[str, Any]:
        try:
            words = [*shlex.split(options.both), *shlex.split(own)]
        except ValueError as error:
            raise UsageError(f"cannot read {own or options.both!r}: {error}", hint="--b '--set b=2'") from None
        if target.endswith(".json"):
            data = load_json(target)  # once: it may be a pipe
            if is_report(data) or not is_readable_twice(target):
                if words:
                    raise UsageError(
                        f"{target} is a saved report: {' '.join(words)} is for a target only", hint="leave them out"
                    )
                return as_report(data, target)
        with _report(parser().parse_args(["analyze", target, *words])) as report:
            return report.to_dict()

    found = diff(side(options.first, options.a), side(options.second or options.first, options.b))
    from graphmem.render import DIFF_FORMATS

    write(DIFF_FORMATS[options.format](found), options.output)
    return CLEAN


def _validate(options: argparse.Namespace) -> int:
    check_output(options.output)
    check_output(options.svg, "--svg")
    _pairs("--assume", options.assume), _pairs("--set", options.set)  # an error comes before torch is imported
    _import_torch()
    from graphmem.load import load_target
    from graphmem.validation import plot
    from graphmem.validation.output import FORMATS
    from graphmem.validation.run import validate_subject
    from graphmem.validation.step import Settings
    from graphmem.validation.sweep import read_sweep

    settings, sweep, wishes = (
        Settings(how=_how(options), steps=options.steps),
        read_sweep(options.sweep),
        _wishes(options),
    )
    with _apart(standing_in=False):
        result = validate_subject(lambda: load_target(options.target, wishes), settings, sweep, force=options.force)
    write(FORMATS[options.format](result), options.output)
    if options.svg is not None:
        write(plot.render(result), options.svg, "--svg")
    for failure in result.failures:
        _say(f"error: {failure}")
    return FAILED if result.failures else CLEAN if result.exact else NOT_CLEAN


def _lint(options: argparse.Namespace) -> int:
    from graphmem.cli.settings import with_settings
    from graphmem.linter.command import lint, read_request

    check_output(options.output)
    given = with_settings(vars(options))
    request = read_request(given)
    if not request.rules:
        raise UsageError("no rule is left to run", hint="--ignore takes away all that --select names")
    result = lint(request, given["targets"], lambda target: _report(argparse.Namespace(**{**given, "target": target})))
    if options.write_baseline:
        from graphmem.linter.baseline import DEFAULT_FILE, baseline_text

        file = given["baseline"] or DEFAULT_FILE
        if options.baseline is None:
            refuse_elsewhere(file)
        write(baseline_text(result.findings), file, "--baseline")
        count = len(result.findings)
        _say(f"note: wrote {count} finding{'' if count == 1 else 's'} to {file}")
        return CLEAN
    from graphmem.linter.formats import FORMATS

    write(FORMATS[given["format"]](result), options.output, commands=given["format"] == "github")
    return NOT_CLEAN if result.findings else CLEAN


def _rule(options: argparse.Namespace) -> int:
    from graphmem.linter.explain import explained, listed
    from graphmem.linter.rule import all_rules, find_rule

    if options.all == (options.rule is not None):
        raise UsageError("give one rule, or --all", hint="graphmem rule GM101")
    show(listed(all_rules()) if options.all else explained(find_rule(options.rule)))
    return CLEAN


@contextmanager
def _report(options: argparse.Namespace) -> Iterator[Report]:
    """The report that the options of a command ask for. What still runs the model belongs into the block."""
    _pairs("--set", options.set)  # an error comes before torch is imported
    _import_torch()
    from graphmem.analysis.analyze import analyze_subject
    from graphmem.load import load_target

    how = _how(options)
    with _apart():
        yield analyze_subject(load_target(options.target, _wishes(options)), how)


@contextmanager
def _apart(*, standing_in: bool = True) -> Iterator[None]:
    """The user's code runs in the block: it prints to stderr, and what it changed is put back, and said, at the end."""
    from graphmem.usercode.isolate import isolated

    changed: list[str] = []
    try:
        with isolated(changed, keep_stdout_clean=True, standing_in=standing_in):
            yield
    finally:
        for note in changed:
            _say(f"note: {note}")


def _import_torch() -> None:
    from graphmem.usercode.garbage import put_off

    with warnings.catch_warnings(), put_off():  # a million new objects, none of them garbage
        warnings.filterwarnings("ignore", message="Failed to initialize NumPy")  # torch runs without it
        import torch  # noqa: F401

        import graphmem.analysis.analyze  # noqa: F401


def _how(options: argparse.Namespace) -> How:
    """The options of an analysis, which have the same names there."""
    from graphmem.how import Options, read_how

    given = {
        name: value for name, value in vars(options).items() if name in Options.__annotations__ and value is not None
    }
    return read_how(cast(Options, {**given, "assume": _pairs("--assume", options.assume)}))


def _wishes(options: argparse.Namespace) -> Wishes:
    from graphmem.load import Wishes

    settings = _pairs("--set", options.set)
    return Wishes(
        settings=settings,
        inputs=tuple(options.input),
        config=options.config,
        task=options.task,
        trust_remote_code=options.trust_remote_code,
    )


_EXAMPLES = {"--set": "--set s=4096", "--assume": "--assume experts=worst"}


def _pairs(option: str, pairs: Sequence[str]) -> dict[str, object]:
    settings: dict[str, object] = {}
    for pair in pairs:
        name, equals, value = pair.rpartition("=") if option == "--assume" else pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {pair}: not NAME=VALUE", hint=_EXAMPLES[option])
        settings[name.strip()] = value.strip()
    return settings


_COMMANDS = {
    "analyze": _analyze, "fit": _fit, "diff": _diff, "validate": _validate, "lint": _lint, "rule": _rule,
}  # fmt: skip
