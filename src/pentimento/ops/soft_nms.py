"""Soft suppression of overlapping boxes (Bodla et al. 2017), as CornerNet's testing uses it."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

_EDGE = 1  # right and bottom name the last pixel inside


def soft_nms(
    boxes: NDArray[np.float32],
    method: Literal["hard", "linear", "exp"],
    *,
    overlap: float = 0.5,
    sigma: float = 0.5,
    least: float = 0.001,
    merge: float | None = None,
) -> tuple[NDArray[np.float32], int]:
    """Return boxes with lowered scores, and how many of them stay; those come first, best first.

    The rows behind them are left over from the shuffling; CornerNet's testing keeps them all the
    same, which its published figures include.

    Args:
        boxes: (N, 5) left, top, right, bottom, score; with `merge` (N, 7), behind these the scores
            of the top-left and of the bottom-right corner.
        method: what overlap does to a score: all beyond `overlap`, linearly beyond `overlap`, or a
            Gaussian of width `sigma` always.
        overlap: IoU.
        sigma: of the Gaussian.
        least: boxes whose score falls below do not stay.
        merge: average each box's corners with those of the boxes that it suppresses, weighed by the
            corners' scores and this power of the suppression.
    """
    rows = boxes.copy()
    count = len(rows)
    at = 0
    while at < count:
        best = at + int(rows[at:count, 4].argmax())
        # As there, the corners' scores stay where they are when boxes change places.
        rows[[at, best], :5] = rows[[best, at], :5]
        weight = _weights(rows[at, :4], rows[at + 1 : count, :4], method, overlap, sigma)
        if merge is not None:
            rows[at, :4] = _merged(rows[at], rows[at + 1 : count], (1 - weight) ** merge)
        rows[at + 1 : count, 4] *= weight
        place = at + 1
        while place < count:
            if rows[place, 4] < least:
                rows[place, :5] = rows[count - 1, :5]
                count -= 1
            else:
                place += 1
        at += 1
    return rows, count


def _weights(
    box: NDArray[np.float32], others: NDArray[np.float32], method: str, overlap: float, sigma: float
) -> NDArray[Any]:
    shared = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]) + _EDGE
    common = shared.clip(min=0).prod(1)
    area = (others[:, 2:] - others[:, :2] + _EDGE).prod(1)
    iou = common / ((box[2:] - box[:2] + _EDGE).prod() + area - common)
    if method == "exp":
        return np.asarray(np.exp(-(iou**2) / sigma))
    lowered = 1 - iou if method == "linear" else np.zeros_like(iou)
    return np.where(iou > overlap, lowered, 1)


def _merged(box: NDArray[Any], others: NDArray[Any], share: NDArray[Any]) -> NDArray[Any]:
    """Return the corners (4,) averaged by scores times shares."""
    out = []
    for corner, score in ((slice(0, 2), 5), (slice(2, 4), 6)):
        weight = others[:, score] * share
        total = box[corner] * box[score] + (others[:, corner] * weight[:, None]).sum(0)
        out.append(total / (box[score] + weight.sum()))
    return np.concatenate(out)
