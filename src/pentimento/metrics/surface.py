"""How far points are off along a surface: geodesic point similarity (Güler et al., CVPR 2018)."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

KAPPAS: Final = np.repeat(
    [0.351, 0.107, 0.126, 0.237, 0.173, 0.142, 0.128, 0.150], [2, 2, 2, 4, 4, 4, 4, 2]
)
"""(24,) spread of each of DensePose's parts, in metres of the body: parts 1-2, 3-4, 5-6, 7-10,
11-14, 15-18, 19-22 and 23-24 share one."""

FACE_KAPPA: Final = 0.15
"""Spread on a face, in distances of the outer eye corners."""


def point_similarity(distances: NDArray[Any], kappa: NDArray[Any] | float) -> float:
    """Return GPS: the mean of exp(-g² / 2κ²) over points; 0 without points.

    Args:
        distances: (K,) geodesic distances g; infinite where a point was taken for background.
        kappa: (K,) or one number, in the same unit.
    """
    if len(distances) == 0:
        return 0.0
    g = np.asarray(distances, np.float64)
    return float(np.exp(-(g**2) / (2 * np.asarray(kappa, np.float64) ** 2)).mean())


def masked_similarity(similarity: float, overlap: float) -> float:
    """Return GPSm: the geometric mean of GPS and the masks' intersection over union."""
    return float(np.sqrt(similarity * overlap))
