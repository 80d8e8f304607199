"""Pictures with any number of faces of any size, put together from portraits.

A detector must see faces of every size before everything that is no face, and photos of crowds
with boxes are rare and seldom free. So each picture is composed on demand: a ground, often a
portrait that fills it, then pieces of portraits of all sizes down to a few pixels, turned,
mirrored, toned, with hard or soft edges, and pieces of the same kind without a face; then one
camera for all. Where a face is mostly covered its truth goes with it.

Alphabet: S side; N faces; V vertices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.world.backdrop import backdrop
from pentimento.world.face_mesh import FaceMesh
from pentimento.world.heads import load_heads

Rng = np.random.Generator
Pixels = NDArray[np.uint8]
POINTS: Final = 5
SMALLEST: Final = 10.0
"""Size of the smallest face that is put into a crowd: the root of its box's area, in pixels."""

_MIRRORED: Final = np.array([1, 0, 2, 4, 3])
SEEN: Final = 0.5
"""Share of a face that must be seen for it to count."""

TURNED: Final = 90.0
"""Degrees to either side; of a head that is turned further, no face is seen."""


@dataclass(frozen=True)
class Crowd:
    """A picture with its faces.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        boxes: (N, 4) float32, clipped to the picture.
        points: (N, 5, 2) float32, as in `ops/face_points.py`; NaN where unknown.
        vertices: (N, V, 3) float32, the third being depth in pixels; NaN where unknown.
    """

    image: Pixels
    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    vertices: NDArray[np.float32]


@dataclass(frozen=True)
class Portrait:
    """A picture with one known face, or none.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        box: (4,) of the face, or None where there is none.
        points: (5, 2), NaN where unknown.
        vertices: (V, 3), NaN where unknown.
    """

    image: Pixels
    box: NDArray[np.float64] | None
    points: NDArray[np.float64]
    vertices: NDArray[np.float64]

    def mirrored(self) -> "Portrait":
        """Return it mirrored; vertices other than those of the world become unknown."""
        width = self.image.shape[1]
        box = None if self.box is None else self.box[[2, 1, 0, 3]] * [-1, 1, -1, 1]
        if box is not None:
            box += [width, 0, width, 0]
        return Portrait(
            np.ascontiguousarray(self.image[:, ::-1]),
            box,
            self.points[_MIRRORED] * [-1, 1] + [width, 0],
            mirrored_vertices(self.vertices, width),
        )

    def alone(self) -> Crowd:
        """Return the picture as it is, with its face or none."""
        one = slice(0, 1 if self.box is not None else 0)
        box = np.zeros(4) if self.box is None else self.box
        return Crowd(
            self.image,
            box[None][one].astype(np.float32),
            self.points[None][one].astype(np.float32),
            self.vertices[None][one].astype(np.float32),
        )


def mirrored_vertices(vertices: NDArray[Any], width: float) -> NDArray[Any]:
    """Return vertices (..., V, 3) of a picture as they are in its mirror, in the same order.

    Those of the world (`world/face_mesh.py`) have known partners; any others become unknown, NaN.
    """
    mirror = face_mesh().mirror
    if vertices.shape[-2] != len(mirror):
        return np.full_like(vertices, np.nan)
    partners = vertices[..., mirror, :]
    return np.concatenate([width - partners[..., :1], partners[..., 1:]], -1)


@cache
def face_mesh() -> FaceMesh:
    """Return which vertices the truths of the world hold, their partners and neighbours."""
    return load_heads().face


# Composition


def compose(cast: Sequence[Portrait], size: int, rng: Rng) -> Crowd:
    """Put a picture together from portraits, each of which may occur several times, or not.

    Args:
        cast: who may occur.
        size: S.
        rng: all chance.
    """
    scene = _Scene(_ground(cast, size, rng), len(cast[0].vertices))
    with_faces = [portrait for portrait in cast if portrait.box is not None]
    if rng.random() < 0.4:  # at times so near that no face is seen, just skin, hair or cloth
        scene.lay(_varied(cast[0], rng), rng, large=1.6 if rng.random() < 0.8 else 6.0)
    for _ in range(int(rng.integers(0, 3))):
        scene.lay(_scrap(cast[int(rng.integers(len(cast)))], rng), rng)
    if with_faces and rng.random() < 0.85:
        for _ in range(int(rng.integers(1, 6))):
            one = with_faces[int(rng.integers(len(with_faces)))]
            scene.lay(_varied(_cropped(one, rng), rng), rng)
    if rng.random() < 0.4:
        scene.occlude(_scrap(cast[int(rng.integers(len(cast)))], rng).image, rng)
    return scene.crowd(rng)


class _Scene:
    """A picture while pieces are laid on it; `owner` says which piece each pixel shows."""

    def __init__(self, image: Pixels, vertices: int) -> None:
        self.image, self._vertices = image, vertices
        self.size = len(image)
        self.owner = np.full(image.shape[:2], -1, np.int16)
        self.faces: list[tuple[int, NDArray[np.float64], Portrait]] = []
        self._pieces = 0

    def lay(self, piece: Portrait, rng: Rng, *, large: float = 0.0) -> None:
        """Lay a piece of a random size, turn and edge on a place where it covers few faces.

        With `large` it covers the picture, and is up to so many times as large.
        """
        height, width = piece.image.shape[:2]
        box = np.array([0, 0, width, height]) if piece.box is None else piece.box
        middle, extent = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        natural = float(np.sqrt(extent.prod()))
        if large:
            scale = max(self.size / width, self.size / height) * float(rng.uniform(1, large))
            turn = float(np.clip(rng.normal(0, 6), -20, 20))
            lap = scale * np.array([width, height]) - self.size
            corner = -lap * rng.random(2)
            target = corner + scale * middle
        else:
            largest = 0.75 * self.size
            wanted = SMALLEST * (largest / SMALLEST) ** float(rng.random())
            scale = wanted / natural
            turn = float(np.clip(rng.normal(0, 15), -45, 45))
            target = self._free_place(scale * np.array([width, height]), rng)
        if scale < 1:  # shrink by areas first: a warp alone would alias
            small = (max(1, round(scale * width)), max(1, round(scale * height)))
            shrunk = cv2.resize(piece.image, small, interpolation=cv2.INTER_AREA)
            image = np.asarray(shrunk, np.uint8)
            inner = np.array([small[0] / width, small[1] / height])
        else:
            image, inner = piece.image, np.ones(2)
        linear = cv2.getRotationMatrix2D((0, 0), turn, 1.0)[:, :2] * scale
        matrix = np.column_stack([linear, target - linear @ middle])
        self._paste(image, _edge(image.shape, rng, large > 0), matrix, inner)
        if piece.box is not None:
            self.faces.append((self._pieces, matrix, piece))
        self._pieces += 1

    def _free_place(self, extent: NDArray[np.float64], rng: Rng) -> NDArray[np.float64]:
        """Return a middle for a piece of that extent; of eight, the one that hides fewest faces."""
        half = np.minimum(extent / 2, self.size / 2) * rng.uniform(0.5, 1)
        middles = rng.uniform(half, self.size - half, (8, 2))
        if not self.faces:
            return np.asarray(middles[0])
        boxes = np.stack([_ellipse(matrix, face)[0] for _, matrix, face in self.faces])
        low = np.maximum(boxes[:, :2], middles[:, None] - extent / 2)
        high = np.minimum(boxes[:, 2:], middles[:, None] + extent / 2)
        shared = (high - low).clip(min=0).prod(-1) / (boxes[:, 2:] - boxes[:, :2]).prod(-1)
        return np.asarray(middles[shared.max(1).argmin()])

    def _paste(
        self, image: Pixels, edge: NDArray[np.float32], matrix: Any, inner: NDArray[np.float64]
    ) -> None:
        height, width = image.shape[:2]
        to_canvas = matrix @ np.diag([1 / inner[0], 1 / inner[1], 1.0])
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]])
        corners = corners @ to_canvas.T
        left, top = np.floor(corners.min(0)).astype(int).clip(0, self.size)
        right, bottom = np.ceil(corners.max(0)).astype(int).clip(0, self.size)
        if right <= left or bottom <= top:
            return
        # Half-centred pixel frame to OpenCV's, in the window's own coordinates.
        to_canvas[:, 2] += to_canvas[:, :2].sum(1) / 2 - 0.5 - [left, top]
        shape = (int(right - left), int(bottom - top))
        window = (slice(top, bottom), slice(left, right))
        moved = cv2.warpAffine(image, to_canvas, shape, borderMode=cv2.BORDER_REPLICATE)
        alpha = np.asarray(cv2.warpAffine(edge, to_canvas, shape))
        below = self.image[window]
        mixed = below + (moved.astype(np.float32) - below) * alpha[..., None]
        self.image[window] = np.rint(mixed).astype(np.uint8)
        self.owner[window][alpha > 0.5] = self._pieces

    def occlude(self, scrap: Pixels, rng: Rng) -> None:
        """Cover a part of a face with a blob of one colour or of a scrap's pixels."""
        if not self.faces:
            return
        _, matrix, face = self.faces[int(rng.integers(len(self.faces)))]
        box, _ = _ellipse(matrix, face)
        extent = box[2:] - box[:2]
        middle = box[:2] + extent * rng.random(2)
        around = np.sort(rng.uniform(0, 2 * np.pi, 7))
        reach = float(np.sqrt(extent.prod()) * rng.uniform(0.15, 0.4)) * rng.uniform(0.6, 1, 7)
        blob = middle + np.stack([np.cos(around), np.sin(around)], 1) * reach[:, None]
        polygon = [np.round(blob).astype(np.int32)]
        cover = np.zeros(self.owner.shape, np.uint8)
        cv2.fillPoly(cover, polygon, (1,))
        if rng.random() < 0.5:
            self.image[cover > 0] = rng.integers(0, 256, 3)
        else:
            spread = cv2.resize(scrap, self.owner.shape, interpolation=cv2.INTER_LINEAR)
            self.image[cover > 0] = spread[cover > 0]
        self.owner[cover > 0] = -1

    def crowd(self, rng: Rng) -> Crowd:
        """Take the picture; faces that are mostly hidden or outside have no truth."""
        boxes, points, vertices = [], [], []
        for piece, matrix, face in self.faces:
            box, axes = _ellipse(matrix, face)
            clipped = box.clip(0, self.size)
            outside = (clipped[2:] <= clipped[:2]).any()
            if outside or np.sqrt((box[2:] - box[:2]).prod()) < 0.8 * SMALLEST:
                continue
            if self._seen(piece, box, axes) < SEEN:
                continue
            boxes.append(clipped)
            points.append(face.points @ matrix[:, :2].T + matrix[:, 2])
            scale = float(np.sqrt(np.linalg.det(matrix[:, :2])))
            flat = face.vertices[:, :2] @ matrix[:, :2].T + matrix[:, 2]
            vertices.append(np.column_stack([flat, face.vertices[:, 2] * scale]))
        return Crowd(
            photographed(self.image, rng),
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(points, np.float32).reshape(-1, POINTS, 2),
            np.array(vertices, np.float32).reshape(len(boxes), self._vertices, 3),
        )

    def _seen(self, piece: int, box: Any, axes: tuple[float, float, float]) -> float:
        """Return the share of a face's ellipse that is in the picture and not covered."""
        left, top = np.floor(box[:2]).astype(int)
        right, bottom = np.ceil(box[2:]).astype(int)
        mask = np.zeros((bottom - top, right - left), np.uint8)
        centre = ((box[0] + box[2]) / 2 - left, (box[1] + box[3]) / 2 - top)
        cv2.ellipse(mask, (centre, (2 * axes[0], 2 * axes[1]), axes[2]), 1, -1)
        total = mask.sum()
        rows = slice(max(0, -top), len(mask) - max(0, bottom - self.size))
        columns = slice(max(0, -left), mask.shape[1] - max(0, right - self.size))
        shown = self.owner[max(0, top) : bottom, max(0, left) : right] == piece
        return float((mask[rows, columns] * shown).sum() / max(1, total))


def _ellipse(
    matrix: NDArray[np.float64], face: Portrait
) -> tuple[NDArray[np.float64], tuple[float, float, float]]:
    """Return the box of a moved face, and its ellipse: half axes and turn in degrees."""
    assert face.box is not None
    low, high = face.box[:2], face.box[2:]
    middle = matrix[:, :2] @ ((low + high) / 2) + matrix[:, 2]
    x, y = (matrix[:, :2] * ((high - low) / 2)).T  # the half axes as vectors
    half = np.hypot(x, y)
    turn = float(np.degrees(np.arctan2(x[1], x[0])))
    return (
        np.concatenate([middle - half, middle + half]),
        (float(np.hypot(*x)), float(np.hypot(*y)), turn),
    )


def _ground(cast: Sequence[Portrait], size: int, rng: Rng) -> Pixels:
    chance = rng.random()
    if chance < 0.35:
        ground = _away(cast[int(rng.integers(len(cast)))], size, rng)
        if ground is not None:
            return ground
    if chance < 0.5:
        scrap = _scrap(cast[int(rng.integers(len(cast)))], rng).image
        if rng.random() < 0.4:
            return _print(scrap, size, rng)
        return np.array(cv2.resize(scrap, (size, size), interpolation=cv2.INTER_LINEAR), np.uint8)
    light, _ = backdrop(rng, size)
    image: NDArray[Any] = 255 * light.clip(0, 1) ** (1 / 2.2)
    if rng.random() < 0.4:
        noise = rng.normal(0, rng.uniform(5, 40), (*rng.integers(4, 80, 2), 3))
        image = image + cv2.resize(noise, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.rint(image.clip(0, 255)), np.uint8)


def _print(scrap: Pixels, size: int, rng: Rng) -> Pixels:
    """Return what repeats a scrap in rows and columns, at times mirrored: prints, knitwear."""
    small = tuple(int(side) for side in np.exp(rng.uniform(np.log(6), np.log(64), 2)))
    tile = np.asarray(cv2.resize(scrap, small, interpolation=cv2.INTER_AREA), np.uint8)
    if rng.random() < 0.5:
        tile = np.concatenate([tile, tile[:, ::-1]], 1)
    repeats = [-(-size // side) for side in tile.shape[:2]]
    return np.tile(tile, (*repeats, 1))[:size, :size]


def _away(portrait: Portrait, size: int, rng: Rng) -> Pixels | None:
    """Return a part of a portrait as it is, beside the face, or None where there is no room."""
    height, width = portrait.image.shape[:2]
    for _ in range(6):
        side = int(min(size, height, width) * rng.uniform(0.5, 1))
        left, top = rng.integers(0, width - side + 1), rng.integers(0, height - side + 1)
        if portrait.box is not None:
            low = np.maximum(portrait.box[:2], (left, top))
            high = np.minimum(portrait.box[2:], (left + side, top + side))
            face = (portrait.box[2:] - portrait.box[:2]).prod()
            if (high - low).clip(min=0).prod() > 0.12 * face:
                continue
        part = portrait.image[top : top + side, left : left + side]
        rim = (0, size - side, 0, size - side)
        whole = cv2.copyMakeBorder(np.ascontiguousarray(part), *rim, cv2.BORDER_REFLECT)
        return _toned(np.asarray(whole, np.uint8), rng, 0.2)
    return None


def _varied(portrait: Portrait, rng: Rng) -> Portrait:
    """Mirror and tone a portrait at random."""
    if rng.random() < 0.5:
        portrait = portrait.mirrored()
    return replace(portrait, image=_toned(portrait.image, rng, 0.2))


def _cropped(portrait: Portrait, rng: Rng) -> Portrait:
    """Cut a portrait around its face, more or less loosely."""
    assert portrait.box is not None
    height, width = portrait.image.shape[:2]
    low, high = portrait.box[:2], portrait.box[2:]
    reach = (high - low) * rng.uniform(0.08, 1.0, (2, 2))
    left, top = np.floor(low - reach[0]).astype(int).clip(0)
    right, bottom = np.ceil(high + reach[1]).astype(int)
    right, bottom = min(int(right), width), min(int(bottom), height)
    shift = np.array([left, top], np.float64)
    return Portrait(
        portrait.image[top:bottom, left:right],
        portrait.box - [*shift, *shift],
        portrait.points - shift,
        portrait.vertices - [*shift, 0],
    )


def _scrap(portrait: Portrait, rng: Rng) -> Portrait:
    """Cut a piece that shows at most a little of the face."""
    height, width = portrait.image.shape[:2]
    none = np.full((POINTS, 2), np.nan)
    for _ in range(10):
        extent = rng.uniform(0.12, 0.6, 2) * [width, height]
        low = rng.uniform(0, [width, height] - extent)
        if portrait.box is not None:
            face = portrait.box[2:] - portrait.box[:2]
            shared = np.minimum(low + extent, portrait.box[2:]) - np.maximum(low, portrait.box[:2])
            if shared.clip(min=0).prod() > 0.12 * face.prod():
                continue
        left, top = low.astype(int)
        right, bottom = np.ceil(low + extent).astype(int)
        piece = portrait.image[top:bottom, left:right]
        if extent.max() > 128:  # as large as it will be seen
            piece = np.asarray(cv2.resize(piece, (128, 128), interpolation=cv2.INTER_AREA))
        if rng.random() < 0.5:
            piece = np.ascontiguousarray(np.rot90(piece, int(rng.integers(4))))
        return Portrait(_toned(piece, rng, 0.2), None, none, portrait.vertices[:0])
    flat = np.full((8, 8, 3), rng.integers(0, 256, 3), np.uint8)
    return Portrait(flat, None, none, portrait.vertices[:0])


def _edge(shape: tuple[int, ...], rng: Rng, large: bool) -> NDArray[np.float32]:
    """Return how much of a piece shows, (h, w) in [0, 1]: a hard frame, a soft one, or an oval."""
    height, width = shape[:2]
    kind = 0.0 if large else rng.random()
    if kind < 0.4:
        return np.ones((height, width), np.float32)
    x = np.minimum(np.arange(width) + 0.5, np.arange(width)[::-1] + 0.5) / width
    y = np.minimum(np.arange(height) + 0.5, np.arange(height)[::-1] + 0.5) / height
    if kind < 0.7:
        inside = np.minimum(x[None], y[:, None]) / rng.uniform(0.02, 0.12)
    else:
        radius = np.hypot(2 * (0.5 - x)[None], 2 * (0.5 - y)[:, None])
        inside = (1 - radius) / rng.uniform(0.05, 0.3)
    return np.asarray(inside.clip(0, 1), np.float32)


def _toned(image: Pixels, rng: Rng, grey: float) -> Pixels:
    """Gamma, contrast, brightness and cast by one table per channel; at times, no colour."""
    if rng.random() < grey:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, 2))
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    gamma = np.exp(rng.normal(0, 0.25) + rng.normal(0, 0.06, 3))
    contrast = np.exp(rng.normal(0, 0.18))
    offset = rng.normal(0, 0.07) + rng.normal(0, 0.03, 3)
    table = 255 * ((ramp**gamma - 0.5) * contrast + 0.5 + offset).clip(0, 1)
    return np.asarray(cv2.LUT(np.ascontiguousarray(image), np.rint(table).astype(np.uint8)[None]))


def photographed(image: Pixels, rng: Rng) -> Pixels:
    """Return the picture as one camera saw it: tone, a little blur, noise, JPEG."""
    size = (image.shape[1], image.shape[0])
    image = _toned(image, rng, 0.2)
    if rng.random() < 0.25:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.3)))
    elif rng.random() < 0.2:  # enlarged
        small = tuple(round(s * rng.uniform(0.45, 0.9)) for s in size)
        image = np.asarray(cv2.resize(image, small, interpolation=cv2.INTER_AREA))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR))
    if rng.random() < 0.4:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 12))
        image = (image + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(25, 95))  # which channel is called red does not matter here
        coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(image, np.uint8)


# A part of a picture


def window(crowd: Crowd, size: int, rng: Rng) -> Crowd:
    """Return a part of a picture, perhaps mirrored, photographed anew.

    Its scale is random, up to four times that at which it just covers the part; two parts of three
    show some face.
    """
    if rng.random() < 0.5:
        crowd = _mirrored(crowd)
    height, width = crowd.image.shape[:2]
    scale = max(size / height, size / width) * 4 ** float(rng.random())
    low, high = size / 2, np.array([width, height]) * scale - size / 2 + 1e-6
    middle = rng.uniform(low, high)
    if len(crowd.boxes) and rng.random() < 2 / 3:
        box = scale * crowd.boxes[int(rng.integers(len(crowd.boxes)))]
        middle = ((box[:2] + box[2:]) / 2 + rng.uniform(-0.4, 0.4, 2) * size).clip(low, high)
    shift = size / 2 - middle
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    image, small = crowd.image, np.ones(2)
    if scale < 1:
        shape = (round(scale * width), round(scale * height))
        image = np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), np.uint8)
        small = np.array([shape[0] / width, shape[1] / height])
    inner = matrix @ np.diag([1 / small[0], 1 / small[1], 1.0])
    inner[:, 2] += inner[:, :2].sum(1) / 2 - 0.5
    seen = cv2.warpAffine(image, inner, (size, size), borderMode=cv2.BORDER_REPLICATE)
    boxes = scale * crowd.boxes + np.tile(shift, 2)
    clipped = boxes.clip(0, size)
    extent = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    kept = (clipped[:, 2:] - clipped[:, :2]).prod(1) > SEEN * extent
    kept &= np.sqrt(extent) > 0.8 * SMALLEST
    return Crowd(
        photographed(np.asarray(seen, np.uint8), rng),
        clipped[kept].astype(np.float32),
        (scale * crowd.points + shift)[kept].astype(np.float32),
        (scale * crowd.vertices + [*shift, 0])[kept].astype(np.float32),
    )


def _mirrored(crowd: Crowd) -> Crowd:
    width = crowd.image.shape[1]
    left, top, right, bottom = crowd.boxes.T
    return Crowd(
        crowd.image[:, ::-1],
        np.stack([width - right, top, width - left, bottom], 1),
        crowd.points[:, _MIRRORED] * [-1, 1] + [width, 0],
        mirrored_vertices(crowd.vertices, width),
    )
