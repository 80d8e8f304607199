"""Drawn faces and a parser that knows their colours: the edit path without trained weights."""

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19

COLOURS: dict[str, tuple[int, int, int]] = {
    "background": (90, 120, 160), "skin": (225, 180, 150), "nose": (205, 150, 120),
    "l_eye": (40, 60, 130), "r_eye": (40, 110, 60), "l_brow": (90, 60, 20), "r_brow": (60, 30, 60),
    "mouth": (90, 10, 20), "u_lip": (200, 60, 70), "l_lip": (230, 100, 120), "hair": (25, 20, 20),
    "neck": (190, 130, 120), "cloth": (20, 130, 130),
}  # fmt: skip
FAIR = (240, 220, 60)
"""Well separated, so that the class of a pixel is that of the nearest colour."""


class ColourParser:
    """Classifies a pixel by the nearest of the drawing's colours."""

    def __init__(self, size: int = 128) -> None:
        self.size = size
        self._values = CELEBAMASK19.values(*COLOURS, "hair")
        self._colours = np.array([*COLOURS.values(), FAIR], np.float32)
        self.calls = 0

    def probabilities(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.calls += 1
        far = ((image[:, :, None].astype(np.float32) - self._colours) ** 2).sum(3)
        far = cv2.blur(far, (3, 3))
        near = np.exp(-(far - far.min(2, keepdims=True)) / 800)
        planes = np.zeros((19, *image.shape[:2]), np.float32)
        for value, plane in zip(self._values, np.moveaxis(near, 2, 0), strict=True):
            planes[value] = np.maximum(planes[value], plane)
        planes /= planes.sum(0)
        return planes


def draw(
    width: int,
    height: int,
    centre: tuple[float, float] | None = None,
    eyes: float | None = None,
    hair: tuple[int, int, int] | None = None,
    noise: float = 3.0,
) -> NDArray[np.uint8]:
    """Draw a face whose eyes are `eyes` pixels apart, its eye line's middle at `centre`."""
    e = eyes or min(width, height) / 4.4
    x, y = centre or (width / 2, height / 2 - 0.12 * e)
    c = COLOURS | ({"hair": hair} if hair else {})
    big = np.full((height, width, 3), c["background"], np.uint8)

    def oval(name: str, dx: float, dy: float, rx: float, ry: float) -> None:
        middle = (round(16 * (x + dx * e)), round(16 * (y + dy * e)))
        cv2.ellipse(
            big, middle, (max(8, round(16 * rx * e)), max(8, round(16 * ry * e))), 0, 0, 360,
            c[name], -1, cv2.LINE_AA, 4,
        )  # fmt: skip

    oval("cloth", 0, 2.9, 1.9, 0.9)
    oval("hair", 0, 0.05, 1.35, 1.5)
    oval("neck", 0, 1.6, 0.5, 0.7)
    oval("skin", 0, 0.4, 1.0, 1.3)
    for side, eye, brow in ((-1, "r_eye", "r_brow"), (1, "l_eye", "l_brow")):
        oval(eye, 0.5 * side, 0, 0.2, 0.1)
        oval(brow, 0.5 * side, -0.28, 0.26, 0.06)
    oval("nose", 0, 0.45, 0.14, 0.3)
    oval("u_lip", 0, 1.03, 0.36, 0.11)
    oval("l_lip", 0, 1.13, 0.32, 0.11)
    oval("mouth", 0, 1.08, 0.26, 0.05)
    rng = np.random.default_rng(width * 7 + height)
    return np.clip(big + rng.normal(0, noise, big.shape), 0, 255).round().astype(np.uint8)


def points(
    width: int, height: int, centre: tuple[float, float] | None = None, eyes: float | None = None
) -> tuple[tuple[float, float], ...]:
    """Return eyes and mouth of what `draw` draws with the same arguments."""
    e = eyes or min(width, height) / 4.4
    x, y = centre or (width / 2, height / 2 - 0.12 * e)
    return ((x - 0.5 * e, y), (x + 0.5 * e, y), (x, y + 1.08 * e))
