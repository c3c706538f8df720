"""Receipts to renew, cut into requests."""

import pytest

from dfs_client.transfer import renewals
from dfs_wire.limits import MIB
from dfs_wire.messages import Receipt


@pytest.mark.parametrize(
    ("sizes", "parts"),
    [
        ([], []),
        ([1], [1]),
        ([1] * 1_000, [1_000]),
        ([1] * 2_500, [1_000, 1_000, 500]),
        ([64 * MIB] * 20, [8, 8, 4]),
        ([8 * MIB] * 64 + [1], [64, 1]),
    ],
)
def test_one_renewal_asks_for_no_more_than_a_node_gives(sizes: list[int], parts: list[int]) -> None:
    """By the number of receipts, and by the bytes of their chunks."""
    receipts = [Receipt(1, number.to_bytes(32), size, 1, 0, 0, b"") for number, size in enumerate(sizes)]
    found = list(renewals(receipts))
    assert [len(part) for part in found] == parts
    assert [receipt for part in found for receipt in part] == receipts
