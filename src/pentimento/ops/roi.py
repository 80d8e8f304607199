"""Regions of interest: features inside boxes, anchors, and the offsets between them.

RoIAlign (He et al., Mask R-CNN, ICCV 2017, section 3) as two small matrices per box: bilinear
sampling on a regular grid is separable, and so is the rule that samples off the map count 0.

Alphabet: N pictures, C channels, H, W feature size, R boxes, P bins a side, A anchors. A box is
(left, top, right, bottom) in pixels of the picture.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_CANONICAL_LEVEL = 4
_LARGEST_STEP = math.log(1000 / 16)


def bin_weights(
    low: Tensor, high: Tensor, bins: int, size: int, *, samples: int, aligned: bool
) -> Tensor:
    """Return what every feature along one axis adds to every bin of every interval.

    Args:
        low: (R,) starts in features.
        high: (R,) ends.
        bins: P.
        size: length of the axis.
        samples: per bin; 0 = one per feature that a bin spans, rounded up.
        aligned: whether feature centres lie at halves; if not, intervals are at least 1 long.

    Returns:
        (R, P, size).
    """
    shift = 0.5 if aligned else 0.0
    start, extent = low - shift, (high - shift) - (low - shift)
    if not aligned:
        extent = extent.clamp(min=1)
    step = extent / bins
    number = torch.full_like(step, samples) if samples else step.ceil()
    most = max(1, int(number.max())) if len(number) else 1
    i = torch.arange(most, device=low.device)
    p = torch.arange(bins, device=low.device)
    within = (i + 0.5) * step[:, None] / number.clamp(min=1)[:, None]
    at = start[:, None, None] + p[None, :, None] * step[:, None, None] + within[:, None]
    counts = (i < number[:, None])[:, None] & (at >= -1) & (at <= size)
    share = counts / number.clamp(min=1)[:, None, None]
    at = at.clamp(0, size - 1)
    floor = at.floor()
    up = at - floor
    weights = at.new_zeros(len(low), bins, size)
    weights.scatter_add_(2, floor.long(), share * (1 - up))
    return weights.scatter_add_(2, (floor.long() + 1).clamp(max=size - 1), share * up)


def roi_align(
    features: Tensor,
    boxes: Sequence[Tensor],
    bins: tuple[int, int],
    scale: float,
    *,
    samples: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Return the features inside boxes, averaged over P x Q bins.

    Args:
        features: (N, C, H, W).
        boxes: per picture (R, 4).
        bins: P rows and Q columns.
        scale: features per pixel: 1 / stride.
        samples: per bin and axis; 0 = adaptive.
        aligned: whether pixel and feature centres lie at halves.

    Returns:
        (sum of R, C, P, Q), picture after picture.
    """
    height, width = features.shape[2:]
    pooled = []
    for picture, own in zip(features, boxes, strict=True):
        left, top, right, bottom = (own * scale).unbind(1)
        rows = bin_weights(top, bottom, bins[0], height, samples=samples, aligned=aligned)
        columns = bin_weights(left, right, bins[1], width, samples=samples, aligned=aligned)
        lines = torch.einsum("rph,chw->rcpw", rows, picture)
        pooled.append(torch.einsum("rcpw,rqw->rcpq", lines, columns))
    return torch.cat(pooled)


def levels_of(boxes: Tensor, lowest: int, highest: int, canonical: float = 224) -> Tensor:
    """Return the pyramid level (R,) of each box (Lin et al., FPN, equation 1).

    Args:
        boxes: (R, 4).
        lowest: level.
        highest: level.
        canonical: root of the area of a box that belongs to level 4.
    """
    sides = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
    level = (_CANONICAL_LEVEL + (sides / canonical + 1e-8).log2()).floor()
    return level.clamp(lowest, highest).long()


def anchors(height: int, width: int, stride: int, side: float, ratios: Sequence[float]) -> Tensor:
    """Return the anchors (H * W * len(ratios), 4) of one level, around multiples of its stride.

    Args:
        height: of the level's features.
        width: of the level's features.
        stride: pixels per feature.
        side: root of every anchor's area.
        ratios: height over width.
    """
    # In double precision: only the result is rounded.
    shapes = torch.tensor([[side / math.sqrt(r), side * math.sqrt(r)] for r in ratios]).double()
    cells = torch.cat([-shapes / 2, shapes / 2], 1).float()
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = (torch.stack([x, y, x, y], -1) * stride).float()
    return (places[:, :, None] + cells).flatten(0, 2)


def shift_boxes(deltas: Tensor, boxes: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the boxes (R, 4) that R-CNN's offsets (R, 4) make of boxes (R, 4).

    Args:
        deltas: of the centre in box sizes, and the logarithm of the size; each times its weight.
        boxes: where they start from.
        weights: of x, y, width and height.
    """
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + 0.5 * size
    steps = deltas / deltas.new_tensor(weights)
    centre = centre + steps[:, :2] * size
    half = 0.5 * size * steps[:, 2:].clamp(max=_LARGEST_STEP).exp()
    return torch.cat([centre - half, centre + half], 1)


def offsets_to(targets: Tensor, boxes: Tensor, weights: Sequence[float]) -> Tensor:
    """Return the offsets (R, 4) that lead from boxes (R, 4) to targets: `shift_boxes` undone.

    Both must have sides above 0.
    """
    size, wanted = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    way = (targets[:, :2] + 0.5 * wanted - boxes[:, :2] - 0.5 * size) / size
    return torch.cat([way, (wanted / size).log()], 1) * boxes.new_tensor(weights)


def clip_boxes(boxes: Tensor, height: float, width: float) -> Tensor:
    """Return boxes (R, 4) cut at the border of a picture."""
    limit = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limit)
