"""Geodesic point similarity."""

import numpy as np
import pytest

from pentimento.metrics.surface import KAPPAS, masked_similarity, point_similarity


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
