"""Reports, as the oracle would have them."""

from __future__ import annotations

from collections import Counter

import graphmem


def predicted(report: graphmem.Report) -> Counter[int]:
    sizes: Counter[int] = Counter()
    for node in report.nodes:
        sizes[node.each_bytes] += node.count
    assert report.saved.bytes == sum(size * count for size, count in sizes.items())
    return sizes
