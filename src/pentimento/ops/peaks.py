"""Objects as peaks of heatmaps: drawing them for training, finding them again.

Alphabet: N batch; C classes; H, W map; K peaks.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Map = NDArray[np.float32]


def corner_radius(height: float, width: float, overlap: float) -> float:
    """Return how far both corners may move until a box overlaps its former self this little.

    The smallest of three cases: one corner inside and one outside, both inside, both outside
    (CornerNet, section 3.2), with the roots as they should be.
    """
    total, area = height + width, height * width
    shifted = _root(1, total, area * (1 - overlap) / (1 + overlap), -1) / 2
    inside = _root(4, 2 * total, (1 - overlap) * area, -1) / 8
    outside = _root(4 * overlap, -2 * overlap * total, (overlap - 1) * area, 1) / (8 * overlap)
    return min(shifted, inside, outside)


def centre_radius(height: float, width: float, overlap: float) -> float:
    """Return the radius as both CenterNets compute it: all three quadratics' (b + √Δ) / 2.

    Not the solution of their equations, but what their published weights were trained with.
    """
    total, area = height + width, height * width
    return min(
        _root(1, total, area * (1 - overlap) / (1 + overlap), 1) / 2,
        _root(4, 2 * total, (1 - overlap) * area, 1) / 2,
        _root(4 * overlap, -2 * overlap * total, (overlap - 1) * area, 1) / 2,
    )


def _root(a: float, b: float, c: float, sign: int) -> float:
    return b + sign * float(np.sqrt(b * b - 4 * a * c))


def draw_peak(heatmap: Map, x: int, y: int, radius: int, divisor: float = 6) -> None:
    """Raise a map (H, W) to a Gaussian about a pixel, σ = (2·radius + 1) / divisor, in place.

    Overlapping peaks keep the greater value; parts beyond the map are cut off.
    """
    side = 2 * radius + 1
    axis = np.arange(-radius, radius + 1, dtype=np.float64)
    squares = axis[:, None] ** 2 + axis**2
    peak = np.exp(-squares / (2 * (side / divisor) ** 2))
    peak[peak < np.finfo(np.float64).eps] = 0
    height, width = heatmap.shape
    left, right = min(x, radius), min(width - x, radius + 1)
    top, bottom = min(y, radius), min(height - y, radius + 1)
    window = heatmap[y - top : y + bottom, x - left : x + right]
    np.maximum(
        window, peak[radius - top : radius + bottom, radius - left : radius + right], out=window,
        casting="same_kind",
    )  # fmt: skip


def local_maxima(heat: Tensor, kernel: int = 3) -> Tensor:
    """Return the map (N, C, H, W) with everything 0 that is not the greatest of its window."""
    return heat * (F.max_pool2d(heat, kernel, 1, kernel // 2) == heat)


def top_peaks(heat: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the greatest values of maps (N, C, H, W) over all classes, greatest first.

    Returns:
        score, flat index in H·W, class, y, x: each (N, K); y and x are floats.
    """
    n, _, h, w = heat.shape
    score, place = heat.reshape(n, -1).topk(count)
    index = place % (h * w)
    y = torch.div(index, w, rounding_mode="floor")
    return (
        score,
        index,
        torch.div(place, h * w, rounding_mode="floor"),
        y.float(),
        (index % w).float(),
    )


def at_places(values: Tensor, index: Tensor) -> Tensor:
    """Return what maps (N, D, H, W) hold at flat places (N, K): (N, K, D)."""
    flat = values.flatten(2).transpose(1, 2)
    return flat.gather(1, index[..., None].expand(-1, -1, flat.shape[2]))
