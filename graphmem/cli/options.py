"""The options of the command line. Nothing here imports torch."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from graphmem.escapes import safe_text
from graphmem.linter.formats import FORMATS as LINT_FORMATS
from graphmem.render import DIFF_FORMATS, FIT_FORMATS, FORMATS
from graphmem.render.formats import Formats
from graphmem.validation.output import FORMATS as VALIDATION_FORMATS
from graphmem.version import __version__

_TARGET = """what to analyse: model.py, model.py:name, package.module:name, or a Hugging Face config.json. A Python file
is EXECUTED, so it can do whatever its author wrote: analyse only files that you would run. Ideally the file defines two
functions, whose parameters are the symbols and whose defaults are the working point: model(h=768, a=12, ...) ->
nn.Module and inputs(b=8, s=1024, ...) -> tuple or dict of tensors; and, if the model returns no loss, optionally
loss(output) -> tensor. In any other file the model's class, its config and its inputs are guessed, and the report says
what was guessed."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """The words of the command line are in it, as they were given."""
        super().error(safe_text(message))


class _Command(_Parser):
    """One command. argparse gives a list of words that an option takes TARGET as well, where that comes next."""

    def parse_known_args(  # type: ignore[override]  # a command gets all of its words, never None
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        for word in args:
            option, equals, value = word.partition("=")
            if equals and value == "--" and option.startswith("-"):  # argparse of Python 3.11 gives it as a list
                self.error(f"argument {option}: -- is not a value")
        return super().parse_known_args(_one_word_each(args), namespace)


def _one_word_each(words: Sequence[str]) -> list[str]:
    """`--sweep s=1,2 b=3 TARGET` as `--sweep s=1,2 --sweep b=3 TARGET`."""
    found: list[str] = []
    taken = None  # words that the sweep at hand has so far; None outside of one
    for word in words:
        if word.startswith("-"):
            taken = int("=" in word) if word.startswith("--sw") else None  # argparse takes --sw for --sweep, too
        elif taken is not None and (taken == 0 or "=" in word):
            found += ["--sweep"] if taken else []
            taken += 1
        else:
            taken = None
        found.append(word)
    return found


def parser() -> argparse.ArgumentParser:
    """The whole command line: graphmem COMMAND ..."""
    whole = _Parser(
        prog="graphmem",
        description="Where a Transformer's activation memory goes, in bytes and as a formula, without a GPU.",
        epilog="exit codes: 0 clean, 1 something is not as it should be: lint found something, validate found a "
        "difference, nothing fits; 2 could not analyse",
    )
    whole.add_argument("--version", action="version", version=f"graphmem {__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Command)
    analyze = commands.add_parser(
        "analyze",
        help="what autograd keeps for backward, where, and why",
        description="What autograd keeps for backward: by module, by attention, by tensor, in bytes and as a formula.",
    )
    _add_target(analyze)
    _add_options(analyze)
    _add_format(analyze, FORMATS)
    analyze.add_argument("--ascii", action="store_true", help="s^2 for s², x for ×: plain ASCII")
    _add_fit(commands)
    _add_diff(commands)
    _add_validate(commands)
    _add_lint(commands)
    _add_rule(commands)
    return whole


def actions_of(command: str) -> list[argparse.Action]:
    """The arguments and options of one command; argparse has no public name for them."""
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    actions: list[argparse.Action] = commands.choices[command]._actions
    return actions


def _add_target(command: argparse.ArgumentParser) -> None:
    command.add_argument("target", metavar="TARGET", help=_TARGET)


def _add_options(command: argparse.ArgumentParser) -> None:
    """What every command that analyses a target takes."""
    _add_subject(command)
    command.add_argument(
        "--gpu", help="the GPU to analyse for, such as h100 or a100 (default: the one present, else h100)"
    )
    command.add_argument(
        "--device", default="cuda", choices=("cuda", "cpu"), help="where the model will run (default: cuda)"
    )
    command.add_argument(
        "--torch",
        metavar="VERSION",
        dest="torch_version",
        help="the torch release whose kernel choices apply (default: the installed one)",
    )
    command.add_argument(
        "--cudnn",
        metavar="VERSION",
        dest="cudnn_version",
        help="the cuDNN release whose kernel choices apply (default: the one of that torch release)",
    )
    command.add_argument("--full-depth", action="store_true", help="trace all layers, however many there are")
    _add_output(command)


def _add_subject(command: argparse.ArgumentParser) -> None:
    """What every command that loads a target takes."""
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
        help="for a file without inputs(), or config.json: an argument of forward, such as idx=int64[b,s]; repeatable",
    )
    command.add_argument("--config", help="for a file without model(): how to make one, such as GPTConfig(n_layer=12)")
    command.add_argument("--task", help="for config.json: causal-lm, masked-lm, ... (default: by its architecture)")
    command.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="for config.json: run the code that it names, from this machine",
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
    command.add_argument("-o", "--output", metavar="FILE", help="write the report there instead of to stdout")
    command.add_argument("--traceback", action="store_true", help="on an error, show where it came from")


def _add_format(command: argparse.ArgumentParser, formats: Formats[Any]) -> None:
    command.add_argument(
        "--format", default=formats.default, choices=tuple(formats), help=f"default: {formats.default}"
    )


def _add_fit(commands: argparse._SubParsersAction[_Command]) -> None:
    fit = commands.add_parser(
        "fit",
        help="the largest length or batch that fits into memory",
        description="The largest value of a symbol at which parameters and what forward leaves alive fit into memory.",
    )
    _add_target(fit)
    _add_options(fit)
    fit.add_argument("--solve", metavar="SYMBOL", required=True, help="what to make as large as possible: s, b, L, ...")
    fit.add_argument("--memory", metavar="BYTES", help="what to fit into, such as 80GiB (default: the GPU's)")
    fit.add_argument(
        "--reserve", metavar="BYTES", default="0", help="to keep free for gradients, optimizer, temporaries: 30GiB"
    )
    _add_format(fit, FIT_FORMATS)


def _add_diff(commands: argparse._SubParsersAction[_Command]) -> None:
    diff = commands.add_parser(
        "diff",
        help="how much more one model or setting keeps than another",
        description="Compare two targets, two settings of one, or two reports that --format json -o FILE wrote.",
        epilog='example: graphmem diff samples/gpt2.py --b "--set attn=sdpa"',
    )
    diff.add_argument("first", metavar="A", help="a target as for analyze, or a saved report")
    diff.add_argument("second", metavar="B", nargs="?", help="another one (default: A again, with the options of --b)")
    diff.add_argument(
        "--a", metavar="OPTIONS", default="", help='options of analyze for A alone, in quotes: "--set s=512"'
    )
    diff.add_argument("--b", metavar="OPTIONS", default="", help="the same for B alone")
    diff.add_argument("--both", metavar="OPTIONS", default="", help="the same for both")
    _add_format(diff, DIFF_FORMATS)
    diff.add_argument("-o", "--output", metavar="FILE", help="write it there instead of to stdout")
    diff.add_argument("--traceback", action="store_true", help="on an error, show where it came from")


def _add_validate(commands: argparse._SubParsersAction[_Command]) -> None:
    validate = commands.add_parser(
        "validate",
        help="run the model for real and compare",
        description="Run forward, loss and backward with random weights and compare what autograd keeps, storage by "
        "storage, and what the allocator counts, with the prediction.",
        epilog="exit codes: 0 every saved storage is as predicted, 1 one is not, 2 could not run",
    )
    _add_target(validate)
    _add_subject(validate)
    validate.add_argument(
        "--sweep",
        metavar="NAME=N,N,..",
        action="append",
        default=[],
        help="run at these values; several symbols, as in --sweep s=512,1024,2048 b=1,4, in every combination",
    )
    validate.add_argument(
        "--steps", type=int, default=2, help="training steps for each point; all but the last warm up (default: 2)"
    )
    validate.add_argument("--device", default="cuda", choices=("cuda", "cpu"), help="where to run it (default: cuda)")
    validate.add_argument("--force", action="store_true", help="run even if the prediction says it will not fit")
    validate.add_argument("--svg", metavar="FILE", help="plot predicted and measured bytes over the swept symbols")
    _add_format(validate, VALIDATION_FORMATS)
    _add_output(validate)


def _add_lint(commands: argparse._SubParsersAction[_Command]) -> None:
    lint = commands.add_parser(
        "lint",
        help="memory mistakes, each with its bytes and a way out",
        description="Memory mistakes, each with its bytes and a way out. What is not given here is taken from "
        "[tool.graphmem] in pyproject.toml.",
        epilog="exit codes: 0 nothing found, 1 findings or over the budget, 2 could not analyse",
    )
    lint.add_argument("targets", metavar="TARGET", nargs="*", help=f"{_TARGET} Several are judged one by one.")
    lint.add_argument("--budget", metavar="BYTES", help="what forward may leave alive: 40GiB")
    lint.add_argument(
        "--at",
        metavar="NAME=VALUE",
        action="append",
        help="judge here instead of at the working point: s=8192; repeatable",
    )
    for name, what in (
        ("select", "only these rules"),
        ("extend-select", "these rules as well"),
        ("ignore", "not these rules"),
    ):
        lint.add_argument(f"--{name}", metavar="RULES", action="append", help=f"{what}: GM101,GM2 or names; repeatable")
    lint.add_argument("--threshold", metavar="BYTES", help="leave out smaller findings: 10MiB or 2%% (default: 1%%)")
    lint.add_argument("--baseline", metavar="FILE", help="accepted findings, not reported unless they grow")
    lint.add_argument(
        "--write-baseline", action="store_true", help="accept all current findings by writing them to the baseline"
    )
    lint.add_argument("--pyproject", metavar="FILE", help="the pyproject.toml to read (default: the nearest one above)")
    _add_format(lint, LINT_FORMATS)
    _add_options(lint)
    lint.set_defaults(device=None, format=None)  # so that pyproject.toml can give them


def _add_rule(commands: argparse._SubParsersAction[_Command]) -> None:
    rule = commands.add_parser("rule", help="explain a rule of lint", description="Explain a rule of lint.")
    rule.add_argument("rule", metavar="RULE", nargs="?", help="a code or a name: GM101, materialized-attention")
    rule.add_argument("--all", action="store_true", help="list all rules")
    rule.set_defaults(traceback=False)
