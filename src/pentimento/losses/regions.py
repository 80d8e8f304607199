"""How R-CNNs learn where things are: proposals (Ren et al. 2015) and boxes (Girshick 2015).

As in detectron2: anchors of an IoU of 0.7 with a truth are positive, below 0.3 negative, and the
best anchors of every truth are positive whatever they reach; regions of 0.5 are positive, truths
count as regions. Of each picture only some are drawn, at random, so that the negatives do not
outweigh. Offsets are compared by their absolute error.

Alphabet: N pictures, T anchors, R regions, M truths of a picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pentimento.ops.boxes import iou
from pentimento.ops.roi import offsets_to

BOX_WEIGHTS: Final = (10.0, 10.0, 5.0, 5.0)
"""Of x, y, width and height in the offsets of the box head."""
_ANCHOR_WEIGHTS: Final = (1.0, 1.0, 1.0, 1.0)


def match(overlaps: Tensor, low: float, high: float, *, rescue: bool) -> tuple[Tensor, Tensor]:
    """Tell which boxes show a truth.

    Args:
        overlaps: (M, T) IoU of truths and boxes.
        low: a box is negative below.
        high: a box is positive from here on.
        rescue: whether the best boxes of every truth are positive too, if they touch it at all.

    Returns:
        The truth (T,) that each box overlaps most, 0 without truths; and 1, 0 or -1 (T,):
        positive, negative, neither.
    """
    count = overlaps.shape[1]
    label = overlaps.new_zeros(count, dtype=torch.int64)
    if not len(overlaps):
        return label, label.clone()
    best, truth = overlaps.max(0)
    label[best >= low] = -1
    label[best >= high] = 1
    if rescue:
        top = overlaps.amax(1, keepdim=True)
        label[((overlaps == top) & (top > 0)).any(0)] = 1
    return truth, label


def draw(label: Tensor, count: int, share: float) -> tuple[Tensor, Tensor]:
    """Draw positives, at most `share` of `count`, and negatives for the rest; numbers of both."""
    chosen: list[Tensor] = []
    for value, most in ((1, int(count * share)), (0, count)):
        pool = (label == value).nonzero()[:, 0]
        most -= len(chosen[0]) if chosen else 0
        chosen.append(pool[torch.randperm(len(pool), device=pool.device)[:most]])
    return chosen[0], chosen[1]


def proposal_losses(
    logits: Tensor, deltas: Tensor, anchors: Tensor, truths: Sequence[Tensor], count: int
) -> dict[str, Tensor]:
    """Return `objectness` and `anchor`, both over the number of anchors that are drawn.

    Args:
        logits: (N, T).
        deltas: (N, T, 4).
        anchors: (T, 4).
        truths: per picture (M, 4), sides above 0.
        count: anchors drawn per picture, half of them positive if there are enough.
    """
    objectness = anchor = logits.sum() * 0
    for logit, delta, boxes in zip(logits, deltas, truths, strict=True):
        truth, label = match(iou(boxes, anchors), 0.3, 0.7, rescue=True)
        positive, negative = draw(label, count, 0.5)
        both = torch.cat([positive, negative])
        wanted = (label[both] == 1).to(logit.dtype)
        objectness = objectness + F.binary_cross_entropy_with_logits(
            logit[both], wanted, reduction="sum"
        )
        way = offsets_to(boxes[truth[positive]], anchors[positive], _ANCHOR_WEIGHTS)
        anchor = anchor + (delta[positive] - way).abs().sum()
    share = 1 / (count * len(logits))
    return {"objectness": objectness * share, "anchor": anchor * share}


@dataclass(frozen=True)
class Regions:
    """Regions of one picture that a box head learns from, the positive ones first.

    Attributes:
        boxes: (R, 4).
        truth: (R,) the truth that each overlaps most.
        overlap: (R,) its IoU with that.
        positive: (R,) bool.
    """

    boxes: Tensor
    truth: Tensor
    overlap: Tensor
    positive: Tensor


def draw_regions(proposed: Tensor, truths: Tensor, count: int) -> Regions:
    """Draw regions among proposals (R, 4) and truths (M, 4), a quarter of them positive at most."""
    boxes = torch.cat([proposed, truths])
    overlaps = iou(truths, boxes)
    truth, label = match(overlaps, 0.5, 0.5, rescue=False)
    positive, negative = draw(label, count, 0.25)
    chosen = torch.cat([positive, negative])
    overlap = overlaps.amax(0) if len(truths) else boxes.new_zeros(len(boxes))
    return Regions(boxes[chosen], truth[chosen], overlap[chosen], label[chosen] == 1)


def region_losses(
    logits: Tensor, deltas: Tensor, regions: Sequence[Regions], truths: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Return `class` and `box`, both over the number of regions.

    Args:
        logits: (R, 2), the object and the background.
        deltas: (R, 4).
        regions: per picture; R is their number together.
        truths: per picture (M, 4), sides above 0.
    """
    positive = torch.cat([each.positive for each in regions])
    boxes = torch.cat([each.boxes for each in regions])
    wanted = torch.cat(
        [own[each.truth[each.positive]] for own, each in zip(truths, regions, strict=True)]
    )
    way = offsets_to(wanted, boxes[positive], BOX_WEIGHTS)
    many = max(len(boxes), 1)
    return {
        "class": F.cross_entropy(logits, (~positive).long(), reduction="sum") / many,
        "box": (deltas[positive] - way).abs().sum() / many,
    }
