"""Paintings that nobody painted: brush strokes along a field of directions, from a seed.

What style transfer learns from where no picture is given.
"""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

# Ground, and colours from the most to the least frequent.
_PALETTES: Final = (
    ("182654", "264e96 5692be ecbe4a de7830 f0e4be"),
    ("5c2e1e", "ba542c e49c40 5c6e3e 2c3c48 f4deaa"),
    ("1e423c", "3e7c60 96b262 ce5c68 f0b0a0 22325c"),
)
_SHARES: Final = (0.34, 0.24, 0.18, 0.14, 0.10)
_BRISTLES: Final = 5


def painting(seed: int, size: int) -> NDArray[np.uint8]:
    """Paint.

    Args:
        seed: 0 … 2 choose a palette each; higher ones repeat them with other strokes.
        size: side in pixels; strokes keep their width in pixels.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    rng = np.random.default_rng(seed)
    ground, *colours = (_rgb(c) for c in " ".join(_PALETTES[seed % len(_PALETTES)]).split())
    canvas = np.full((size, size, 3), ground, np.uint8)
    angle = np.pi * _smooth(rng, size, size / 5)  # swirls about a fifth of the picture wide
    region = _smooth(rng, size, size / 7)  # which colour prevails where
    ranks = region.argsort(axis=None).argsort().reshape(region.shape) / region.size
    edges = np.cumsum(_SHARES)
    # From broad to fine, the later ones on top.
    for width, cover in ((13, 2.5), (8, 2.0), (4, 0.8)):
        for _ in range(round(cover * size**2 / (width * 6 * width))):
            x, y = rng.uniform(0, size, 2)
            path = _path(angle, x, y, steps=6, length=width)
            place = ranks[int(y), int(x)] + rng.normal(0, 0.06)
            colour = colours[min(int(np.searchsorted(edges, place)), len(edges) - 1)]
            _stroke(canvas, path, width, colour + rng.normal(0, 10, 3), rng)
    return canvas


def _rgb(colour: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(colour), np.uint8)


def _smooth(rng: np.random.Generator, size: int, scale: float) -> NDArray[np.float64]:
    noise = cv2.GaussianBlur(rng.standard_normal((size, size)), (0, 0), scale / 2)
    return np.asarray(noise / noise.std())


def _path(
    angle: NDArray[np.float64], x: float, y: float, steps: int, length: float
) -> NDArray[np.float64]:
    points = [(x, y)]
    most = angle.shape[0] - 1
    for _ in range(steps):
        direction = angle[int(np.clip(y, 0, most)), int(np.clip(x, 0, most))]
        x, y = x + length * np.cos(direction), y + length * np.sin(direction)
        points.append((x, y))
    return np.array(points)


def _stroke(
    canvas: NDArray[np.uint8],
    path: NDArray[np.float64],
    width: float,
    colour: NDArray[Any],
    rng: np.random.Generator,
) -> None:
    """Draw a stroke as bristles side by side, each of its own lightness."""
    along = np.gradient(path, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], 1)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    for shift in np.linspace(-0.5, 0.5, _BRISTLES):
        bristle = path + across * shift * width
        shade = (colour + rng.normal(0, 14)).clip(0, 255)
        points = np.rint(16 * bristle).astype(np.int32)[:, None]
        thick = max(1, round(width / _BRISTLES + 0.6))
        cv2.polylines(canvas, [points], False, shade.tolist(), thick, cv2.LINE_AA, 4)
