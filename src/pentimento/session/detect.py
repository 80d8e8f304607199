"""Every face of a photo of any size: the finder looks at several sizes of it, the finest in tiles.

A finder sees faces of 12 to about 150 pixels. So a photo is shown to it at 192 pixels on its long
side, with a rim, because a face may fill the frame or reach beyond it; then at its own size, and at
as many in between as it takes for each to be at most four times the one before, all by the same
ratio. Every face is within reach of one of these sizes or of two. A small photo is also enlarged,
for the smallest of its faces. What was seen more than once is where it was seen on average.

However unsure a finder is of itself, at most `MOST` faces are told.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.ops.nms import nms
from pentimento.structures import Boxes

Points = NDArray[np.float64]

THRESHOLD: Final = 0.3
"""Least score that is shown by default; so one portrait in a hundred has a second box."""
MOST: Final = 750
"""How many faces are told of one photo: the surest."""

_ENTER: Final = 5000  # of one photo's answers, the surest, are compared with each other
_COARSE: Final = 192  # px, long side of the smallest picture that is looked at
_STEP: Final = 4.0  # largest ratio of one size to the next
_RIM: Final = 0.25  # of the long side, around the smallest picture
_TILE: Final = 1024  # px
_LAP: Final = 96  # px that tiles share; what is larger, the next coarser size has seen whole
_SMALL: Final = 768  # px, long side of a photo that is looked at twice as large, too
_TINY: Final = 30.0  # px, size of the largest face that is looked for there
_OVERLAP: Final = 0.4
_SAME: Final = 0.5  # IoU of two views of one face
_WITHIN: Final = 0.7  # a smaller box so far inside a surer one is a part of that face


class Found(Protocol):
    """What a finder answers; see `systems.perceive.retinaface.Found`."""

    boxes: Boxes
    points: NDArray[np.float32]
    vertices: NDArray[np.float32]


class Finder(Protocol):
    """What this package needs of a face finder."""

    def predict(self, image: NDArray[np.uint8], *, threshold: float = ...) -> Any:
        """Return the `Found` faces of (H, W, 3) uint8 RGB, at the size that it has."""
        ...


@dataclass(frozen=True)
class Detection:
    """One face as the finder sees it, in picture pixels.

    Attributes:
        box: (4,) left, top, right, bottom, forehead to chin; may reach beyond the picture.
        score: how sure the finder is, in [0, 1].
        points: (5, 2) the eye on the picture's left, the other eye, the tip of the nose, the
            mouth's corner on the left, the other corner.
        vertices: (V, 3) of its surface, the third being depth; none of a finder without that head.
    """

    box: Points
    score: float
    points: Points
    vertices: Points

    @property
    def size(self) -> float:
        """The root of the box's area."""
        return float(np.sqrt((self.box[2:] - self.box[:2]).prod()))


def detect(rgb: NDArray[np.uint8], finder: Finder, threshold: float = THRESHOLD) -> list[Detection]:
    """Return the faces of a picture, the largest first.

    Args:
        rgb: (H, W, 3) uint8, upright.
        finder: who looks.
        threshold: least score.
    """
    long = max(rgb.shape[:2])
    found = _rimmed(rgb, finder, threshold)
    for factor in _factors(long):
        found += _tiled(_resized(rgb, factor), 1 / factor, finder, threshold)
    if long <= _SMALL:
        close = _tiled(_resized(rgb, 2.0), 0.5, finder, threshold)
        found += [face for face in close if face.size < _TINY]
    surest = sorted(found, key=lambda face: -face.score)[:_ENTER]
    return sorted(_distinct(surest), key=lambda face: -face.size)


def _factors(long: int) -> list[float]:
    """Return how large a photo of that long side is looked at, in shares of its own size."""
    steps = math.ceil(math.log(long / _COARSE, _STEP))
    return [(long / _COARSE) ** (i / steps - 1) for i in range(1, steps + 1)]


def _resized(rgb: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    if factor == 1:
        return rgb
    height, width = (max(1, round(side * factor)) for side in rgb.shape[:2])
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=smooth), np.uint8)


def _rimmed(rgb: NDArray[np.uint8], finder: Finder, threshold: float) -> list[Detection]:
    """Look at the whole picture, small and within a rim of its own border."""
    factor = min(1.0, _COARSE / max(rgb.shape[:2]))
    small = _resized(rgb, factor)
    rim = round(_RIM * max(small.shape[:2]))
    framed = cv2.copyMakeBorder(small, rim, rim, rim, rim, cv2.BORDER_REPLICATE)
    found = finder.predict(np.asarray(framed), threshold=threshold)
    scale = rgb.shape[1] / small.shape[1], rgb.shape[0] / small.shape[0]
    return _moved(found, np.array([-rim, -rim]), np.array(scale))


def _tiled(
    rgb: NDArray[np.uint8], factor: float, finder: Finder, threshold: float
) -> list[Detection]:
    """Look at a picture tile by tile; `factor` leads back to the photo's pixels."""
    found = []
    rows, columns = (_cuts(side) for side in rgb.shape[:2])
    for top, bottom in rows:
        for left, right in columns:
            seen = finder.predict(rgb[top:bottom, left:right], threshold=threshold)
            inner = np.array([left > 0, top > 0, right < rgb.shape[1], bottom < rgb.shape[0]])
            edges = np.array([0, 0, right - left, bottom - top])
            cut = (inner & (np.abs(seen.boxes.xyxy - edges) < 3)).any(1)  # seen whole next door
            whole = _moved(seen, np.array([left, top]), np.full(2, factor))
            found += [face for face, part in zip(whole, cut, strict=True) if not part]
    return found


def _cuts(side: int) -> list[tuple[int, int]]:
    """Return the first and last pixel of tiles along a side, of about equal length."""
    count = max(1, -(-(side - _LAP) // (_TILE - _LAP)))
    step = -(-(side - _LAP) // count)
    return [(i * step, min(side, (i + 1) * step + _LAP)) for i in range(count)]


def _moved(found: Found, shift: Points, scale: Points) -> list[Detection]:
    boxes = (found.boxes.xyxy + np.tile(shift, 2)) * np.tile(scale, 2)
    points = (found.points + shift) * scale
    surfaces = (found.vertices + np.append(shift, 0)) * np.append(scale, scale.mean())
    return [
        Detection(box, float(score), five, surface)
        for box, score, five, surface in zip(
            boxes, found.boxes.scores, points, surfaces, strict=True
        )
    ]


def _distinct(found: list[Detection]) -> list[Detection]:
    """Join the views of a face and drop its parts that were taken for one; `MOST` at most."""
    if not found:
        return []
    boxes = np.stack([face.box for face in found])
    points = np.stack([face.points for face in found])
    surfaces = np.stack([face.vertices for face in found])
    scores = np.array([face.score for face in found])
    kept: list[Detection] = []
    placed = np.empty((MOST, 4))
    for number in nms(boxes, scores, _OVERLAP):
        shared = _overlaps(boxes[number], boxes)
        views = np.flatnonzero(shared > _SAME)
        weights = shared[views] * scores[views]
        weights /= weights.sum()
        box = weights @ boxes[views]
        if _is_part(box, placed[: len(kept)]):
            continue
        placed[len(kept)] = box
        kept.append(
            replace(
                found[number],
                box=box,
                points=np.einsum("f,fpc->pc", weights, points[views]),
                vertices=np.einsum("f,fvc->vc", weights, surfaces[views]),
            )
        )
        if len(kept) == MOST:
            break
    return kept


def _overlaps(box: Points, boxes: Points) -> Points:
    """Return the IoU (F,) of a box with boxes (F, 4)."""
    shared = _shared(box, boxes)
    return np.asarray(shared / np.maximum(_area(box) + _area(boxes) - shared, 1e-9))


def _is_part(box: Points, boxes: Points) -> bool:
    """Tell whether a box lies mostly in a larger one of boxes (F, 4)."""
    inside = _shared(box, boxes) > _WITHIN * _area(box)
    return bool((inside & (_area(box) < _area(boxes))).any())


def _shared(box: Points, boxes: Points) -> Points:
    """Return the area (F,) that a box shares with boxes (F, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    return np.asarray((high - low).clip(min=0).prod(1))


def _area(boxes: Points) -> Points:
    return np.asarray((boxes[..., 2:] - boxes[..., :2]).prod(-1))
