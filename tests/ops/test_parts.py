import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pentimento.ops.parts import (
    bounding_boxes,
    boxes_around,
    centres,
    enlarge,
    fill_holes,
    mask_of,
    put,
    spans,
    take,
)


def _rectangle(side: int, top: int, left: int, bottom: int, right: int) -> torch.Tensor:
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    mask[:, top:bottom, left:right] = True
    return mask


def test_bounding_boxes_are_exclusive_edges_and_empty_masks_are_told() -> None:
    masks = torch.cat([_rectangle(16, 2, 3, 5, 9), _rectangle(16, 0, 0, 0, 0)])
    boxes, present = bounding_boxes(masks)
    assert boxes.tolist() == [[2, 3, 5, 9], [0, 0, 16, 16]]
    assert present.tolist() == [True, False]


def test_centres_are_integer_midpoints_of_first_and_last_pixel() -> None:
    masks = torch.cat([_rectangle(16, 2, 3, 6, 9), _rectangle(16, 0, 0, 0, 0)])
    assert centres(masks, (7, 8)).tolist() == [[3, 5], [7, 8]]  # (2+5)//2, (3+8)//2


def test_span_of_a_rectangle_is_its_box_and_a_stray_pixel_hardly_moves_it() -> None:
    mask = _rectangle(64, 10, 20, 20, 40)
    box, present = spans(mask)
    assert present.all()
    torch.testing.assert_close(box, torch.tensor([[10.0, 20.0, 20.0, 40.0]]), atol=1e-3, rtol=0)
    mask[0, 60, 60] = True
    assert (spans(mask)[0] - box).abs().max() < 4  # the bounding box would move by 41 and 21


def test_span_of_nothing_is_the_whole_picture() -> None:
    box, present = spans(_rectangle(32, 0, 0, 0, 0))
    assert box.tolist() == [[0, 0, 32, 32]]
    assert not present.any()


def test_enlarge_by_hand() -> None:
    # 40 -> 44 pixels. The part's centre is 14, the window starts at int(15.4) - 14 = 1, pixel y
    # shows source int((y + 1.5) * 40 / 44), which lies in 10..19 for y = 10..20.
    labels = _rectangle(40, 10, 10, 20, 20).long() * 3
    centre = centres(labels == 3, (0, 0))
    out = enlarge(labels, [((3,), centre)], 1.1)
    assert torch.equal(out, _rectangle(40, 10, 10, 21, 21).long() * 3)


def test_enlarge_paints_in_order_and_leaves_other_classes_alone() -> None:
    labels = _rectangle(40, 10, 10, 20, 20).long() * 3
    labels[:, 20:30, 10:20] = 5
    labels[:, 30:, :] = 7
    parts = [((v,), centres(labels == v, (0, 0))) for v in (3, 5)]
    out = enlarge(labels, parts, 1.1)
    assert out[0, 20, 15] == 5  # 3 grows over this row first, 5 keeps it by coming later
    assert out[0, 20, 20] == 5
    assert (out[0, 32:] == 7).all()


def test_enlarge_by_one_changes_nothing() -> None:
    labels = torch.randint(0, 4, (2, 24, 24), generator=torch.Generator().manual_seed(0))
    parts = [((1,), centres(labels == 1, (3, 3))), ((2, 3), centres(labels == 2, (3, 3)))]
    assert torch.equal(enlarge(labels, parts, 1.0), labels)


def test_take_of_whole_pixels_is_a_slice_and_zero_outside() -> None:
    picture = torch.rand(1, 3, 16, 16)
    inside = take(picture, torch.tensor([[2, 3, 8, 13]]), (6, 10))
    assert torch.equal(inside, picture[..., 2:8, 3:13])
    beyond = take(picture, torch.tensor([[-4, 12, 4, 20]]), (8, 8))
    assert torch.equal(beyond[..., 4:, :4], picture[..., :4, 12:])
    assert beyond[..., :4, :].abs().max() == 0
    assert beyond[..., 4:].abs().max() == 0


def test_take_shrinks_without_skipping_pixels() -> None:
    stripes = torch.arange(16.0).remainder(2).expand(1, 1, 16, 16).contiguous()
    half = take(stripes, torch.tensor([[0, 0, 16, 16]]), (8, 8))
    torch.testing.assert_close(half[..., 1:-1, 1:-1], torch.full((1, 1, 6, 6), 0.5))


@given(
    st.floats(3, 30), st.floats(3, 30), st.floats(8, 30), st.floats(8, 30),
    st.integers(2, 40), st.integers(2, 40),
)  # fmt: skip
def test_what_is_even_stays_even_at_any_scale(
    top: float, left: float, high: float, wide: float, h: int, w: int
) -> None:
    box = torch.tensor([[top, left, top + high, left + wide]])
    taken = take(torch.ones(1, 1, 64, 64), box, (h, w))
    torch.testing.assert_close(taken, torch.ones(1, 1, h, w))  # no ripples when it shrinks
    whole = put(torch.ones(1, 1, h, w), box, (64, 64))[0, 0]
    rim_y, rim_x = high / h + 1, wide / w + 1  # where the content's edge fades
    inner = whole[
        math.ceil(top + rim_y) : math.floor(top + high - rim_y),
        math.ceil(left + rim_x) : math.floor(left + wide - rim_x),
    ]
    torch.testing.assert_close(inner, torch.ones_like(inner))
    assert whole.max() < 1 + 1e-5


def test_put_is_the_inverse_of_take() -> None:
    content = torch.rand(2, 3, 4, 6)
    boxes = boxes_around(torch.tensor([[5, 6], [9, 9]]), (4, 6))
    placed = put(content, boxes, (16, 16))
    assert torch.equal(placed[0, :, 3:7, 3:9], content[0])
    assert torch.equal(placed[1, :, 7:11, 6:12], content[1])
    torch.testing.assert_close(placed.sum(), content.sum())  # and nothing anywhere else


def test_put_cuts_at_the_border() -> None:
    placed = put(torch.ones(1, 1, 4, 4), torch.tensor([[-2, 14, 2, 18]]), (16, 16))
    expected = torch.zeros(1, 1, 16, 16)
    expected[..., :2, 14:] = 1
    assert torch.equal(placed, expected)


def test_fill_holes_keeps_what_is_known_and_spreads_it() -> None:
    values = torch.zeros(1, 1, 8, 8)
    values[..., :4] = torch.rand(1, 1, 8, 4) + 1
    weight = torch.zeros(1, 1, 8, 8)
    weight[..., :4] = 1
    filled, present = fill_holes(values, weight)
    assert torch.equal(filled[..., :4], values[..., :4])
    assert filled[..., 4:].min() >= 1
    assert present.all()


@settings(deadline=None, max_examples=30)  # a slow machine is no failure
@given(st.floats(-1, 1, width=32), st.integers(0, 2**32 - 1))
def test_fill_holes_of_one_colour_is_that_colour(colour: float, seed: int) -> None:
    weight = torch.rand(1, 1, 16, 32, generator=torch.Generator().manual_seed(seed)) > 0.9
    weight[..., 3, 5] = True
    filled, _ = fill_holes(torch.full((1, 1, 16, 32), colour), weight.float())
    torch.testing.assert_close(filled, torch.full_like(filled, colour), atol=1e-5, rtol=1e-4)


def test_fill_holes_with_nothing_known_says_so() -> None:
    filled, present = fill_holes(torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8))
    assert filled.abs().max() == 0
    assert not present.any()


def test_mask_of_no_class_is_empty() -> None:
    assert not mask_of(torch.zeros(1, 4, 4, dtype=torch.long), ()).any()
