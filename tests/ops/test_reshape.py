"""Edits of masks by rule."""

import numpy as np
import pytest

from pentimento.labels import CELEBAMASK19
from pentimento.ops.reshape import fuller, opened, smiling, stretched

VALUE = {name: value for value, name in enumerate(CELEBAMASK19.classes)}


@pytest.fixture
def face() -> np.ndarray:
    labels = np.zeros((100, 100), np.uint8)
    labels[10:90, 15:85] = VALUE["hair"]
    labels[25:90, 25:75] = VALUE["skin"]
    labels[40:44, 32:44] = VALUE["r_eye"]
    labels[66:70, 38:62] = VALUE["u_lip"]
    labels[70:74, 38:62] = VALUE["l_lip"]
    return labels


def width(labels: np.ndarray, *names: str) -> int:
    return int(np.ptp(np.nonzero(np.isin(labels, CELEBAMASK19.values(*names)))[1])) + 1


def test_a_region_is_stretched_about_its_middle_and_leaves_skin(face: np.ndarray) -> None:
    result = stretched(face, "lips", 0.5, 1.0)
    assert width(result, "u_lip", "l_lip") == pytest.approx(12, abs=1)
    assert (result[66:74, 38:43] == VALUE["skin"]).all()
    changed = result != face
    assert not changed[:66].any()
    assert not changed[74:].any()


def test_a_lifted_region_moves_up_by_its_share_of_the_face(face: np.ndarray) -> None:
    result = stretched(face, "right_eye", 1.0, 1.0, up=0.1)
    rows = np.nonzero(result == VALUE["r_eye"])[0]
    assert rows.min() == pytest.approx(35, abs=1)


def test_hair_in_front_stays_in_front(face: np.ndarray) -> None:
    face[60:80, 55:60] = VALUE["hair"]
    result = stretched(face, "lips", 1.3, 1.0)
    assert (result[60:80, 55:60] == VALUE["hair"]).all()


def test_an_opened_mouth_has_a_gap_between_its_lips(face: np.ndarray) -> None:
    column = opened(face)[:, 50]
    order = [CELEBAMASK19.classes[v] for v in column[60:85] if v != VALUE["skin"]]
    assert order == ["u_lip"] * 4 + ["mouth"] * 5 + ["l_lip"] * 4


def test_a_mouth_opens_most_in_the_middle_and_not_at_its_corners(face: np.ndarray) -> None:
    gap = (opened(face) == VALUE["mouth"]).sum(0)
    assert gap[50] == gap.max()
    assert gap[38] == gap[61] == 0
    assert 0 < gap[42] < gap[50]
    # A mouth that shows its inside already opens by as much again.
    again = (opened(opened(face)) == VALUE["mouth"]).sum(0)
    assert again[50] == 2 * gap[50]


def test_a_smile_widens_the_mouth_and_raises_its_corners(face: np.ndarray) -> None:
    result = smiling(face)
    lips = np.argwhere(np.isin(result, CELEBAMASK19.values("u_lip", "l_lip")))
    assert np.ptp(lips[:, 1]) > 24
    ends = lips[lips[:, 1] < lips[:, 1].min() + 3]
    middle = lips[abs(lips[:, 1] - 50) < 3]
    assert ends[:, 0].mean() < middle[:, 0].mean() - 2


def test_fuller_hair_grows_into_the_background_only(face: np.ndarray) -> None:
    result = fuller(face)
    changed = result != face
    assert changed.any()
    assert (face[changed] == 0).all()
    assert (result[changed] == VALUE["hair"]).all()


@pytest.mark.parametrize("edit", [opened, smiling, fuller, lambda m: stretched(m, "nose", 2, 2)])
def test_what_is_not_there_stays_away(edit: object) -> None:
    empty = np.zeros((40, 40), np.uint8)
    assert not edit(empty).any()  # type: ignore[operator]  # a function of one mask
