"""transformers without its warnings and without network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from logging import CRITICAL

from graphmem.errors import TargetError

TRIED = ">=5.0,<6"  # as the extra `hf` in pyproject.toml says


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """transformers without warnings, which probing would multiply, and without network.

    Raises:
        TargetError: transformers is not installed.
    """
    try:
        from huggingface_hub import constants
        from transformers.utils import logging
    except ImportError as error:
        raise TargetError(
            f"a config.json needs transformers, which cannot be imported: {error}",
            hint=f"pip install 'transformers{TRIED}'",
        ) from error
    offline, level = constants.HF_HUB_OFFLINE, logging.get_verbosity()
    constants.HF_HUB_OFFLINE = True
    logging.set_verbosity(CRITICAL)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.set_verbosity(level)
