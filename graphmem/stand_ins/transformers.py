"""What transformers remembers about attention packages, put aside while stand-ins are importable."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphmem.stand_ins.imports import StandIns

_CHECKS = "transformers.utils.import_utils"
_FLASH = "transformers.modeling_flash_attention_utils"
# The functions that were imported, and for which implementation: transformers/modeling_flash_attention_utils.py.
_IMPORTED = (
    "_loaded_implementation",
    "_flash_fn",
    "_flash_varlen_fn",
    "_flash_with_kvcache_fn",
    "_pad_fn",
    "_unpad_fn",
    "_process_flash_kwargs_fn",
)
# Which distributions bring which package, as transformers lists them when it is imported.
_BROUGHT_BY = {
    "flash_attn": ("flash-attn", "flash-attn-4"),
    "flash_attn_interface": ("flash-attn-3",),
    "xformers": ("xformers",),
}


@contextmanager
def unremembered(active: StandIns) -> Iterator[None]:
    """Let transformers look again, at the beginning of the block and after it."""
    brought_by = _mapping()
    before = {name: list(brought_by[name]) for name in _BROUGHT_BY if name in brought_by}
    imported = {name: getattr(sys.modules[_FLASH], name, None) for name in _IMPORTED if _FLASH in sys.modules}
    for package, distributions in _BROUGHT_BY.items() if _CHECKS in sys.modules else ():
        if active.wanted(package):
            listed = before.get(package, [])
            brought_by[package] = listed + [name for name in distributions if not _among(name, listed)]
    _forget(dict.fromkeys(imported))
    known = _CHECKS in sys.modules
    try:
        yield
    finally:
        brought_by = _mapping()
        for package, distributions in _BROUGHT_BY.items():
            left = before.get(package, [])
            if not known:  # transformers came during the block and saw the stand-ins
                left = [name for wanted in distributions for name in _installed(wanted)]
            brought_by.pop(package, None)
            if left:
                brought_by[package] = left
        _forget(imported or dict.fromkeys(_IMPORTED))


def _mapping() -> dict[str, list[str]]:
    return getattr(sys.modules.get(_CHECKS), "PACKAGE_DISTRIBUTION_MAPPING", {})


def _among(name: str, names: list[str]) -> bool:
    return name in [other.replace("_", "-") for other in names]


def _installed(name: str) -> list[str]:
    """The name as the distribution itself writes it, if there is one."""
    try:
        return [distribution(name).metadata["Name"]]
    except PackageNotFoundError:
        return []


def _forget(imported: dict[str, Any]) -> None:
    """Empty the caches of the checks, and set what was imported."""
    for name, check in list(vars(sys.modules.get(_CHECKS, object)).items()):
        if name.startswith("is_flash_attn") or name == "is_torch_cuda_available":
            getattr(check, "cache_clear", lambda: None)()
    if _FLASH in sys.modules:
        vars(sys.modules[_FLASH]).update(imported)
