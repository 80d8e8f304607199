"""Scenes with every truth: people and things in a place, masks, boxes, landmarks, UV, depth.

A seed draws a place (`stage`), the people (`actors`) and things (`props`) in it, a camera, light
and what a cheap camera does to all that. Everything that is seen is ray-traced or drawn into one
z-buffer, so masks, depth and dense coordinates are those of the samples that make up the picture.

Frame: decimetres, the camera at the origin; x right, y up, z towards the viewer: what is seen has
z < 0. Alphabet: H, W pixels; samples are a 2H x 2W grid, four to a pixel.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19
from pentimento.structures import Boxes, Keypoints, LabelMap, UVMap
from pentimento.world.actors import Actor, Stance, hire, posed
from pentimento.world.figure import Pose
from pentimento.world.heads import Heads, load_heads
from pentimento.world.light import cast, unit
from pentimento.world.photograph import encode
from pentimento.world.raster import Camera, Layer
from pentimento.world.shading import Looks, Surface, classify, shade
from pentimento.world.textures import noise_table

Rng = np.random.Generator
SAMPLES: Final = 2
"""Samples per pixel and axis."""


@dataclass(frozen=True)
class Category:
    """A kind of segment.

    Attributes:
        id: never changes; new categories get new numbers.
        name: in lower case.
        thing: can it be counted? Otherwise it is stuff, one segment per picture.
        colour: RGB of overlays.
    """

    id: int
    name: str
    thing: bool
    colour: tuple[int, int, int]


CATEGORIES: Final[tuple[Category, ...]] = tuple(
    Category(number, name, number < 100, colour)
    for number, name, colour in (
        (1, "person", (220, 20, 60)), (2, "ball", (119, 11, 32)), (3, "bottle", (0, 0, 142)),
        (4, "cup", (0, 0, 230)), (5, "bowl", (106, 0, 228)), (6, "book", (0, 60, 100)),
        (7, "chair", (0, 80, 100)), (8, "table", (0, 0, 70)), (9, "vase", (0, 0, 192)),
        (10, "plant", (250, 170, 30)), (11, "box", (100, 170, 30)), (12, "lamp", (220, 220, 0)),
        (13, "clock", (175, 116, 175)), (14, "picture", (250, 0, 30)), (15, "balloon", (165, 42, 42)),
        (16, "fruit", (255, 77, 255)), (17, "screen", (0, 226, 252)), (18, "bag", (182, 182, 255)),
        (19, "plate", (0, 82, 0)), (20, "sign", (120, 166, 157)),
        (101, "wall", (110, 76, 0)), (102, "floor", (174, 57, 255)), (103, "ceiling", (199, 100, 0)),
        (104, "curtain", (72, 0, 118)), (105, "wood", (255, 179, 240)), (106, "brick", (0, 125, 92)),
        (107, "window", (209, 0, 151)), (108, "shelf", (188, 208, 182)), (109, "sky", (0, 220, 176)),
        (110, "tree", (255, 99, 164)), (111, "grass", (92, 0, 73)), (112, "road", (133, 129, 255)),
        (113, "sand", (78, 180, 255)), (114, "water", (0, 228, 0)), (115, "building", (174, 255, 243)),
        (116, "stone", (45, 89, 255)), (117, "carpet", (134, 134, 103)), (118, "clutter", (145, 148, 174)),
    )
)  # fmt: skip
"""Things have ids from 1, stuff from 101; the ids are those of every export and stay for ever."""

CATEGORY_IDS: Final = {category.name: category.id for category in CATEGORIES}

PARTS: Final = (
    "none", "face", "nose", "u_lip", "l_lip", "mouth", "l_eye", "r_eye", "l_ear", "r_ear", "neck",
    "torso", "l_upper_arm", "r_upper_arm", "l_lower_arm", "r_lower_arm", "l_hand", "r_hand",
    "l_upper_leg", "r_upper_leg", "l_lower_leg", "r_lower_leg", "l_foot", "r_foot",
)  # fmt: skip
"""The I of IUV: what `WorldScene.parts` counts. Left and right are the subject's. Up to `neck` the
U and V are those of the head's one atlas, as in portraits; every later part has a chart of its own.
"""

_PART_OF_CLASS: Final = np.array(
    [
        PARTS.index({"skin": "face"}.get(name, name if name in PARTS else "none"))
        for name in CELEBAMASK19.classes
    ],
    np.uint8,
)
_NOISE: Final = noise_table()
_FACE_CLASSES: Final = CELEBAMASK19.values(
    "skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"
)


@dataclass(frozen=True)
class SceneFace:
    """A face of a scene.

    Attributes:
        box: left, top, right, bottom of the whole face, forehead to chin, also where it is hidden
            or outside of the picture.
        landmarks: 5, 68, 98 → points; `visible` is False behind anything and outside.
        pose: yaw to the subject's left, pitch up, roll to the subject's right shoulder; degrees,
            in the camera's axes.
        interocular: pixels between the outer corners of the eyes (points 36 and 45 of 68).
        visible: the share of the face's side towards the camera that is seen, 0..1; 0 for somebody
            who is turned away.
    """

    box: tuple[float, float, float, float]
    landmarks: dict[int, Keypoints]
    pose: tuple[float, float, float]
    interocular: float
    visible: float


@dataclass(frozen=True)
class Segment:
    """One thing, or all of one kind of stuff.

    Attributes:
        id: its value in the panoptic map, >= 1.
        category: id in `CATEGORIES`.
        thing: False for stuff.
        box: tight box of its pixels: left, top, right, bottom, the latter two exclusive.
        area: its pixels.
        face: of a person.
    """

    id: int
    category: int
    thing: bool
    box: tuple[int, int, int, int]
    area: int
    face: SceneFace | None = None


@dataclass(frozen=True)
class WorldScene:
    """A rendered scene and its truths. H, W: height and width.

    Attributes:
        picture: (H, W, 3) uint8 sRGB.
        panoptic: (H, W) int32 ids of segments; 0 = void, which does not occur.
        segments: everything with at least one pixel, things first.
        faces: boxes of the faces of which something is seen; a score is the share that is seen.
        labels: (H, W) the 19 classes of portraits on every person, background elsewhere.
        parts: (H, W) uint8 index into `PARTS`; 0 on hair, hats, glasses and where nobody is.
        uv: U and V of that part; covered exactly where `parts` > 0.
        depth: (H, W) float32 decimetres along the optical axis; inf in the sky.
        attributes: what was drawn.
    """

    picture: NDArray[np.uint8]
    panoptic: NDArray[np.int32]
    segments: tuple[Segment, ...]
    faces: Boxes
    labels: LabelMap
    parts: NDArray[np.uint8]
    uv: UVMap
    depth: NDArray[np.float32]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Person:
    """Somebody in front of the camera; `place` is where the face is."""

    actor: Actor
    stance: Stance
    place: NDArray[np.float64]


def scene(seed: int, size: int | tuple[int, int] = 256, heads: Heads | None = None) -> WorldScene:
    """Render the scene of a seed.

    Args:
        seed: >= 0; the same seed gives the same bytes, another size the same scene.
        size: side, or (height, width), at least 32.
        heads: which head model; the built-in one by default.

    Raises:
        ValueError: a negative seed or a size below 32.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if seed < 0 or min(height, width) < 32:
        raise ValueError(f"expected seed >= 0 and size >= 32, got seed {seed} and size {size}")
    streams = [np.random.Generator(np.random.PCG64([seed, 7, part])) for part in range(4)]
    focal = float(np.sqrt(height * width)) / (2 * np.tan(np.radians(streams[0].uniform(14, 32))))
    crop = np.array([[focal, 0, width / 2], [0, focal, height / 2]])
    camera = Camera(0.0, crop)
    people = _people(streams[1], heads or _builtin_heads(), focal, height, width)
    return _render(people, camera, streams, height, width)


@cache
def _builtin_heads() -> Heads:
    return load_heads()


def _people(rng: Rng, heads: Heads, focal: float, height: int, width: int) -> list[_Person]:
    """Draw who is there."""
    count = int(rng.choice(9, p=[0.1, 0.2, 0.2, 0.14, 0.1, 0.08, 0.07, 0.06, 0.05]))
    people = []
    for _ in range(count):
        side = min(height, width)
        tall = float(np.exp(rng.uniform(np.log(0.03), np.log(0.85 if count < 3 else 0.35))))
        distance = focal * 1.9 / (tall * side)
        x, y = rng.uniform(0.05, 0.95) * width, rng.uniform(0.1, 0.8) * height
        place = distance * np.array([(x - width / 2) / focal, (height / 2 - y) / focal, -1])
        pixels = tall * side
        detail = "full" if pixels > 110 else "middle" if pixels > 28 else "coarse"
        actor = hire(heads, int(rng.integers(1 << 30)), detail)
        yaw = float(np.clip(rng.normal(0, 22), -80, 80))
        head = Pose(yaw, float(rng.normal(0, 7)), float(rng.normal(0, 6)), 0.4)
        stance = Stance(_centred(head, actor), 0.0, float(np.clip(rng.normal(0, 9), -40, 40)))
        people.append(_Person(actor, stance, place))
    return people


def _centred(head: Pose, actor: Actor) -> Pose:
    """Return the pose with the middle of the face at the origin."""
    middle = head(actor.landmarks[5]).mean(0) - [0, 0, 0.45]
    return Pose(head.yaw, head.pitch, head.roll, head.body, tuple(float(v) for v in middle))


def _render(
    people: list[_Person], camera: Camera, streams: list[Rng], height: int, width: int
) -> WorldScene:
    layer = Layer.empty(height * SAMPLES, width * SAMPLES)
    drawn = []
    for number, person in enumerate(people):
        surface, looks = posed(person.actor, person.stance)
        points = camera.project(surface.position + person.place, SAMPLES)
        layer.draw(points, surface.triangles, number)
        drawn.append((surface, looks))
    light, category, far = _stage(streams[2], camera, height, width)
    samples = light.repeat(SAMPLES, 0).repeat(SAMPLES, 1)
    classes = np.zeros(layer.triangle.shape, np.uint8)
    sky, direction, colour, blur, box = _lighting(streams[3])
    for number, (person, (surface, looks)) in enumerate(zip(people, drawn, strict=True)):
        _shade_person(
            number, person, surface, looks, layer, (sky, direction, colour, blur, box), samples,
            classes,
        )  # fmt: skip
    shape = (height, SAMPLES, width, SAMPLES, 3)
    picture = encode_plain(samples.reshape(shape).mean(axis=(1, 3)))
    chosen = _vote(layer, classes)
    return _truths(people, drawn, layer, chosen, category, far, picture, camera)


def encode_plain(light: Any) -> NDArray[np.uint8]:
    return np.rint(255 * encode(light.astype(np.float32))).astype(np.uint8)


def _stage(rng: Rng, camera: Camera, height: int, width: int) -> tuple[Any, Any, Any]:
    """Return light (H, W, 3), category (H, W) and depth (H, W) of the place."""
    y = np.linspace(0, 1, height)[:, None, None]
    top, low = rng.uniform(0.1, 0.8, 3), rng.uniform(0.1, 0.5, 3)
    light = np.broadcast_to(top + y * (low - top), (height, width, 3)).astype(np.float32)
    below = np.broadcast_to(y[..., 0] > rng.uniform(0.5, 1.1), (height, width))
    category = np.where(below, CATEGORY_IDS["floor"], CATEGORY_IDS["wall"]).astype(np.int32)
    return light, category, np.full((height, width), 200.0, np.float32)


def _window(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Return the rows and columns that bound a mask, starting evenly; None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    return slice(rows[0] & ~1, rows[-1] + 1), slice(columns[0] & ~1, columns[-1] + 1)


def _shade_person(
    number: int, person: _Person, surface: Surface, looks: Looks, layer: Layer, lamps: Any,
    samples: Any, classes: Any,
) -> None:  # fmt: skip
    window = _window(layer.owner == number)
    if window is None:
        return
    mine = layer.owner[window] == number
    triangle = np.where(mine, layer.triangle[window], -1).astype(np.int32)
    near = np.ascontiguousarray(layer.nearness[window])
    weights = np.ascontiguousarray(layer.weights[window])
    # The shader wants the camera on the z axis: turn everything about the face.
    distance = float(np.linalg.norm(person.place))
    ahead = -person.place / distance
    right = unit(np.cross((0.0, 1, 0), ahead))
    turn = np.stack([right, np.cross(ahead, right), ahead])
    sky, direction, colour, blur, box = lamps
    surface = surface._replace(light=(surface.light @ sky).astype(np.float32))

    def turned(values: Any) -> Any:
        return np.ascontiguousarray(values @ turn.T.astype(np.float32))

    there = surface._replace(
        position=turned(surface.position),
        normal=turned(surface.normal),
        tangent=turned(surface.tangent),
    )
    eyes = looks.eyes
    looks = looks._replace(eyes=eyes._replace(centre=eyes.centre @ turn.T, gaze=eyes.gaze @ turn.T))
    lights = cast(
        there.position, person.actor.casters, np.ascontiguousarray(direction @ turn.T), colour,
        blur, box, sky,
    )  # fmt: skip
    out = np.zeros((*triangle.shape, 3), np.float32)
    shade(triangle, near, weights, there, lights, looks, _NOISE, distance, out)
    samples[window][mine] = out[mine]
    brows = np.array(CELEBAMASK19.values("l_brow", "r_brow"), np.uint8)
    found = np.zeros(triangle.shape, np.uint8)
    classify(
        triangle, weights, there, person.actor.classes, looks.skin, brows,
        CELEBAMASK19.value("hair"), found,
    )  # fmt: skip
    classes[window][mine] = found[mine]


@dataclass(frozen=True)
class _Chosen:
    """The sample that speaks for each pixel (H, W): of the owner, then the class with most."""

    owner: NDArray[np.int16]
    classes: NDArray[np.uint8]
    triangle: NDArray[np.int32]
    weights: NDArray[np.float32]
    nearness: NDArray[np.float32]


def _vote(layer: Layer, classes: NDArray[np.uint8]) -> _Chosen:
    height, width = (side // SAMPLES for side in classes.shape)

    def block(values: Any) -> Any:
        shape = (height, SAMPLES, width, SAMPLES)
        return values.reshape(shape).transpose(0, 2, 1, 3).reshape(height, width, -1)

    owner, kind, near = block(layer.owner), block(classes), block(layer.nearness)
    same = owner[..., :, None] == owner[..., None, :]
    alike = same & (kind[..., :, None] == kind[..., None, :])
    best = (8 * same.sum(-1) + alike.sum(-1) + near / (1 + near)).argmax(-1)[..., None]
    index = block(np.arange(classes.size).reshape(classes.shape))
    index = np.take_along_axis(index, best, -1)[..., 0]
    return _Chosen(
        layer.owner.ravel()[index],
        classes.ravel()[index],
        layer.triangle.ravel()[index],
        layer.weights.reshape(-1, 2)[index],
        layer.nearness.ravel()[index],
    )


def _truths(
    people: list[_Person], drawn: list[tuple[Surface, Looks]], layer: Layer, chosen: _Chosen,
    category: Any, far: Any, picture: Any, camera: Camera,
) -> WorldScene:  # fmt: skip
    height, width = category.shape
    owned = chosen.owner >= 0
    panoptic = np.where(owned, chosen.owner + 1, 1000 + category).astype(np.int32)
    depth = np.where(owned, 1 / np.maximum(chosen.nearness, 1e-6), far).astype(np.float32)
    parts = np.zeros((height, width), np.uint8)
    uv = np.zeros((height, width, 2), np.float32)
    faces, segments = [], []
    for number, (person, (surface, _)) in enumerate(zip(people, drawn, strict=True)):
        faces.append(_face(person, surface, number, layer, camera, height, width))
        mine = chosen.owner == number
        triangle = chosen.triangle[mine]
        two = chosen.weights[mine]
        three = np.concatenate([two, 1 - two.sum(-1, keepdims=True)], -1)
        head = person.actor.head[triangle]
        part = np.where(head, _PART_OF_CLASS[chosen.classes[mine]], 0)
        parts[mine] = part
        uv[mine] = (three[..., None] * surface.uv[triangle]).sum(1).clip(0, 1) * (part > 0)[:, None]
    kinds = [CATEGORY_IDS["person"]] * len(people)
    for identity in np.unique(panoptic).tolist():
        mask = panoptic == identity
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        thing = identity < 1000
        segments.append(
            Segment(
                id=identity,
                category=kinds[identity - 1] if thing else identity - 1000,
                thing=thing,
                box=box,
                area=int(mask.sum()),
                face=faces[identity - 1] if thing else None,
            )
        )
    seen = [face for face in faces if face.visible > 0]
    boxes = Boxes(
        np.array([face.box for face in seen], np.float32).reshape(-1, 4),
        np.array([face.visible for face in seen], np.float32),
    )
    return WorldScene(
        picture, panoptic, tuple(segments), boxes, LabelMap(chosen.classes), parts,
        UVMap(uv, parts > 0), depth, {},
    )  # fmt: skip


def _face(
    person: _Person, surface: Surface, number: int, layer: Layer, camera: Camera, height: int,
    width: int,
) -> SceneFace:  # fmt: skip
    """Return the truths of a face."""
    place, stance, actor = person.place, person.stance, person.actor
    landmarks = {
        count: _keypoints(stance(points) + place, camera, layer)
        for count, points in actor.landmarks.items()
    }
    points = camera.project(stance(actor.face) + place, 1)[:, :2]
    points = np.concatenate([points, landmarks[68].xy, landmarks[98].xy])
    box = np.concatenate([points.min(0), points.max(0)]).tolist()
    eyes = landmarks[68].xy[[36, 45]]
    return SceneFace(
        box=(box[0], box[1], box[2], box[3]),
        landmarks=landmarks,
        pose=stance.head_angles(),
        interocular=float(np.linalg.norm(eyes[1] - eyes[0])),
        visible=_visible(person, surface, layer, camera),
    )


def _keypoints(points: Any, camera: Camera, layer: Layer) -> Keypoints:
    projected = camera.project(points, 1)
    return Keypoints(projected[:, :2].astype(np.float32), _unhidden(projected, layer))


def _unhidden(projected: Any, layer: Layer) -> NDArray[np.bool_]:
    """Return (N,) bool: is a point inside, with nothing more than 8 mm in front of it?"""
    rows, columns = layer.nearness.shape
    c = np.floor(projected[:, 0] * SAMPLES).astype(int)
    r = np.floor(projected[:, 1] * SAMPLES).astype(int)
    inside = (c >= 0) & (c < columns) & (r >= 0) & (r < rows)
    c, r = c.clip(1, columns - 2), r.clip(1, rows - 2)
    hood = np.stack([layer.nearness[r + i, c + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    return np.asarray(inside & (1 / np.maximum(hood.min(0), 1e-6) > projected[:, 2] - 0.08))


def _visible(person: _Person, surface: Surface, layer: Layer, camera: Camera) -> float:
    """Return the share of the face's side towards the camera that is seen."""
    actor = person.actor
    chosen = actor.head & np.isin(actor.classes, _FACE_CLASSES)
    corners = (surface.position[surface.triangles[chosen]] + person.place).astype(np.float64)
    middle = corners.mean(1)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = np.maximum(-(normal * middle).sum(1), 0) / (middle**2).sum(1) ** 1.5
    if not facing.sum() > 0:
        return 0.0
    shown = _unhidden(camera.project(middle, 1), layer)
    return float((facing * shown).sum() / facing.sum())


def _lighting(rng: Rng) -> tuple[Any, ...]:
    from pentimento.world.portraits import _lighting as draw

    return draw(rng)
