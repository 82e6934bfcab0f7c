"""The Merkle tree of RFC 6962 §2.1, over hashes of leaves.

`Frontier` grows a tree and knows its root, in space logarithmic to its size. `Tree` keeps every leaf and proves
that one is included. Both know *skipped* leaves: runs of one fixed hash, as many as a restore wants to leave
unused, which cost nothing to add.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from typing import Final

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
_HASH_SIZE: Final = 32
_KEPT_LEVEL: Final = 4  # hashes of smaller subtrees are computed again when they are asked for


def leaf_hash(content: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


SKIPPED: Final = leaf_hash(b"pkiconf audit: an index that a restore left unused\n")


@cache
def skipped_hash(level: int) -> bytes:
    """The hash of a perfect tree of 2**level skipped leaves."""
    return SKIPPED if level == 0 else node_hash(skipped_hash(level - 1), skipped_hash(level - 1))


class Frontier:
    """The right edge of a growing tree: one hash for each perfect subtree, the largest first."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[tuple[int, bytes]] = []  # (level, hash)

    def append(self, leaf: bytes) -> None:
        self._push(0, leaf)

    def skip(self, count: int) -> None:
        """Append `count` skipped leaves."""
        while count:
            alignment = (self.size & -self.size).bit_length() - 1 if self.size else count.bit_length()
            level = min(alignment, count.bit_length() - 1)
            self._push(level, skipped_hash(level))
            count -= 1 << level

    def root(self) -> bytes:
        return _fold([hash for _, hash in self._edge])

    def copy(self) -> Frontier:
        twin = Frontier()
        twin.size, twin._edge = self.size, self._edge.copy()
        return twin

    def _push(self, level: int, hash: bytes) -> None:
        self.size += 1 << level
        while self._edge and self._edge[-1][0] == level:
            hash = node_hash(self._edge.pop()[1], hash)
            level += 1
        self._edge.append((level, hash))


class Tree:
    """A whole tree in memory: 32 octets a leaf, and a quarter of that on top once it is used."""

    def __init__(self) -> None:
        self.size = 0
        self._starts: list[int] = []  # of runs of leaves that are not skipped
        self._runs: list[bytearray] = []
        self._known: dict[tuple[int, int], bytes] = {}

    def append(self, leaf: bytes) -> None:
        if not self._starts or self._starts[-1] + len(self._runs[-1]) // _HASH_SIZE != self.size:
            self._starts.append(self.size)
            self._runs.append(bytearray())
        self._runs[-1] += leaf
        self.size += 1

    def skip(self, count: int) -> None:
        self.size += count

    def root(self, size: int) -> bytes:
        """MTH(D[0:size])."""
        self._check_size(size)
        return self._range(0, size)

    def inclusion_path(self, index: int, size: int) -> list[bytes]:
        """PATH(index, D[0:size]): the sibling hashes from the leaf up (RFC 6962 §2.1.1)."""
        self._check_size(size)
        if not 0 <= index < size:
            raise ValueError(f"leaf {index} is not in a tree of {size}")
        path: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + (1 << ((end - start - 1).bit_length() - 1))
            if index < middle:
                path.append(self._range(middle, end))
                end = middle
            else:
                path.append(self._range(start, middle))
                start = middle
        return path[::-1]

    def _check_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise ValueError(f"the tree has {self.size} leaves, not {size}")

    def _range(self, start: int, end: int) -> bytes:
        return _fold([self._perfect(first, level) for first, level in _perfect_parts(start, end)])

    def _perfect(self, start: int, level: int) -> bytes:
        known = self._known.get((start, level))
        if known is not None:
            return known
        run = bisect_right(self._starts, start) - 1
        if self._is_skipped(run, start, start + (1 << level)):
            return skipped_hash(level)
        if level == 0:
            offset = (start - self._starts[run]) * _HASH_SIZE
            return bytes(self._runs[run][offset : offset + _HASH_SIZE])
        half = 1 << (level - 1)
        hash = node_hash(self._perfect(start, level - 1), self._perfect(start + half, level - 1))
        if level >= _KEPT_LEVEL and start + 2 * half <= self.size:
            self._known[start, level] = hash
        return hash

    def _is_skipped(self, run: int, start: int, end: int) -> bool:
        ended = run < 0 or self._starts[run] + len(self._runs[run]) // _HASH_SIZE <= start
        return ended and (run + 1 == len(self._starts) or self._starts[run + 1] >= end)


def is_included(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    """Whether `path` proves that `leaf` stands at `index` of the tree of `size` leaves with `root`."""
    if not 0 <= index < size:
        return False
    hash, last = leaf, size - 1
    for sibling in path:
        if last == 0:
            return False
        if index & 1 or index == last:
            hash = node_hash(sibling, hash)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            hash = node_hash(hash, sibling)
        index, last = index >> 1, last >> 1
    return last == 0 and hash == root


def _perfect_parts(start: int, end: int) -> Iterator[tuple[int, int]]:
    """(first leaf, level) of the perfect subtrees that make up [start, end), from the left, the largest first."""
    while start < end:
        level = (end - start).bit_length() - 1
        yield start, level
        start += 1 << level


def _fold(hashes: list[bytes]) -> bytes:
    if not hashes:
        return EMPTY_ROOT
    hash = hashes[-1]
    for left in reversed(hashes[:-1]):
        hash = node_hash(left, hash)
    return hash
