import numpy as np
import pytest

from pentimento.labels import CELEBAMASK19, HELEN11, IGNORE
from pentimento.metrics.segmentation import Confusion


def test_iou_of_a_small_map_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [2, 2, 2, IGNORE]], np.uint8)
    predicted = np.array([[0, 1, 1, 1], [2, 0, 5, 9]], np.uint8)
    confusion = Confusion(CELEBAMASK19)
    confusion.add(truth, predicted)
    # background: 1 hit, union {2 true, 2 predicted} = 3; skin 2/3; nose 1/3; class 5 is not in the
    # truth; the pixel without a truth does not count.
    assert confusion.iou() == pytest.approx({"background": 1 / 3, "skin": 2 / 3, "nose": 1 / 3})
    assert confusion.mean_iou() == pytest.approx(4 / 9)
    assert confusion.pixel_accuracy() == pytest.approx(4 / 7)


def test_scores_pool_pixels_over_pictures() -> None:
    confusion = Confusion(HELEN11)
    confusion.add(np.zeros((1, 9), np.uint8), np.zeros((1, 9), np.uint8))
    confusion.add(np.zeros((1, 1), np.uint8), np.ones((1, 1), np.uint8))
    assert confusion.iou() == pytest.approx({"background": 0.9})


def test_refusing_to_answer_counts_as_wrong() -> None:
    confusion = Confusion(HELEN11)
    confusion.add(np.array([[1, 1]], np.uint8), np.array([[1, IGNORE]], np.uint8))
    assert confusion.iou() == pytest.approx({"skin": 0.5})


def test_nothing_known_scores_zero_not_nan() -> None:
    confusion = Confusion(HELEN11)
    confusion.add(np.full((2, 2), IGNORE, np.uint8), np.zeros((2, 2), np.uint8))
    assert (confusion.iou(), confusion.mean_iou(), confusion.pixel_accuracy()) == ({}, 0.0, 0.0)


def test_values_of_another_label_set_are_refused() -> None:
    with pytest.raises(ValueError, match="no class of helen11"):
        Confusion(HELEN11).add(np.array([[11]], np.uint8), np.array([[0]], np.uint8))
    with pytest.raises(ValueError, match="do not fit"):
        Confusion(HELEN11).add(np.zeros((1, 2), np.uint8), np.zeros((2, 1), np.uint8))
