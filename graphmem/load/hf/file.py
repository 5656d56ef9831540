"""Reading a config.json: what it is, which class of transformers reads it, and code of its own beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graphmem.errors import TargetError, closest
from graphmem.load.hf.config import ConfigFile
from graphmem.load.hf.quietly import quietly
from graphmem.saved_json import parse, read_text
from graphmem.usercode.paths import no_file
from graphmem.usercode.running import raised
from graphmem.usercode.turn import users_turn


def read(path: str, trust_remote_code: bool) -> ConfigFile:
    """The file at `path`.

    Raises:
        TargetError: there is no such file, it is not a config.json, or transformers does not know its model.
    """
    file = Path(path)
    if (problem := no_file(path)) is not None:
        raise TargetError(f"{path} {problem}", hint="give the path of a Hugging Face config.json")
    try:
        content = parse(read_text(path))
    except OSError as error:
        raise TargetError(f"cannot read {path}: {error.strerror}", hint="a file that can be read") from error
    except json.JSONDecodeError as error:
        lines = error.doc.splitlines()
        line = lines[error.lineno - 1].strip() if error.lineno <= len(lines) else ""
        where = f"{path}:{error.lineno}    {line}"
        raise TargetError(f"{path} is not JSON: {error.msg}", where=where, hint="fix the line") from error
    except ValueError as error:
        raise TargetError(
            f"{path} cannot be read: {error}", where=path, hint="save it as plain JSON in UTF-8"
        ) from error
    if not isinstance(content, dict) or not content:
        raise TargetError(f"{path} holds no JSON object", where=path, hint='a config.json starts with {"model_type": ')
    return ConfigFile(file=path, content=content, config_class=_config_class(file, content, trust_remote_code))


def _config_class(file: Path, content: Mapping[str, Any], trust_remote_code: bool) -> Any:
    with quietly():
        from transformers import CONFIG_MAPPING

        model_type = content.get("model_type")
        remote = content.get("auto_map")
        if isinstance(remote, dict) and "AutoConfig" in remote and trust_remote_code:
            return remote_code(file, remote["AutoConfig"])
        if model_type == "mistral" and "layer_types" in content:
            model_type = "ministral"  # as AutoConfig does
        if isinstance(model_type, str) and model_type in CONFIG_MAPPING:
            return CONFIG_MAPPING[model_type]
        if remote:
            raise needs_code(file, _flat(remote))
        raise _unknown(file, content, list(CONFIG_MAPPING))


def needs_code(file: Path, names: list[Any]) -> TargetError:
    """The error for a config whose `auto_map` names code, which nobody allowed to run."""
    return TargetError(
        f"{file} needs code of its own ({', '.join(map(str, names))}), which graphmem runs only if you ask for it",
        where=str(file),
        hint="read the code; with --trust-remote-code what lies beside the file is run, nothing is downloaded",
    )


def nested_code(content: Any) -> list[Any]:
    """What the `auto_map`s of configs inside a config name. transformers asks on the terminal whether to run it."""
    parts = list(content.values()) if isinstance(content, dict) else []
    found = [name for part in parts if isinstance(part, dict) for name in _flat(part.get("auto_map"))]
    return found + [name for part in parts for name in nested_code(part)]


def _unknown(file: Path, content: Mapping[str, Any], known: list[str]) -> TargetError:
    from transformers import __version__

    model_type = content.get("model_type")
    if model_type is None:
        a_report = "graphmem" in content
        return TargetError(
            f"{file} has no model_type, so it is not the config.json of a transformers model",
            where=str(file),
            hint="it is a report: graphmem diff reads these" if a_report else 'add it, such as "model_type": "llama"',
        )
    guess = closest(str(model_type), known)
    return TargetError(
        f"{file}: transformers {__version__} knows no model_type {model_type!r}",
        where=str(file),
        hint=f"{guess}a newer model may need a newer transformers: pip install -U transformers",
    )


def remote_code(file: Path, reference: Any) -> Any:
    """The class that auto_map names, from a file beside the config.

    Raises:
        TargetError: the file is in another repository, or missing. ModelError: it raised.
    """
    reference = reference[0] if isinstance(reference, (list, tuple)) else reference
    module, _, _ = str(reference).partition(".")
    if "--" in str(reference) or not (file.parent / f"{module}.py").is_file():
        raise TargetError(
            f"{file} names {reference}, which is not beside it",
            where=str(file),
            hint="graphmem downloads nothing: put the model's .py files into the folder of config.json,\n"
            f'and name them without a repository: "auto_map": {{"...": "{str(reference).rpartition("--")[2]}"}}',
        )
    try:
        with quietly(), users_turn():
            from transformers.dynamic_module_utils import get_class_from_dynamic_module

            return get_class_from_dynamic_module(str(reference), str(file.parent), local_files_only=True)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise raised(error, f"{reference} of {file}", None) from error


def _flat(remote: Any) -> list[Any]:
    values = remote.values() if isinstance(remote, dict) else [remote]
    return [one for value in values for one in (value if isinstance(value, list) else [value]) if one]
