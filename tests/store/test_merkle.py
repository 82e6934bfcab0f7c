"""The tree against RFC 6962's definition, its published vectors, and itself with a leaf changed."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pkiconf.store.merkle import EMPTY_ROOT, SKIPPED, Frontier, Tree, is_included, leaf_hash

# The reference leaves and roots of the certificate-transparency project's own tests for RFC 6962.
LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
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
PATHS = {  # (index, size): the path
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def mth(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word by word, over leaf hashes."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1, word by word."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def tree_of(runs: list[tuple[int, int]]) -> tuple[Frontier, Tree, list[bytes]]:
    frontier, tree, plain = Frontier(), Tree(), list[bytes]()
    for count, skipped in runs:
        for _ in range(count):
            leaf = leaf_hash(str(len(plain)).encode())
            frontier.append(leaf)
            tree.append(leaf)
            plain.append(leaf)
        frontier.skip(skipped)
        tree.skip(skipped)
        plain += [SKIPPED] * skipped
    return frontier, tree, plain


def test_published_roots() -> None:
    frontier, tree = Frontier(), Tree()
    assert frontier.root() == tree.root(0) == EMPTY_ROOT
    for size, (content, root) in enumerate(zip(LEAVES, ROOTS, strict=True), start=1):
        frontier.append(leaf_hash(content))
        tree.append(leaf_hash(content))
        assert frontier.size == tree.size == size
        assert frontier.root().hex() == tree.root(size).hex() == root


@pytest.mark.parametrize(("index", "size"), PATHS)
def test_published_paths(index: int, size: int) -> None:
    tree = Tree()
    for content in LEAVES:
        tree.append(leaf_hash(content))
    found = tree.inclusion_path(index, size)
    assert [hash.hex() for hash in found] == PATHS[index, size]
    assert is_included(leaf_hash(LEAVES[index]), index, size, found, bytes.fromhex(ROOTS[size - 1]))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 70)), max_size=4))
def test_every_tree_is_the_rfcs(runs: list[tuple[int, int]]) -> None:
    frontier, tree, plain = tree_of(runs)
    assert frontier.size == tree.size == len(plain)
    assert frontier.root() == tree.root(len(plain)) == mth(plain)
    for size in {len(plain), len(plain) // 2, len(plain) // 3} - {0}:
        assert tree.root(size) == mth(plain[:size])
        for index in {0, size // 2, size - 1}:
            found = tree.inclusion_path(index, size)
            assert found == path(index, plain[:size])
            assert is_included(plain[index], index, size, found, mth(plain[:size]))


def test_a_path_proves_nothing_else() -> None:
    _, tree, plain = tree_of([(13, 0)])
    root, found = tree.root(13), tree.inclusion_path(5, 13)
    assert is_included(plain[5], 5, 13, found, root)
    assert not is_included(plain[6], 5, 13, found, root)
    assert not is_included(plain[5], 4, 13, found, root)
    assert not is_included(plain[5], 5, 13, found[:-1], root)
    assert not is_included(plain[5], 5, 13, [*found, root], root)
    assert not is_included(plain[5], 5, 13, found[::-1], root)
    assert not is_included(plain[5], 13, 13, found, root)
    assert not is_included(plain[5], -1, 13, found, root)


def test_a_path_out_of_the_tree_is_an_error() -> None:
    _, tree, _ = tree_of([(3, 0)])
    with pytest.raises(ValueError, match="not in a tree"):
        tree.inclusion_path(3, 3)
    with pytest.raises(ValueError, match="not 4"):
        tree.root(4)


def test_four_thousand_million_skipped_leaves_cost_nothing() -> None:
    frontier, tree, plain = tree_of([(5, 0)])
    frontier.skip(1 << 32)
    tree.skip(1 << 32)
    last = leaf_hash(b"after")
    frontier.append(last)
    tree.append(last)
    size = 5 + (1 << 32) + 1
    assert frontier.root() == tree.root(size)
    for index, leaf in ((0, plain[0]), (4, plain[4]), (size - 1, last)):
        assert is_included(leaf, index, size, tree.inclusion_path(index, size), frontier.root())
