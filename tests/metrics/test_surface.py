"""Geodesic point similarity."""

import numpy as np
import pytest

from pentimento.metrics.surface import (
    KAPPAS,
    SURFACES,
    masked_similarity,
    point_similarities,
    point_similarity,
    surface_precision,
)


def test_a_point_one_kappa_off_counts_exp_of_minus_a_half() -> None:
    assert point_similarity(np.zeros(3), 0.15) == 1
    assert point_similarity(np.array([0.15]), 0.15) == pytest.approx(np.exp(-0.5))
    assert point_similarity(np.array([0.0, np.inf]), 0.15) == 0.5
    assert point_similarity(np.zeros(0), 0.15) == 0
    assert masked_similarity(0.25, 1.0) == 0.5


def test_parts_have_the_spread_of_their_group() -> None:
    assert KAPPAS.shape == (24,)
    assert KAPPAS[[0, 3, 5, 9, 13, 17, 21, 23]].tolist() == [
        0.351, 0.107, 0.126, 0.237, 0.173, 0.142, 0.128, 0.150,
    ]  # fmt: skip
    part = np.array([7, 23])
    similarity = point_similarity(KAPPAS[part - 1], KAPPAS[part - 1])
    assert similarity == pytest.approx(np.exp(-0.5))


@pytest.mark.parametrize("parts", [15, 24])
def test_every_part_has_its_size(parts: int) -> None:
    surface = SURFACES[parts]
    assert surface.spans.shape == (parts, 2)
    assert surface.round.shape == surface.kappas.shape == (parts,)


def test_distances_on_a_chart_are_metres_and_go_round_a_limb() -> None:
    surface = SURFACES[15]
    torso, head = 3, 1
    points = np.array([
        [torso, torso, 0.95, 0.0],  # 0.05 round the other way
        [head, head, 0.0, 0.1],
        [head, torso, 0.0, 0.0],
    ])  # fmt: skip
    expected = [
        np.exp(-((0.05 * 0.89) ** 2) / (2 * 0.351**2)),
        np.exp(-((0.1 * 1.11) ** 2) / (2 * 0.150**2)),
        0.0,
    ]
    got = [float(point_similarities([p[None, None]], surface, 1)[0, 0]) for p in points]
    assert got == pytest.approx(expected)
    both = point_similarities([np.stack([points, points])], surface, 2)
    assert both.shape == (2, 1)
    assert point_similarities([], surface, 3).shape == (3, 0)
    assert both[0, 0] == pytest.approx(np.mean(expected))


def test_precision_over_surfaces_counts_people_as_coco_does() -> None:
    # Two pictures: the first person is found at 0.8, the second at 0.3, with a better-scored miss.
    near = [np.array([[0.8]]), np.array([[0.0], [0.3]])]
    scores = [np.array([0.9]), np.array([0.95, 0.5])]
    found = surface_precision(near, scores)
    assert found["gps"] == pytest.approx(0.55)
    # At 0.50: one miss, then one of two people: precision 1/2 up to recall 1/2 (51 of 101 places).
    assert found["ap50"] == pytest.approx(0.5 * 51 / 101)
    assert found["ap"] == pytest.approx(0.7 * 0.5 * 51 / 101)  # 0.50 ... 0.80 of ten thresholds
    nobody = surface_precision([np.zeros((0, 2)), np.zeros((1, 0))], [np.zeros(0), np.ones(1)])
    assert nobody["gps"] == nobody["ap"] == 0
    assert surface_precision([], []) == {"gps": 0.0, "ap": 0.0, "ap50": 0.0}
