"""The frames in which detectors of the CenterNet family look at a picture.

Their places count from the top-left pixel's centre at 0, as OpenCV does.
"""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

MEAN: Final = (0.4078965485095978, 0.4471930265426636, 0.4702611565589905)
"""Of blue, green and red, 0..1, in which the authors' networks were trained."""

DEVIATION: Final = (0.28863829374313354, 0.27408164739608765, 0.27809834480285645)


def similarity(
    centre: tuple[float, float], extent: float, degrees: float, size: tuple[int, int]
) -> NDArray[np.float64]:
    """Return (2, 3): turn about a centre so that `extent` pixels fill the width of a frame.

    Args:
        centre: x, y in the picture; it comes to the frame's middle.
        extent: how many pixels of the picture the frame is wide.
        degrees: of the turn, clockwise as seen.
        size: width and height of the frame.
    """
    scale, angle = size[0] / extent, np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, np.array(size) / 2 - turn @ np.array(centre)])


def inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (2, 3) that undoes a (2, 3)."""
    return np.asarray(cv2.invertAffineTransform(matrix))


def moved(points: NDArray[Any], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points (..., 2) through a (2, 3)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def kept_resolution(height: int, width: int, scale: float, pad: int) -> tuple[int, int]:
    """Return height and width of the frame that holds a scaled picture at its own resolution.

    Args:
        height: of the picture.
        width: of the picture.
        scale: what it is scaled by first.
        pad: the trunk's stride less one; the frame is the next greater multiple of the stride.
    """
    return (int(height * scale) | pad) + 1, (int(width * scale) | pad) + 1


def cut(
    image: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return the picture (height, width, C) in a frame of (width, height), black beyond it."""
    return np.asarray(cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR), np.uint8)


def normalised(image: Tensor) -> Tensor:
    """Return RGB in [-1, 1] as the authors' networks want it: BGR, their mean and deviation."""
    mean = image.new_tensor(MEAN)[:, None, None]
    deviation = image.new_tensor(DEVIATION)[:, None, None]
    return ((image.flip(1) + 1) / 2 - mean) / deviation
