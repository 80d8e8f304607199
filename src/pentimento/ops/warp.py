"""Moving pixels between a picture and an upright crop of it, and along displacement fields.

Alphabet: H, W picture size; S crop side; C channels. Matrices are (2, 3) affine maps from crop
pixels to picture pixels in the frame in which pixel centres lie at halves (`ops.align`). Fields
are *backward*: the value at a target pixel says where, relative to it, the source lies.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Matrix = NDArray[np.float64]

_HALF = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])


def _to_corners(matrix: Matrix) -> Matrix:
    """Rewrite a map of half-centred pixels for OpenCV, whose pixel centres are integers."""
    full = np.vstack([matrix, [0.0, 0.0, 1.0]])
    return np.asarray((np.linalg.inv(_HALF) @ full @ _HALF)[:2])


def scale_of(matrix: Matrix) -> float:
    """Return how many picture pixels one crop pixel spans along a side."""
    return float(math.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def invert(matrix: Matrix) -> Matrix:
    """Return the inverse affine map, (2, 3)."""
    full = np.vstack([matrix, [0.0, 0.0, 1.0]])
    return np.asarray(np.linalg.inv(full)[:2])


def rescaled(matrix: Matrix, old: int, new: int) -> Matrix:
    """Return the map of the same square cut at `new` instead of `old` pixels a side."""
    return np.asarray(matrix @ np.diag([old / new, old / new, 1.0]))


def outline(matrix: Matrix, size: int) -> Matrix:
    """Return the crop's four corners (4, 2) in picture pixels: tl, bl, br, tr."""
    corners = np.array([[0, 0, 1], [0, size, 1], [size, size, 1], [size, 0, 1]], np.float64)
    return np.asarray(corners @ matrix.T)


def bounds(matrix: Matrix, size: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of the picture pixels that the crop touches.

    Empty (right <= left or bottom <= top) when the crop lies outside the picture.
    """
    corners = outline(matrix, size)
    left, top = np.floor(corners.min(0)).astype(int) - 1
    right, bottom = np.ceil(corners.max(0)).astype(int) + 1
    return max(0, int(left)), max(0, int(top)), min(width, int(right)), min(height, int(bottom))


def cut(image: NDArray[Any], matrix: Matrix, size: int, outside: float | None = None) -> Float:
    """Return the crop (S, S, C) float32 of a picture (H, W, C), without aliasing.

    Pictures larger than the crop are averaged down over exact areas first; what lies outside the
    picture repeats its border, or is `outside`. Values keep the picture's range (cubic overshoot is
    clipped to it).
    """
    height, width = image.shape[:2]
    factor = max(1.0, scale_of(matrix))
    margin = math.ceil(3 * factor) + 1
    left, top, right, bottom = bounds(matrix, size, height, width)
    left, top = max(0, min(left - margin, width - 1)), max(0, min(top - margin, height - 1))
    right, bottom = (
        min(width, max(right + margin, left + 1)),
        min(height, max(bottom + margin, top + 1)),
    )
    part = np.ascontiguousarray(image[top:bottom, left:right])
    small_w = max(1, round(part.shape[1] / factor))
    small_h = max(1, round(part.shape[0] / factor))
    fx, fy = part.shape[1] / small_w, part.shape[0] / small_h
    if factor > 1.0:
        part = cv2.resize(part, (small_w, small_h), interpolation=cv2.INTER_AREA)
    to_part = np.array([[1 / fx, 0.0, -left / fx], [0.0, 1 / fy, -top / fy], [0.0, 0.0, 1.0]])
    inner = (to_part @ np.vstack([matrix, [0.0, 0.0, 1.0]]))[:2]
    part = part.astype(np.float32)
    crop = cv2.warpAffine(
        part,
        _to_corners(inner),
        (size, size),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT,
        borderValue=(outside or 0.0,) * 4,
    )
    low, high = float(part.min()), float(part.max())
    if outside is not None:
        low, high = min(low, outside), max(high, outside)
    crop = np.clip(crop, low, high)
    return np.asarray(crop.reshape(size, size, *image.shape[2:]), np.float32)


def put(crop: Float, matrix: Matrix, box: tuple[int, int, int, int], linear: bool = False) -> Float:
    """Return the crop (S, S[, C]) seen in the picture, over `box` = (left, top, right, bottom).

    The exact inverse of `cut`'s geometry: (bottom - top, right - left[, C]) float32; 0 beyond the
    crop. A crop finer than the picture is low-pass filtered first. `linear` interpolates without
    overshoot, for weights.
    """
    left, top, right, bottom = box
    factor = 1 / scale_of(matrix)
    if factor > 1.25:  # the crop is finer than the picture: filter, then sample
        sigma = 0.45 * math.sqrt(factor**2 - 1)
        crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma), np.float32)
    shift = np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])
    there = (shift @ np.vstack([matrix, [0.0, 0.0, 1.0]]))[:2]
    return np.asarray(
        cv2.warpAffine(
            crop,
            _to_corners(there),
            (right - left, bottom - top),
            flags=cv2.INTER_LINEAR if linear else cv2.INTER_CUBIC,
        ),
        np.float32,
    )


def flow_warp(image: NDArray[Any], field: Float, nearest: bool = False) -> NDArray[Any]:
    """Return `image` (S, S[, C]) pulled along a backward field (S, S, 2) of x, y displacements."""
    size_y, size_x = field.shape[:2]
    x = np.arange(size_x, dtype=np.float32)[None, :] + field[..., 0]
    y = np.arange(size_y, dtype=np.float32)[:, None] + field[..., 1]
    mode = cv2.INTER_NEAREST if nearest else cv2.INTER_CUBIC
    return np.asarray(cv2.remap(image, x, y, mode, borderMode=cv2.BORDER_REPLICATE))


def resize_field(field: Float, size: int) -> Float:
    """Return a backward field (s, s, 2) at another resolution, its lengths scaled with it."""
    factor = size / field.shape[0]
    return np.asarray(
        cv2.resize(field, (size, size), interpolation=cv2.INTER_LINEAR) * factor, np.float32
    )
