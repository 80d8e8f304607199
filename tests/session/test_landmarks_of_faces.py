"""From a found face to points in the picture, with a model that sees perfectly."""

from dataclasses import replace

import numpy as np
import pytest
import skimage.data

from pentimento import models
from pentimento.errors import CheckpointError, FaceError
from pentimento.ops.align import crop_to_picture
from pentimento.session.faces import face_from_points
from pentimento.session.landmarks import landmarks, landmarks_in_box
from pentimento.session.models import load_landmarks
from pentimento.systems.perceive import hourglass
from pentimento.systems.perceive.landmarks import Config, Landmarks, tiny

FACE = np.random.default_rng(3).random((68, 2)) * [60, 80] + [70, 40]
FACE[36:42], FACE[42:48] = [85, 70], [118, 82]  # rolled clockwise by 20 degrees


class Seer:
    """Paints nothing and knows all: reads its crop's place from coordinates in the pixels."""

    size = 64

    def __init__(self) -> None:
        self.crops: list[np.ndarray] = []

    def predict(self, image: np.ndarray, *, flip: bool = False) -> np.ndarray:
        self.crops.append(image)
        # Channel 0 is x, channel 1 is y of every pixel: fit the crop's affine frame.
        v, u = np.mgrid[:64, :64] + 0.5
        fit = image[..., 2] > 0
        basis = np.stack([u[fit], v[fit], np.ones(fit.sum())], 1)
        to_picture = np.linalg.lstsq(basis, image[fit][:, :2].astype(float), rcond=None)[0].T
        inverse = np.linalg.inv(np.vstack([to_picture, [0, 0, 1]]))
        return (np.column_stack([FACE, np.ones(68)]) @ inverse.T)[:, :2].astype(np.float32)


def chart() -> np.ndarray:
    y, x = np.mgrid[:200, :200]
    return np.stack([x, y, np.full_like(x, 255)], -1).astype(np.uint8)


@pytest.mark.parametrize("rounds", [1, 2])
def test_points_come_back_in_picture_pixels(rounds: int) -> None:
    seer = Seer()
    face = face_from_points([(85, 70), (118, 82), (90, 110)])
    found = landmarks(chart(), face, seer, rounds=rounds)
    assert len(seer.crops) == rounds
    assert np.abs(found.xy - FACE).max() < 1.5
    assert found.visible.all()


def test_the_second_look_is_upright() -> None:
    seer = Seer()
    landmarks_in_box(chart(), (70, 20, 135, 125), seer)
    first, second = seer.crops
    assert np.ptp(first[32, 20:44, 1].astype(int)) <= 1  # along a row, y hardly changes
    slope = np.polyfit(np.arange(24), second[32, 20:44, 1].astype(float), 1)[0]
    across = np.polyfit(np.arange(24), second[32, 20:44, 0].astype(float), 1)[0]
    assert np.degrees(np.arctan2(slope, across)) == pytest.approx(20, abs=3)


def test_points_beyond_the_picture_are_not_visible() -> None:
    found = landmarks_in_box(chart()[:, :100], (70, 20, 135, 125), Seer(), rounds=1)
    beyond = (found.xy[:, 0] >= 100) | (found.xy < 0).any(1)
    assert beyond.any()
    assert np.array_equal(found.visible, ~beyond)


def test_empty_boxes_and_no_looks_are_refused() -> None:
    with pytest.raises(FaceError, match="empty box"):
        landmarks_in_box(chart(), (10, 10, 10, 50), Seer())
    with pytest.raises(ValueError, match="once at least"):
        landmarks_in_box(chart(), (10, 10, 60, 80), Seer(), rounds=0)


def test_the_bundled_model_finds_the_eyes_and_the_mouth_of_a_photo() -> None:
    photo = skimage.data.astronaut()  # type: ignore[no-untyped-call]  # has no types
    model = load_landmarks()
    face = face_from_points([(204, 108), (246, 109), (224, 145)])
    found = landmarks(photo, face, model).xy
    for first, last, place in (
        (36, 42, (203.5, 102)),
        (42, 48, (247.5, 104)),
        (48, 60, (224, 146)),
    ):
        assert np.abs(found[first:last].mean(0) - place).max() < 2
    boxed = landmarks_in_box(photo, (178, 65, 272, 190), model).xy
    assert np.abs(boxed - found).max() < 3
    small = landmarks_in_box(photo[::2, ::2], (89, 32, 136, 95), model).xy
    assert np.abs(2 * small - found).mean() < 3


def test_the_frame_of_a_face_is_upright_when_the_face_is() -> None:
    face = face_from_points([(80, 80), (120, 80), (100, 125)])
    matrix = crop_to_picture(face.quad, 10)
    assert abs(matrix[1, 0]) < 1e-9


def test_an_hourglass_marks_faces_too_and_other_points_are_refused(tmp_path) -> None:
    models.save(hourglass.StackedHourglasses(hourglass.tiny()), tmp_path / "stacks", "A test.")
    model = load_landmarks(tmp_path / "stacks")
    rgb = np.zeros((96, 96, 3), np.uint8)
    assert landmarks_in_box(rgb, (20, 10, 70, 80), model).xy.shape == (68, 2)
    five: Config = replace(tiny(), points=5)
    models.save(Landmarks(five), tmp_path / "five", "A test.")
    with pytest.raises(CheckpointError, match="5 points; --landmarks needs the 68"):
        load_landmarks(tmp_path / "five")
