import math

import pytest
import torch

from pentimento.losses.peaks import (
    offset_smooth_l1,
    peak_focal,
    probability,
    pull_and_push,
    value_l1,
)


def test_focal_by_hand() -> None:
    heat = torch.tensor([[[[0.8, 0.3]]]])
    truth = torch.tensor([[[[1.0, 0.5]]]])
    expected = -(0.2**2 * math.log(0.8) + 0.5**4 * 0.3**2 * math.log(0.7))
    assert peak_focal(heat, truth).item() == pytest.approx(expected, rel=1e-5)


def test_nothing_to_find_is_finite() -> None:
    logits = torch.full((1, 1, 3, 3), -60.0, requires_grad=True)
    absent = torch.zeros(1, 4, dtype=torch.bool)
    tags = torch.zeros(1, 4, requires_grad=True)
    offsets = torch.zeros(1, 4, 2, requires_grad=True)
    pull, push = pull_and_push(tags, tags, absent)
    losses = [
        peak_focal(probability(logits), torch.zeros(1, 1, 3, 3)), pull, push,
        offset_smooth_l1(offsets, torch.ones(1, 4, 2), absent),
        value_l1(offsets, torch.ones(1, 4, 2), absent),
    ]  # fmt: skip
    torch.stack(losses).sum().backward()
    assert all(torch.isfinite(loss) for loss in losses)
    assert torch.isfinite(logits.grad).all()


def test_tags_by_hand() -> None:
    first, second = torch.tensor([[0.0, 2.0, 9.0]]), torch.tensor([[1.0, 2.0, 9.0]])
    present = torch.tensor([[True, True, False]])
    pull, push = pull_and_push(first, second, present)
    assert pull.item() == pytest.approx(0.5 / 2, rel=1e-3)  # 0.5² + 0.5², of two objects
    assert push.item() == pytest.approx(0, abs=1e-3)  # means 0.5 and 2 are 1.5 apart
    assert pull_and_push(first * 0, second * 0, present)[1].item() == pytest.approx(1, abs=1e-3)


def test_values_are_averaged_over_the_present() -> None:
    truth, present = torch.zeros(1, 2, 2), torch.tensor([[True, False]])
    error = torch.tensor([[[1.0, 3.0], [99.0, 99.0]]])
    assert value_l1(error, truth, present).item() == pytest.approx(2, rel=1e-3)
    assert offset_smooth_l1(error, truth, present).item() == pytest.approx(0.5 + 2.5, rel=1e-3)
