import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pentimento.ops.regions import (
    box_around,
    depth,
    falloff,
    grow,
    one_hot,
    radial,
    register,
    resized,
    shrunk,
    signed_distance,
    stacked,
    upsample,
)
from pentimento.ops.warp import flow_warp


def disc(x: float, y: float, radius: float, size: int = 96) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (disc(40, 48, 12), disc(52, 44, 12)),  # moved
        (disc(48, 48, 10), disc(48, 48, 17)),  # grown
        (disc(48, 48, 16), disc(48, 48, 16) & (np.mgrid[:96, :96][0] > 44)),  # cut
    ],
)
def test_register_carries_one_shape_onto_the_other(source: np.ndarray, target: np.ndarray):
    field = register([source], [target], np.ones((96, 96), np.float32), 96)
    moved = flow_warp(source.astype(np.uint8), field, nearest=True) > 0
    assert overlap(moved, target) > 0.93
    assert overlap(source, target) < 0.9


def test_register_moves_nothing_without_support_or_without_a_pair():
    a, b = disc(40, 48, 12), disc(52, 44, 12)
    assert not register([a], [b], np.zeros((96, 96), np.float32), 96).any()
    assert not register([a], [np.zeros_like(b)], np.ones((96, 96), np.float32), 64).any()


def test_register_scales_lengths_to_the_size_asked_for():
    a, b = disc(44, 48, 14), disc(48, 48, 14)
    field = register([a], [b], np.ones((96, 96), np.float32), 192)
    assert field.shape == (192, 192, 2)
    assert field[96, 96, 0] == pytest.approx(-8, abs=1.5)


def test_falloff_is_one_on_the_core_and_exactly_zero_beyond_the_band():
    core = disc(48, 48, 10)
    weight = falloff(core, 6)
    away = -signed_distance(core)
    assert (weight[core] == 1).all()
    assert (weight[away > 6.2] == 0).all()
    assert 0.2 < weight[(away > 2.5) & (away < 3.5)].mean() < 0.8


def test_grow_adds_what_lies_within_the_radius():
    grown = grow(disc(48, 48, 10), 5)
    assert overlap(grown, disc(48, 48, 15)) > 0.93
    assert not grow(np.zeros((4, 4), bool), 3).any()


def test_upsample_gives_smooth_contours():
    small = disc(12, 12, 6, 24)
    shares = one_hot(small.astype(np.uint8), 19, sigma=1.0)
    assert overlap(upsample(shares, 96) == 1, disc(49.5, 49.5, 24)) > 0.91
    assert shares.sum(0) == pytest.approx(1, abs=1e-5)


def test_radial_stretches_a_ring_along_its_rays_and_turns_nothing():
    ring = disc(48, 48, 30) & ~disc(48, 48, 20)
    grown = disc(48, 48, 40) & ~disc(48, 48, 20)
    field = radial(ring, grown, (48, 48), 20)
    moved = flow_warp(ring.astype(np.uint8), field, nearest=True) > 0
    assert overlap(moved, grown) > 0.9
    y, x = np.mgrid[:96, :96].astype(float)
    sideways = ((x - 48) * field[..., 1] - (y - 48) * field[..., 0])[grown]
    assert np.abs(sideways).max() < 1e-2
    # A pixel on the new border comes from the old one, the middle of the new from that of the old.
    assert field[48, 87, 0] == pytest.approx(-10, abs=1.2)
    assert field[48, 78, 0] == pytest.approx(-5, abs=1.2)


def test_radial_moves_nothing_where_a_region_only_shrinks_or_is_not_there():
    ring = disc(48, 48, 40) & ~disc(48, 48, 20)
    cut = ring & (np.mgrid[:96, :96][1] > 30)
    assert np.abs(radial(ring, cut, (48, 48), 20)).max() < 1e-3
    assert not radial(ring, ring & False, (48, 48), 20).any()


def test_stacked_parts_two_bands_and_moves_nothing_sideways():
    def band(top: int) -> np.ndarray:
        mask = np.zeros((96, 96), np.bool_)
        mask[top : top + 8, 30:66] = True
        return mask

    field = stacked([band(40), band(48)], [band(40), band(60)], 12)
    assert not field[..., 0].any()
    assert np.abs(field[40:47, 48, 1]).max() < 0.3  # the upper band rests
    assert field[60:67, 48, 1] == pytest.approx(-12, abs=0.3)  # the lower one has come down
    assert np.abs(field[:27, 48, 1]).max() < 1e-6
    assert np.abs(field[:, 2, 1]).max() < 0.2
    moved = flow_warp(band(48).astype(np.uint8), field, nearest=True) > 0
    assert overlap(moved & (np.mgrid[:96, :96][0] >= 60), band(60)) > 0.85


def away(mask: np.ndarray) -> np.ndarray:
    """Distances to a mask, measured over the whole map."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)


@given(st.integers(0, 2**32), st.floats(0.5, 40))
def test_what_is_measured_in_a_box_is_what_the_whole_map_gives(seed: int, reach: float):
    chance = np.random.default_rng(seed)
    mask = np.zeros((64, 64), np.bool_)
    for _ in range(chance.integers(1, 4)):
        y, x = chance.integers(-8, 64, 2)
        mask[max(y, 0) : y + 9, max(x, 0) : x + 12] = True
    assert (grow(mask, reach) == (away(mask) <= reach) & mask.any()).all()
    if mask.any():
        t = np.clip(1 - away(mask) / np.float32(reach), 0, 1)
        assert (falloff(mask, reach) == t * t * (3 - 2 * t)).all()
        assert depth(mask) == pytest.approx(min(signed_distance(mask).max(), 128))


def test_masks_without_pixels_or_without_a_border_have_a_depth_and_a_box():
    empty = np.zeros((10, 10), np.bool_)
    assert depth(empty) == 0
    assert depth(~empty) == 20
    assert empty[box_around(empty, 3)].size == 0
    assert not grow(empty, 5).any()


@pytest.mark.parametrize(("have", "want"), [(128, 36), (96, 64), (97, 40), (64, 64), (40, 96)])
def test_labels_resized_part_by_part_are_the_majority_of_the_whole(have: int, want: int):
    labels = np.zeros((have, have), np.uint8)
    for value, (x, y, radius) in enumerate([(0.2, 0.3, 0.1), (0.6, 0.6, 0.3), (1.0, 0.9, 0.1)], 1):
        labels[disc(x * have, y * have, radius * have, have)] = value
    shares = np.stack(
        [
            cv2.resize((labels == v).astype(np.float32), (want, want), interpolation=cv2.INTER_AREA)
            for v in range(4)
        ]
    )
    sure = np.sort(shares, 0)[-1] - np.sort(shares, 0)[-2] > 1e-4
    assert (resized(labels, want, range(4)) == shares.argmax(0))[sure].all()
    assert (shrunk(labels == 2, want) == (shares[2] >= 0.5))[np.abs(shares[2] - 0.5) > 1e-4].all()
