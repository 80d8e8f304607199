"""What proposals and boxes learn from."""

import pytest
import torch

from pentimento.losses.regions import (
    BOX_WEIGHTS,
    draw,
    draw_regions,
    match,
    proposal_losses,
    region_losses,
)
from pentimento.ops.boxes import iou
from pentimento.ops.roi import offsets_to, shift_boxes


def test_matching_follows_the_thresholds_and_rescues_the_best() -> None:
    overlaps = torch.tensor([[0.8, 0.5, 0.1, 0.0], [0.0, 0.2, 0.25, 0.0]])
    truth, label = match(overlaps, 0.3, 0.7, rescue=True)
    assert truth[:3].tolist() == [0, 0, 1]
    # The third is the best of its truth; the last touches nothing.
    assert label.tolist() == [1, -1, 1, 0]
    assert match(overlaps, 0.3, 0.7, rescue=False)[1].tolist() == [1, -1, 0, 0]
    apart = torch.zeros(1, 3)
    assert match(apart, 0.3, 0.7, rescue=True)[1].tolist() == [0, 0, 0]
    assert match(torch.zeros(0, 3), 0.3, 0.7, rescue=True)[1].tolist() == [0, 0, 0]


def test_negatives_fill_what_positives_leave() -> None:
    torch.manual_seed(0)
    label = torch.tensor([1] * 10 + [0] * 30 + [-1] * 5)
    positive, negative = draw(label, 16, 0.25)
    assert (len(positive), len(negative)) == (4, 12)
    assert (label[positive] == 1).all()
    assert (label[negative] == 0).all()
    assert len(set(negative.tolist())) == 12
    few, rest = draw(torch.tensor([1, 0, 0]), 16, 0.5)
    assert (len(few), len(rest)) == (1, 2)


def test_offsets_lead_where_shifting_comes_from() -> None:
    boxes = torch.tensor([[10.0, 20, 30, 60], [0, 0, 8, 4]])
    targets = torch.tensor([[12.0, 18, 40, 70], [1, 1, 3, 9]])
    way = offsets_to(targets, boxes, BOX_WEIGHTS)
    assert torch.allclose(shift_boxes(way, boxes, BOX_WEIGHTS), targets, atol=1e-4)


def test_proposals_lose_by_hand() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    truths = [torch.tensor([[0.0, 0, 10, 10]])]
    logits = torch.tensor([[0.0, 0.0]])
    deltas = torch.full((1, 2, 4), 0.5)
    terms = proposal_losses(logits, deltas, anchors, truths, 2)
    assert float(terms["objectness"]) == pytest.approx(0.6931, abs=1e-3)
    assert float(terms["anchor"]) == pytest.approx(4 * 0.5 / 2)
    assert terms["objectness"].shape == ()


def test_regions_are_truths_too_and_lose_by_hand() -> None:
    torch.manual_seed(0)
    truth = torch.tensor([[0.0, 0, 10, 10]])
    proposed = torch.tensor([[0.0, 0, 9, 10], [40, 40, 50, 50], [60, 60, 70, 70]])
    drawn = draw_regions(proposed, truth, 8)
    assert drawn.positive.tolist() == [True, True, False, False]
    assert torch.allclose(drawn.overlap, iou(truth, drawn.boxes)[0])
    logits = torch.zeros(4, 2)
    deltas = torch.zeros(4, 4)
    terms = region_losses(logits, deltas, [drawn], [truth])
    assert float(terms["class"]) == pytest.approx(0.6931, abs=1e-3)
    narrow = offsets_to(truth, proposed[:1], BOX_WEIGHTS).abs().sum()
    assert float(terms["box"]) == pytest.approx(float(narrow) / 4)


def test_no_truth_at_all_is_background() -> None:
    drawn = draw_regions(torch.tensor([[0.0, 0, 9, 10]]), torch.zeros(0, 4), 8)
    assert drawn.positive.tolist() == [False]
    terms = region_losses(torch.zeros(1, 2), torch.zeros(1, 4), [drawn], [torch.zeros(0, 4)])
    assert terms["box"] == 0
    anchors = torch.tensor([[0.0, 0, 10, 10]])
    lost = proposal_losses(torch.zeros(1, 1), torch.zeros(1, 1, 4), anchors, [torch.zeros(0, 4)], 4)
    assert lost["anchor"] == 0
