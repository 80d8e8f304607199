"""Axis-aligned boxes as tensors: areas, overlaps, and the offsets that detectors predict.

Alphabet: N, M boxes; P points of a box. A box is (left, top, right, bottom), a *prior* (centre x,
centre y, width, height); right and bottom are exclusive edges. Any unit, as long as it is one.
"""

import torch
from torch import Tensor


def area(boxes: Tensor) -> Tensor:
    """Return the areas (N,) of boxes (N, 4); 0 for a box without extent."""
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Return intersection over union (N, M) of boxes (N, 4) and (M, 4); 0 where both are empty."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    union = area(a)[:, None] + area(b)[None] - shared
    return torch.where(union > 0, shared / union.clamp(min=torch.finfo(a.dtype).tiny), 0.0)


def to_corners(priors: Tensor) -> Tensor:
    """Return priors (..., 4) as boxes."""
    centre, size = priors[..., :2], priors[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], -1)


def to_centres(boxes: Tensor) -> Tensor:
    """Return boxes (..., 4) as centre and size."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


# The offsets of SSD (Liu et al. 2016): the centre in tenths of the prior's size, the logarithm of
# the size in fifths. These factors bring targets to about unit variance.
_CENTRE, _SIZE = 0.1, 0.2


def encode(boxes: Tensor, priors: Tensor) -> Tensor:
    """Return the offsets (N, 4) that lead from priors (N, 4) to boxes (N, 4) of positive size."""
    wanted = to_centres(boxes)
    centre = (wanted[..., :2] - priors[..., :2]) / (_CENTRE * priors[..., 2:])
    return torch.cat([centre, (wanted[..., 2:] / priors[..., 2:]).log() / _SIZE], -1)


def decode(offsets: Tensor, priors: Tensor) -> Tensor:
    """Return the boxes (N, 4) that offsets (N, 4) from priors (N, 4) mean: `encode`'s inverse."""
    centre = priors[..., :2] + offsets[..., :2] * _CENTRE * priors[..., 2:]
    size = priors[..., 2:] * (offsets[..., 2:] * _SIZE).exp()
    low = centre - size / 2
    return torch.cat([low, low + size], -1)


def encode_points(points: Tensor, priors: Tensor) -> Tensor:
    """Return points (N, P, 2) as offsets (N, P, 2) from the centres of priors (N, 4)."""
    return (points - priors[:, None, :2]) / (_CENTRE * priors[:, None, 2:])


def decode_points(offsets: Tensor, priors: Tensor) -> Tensor:
    """Return the points (N, P, 2) that offsets (N, P, 2) mean: `encode_points`' inverse."""
    return priors[:, None, :2] + offsets * _CENTRE * priors[:, None, 2:]
