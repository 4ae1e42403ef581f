"""The tree is that of RFC 6962: against its definition, word by word, and its reference implementation's vectors."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.audit.merkle import EMPTY, Frontier, leaf_hash, path, root_by

INPUTS = [bytes.fromhex(text) for text in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def mth(entries: list[bytes]) -> bytes:
    """Section 2.1, as it is written."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def grown(entries: list[bytes]) -> Frontier:
    tree = Frontier()
    for entry in entries:
        tree.add(leaf_hash(entry))
    return tree


def test_roots_are_those_of_the_reference_implementation():
    assert [grown(INPUTS[: n + 1]).root.hex() for n in range(len(INPUTS))] == ROOTS
    assert grown([]).root == EMPTY


@given(st.lists(st.binary(max_size=4), max_size=70))
def test_a_tree_grown_leaf_by_leaf_is_the_tree_of_its_leaves(entries):
    tree = grown(entries)
    assert tree.root == mth(entries)
    assert Frontier.unpacked(tree.size, tree.packed).root == tree.root


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=70, unique=True), st.data())
def test_a_path_leads_from_its_own_leaf_to_the_root_and_from_no_other(entries, data):
    before = data.draw(st.integers(0, len(entries) - 1))
    index = data.draw(st.integers(before, len(entries) - 1))
    leaves = [leaf_hash(entry) for entry in entries]
    steps = path(grown(entries[:before]), leaves[before:], index)
    led = [root_by(steps, leaf, index, len(leaves)) for leaf in leaves]
    assert [place for place, root in enumerate(led) if root == mth(entries)] == [index]
    assert root_by([*steps, leaves[0]], leaves[index], index, len(leaves)) != mth(entries)
    assert root_by(steps[:-1], leaves[index], index, len(leaves)) != mth(entries) or not steps


def test_what_is_no_tree_is_refused():
    with pytest.raises(ValueError, match="do not make a tree of 3 leaves"):
        Frontier(3, [leaf_hash(b"")])
    with pytest.raises(IndexError):
        path(grown(INPUTS[:2]), [leaf_hash(b"")], 1)
