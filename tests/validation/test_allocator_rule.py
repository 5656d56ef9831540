"""What is allocated beyond the sum of rounded sizes is the allocator's own rule, and nothing else.

tests/measure/allocator_history.py writes down every request that the allocator of a GPU gets while `graphmem validate`
runs, from an empty one on. Gone through by the rule (tests/support/allocator_rule.py), each has to get the address that
it really got, and the counters have to be the real ones wherever validate read them.
"""

import pytest

from support.allocator_rule import LARGE_SEGMENT, SMALL_SEGMENT, Allocator
from support.validated import TRUTH, packed

MIB = 2**20
FILE = TRUTH / "h200_allocator.json.gz"
HISTORY = packed(FILE)
RUNS = {f"{run['target']} {run['options']}".strip(): run for run in HISTORY["runs"]}


def test_rule_by_hand() -> None:
    allocator = Allocator([0, 100 * MIB, 200 * MIB])
    assert allocator.allocate(100) == 0
    assert allocator.allocate(513) == 512  # small blocks are always split
    assert allocator.allocate(3 * MIB) == 100 * MIB
    assert allocator.allocate(17 * MIB + 1) == 200 * MIB  # in a segment of its own, of 18 MiB: less than 1 MiB is left
    assert allocator.allocated == 512 + 1024 + 3 * MIB + 18 * MIB
    allocator.release(100 * MIB)
    assert allocator.allocate(19 * MIB) == 100 * MIB
    assert allocator.allocated == 512 + 1024 + 20 * MIB + 18 * MIB  # handed out whole
    assert allocator.requested == 100 + 513 + 19 * MIB + 17 * MIB + 1
    assert allocator.asked == [SMALL_SEGMENT, LARGE_SEGMENT, 18 * MIB]
    allocator.release(0)
    allocator.release(512)
    assert allocator.release_segment(0) == SMALL_SEGMENT


@pytest.mark.parametrize("name", RUNS)
def test_every_block_is_where_the_rule_says(name) -> None:
    run = RUNS[name]
    events = [(HISTORY["kinds"][kind], address, nbytes) for kind, address, nbytes in run["events"]]
    marks = [(position, requested, allocated) for position, requested, allocated, _ in run["marks"]]
    allocator = Allocator([address for kind, address, _ in events if kind == "segment_alloc"])
    for i, (kind, address, nbytes) in enumerate(events):
        while marks and marks[0][0] == i:
            assert (i, allocator.requested, allocator.allocated) == marks.pop(0)
        if kind == "alloc":
            assert allocator.allocate(nbytes) == address, i
        elif kind == "free_completed":
            allocator.release(address)
        elif kind == "segment_free":
            assert allocator.release_segment(address) == nbytes
    assert allocator.asked == [nbytes for kind, _, nbytes in events if kind == "segment_alloc"]
    assert not run["other_events"] or set(run["other_events"]) <= {"free_requested", "snapshot"}
    assert not [mark for mark in marks if mark[0] < len(events)]
