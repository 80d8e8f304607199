"""Features inside boxes, anchors, and the offsets of R-CNNs."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pentimento.ops.roi import anchors, bin_weights, clip_boxes, levels_of, roi_align, shift_boxes


def test_a_plane_is_read_at_the_middle_of_every_bin() -> None:
    y, x = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    plane = torch.stack([x, y])[None]
    box = torch.tensor([[8.0, 8.0, 40.0, 24.0]])  # at stride 4: 2…10 across, 2…6 down
    out = roi_align(plane, [box], (2, 4), 0.25)[0]
    # Aligned: feature i covers i…i + 1, so the middle of the bin 2…4 is feature 2.5.
    assert torch.allclose(out[0, 0], torch.tensor([2.5, 4.5, 6.5, 8.5]))
    assert torch.allclose(out[1, :, 0], torch.tensor([2.5, 4.5]))
    older = roi_align(plane, [box], (2, 4), 0.25, samples=2, aligned=False)[0]
    assert torch.allclose(older, out + 0.5)


@settings(deadline=None, max_examples=25)
@given(
    low=st.floats(0, 8), extent=st.floats(0.2, 6), bins=st.integers(1, 5), samples=st.integers(0, 3)
)
def test_weights_of_an_interval_within_the_axis_sum_to_one(
    low: float, extent: float, bins: int, samples: int
) -> None:
    ends = torch.tensor([low]), torch.tensor([low + extent])
    weights = bin_weights(*ends, bins, 15, samples=samples, aligned=True)
    assert torch.allclose(weights.sum(2), torch.ones(1, bins), atol=1e-5)


def test_what_lies_off_the_map_counts_nothing() -> None:
    box = torch.tensor([[100.0, 100.0, 140.0, 140.0]])
    assert not roi_align(torch.ones(1, 1, 8, 8), [box], (3, 3), 1.0).any()
    assert roi_align(torch.ones(1, 1, 8, 8), [torch.zeros(0, 4)], (3, 3), 1.0).shape == (0, 1, 3, 3)


def test_anchors_lie_around_multiples_of_the_stride_with_one_area() -> None:
    found = anchors(2, 3, 16, 32, (0.5, 1.0, 2.0))
    assert found.shape == (18, 4)
    middles = (found[:, :2] + found[:, 2:]) / 2
    assert torch.equal(middles[3:6], torch.tensor([[16.0, 0.0]]).expand(3, 2))
    size = found[:, 2:] - found[:, :2]
    assert torch.allclose(size.prod(1), torch.full((18,), 1024.0))
    assert torch.allclose(size[0, 1] / size[0, 0], torch.tensor(0.5))


def test_offsets_move_by_sizes_and_grow_by_at_most_1000_16ths() -> None:
    box = torch.tensor([[10.0, 10.0, 20.0, 30.0]])
    moved = shift_boxes(torch.tensor([[1.0, 0.5, 0.0, math.log(2)]]), box, (1, 1, 1, 1))
    assert torch.allclose(moved, torch.tensor([[20.0, 10.0, 30.0, 50.0]]))
    assert torch.equal(shift_boxes(torch.zeros(1, 4), box, (10, 10, 5, 5)), box)
    huge = shift_boxes(torch.full((1, 4), 50.0), box, (1, 1, 1, 1))
    assert clip_boxes(huge, 40, 30)[0].tolist()[2:] == [30, 40]
    assert (huge[0, 2] - huge[0, 0]).item() == pytest.approx(625, rel=1e-5)


def test_a_box_of_224_is_read_from_level_4() -> None:
    sides = torch.tensor([[0.0, 0, 223, 223], [0, 0, 224, 224], [0, 0, 448, 448], [0, 0, 4, 4]])
    assert levels_of(sides, 2, 5).tolist() == [3, 4, 5, 2]
