"""From four samples to a pixel: which of them speaks for it, and where everybody is seen.

Alphabet: H, W pixels; samples are a 2H x 2W grid.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pentimento.world.light import Floats
from pentimento.world.materials import CLOTH, EYE, HAIR, HAT

SAMPLES: Final = 2
"""Samples per pixel and axis."""


@njit(cache=True, nogil=True)
def elect(owner: NDArray[np.int16], classes: NDArray[np.uint8], near: Floats) -> NDArray[np.int64]:
    """Return (H, W) the number, row by row, of the sample that speaks for each pixel.

    It belongs to the owner of most of the pixel's samples, then to the class of most of those;
    among equals the nearest.
    """
    height, width = owner.shape[0] // 2, owner.shape[1] // 2
    best = np.zeros((height, width), np.int64)
    for row in range(height):
        for column in range(width):
            most = -1.0
            for i in range(4):
                y, x = 2 * row + i // 2, 2 * column + i % 2
                votes = near[y, x] / (1.0 + near[y, x])
                for j in range(4):
                    v, u = 2 * row + j // 2, 2 * column + j % 2
                    if owner[v, u] == owner[y, x]:
                        votes += 9.0 if classes[v, u] == classes[y, x] else 8.0
                if votes > most:
                    most = votes
                    best[row, column] = y * 2 * width + x
    return best


@njit(cache=True, nogil=True)
def windows(owner: NDArray[np.int16], count: int) -> NDArray[np.int64]:
    """Return (count, 4) first row, last row + 1, first column, last column + 1 of every owner.

    The first ones are even; an owner that is not seen has an empty window.
    """
    found = np.zeros((count, 4), np.int64)
    found[:, 0], found[:, 2] = owner.shape[0], owner.shape[1]
    for row in range(owner.shape[0]):
        for column in range(owner.shape[1]):
            o = owner[row, column]
            if o >= 0:
                found[o, 0] = min(found[o, 0], row & ~1)
                found[o, 1] = max(found[o, 1], row + 1)
                found[o, 2] = min(found[o, 2], column & ~1)
                found[o, 3] = max(found[o, 3], column + 1)
    return found


@njit(cache=True, nogil=True)
def spare(
    triangle: NDArray[np.int32], near: Floats, material: NDArray[np.uint8],
    mask: NDArray[np.bool_], sparse: NDArray[np.int32],
) -> None:  # fmt: skip
    """Leave out what need not be shaded: samples under one whose colour will do for both.

    Args:
        triangle: (H, W) of an owner, wherever anything is.
        near: (H, W).
        material: (T,).
        mask: (H, W) where the owner is seen.
        sparse: (H, W) written: the triangle, -1 where the owner is not seen, -2 where the sample
            above does.
    """
    for row in range(triangle.shape[0]):
        for column in range(triangle.shape[1]):
            if not mask[row, column]:
                sparse[row, column] = -1
                continue
            t = triangle[row, column]
            sparse[row, column] = t
            if not row & 1 or not mask[row - 1, column]:
                continue
            m = material[t]
            alike = material[triangle[row - 1, column]] == m
            plain = m < HAIR or m in (CLOTH, HAT)
            if (
                alike
                and plain
                and m != EYE
                and abs(near[row, column] - near[row - 1, column]) < 4e-3
            ):
                sparse[row, column] = -2


@njit(cache=True, nogil=True)
def spread(sparse: NDArray[np.int32], colour: Floats, out: Floats) -> None:
    """Copy the shaded samples of an owner to the picture's, those left out from above.

    Args:
        sparse: (H, W) from `spare`.
        colour: (H, W, 3) shaded.
        out: (H, W, 3), written where the owner is seen.
    """
    for row in range(sparse.shape[0]):
        for column in range(sparse.shape[1]):
            t = sparse[row, column]
            if t == -1:
                continue
            source = row - 1 if t == -2 else row
            for c in range(3):
                out[row, column, c] = colour[source, column, c]


@njit(cache=True, nogil=True)
def average(samples: Floats) -> Floats:
    """Return (H, W, 3) the mean of each pixel's samples."""
    height, width = samples.shape[0] // 2, samples.shape[1] // 2
    out = np.zeros((height, width, 3), np.float32)
    for row in range(height):
        for column in range(width):
            y, x = 2 * row, 2 * column
            for c in range(3):
                out[row, column, c] = np.float32(0.25) * (
                    samples[y, x, c] + samples[y, x + 1, c]
                    + samples[y + 1, x, c] + samples[y + 1, x + 1, c]
                )  # fmt: skip
    return out
