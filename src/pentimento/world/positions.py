"""Where every point of a face is: a picture over the texture that holds positions (UV → x, y, z).

The inside of what `WorldPortrait.uv` tells: that says which point a pixel shows, this says where a
point is, also when it is hidden (Feng et al., PRNet, ECCV 2018). The map covers a square window of
the head's texture, upright: the forehead above, the subject's right on the left.

Alphabet: T side of the map.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.world.heads import Heads
from pentimento.world.mesh import part_index
from pentimento.world.portraits import before_camera, builtin_heads
from pentimento.world.raster import Layer

WINDOW: Final = (0.064, 0.1246, 0.4)
"""Least u and v, and the side, of the part of the head's texture that maps show."""

WEIGHTS: Final = {"point": 16.0, "feature": 4.0, "face": 3.0}
"""What an error counts at the 68 landmarks, at eyes, nose and mouth, on the rest of the face."""

_FACE: Final = ("skin", "nose", "u_lip", "l_lip", "l_lid", "r_lid", "l_ear", "r_ear")
_FEATURES: Final = ("nose", "u_lip", "l_lip", "l_lid", "r_lid")
_AROUND: Final = 0.035  # of the map's side, that count as features around them


@dataclass(frozen=True)
class Layout:
    """What a map of one size shows.

    Attributes:
        corners: (T, T, 3) vertex numbers of the head; 0 where there is no face.
        shares: (T, T, 3) float32, of those vertices in the texel; 0 where there is no face.
        known: (T, T) bool: is there a face?
        weights: (T, T) float32, see `WEIGHTS`; 0 where there is none.
        texels: (68, 4) numbers, row by row, of the texels around each landmark.
        blend: (68, 4) float32, what each of them adds to the landmark; only texels of the face do.
    """

    corners: NDArray[np.int64]
    shares: NDArray[np.float32]
    known: NDArray[np.bool_]
    weights: NDArray[np.float32]
    texels: NDArray[np.int64]
    blend: NDArray[np.float32]


def layout(side: int) -> Layout:
    """Return what maps of this side show of the built-in heads."""
    return _layout(side)


@lru_cache(maxsize=4)
def _layout(side: int) -> Layout:
    heads = builtin_heads()
    chosen = np.flatnonzero(np.isin(heads.part, [part_index(name) for name in _FACE]))
    corners = heads.triangles[chosen].astype(np.int64)
    u, v, extent = WINDOW
    at = (heads.uv[chosen].astype(np.float64)[..., ::-1] - (v, u)) / extent  # x is v, y is u
    flat = np.concatenate([at * side, np.ones((*at.shape[:2], 1))], 2).reshape(-1, 3)
    numbers = np.arange(len(flat), dtype=np.int32).reshape(-1, 3)
    layer = Layer.empty(side, side)
    layer.draw(flat, numbers, 0)
    known = layer.triangle >= 0
    two = layer.weights.astype(np.float32)
    shares = np.concatenate([two, 1 - two.sum(2, keepdims=True)], 2) * known[..., None]
    features = Layer.empty(side, side)
    names = [part_index(name) for name in _FEATURES]
    features.draw(flat, numbers[np.isin(heads.part[chosen], names)], 0)
    reach = 2 * max(1, round(_AROUND * side)) + 1
    near = cv2.dilate((features.triangle >= 0).astype(np.uint8), np.ones((reach, reach), np.uint8))
    weights = np.where(near > 0, WEIGHTS["feature"], WEIGHTS["face"]) * known
    texels, blend = _around(_landmarks(heads, corners, at) * side, known)
    nearest = np.take_along_axis(texels, blend.argmax(1)[:, None], 1)
    weights.reshape(-1)[nearest] = WEIGHTS["point"]
    return Layout(
        np.where(known[..., None], corners[layer.triangle], 0), shares.astype(np.float32), known,
        weights.astype(np.float32), texels, blend,
    )  # fmt: skip


def _around(
    points: NDArray[np.float64], known: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the four texels around each point and their shares, none of it where no face is."""
    side = len(known)
    low = np.floor(points - 0.5).clip(0, side - 2)
    part = (points - 0.5 - low).clip(0, 1)
    corner = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    at = (low[:, None] + corner).astype(np.int64)
    texels = at[..., 1] * side + at[..., 0]
    blend = np.where(corner, part[:, None], 1 - part[:, None]).prod(2) * known.reshape(-1)[texels]
    # At the edge of a hole, such as the open mouth, the nearest texel of the face speaks.
    faces = np.stack(np.nonzero(known)[::-1], 1) + 0.5
    for lost in np.flatnonzero(blend.sum(1) < 0.25):
        x, y = np.floor(faces[((faces - points[lost]) ** 2).sum(1).argmin()]).astype(np.int64)
        texels[lost], blend[lost] = y * side + x, 0.25
    return texels, (blend / blend.sum(1, keepdims=True)).astype(np.float32)


def _landmarks(
    heads: Heads, corners: NDArray[np.int64], at: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return where in the map (68, 2) the landmarks are, x and y in 0..1."""
    place = np.full((len(heads.neutral), 2), np.nan)
    place[corners.ravel()] = at.reshape(-1, 2)
    anchors = heads.points[68]
    known = np.isfinite(place[anchors.corners]).all(2) * anchors.weights
    share = known / known.sum(1, keepdims=True)
    return np.asarray((np.nan_to_num(place[anchors.corners]) * share[..., None]).sum(1))


def positions(seed: int, side: int, heads: Heads | None = None) -> NDArray[np.float32]:
    """Return where the face of a portrait is.

    Args:
        seed: of the portrait.
        side: T.
        heads: which head model, with the texture of the built-in one, which is the default.

    Returns:
        (T, T, 3) x to the right, y down, and z towards the camera from the middle of the face, all
        in sides of the picture; 0 where there is no face.
    """
    streams = [np.random.Generator(np.random.PCG64([seed, part])) for part in range(2)]
    figure, camera = before_camera(streams, heads)
    count = int(figure.surface.triangles[: figure.head].max()) + 1
    placed = camera.project(figure.surface.position[:count], 1.0)
    # Sides per decimetre at the origin, the middle of the face.
    scale = np.sqrt(abs(np.linalg.det(camera.crop[:, :2]))) / camera.distance
    placed[:, 2] = (camera.distance - placed[:, 2]) * scale
    shape = layout(side)
    return np.asarray(np.einsum("ijk,ijkc->ijc", shape.shares, placed[shape.corners]), np.float32)
