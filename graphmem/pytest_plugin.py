"""The pytest plugin: a marker with a budget and a fixture that asserts it. Active wherever graphmem is installed.

@pytest.mark.graphmem_budget("40GiB", gpu="h100")
def test_it_fits(graphmem_fits):
    graphmem_fits(model, inputs)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

_MARKER = "graphmem_budget"


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        f"{_MARKER}(size, **options): what forward may leave alive, '40GiB', for the fixture graphmem_fits; options "
        "of graphmem.analyze",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A marker without the fixture would assert nothing, and nobody would notice."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if item.get_closest_marker(_MARKER) is not None and "graphmem_fits" not in names:
            raise pytest.UsageError(
                f"{item.nodeid}: the marker {_MARKER} asserts nothing without the fixture graphmem_fits"
            )


@pytest.fixture
def graphmem_fits(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`graphmem.assert_fits` with the budget and the options of the test's marker."""
    marker = request.node.get_closest_marker(_MARKER)
    given: dict[str, Any] = dict(marker.kwargs) if marker is not None else {}
    if marker is not None and marker.args:
        given["budget"] = marker.args[0]

    def fits(model: Any, inputs: Any = None, **options: Any) -> Any:
        __tracebackhide__ = True
        from graphmem.analysis.assert_fits import assert_fits

        if "budget" not in {**given, **options}:
            raise pytest.UsageError(f"no budget: mark the test with {_MARKER}, or pass budget=")
        return assert_fits(model, inputs, **{**given, **options})

    return fits
