import numpy as np
import pytest

from pentimento.world.digits import digit
from pentimento.world.painting import painting


def test_a_painting_is_its_seed_and_has_its_colours() -> None:
    first = painting(0, 64)
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert (first == painting(0, 64)).all()
    assert (first != painting(3, 64)).any()  # the same palette, other strokes
    blue, red = painting(0, 64).mean((0, 1)), painting(1, 64).mean((0, 1))
    assert blue[2] > red[2]
    assert red[0] > blue[0]


def test_digits_differ_more_between_kinds_than_within() -> None:
    drawn = np.array([[digit(10 * n + k, k) for n in range(12)] for k in range(10)], np.float64)
    means = drawn.mean(1)
    wrong = 0
    for kind in range(10):
        for one in drawn[kind]:
            nearest = int(((means - one) ** 2).sum((1, 2)).argmin())
            wrong += nearest != kind
    assert wrong <= 6
    assert (digit(5, 3) == digit(5, 3)).all()
    assert digit(5, 3, 32).shape == (32, 32)
    with pytest.raises(ValueError, match="0 to 9"):
        digit(0, 10)
