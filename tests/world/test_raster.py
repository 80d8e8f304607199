"""The rasteriser against hand-computed triangles and the promises of its fill rule."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pentimento.world.raster import Camera, Layer


def drawn(
    points: Sequence[Sequence[float]], triangles: Sequence[tuple[int, int, int]], side: int = 8
) -> Layer:
    layer = Layer.empty(side, side)
    layer.draw(np.array(points, np.float64), np.array(triangles, np.int32), 3)
    return layer


def test_draw_covers_centres_inside_and_on_top_and_left_edges() -> None:
    # Legs on the lines x = 0.5 and y = 0.5, which run through sample centres; hypotenuse x + y = 4.
    layer = drawn([(0.5, 0.5, 1), (3.5, 0.5, 1), (0.5, 3.5, 1)], [(0, 1, 2)])
    expected = np.zeros((8, 8), bool)
    for row, column in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]:
        expected[row, column] = True
    assert np.array_equal(layer.triangle >= 0, expected)
    assert set(layer.owner[expected]) == {3}


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_draw_is_two_sided_and_weights_belong_to_the_given_corners(
    order: tuple[int, int, int],
) -> None:
    layer = drawn([(0, 0, 1), (8, 0, 1), (0, 8, 1)], [order])
    centre = layer.weights[1, 2]  # sample (2.5, 1.5): corner 1 has 2.5/8, corner 2 has 1.5/8
    weights = dict(zip(order, (*centre, 1 - centre.sum()), strict=True))
    assert weights[0] == pytest.approx(0.5)
    assert weights[1] == pytest.approx(2.5 / 8)
    assert weights[2] == pytest.approx(1.5 / 8)


def test_draw_interpolates_in_perspective() -> None:
    # An edge from depth 1 to depth 3: halfway on the screen, 1/depth is 2/3, so depth is 1.5
    # and the point is a quarter of the way along the edge.
    layer = drawn([(0.5, 0, 1), (4.5, 0, 3), (0.5, 8, 1)], [(0, 1, 2)])
    near = layer.nearness[0, 2] - (layer.nearness[1, 2] - layer.nearness[0, 2]) / 2
    assert 1 / near == pytest.approx(1.5, rel=1e-5)
    assert layer.weights[0, 2, 1] == pytest.approx(0.25 / (1 / 1.5) * (2 / 3), abs=0.03)


def test_draw_keeps_the_nearest_whatever_the_order() -> None:
    points = [(0, 0, 2), (8, 0, 2), (0, 8, 2), (0, 0, 5), (8, 0, 5), (0, 8, 5)]
    one = drawn(points, [(0, 1, 2), (3, 4, 5)])
    two = drawn(points, [(3, 4, 5), (0, 1, 2)])
    assert set(one.triangle[one.triangle >= 0]) == {0}
    assert set(two.triangle[two.triangle >= 0]) == {1}


def test_draw_drops_what_is_behind_the_camera() -> None:
    assert (drawn([(0, 0, 1), (8, 0, 1), (0, 8, -1)], [(0, 1, 2)]).triangle == -1).all()


def cross(u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
    return float(u[0] * v[1] - u[1] * v[0])


coordinate = st.integers(-40, 200).map(lambda k: k / 16)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=3, unique=True),
    st.tuples(coordinate, coordinate),
)
def test_triangles_round_a_point_cover_each_sample_once(
    corners: list[tuple[float, float]], middle: tuple[float, float]
) -> None:
    """Split a triangle at an inner point: the three parts tile it, without gaps and doubles."""
    a, b, c = (np.array(p) for p in corners)
    share = np.abs(np.array([*middle, 1.0])) + 0.1
    inner = np.round((share @ np.stack([a, b, c])) / share.sum() * 256) / 256
    points = [(*a, 1.0), (*b, 1.0), (*c, 1.0), (*inner, 1.0)]
    whole = drawn(points, [(0, 1, 2)], 12).triangle >= 0
    parts = [drawn(points, [t], 12).triangle >= 0 for t in ((0, 1, 3), (1, 2, 3), (2, 0, 3))]
    count = np.sum(parts, axis=0)
    area = cross(b - a, c - a)
    inside = [cross(q - p, inner - p) * area > 0 for p, q in ((a, b), (b, c), (c, a))]
    if all(inside):
        assert np.array_equal(count, whole.astype(int))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000))
def test_a_random_mesh_over_the_picture_leaves_no_gap_and_no_double(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 6
    y, x = np.mgrid[:n, :n] * (14.0 / (n - 1)) - 1
    inner = np.zeros((n, n), bool)
    inner[1:-1, 1:-1] = True
    x = x + inner * rng.uniform(-0.6, 0.6, x.shape)
    y = y + inner * rng.uniform(-0.6, 0.6, x.shape)
    points = np.stack([x.ravel(), y.ravel(), np.ones(n * n)], 1)
    cells = [r * n + c for r in range(n - 1) for c in range(n - 1)]
    triangles = [t for i in cells for t in ((i, i + 1, i + n), (i + 1, i + n + 1, i + n))]
    count = np.zeros((12, 12), int)
    for triangle in triangles:
        layer = Layer.empty(12, 12)
        layer.draw(points, np.array([triangle], np.int32), 0)
        count += layer.triangle >= 0
    assert (count == 1).all()


def test_camera_projects_the_optical_axis_to_the_crop_given() -> None:
    camera = Camera(4.0, np.array([[1.0, 0, 0.5], [0, 1.0, 0.25]]))
    points = camera.project(np.array([[0, 0, 0], [1.0, 2.0, 2.0]]), 100)
    assert points == pytest.approx(np.array([[50, 25, 4], [100, -75, 2]]))
