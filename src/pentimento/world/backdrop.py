"""What is behind a person: studio paper, rooms, streets, foliage, all out of focus."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.world.materials import linear

Rng = np.random.Generator
Field = NDArray[np.float32]

KINDS: Final = ("plain", "studio", "room", "window", "foliage", "street", "night", "shelves")
_CANVAS: Final = 96  # everything is out of focus; the canvas is enlarged to the picture


def backdrop(rng: Rng, size: int) -> tuple[Field, str]:
    """Draw a background.

    Args:
        rng: where chance comes from; as many numbers are drawn for every size.
        size: side of the picture.

    Returns:
        (size, size, 3) linear RGB and the kind, one of `KINDS`.
    """
    kind = KINDS[int(rng.choice(len(KINDS), p=[0.14, 0.24, 0.14, 0.1, 0.14, 0.1, 0.07, 0.07]))]
    canvas = np.asarray(_PAINTERS[kind](rng), np.float32)
    blur = float(rng.uniform(1.6, 4.2))
    if kind not in ("plain", "studio"):
        canvas = _disc_blur(canvas, blur)
    large = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.maximum(large, 0).astype(np.float32), kind


def _disc_blur(canvas: Field, radius: float) -> Field:
    """Blur as a lens does: highlights become discs."""
    side = 2 * int(np.ceil(radius)) + 1
    y, x = np.mgrid[:side, :side] - side // 2
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return np.asarray(cv2.filter2D(canvas, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT))


def _grid() -> tuple[Field, Field]:
    y, x = np.mgrid[:_CANVAS, :_CANVAS].astype(np.float32) / _CANVAS
    return x, y


def _clouds(rng: Rng, coarse: int, octaves: int = 3) -> Field:
    """Return smooth noise (C, C) of mean 0, deviation about 1."""
    total = np.zeros((_CANVAS, _CANVAS), np.float32)
    for octave in range(octaves):
        n = coarse * 2**octave
        field = rng.normal(0, 1, (n + 1, n + 1)).astype(np.float32)
        total += cv2.resize(field, (_CANVAS, _CANVAS), interpolation=cv2.INTER_CUBIC) * 0.6**octave
    return total


def _colour(rng: Rng, low: float = 40, high: float = 200, chroma: float = 0.15) -> Field:
    """Return a muted linear colour."""
    grey = rng.uniform(low, high)
    tint = chroma * rng.normal(0, 1, 3).clip(-1.4, 1.4) * [1, 0.5, 1]
    return linear(np.clip(grey * (1 + tint), 4, 250)).astype(np.float32)


def _plain(rng: Rng) -> Field:
    colour = _colour(rng, 30, 240, 0.16)
    return np.asarray(colour + 0.004 * _clouds(rng, 2)[..., None], np.float32)


def _studio(rng: Rng) -> Field:
    x, y = _grid()
    colour = _colour(rng, 40, 190, 0.15)
    cx, cy = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.7)
    glow = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / rng.uniform(0.1, 0.5))
    level = rng.uniform(0.35, 0.8) + rng.uniform(0.3, 1.0) * glow
    level *= 1 + 0.06 * rng.uniform(0, 1) * _clouds(rng, 3)
    return np.asarray(level[..., None] * colour, np.float32)


def _room(rng: Rng) -> Field:
    x, y = _grid()
    wall = _colour(rng, 110, 220, 0.12)
    canvas = (wall * (0.75 + 0.4 * (x if rng.random() < 0.5 else 1 - x))[..., None]).astype("f4")
    for _ in range(int(rng.integers(2, 6))):
        left, top = rng.uniform(-0.1, 0.9), rng.uniform(0, 0.8)
        inside = (abs(x - left - 0.1) < rng.uniform(0.04, 0.2)) & (
            abs(y - top - 0.1) < rng.uniform(0.06, 0.3)
        )
        canvas[inside] = _colour(rng, 20, 200, 0.2)
    corner = rng.uniform(0.05, 0.95)
    canvas[x > corner] *= rng.uniform(0.6, 0.9)
    if rng.random() < 0.5:
        lamp = np.exp(-((x - rng.random()) ** 2 + (y - rng.uniform(0, 0.5)) ** 2) / 0.01)
        canvas += lamp[..., None] * linear((255, 214, 150)).astype("f4") * 1.6
    return canvas


def _window(rng: Rng) -> Field:
    x, y = _grid()
    canvas = np.broadcast_to(_colour(rng, 50, 150, 0.15), (_CANVAS, _CANVAS, 3)).copy()
    left, width = rng.uniform(-0.2, 0.7), rng.uniform(0.25, 0.6)
    inside = (
        (x > left) & (x < left + width) & (y > rng.uniform(-0.1, 0.15)) & (y < rng.uniform(0.7, 1))
    )
    sky = linear((214, 228, 240)) * rng.uniform(0.9, 1.7) + 0.1 * _clouds(rng, 3)[..., None]
    canvas[inside] = sky[inside]
    bar = abs((x - left) / width - 0.5) < 0.02
    canvas[bar & inside] *= 0.35
    return np.asarray(canvas, np.float32)


def _foliage(rng: Rng) -> Field:
    _, y = _grid()
    dark, bright = linear((26, 46, 22)), linear((140, 168, 74))
    if rng.random() < 0.25:
        dark, bright = linear((70, 42, 20)), linear((214, 150, 70))
    amount = np.clip(0.4 + 0.3 * _clouds(rng, 5, 4), 0, 1.3)[..., None]
    canvas = dark + amount * (bright - dark)
    gaps = np.clip(_clouds(rng, 9, 3) - 1.6 + 1.2 * (0.4 - y), 0, 1)[..., None]
    canvas = canvas + gaps * linear((226, 236, 228)) * 1.4
    ground = np.clip((y - rng.uniform(0.65, 1.1)) * 9, 0, 1)[..., None]
    return np.asarray(canvas + ground * (_colour(rng, 70, 150, 0.2) - canvas), np.float32)


def _street(rng: Rng) -> Field:
    x, y = _grid()
    sky = linear((196, 212, 228)) * rng.uniform(0.7, 1.4)
    canvas = np.broadcast_to(sky, (_CANVAS, _CANVAS, 3)).astype(np.float32).copy()
    left = -0.1
    while left < 1:
        width, top = rng.uniform(0.1, 0.35), rng.uniform(-0.3, 0.5)
        inside = (x >= left) & (x < left + width) & (y > top)
        canvas[inside] = _colour(rng, 60, 180, 0.15) * rng.uniform(0.5, 1.1)
        panes = inside & ((x * 40) % 2 < 0.9) & ((y * 26) % 2 < 1.0)
        canvas[panes] *= rng.uniform(0.4, 1.3)
        left += width
    canvas[y > rng.uniform(0.75, 1.0)] = _colour(rng, 60, 120, 0.08)
    return canvas


def _night(rng: Rng) -> Field:
    x, y = _grid()
    canvas = (_colour(rng, 12, 40, 0.3) * (1.2 - 0.6 * y)[..., None]).astype(np.float32)
    lights = [(255, 190, 110), (255, 120, 70), (150, 190, 255), (255, 236, 200), (120, 255, 190)]
    for _ in range(int(rng.integers(12, 40))):
        spot = (x - rng.random()) ** 2 + (y - rng.random()) ** 2 < 0.0004
        canvas[spot] = linear(lights[int(rng.integers(len(lights)))]) * rng.uniform(2, 9)
    return _disc_blur(canvas, float(rng.uniform(2.5, 5)))


def _shelves(rng: Rng) -> Field:
    _, y = _grid()
    canvas = np.zeros((_CANVAS, _CANVAS, 3), np.float32)
    rows = int(rng.integers(3, 6))
    for row in range(rows):
        band = slice(row * _CANVAS // rows, (row + 1) * _CANVAS // rows)
        left = 0
        while left < _CANVAS:
            width = int(rng.integers(2, 8))
            canvas[band, left : left + width] = _colour(rng, 24, 170, 0.22)
            left += width
    wood = _colour(rng, 40, 120, 0.15)
    canvas[(y * rows) % 1 < 0.14] = wood
    return canvas * np.float32(rng.uniform(0.5, 1))


_PAINTERS: Final = {
    "plain": _plain, "studio": _studio, "room": _room, "window": _window, "foliage": _foliage,
    "street": _street, "night": _night, "shelves": _shelves,
}  # fmt: skip
