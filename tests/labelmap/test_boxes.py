"""Boxes around the foreground, and copies of their contents."""

import numpy as np

from custom_networks.labelmap.boxes import NOWHERE, box_around, copy_in, moved_box
from custom_networks.labelmap.components import box_of_large_parts

LABELS = np.zeros((9, 8, 7), np.uint8)
LABELS[2:6, 3:5, 1:7] = 1
LABELS[4:5, 4:5, 2:4] = 2


def test_a_box_relative_to_a_box_is_moved_to_the_array() -> None:
    organ = box_around(LABELS)
    assert organ == (slice(2, 6), slice(3, 5), slice(1, 7))
    inner = box_around(LABELS[organ] == 2)
    assert inner is not None
    assert moved_box(inner, organ) == box_around(LABELS == 2) == (slice(4, 5), slice(4, 5), slice(2, 4))


def test_a_copy_in_a_box_around_everything_equals_the_array() -> None:
    copied = copy_in(box_around(LABELS) or NOWHERE, LABELS)
    np.testing.assert_array_equal(copied, LABELS)
    assert copied.dtype == np.uint8 and not np.shares_memory(copied, LABELS)
    assert not copy_in(NOWHERE, LABELS).any()


def test_blocks_at_the_end_of_an_axis_may_be_smaller() -> None:
    mask = np.zeros((9, 10, 11), bool)
    mask[8, 9, 8:11] = True
    mask[0, 0, 0] = True
    assert box_of_large_parts(mask, 3) == (slice(8, 9), slice(8, 10), slice(8, 11))
    assert box_of_large_parts(mask, 1) == (slice(0, 9), slice(0, 10), slice(0, 11))
