import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pentimento.ops.align import crop_to_picture
from pentimento.ops.warp import bounds, cut, flow_warp, invert, put, rescaled, resize_field


def square(x: float, y: float, side: float, degrees: float = 0.0) -> np.ndarray:
    t = np.radians(degrees)
    half = side / 2 * np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    return half @ np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) + [x, y]


def blobs(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(5).random((height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    return 255 * (smooth - smooth.min()) / np.ptp(smooth)


def test_cut_of_an_upright_square_at_its_own_size_is_a_slice():
    picture = blobs(60, 80)
    crop = cut(picture, crop_to_picture(square(40, 30, 32), 32), 32)
    np.testing.assert_allclose(crop, picture[14:46, 24:56], atol=1e-3)


def test_cut_averages_fine_texture_instead_of_aliasing():
    y, x = np.mgrid[:400, :400]
    board = np.repeat((255 * ((x + y) % 2))[..., None], 3, 2).astype(np.uint8)
    crop = cut(board, crop_to_picture(square(200, 200, 300, 10), 64), 64)
    assert np.abs(crop - 127.5).max() < 3


def test_cut_beyond_the_picture_repeats_its_border():
    picture = np.full((20, 20, 3), 10, np.uint8)
    picture[:, 0] = 200
    crop = cut(picture, crop_to_picture(square(-30, 10, 16), 16), 16)
    np.testing.assert_allclose(crop, 200, atol=1)


@settings(max_examples=15, deadline=None)
@given(
    st.floats(60, 140), st.floats(60, 140), st.floats(50, 120), st.floats(-40, 40),
    st.sampled_from([64, 96, 160]),
)  # fmt: skip
def test_put_undoes_cut(x: float, y: float, side: float, degrees: float, size: int):
    picture = blobs(200, 200)
    matrix = crop_to_picture(square(x, y, side, degrees), size)
    box = bounds(matrix, size, 200, 200)
    back = put(cut(picture, matrix, size), matrix, box)
    inside = put(np.ones((size, size), np.float32), matrix, box, linear=True) > 0.999
    inside = cv2.erode(inside.astype(np.uint8), np.ones((7, 7)), borderValue=0) > 0
    left, top, right, bottom = box
    assert np.abs(back - picture[top:bottom, left:right])[inside].max() < 4


def test_put_is_zero_beyond_the_crop():
    matrix = crop_to_picture(square(50, 50, 20), 16)
    there = put(np.ones((16, 16), np.float32), matrix, (0, 0, 100, 100), linear=True)
    assert there[50, 50] == pytest.approx(1)
    assert not there[:38].any()
    assert not there[:, 62:].any()


def test_rescaled_and_invert_keep_the_square():
    matrix = crop_to_picture(square(10, 20, 30, 25), 64)
    np.testing.assert_allclose(
        rescaled(matrix, 64, 256) @ [256, 256, 1], matrix @ [64, 64, 1], atol=1e-9
    )
    there = invert(matrix) @ np.append(matrix @ [3, 5, 1], 1)
    np.testing.assert_allclose(there, [3, 5], atol=1e-9)


def test_flow_warp_pulls_from_where_the_field_points():
    picture = np.zeros((9, 9), np.float32)
    picture[4, 6] = 1
    field = np.zeros((9, 9, 2), np.float32)
    field[..., 0] = 2
    assert flow_warp(picture, field)[4, 4] == pytest.approx(1)
    np.testing.assert_allclose(resize_field(field, 18)[..., 0], 4)
