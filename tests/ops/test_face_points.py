import numpy as np
import pytest

from pentimento.labels import CELEBAMASK19
from pentimento.ops.face_points import face_box, five_points

FRONTAL = np.array([[40.0, 40], [60, 40], [50, 50], [43, 60], [57, 60]])


def drawn(**parts: tuple[int, int, int, int]) -> np.ndarray:
    labels = np.zeros((100, 100), np.uint8)
    for name, (left, top, right, bottom) in parts.items():
        labels[top:bottom, left:right] = CELEBAMASK19.value(name)
    return labels


FACE = {
    "skin": (25, 15, 75, 75), "r_eye": (35, 38, 45, 42), "l_eye": (55, 38, 65, 42),
    "nose": (46, 40, 54, 56), "u_lip": (40, 60, 60, 64),
}  # fmt: skip


def test_five_points_are_where_the_parts_were_drawn():
    left, right, nose, one, other = five_points(drawn(**FACE))
    np.testing.assert_allclose([left, right], [[40, 40], [60, 40]])
    np.testing.assert_allclose(nose, [50, 51], atol=0.6)
    np.testing.assert_allclose([one, other], [[40.5, 62], [59.5, 62]], atol=0.6)


def test_a_speck_of_an_eye_elsewhere_does_not_move_the_eye():
    labels = drawn(**FACE)
    labels[90:93, 90:93] = CELEBAMASK19.value("r_eye")
    np.testing.assert_allclose(five_points(labels)[0], [40, 40])


def test_dark_glasses_stand_for_eyes():
    parts = {k: v for k, v in FACE.items() if k not in ("l_eye", "r_eye")}
    labels = drawn(**parts, eye_g=(30, 36, 70, 44))
    np.testing.assert_allclose(five_points(labels)[:2], [[40, 40], [60, 40]], atol=0.6)


def test_without_a_nose_it_is_put_between_eyes_and_mouth():
    parts = {k: v for k, v in FACE.items() if k != "nose"}
    nose = five_points(drawn(**parts))[2]
    assert 45 < nose[0] < 55
    assert 48 < nose[1] < 58


@pytest.mark.parametrize("hidden", ["r_eye", "l_eye", "u_lip"])
def test_without_an_eye_or_the_mouth_there_are_no_points(hidden: str):
    assert five_points(drawn(**{k: v for k, v in FACE.items() if k != hidden})) is None


def test_the_box_of_a_frontal_face_lies_about_it_and_goes_with_it():
    left, top, right, bottom = face_box(FRONTAL)
    assert (left + right) / 2 == pytest.approx(50)
    assert top < 20 < 65 < bottom
    np.testing.assert_allclose(face_box(3 * FRONTAL + 7), 3 * face_box(FRONTAL) + 7)


def test_the_box_of_a_turned_head_lies_behind_its_nose():
    turned = FRONTAL.copy()
    turned[2, 0] += 4
    assert face_box(turned)[0] < face_box(FRONTAL)[0]


def test_a_face_lying_on_its_side_has_a_lying_box():
    lying = FRONTAL @ np.array([[0, 1], [-1, 0]])
    box, upright = face_box(lying), face_box(FRONTAL)
    assert box[2] - box[0] == pytest.approx(upright[3] - upright[1])
