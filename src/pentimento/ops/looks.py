"""How CornerNet and CenterNet (triplets) look at a picture when they are measured.

At each scale the picture keeps its resolution, lies in the middle of a black frame whose sides are
multiples of 128 less one, and is seen a second time mirrored; what all looks find is put together.

Alphabet: D boxes; K centres; H, W of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.ops.frames import DEVIATION, MEAN
from pentimento.ops.soft_nms import soft_nms

PAD: Final = 127
_BEYOND: Final = 5  # pixels
_MOST: Final = 100


@dataclass(frozen=True)
class Look:
    """A picture in its frame.

    Attributes:
        scale: of the picture in there.
        frame: height and width of the frame.
        place: top and left of the picture in it.
        inside: height and width of the scaled picture.
    """

    scale: float
    frame: tuple[int, int]
    place: tuple[int, int]
    inside: tuple[int, int]

    @property
    def cells(self) -> tuple[int, int]:
        """Height and width of the maps at stride 4."""
        return (self.frame[0] + 1) // 4, (self.frame[1] + 1) // 4

    def in_picture(self, points: NDArray[Any], *, clip: bool = True) -> NDArray[np.float32]:
        """Return points (..., 2), x and y in cells, as pixels of the scaled picture."""
        ratio = [c / f for c, f in zip(self.cells[::-1], self.frame[::-1], strict=True)]
        out = np.asarray(points / _floats(ratio) - _floats(self.place[::-1]), np.float32)
        return out.clip(0, _floats(self.inside[::-1])) if clip else out


def _floats(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)


def framed(image: NDArray[np.uint8], scale: float) -> tuple[NDArray[np.float32], Look]:
    """Return (2, 3, H', W') of a BGR picture (H, W, 3), normalised, plain and mirrored; and how."""
    height, width = (max(1, int(side * scale)) for side in image.shape[:2])
    look = Look(
        scale, (height | PAD, width | PAD),
        ((height | PAD) // 2 - height // 2, (width | PAD) // 2 - width // 2), (height, width),
    )  # fmt: skip
    canvas = np.zeros((*look.frame, 3), np.uint8)
    top, left = look.place
    canvas[top : top + height, left : left + width] = cv2.resize(image, (width, height))
    values = (canvas.astype(np.float32) / 255 - _floats(MEAN)) / _floats(DEVIATION)
    return np.stack([values, values[:, ::-1]]).transpose(0, 3, 1, 2).astype(np.float32), look


def gathered(pairs: NDArray[Any], look: Look, *, drop_outside: bool = False) -> NDArray[np.float32]:
    """Return boxes (2D, 8) of a picture and its mirror image (2, D, 8), cells → picture pixels.

    Args:
        pairs: as `corner_pairs.pair_corners` returns them.
        look: what they were found in.
        drop_outside: score boxes -1 that reach 5 or more pixels out of the picture (triplets).
    """
    rows = pairs.astype(np.float32)
    rows[1][:, [0, 2]] = look.cells[1] - rows[1][:, [2, 0]]
    rows = rows.reshape(-1, rows.shape[-1])
    corners = look.in_picture(rows[:, :4].reshape(-1, 2, 2), clip=False)
    size = _floats(look.inside[::-1])
    if drop_outside:
        far = (corners[:, 0] <= -_BEYOND).any(1) | (corners[:, 1] >= size + _BEYOND).any(1)
        rows[far, 4] = -1
    rows[:, :4] = (corners.clip(0, size) / np.float32(look.scale)).reshape(-1, 4)
    return rows


def gathered_centres(centres: NDArray[Any], look: Look) -> NDArray[np.float32]:
    """Return centres (2K, 4) of a picture and its mirror image (2, K, 4), likewise."""
    rows = centres.astype(np.float32)
    rows[1][:, 0] = look.cells[1] - rows[1][:, 0]
    rows = rows.reshape(-1, rows.shape[-1])
    rows[:, :2] = look.in_picture(rows[:, :2]) / np.float32(look.scale)
    return rows


def best_of(rows: NDArray[np.float32], classes: int) -> list[NDArray[np.float32]]:
    """Return per class (n, 5) boxes and scores after soft suppression, 100 over all classes.

    Args:
        rows: (D, 8); those with a score of -1 do not count.
        classes: how many there are.
    """
    rows = rows[rows[:, 4] > -1]
    kept = [soft_nms(rows[rows[:, 7] == kind][:, :5], "exp")[0] for kind in range(classes)]
    scores = np.concatenate([each[:, 4] for each in kept])
    if len(scores) > _MOST:
        least = np.partition(scores, len(scores) - _MOST)[len(scores) - _MOST]
        kept = [each[each[:, 4] >= least] for each in kept]
    return kept
