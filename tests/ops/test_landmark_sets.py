"""The conventions of 5, 68 and 98 points."""

import numpy as np
import pytest

from pentimento.ops.landmarks import LINES, crop_of, mirror_order, mirrored, remap, roll_of


@pytest.mark.parametrize("count", [5, 68, 98])
def test_mirroring_twice_changes_nothing(count: int) -> None:
    order = mirror_order(count)
    assert sorted(order) == list(range(count))
    assert (order[order] == np.arange(count)).all()
    points = np.random.default_rng(0).random((3, count, 2)) * 50
    assert np.allclose(mirrored(mirrored(points, 50), 50), points)


def test_points_on_the_middle_line_are_their_own_mirror_images() -> None:
    assert np.flatnonzero(mirror_order(68) == np.arange(68)).tolist() == [
        8, 27, 28, 29, 30, 33, 51, 57, 62, 66,
    ]  # fmt: skip
    assert np.flatnonzero(mirror_order(98) == np.arange(98)).tolist() == [
        16, 51, 52, 53, 54, 57, 79, 85, 90, 94,
    ]  # fmt: skip


def test_remaps_take_or_average_points() -> None:
    fine = np.stack([np.arange(98.0), 100 + np.arange(98.0)], 1)
    coarse = remap(fine, 68)
    assert coarse.shape == (68, 2)
    assert coarse[:17, 0].tolist() == list(range(0, 33, 2))
    assert coarse[17:27, 0].tolist() == [33, 37.5, 37.5, 37.5, 37.5, 46, 46, 46, 46, 46]
    assert coarse[[27, 35, 36, 38, 41, 42, 47, 48, 67], 0].tolist() == [
        51, 59, 60, 63, 67, 68, 75, 76, 95,
    ]  # fmt: skip
    assert remap(coarse, 5)[2:].tolist() == coarse[[30, 48, 54]].tolist()
    assert remap(coarse, 5)[0, 0] == coarse[36:42, 0].mean()
    assert remap(fine, 5)[:, 0].tolist() == [96, 97, 54, 76, 82]


@pytest.mark.parametrize(("have", "wanted"), [(5, 68), (68, 98), (7, 5)])
def test_what_is_not_there_is_refused(have: int, wanted: int) -> None:
    with pytest.raises(ValueError, match="cannot be turned"):
        remap(np.zeros((have, 2)), wanted)
    with pytest.raises(ValueError, match="5, 68 or 98"):
        mirror_order(7)


def test_mirroring_and_remapping_commute() -> None:
    fine = np.random.default_rng(1).random((98, 2)) * 50
    assert np.allclose(remap(mirrored(fine, 50), 68), mirrored(remap(fine, 68), 50))


def test_the_crop_surrounds_the_points_and_turns_with_them() -> None:
    points = np.random.default_rng(2).random((68, 2)) * [40, 60]
    quad = crop_of(points)
    low, high = points.min(0), points.max(0)
    assert np.allclose(quad.mean(0), (low + high) / 2)
    assert quad[2, 0] - quad[0, 0] == pytest.approx(1.4 * (high - low).max())
    angle = 0.4
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = crop_of(points @ turn, angle)
    assert np.allclose(turned, quad @ turn)
    assert np.arctan2(*(turned[3] - turned[0])[::-1]) == pytest.approx(angle)


def test_roll_is_that_of_the_eyes() -> None:
    points = np.zeros((68, 2))
    points[42:48] = [10, 10]
    assert roll_of(points) == pytest.approx(np.pi / 4)
    assert {i for line in LINES for i in line} == set(range(68))
