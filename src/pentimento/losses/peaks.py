"""Losses of detectors that find objects as peaks (CornerNet 2018, CenterNet 2019).

Alphabet: N batch; C classes; H, W map; K objects per picture, filled up; D values each.
"""

import torch.nn.functional as F
from torch import Tensor


def peak_focal(heat: Tensor, truth: Tensor) -> Tensor:
    """Return the focal loss of heatmaps, per object (CornerNet, equation 1: α = 2, β = 4).

    Args:
        heat: (N, C, H, W) probabilities, kept away from 0 and 1.
        truth: the same shape: 1 at objects, a Gaussian about them, 0 elsewhere.

    Returns:
        The sum over all places divided by the number of objects, or the plain sum without any.
    """
    there = truth == 1
    near = (heat.log() * (1 - heat).square())[there].sum()
    far = ((1 - heat).log() * heat.square() * (1 - truth) ** 4)[~there].sum()
    return -(near + far) / there.sum().clamp(min=1)


def probability(logits: Tensor) -> Tensor:
    """Return the sigmoid, kept 1e-4 away from 0 and 1 so that its logarithms stay finite."""
    return logits.sigmoid().clamp(1e-4, 1 - 1e-4)


def pull_and_push(first: Tensor, second: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return how far the tags of one object are apart, and those of different ones too close.

    Associative embedding as in CornerNet, equations 4 and 5, with margin 1.

    Args:
        first: (N, K) tags of one corner.
        second: (N, K) tags of the other.
        present: (N, K) bool.
    """
    mean = (first + second) / 2
    count = present.sum(1, keepdim=True).float()
    spread = (first - mean).square() + (second - mean).square()
    pull = (spread / (count + 1e-4))[present].sum()
    pairs = present[:, None] & present[:, :, None]
    count = count[..., None]
    # The diagonal is a distance of 0: its margin of 1 is taken off before it is averaged in.
    margin = F.relu(1 - (mean[:, None] - mean[:, :, None]).abs()) - 1 / (count + 1e-4)
    push = (margin / ((count - 1) * count + 1e-4))[pairs].sum()
    return pull, push


def offset_smooth_l1(predicted: Tensor, truth: Tensor, present: Tensor) -> Tensor:
    """Return the smooth absolute error of (N, K, D) values, per present object."""
    where = present[..., None].expand_as(truth)
    total = F.smooth_l1_loss(predicted[where], truth[where], reduction="sum")
    return total / (present.sum() + 1e-4)


def value_l1(predicted: Tensor, truth: Tensor, present: Tensor) -> Tensor:
    """Return the mean absolute error of (N, K, D) values over the present ones.

    Args:
        predicted: what the maps hold at the objects.
        truth: the same shape.
        present: (N, K), or (N, K, D) where single values may be unknown.
    """
    weight = present if present.dim() == 3 else present[..., None].expand_as(truth)
    weight = weight.to(predicted.dtype)
    return ((predicted - truth).abs() * weight).sum() / (weight.sum() + 1e-4)
