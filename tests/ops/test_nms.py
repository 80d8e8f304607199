import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pentimento.ops.nms import nms


def test_the_best_of_those_that_overlap_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [0, 0, 10, 6.0]])
    scores = np.array([0.8, 0.9, 0.1, 0.7])
    assert nms(boxes, scores, 0.5).tolist() == [1, 2]  # 90 / 110; 54 / 106 of box 1
    assert nms(boxes, scores, 0.55).tolist() == [1, 3, 2]


def test_of_equal_scores_the_first_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10.0]])
    assert nms(boxes, np.array([0.5, 0.5]), 0.4).tolist() == [0]


def test_boxes_without_extent_suppress_nothing_and_nothing_is_nothing():
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 9, 9.0]])
    assert sorted(nms(boxes, np.array([0.9, 0.8, 0.7]), 0.3).tolist()) == [0, 1, 2]
    assert nms(np.zeros((0, 4)), np.zeros(0), 0.3).tolist() == []


def test_inclusive_pixels_make_small_boxes_overlap_more():
    boxes = np.array([[0, 0, 1, 1], [1, 0, 2, 1.0]])
    assert nms(boxes, np.array([0.9, 0.8]), 0.3).tolist() == [0, 1]
    assert nms(boxes, np.array([0.9, 0.8]), 0.3, pixel=1.0).tolist() == [0]  # 2 of 6


box = st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(1, 20)] * 2)


@given(st.lists(st.tuples(box, st.integers(0, 9)), max_size=20), st.sampled_from([0.2, 0.5, 0.8]))
def test_what_stays_overlaps_little_and_what_goes_overlaps_something_better(rows, overlap):
    boxes = np.array([[x, y, x + w, y + h] for (x, y, w, h), _ in rows], float).reshape(-1, 4)
    scores = np.array([score for _, score in rows], float)
    kept = nms(boxes, scores, overlap)

    def share(a, b):
        low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
        both = (high - low).clip(0).prod()
        return both / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - both)

    assert all(share(boxes[i], boxes[j]) <= overlap for i in kept for j in kept if i != j)
    for gone in set(range(len(boxes))) - set(kept.tolist()):
        rivals = [k for k in kept if share(boxes[gone], boxes[k]) > overlap]
        assert any(scores[k] >= scores[gone] for k in rivals)
