import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pentimento.ops.corner_pairs import pair_corners
from pentimento.ops.frames import cut, inverse, kept_resolution, moved, similarity
from pentimento.ops.peaks import corner_radius, draw_peak, local_maxima, top_peaks
from pentimento.ops.soft_nms import soft_nms


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared / (sum(area) - shared)


@given(st.floats(4, 200), st.floats(4, 200), st.sampled_from([0.3, 0.5, 0.7]))
def test_corners_within_the_radius_keep_the_overlap(h: float, w: float, least: float) -> None:
    r = corner_radius(h, w, least)
    box = (0.0, 0.0, w, h)
    for moved_box in ((r, r, w + r, h + r), (r, r, w - r, h - r), (-r, -r, w + r, h + r)):
        assert iou(box, moved_box) >= least - 1e-6


def test_a_peak_is_one_at_its_middle_and_cut_at_the_border() -> None:
    heat = np.zeros((5, 6), np.float32)
    draw_peak(heat, 0, 4, 2)
    draw_peak(heat, 1, 4, 1)
    assert heat[4, 0] == heat[4, 1] == 1
    assert heat[4, 2] == pytest.approx(np.exp(-1 / (2 * (3 / 6) ** 2)), abs=1e-6)
    assert heat[:, 4:].max() == 0


def test_peaks_come_back_in_order() -> None:
    heat = torch.zeros(1, 2, 4, 5)
    heat[0, 1, 2, 3], heat[0, 0, 0, 0], heat[0, 0, 0, 1] = 0.9, 0.8, 0.7
    score, index, kind, y, x = top_peaks(local_maxima(heat), 2)
    assert score[0].tolist() == pytest.approx([0.9, 0.8])
    assert index[0].tolist() == [13, 0]
    assert (kind[0].tolist(), y[0].tolist(), x[0].tolist()) == ([1, 0], [2, 0], [3, 0])


def test_corners_pair_by_class_tag_and_order() -> None:
    maps = {f"{c}_{n}": torch.zeros(1, k, 8, 8) for c in ("tl", "br") for n, k in
            (("heat", 2), ("tag", 1), ("regr", 2))}  # fmt: skip
    for name in ("tl_heat", "br_heat"):
        maps[name] -= 9
    maps["tl_heat"][0, 0, 1, 1], maps["br_heat"][0, 0, 5, 6] = 3, 2
    maps["tl_heat"][0, 0, 2, 6], maps["br_heat"][0, 0, 7, 7] = 1, 1
    maps["tl_tag"][0, 0, 2, 6] = maps["br_tag"][0, 0, 7, 7] = 5
    maps["tl_regr"][0, :, 1, 1] = torch.tensor([0.5, 0.25])
    found = pair_corners(maps, 2)[0]
    assert found[0, :4].tolist() == [1.5, 1.25, 6, 5]
    assert found[1, :4].tolist() == [6, 2, 7, 7]
    expected = (torch.sigmoid(torch.tensor(3.0)) + torch.sigmoid(torch.tensor(2.0))) / 2
    assert found[0, 4] == pytest.approx(float(expected))
    assert (found[2:, 4] == -1).all()


def test_soft_suppression_lowers_what_overlaps() -> None:
    boxes = np.array([[0, 0, 9, 9, 0.9], [0, 0, 9, 4, 0.8], [20, 20, 29, 29, 0.7]], np.float32)
    hard, count = soft_nms(boxes, "hard", overlap=0.4)
    assert hard[:count, 4].tolist() == pytest.approx([0.9, 0.7])
    soft, count = soft_nms(boxes, "exp")
    lowered = 0.8 * np.exp(-(0.5**2) / 0.5)
    assert soft[:count, 4].tolist() == pytest.approx([0.9, 0.7, lowered])
    assert soft_nms(boxes[:0], "exp")[1] == 0


@given(st.floats(-60, 60), st.floats(10, 300), st.integers(8, 64))
def test_frames_are_undone(degrees: float, extent: float, side: int) -> None:
    matrix = similarity((31.0, 17.5), extent, degrees, (side, side))
    points = np.array([[0.0, 0.0], [31.0, 17.5], [60.0, 5.0]])
    there = moved(points, matrix)
    assert there[1] == pytest.approx([side / 2, side / 2])
    assert np.allclose(moved(there, inverse(matrix)), points, atol=1e-6)


def test_a_cut_keeps_what_it_shows() -> None:
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    same = similarity((2, 2), 4, 0, (4, 4))
    assert (cut(image, same, (4, 4)) == image).all()
    assert kept_resolution(480, 640, 1, 31) == (512, 672)
