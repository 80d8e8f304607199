import numpy as np
import pytest

from pentimento.ops.blend import (
    colour_transfer,
    extend,
    grain,
    grain_level,
    low_pass,
    nearest,
    push_pull,
    smooth,
    to_lab,
)


def hole(size: int = 48, radius: int = 9) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return x**2 + y**2 < radius**2


def test_push_pull_stays_within_the_known_values_and_keeps_them():
    values = np.random.default_rng(1).uniform(40, 60, (48, 48, 3)).astype(np.float32)
    filled = push_pull(values, ~hole())
    np.testing.assert_allclose(filled[~hole()], values[~hole()], atol=1e-4)
    assert filled.min() > 38
    assert filled.max() < 62


def test_extend_keeps_what_is_known_and_continues_tone_and_texture():
    rng = np.random.default_rng(3)
    picture = (120 + 8 * rng.standard_normal((64, 64, 3))).astype(np.float32)
    known = ~hole(64, 12)
    filled = extend(np.where(known[..., None], picture, 0), known, 4.0)
    np.testing.assert_array_equal(filled[known], picture[known])
    assert filled[~known].mean() == pytest.approx(120, abs=3)
    assert filled[~known].std() > 3  # grain runs on instead of a flat patch


def test_extend_refuses_to_continue_nothing():
    with pytest.raises(ValueError, match="nothing is known"):
        extend(np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), bool), 2)


def test_nearest_names_the_closest_known_pixel():
    known = np.zeros((9, 9), bool)
    known[1, 1] = known[7, 7] = True
    rows, columns = nearest(known)
    assert (rows[2, 3], columns[2, 3]) == (1, 1)
    assert (rows[6, 6], columns[6, 6]) == (7, 7)


def test_low_pass_ignores_what_lies_outside_the_mask():
    picture = np.full((40, 40, 3), 50, np.float32)
    picture[:, 20:] = 250
    within = np.zeros((40, 40), bool)
    within[:, :20] = True
    np.testing.assert_allclose(low_pass(picture, within, 4.0)[:, :20], 50, atol=1)


def test_wide_smoothing_equals_the_plain_gaussian():
    import cv2

    picture = np.random.default_rng(0).random((90, 110)).astype(np.float32)
    exact = cv2.GaussianBlur(picture, (0, 0), 9)
    assert np.abs(smooth(picture, 9) - exact)[12:-12, 12:-12].max() < 0.03


@pytest.mark.parametrize("goal", [(200, 60, 60), (60, 40, 30), (230, 215, 160)])
def test_colour_transfer_reaches_the_reference_s_mean(goal: tuple[int, int, int]):
    rng = np.random.default_rng(2)
    own = np.ones((32, 32), bool)
    picture = (np.array([120, 90, 80]) + 10 * rng.standard_normal((32, 32, 3))).astype(np.float32)
    reference = (np.array(goal) + 6 * rng.standard_normal((500, 3))).astype(np.float32)
    moved = to_lab(colour_transfer(picture, own, reference)).reshape(-1, 3).mean(0)
    wanted = to_lab(reference[:, None])[:, 0].mean(0)
    assert np.abs(moved - wanted).max() < 3


def test_colour_transfer_onto_itself_changes_little():
    rng = np.random.default_rng(4)
    picture = rng.uniform(60, 200, (32, 32, 3)).astype(np.float32)
    same = colour_transfer(picture, np.ones((32, 32), bool), picture.reshape(-1, 3))
    assert np.abs(same - picture).mean() < 3


def test_grain_has_the_level_that_is_measured_and_is_the_same_each_time():
    noise = grain((80, 80), 3.0, seed=7)
    assert grain_level(np.repeat(noise[..., None], 3, 2), np.ones((80, 80), bool)) == pytest.approx(
        3.0, rel=0.15
    )
    np.testing.assert_array_equal(noise, grain((80, 80), 3.0, seed=7))
