"""transformers without its warnings, without network, and without questions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from logging import CRITICAL

from graphmem.errors import TargetError

TRIED = ">=5.0,<6"  # as the extra `hf` in pyproject.toml says


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """transformers without warnings, which probing would multiply, without network, and without questions on stdin.

    Raises:
        TargetError: transformers is not installed.
    """
    try:
        from huggingface_hub import constants
        from transformers import dynamic_module_utils
        from transformers.utils import logging
    except ImportError as error:
        raise TargetError(
            f"a config.json needs transformers, which cannot be imported: {error}",
            hint=f"pip install 'transformers{TRIED}'",
        ) from error
    offline, level = constants.HF_HUB_OFFLINE, logging.get_verbosity()
    patience = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    constants.HF_HUB_OFFLINE = True
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = (
        0  # it would ask on stdin whether to run code, and take a "y" from there
    )
    logging.set_verbosity(CRITICAL)
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = patience
        logging.set_verbosity(level)
