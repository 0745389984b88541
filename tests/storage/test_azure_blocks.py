"""Into which blocks an object is divided."""

from itertools import pairwise

import pytest

from fastreg.storage.azure_blocks import (
    FIRST_BLOCK_BYTES,
    Block,
    are_names,
    block_at,
    block_id,
    is_divided,
)

MAX_BLOCKS = 50_000
"""Of a blob, whatever their size."""
MAX_BLOCK_BYTES = 4000 << 20
TIB = 1 << 40


def all_blocks() -> list[Block]:
    blocks = [block_at(0)]
    while len(blocks) < MAX_BLOCKS:
        blocks.append(block_at(blocks[-1].end))
    return blocks


def test_the_blocks_of_a_blob_are_enough_for_the_largest_images() -> None:
    last = all_blocks()[-1]
    assert last.number == MAX_BLOCKS - 1
    assert last.end >= 4.7 * TIB


def test_blocks_lie_side_by_side_begin_pages_and_never_shrink() -> None:
    blocks = all_blocks()
    assert blocks[0].start == 0
    for one, other in pairwise(blocks):
        assert other.start == one.end
        assert other.number == one.number + 1
        assert other.end - other.start >= one.end - one.start
    assert all(block.start % 4096 == 0 for block in blocks)
    assert blocks[-1].end - blocks[-1].start <= MAX_BLOCK_BYTES


def test_blocks_are_small_where_blobs_usually_end() -> None:
    assert block_at((39 << 30) - 1).end - block_at((39 << 30) - 1).start == FIRST_BLOCK_BYTES
    at_190_gib = block_at(190 << 30)
    assert at_190_gib.end - at_190_gib.start == 16 << 20
    assert at_190_gib.number < MAX_BLOCKS / 2


@pytest.mark.parametrize("number", [0, 1, 9_999, 10_000, 19_999, 20_000, 29_999, 30_000, 49_999])
def test_every_byte_of_a_block_belongs_to_it(number: int) -> None:
    block = all_blocks()[number]
    middle = (block.start + block.end) // 2
    assert {block_at(at) for at in (block.start, middle, block.end - 1)} == {block}


def test_names_are_of_one_length_and_tell_everything_apart() -> None:
    last = all_blocks()[-1]
    names = [
        block_id(0, 4, "0" * 8),
        block_id(0, 5, "0" * 8),
        block_id(4, 8, "0" * 8),
        block_id(0, 4, "1" * 8),
        block_id(last.start, last.end, "f" * 8),
    ]
    assert len(set(names)) == len(names)
    assert {len(name) for name in names} == {32}
    assert are_names(names)
    assert not are_names([*names, "MDAwMDAwMDAw"])


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], True),
        ([FIRST_BLOCK_BYTES], True),
        ([1], True),
        ([FIRST_BLOCK_BYTES, FIRST_BLOCK_BYTES, 7], True),
        ([FIRST_BLOCK_BYTES, 7, FIRST_BLOCK_BYTES], False),
        ([7, 7], False),
        ([FIRST_BLOCK_BYTES + 1], False),
        ([FIRST_BLOCK_BYTES] * 10_000 + [4 * FIRST_BLOCK_BYTES], True),
        ([FIRST_BLOCK_BYTES] * 10_001, True),
        ([FIRST_BLOCK_BYTES] * 10_002, False),
    ],
)
def test_blocks_of_others_are_told_from_ours(sizes: list[int], expected: bool) -> None:
    assert is_divided(sizes) is expected
