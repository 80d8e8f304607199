"""Landmark conventions: what the points of a face are called, mirror images, and remaps.

5 points are RetinaFace's (eyes, nose, mouth corners), 68 those of iBUG 300-W, 98 those of WFLW.
Orders start on the left of the *picture*, which is the subject's right. Points are in pixels; a
pixel's centre lies at halves.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Points = NDArray[Any]

GROUPS: Final[Mapping[int, Mapping[str, tuple[int, int]]]] = {
    68: {
        "jaw": (0, 17), "brows": (17, 27), "nose": (27, 36), "eyes": (36, 48), "mouth": (48, 68),
    },
    98: {
        "jaw": (0, 33), "brows": (33, 51), "nose": (51, 60), "eyes": (60, 76), "mouth": (76, 96),
        "pupils": (96, 98),
    },
}  # fmt: skip
"""Named parts of a face: first point and the one behind the last."""

LINES: Final[tuple[tuple[int, ...], ...]] = (
    tuple(range(17)), tuple(range(17, 22)), tuple(range(22, 27)), tuple(range(27, 31)),
    tuple(range(31, 36)), (*range(36, 42), 36), (*range(42, 48), 42), (*range(48, 60), 48),
    (*range(60, 68), 60),
)  # fmt: skip
"""The polylines of 68 points, to draw a face with."""

SQUARE: Final = 1.4
"""Side of a landmark crop over the longer side of the box around the 68 points."""


def _pairs(*runs: tuple[range, range]) -> list[tuple[int, int]]:
    return [pair for left, right in runs for pair in zip(left, right, strict=True)]


_PAIRS: Final = {
    5: [(0, 1), (3, 4)],
    68: _pairs(
        (range(8), range(16, 8, -1)), (range(17, 22), range(26, 21, -1)),
        (range(31, 33), range(35, 33, -1)), (range(36, 40), range(45, 41, -1)),
        (range(40, 42), range(47, 45, -1)), (range(48, 51), range(54, 51, -1)),
        (range(55, 57), range(59, 57, -1)), (range(60, 62), range(64, 62, -1)),
        (range(65, 66), range(67, 66, -1)),
    ),
    98: _pairs(
        (range(16), range(32, 16, -1)), (range(33, 38), range(46, 41, -1)),
        (range(38, 42), range(50, 46, -1)), (range(55, 57), range(59, 57, -1)),
        (range(60, 65), range(72, 67, -1)), (range(65, 68), range(75, 72, -1)),
        (range(76, 79), range(82, 79, -1)), (range(83, 85), range(87, 85, -1)),
        (range(88, 90), range(92, 90, -1)), (range(93, 94), range(95, 94, -1)),
        (range(96, 97), range(97, 96, -1)),
    ),
}  # fmt: skip


def mirror_order(count: int) -> NDArray[np.int64]:
    """Return (N,) which point of a face becomes point k of its mirror image.

    Args:
        count: 5, 68 or 98.
    """
    if count not in _PAIRS:
        raise ValueError(f"landmark sets have 5, 68 or 98 points, not {count}")
    order = np.arange(count)
    for a, b in _PAIRS[count]:
        order[[a, b]] = b, a
    return order


def mirrored(points: Points, width: float) -> Points:
    """Return the points (…, N, 2) of the mirror image of a picture `width` pixels wide."""
    flipped = points[..., mirror_order(points.shape[-2]), :].copy()
    flipped[..., 0] = width - flipped[..., 0]
    return flipped


# 98 → 68: a point, or the mean of two.
_EVEN_JAW: Final = [(i, i) for i in range(0, 33, 2)]
_BROWS: Final = [
    (33, 33), (34, 41), (35, 40), (36, 39), (37, 38),
    (42, 50), (43, 49), (44, 48), (45, 47), (46, 46),
]  # fmt: skip
_REST: Final = [
    *range(51, 60), 60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75, *range(76, 96),
]  # fmt: skip
_FROM_98: Final = np.array([*_EVEN_JAW, *_BROWS, *((i, i) for i in _REST)])


def remap(points: Points, count: int) -> Points:
    """Return a coarser set of the same face: 98 → 68 or 5, 68 → 5; an equal count is a copy.

    Args:
        points: (…, N, 2), N 5, 68 or 98.
        count: 5, 68 or 98.

    Raises:
        ValueError: there is no way from N to `count`.
    """
    have = points.shape[-2]
    if have == count:
        return points.copy()
    if (have, count) == (98, 68):
        return np.asarray(points[..., _FROM_98, :].mean(-2))
    if (have, count) == (68, 5):
        eyes = [points[..., first : first + 6, :].mean(-2) for first in (36, 42)]
        return np.stack([*eyes, *(points[..., i, :] for i in (30, 48, 54))], -2)
    if (have, count) == (98, 5):
        return points[..., [96, 97, 54, 76, 82], :].copy()
    raise ValueError(f"{have} landmarks cannot be turned into {count}")


def crop_of(points: Points, angle: float = 0.0) -> Points:
    """Return the corners (4, 2) of the square that a landmark network looks at.

    Its centre is that of the upright box around the 68 points, its side `SQUARE` times the box's
    longer side. Corners come as top-left, bottom-left, bottom-right, top-right, as in `ops.align`.

    Args:
        points: (68, 2) in picture pixels.
        angle: radians by which the square is turned, clockwise on screen; the box turns with it.
    """
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])  # rows times this turn clockwise
    upright = points @ turn.T
    low, high = upright.min(0), upright.max(0)
    half = SQUARE / 2 * max(float((high - low).max()), 1e-6)
    square = half * np.array([[-1.0, -1], [-1, 1], [1, 1], [1, -1]])
    return np.asarray((square + (low + high) / 2) @ turn)


def roll_of(points: Points) -> float:
    """Return by how many radians a face (68, 2) is turned in the picture, clockwise on screen."""
    across = points[42:48].mean(0) - points[36:42].mean(0)
    return float(np.arctan2(across[1], across[0]))
