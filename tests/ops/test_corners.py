import torch
from hypothesis import given
from hypothesis import strategies as st

from pentimento.ops import corners
from pentimento.ops.deform import deform_conv

X = torch.tensor([[1.0, 4.0, 2.0], [3.0, 0.0, 5.0]])


def test_pools_look_along_their_edge() -> None:
    assert corners.top_pool(X).tolist() == [[3, 4, 5], [3, 0, 5]]
    assert corners.bottom_pool(X).tolist() == [[1, 4, 2], [3, 4, 5]]
    assert corners.left_pool(X).tolist() == [[4, 4, 2], [5, 5, 5]]
    assert corners.right_pool(X).tolist() == [[1, 4, 4], [3, 3, 5]]


def test_centres_see_their_whole_column_and_row() -> None:
    assert corners.column_pool(X).tolist() == [[3, 4, 5], [3, 4, 5]]
    assert corners.row_pool(X).tolist() == [[4, 4, 4], [5, 5, 5]]
    both = corners.top_pool(corners.bottom_pool(X))
    assert corners.column_pool(X).equal(both)


def test_deform_conv_without_deformation_is_a_convolution() -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 3, 5, 7), torch.randn(4, 3, 3, 3), torch.randn(4)
    still, all_on = torch.zeros(2, 18, 5, 7), torch.ones(2, 9, 5, 7)
    expected = torch.nn.functional.conv2d(x, weight, bias, padding=1)
    assert torch.allclose(deform_conv(x, still, all_on, weight, bias), expected, atol=1e-5)


@given(st.integers(-2, 2), st.integers(-2, 2))
def test_deform_conv_moves_its_taps(down: int, right: int) -> None:
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 4] = 1
    offset = torch.zeros(1, 18, 9, 9)
    offset[:, 0::2], offset[:, 1::2] = down, right
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    out = deform_conv(x, offset, torch.full((1, 9, 9, 9), 0.5), weight)
    assert out[0, 0, 4 - down, 4 - right] == 0.5
    assert out.sum() == 0.5


def test_deform_conv_of_a_single_pixel_and_outside_taps() -> None:
    x, weight = torch.full((1, 1, 1, 1), 3.0), torch.ones(1, 1, 3, 3)
    out = deform_conv(x, torch.zeros(1, 18, 1, 1), torch.ones(1, 9, 1, 1), weight)
    assert out.item() == 3  # the eight taps around it lie outside
