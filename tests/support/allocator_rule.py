"""PyTorch's CUDA caching allocator, gone through by its own rule: which block does a request get?

As c10/cuda/CUDACachingAllocator.cpp of v2.11.0 has it by default, for one stream: `round_size`, `get_allocation_size`,
`get_free_block` (best fit, the lowest address among equals), `should_split`, `try_merge_blocks`,
`release_cached_blocks`.
Addresses of segments are the driver's choice and therefore given.
"""

import bisect
from dataclasses import dataclass, field

ROUND, SMALL = 512, 2**20
SMALL_SEGMENT, LARGE_SEGMENT, LARGE_REQUEST, LARGE_ROUND = 2 * 2**20, 20 * 2**20, 10 * 2**20, 2 * 2**20


def rounded(nbytes, to):
    return -(-nbytes // to) * to


def segment_size(size):
    """How much is asked of the driver for a request of `size`, rounded."""
    if size <= SMALL:
        return SMALL_SEGMENT
    return LARGE_SEGMENT if size < LARGE_REQUEST else rounded(size, LARGE_ROUND)


@dataclass
class Block:
    """Neighbours within a segment are linked; requested is None in a free one."""

    address: int
    size: int
    small: bool
    requested: int | None = None
    before: "Block | None" = field(default=None, repr=False)
    after: "Block | None" = field(default=None, repr=False)


class Allocator:
    """Starts empty. `segments` are the addresses that the driver gives, in their order."""

    def __init__(self, segments) -> None:
        self.segments = iter(segments)
        self.asked = []  # sizes of segments, in their order
        self.free_blocks = {True: [], False: []}  # by pool: (size, address), sorted
        self.blocks = {}  # free ones by address
        self.used = {}

    @property
    def requested(self):
        return sum(block.requested for block in self.used.values())

    @property
    def allocated(self):
        return sum(block.size for block in self.used.values())

    def allocate(self, nbytes):
        """The address that a request gets."""
        size = max(ROUND, rounded(nbytes, ROUND))
        small = size <= SMALL
        pool = self.free_blocks[small]
        at = bisect.bisect_left(pool, (size, 0))
        if at < len(pool):
            block = self._take(self.blocks[pool[at][1]])
        else:
            self.asked.append(segment_size(size))
            block = Block(next(self.segments), self.asked[-1], small)
        rest = block.size - size
        if rest >= ROUND if small else rest > SMALL:
            tail = Block(block.address + size, rest, small, before=block, after=block.after)
            if tail.after:
                tail.after.before = tail
            block.size, block.after = size, tail
            self._give(tail)
        block.requested = nbytes
        self.used[block.address] = block
        return block.address

    def release(self, address) -> None:
        """Free what is there, and join it with free neighbours."""
        block = self.used.pop(address)
        block.requested = None
        if block.before and block.before.address in self.blocks:
            block = self._joined(self._take(block.before), block)
        if block.after and block.after.address in self.blocks:
            block = self._joined(block, self._take(block.after))
        self._give(block)

    @staticmethod
    def _joined(first, second):
        first.size += second.size
        first.after = second.after
        if first.after:
            first.after.before = first
        return first

    def release_segment(self, address):
        """Give a segment back, which nothing uses; its size."""
        block = self._take(self.blocks[address])
        assert block.before is None
        assert block.after is None
        return block.size

    def _take(self, block):
        self.free_blocks[block.small].remove((block.size, block.address))
        del self.blocks[block.address]
        return block

    def _give(self, block) -> None:
        bisect.insort(self.free_blocks[block.small], (block.size, block.address))
        self.blocks[block.address] = block
