import numpy as np
import pytest

from pentimento.ops.align import crop_to_picture, ffhq_quad


def test_ffhq_quad_matches_hand_computed_square():
    # e = (60, 0), m = (0, 70): x = (60 + 70, 0) -> unit * max(120, 126) = (126, 0); c = E + 7
    quad = ffhq_quad(np.array([70.0, 100]), np.array([130.0, 100]), np.array([100.0, 170]))
    np.testing.assert_allclose(quad, [[-26, -19], [-26, 233], [226, 233], [226, -19]])


def test_ffhq_quad_refuses_points_that_coincide():
    p = np.array([5.0, 5.0])
    with pytest.raises(ValueError, match="coincide"):
        ffhq_quad(p, p, p)


def test_crop_to_picture_maps_corners():
    quad = np.array([[10.0, 20], [10, 120], [110, 120], [110, 20]])
    matrix = crop_to_picture(quad, 256)
    np.testing.assert_allclose(matrix @ [256, 256, 1], [110, 120])
    np.testing.assert_allclose(matrix @ [0, 256, 1], [10, 120])
