"""Who and what is where: the plan of a scene, before anything is drawn.

A plan is a few numbers per person and thing, so that clips can move them.

Frame as in `scenes`: decimetres, the camera at the origin, x right, y up, z towards the viewer.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pentimento.world.actors import Stance
from pentimento.world.bodies import draw_gesture
from pentimento.world.figure import Pose
from pentimento.world.light import unit
from pentimento.world.props import MAKERS, SMALL
from pentimento.world.raster import Camera
from pentimento.world.stage import Stage, draw_stage

Rng = np.random.Generator
Doubles = NDArray[np.float64]

FACE: Final = 1.95
"""Height of a face, forehead to chin, decimetres."""
STATURE: Final = 15.7
"""Height of the middle of the face over the ground."""


class Lamps(NamedTuple):
    """The light of a scene; see `light.Lights`.

    Attributes:
        sky: (3, 3).
        direction: (3, 3) unit.
        colour: (3, 3).
        blur: (3,).
        box: (3,).
        soft: width of shadows' edges per distance.
        pool: (5,) of `stage.trace`.
        flash: (2,) of `stage.trace`.
    """

    sky: Doubles
    direction: Doubles
    colour: Doubles
    blur: Doubles
    box: Doubles
    soft: float
    pool: Doubles
    flash: Doubles


@dataclass(frozen=True)
class Person:
    """Somebody.

    Attributes:
        number: who, see `actors.hire`.
        stance: how.
        place: (3,) where the middle of the face is.
        scale: 1 for an adult.
    """

    number: int
    stance: Stance
    place: Doubles
    scale: float


@dataclass(frozen=True)
class Thing:
    """Something.

    Attributes:
        name: of its category.
        number: which one, see `props.make_prop`.
        place: (3,) of its foot.
        turn: about y, degrees.
        lean: about the viewing axis, degrees.
        scale: 1 for its natural size.
    """

    name: str
    number: int
    place: Doubles
    turn: float
    lean: float
    scale: float


@dataclass(frozen=True)
class Layout:
    """The plan of a scene.

    Attributes:
        camera: at the origin.
        eye: (3,) where that is on the stage.
        people: places in the camera's frame.
        things: the same.
        stage: the place.
        lamps: the light.
        attributes: what was drawn, in words and numbers.
    """

    camera: Camera
    eye: Doubles
    people: tuple[Person, ...]
    things: tuple[Thing, ...]
    stage: Stage
    lamps: Lamps
    attributes: dict[str, Any]


def draw_layout(streams: list[Rng], ids: dict[str, int], height: int, width: int) -> Layout:
    """Draw a plan.

    Args:
        streams: sources of chance: camera and people, place, things, light.
        ids: name → id of every category.
        height: of the picture.
        width: of the picture.
    """
    rng = streams[0]
    side = min(height, width)
    focal = float(np.sqrt(height * width) / (2 * np.tan(np.radians(rng.uniform(12, 33)))))
    horizon = float(np.clip(rng.normal(0.5, 0.13), 0.1, 0.9)) * height
    roll = np.radians(rng.normal(0, 2.5) if rng.random() < 0.85 else rng.uniform(-18, 18))
    camera = _camera(focal, horizon, float(roll), height, width)
    count = int(rng.choice(9, p=[0.11, 0.25, 0.2, 0.13, 0.09, 0.07, 0.06, 0.05, 0.04]))
    loose = rng.random() < 0.16
    people, ground = _people(rng, camera, focal, height, width, count, loose, side)
    depths = [-person.place[2] for person in people] or [float(rng.uniform(15, 60))]
    half = 0.5 * width / focal
    stage = draw_stage(streams[1], ids, ground, min(depths), max(depths), half)
    things = _things(streams[2], people, ground, min(depths), max(depths), half, focal, stage)
    lamps = _lamps(streams[3], stage, people, min(depths), ground)
    attributes = {"place": stage.kind, "people": len(people), "loose": bool(loose)}
    return Layout(camera, np.zeros(3), tuple(people), tuple(things), stage, lamps, attributes)


def _camera(focal: float, horizon: float, roll: float, height: int, width: int) -> Camera:
    """Return a camera that looks straight ahead, shifted so that the horizon is where it is."""
    c, s = focal * np.cos(roll), focal * np.sin(roll)
    crop = np.array([[c, -s, width / 2], [s, c, height / 2]])
    drop = horizon - height / 2
    crop[:, 2] += drop * np.array([-np.sin(roll), np.cos(roll)])
    return Camera(0.0, crop)


def _at(camera: Camera, x: float, y: float, depth: float) -> Doubles:
    """Return the point (3,) that is seen at pixel (x, y) at a depth."""
    flat = np.linalg.solve(camera.crop[:, :2], np.array([x, y]) - camera.crop[:, 2])
    return np.array([depth * flat[0], -depth * flat[1], -depth])


def _stance(rng: Rng, loose: bool, looking: bool) -> Stance:
    turn = float(rng.normal(0, 24))
    kind = rng.random()
    if kind < 0.14 and not looking:
        turn = float(rng.uniform(-95, 95))
    elif kind < 0.2 and not looking:
        turn = float(rng.uniform(110, 250))
    yaw = float(np.clip(rng.normal(0, 16) - (0.7 * turn if looking or kind > 0.5 else 0), -55, 55))
    head = Pose(yaw, float(np.clip(rng.normal(-1, 8), -28, 24)),
                float(np.clip(rng.normal(0, 6), -22, 22)),
                float(rng.uniform(-0.1, 0.3)))  # fmt: skip
    lean = float(np.clip(rng.normal(0, 20 if loose else 3), -40, 40))
    return Stance(head, turn, lean, draw_gesture(rng))


def _people(
    rng: Rng, camera: Camera, focal: float, height: int, width: int, count: int, loose: bool,
    side: int,
) -> tuple[list[Person], float]:  # fmt: skip
    """Draw who is there and the height of the ground."""
    looking = rng.random() < 0.45
    cap = 0.95 if count < 3 else 0.6 if count < 5 else 0.35
    smallest = max(8.5 / side, 0.03)
    tall = float(np.exp(rng.uniform(np.log(smallest), np.log(cap))))
    child = rng.random(9) < 0.14
    scales = np.where(child, rng.uniform(0.68, 0.88, 9), rng.normal(1, 0.035, 9).clip(0.92, 1.08))
    crowd = rng.uniform(0.1, 1.5)
    people: list[Person] = []
    boxes: list[tuple[float, float, float]] = []
    ground = 0.0
    for index in range(count):
        scale = float(scales[index])
        for attempt in range(14):
            share = tall if index == 0 else tall * float(np.exp(-rng.uniform(-0.12, crowd)))
            share = max(share, smallest)
            x, y = rng.uniform(0.06, 0.94) * width, rng.uniform(0.1, 0.72) * height
            if index == 0:
                x = (0.5 + rng.uniform(-0.36, 0.36) * (1 - 0.6 * share)) * width
                y = (0.4 + rng.uniform(-0.26, 0.26) * (1 - 0.8 * share)) * height
            if loose:
                share = float(np.exp(rng.uniform(np.log(smallest), np.log(cap))))
            depth = focal * FACE * scale / (share * side)
            place = _at(camera, x, y, depth)
            if index == 0:
                ground = float(place[1] - STATURE * scale * rng.uniform(0.92, 1.06))
            elif not loose:
                low = 0.72 if rng.random() < 0.12 else 0.94
                place[1] = ground + STATURE * scale * rng.uniform(low, 1.07)
            px, py, _ = camera.project(place, 1)
            pixels = share * side
            inside = -0.1 * pixels < px < width + 0.1 * pixels
            inside &= -0.1 * pixels < py < height + 0.1 * pixels
            clear = all(
                np.hypot(px - bx, py - by) > (0.3 if attempt > 9 else 0.5) * (pixels + size)
                for bx, by, size in boxes
            )
            if inside and clear:
                people.append(
                    Person(int(rng.integers(1 << 30)), _stance(rng, loose, looking), place, scale)
                )
                boxes.append((float(px), float(py), pixels))
                break
    if not people:
        ground = -float(rng.uniform(5, 18))
    elif loose:
        ground = min(float(person.place[1]) for person in people) - STATURE
    return people, ground


def _things(
    rng: Rng, people: list[Person], ground: float, near: float, far: float, half: float,
    focal: float, stage: Stage,
) -> list[Thing]:  # fmt: skip
    """Draw what stands about."""
    things: list[Thing] = []
    count = int(
        rng.choice([0, int(rng.integers(1, 4)), int(rng.integers(3, 9))], p=[0.3, 0.45, 0.25])
    )

    def put(name: str, place: Any, scale: float = 1.0, lean: float = 0.0) -> None:
        things.append(
            Thing(name, int(rng.integers(1 << 30)), np.asarray(place, float),
                  float(rng.uniform(-180, 180)), lean, scale)
        )  # fmt: skip

    if people and near < 32 and rng.random() < 0.3:
        # A table before them, with things on it.
        first = min(people, key=lambda person: -person.place[2])
        top = ground + 7.4
        if first.place[1] - top > 2.5:
            depth = near - rng.uniform(4.5, 6.5)
            if depth > 7:
                x = float(first.place[0] + rng.normal(0, 2))
                things.append(Thing("table", int(rng.integers(1 << 30)),
                                    np.array([x, ground, -depth]), 0.0, 0.0, 1.0))  # fmt: skip
                for _ in range(int(rng.integers(1, 6))):
                    place = [x + rng.uniform(-4, 4), top, -depth + rng.uniform(-2.2, 2.2)]
                    put(SMALL[int(rng.integers(len(SMALL)))], place)
    standing = ("chair", "table", "plant", "ball", "box", "lamp", "bag", "vase", "plant")
    for _ in range(count):
        kind = rng.random()
        depth = float(np.exp(rng.uniform(np.log(max(near * 0.75, 9)), np.log(far + 20))))
        x = float(rng.uniform(-1.1, 1.1) * half * depth)
        if any(np.hypot(x - p.place[0], depth + p.place[2]) < 3.2 * p.scale for p in people):
            continue
        if kind < 0.62:
            put(standing[int(rng.integers(len(standing)))], [x, ground, -depth])
        elif kind < 0.85:
            # Something is held, thrown or hangs.
            name = str(rng.choice(["ball", "balloon", "balloon", "box", "book", "plate", "clock"]))
            y = ground + rng.uniform(6, 24)
            put(name, [x, y, -depth], float(rng.uniform(0.7, 2.2)), float(rng.uniform(-40, 40)))
        else:
            name = str(rng.choice(list(MAKERS)))
            put(name, [x, ground, -depth], float(rng.uniform(0.7, 1.4)))
    if people and rng.random() < 0.14:
        # Something is held in front of somebody.
        person = people[int(rng.integers(len(people)))]
        name = str(rng.choice(["cup", "book", "ball", "bottle", "screen", "fruit", "bag"]))
        offset = np.array([rng.normal(0, 0.8), rng.uniform(-3.2, -0.6), rng.uniform(1.9, 2.8)])
        put(name, person.place + person.scale * offset, float(rng.uniform(0.6, 1.1)),
            float(rng.normal(0, 15)))  # fmt: skip
    return [thing for thing in things if -thing.place[2] > 5]


def _lamps(rng: Rng, stage: Stage, people: list[Person], near: float, ground: float) -> Lamps:
    """Draw the light: sun, overcast, rooms, evenings, flashes."""
    azimuth = np.radians(rng.choice([-1, 1]) * rng.gamma(2.6, 19)).clip(-2.6, 2.6)
    lift = np.radians(np.clip(rng.normal(42 if stage.outdoors else 34, 17), 2, 80))
    key = [np.sin(azimuth) * np.cos(lift), np.sin(lift), np.cos(azimuth) * np.cos(lift)]
    fill = [-key[0] + 0.2, rng.uniform(-0.2, 0.5), 0.9]
    rim = [-np.sign(key[0]) * rng.uniform(0.7, 1.2), rng.uniform(0.1, 0.8), -rng.uniform(0.3, 1.0)]
    warmth = rng.normal(0.0, 0.1)
    pool = np.array([0.0, 0, 0, 1, 0])
    flash = np.array([near, 0.0])
    if stage.outdoors:
        sun = rng.random() < 0.6
        strength = rng.uniform(0.7, 1.6) if sun else rng.uniform(0.05, 0.3)
        evening = sun and rng.random() < 0.25
        white = np.array([1.25, 0.95, 0.62]) if evening else np.array([1 + warmth, 1, 1 - warmth])
        blue = np.array([0.8, 0.95, 1.25]) if sun else np.array([0.95, 1, 1.06])
        ambient = rng.uniform(0.16, 0.5)
        sky = ambient * np.stack([1.5 * blue, 0.8 * blue, rng.uniform(0.3, 0.8) * np.ones(3)])
        levels = np.array([strength, 0.0, 0.0])
        soft = 0.03 if sun else 0.6
    else:
        white = np.array([1 + warmth + 0.06, 1.0, 1 - warmth - 0.1])
        ambient = rng.uniform(0.1, 0.42)
        sky = ambient * np.stack(
            [white * rng.uniform(0.9, 1.6), rng.uniform(0.6, 1.1) * np.ones(3),
             rng.uniform(0.25, 0.8) * np.array([1.05, 1, 0.92])]
        )  # fmt: skip
        levels = np.array([rng.uniform(0.3, 1.1), rng.uniform(0, 0.25),
                           rng.choice([0.0, 1.0]) * rng.uniform(0.2, 0.9)])  # fmt: skip
        soft = float(rng.uniform(0.1, 0.7))
        if rng.random() < 0.6:
            pool = np.array([rng.normal(0, 1) * near, ground + rng.uniform(5, 30),
                             -near * rng.uniform(1, 2), rng.uniform(8, 30),
                             rng.uniform(0.3, 1.6)])  # fmt: skip
        if rng.random() < 0.1:
            # A flash at night: what is further away is darker.
            key, levels, flash = [0.1, 0.12, 1.0], np.array([1.1, 0, 0]), np.array([near, 1.4])
            sky = sky * 0.25
    gel = 1 + rng.normal(0, 0.10, 3) * (1 if rng.random() < 0.8 else 4.0)
    colour = np.stack([white * levels[0], white[::-1] * levels[1], gel * levels[2]])
    return Lamps(
        sky=sky,
        direction=unit([key, fill, rim]),
        colour=np.maximum(colour, 0),
        blur=np.array([0.8 if soft < 0.1 else rng.uniform(1.0, 2.6), 2.6, 1.5]),
        box=np.array([rng.uniform(0.05, 0.17), 0.09, 0.05]),
        soft=float(soft),
        pool=pool,
        flash=flash,
    )
