"""Which class of transformers a config.json means, by its architectures or by a task, and what labels it trains with.

A task of transformers is known here without an entry, by its class AutoModelFor...; what its labels are is one entry in
`_TRAINED_WITH`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from graphmem.errors import TargetError, UsageError
from graphmem.load.hf.config import ConfigFile
from graphmem.load.hf.file import remote_code
from graphmem.load.hf.quietly import quietly
from graphmem.load.hf.tensors import Sizes, ids, image_size

_PREFIX = "AutoModelFor"
# Tasks whose names do not follow from the words of the class's name.
_NAMES = {
    "CausalLM": "causal-lm", "MaskedLM": "masked-lm", "Seq2SeqLM": "seq2seq-lm", "SpeechSeq2Seq": "speech-seq2seq",
    "MultimodalLM": "multimodal-lm", "CTC": "ctc", "RNNT": "rnnt", "TDT": "tdt", "AudioXVector": "audio-xvector",
    "PreTraining": "pretraining",
}  # fmt: skip
BASE = "base"


def tasks() -> dict[str, Any]:
    """Task -> class of transformers: causal-lm -> AutoModelForCausalLM; `base` is the model without a head."""
    with quietly():
        from transformers.models.auto import modeling_auto

        found = {
            _task(name): getattr(modeling_auto, name)
            for name in dir(modeling_auto)
            if name.startswith(_PREFIX) and getattr(getattr(modeling_auto, name), "_model_mapping", None) is not None
        }
        return {**found, BASE: modeling_auto.AutoModel}


def _task(auto_class: str) -> str:
    words = auto_class.removeprefix(_PREFIX)
    return _NAMES.get(words) or re.sub(r"(?<=[a-z])(?=[A-Z])", "-", words).lower()


def tasks_of(config: Any) -> list[str]:
    """The tasks that transformers has a class for, with this config; `base` alone for a part of another model."""
    known = [task for task, auto in tasks().items() if type(config) in auto._model_mapping]
    return known or ([BASE] if _own_classes(config) else [])


def class_for(config: Any, task: str) -> Any:
    """The class that transformers has for one of `tasks_of` this config: several, where one task has several.

    Raises:
        TargetError: its tables name a class that it does not have.
    """
    auto = tasks()[task]
    if type(config) not in auto._model_mapping:
        return _own_classes(config)[-1]
    try:
        with quietly():
            return auto._model_mapping[type(config)]
    except ValueError as error:  # the mapping names a class that is not public
        own = _own_classes(config)
        if task == BASE and own:
            return own[-1]
        raise TargetError(
            f"transformers cannot give the class of {_type(config)} for {task}: {error}", hint="another --task"
        ) from error


def _own_classes(config: Any) -> list[Any]:
    """The models without a head that take such a config, which the auto classes may not know: a text or an image part
    of a composite model. In the order of the file: an encoder comes before the model around it."""
    package = type(config).__module__.rpartition(".")[0]
    found = []
    with quietly():
        from transformers import PreTrainedModel

        for part in pkgutil.iter_modules(getattr(importlib.import_module(package), "__path__", [])):
            if not part.name.startswith("modeling_"):
                continue
            module = importlib.import_module(f"{package}.{part.name}")
            found += [
                value
                for value in vars(module).values()
                if isinstance(value, type)
                and issubclass(value, PreTrainedModel)
                and value.__module__ == module.__name__
                and value.config_class is type(config)
            ]
    runnable = [c for c in found if c.forward is not torch.nn.Module.forward]
    return [c for c in runnable if not re.search("For[A-Z]|With[A-Z]", c.__name__)] or runnable


def model_class(file: ConfigFile, config: Any, task: str | None, trust_remote_code: bool) -> tuple[Any, str]:
    """The class to build, and why that one.

    Raises:
        UsageError: an unknown task. TargetError: there is no class for this config, or nothing says which.
    """
    if task is not None:
        return _by_task(file, config, task, trust_remote_code), f"--task {task}"
    names = [name for name in file.content.get("architectures") or [] if isinstance(name, str)]
    remote = _remote(file, names) if trust_remote_code else None
    if remote is not None:
        return remote, f"architectures: {names[0]}"
    with quietly():
        import transformers

        for name in names:
            own = {cls.__name__: cls for cls in _own_classes(config)}  # not all are public
            found = getattr(transformers, name, own.get(name))
            if isinstance(found, type) and hasattr(found, "_from_config"):
                return found, f"architectures: {name}"
    possible = tasks_of(config)
    listed = ", ".join(possible) or "none"
    what = f"knows no {', '.join(names)}" if names else "cannot tell the model's task: no architectures in the file"
    who = "transformers" if names else "graphmem"
    raise TargetError(
        f"{file.file}: {who} {what}", where=file.file, hint=f"--task, one of those that {_type(config)} has: {listed}"
    )


def _by_task(file: ConfigFile, config: Any, task: str, trust_remote_code: bool) -> Any:
    known = tasks()
    name = task.lower().replace("_", "-")
    if name not in known:
        raise UsageError(f"unknown task {task!r}", hint=f"one of {', '.join(tasks_of(config) or known)}")
    auto = known[name]
    reference = (file.content.get("auto_map") or {}).get(auto.__name__)
    if reference and trust_remote_code:
        return remote_code(Path(file.file), reference)
    if name not in tasks_of(config):
        listed = ", ".join(tasks_of(config)) or "none; as a part of another model it is analysed in that one's config"
        raise UsageError(f"{_type(config)} has no model for {name}", hint=f"it has: {listed}")
    found = class_for(config, name)
    if not isinstance(found, (list, tuple)):
        return found
    named = file.content.get("architectures") or []  # DeiT has two for one task
    return next((cls for cls in found if cls.__name__ in named), found[0])


def _remote(file: ConfigFile, names: list[str]) -> Any | None:
    """The class of the model's own code that the file names: the one in architectures, else the last with a head."""
    references = [str(v) for k, v in (file.content.get("auto_map") or {}).items() if str(k).startswith("AutoModel")]
    fitting = [r for r in references if r.rpartition(".")[2] in names] or references[-1:]
    return remote_code(Path(file.file), fitting[0]) if fitting else None


def _type(config: Any) -> str:
    return str(config.model_type or type(config).__name__)


# --- what a class is trained with -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Head:
    """What the classes for some tasks are trained with.

    named: whether the name of a class says that it is for such a task.
    labels: the labels; None if there are none, or if the loss matches boxes or masks by their values.
    shifts: whether forward makes the decoder's inputs itself: of the labels, or of the encoder's ids.
    """

    named: Callable[[str], Any]
    labels: Callable[[Sizes], torch.Tensor] | None
    shifts: bool = False


def _has(words: str) -> Callable[[str], Any]:
    return re.compile(words).search


def _is_lm(name: str) -> bool:
    words = r"ForCausalLM|ForMaskedLM|ForConditionalGeneration|LMHead|ForPreTraining|Seq2Seq|WithLM"
    return bool(re.search(words, name)) or name in _text_to_text()  # MarianMTModel's name does not say it


def _text_to_text() -> Iterable[str]:
    from transformers.models.auto import modeling_auto

    return modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values()


def _tokens(at: Sizes) -> torch.Tensor:
    """One label for each token: of the decoder, where there is one and the class is not that alone."""
    encoder = getattr(at.config, "is_encoder_decoder", False) and not at.model.__name__.endswith("ForCausalLM")
    return ids(at, "s_decoder" if encoder else "s")


# The first that fits the name of a class is its head. The labels of CTC are 16 symbols: no config says how many.
_TRAINED_WITH = (
    _Head(
        named=_has("TokenClassification|FrameClassification"), labels=lambda at: at.whole(at["b"], at["s"]), shifts=True
    ),
    _Head(named=_has("SemanticSegmentation"), labels=lambda at: at.whole(at["b"], *image_size(at))),
    _Head(
        named=_has("Detection|UniversalSegmentation|InstanceSegmentation|ImageSegmentation|DepthEstimation|Pose"),
        labels=None,
    ),
    _Head(named=_has("Classification"), labels=lambda at: at.whole(at["b"]), shifts=True),
    _Head(named=_has("MultipleChoice|NextSentence"), labels=lambda at: at.whole(at["b"])),
    _Head(named=_has("ForCTC$"), labels=lambda at: at.whole(at["b"], 16, value=1)),
    _Head(named=_is_lm, labels=_tokens, shifts=True),
    _Head(named=_has("QuestionAnswering"), labels=None, shifts=True),
)
_NO_HEAD = _Head(named=_has(""), labels=None)


def _head(at: Sizes) -> _Head:
    return next((head for head in _TRAINED_WITH if head.named(at.model.__name__)), _NO_HEAD)


def has_labels(at: Sizes) -> bool:
    """Whether graphmem can make the labels that a class is trained with."""
    return _head(at).labels is not None


def labels(at: Sizes) -> torch.Tensor | None:
    """The labels that a class is trained with."""
    make = _head(at).labels
    return None if make is None else make(at)


def shifts_labels(at: Sizes) -> bool:
    """Whether forward makes the decoder's inputs itself, of what it gets."""
    head = _head(at)
    return head.shifts and (head.labels is not _tokens or at.takes("labels"))
