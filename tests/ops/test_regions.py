import numpy as np
import pytest

from pentimento.ops.regions import falloff, grow, one_hot, register, signed_distance, upsample
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
