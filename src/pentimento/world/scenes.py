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

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19
from pentimento.structures import Boxes, Keypoints, LabelMap, UVMap
from pentimento.world.actors import Actor, Posed, hire, posed
from pentimento.world.face_mesh import VERTICES, FaceVertices, in_pixels
from pentimento.world.heads import Heads, load_heads
from pentimento.world.layout import FACE, Layout, Person, Thing, draw_layout
from pentimento.world.light import cast, cross, frozen, unit
from pentimento.world.mesh import vertex_normals
from pentimento.world.props import Prop, make_prop, shade_prop
from pentimento.world.raster import Camera, Layer
from pentimento.world.resolve import SAMPLES, average, elect, spare, spread, windows
from pentimento.world.shading import classify, glaze, shade
from pentimento.world.snapshot import snapshot
from pentimento.world.stage import trace
from pentimento.world.textures import noise_table

Rng = np.random.Generator


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
        (13, "clock", (175, 116, 175)), (14, "picture", (250, 0, 30)),
        (15, "balloon", (165, 42, 42)), (16, "fruit", (255, 77, 255)),
        (17, "screen", (0, 226, 252)), (18, "bag", (182, 182, 255)), (19, "plate", (0, 82, 0)),
        (20, "sign", (120, 166, 157)), (101, "wall", (110, 76, 0)),
        (102, "floor", (174, 57, 255)), (103, "ceiling", (199, 100, 0)),
        (104, "curtain", (72, 0, 118)), (105, "wood", (255, 179, 240)),
        (106, "brick", (0, 125, 92)), (107, "window", (209, 0, 151)),
        (108, "shelf", (188, 208, 182)), (109, "sky", (0, 220, 176)),
        (110, "tree", (255, 99, 164)), (111, "grass", (92, 0, 73)),
        (112, "road", (133, 129, 255)), (113, "sand", (78, 180, 255)),
        (114, "water", (0, 228, 0)), (115, "building", (174, 255, 243)),
        (116, "stone", (45, 89, 255)), (117, "carpet", (134, 134, 103)),
        (118, "clutter", (145, 148, 174)),
    )
)  # fmt: skip
"""Things have ids from 1, stuff from 101; the ids are those of every export and stay for ever."""

CATEGORY_IDS: Final = {category.name: category.id for category in CATEGORIES}

STUFF: Final = 1000
"""Added to a category of stuff to give the id of its segment."""
_NOISE: Final = noise_table()
_EYES: Final = CELEBAMASK19.values("l_eye", "r_eye", "l_brow", "r_brow")
_DARK: Final = 0.6  # lenses darker than this hide the eyes
# What throws a person's shadow on the place: spheres so far below the face, with these radii.
_SHADOWS: Final = ((0.3, 1.15), (3.2, 1.8), (6.3, 1.6), (9.5, 1.1), (12.5, 1.0), (15.2, 0.9))


@dataclass(frozen=True)
class SceneFace:
    """A face of a scene.

    Attributes:
        box: left, top, right, bottom of the whole face, forehead to chin, also where it is hidden
            or outside of the picture.
        landmarks: 5, 68, 98 → points; `visible` is False behind anything and outside.
        vertices: of the face's mesh (`Heads.face`); `visible` likewise.
        pose: yaw to the subject's left, pitch up, roll to the subject's right shoulder; degrees,
            in the camera's axes.
        interocular: pixels between the outer corners of the eyes (points 36 and 45 of 68).
        visible: the share of the face's side towards the camera that is seen, 0..1; 0 for somebody
            who is turned away.
    """

    box: tuple[float, float, float, float]
    landmarks: dict[int, Keypoints]
    vertices: FaceVertices
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


def scene(seed: int, size: int | tuple[int, int] = 256, heads: Heads | None = None) -> WorldScene:
    """Render the scene of a seed.

    Args:
        seed: >= 0; the same seed gives the same bytes.
        size: side, or (height, width), at least 32.
        heads: which head model; the built-in one by default.

    Raises:
        ValueError: a negative seed or a size below 32.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if seed < 0 or min(height, width) < 32:
        raise ValueError(f"expected seed >= 0 and size >= 32, got seed {seed} and size {size}")
    streams = [np.random.Generator(np.random.PCG64([seed, 7, part])) for part in range(5)]
    layout = draw_layout(streams[:4], CATEGORY_IDS, height, width)
    heads = heads or builtin_heads()
    actors = [hire(heads, person.number, detail(layout.camera, person)) for person in layout.people]
    return develop(draw(layout, actors, height, width), streams[4])


@cache
def builtin_heads() -> Heads:
    """Return the head model of the package, loaded once."""
    return load_heads()


@dataclass(frozen=True)
class Drawing:
    """A scene drawn, before a camera has spoilt it.

    Attributes:
        layout: what was drawn.
        light: (H, W, 3) linear radiance.
        people: in the layout's order.
        things: in the layout's order, in the camera's frame.
        layer: what is nearest at every sample; owners count people, then things.
        lens: the same of spectacle lenses.
        sample: (H, W) number of the sample that speaks for each pixel, row by row.
        owner: (H, W) of that sample; -1 for the place.
        classes: (H, W) CelebAMask-HQ class of that sample.
        triangle: (H, W) of the owner.
        weights: (H, W, 2) in that triangle.
        nearness: (H, W).
        code: (H, W) of the place, see `stage.trace`.
        depth: (H, W) of the place.
    """

    layout: Layout
    light: NDArray[np.float32]
    people: list[Posed]
    things: list[Prop]
    layer: Layer
    lens: Layer
    sample: NDArray[np.int64]
    owner: NDArray[np.int16]
    classes: NDArray[np.uint8]
    triangle: NDArray[np.int32]
    weights: NDArray[np.float32]
    nearness: NDArray[np.float32]
    code: NDArray[np.int32]
    depth: NDArray[np.float32]


def draw(layout: Layout, actors: list[Actor], height: int, width: int) -> Drawing:
    """Draw a plan with an actor for every person."""
    layer = Layer.empty(height * SAMPLES, width * SAMPLES)
    lens = Layer.empty(height * SAMPLES, width * SAMPLES)
    people, things = [], []
    for number, (person, actor) in enumerate(zip(layout.people, actors, strict=True)):
        shape = posed(actor, person.stance)
        people.append(shape)
        points = layout.camera.project(
            person.scale * shape.surface.position + person.place, SAMPLES
        )
        layer.draw(points, shape.surface.triangles, number)
        glass = person.scale * shape.lens.vertices + person.place
        lens.draw(layout.camera.project(glass, SAMPLES), shape.lens.triangles, number)
    for number, thing in enumerate(layout.things, len(people)):
        prop = _stand(thing)
        things.append(prop)
        layer.draw(layout.camera.project(prop.position, SAMPLES), prop.triangles, number)

    light, code, depth = _place(layout, people, things, height, width)
    samples = light.repeat(SAMPLES, 0).repeat(SAMPLES, 1)
    classes = np.zeros(layer.triangle.shape, np.uint8)
    for number, (top, bottom, left, right) in enumerate(
        windows(layer.owner, len(people) + len(things)).tolist()
    ):
        window = (slice(top, bottom), slice(left, right))
        if top >= bottom:
            continue
        if number < len(people):
            person, shape = layout.people[number], people[number]
            _shade_person(number, window, person, shape, layout, layer, lens, samples, classes)
        else:
            _shade_thing(number, window, things[number - len(people)], layout, layer, samples)
    chosen = elect(layer.owner, classes, layer.nearness)
    return Drawing(
        layout=layout,
        light=average(samples),
        people=people,
        things=things,
        layer=layer,
        lens=lens,
        sample=chosen,
        owner=layer.owner.ravel()[chosen],
        classes=classes.ravel()[chosen],
        triangle=layer.triangle.ravel()[chosen],
        weights=layer.weights.reshape(-1, 2)[chosen],
        nearness=layer.nearness.ravel()[chosen],
        code=code,
        depth=depth,
    )


def detail(camera: Camera, person: Person) -> str:
    """Return how finely somebody has to be drawn: by the height of the face in pixels."""
    pixels = np.hypot(*camera.crop[:, 0]) * FACE * person.scale / -person.place[2]
    return "full" if pixels > 84 else "middle" if pixels > 26 else "coarse"


def _stand(thing: Thing) -> Prop:
    """Return a thing where it stands."""
    prop = make_prop(thing.name, thing.number)
    a, b = np.radians([thing.turn, thing.lean])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    turn = (about_z @ about_y).T.astype(np.float32)
    place = thing.place.astype(np.float32)
    return prop._replace(
        position=np.ascontiguousarray(thing.scale * (prop.position @ turn) + place, np.float32),
        normal=np.ascontiguousarray(prop.normal @ turn),
    )


def _place(
    layout: Layout, people: list[Posed], things: list[Prop], height: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.float32]]:
    """Return light (H, W, 3), code and depth (H, W) of the place, out of focus as it is."""
    spheres = []
    for person, shape in zip(layout.people, people, strict=True):
        turn = shape.stance.matrix()
        for drop, radius in _SHADOWS:
            middle = turn @ np.array([0, -drop, -0.6 if drop > 1 else 0])
            spheres.append([*(person.place + person.scale * middle), person.scale * radius])
    for prop in things:
        low, high = prop.position.min(0), prop.position.max(0)
        spheres.append([*((low + high) / 2), 0.4 * float(np.sort(high - low)[1])])
    full = np.vstack([layout.camera.crop, [0, 0, 1]])
    light = np.zeros((height, width, 3), np.float32)
    code, depth = np.zeros((height, width), np.int32), np.zeros((height, width), np.float32)
    stage, lamps = layout.stage, layout.lamps
    trace(
        np.ascontiguousarray(np.linalg.inv(full)[:2]), layout.eye, stage.planes, stage.panels,
        stage.tiles, np.array(spheres, np.float64).reshape(-1, 4), lamps.direction, lamps.colour,
        frozen(lamps.sky), lamps.soft, lamps.pool, lamps.flash, light, code, depth,
    )  # fmt: skip
    radius = stage.blur * min(height, width)
    if radius <= 0.6:
        # One ray per pixel: soften the stairs of its edges.
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), 0.55), np.float32)
    else:
        side = 2 * int(np.ceil(radius)) + 1
        y, x = np.mgrid[:side, :side] - side // 2
        disc = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
        light = np.asarray(
            cv2.filter2D(light, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT), np.float32
        )
    return light, code, depth


def _shade_person(
    number: int, window: tuple[slice, slice], person: Person, shape: Posed, layout: Layout,
    layer: Layer, lens: Layer, samples: Any, classes: Any,
) -> None:  # fmt: skip
    """Write colour and class of the samples that show somebody."""
    lamps = layout.lamps
    mine = layer.owner[window] == number
    triangle = np.where(mine, layer.triangle[window], -1).astype(np.int32)
    near = np.ascontiguousarray(layer.nearness[window])
    weights = np.ascontiguousarray(layer.weights[window])
    # The shader wants the camera on the z axis: turn everything about the face.
    distance = float(np.linalg.norm(person.place)) / person.scale
    ahead = unit(-person.place)
    right = unit(np.cross((0.0, 1, 0), ahead))
    turn = np.stack([right, np.cross(ahead, right), ahead]).T

    def turned(values: Any) -> Any:
        return np.ascontiguousarray(values @ turn.astype(np.float32))

    surface = shape.surface._replace(
        position=turned(shape.surface.position),
        normal=turned(shape.surface.normal),
        tangent=turned(shape.surface.tangent),
        light=(shape.surface.light @ lamps.sky).astype(np.float32),
    )
    eyes = shape.looks.eyes
    looks = shape.looks._replace(
        eyes=eyes._replace(centre=eyes.centre @ turn, gaze=eyes.gaze @ turn)
    )
    dim = (lamps.flash[0] / (distance * person.scale)) ** lamps.flash[1]
    direction = np.ascontiguousarray(lamps.direction @ turn)
    # The first lamp throws shadows; the others are too weak to tell, and on the small not drawn.
    colour = dim * lamps.colour * (np.arange(len(direction)) < (3 if shape.fine else 1))[:, None]
    first = colour * (np.arange(len(direction)) == 0)[:, None]
    solid = surface.position[: shape.casters.max() + 1]
    lights = cast(solid, shape.casters, direction, first, lamps.blur, lamps.box, lamps.sky)
    lights = lights._replace(colour=frozen(colour))
    sparse = np.empty_like(triangle)
    spare(triangle, near, surface.material, mine, sparse)
    out = np.zeros((*triangle.shape, 3), np.float32)
    shade(sparse, near, weights, surface, lights, frozen(looks), _NOISE, distance, out)
    spread(sparse, out, samples[window])
    found = np.zeros(triangle.shape, np.uint8)
    brows = np.array(CELEBAMASK19.values("l_brow", "r_brow"), np.uint8)
    classify(
        triangle, weights, surface, shape.classes, frozen(looks.skin), brows,
        CELEBAMASK19.value("hair"), found,
    )  # fmt: skip
    glass = np.where(mine & (lens.owner[window] == number), lens.nearness[window], np.float32(0))
    if glass.any():
        colours = samples[window].copy()
        glaze(
            glass, np.ascontiguousarray(lens.triangle[window]),
            np.ascontiguousarray(lens.weights[window]), near, turned(shape.lens.vertices),
            turned(vertex_normals(shape.lens.vertices, shape.lens.triangles)), shape.lens.triangles,
            lights, frozen(looks.trim), distance, colours,
        )  # fmt: skip
        samples[window][mine] = colours[mine]
        # As in portraits, eyes and brows seen through a clear lens keep their class.
        through = np.isin(found, _EYES) & (looks.trim.lens_depth <= _DARK)
        found[(glass > near) & ~through] = CELEBAMASK19.value("eye_g")
    classes[window][mine] = found[mine]


def _shade_thing(
    number: int, window: tuple[slice, slice], prop: Prop, layout: Layout, layer: Layer, samples: Any
) -> None:
    """Write the colour of the samples that show something."""
    mine = layer.owner[window] == number
    triangle = np.where(mine, layer.triangle[window], -1).astype(np.int32)
    lamps = layout.lamps
    far = max(1.0, -float(prop.position[:, 2].mean()))
    dim = (lamps.flash[0] / far) ** lamps.flash[1]
    out = np.zeros((*triangle.shape, 3), np.float32)
    shade_prop(
        triangle, np.ascontiguousarray(layer.weights[window]), prop, frozen(lamps.sky),
        lamps.direction,
        dim * lamps.colour, float(np.hypot(*layout.camera.crop[:, 0])), out,
    )  # fmt: skip
    samples[window][mine] = out[mine]


def develop(drawing: Drawing, rng: Rng, noise: Rng | None = None) -> WorldScene:
    """Take the picture of a drawing and write down its truths; chance as in `snapshot`."""
    layout, owner = drawing.layout, drawing.owner
    height, width = owner.shape
    count = len(drawing.people) + len(drawing.things)
    # Things are numbered as they are drawn: people, things, then what hangs on walls.
    hung = np.where(drawing.code < 0, count - drawing.code, STUFF + drawing.code)
    panoptic = np.where(owner >= 0, owner.astype(np.int32) + 1, hung).astype(np.int32)
    depth = np.where(owner >= 0, 1 / np.maximum(drawing.nearness, 1e-6), drawing.depth)
    parts = np.zeros((height, width), np.uint8)
    uv = np.zeros((height, width, 2), np.float32)
    faces = []
    for number, (person, shape) in enumerate(zip(layout.people, drawing.people, strict=True)):
        faces.append(_face(number, person, shape, drawing))
        mine = owner == number
        triangle, two = drawing.triangle[mine], drawing.weights[mine]
        three = np.concatenate([two, 1 - two.sum(-1, keepdims=True)], -1)
        seen = drawing.classes[mine] != CELEBAMASK19.value("eye_g")
        parts[mine] = shape.part[triangle] * seen
        at = (three[..., None] * shape.surface.uv[triangle]).sum(1).clip(0, 1)
        uv[mine] = at * (parts[mine] > 0)[:, None]
    names = ["person"] * len(faces) + [thing.name for thing in layout.things]
    seen = [face for face in faces if face.visible > 0]
    return WorldScene(
        picture=snapshot(drawing.light, rng, noise),
        panoptic=panoptic,
        segments=_segments(panoptic, [*names, *layout.stage.things], faces),
        faces=Boxes(
            np.array([face.box for face in seen], np.float32).reshape(-1, 4),
            np.array([face.visible for face in seen], np.float32),
        ),
        labels=LabelMap(drawing.classes),
        parts=parts,
        uv=UVMap(uv, parts > 0),
        depth=depth.astype(np.float32),
        attributes=layout.attributes,
    )


def _segments(
    panoptic: NDArray[np.int32], names: list[str], faces: list[SceneFace]
) -> tuple[Segment, ...]:
    """Return what has at least a pixel, by id."""
    segments = []
    for identity in np.flatnonzero(np.bincount(panoptic.ravel())).tolist():
        mask = panoptic == identity
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        thing = identity < STUFF
        segments.append(
            Segment(
                id=identity,
                category=CATEGORY_IDS[names[identity - 1]] if thing else identity - STUFF,
                thing=thing,
                box=(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1),
                area=int(mask.sum()),
                face=faces[identity - 1] if identity <= len(faces) else None,
            )
        )
    return tuple(segments)


def _face(number: int, person: Person, shape: Posed, drawing: Drawing) -> SceneFace:
    """Return the truths of a face."""
    camera, layer, lens = drawing.layout.camera, drawing.layer, drawing.lens
    dark = shape.looks.trim.lens_depth > _DARK

    def seen_at(points: Any) -> NDArray[np.float64]:
        return camera.project(person.scale * shape.stance(points) + person.place, 1)

    def unhidden(projected: NDArray[np.float64]) -> NDArray[np.bool_]:
        visible = _unhidden(projected, person.scale, layer)
        if dark:
            c, r = (projected[:, axis].clip(0, side - 1) * SAMPLES
                    for axis, side in enumerate(drawing.owner.shape[::-1]))  # fmt: skip
            c, r = c.astype(int), r.astype(int)
            visible &= (lens.owner[r, c] != number) | (lens.nearness[r, c] * projected[:, 2] < 1)
        return visible

    placed = {count: seen_at(points) for count, points in shape.landmarks.items()}
    landmarks = {
        count: Keypoints(points[:, :2].astype(np.float32), unhidden(points))
        for count, points in placed.items()
    }
    outline = seen_at(shape.face)
    mesh = outline[:VERTICES]
    points = np.concatenate([outline[:, :2].astype(np.float32), landmarks[68].xy, landmarks[98].xy])
    left, top, right, bottom = np.concatenate([points.min(0), points.max(0)]).tolist()
    eyes = landmarks[68].xy[[36, 45]]
    return SceneFace(
        box=(left, top, right, bottom),
        landmarks=landmarks,
        vertices=FaceVertices(in_pixels(mesh, camera.focal), unhidden(mesh)),
        pose=shape.stance.head_angles(),
        interocular=float(np.linalg.norm(eyes[1] - eyes[0])),
        visible=_visible(person, shape, camera, layer),
    )


def _unhidden(projected: Any, scale: float, layer: Layer) -> NDArray[np.bool_]:
    """Return (N,) bool: is a point inside, with nothing more than 8 mm in front of it?"""
    rows, columns = layer.nearness.shape
    c = np.floor(projected[:, 0] * SAMPLES).astype(int)
    r = np.floor(projected[:, 1] * SAMPLES).astype(int)
    inside = (c >= 0) & (c < columns) & (r >= 0) & (r < rows)
    c, r = c.clip(1, columns - 2), r.clip(1, rows - 2)
    hood = np.stack([layer.nearness[r + i, c + j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    front = 1 / np.maximum(hood.min(0), 1e-6)
    return np.asarray(inside & (front > projected[:, 2] - 0.08 * scale))


def _visible(person: Person, shape: Posed, camera: Camera, layer: Layer) -> float:
    """Return the share of the face's side towards the camera that is seen."""
    surface = shape.surface
    corners = surface.position[surface.triangles[shape.facial]].astype(np.float64)
    corners = person.scale * corners + person.place
    middle = corners.mean(1)
    normal = cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    # Projected area: the cosine to the viewer over the square of the distance.
    facing = np.maximum(-(normal * middle).sum(1), 0) / (middle**2).sum(1) ** 1.5
    if not facing.sum() > 0:
        return 0.0
    shown = _unhidden(camera.project(middle, 1), person.scale, layer)
    return float((facing * shown).sum() / facing.sum())
