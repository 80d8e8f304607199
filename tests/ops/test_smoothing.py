import math

import numpy as np
import pytest

from pentimento.ops.smoothing import OneEuro


def test_the_first_value_passes_and_the_second_is_as_computed_by_hand() -> None:
    smooth = OneEuro(minimum=1.0, slope=0.5, speed_cutoff=2.0)
    assert smooth(np.array([[3.0, 4.0]]), 0.0).tolist() == [[3.0, 4.0]]
    step = 0.1
    speed_share = 1 / (1 + 1 / (2 * math.pi * 2.0 * step))  # 0.5569
    speed = speed_share * (1.0 / step)
    cutoff = 1.0 + 0.5 * speed
    share = 1 / (1 + 1 / (2 * math.pi * cutoff * step))
    moved = smooth(np.array([[4.0, 4.0]]), step)
    assert moved[0, 0] == pytest.approx(3.0 + share)
    assert share == pytest.approx(0.70388, abs=1e-4)
    assert moved[0, 1] == 4.0


def test_noise_at_rest_shrinks_and_a_jump_is_reached() -> None:
    rng = np.random.default_rng(0)
    smooth = OneEuro(minimum=1.0, slope=0.05)
    noise = rng.normal(0, 1, (200, 68, 2))
    still = np.stack([smooth(frame, i / 30) for i, frame in enumerate(noise)])
    assert still[50:].std() < 0.45 * noise.std()
    jumped = [smooth(np.full((68, 2), 100.0), (200 + i) / 30) for i in range(6)]
    assert np.abs(jumped[-1] - 100).max() < 3


def test_time_must_go_on_and_a_cut_is_forgotten() -> None:
    smooth = OneEuro()
    smooth(np.zeros(2), 1.0)
    with pytest.raises(ValueError, match="go on"):
        smooth(np.zeros(2), 1.0)
    with pytest.raises(ValueError, match="shape"):
        smooth(np.zeros(3), 2.0)
    smooth.forget()
    assert smooth(np.array([7.0]), 0.0).tolist() == [7.0]


@pytest.mark.parametrize("values", [(0, 0.1, 1), (1, -0.1, 1), (1, 0.1, 0)])
def test_impossible_cutoffs_are_refused(values: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="cut-offs"):
        OneEuro(*values)
