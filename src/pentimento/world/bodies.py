"""Bodies below the bust of the head model: a torso, arms, hands, legs and shoes, dressed.

They are lofts of a few rings: enough for people who stand in a scene. Every part has a chart of its
own: u runs round it, v down it.

Frame as in `mesh`. Alphabet: V vertices; T triangles; R rings of K corners.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19
from pentimento.world import materials as m
from pentimento.world.light import cross, unit
from pentimento.world.mesh import grid_triangles

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rng = np.random.Generator

WAIST: Final = 4.62
"""Height below which the bust of the head model is cut off."""

BODY_PARTS: Final = (
    "torso", "l_upper_arm", "r_upper_arm", "l_lower_arm", "r_lower_arm", "l_hand", "r_hand",
    "l_upper_leg", "r_upper_leg", "l_lower_leg", "r_lower_leg", "l_foot", "r_foot",
)  # fmt: skip

_CORNERS: Final = 14
_CLOTH: Final = CELEBAMASK19.value("cloth")


class Gesture(NamedTuple):
    """How arms and legs are held; angles in radians, rows: the subject's left, right.

    Attributes:
        spread: (2,) upper arms to the side.
        swing: (2,) upper arms forwards.
        bend: (2,) elbows.
        inward: (2,) forearms towards the middle.
        stride: (2,) legs forwards.
    """

    spread: Doubles
    swing: Doubles
    bend: Doubles
    inward: Doubles
    stride: Doubles


class Build(NamedTuple):
    """The shape and dress of a body.

    Attributes:
        front: z of the chest where the bust ends.
        back: z of the back there.
        waist: width of the waist as a part of the chest's.
        hips: the same of the hips.
        belly: how far it stands out, decimetres.
        short: do sleeves end at the elbow?
        dress: does the garment reach the knees?
    """

    front: float
    back: float
    waist: float
    hips: float
    belly: float
    short: bool
    dress: bool


class Body(NamedTuple):
    """Triangles below the bust.

    Attributes:
        position: (V, 3) in the frame of the head at rest, limbs held as the gesture says.
        rest: (V, 3) with straight limbs, for patterns.
        triangles: (T, 3).
        uv: (T, 3, 2).
        material: (T,).
        classes: (T,) CelebAMask-HQ classes.
        part: (T,) index into `BODY_PARTS`.
    """

    position: Floats
    rest: Floats
    triangles: NDArray[np.int32]
    uv: Floats
    material: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    part: NDArray[np.uint8]


def draw_gesture(rng: Rng) -> Gesture:
    """Draw a gesture: mostly hanging arms, sometimes folded, raised or on the hips."""
    hang = rng.random(2) < 0.55
    bend = np.where(hang, rng.uniform(0.05, 0.5, 2), rng.uniform(0.6, 2.4, 2))
    step = rng.normal(0, 0.16)
    return Gesture(
        spread=rng.uniform(0.02, 0.28, 2),
        swing=rng.normal(0.0, 0.18, 2) + np.where(hang, 0, 0.1),
        bend=bend,
        inward=np.where(hang, rng.uniform(-0.1, 0.4, 2), rng.uniform(-0.3, 1.3, 2)),
        stride=np.array([step, -step]),
    )


def draw_build(rng: Rng, male: float, weight: float, bust: Floats) -> Build:
    """Draw a build that fits a bust (N, 3), the vertices of its clothes."""
    near = bust[(np.abs(bust[:, 0]) < 0.6) & (np.abs(bust[:, 1] - WAIST - 0.1) < 0.3)]
    front, back = (near[:, 2].max(), near[:, 2].min()) if len(near) else (1.6, -0.4)
    return Build(
        front=float(front),
        back=float(min(back, front - 1.2)),
        waist=float(
            np.clip(0.86 + 0.12 * weight - 0.1 * (1 - male) + rng.normal(0, 0.03), 0.7, 1.1)
        ),
        hips=float(1.02 + 0.08 * (1 - male) + 0.08 * weight),
        belly=float(max(0.0, rng.normal(0.25 * weight + 0.05, 0.12))),
        short=bool(rng.random() < 0.35),
        dress=bool(male < 0.5 and rng.random() < 0.35),
    )


class _Frame(NamedTuple):
    """What does not depend on the gesture."""

    rest: Floats
    triangles: NDArray[np.int32]
    uv: Floats
    material: NDArray[np.uint8]
    classes: NDArray[np.uint8]
    part: NDArray[np.uint8]


def body(build: Build, gesture: Gesture) -> Body:
    """Return the body of a build in a gesture."""
    held = _rings(build, gesture)
    position = np.concatenate([held[name].reshape(-1, 3) for name in BODY_PARTS])
    return Body(position.astype(np.float32), *_frame(build))


@lru_cache(maxsize=256)
def _frame(build: Build) -> _Frame:
    rest = _rings(build, Gesture(*(np.zeros(2) for _ in Gesture._fields)))
    cloth, skin, trousers = (m.CLOTH, _CLOTH), (m.SKIN, 0), (m.HAT, _CLOTH)
    stuff = {
        "torso": cloth, "upper_arm": cloth, "lower_arm": skin if build.short else cloth,
        "hand": skin, "upper_leg": skin if build.dress else trousers,
        "lower_leg": skin if build.dress else trousers, "foot": (m.FRAME, _CLOTH),
    }  # fmt: skip
    columns: list[tuple[NDArray[np.generic], ...]] = []
    count = 0
    for number, name in enumerate(BODY_PARTS):
        rows = len(rest[name])
        grid = grid_triangles(rows, _CORNERS, closed=True)
        u = np.arange(_CORNERS + 1) / _CORNERS
        corner = np.stack(np.broadcast_arrays(u, np.linspace(0, 1, rows)[:, None]), -1)
        r, c = np.divmod(grid, _CORNERS)
        # The last column of triangles ends at u = 1, not at 0.
        c = np.where((c == 0) & (c.max(1, keepdims=True) == _CORNERS - 1), _CORNERS, c)
        material, kind = stuff[name.removeprefix("l_").removeprefix("r_")]
        columns.append(
            (rest[name].reshape(-1, 3), grid + count, corner[r, c],
             np.full(len(grid), material, np.uint8), np.full(len(grid), kind, np.uint8),
             np.full(len(grid), number, np.uint8))
        )  # fmt: skip
        count += rows * _CORNERS
    whole = [np.concatenate(column) for column in zip(*columns, strict=True)]
    return _Frame(
        whole[0].astype(np.float32), whole[1].astype(np.int32), whole[2].astype(np.float32),
        *whole[3:],
    )  # fmt: skip


def _rings(build: Build, gesture: Gesture) -> dict[str, Doubles]:
    """Return the rings (R, K, 3) of every part, from the top downwards."""
    parts = {"torso": _torso(build)}
    for index, (side, name) in enumerate(((1.0, "l"), (-1.0, "r"))):
        spread, swing = gesture.spread[index], gesture.swing[index]
        down = np.array([side * np.sin(spread), -np.cos(spread) * np.cos(swing), np.sin(swing)])
        shoulder = np.array([1.74 * side, 5.2, 0.5 * (build.front + build.back) - 0.15])
        elbow = shoulder + 2.75 * down
        bend, inward = gesture.bend[index], gesture.inward[index]
        ahead = np.array([-side * np.sin(inward), 0.15, np.cos(inward)])
        fore = unit(np.cos(bend) * down + np.sin(bend) * ahead)
        wrist = elbow + 2.35 * fore
        parts[f"{name}_upper_arm"] = _limb(
            [shoulder + _at(0, 0.2, 0), shoulder, shoulder + 0.3 * (elbow - shoulder), elbow],
            [0.15, 0.37, 0.47, 0.36],
        )  # fmt: skip
        parts[f"{name}_lower_arm"] = _limb(
            [elbow - 0.2 * fore, elbow, elbow + 0.8 * fore, wrist], [0.24, 0.37, 0.35, 0.23]
        )
        parts[f"{name}_hand"] = _limb(
            [wrist, wrist + 0.35 * fore, wrist + 0.8 * fore, wrist + 1.45 * fore,
             wrist + 1.65 * fore],
            [0.20, 0.27, 0.34, 0.24, 0.08], flat=0.5,
        )  # fmt: skip
        stride = gesture.stride[index]
        leg = np.array([0.03 * side, -np.cos(stride), np.sin(stride)])
        hip = np.array([0.78 * side * build.hips, -0.1, 0.35])
        knee = hip + 4.1 * leg
        shin = unit(leg + _at(0, 0, -0.6 * max(-stride, 0.0)))
        ankle = knee + 4.1 * shin
        parts[f"{name}_upper_leg"] = _limb(
            [hip + _at(0, 0.5, 0), hip, hip + 0.5 * (knee - hip), knee],
            np.array([0.6, 0.84, 0.76, 0.56]) * (0.8 if build.dress else 1.0),
        )
        parts[f"{name}_lower_leg"] = _limb(
            [knee + _at(0, 0.2, 0), knee, knee + 1.2 * shin, ankle],
            np.array([0.4, 0.56, 0.52, 0.36]) * (0.8 if build.dress else 1.0),
        )
        heel = ankle + _at(0, -0.35, -0.35)
        parts[f"{name}_foot"] = _limb(
            [heel, heel + _at(0, 0.05, 0.3), heel + _at(0, 0.02, 1.0), heel + _at(0, -0.12, 1.6),
             heel + _at(0, -0.2, 1.8)],
            [0.2, 0.42, 0.42, 0.34, 0.1],
        )  # fmt: skip
    return parts


def _at(x: float, y: float, z: float) -> Doubles:
    return np.array([x, y, z], np.float64)


def _torso(build: Build) -> Doubles:
    """Return the rings of the torso; the first lies hidden in the bust."""
    middle, half = (build.front + build.back) / 2, (build.front - build.back) / 2
    wide = 1.55
    table = [
        # y, half width, middle z, half depth
        (WAIST + 0.4, 0.8 * wide, middle, 0.75 * half),
        (WAIST + 0.12, 0.97 * wide, middle, 1.0 * half),
        (WAIST - 0.25, wide, middle, 1.06 * half),
        (3.5, 0.97 * wide, middle - 0.05, 0.98 * half),
        (2.3, build.waist * wide, middle - 0.12 + 0.5 * build.belly,
         0.9 * half + 0.5 * build.belly),
        (1.2, 0.5 * (build.waist + build.hips) * wide, middle - 0.1 + 0.5 * build.belly,
         0.95 * half + 0.5 * build.belly),
        (0.2, build.hips * wide, middle - 0.18, 1.05 * half),
        (-0.5, build.hips * wide, middle - 0.2, 1.02 * half),
    ]  # fmt: skip
    if build.dress:
        table += [(-2.0, 1.1 * build.hips * wide, middle - 0.2, 1.15 * half),
                  (-4.0, 1.2 * build.hips * wide, middle - 0.2, 1.3 * half)]  # fmt: skip
    table.append((table[-1][0] + 0.02, 0.3 * wide, middle - 0.2, 0.3 * half))
    turn = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    x = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.8
    z = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.8
    rings = [
        np.stack([width * x, np.full_like(x, y), centre + depth * z], 1)
        for y, width, centre, depth in table
    ]
    return np.stack(rings)


_TURN: Final = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
_COS: Final = np.cos(_TURN)[:, None]
_SIN: Final = np.sin(_TURN)[:, None]


def _limb(path: list[Doubles], radii: Any, flat: float = 1.0) -> Doubles:
    """Return rings (R, K, 3) round a path, counter-clockwise from outside in `grid_triangles`."""
    points = np.array(path)
    along = np.empty_like(points)
    along[1:-1] = points[2:] - points[:-2]
    along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
    along /= np.sqrt((along * along).sum(1, keepdims=True))
    first = np.array([1.0, 0, 0]) - along[:, :1] * along
    first /= np.sqrt((first * first).sum(1, keepdims=True))
    second = cross(along, first)
    ring = flat * _COS * first[:, None] - _SIN * second[:, None]
    return np.asarray(points[:, None] + np.asarray(radii)[:, None, None] * ring)
