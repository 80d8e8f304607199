"""Label maps and decodings, against values worked out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pentimento.ops import heatmaps
from pentimento.ops.heatmaps import decode, gaussian_maps, to_map, to_picture

PLACES = st.floats(8.0, 15.0)


def test_map_and_picture_coordinates_are_inverse_and_unbiased() -> None:
    points = torch.tensor([[2.0, 2.0], [0.0, 128.0]])
    # The centre of the first map pixel of stride 4 is picture position 2.
    assert to_map(points, 4).tolist() == [[0.0, 0.0], [-0.5, 31.5]]
    assert to_picture(to_map(points, 4), 4).equal(points)


def test_gaussian_maps_keep_the_centre() -> None:
    maps = gaussian_maps(torch.tensor([[3.0, 1.25]]), (4, 6), 2.0)
    assert maps.shape == (1, 4, 6)
    assert maps[0, 1, 3] == pytest.approx(math.exp(-(0.25**2) / 8))
    assert maps[0, 3, 0] == pytest.approx(math.exp(-(9 + 1.75**2) / 8))


def test_argmax_takes_the_first_of_equals_and_the_peak() -> None:
    maps = torch.zeros(2, 3, 4)
    maps[0, 2, 1] = maps[0, 2, 3] = 0.5
    points, peaks = decode(maps, "argmax")
    assert points.tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert peaks.tolist() == [0.5, 0.0]


def test_quarter_goes_to_the_higher_neighbour_inside_only() -> None:
    maps = torch.zeros(3, 5, 5)
    maps[0, 2, 2], maps[0, 2, 3], maps[0, 1, 2] = 1.0, 0.4, 0.2
    maps[1, 0, 2], maps[1, 0, 1], maps[1, 1, 2] = 1.0, 0.4, 0.4
    maps[2, 2, 2] = 1.0
    assert decode(maps, "quarter")[0].tolist() == [[2.25, 1.75], [1.75, 0.0], [2.0, 2.0]]


@given(PLACES, PLACES, st.sampled_from([1.0, 1.5, 2.0]))
def test_dark_and_soft_read_back_what_was_drawn(x: float, y: float, sigma: float) -> None:
    maps = gaussian_maps(torch.tensor([[x, y]], dtype=torch.float64), (24, 24), sigma)
    for how, error in (("argmax", 0.71), ("quarter", 0.36), ("dark", 0.02), ("soft", 0.02)):
        points, _ = decode(maps, how)  # type: ignore[arg-type]  # mypy widens the literals
        assert (points - torch.tensor([[x, y]])).norm() <= error


def test_dark_stays_where_there_is_no_room_or_no_extremum() -> None:
    flat = torch.ones(1, 9, 9)
    assert decode(flat, "dark")[0].tolist() == [[0.0, 0.0]]
    logs = torch.zeros(1, 9, 9)
    assert heatmaps.taylor(logs, torch.tensor([[4.0, 4.0]])).tolist() == [[4.0, 4.0]]


def test_taylor_finds_the_top_of_a_parabola() -> None:
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    logs = -((x - 4.3) ** 2) - 0.5 * (y - 3.8) ** 2 + 0.3 * (x - 4.3) * (y - 3.8)
    found = heatmaps.taylor(logs[None], torch.tensor([[4.0, 4.0]]))
    assert found[0].tolist() == pytest.approx([4.3, 3.8], abs=1e-5)


def test_soft_argmax_is_the_mean_and_differentiable() -> None:
    maps = torch.zeros(1, 4, 4)
    maps[0, 0, 0], maps[0, 3, 1] = 1.0, 3.0
    maps.requires_grad_()
    points = heatmaps.soft_argmax(maps)
    assert points.tolist() == [[0.75, 2.25]]
    points.sum().backward()
    assert maps.grad is not None
    assert maps.grad.abs().sum() > 0


def test_blurred_keeps_each_maximum() -> None:
    maps = torch.rand(2, 3, 12, 10, dtype=torch.float64)
    soft = heatmaps.blurred(maps, 7)
    assert soft.amax((2, 3)).allclose(maps.amax((2, 3)))
    assert soft.std() < maps.std()
    assert heatmaps.blur_kernel(5, maps).tolist() == [0.0625, 0.25, 0.375, 0.25, 0.0625]


def test_flip_back_swaps_the_sides() -> None:
    maps = torch.arange(12.0).reshape(1, 3, 1, 4)
    back = heatmaps.flip_back(maps, torch.tensor([1, 0, 2]))
    assert back[0, :, 0].tolist() == [[7, 6, 5, 4], [3, 2, 1, 0], [11, 10, 9, 8]]
