"""Edits of label maps by rule: what a person draws with a brush, for measurements and examples.

Users: benchmarks/portrait.py, recipes/gallery.py and their tests. Alphabet: H, W.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19, REGIONS
from pentimento.ops.regions import Labels, Mask

FACE: Final = CELEBAMASK19.values(
    "skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"
)
"""Classes that a moved part may cover; what lies in front of the face stays."""
_SKIN, _MOUTH, _U_LIP, _L_LIP, _HAIR = CELEBAMASK19.values(
    "skin", "mouth", "u_lip", "l_lip", "hair"
)
_LIPS: Final = (_MOUTH, _U_LIP, _L_LIP)


def stretched(labels: Labels, region: str, wide: float, high: float, up: float = 0.0) -> Labels:
    """Return a mask in which a region of the face is scaled about its middle and lifted.

    Args:
        labels: (H, W) CelebAMask-HQ classes.
        region: of `labels.REGIONS`; what it uncovers becomes skin.
        wide: factor on its width.
        high: factor on its height.
        up: lift as a share of the face's width.
    """
    own = np.isin(labels, CELEBAMASK19.values(*REGIONS[region]))
    if not own.any():
        return labels.copy()
    y, x = np.nonzero(own)
    lift = up * float(np.ptp(np.nonzero(np.isin(labels, FACE))[1]))
    cx, cy = float(x.mean()), float(y.mean())
    matrix = np.array([[wide, 0, cx - wide * cx], [0, high, cy - high * cy - lift]])
    moved = _warped(labels, own, matrix)
    result = np.where(own, _SKIN, labels)
    there = (moved > 0) & np.isin(result, FACE)
    return np.asarray(np.where(there, moved, result), np.uint8)


def opened(labels: Labels, drop: float = 0.22) -> Labels:
    """Return a mask with the lower lip lowered by a share of the mouth's width, and open.

    As jaws open: most in the middle, not at all in the corners.
    """
    lips, lower = np.isin(labels, _LIPS), labels == _L_LIP
    if not lower.any():
        return labels.copy()
    columns = np.flatnonzero(lips.any(0))
    u = (2 * columns - columns[0] - columns[-1]) / max(1, int(np.ptp(columns)))
    down = drop * float(np.ptp(columns)) * np.maximum(1 - u**2, 0) ** 0.75
    result = np.where(lips & (labels != _U_LIP), _SKIN, labels)
    face = np.isin(result, FACE)
    for column, depth in zip(columns, np.rint(down).astype(int), strict=True):
        upper, under = (np.flatnonzero(labels[:, column] == v) for v in (_U_LIP, _L_LIP))
        seam = int(upper[-1]) + 1 if len(upper) else int(under[0]) if len(under) else 0
        low = seam + depth + int((labels[:, column] == _MOUTH).sum())
        for start, stop, value in ((seam, low, _MOUTH), (low, low + len(under), _L_LIP)):
            part = result[start:stop, column]
            part[face[start:stop, column]] = value
    return np.asarray(result, np.uint8)


def smiling(labels: Labels, amount: float = 1.0) -> Labels:
    """Return a mask with the corners of the mouth drawn apart and raised."""
    lips = np.isin(labels, _LIPS)
    if not lips.any():
        return labels.copy()
    y, x = np.nonzero(lips)
    cx, cy, half = float(x.mean()), float(y.mean()), max(1.0, float(np.ptp(x)) / 2)
    rows, columns = np.mgrid[: labels.shape[0], : labels.shape[1]].astype(np.float32)
    u, v = (columns - cx) / half, (rows - cy) / half
    near = amount * np.exp(-6 * np.maximum(np.abs(u) - 1, 0) ** 2 - 1.2 * v**2)
    from_x = cx + (columns - cx) / (1 + 0.2 * near)
    from_y = rows + half * (0.34 * np.minimum(u**2, 1.4) - 0.06) * near
    moved = cv2.remap(
        labels, from_x.astype(np.float32), from_y.astype(np.float32), cv2.INTER_NEAREST
    )
    result = np.where(lips, _SKIN, labels)
    there = np.isin(moved, _LIPS) & np.isin(result, FACE)
    return np.asarray(np.where(there, moved, result), np.uint8)


def fuller(labels: Labels, factor: float = 1.12) -> Labels:
    """Return a mask whose hair stands farther from the head; the face stays free."""
    hair = labels == _HAIR
    if not hair.any():
        return labels.copy()
    face = np.nonzero(np.isin(labels, FACE))
    cx, cy = (float(face[1].mean()), float(face[0].mean())) if len(face[0]) else (0.0, 0.0)
    matrix = np.array([[factor, 0, cx - factor * cx], [0, factor, cy - factor * cy]])
    grown = (_warped(labels, hair, matrix) > 0) & (labels == 0)
    return np.asarray(np.where(grown, _HAIR, labels), np.uint8)


def _warped(labels: Labels, own: Mask, matrix: NDArray[np.float64]) -> Labels:
    """Return the labels of a region where an affine map takes them, 0 elsewhere."""
    there = np.where(own, labels, 0).astype(np.uint8)
    size = labels.shape[::-1]
    return np.asarray(cv2.warpAffine(there, matrix, size, flags=cv2.INTER_NEAREST), np.uint8)
