"""Merkle trees as in RFC 6962 section 2.1, over leaves that come one after the other.

Apart from everything that knows what a leaf stands for. A tree that only grows is kept as its *frontier*: the roots of
the whole subtrees it is made of, one for each bit of its size, the largest first. That is all it takes to go on.
"""

import hashlib
from collections.abc import Iterable, Sequence

EMPTY = hashlib.sha256(b"").digest()
HASH = 32


def leaf_hash(content: bytes) -> bytes:
    """A leaf can never be taken for a node: each begins with a byte of its own."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The parent of two."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that grows at its right edge."""

    def __init__(self, size: int = 0, roots: Iterable[bytes] = ()) -> None:
        self.size = size
        self.roots = list(roots)
        if len(self.roots) != size.bit_count() or any(len(root) != HASH for root in self.roots):
            raise ValueError(f"{len(self.roots)} subtrees do not make a tree of {size} leaves.")

    @classmethod
    def unpacked(cls, size: int, packed: bytes) -> "Frontier":
        """As `packed` stored it."""
        return cls(size, [packed[start : start + HASH] for start in range(0, len(packed), HASH)])

    @property
    def packed(self) -> bytes:
        """The roots one behind the other."""
        return b"".join(self.roots)

    @property
    def root(self) -> bytes:
        """The hash of the whole tree."""
        if not self.roots:
            return EMPTY
        found = self.roots[-1]
        for left in reversed(self.roots[:-1]):
            found = node_hash(left, found)
        return found

    def add(self, leaf: bytes) -> None:
        """One leaf more; subtrees of the same size become one."""
        size, root = self.size, leaf
        while size & 1:
            root = node_hash(self.roots.pop(), root)
            size >>= 1
        self.roots.append(root)
        self.size += 1


def path(before: Frontier, leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(index, D) for the tree that `leaves` make behind `before`; only leaves behind `before` can be asked for."""
    end = before.size + len(leaves)
    if not before.size <= index < end:
        raise IndexError(f"Leaf {index} is none of {before.size} to {end - 1}.")
    nodes = _nodes(before, leaves)
    found: list[bytes] = []
    low, high = 0, end
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            found.append(_root(nodes, middle, high))
            high = middle
        else:
            found.append(_root(nodes, low, middle))
            low = middle
    return found[::-1]


def root_by(path: Sequence[bytes], leaf: bytes, index: int, size: int) -> bytes | None:
    """The root that this path leads to from this leaf (RFC 9162 section 2.1.3.2); None if the path cannot be one."""
    if not 0 <= index < size:
        return None
    found, place, last = leaf, index, size - 1
    for sibling in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return found if last == 0 else None


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def _nodes(before: Frontier, leaves: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    """The whole subtrees that can be known, each by where it begins and ends."""
    nodes: dict[tuple[int, int], bytes] = {}
    low = 0
    for bit in reversed(range(before.size.bit_length())):
        if before.size >> bit & 1:
            nodes[low, low + (1 << bit)] = before.roots[len(nodes)]
            low += 1 << bit
    nodes.update({(low + n, low + n + 1): leaf for n, leaf in enumerate(leaves)})
    return nodes


def _root(nodes: dict[tuple[int, int], bytes], low: int, high: int) -> bytes:
    """The hash of the subtree over [low, high), remembered."""
    if (low, high) not in nodes:
        middle = low + _split(high - low)
        nodes[low, high] = node_hash(_root(nodes, low, middle), _root(nodes, middle, high))
    return nodes[low, high]
