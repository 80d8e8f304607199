import math

import pytest
import torch

from pentimento.losses.adversarial import cross_entropy, feature_matching


def test_cross_entropy_of_undecided_scores_is_log_2_per_scale() -> None:
    scores = [torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 2, 2)]
    assert float(cross_entropy(scores, real=True)) == pytest.approx(2 * math.log(2))
    assert float(cross_entropy(scores, real=False)) == pytest.approx(2 * math.log(2))


def test_cross_entropy_by_hand() -> None:
    scores = [torch.tensor([[[[2.0, -1.0]]]])]
    real = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert float(cross_entropy(scores, real=True)) == pytest.approx(real)
    # Saying 2 of a fake costs more than saying -1.
    fake = (math.log(1 + math.exp(2)) + math.log(1 + math.exp(-1))) / 2
    assert float(cross_entropy(scores, real=False)) == pytest.approx(fake)


def test_cross_entropy_stays_finite_for_certain_critics() -> None:
    assert float(cross_entropy([torch.full((1, 1, 2, 2), -1e4)], real=True)) == pytest.approx(1e4)


def test_feature_matching_sums_layer_means_and_teaches_the_fake_only() -> None:
    fake = [torch.ones(1, 2, 3, 3, requires_grad=True), torch.zeros(1, 1, 1, 1)]
    real = [torch.full((1, 2, 3, 3), 3.0, requires_grad=True), torch.full((1, 1, 1, 1), -0.5)]
    loss = feature_matching(fake, real)
    assert float(loss.detach()) == pytest.approx(2.5)
    loss.backward()
    assert fake[0].grad is not None
    assert real[0].grad is None
