"""Drawn faces and a parser that knows their colours: the edit path without trained weights."""

from dataclasses import dataclass
from types import SimpleNamespace

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19
from pentimento.structures import LabelMap

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

    def probabilities(self, image: NDArray[np.uint8], *, tta: bool = False) -> NDArray[np.float32]:
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


PARTS = {
    "skin": ("skin", "nose", "l_brow", "r_brow"), "left_eye": ("l_eye",), "right_eye": ("r_eye",),
    "mouth": ("mouth", "u_lip", "l_lip"), "hair": ("hair",),
}  # fmt: skip


@dataclass(frozen=True)
class FlatCodes:
    """The mean colour of every part."""

    colours: dict[str, NDArray[np.float32]]

    def mix(self, part: str, other: "FlatCodes", amount: float) -> "FlatCodes":
        mine, theirs = self.colours[part], other.colours[part]
        return FlatCodes({**self.colours, part: mine + amount * (theirs - mine)})


class FlatPortrait:
    """A very small generator: it paints every part in its mean colour, a little too dark."""

    def __init__(self, size: int = 64) -> None:
        self.config = SimpleNamespace(size=size)
        self.encoded = 0

    def encode(self, image: NDArray[np.uint8], labels: LabelMap) -> FlatCodes:
        self.encoded += 1
        masks = {part: labels.mask(*classes) for part, classes in PARTS.items()}
        return FlatCodes(
            {
                part: image[mask].mean(0) if mask.any() else np.full(3, 128, np.float32)
                for part, mask in masks.items()
            }
        )

    def repaint(
        self,
        codes: FlatCodes,
        labels: LabelMap,
        background: NDArray[np.uint8],
        background_labels: LabelMap | None = None,
    ) -> NDArray[np.uint8]:
        result = background.copy()
        for part, classes in PARTS.items():
            result[labels.mask(*classes)] = np.clip(codes.colours[part] - 12, 0, 255)
        return result
