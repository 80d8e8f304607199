"""Aligned portraits with every truth: picture, labels, landmarks, box, UV map, depth.

A seed draws a person (`figure`), a pose, a camera, lights and a background; the crop is the frame
of `pentimento.ops.align`, built from the projected landmarks and then jittered, because no detector
is exact. Each part of the draw has its own stream of chance: changing one leaves the others be.

Alphabet: S side of the picture; samples are a 2S x 2S grid, four to a pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19
from pentimento.ops.align import crop_to_picture, ffhq_quad
from pentimento.structures import Boxes, Keypoints, LabelMap, UVMap
from pentimento.world.backdrop import backdrop
from pentimento.world.face_mesh import VERTICES, FaceVertices, in_pixels
from pentimento.world.figure import Figure, Pose, draw_figure
from pentimento.world.heads import Heads, load_heads
from pentimento.world.light import bake, cast, frozen, unit
from pentimento.world.mesh import vertex_normals
from pentimento.world.photograph import photograph
from pentimento.world.raster import Camera, Layer
from pentimento.world.shading import classify, glaze, shade
from pentimento.world.textures import noise_table

Rng = np.random.Generator
SAMPLES: Final = 2
"""Samples per pixel and axis."""

_NOISE: Final = noise_table()
_AROUND: Final = np.ones((3, 3), np.uint8)
_MIDDLE_FIRST: Final = np.array([[8, 8, 8], [8, 9, 8], [8, 8, 8]], np.float32)
_HAIR: Final = CELEBAMASK19.value("hair")
_STRANDS_CROSS: Final = CELEBAMASK19.values(
    "background", "skin", "nose", "l_ear", "r_ear", "hair", "hat", "neck", "cloth"
)
_SUBJECT_EYES: Final = CELEBAMASK19.values("l_eye", "r_eye", "l_brow", "r_brow")


@dataclass(frozen=True)
class WorldPortrait:
    """A rendered portrait and its truths.

    Attributes:
        picture: (S, S, 3) uint8 sRGB.
        labels: 19 classes, CelebAMask-HQ order, drawn as people draw them: tresses, not strands.
        landmarks: 5, 68 or 98 → points in pixels; `visible` is False behind hair, hat or the head.
        box: the face, forehead to chin, one box of score 1.
        vertices: of the face's mesh (`Heads.face`).
        uv: where on the head's surface each pixel of skin, lips, nose, eyes, ears and neck lies.
        depth: (S, S) float32 decimetres along the optical axis, inf on the background.
        attributes: what was drawn: age, sex, pose in degrees, glasses and so on.
    """

    picture: NDArray[np.uint8]
    labels: LabelMap
    landmarks: dict[int, Keypoints]
    box: Boxes
    vertices: FaceVertices
    uv: UVMap
    depth: NDArray[np.float32]
    attributes: dict[str, Any] = field(default_factory=dict)


def portrait(
    seed: int,
    size: int = 256,
    heads: Heads | None = None,
    pose: Pose | None = None,
    room: float = 1.0,
) -> WorldPortrait:
    """Render the portrait of a seed.

    Args:
        seed: >= 0; the same seed gives the same bytes, another size the same scene.
        size: S, at least 16.
        heads: which head model; the built-in one by default.
        pose: how the head is turned; drawn by the seed by default.
        room: side of the frame, in shares of the aligned one.

    Raises:
        ValueError: a negative seed or a size below 16.
    """
    if seed < 0 or size < 16:
        raise ValueError(f"expected seed >= 0 and size >= 16, got seed {seed} and size {size}")
    streams = [np.random.Generator(np.random.PCG64([seed, part])) for part in range(4)]
    figure, camera = before_camera(streams, heads, pose, room)
    layer, truth = _draw_figure(camera, figure, size)
    lens = _draw(camera, figure.lens.vertices, figure.lens.triangles, size)

    sky, direction, colour, blur, box = _lighting(streams[2])
    surface = figure.surface._replace(light=_bake(figure, sky))
    solid = figure.surface.position[: figure.solids]
    lights = cast(solid, figure.casters, direction, colour, blur, box, sky)
    samples = np.zeros((*layer.triangle.shape, 3), np.float32)
    shade(
        layer.triangle, layer.nearness, layer.weights, surface, lights, frozen(figure.looks),
        _NOISE, camera.distance, samples,
    )  # fmt: skip
    behind, place = backdrop(streams[3], size)
    bare = layer.triangle < 0
    samples[bare] = behind.repeat(SAMPLES, 0).repeat(SAMPLES, 1)[bare]
    glaze(
        lens.nearness, lens.triangle, lens.weights, layer.nearness, figure.lens.vertices,
        vertex_normals(figure.lens.vertices, figure.lens.triangles), figure.lens.triangles, lights,
        frozen(figure.looks.trim), camera.distance, samples,
    )  # fmt: skip
    light = samples.reshape(size, SAMPLES, size, SAMPLES, 3).mean(axis=(1, 3))

    labels, chosen = _label(figure, truth, lens)
    skin = np.isin(labels, CELEBAMASK19.values("skin", "nose"))
    picture = photograph(light, skin, streams[3])
    # Where a gap between strands counts as hair, it is as near as the strands beside it.
    nearness = np.where(
        chosen["nearness"] > 0, chosen["nearness"], cv2.dilate(chosen["nearness"], _AROUND)
    )
    depth = np.where(labels > 0, 1 / np.maximum(nearness, 1e-6), np.inf)
    dark = figure.looks.trim.lens_depth > 0.6
    landmarks = {
        count: _keypoints(points, camera, truth, lens, size, dark)
        for count, points in figure.landmarks.items()
    }
    mesh = figure.face[:VERTICES]
    unhidden = _keypoints(mesh, camera, truth, lens, size, dark)
    return WorldPortrait(
        picture,
        LabelMap(labels),
        landmarks,
        _box(figure, camera, landmarks, size),
        FaceVertices(in_pixels(camera.project(mesh, size), size * camera.focal), unhidden.visible),
        _uv(figure, labels, chosen),
        depth.astype(np.float32),
        figure.attributes | {"background": place},
    )


def before_camera(
    streams: Sequence[Rng],
    heads: Heads | None = None,
    pose: Pose | None = None,
    room: float = 1.0,
) -> tuple[Figure, Camera]:
    """Return the person whom the first two streams of a seed draw, and the camera before them."""
    figure = draw_figure(streams[0], heads or builtin_heads(), pose)
    return figure, _frame(figure, streams[1], room)


@cache
def builtin_heads() -> Heads:
    """Return the head model of the package, loaded once."""
    return load_heads()


def _bake(figure: Figure, sky: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bake the solid part; strands take the light of their roots."""
    surface = figure.surface
    n, light = figure.solids, np.zeros_like(surface.position)
    light[:n] = bake(surface.position[:n], surface.normal[:n], figure.casters, sky)
    light[n:] = light[figure.rooted]
    return light


def _draw(camera: Camera, position: Any, triangles: Any, size: int) -> Layer:
    layer = Layer.empty(size * SAMPLES, size * SAMPLES)
    if len(triangles):
        layer.draw(camera.project(position, size * SAMPLES), triangles, 0)
    return layer


def _draw_figure(camera: Camera, figure: Figure, size: int) -> tuple[Layer, Layer]:
    """Return what is seen, and the same without lashes: those have no class and hide no truth."""
    points = camera.project(figure.surface.position, size * SAMPLES)
    triangles = figure.surface.triangles
    first = len(triangles) - figure.lashes
    truth = Layer.empty(size * SAMPLES, size * SAMPLES)
    truth.draw(points, triangles[:first], 0)
    seen = truth.copy()
    seen.draw(points, triangles[first:], 1)
    seen.triangle[seen.owner == 1] += first
    return seen, truth


def _frame(figure: Figure, rng: Rng, room: float) -> Camera:
    """Put the camera before the face and lay the aligned frame, jittered, over its picture."""
    angle = np.radians(rng.uniform(20, 45))
    five = figure.landmarks[5].astype(np.float64)  # subject's right eye first
    distance = 1.45 / np.tan(angle / 2) + float(five[:, 2].mean())
    flat = np.stack([five[:, 0], -five[:, 1]], 1) / (distance - five[:, 2:])
    quad = ffhq_quad(flat[0], flat[1], (flat[3] + flat[4]) / 2)
    middle, turn = quad.mean(axis=0), rng.normal(0, np.radians(2.5))
    cos, sin = np.cos(turn), np.sin(turn)
    side = np.hypot(*(quad[3] - quad[0]))
    quad = (quad - middle) @ np.array([[cos, sin], [-sin, cos]]) * np.exp(rng.normal(0, 0.035))
    quad = room * quad + middle + rng.normal(0, 0.015, 2) * side
    to_plane = np.vstack([crop_to_picture(quad, 1), [0, 0, 1]])
    return Camera(distance, np.linalg.inv(to_plane)[:2])


def _lighting(rng: Rng) -> tuple[NDArray[np.float64], ...]:
    """Draw the surroundings and one to three lamps; see `shading.Lights`."""
    warmth = rng.normal(0, 0.09)
    white = np.array([1 + warmth, 1.0, 1 - warmth])
    ambient = rng.uniform(0.10, 0.34)
    sky = ambient * np.stack(
        [
            white * rng.uniform(0.9, 1.9) * (1 + rng.normal(0, 0.08, 3)),
            np.full(3, rng.uniform(0.5, 1.0)) * (1 + rng.normal(0, 0.06, 3)),
            np.array([1.05, 1, 0.92]) * rng.uniform(0.2, 0.75),
        ]
    )
    azimuth = np.radians(rng.choice([-1, 1]) * rng.gamma(3.2, 13)).clip(-1.5, 1.5)
    height = np.radians(np.clip(rng.normal(32, 16), -10, 70))
    key = [np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)]
    fill = [-key[0] + 0.2, rng.uniform(-0.2, 0.5), 0.9]
    rim = [-np.sign(key[0]) * rng.uniform(0.7, 1.2), rng.uniform(0.1, 0.8), -rng.uniform(0.3, 1.0)]
    contrast = rng.uniform(0.0, 0.55)
    gel = 1 + rng.normal(0, 0.10, 3) * (1 if rng.random() < 0.75 else 2.5)
    levels = np.array(
        [rng.uniform(0.6, 1.2), 0.4 * contrast, rng.choice([0.0, 1.0]) * rng.uniform(0.3, 1.1)]
    )
    colour = np.stack([white * levels[0], white[::-1] * levels[1], gel * levels[2]])
    blur = np.array([rng.uniform(0.7, 2.6), 2.6, 1.5])
    box = np.array([rng.uniform(0.05, 0.17), 0.09, 0.05])
    return sky, unit([key, fill, rim]), np.maximum(colour, 0), blur, box


def _label(figure: Figure, layer: Layer, lens: Layer) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Return (S, S) labels and, per pixel, the nearest sample of the winning class.

    A pixel has the class of most of its samples; of equal ones, the class of the nearest sample.
    Single strands are given to what they cross afterwards.
    """
    classes = np.zeros(layer.triangle.shape, np.uint8)
    brows = np.array(CELEBAMASK19.values("l_brow", "r_brow"), np.uint8)
    classify(
        layer.triangle, layer.weights, figure.surface, figure.classes,
        frozen(figure.looks.skin), brows, _HAIR, classes,
    )  # fmt: skip
    # As in CelebAMask-HQ, eyes and brows seen through a lens keep their class.
    glass = lens.nearness > layer.nearness
    if figure.looks.trim.lens_depth <= 0.6:
        glass &= ~np.isin(classes, _SUBJECT_EYES)
    classes[glass] = CELEBAMASK19.value("eye_g")
    size = len(classes) // SAMPLES

    def block(values: Any) -> Any:
        shape = (size, SAMPLES, size, SAMPLES)
        return values.reshape(shape).transpose(0, 2, 1, 3).reshape(size, size, -1)

    four, near = block(classes), block(layer.nearness)
    votes = (four[..., :, None] == four[..., None, :]).sum(-1)
    best = (votes + near / (1 + near)).argmax(-1)[..., None]
    labels: NDArray[np.uint8] = np.take_along_axis(four, best, -1)[..., 0]
    index = block(np.arange(classes.size).reshape(classes.shape))
    index = np.take_along_axis(index, best, -1)[..., 0]
    nearness = np.where(glass, np.maximum(lens.nearness, layer.nearness), layer.nearness)
    return tresses(labels), {
        "nearness": nearness.ravel()[index],
        "triangle": np.where(glass, -1, layer.triangle).ravel()[index],
        "weights": layer.weights.reshape(-1, 2)[index],
    }


def tresses(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return labels without single strands of hair and the gaps between them.

    A person who draws a mask outlines tresses, and nobody sees from a photo of this size which of
    two pixels a strand crosses. Where the most frequent class of the 3x3 around it makes or unmakes
    a pixel hair, that class wins; eyes, brows, lips and thin things (glasses, earrings, necklaces)
    keep every pixel.

    Args:
        labels: (S, S) uint8, CelebAMask-HQ order.
    """
    votes = np.stack(
        [cv2.filter2D((labels == c).astype(np.uint8), -1, _MIDDLE_FIRST) for c in _STRANDS_CROSS]
    )
    winners = np.array(_STRANDS_CROSS, np.uint8)[votes.argmax(0)]
    hair = (labels == _HAIR) != (winners == _HAIR)
    return np.where(hair & np.isin(labels, _STRANDS_CROSS), winners, labels)


def _uv(figure: Figure, labels: NDArray[np.uint8], chosen: dict[str, Any]) -> UVMap:
    """Interpolate the head's texture positions."""
    triangle = chosen["triangle"]
    covered = (triangle >= 0) & (triangle < figure.head)
    covered &= ~np.isin(labels, CELEBAMASK19.values("background", "hat"))
    two = chosen["weights"]
    three = np.concatenate([two, 1 - two.sum(-1, keepdims=True)], -1)
    corners = figure.surface.uv[np.where(covered, triangle, 0)]
    uv = np.einsum("hwk,hwkc->hwc", three, corners).clip(0, 1) * covered[..., None]
    return UVMap(uv.astype(np.float32), covered)


def _keypoints(
    points: Any, camera: Camera, layer: Layer, lens: Layer, size: int, dark: bool
) -> Keypoints:
    """Project landmarks; one is visible where nothing lies more than 8 mm in front of it."""
    projected = camera.project(points, size)
    xy = projected[:, :2]
    column = np.floor(xy[:, 0] * SAMPLES).astype(int)
    row = np.floor(xy[:, 1] * SAMPLES).astype(int)
    side = layer.nearness.shape[0]
    inside = (column >= 1) & (column < side - 1) & (row >= 1) & (row < side - 1)
    c, r = column.clip(1, side - 2), row.clip(1, side - 2)
    hood = np.stack([layer.nearness[r + i, c + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    visible = inside & (1 / np.maximum(hood.min(0), 1e-6) > projected[:, 2] - 0.08)
    if dark:
        visible &= lens.nearness[r, c] < 1 / projected[:, 2]
    return Keypoints(xy.astype(np.float32), visible)


def _box(figure: Figure, camera: Camera, landmarks: dict[int, Keypoints], size: int) -> Boxes:
    """Bound the facial skin, in front or not, and all landmarks."""
    points = camera.project(figure.face, size)[:, :2]
    points = np.concatenate([points, landmarks[68].xy, landmarks[98].xy])
    xyxy = np.concatenate([points.min(0), points.max(0)]).astype(np.float32)
    return Boxes(xyxy[None], np.ones(1, np.float32))
