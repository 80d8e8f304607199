"""Which of many overlapping detections stay."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def nms(
    boxes: NDArray[Any], scores: NDArray[Any], overlap: float, *, pixel: float = 0.0
) -> NDArray[np.int64]:
    """Return the numbers of the boxes that stay, the best first (greedy suppression).

    A box is dropped if its intersection over union with a better one that stayed is above
    `overlap`; of equal scores, the earlier box is the better one.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        scores: (N,).
        overlap: largest overlap of two boxes that both stay.
        pixel: added to every width and height: 1 where right and bottom name the last pixel
            inside, as in the tools of Fast R-CNN and all that descend from it.
    """
    left, top, right, bottom = boxes.astype(np.float64).T
    areas = (right - left + pixel) * (bottom - top + pixel)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        width = np.minimum(right[best], right[order]) - np.maximum(left[best], left[order]) + pixel
        height = np.minimum(bottom[best], bottom[order]) - np.maximum(top[best], top[order]) + pixel
        shared = width.clip(min=0) * height.clip(min=0)
        union = areas[best] + areas[order] - shared
        order = order[shared <= overlap * union]
    return np.array(kept, np.int64)
