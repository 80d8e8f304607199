import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from pentimento.metrics.images import sharpness, ssim
from pentimento.metrics.perceptual import Likeness, PerceptualDistance


@pytest.fixture(scope="module")
def face() -> np.ndarray:
    return np.ascontiguousarray(cv2.resize(astronaut(), (128, 128), interpolation=cv2.INTER_AREA))


def test_equal_pictures_have_no_distance_and_harm_adds_up(face: np.ndarray) -> None:
    distance = PerceptualDistance()
    assert distance(face, face) == pytest.approx(0, abs=1e-6)
    blurred = [distance(face, cv2.GaussianBlur(face, (0, 0), sigma)) for sigma in (0.5, 1, 2, 4)]
    assert blurred == sorted(blurred)
    assert distance(face, blurred_face := cv2.blur(face, (3, 3))) == pytest.approx(
        distance(face / 255.0, blurred_face / 255.0), rel=1e-4
    )


def test_blotches_are_worse_than_a_shift_that_ssim_likes_less(face: np.ndarray) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(0).standard_normal(face.shape), (0, 0), 3)
    blotched = (face + 14 * noise / noise.std()).clip(0, 255).astype(np.uint8)
    moved = cv2.warpAffine(
        face, np.array([[1.0, 0, 1], [0, 1, 0]]), (128, 128), borderMode=cv2.BORDER_REFLECT
    )
    distance = PerceptualDistance()
    assert ssim(face, blotched) > ssim(face, moved)
    assert distance(face, blotched) > distance(face, moved)


def test_misfits_are_refused(face: np.ndarray) -> None:
    distance = PerceptualDistance()
    with pytest.raises(ValueError, match="one shape and type"):
        distance(face, face / 255.0)
    with pytest.raises(ValueError, match="16 pixels"):
        distance(face[:8], face[:8])
    with pytest.raises(ValueError, match="vgg16:FILE"):
        PerceptualDistance("alex")


def test_sharpness_by_hand_and_under_blur(face: np.ndarray) -> None:
    ramp = np.tile(np.arange(4, dtype=np.uint8) * 51, (3, 1))  # a fifth of the range per pixel
    assert sharpness(ramp) == pytest.approx(0.2)
    assert sharpness(cv2.GaussianBlur(face, (0, 0), 2)) < 0.6 * sharpness(face)


def test_likeness_averages_and_sees_looks_only_in_colours(face: np.ndarray) -> None:
    truths = np.stack([face, face]).astype(np.float32) / 255
    pictures = np.stack([truths[0], cv2.blur(truths[1], (5, 5))])
    likeness = Likeness()
    likeness.add(truths, pictures)
    found = likeness.value()
    assert found["ssim"] == pytest.approx((1 + ssim(truths[1], pictures[1])) / 2)
    assert found["looks"] == pytest.approx(PerceptualDistance()(truths[1], pictures[1]) / 2)
    greys = Likeness()
    greys.add(truths[1:, ..., :1], pictures[1:, ..., :1])
    assert greys.value().keys() == {"ssim", "psnr"}
