"""How far points are from where they should be: NME, failure rate, AUC, and COCO's similarity."""

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

Norm = Literal["inter-ocular", "inter-pupil", "box"]

# First and last point, or range of points, of the image-left and image-right eye.
_CORNERS: Final = {68: (36, 45), 98: (60, 72)}
_EYES: Final = {68: (slice(36, 42), slice(42, 48)), 98: (slice(96, 97), slice(97, 98))}

COCO_SIGMAS: Final = (
    np.array([26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]) / 1000
)
"""Spread of annotators over each of COCO's 17 body points, relative to the body's size."""


def norms(truth: NDArray[Any], norm: Norm = "inter-ocular") -> NDArray[np.float64]:
    """Return the length by which each face's errors are divided.

    Args:
        truth: (F, N, 2) points; N is 68 or 98, or any for `box`.
        norm: `inter-ocular`: between the outer eye corners (300-W, WFLW); `inter-pupil`: between
            the means of the eyes' points, or WFLW's pupils; `box`: the root of the area of the box
            around the points.

    Returns:
        (F,) in the points' unit.
    """
    truth = np.asarray(truth, np.float64)
    if norm == "box":
        return np.asarray(np.sqrt(np.prod(np.ptp(truth, axis=1), axis=1)))
    if truth.shape[1] not in _CORNERS:
        raise ValueError(f"{norm} needs 68 or 98 points, got {truth.shape[1]}; use norm='box'")
    if norm == "inter-ocular":
        left, right = (truth[:, i] for i in _CORNERS[truth.shape[1]])
    else:
        left, right = (truth[:, eye].mean(1) for eye in _EYES[truth.shape[1]])
    return np.asarray(np.linalg.norm(left - right, axis=1))


def point_errors(
    found: NDArray[Any], truth: NDArray[Any], norm: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the mean distance of each face's points over its norm (F,); NME is its mean.

    Args:
        found: (F, N, 2).
        truth: (F, N, 2).
        norm: (F,), as `norms` returns them.
    """
    if found.shape != truth.shape or len(norm) != len(truth):
        raise ValueError(
            f"points {found.shape}, truth {truth.shape} and {len(norm)} norms do not fit"
        )
    distance = np.linalg.norm(np.asarray(found, np.float64) - truth, axis=2).mean(1)
    return np.asarray(distance / norm)


def failure_rate(errors: NDArray[Any], threshold: float = 0.08) -> float:
    """Return the share of faces with an error above the threshold."""
    return float((np.asarray(errors) > threshold).mean())


def area_under_curve(errors: NDArray[Any], threshold: float = 0.08) -> float:
    """Return the area under the cumulative error curve up to the threshold, over the threshold.

    Exact, since the curve is a staircase: each face adds the part of the axis right of its error.
    """
    return float(np.clip(1 - np.asarray(errors, np.float64) / threshold, 0, 1).mean())


def object_similarity(
    found: NDArray[Any],
    truth: NDArray[Any],
    visible: NDArray[Any],
    area: float,
    box: Sequence[float],
    sigmas: NDArray[Any] = COCO_SIGMAS,
) -> float:
    """Return COCO's object keypoint similarity (OKS) of one found set of points to one truth.

    The mean of exp(-d²/(2·area·(2σ)²)) over the annotated points; where none is annotated, d is
    how far a point lies beyond twice the truth's box.

    Args:
        found: (N, 2).
        truth: (N, 2).
        visible: (N,) above 0 where annotated.
        area: of the truth's segment in square pixels.
        box: x, y, width, height of the truth.
        sigmas: (N,).
    """
    annotated = np.asarray(visible) > 0
    offset = np.asarray(found, np.float64) - truth
    if not annotated.any():
        low = np.array([box[0] - box[2], box[1] - box[3]])
        high = np.array([box[0] + 2 * box[2], box[1] + 2 * box[3]])
        offset = np.maximum(0, low - found) + np.maximum(0, found - high)
        annotated = np.ones(len(truth), bool)
    distance = (offset**2).sum(1) / (2 * sigmas) ** 2 / (area + np.spacing(1)) / 2
    return float(np.exp(-distance)[annotated].mean())
