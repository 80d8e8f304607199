import torch
from hypothesis import given
from hypothesis import strategies as st

from pentimento.ops.boxes import (
    area,
    decode,
    decode_points,
    encode,
    encode_points,
    iou,
    to_centres,
    to_corners,
)


def test_overlap_by_hand():
    a = torch.tensor([[0.0, 0, 4, 4], [0, 0, 2, 2]])
    b = torch.tensor([[2.0, 2, 6, 6], [0, 0, 4, 4], [9, 9, 9, 9]])
    wanted = torch.tensor([[4 / 28, 1, 0], [0, 4 / 16, 0]])
    torch.testing.assert_close(iou(a, b), wanted)
    torch.testing.assert_close(area(b), torch.tensor([16.0, 16, 0]))


def test_boxes_without_extent_overlap_nothing_not_even_themselves():
    empty = torch.tensor([[3.0, 3, 3, 3], [5, 5, 4, 4]])
    assert iou(empty, empty).eq(0).all()
    assert iou(torch.zeros(0, 4), empty).shape == (0, 2)


def test_offsets_by_hand():
    prior = torch.tensor([[8.0, 8, 16, 16]])  # centre and size
    face = torch.tensor([[4.0, 0, 20, 32]])  # centre 12, 16; size 16 x 32
    offsets = encode(face, prior)
    torch.testing.assert_close(offsets, torch.tensor([[2.5, 5, 0, 3.4657359]]))  # ln 2 / 0.2
    points = torch.tensor([[[12.0, 8], [8, 0]]])
    torch.testing.assert_close(
        encode_points(points, prior), torch.tensor([[[2.5, 0.0], [0.0, -5.0]]])
    )


coordinate = st.floats(-100, 100, width=32)
extent = st.floats(0.5, 100, width=32)
rectangle = st.tuples(coordinate, coordinate, extent, extent)


@given(rectangle, rectangle)
def test_decoding_undoes_encoding(one: tuple[float, ...], other: tuple[float, ...]):
    prior = torch.tensor([one], dtype=torch.float64)
    face = to_corners(torch.tensor([other], dtype=torch.float64))
    torch.testing.assert_close(decode(encode(face, prior), prior), face)
    torch.testing.assert_close(to_corners(to_centres(face)), face)
    points = face.view(1, 2, 2)
    torch.testing.assert_close(decode_points(encode_points(points, prior), prior), points)
