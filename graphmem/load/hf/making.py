"""How transformers makes a config of a file's content, without what takes long and changes nothing."""

from __future__ import annotations

from typing import Any


def made_of(config_class: Any, content: dict[str, Any]) -> Any:
    """What `from_dict` makes. That also writes the config to a log that nobody reads, which takes as long again."""
    return config_class(**content) if is_plain(config_class) else config_class.from_dict(content)


def is_plain(config_class: Any) -> bool:
    """Whether the class reads a file as all others do (PreTrainedConfig.from_dict in transformers 5.17)."""
    from transformers import PretrainedConfig

    read: Any = config_class.from_dict
    return bool(read.__func__ is PretrainedConfig.from_dict.__func__)  # type: ignore[attr-defined]
