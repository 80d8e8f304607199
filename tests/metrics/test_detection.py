import numpy as np
import pytest

from pentimento.metrics.detection import average_precision, errors_of_found
from pentimento.structures import Boxes

ONE = np.array([[10.0, 10, 50, 60]])


def found(rows: list, scores: list) -> Boxes:
    return Boxes(np.array(rows, np.float32).reshape(-1, 4), np.array(scores, np.float32))


def test_the_truth_itself_is_perfect():
    scores = average_precision([ONE, ONE + 5], [found(ONE, [0.9]), found(ONE + 5, [0.3])])
    assert scores == pytest.approx(dict.fromkeys(("ap", "ap50", "ap75", "recall"), 1.0))


def test_a_surer_false_answer_halves_the_precision():
    answers = found([[200, 200, 240, 250], *ONE.tolist()], [0.9, 0.8])
    assert average_precision([ONE], [answers])["ap50"] == pytest.approx(0.5, abs=0.01)


def test_a_shifted_box_counts_at_low_overlap_only():
    scores = average_precision([ONE], [found(ONE + np.array([8, 0, 8, 0]), [0.9])])  # IoU 32 / 48
    assert scores["ap50"] == pytest.approx(1.0)
    assert scores["ap75"] == 0
    assert scores["ap"] == pytest.approx(0.4)  # 0.50, 0.55, 0.60, 0.65


def test_pictures_without_truths_or_answers():
    nothing = np.zeros((0, 4))
    assert average_precision([nothing], [found([], [])])["ap"] == 0
    assert average_precision([nothing], [found(ONE, [0.9])])["ap"] == 0
    assert average_precision([ONE], [found([], [])])["recall"] == 0
    both = average_precision([ONE, nothing], [found(ONE, [0.9]), found([], [])])
    assert both["ap"] == pytest.approx(1.0)


def test_every_picture_needs_its_answers():
    with pytest.raises(ValueError, match="2 pictures"):
        average_precision([ONE, ONE], [found(ONE, [0.9])])


def test_errors_count_for_faces_that_were_found_in_units_of_each():
    truths = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]], np.float32)
    wanted = np.array([[[2, 2], [8, 8]], [[22, 22], [28, 28]], [[52, 52], [np.nan, 58]]])
    found = Boxes(truths[[1, 2, 0]] + 1, np.ones(3, np.float32))
    placed = wanted[[1, 2, 0]] + [3.0, 4.0]
    unit = np.array([10.0, 5.0, 1.0])
    assert errors_of_found(found, truths, unit, placed, wanted) == pytest.approx([0.5, 1.0])
    unit[1] = 0  # eyes in a line, one behind the other
    assert errors_of_found(found, truths, unit, placed, wanted) == pytest.approx([0.5])
    far = Boxes(truths + 8, np.ones(3, np.float32))
    assert errors_of_found(far, truths, unit, placed, wanted) == []
    assert errors_of_found(found, truths[:0], unit[:0], placed, wanted[:0]) == []
