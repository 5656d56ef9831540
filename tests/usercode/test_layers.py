"""Lists of layers: which of them are inside others."""

from __future__ import annotations

import pytest

from graphmem.usercode.layers import outermost


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["encoder", "decoder"], ["encoder", "decoder"]),
        (["layers", "layers.0.experts", "layers2"], ["layers", "layers2"]),
        (["layers.0.experts", "layers"], ["layers"]),
        (["", "0.experts", "1.experts"], [""]),  # the model itself is a list
        (["h.1", "h.10"], ["h.1", "h.10"]),
    ],
)
def test_what_is_repeated_within_a_layer_is_repeated_with_it(paths: list[str], found: list[str]) -> None:
    assert outermost(paths) == found
