"""Small pictures of digits, from a seed: what class-conditional systems learn from in minutes.

They are typeset, not written: several faces and weights, turned, sheared, stretched, blurred and
with grain.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

CLASSES: Final = 10
_FACES: Final = (
    cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SIMPLEX | cv2.FONT_ITALIC,
)  # fmt: skip
_CANVAS: Final = 128
_HEIGHT: Final = 3.8  # of the face, which makes digits about two thirds as high as the canvas


def digit(seed: int, kind: int, size: int = 28) -> NDArray[np.uint8]:
    """Draw a digit, light on dark.

    Args:
        seed: of everything but which digit it is.
        kind: 0 … 9.
        size: side in pixels.

    Returns:
        (size, size) uint8.
    """
    if not 0 <= kind < CLASSES:
        raise ValueError(f"a digit is 0 to {CLASSES - 1}, got {kind}")
    rng = np.random.default_rng(seed)
    face, thick = _FACES[rng.integers(len(_FACES))], int(rng.integers(6, 16))
    canvas = np.zeros((_CANVAS, _CANVAS), np.uint8)
    (width, height), _ = cv2.getTextSize(str(kind), face, _HEIGHT, thick)
    corner = (_CANVAS - width) // 2, (_CANVAS + height) // 2
    cv2.putText(canvas, str(kind), corner, face, _HEIGHT, 255, thick, cv2.LINE_AA)
    angle, shear = rng.normal(0, 0.12), rng.normal(0, 0.12)
    stretch = np.exp(rng.normal(0.05, 0.08, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(stretch)
    middle = np.full(2, _CANVAS / 2)
    shift = middle + rng.normal(0, 0.03 * _CANVAS, 2) - linear @ middle
    warped = cv2.warpAffine(canvas, np.column_stack([linear, shift]), (_CANVAS, _CANVAS))
    warped = cv2.GaussianBlur(warped, (0, 0), rng.uniform(1.0, 3.0))
    small = cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA).astype(np.float64)
    grained = small * rng.uniform(0.8, 1.0) + rng.normal(0, 4, small.shape)
    return np.asarray(grained.clip(0, 255), np.uint8)
