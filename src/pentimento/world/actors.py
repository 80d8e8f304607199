"""People who can be posed again and again: figures at rest, with detail for their size.

A figure of `figure.draw_figure` is drawn once, baked once under light from above, from the side and
from below, and kept at rest. `Actor.posed` then turns it, which costs a few products of matrices.
Small people are drawn from a cast of a hundred whose triangles were merged on a grid.

Alphabet: V vertices; T triangles.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19
from pentimento.world import materials as m
from pentimento.world.bodies import BODY_PARTS, WAIST, Build, Gesture, body, draw_build
from pentimento.world.face_mesh import FACE
from pentimento.world.figure import Figure, Pose, draw_figure
from pentimento.world.heads import Heads
from pentimento.world.light import bake, unit
from pentimento.world.mesh import Mesh, part_index, vertex_normals
from pentimento.world.shading import Looks, Surface
from pentimento.world.textures import BROW_U, FIELDS, HAIRLINE, STRAND

Floats = NDArray[np.float32]

CAST: Final = 96
"""People that stand in wherever somebody is small."""

_UPRIGHT: Final = Pose(0.0, 0.0, 0.0, 0.0)
_CELLS: Final = {"coarse": 0.12, "middle": 0.035}  # decimetres

PARTS: Final = (
    "none", "face", "nose", "u_lip", "l_lip", "mouth", "l_eye", "r_eye", "l_ear", "r_ear", "neck",
    *BODY_PARTS,
)  # fmt: skip
"""The I of IUV. Left and right are the subject's. Up to `neck` U and V are those of the head's one
atlas, as in portraits; every later part has a chart of its own."""

PART_OF_CLASS: Final = np.array(
    [
        PARTS.index({"skin": "face"}.get(name, name if name in PARTS else "none"))
        for name in CELEBAMASK19.classes
    ],
    np.uint8,
)
"""CelebAMask-HQ class of a triangle of the head → index into `PARTS`."""

_FIRST_BODY_PART: Final = PARTS.index(BODY_PARTS[0])


class Motion(NamedTuple):
    """How far a movement of the face carries everything, at rest.

    Attributes:
        surface: (V, 3).
        face: (F, 3) as `Actor.face`.
        landmarks: 5, 68, 98 → (n, 3).
    """

    surface: Floats
    face: Floats
    landmarks: dict[int, Floats]


@dataclass(frozen=True)
class Actor:
    """A person at rest.

    Attributes:
        surface: at rest; `light` holds what arrives under sky, horizon and ground of radiance 1,
            one column each.
        classes: (T,) CelebAMask-HQ classes.
        head: (T,) bool, triangles whose `surface.uv` is the head's atlas.
        facial: (T,) bool, triangles of the face: skin without the scalp, nose and lips.
        solids: vertices that are no strands, the first ones.
        rooted: the solid vertex of every later one.
        casters: (C, 3) triangles that cast shadows.
        lens: spectacle lenses at rest.
        face: (F, 3) facial skin at rest.
        landmarks: 5, 68, 98 → (n, 3) at rest.
        looks: what everything is made of; eyes at rest.
        build: of the body below the bust.
        attributes: what was drawn.
        motions: `blink` (eyes shut) and `talk` (mouth open), for those hired to move.
    """

    surface: Surface
    classes: NDArray[np.uint8]
    head: NDArray[np.bool_]
    facial: NDArray[np.bool_]
    solids: int
    rooted: NDArray[np.int64]
    casters: NDArray[np.int32]
    lens: Mesh
    face: Floats
    landmarks: dict[int, Floats]
    looks: Looks
    build: Build
    attributes: dict[str, Any]
    motions: dict[str, Motion]


@dataclass(frozen=True)
class Posed:
    """A person in a stance, the face at the origin.

    Attributes:
        surface: `light` as in `Actor`.
        classes: (T,) CelebAMask-HQ classes.
        part: (T,) index into `PARTS`; 0 where there are no dense coordinates.
        casters: (C, 3) triangles that cast shadows.
        lens: spectacle lenses.
        looks: what everything is made of.
        facial: (F,) triangles of the face.
        face: facial skin at rest, as `Actor.face`.
        landmarks: at rest, as `Actor.landmarks`.
        stance: the stance, moved so that the middle of the face is at the origin.
        fine: has it every strand?
    """

    surface: Surface
    classes: NDArray[np.uint8]
    part: NDArray[np.uint8]
    casters: NDArray[np.int32]
    lens: Mesh
    looks: Looks
    facial: NDArray[np.int64]
    face: Floats
    landmarks: dict[int, Floats]
    stance: "Stance"
    fine: bool


@dataclass(frozen=True)
class Stance:
    """How an actor stands: the face is at the origin, y is up, z towards the viewer.

    Attributes:
        head: the turn of the head against the body, degrees.
        turn: of the whole body about y, degrees, to the subject's left.
        lean: of the whole body about the viewing axis, degrees, to the subject's right.
        gesture: of arms and legs.
        blink: 0 as drawn .. 1 eyes shut; needs an actor hired to move.
        talk: 0 as drawn .. 1 mouth open.
    """

    head: Pose
    turn: float
    lean: float
    gesture: Gesture
    blink: float = 0.0
    talk: float = 0.0

    def matrix(self) -> NDArray[np.float64]:
        """Return (3, 3) the rotation of the whole body."""
        c, s = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
        d, e = np.cos(np.radians(self.lean)), np.sin(np.radians(self.lean))
        about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        about_z = np.array([[d, -e, 0], [e, d, 0], [0, 0, 1.0]])
        return np.asarray(about_z @ about_y, np.float64)

    def __call__(self, points: Any) -> Floats:
        """Return points (..., 3) at rest where this stance puts them."""
        return np.asarray(self.head(points) @ self.matrix().T.astype(np.float32), np.float32)

    def head_angles(self) -> tuple[float, float, float]:
        """Return yaw, pitch and roll of the head in degrees, as in `Pose`."""
        high = np.array([[0.0, 9, 0], [1, 9, 0], [0, 10, 0], [0, 9, 1]])
        moved = self(high).astype(np.float64)
        turn = (moved[1:] - moved[:1]).T
        ahead = turn[:, 2]
        yaw, pitch = np.arctan2(ahead[0], ahead[2]), np.arcsin(np.clip(ahead[1], -1, 1))
        c, s, d, e = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
        rest = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) @ np.array(
            [[1, 0, 0], [0, d, e], [0, -e, d]]
        )
        flat = rest.T @ turn
        roll = np.arctan2(flat[1, 0], flat[0, 0])
        return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def hire(heads: Heads, number: int, detail: str, moving: bool = False) -> Actor:
    """Return an actor.

    Args:
        heads: the head model.
        number: >= 0, who it is; for less than full detail one of `CAST`.
        detail: `full` with every strand, `middle` or `coarse`.
        moving: whether eyes and mouth have to move.
    """
    if detail == "full":
        return _fresh(heads, number, moving)
    return _cast(_Key(heads), number % CAST, detail, moving)


class _Key:
    """A head model as a key: equal only to itself."""

    def __init__(self, heads: Heads):
        self.heads = heads

    def __hash__(self) -> int:
        return id(self.heads)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.heads is self.heads


@lru_cache(maxsize=3 * CAST)
def _cast(key: _Key, number: int, detail: str, moving: bool) -> Actor:
    return _coarse(_fresh(key.heads, number, moving), _CELLS[detail])


def _fresh(heads: Heads, number: int, moving: bool) -> Actor:
    """Draw a figure upright, cut it off below the chest and bake it."""
    rng = np.random.Generator(np.random.PCG64([number, 77]))
    figure = draw_figure(rng, heads, _UPRIGHT)
    s, n = figure.surface, figure.solids
    shift = s.rest[0] - s.position[0]  # the figure is upright: a shift separates it from rest
    light = np.zeros_like(s.position)
    light[:n] = bake(s.position[:n], s.normal[:n], figure.casters, np.eye(3))
    light[n:] = light[figure.rooted]
    strands = np.concatenate([s.rest[:n], s.position[n:] + shift])
    eyes = figure.looks.eyes
    male = float(figure.attributes["sex"] == "male")
    weight = float(np.clip(rng.normal(0, 0.4), -0.9, 0.9))
    dressed = np.unique(s.triangles[s.material == m.CLOTH])
    low = np.isin(figure.classes, CELEBAMASK19.values("cloth", "neck", "neck_l"))
    keep = ~(low & (s.rest[s.triangles, 1] < WAIST).any(1))
    keep &= ~_under_cloth(s, dressed, np.isin(figure.classes, CELEBAMASK19.values("neck")))
    facial = np.zeros(len(s.triangles), bool)
    facial[: figure.head] = np.isin(heads.part, [part_index(name) for name in FACE])
    actor = Actor(
        surface=s._replace(position=strands, light=light),
        classes=figure.classes,
        head=np.arange(len(s.triangles)) < figure.head,
        facial=facial,
        solids=n,
        rooted=figure.rooted,
        casters=figure.casters[(s.rest[figure.casters, 1] >= WAIST).any(1)],
        lens=figure.lens.moved(figure.lens.vertices + shift),
        face=figure.face + shift,
        landmarks={count: points + shift for count, points in figure.landmarks.items()},
        looks=figure.looks._replace(eyes=eyes._replace(centre=eyes.centre + shift)),
        build=draw_build(rng, male, weight, s.rest[dressed]),
        attributes=figure.attributes,
        motions=_motions(heads, figure) if moving else {},
    )
    return _where(actor, keep)


def _motions(heads: Heads, figure: Figure) -> dict[str, Motion]:
    """Return what shut eyes and an open mouth change; everything in a face is linear in them."""
    params, count = figure.params, len(figure.surface.position)
    now = heads.vertices(params)
    shut = {name: 0.0 for name in params.expression if "opened-up" in name or "slit" in name}
    shut |= {"eye-left-closure": 1.0, "eye-right-closure": 1.0}
    opened = {"mouth-open": params.expression.get("mouth-open", 0.0) + 0.45}
    motions = {}
    for name, change in (("blink", shut), ("talk", opened)):
        then = replace(params, expression={**params.expression, **change})
        moved = heads.vertices(then) - now
        surface = np.zeros((count, 3), np.float32)
        surface[: len(moved)] = moved
        surface[figure.solids :] = surface[figure.rooted]
        still, going = heads.landmarks(now), heads.landmarks(now + moved)
        motions[name] = Motion(
            surface,
            moved[heads.face.vertices],
            {points: going[points] - still[points] for points in still},
        )
    return motions


def _under_cloth(
    surface: Surface, dressed: NDArray[np.int64], bare: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return (T,) the triangles of `bare` that cloth covers: merged, they would pierce it."""
    corners = np.unique(surface.triangles[bare])
    covered = np.zeros(len(surface.rest), bool)
    if len(dressed) and len(corners):
        skin, cloth = surface.rest[corners], surface.rest[dressed]
        square = (skin**2).sum(1)[:, None] + (cloth**2).sum(1) - 2 * skin @ cloth.T
        covered[corners] = square.min(1) < 0.14**2
        # Along the neckline a rim of skin stays.
        near = surface.triangles[bare]
        covered[near[~covered[near].all(1)]] = False
    return np.asarray(bare & covered[surface.triangles].all(1))


def _where(actor: Actor, keep: NDArray[np.bool_]) -> Actor:
    """Return an actor with some of its triangles."""
    s = actor.surface
    surface = s._replace(
        triangles=np.ascontiguousarray(s.triangles[keep]), uv=s.uv[keep], material=s.material[keep]
    )
    return replace(
        actor,
        surface=surface,
        classes=actor.classes[keep],
        head=actor.head[keep],
        facial=actor.facial[keep],
    )


def _coarse(actor: Actor, cell: float) -> Actor:
    """Merge the solid vertices of one material that share a cell; leave the strands out."""
    s, n = actor.surface, actor.solids
    solid = (s.triangles < n).all(1)
    triangles, material = s.triangles[solid], s.material[solid]
    kind = np.zeros(n, np.int64)
    kind[triangles] = (material.astype(np.int64) * 32 + actor.classes[solid])[:, None]
    cells = np.floor(s.position[:n] / cell).astype(np.int64) + 512
    key = ((kind * 1024 + cells[:, 0]) * 1024 + cells[:, 1]) * 1024 + cells[:, 2]
    _, group = np.unique(key, return_inverse=True)
    count = np.bincount(group).astype(np.float32)[:, None]

    def mean(values: Floats) -> Floats:
        columns = [np.bincount(group, values[:, i]) for i in range(values.shape[1])]
        return np.asarray(np.stack(columns, 1) / count, np.float32)

    merged = group[triangles].astype(np.int32)
    a, b, c = merged.T
    keep = (a != b) & (b != c) & (a != c)
    chosen = np.flatnonzero(solid)[keep]
    surface = Surface(
        position=mean(s.position[:n]),
        rest=mean(s.rest[:n]),
        normal=np.asarray(unit(mean(s.normal[:n])), np.float32),
        tangent=mean(s.tangent[:n]),
        light=mean(s.light[:n]),
        fields=mean(s.fields[:n]),
        triangles=np.ascontiguousarray(merged[keep]),
        uv=s.uv[chosen],
        material=s.material[chosen],
    )
    return replace(
        actor,
        surface=surface,
        classes=actor.classes[chosen],
        head=actor.head[chosen],
        facial=actor.facial[chosen],
        solids=len(surface.position),
        rooted=np.zeros(0, np.int64),
        casters=surface.triangles,
        motions={
            name: motion._replace(surface=mean(motion.surface[:n]))
            for name, motion in actor.motions.items()
        },
    )


def posed(actor: Actor, stance: Stance) -> Posed:
    """Return an actor in a stance, with a body; the middle of the face comes to the origin."""
    middle = stance.head(actor.landmarks[5]).mean(0) - np.array([0, 0, 0.45])
    x, y, z = (float(v) for v in middle + np.array(stance.head.origin))
    stance = replace(stance, head=replace(stance.head, origin=(x, y, z)))
    s, n = actor.surface, actor.solids
    face, landmarks = actor.face, actor.landmarks
    for name, amount in (("blink", stance.blink), ("talk", stance.talk)):
        if amount and name in actor.motions:
            motion, part = actor.motions[name], np.float32(amount)
            s = s._replace(position=s.position + part * motion.surface)
            face = face + part * motion.face
            landmarks = {k: p + part * motion.landmarks[k] for k, p in landmarks.items()}
    position = stance(s.position)
    normal = np.empty_like(position)
    normal[:n] = vertex_normals(position[:n], s.triangles[(s.triangles < n).all(1)])
    normal[n:] = normal[actor.rooted]
    moving = s.tangent.any(1, keepdims=True)
    tangent = np.asarray(
        unit(stance(s.position + 0.01 * s.tangent) - position) * moving, np.float32
    )

    low = body(actor.build, stance.gesture)
    below = stance(low.position)
    facing = vertex_normals(below, low.triangles)
    count = len(below)
    fields = np.zeros((count, len(FIELDS)), np.float32)
    fields[:, [BROW_U, HAIRLINE, STRAND]] = 5, -1, -1
    up = np.clip(facing[:, 1:2], -1, 1)
    # Half a sphere of surroundings, a little darker below, where the body itself is in the way.
    light = np.concatenate([0.3 + 0.3 * up, np.full_like(up, 0.32), 0.22 - 0.18 * up], 1)
    surface = Surface(
        position=np.concatenate([position, below]),
        rest=np.concatenate([s.rest, low.rest]),
        normal=np.concatenate([normal, facing]),
        tangent=np.concatenate([tangent, np.zeros_like(below)]),
        light=np.concatenate([s.light, light.astype(np.float32)]),
        fields=np.concatenate([s.fields, fields]),
        triangles=np.concatenate([s.triangles, low.triangles + np.int32(len(position))]),
        uv=np.concatenate([s.uv, low.uv]),
        material=np.concatenate([s.material, low.material]),
    )
    eyes = actor.looks.eyes
    centre = stance(eyes.centre)
    gaze = unit(stance(eyes.centre + 0.1 * eyes.gaze) - centre)
    eyes = eyes._replace(
        centre=centre.astype(np.float64), gaze=np.ascontiguousarray(gaze, np.float64)
    )
    return Posed(
        surface=surface,
        classes=np.concatenate([actor.classes, low.classes]),
        part=np.concatenate(
            [PART_OF_CLASS[actor.classes] * actor.head, low.part + np.uint8(_FIRST_BODY_PART)]
        ),
        casters=np.concatenate([actor.casters, low.triangles + np.int32(len(position))]),
        lens=actor.lens.moved(stance(actor.lens.vertices)),
        looks=actor.looks._replace(eyes=eyes),
        facial=np.flatnonzero(actor.facial),
        face=face,
        landmarks=landmarks,
        stance=stance,
        fine=len(actor.rooted) > 0,
    )
