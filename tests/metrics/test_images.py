import numpy as np
import pytest

from pentimento.metrics.images import psnr, ssim


def test_psnr_by_hand() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    grey = np.full((8, 8, 3), 51, np.uint8)  # an error of a fifth of the range everywhere
    assert psnr(black, grey) == pytest.approx(20 * np.log10(5))
    assert psnr(black / 255, grey / 255) == pytest.approx(20 * np.log10(5))
    assert psnr(grey, grey) == float("inf")


def test_ssim_of_flat_pictures_by_hand() -> None:
    # Without variance only the luminance term is left: (2ab + C1) / (a² + b² + C1).
    a, b, c1 = 100.0, 150.0, (0.01 * 255) ** 2
    flat = np.full((16, 16), 100, np.uint8)
    brighter = np.full((16, 16), 150, np.uint8)
    assert ssim(flat, brighter) == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1))
    assert ssim(flat, flat) == pytest.approx(1)


def test_ssim_does_not_depend_on_the_type() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 20, 20, 3), dtype=np.uint8)
    assert ssim(a, b) == pytest.approx(ssim(a / 255, b / 255))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (np.zeros((12, 12), np.uint16), "one shape and type"),
        (np.zeros((12, 13), np.uint8), "one shape and type"),
    ],
)
def test_pictures_that_cannot_be_compared_are_refused(other: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        psnr(np.zeros((12, 12), np.uint8), other)


def test_floats_outside_zero_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        ssim(np.zeros((12, 12)), np.full((12, 12), 255.0))
