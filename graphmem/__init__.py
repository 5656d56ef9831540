"""graphmem: where a Transformer's activation memory goes, before the run.

    import graphmem
    report = graphmem.analyze(model, inputs)
    report.saved.bytes, report.saved.expr, report.at(b=4, s=8192).saved.bytes

Importing this package does not import torch; the first use of a name below does.
"""

from typing import TYPE_CHECKING, Any

from graphmem.version import __version__ as __version__

if TYPE_CHECKING:
    from graphmem.analysis.analyze import analyze as analyze
    from graphmem.analysis.assert_fits import assert_fits as assert_fits
    from graphmem.analysis.report import Report as Report
    from graphmem.errors import GraphmemError as GraphmemError
    from graphmem.validation.run import validate as validate

_HOMES = {
    "analyze": "graphmem.analysis.analyze",
    "assert_fits": "graphmem.analysis.assert_fits",
    "GraphmemError": "graphmem.errors",
    "Report": "graphmem.analysis.report",
    "validate": "graphmem.validation.run",
}

__all__ = ["GraphmemError", "Report", "__version__", "analyze", "assert_fits", "validate"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'graphmem' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
