"""Faces marked on a photo: thin rounded boxes, small labels, points, and where the head looks.

Everything is drawn once in dark and wider, once in light, so that it stands out from any photo, and
grows with the photo and a little with the face, so that it looks the same at every size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pentimento.ops.landmarks import LINES
from pentimento.ops.pose import Pose

Pixels = NDArray[np.uint8]
_LIGHT: Final = (255, 255, 255)
_DARK: Final = (18, 20, 26)
_ACCENT: Final = (255, 196, 84)
_SHIFT: Final = 4  # OpenCV's fixed-point bits: lines lie between pixels too


@dataclass(frozen=True)
class Marks:
    """What is drawn for one face.

    Attributes:
        box: (4,) left, top, right, bottom.
        label: a few characters.
        points: (5, 2), the third being the tip of the nose.
        landmarks: (68, 2) or None.
        pose: of the head.
    """

    box: NDArray[Any]
    label: str
    points: NDArray[Any]
    landmarks: NDArray[Any] | None
    pose: Pose


def draw_marks(rgb: Pixels, faces: Sequence[Marks]) -> Pixels:
    """Return a photo (H, W, 3) with faces marked; the smallest lie on top."""
    canvas = rgb.copy()
    unit = max(1.0, max(rgb.shape[:2]) / 900)
    for face in faces:
        _draw_face(canvas, face, unit)
    image = Image.fromarray(canvas)
    for face in faces:
        _draw_label(image, face, unit)
    return np.array(image, np.uint8)


def _draw_face(canvas: Pixels, face: Marks, unit: float) -> None:
    size = float(np.sqrt((face.box[2:] - face.box[:2]).clip(1).prod()))
    thin = unit * float(np.clip(size / 90, 0.6, 1.6))
    outline = _rounded(face.box, 0.12 * size)
    if face.landmarks is not None and size > 40:
        for numbers in LINES:
            _line(canvas, face.landmarks[list(numbers)], 0.8 * thin, _LIGHT, 0.55)
    for colour, width, opacity in ((_DARK, 3.2 * thin, 0.35), (_LIGHT, 1.4 * thin, 1.0)):
        _line(canvas, outline, width, colour, opacity)
    nose = np.asarray(face.points[2], float)
    yaw, pitch = np.radians([face.pose.yaw, face.pose.pitch])
    ahead = nose + 0.55 * size * np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
    if size > 28:
        _line(canvas, np.stack([nose, ahead]), 1.4 * thin, _ACCENT, 0.95)
    for point in face.points:
        _dot(canvas, point, 2.6 * thin, _DARK)
        _dot(canvas, point, 1.8 * thin, _ACCENT)


def _rounded(box: NDArray[Any], radius: float) -> NDArray[np.float64]:
    """Return the outline (N, 2) of a box with round corners, closed."""
    left, top, right, bottom = (float(edge) for edge in box)
    radius = min(radius, (right - left) / 2, (bottom - top) / 2)
    turn = np.linspace(0, np.pi / 2, 9)
    corners = ((right, top, 1, -1, -1), (right, bottom, 1, 1, 0), (left, bottom, -1, 1, 1),
               (left, top, -1, -1, 2))  # fmt: skip
    arcs = []
    for x, y, sx, sy, quarter in corners:
        angle = turn + quarter * np.pi / 2
        middle = np.array([x - sx * radius, y - sy * radius])
        arcs.append(middle + radius * np.stack([np.cos(angle), np.sin(angle)], 1))
    return np.concatenate([*arcs, arcs[0][:1]])


def _line(
    canvas: Pixels,
    line: NDArray[Any],
    width: float,
    colour: tuple[int, int, int],
    opacity: float,
) -> None:
    """Draw a polyline, antialiased, over the part of the canvas that it touches."""
    width = max(1, round(width))
    low = np.floor(line.min(0) - width - 2).astype(int).clip(0)
    high = np.ceil(line.max(0) + width + 3).astype(int)
    part = canvas[low[1] : max(0, high[1]), low[0] : max(0, high[0])]
    if not part.size:
        return
    drawn = np.ascontiguousarray(part)
    fixed = np.round((line - low - 0.5) * 2**_SHIFT).astype(np.int32)
    cv2.polylines(drawn, [fixed], False, colour, width, cv2.LINE_AA, _SHIFT)
    part[:] = np.rint(part + opacity * (drawn.astype(np.float32) - part)).astype(np.uint8)


def _dot(canvas: Pixels, point: Any, radius: float, colour: tuple[int, int, int]) -> None:
    x, y = (round((float(value) - 0.5) * 2**_SHIFT) for value in point)
    fixed = max(1, round(radius * 2**_SHIFT))
    cv2.circle(canvas, (x, y), fixed, colour, -1, cv2.LINE_AA, _SHIFT)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_label(image: Image.Image, face: Marks, unit: float) -> None:
    """Put a small pill above the box, or inside where there is no room above."""
    height = float(face.box[3] - face.box[1])
    font = _font(round(unit * float(np.clip(height / 7, 9, 13))))
    draw = ImageDraw.Draw(image, "RGBA")
    left, top, right, bottom = draw.textbbox((0, 0), face.label, font=font)
    pad = 0.35 * (bottom - top)
    wide, tall = right - left + 4 * pad, bottom - top + 2 * pad
    x = float(np.clip(face.box[0], 0, max(0.0, image.width - wide)))
    y = float(face.box[1]) - tall - 2 * unit
    if y < 0:
        y = float(face.box[1]) + 2 * unit
    draw.rounded_rectangle((x, y, x + wide, y + tall), tall / 2, fill=(*_DARK, 200))
    draw.text((x + 2 * pad - left, y + pad - top), face.label, font=font, fill=_LIGHT)
