"""People who can be posed again and again: figures at rest, with detail for their size.

A figure of `figure.draw_figure` is drawn once, baked once under light from above, from the side and
from below, and kept at rest. `Actor.posed` then turns it, which costs a few products of matrices.
Small people are drawn from a cast of a hundred whose triangles were merged on a grid.

Alphabet: V vertices; T triangles.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pentimento.world import materials as m
from pentimento.world.figure import Figure, Pose, draw_figure
from pentimento.world.heads import Heads
from pentimento.world.light import bake, unit
from pentimento.world.mesh import Mesh, vertex_normals
from pentimento.world.shading import Looks, Surface

Floats = NDArray[np.float32]

CAST: Final = 96
"""People that stand in wherever somebody is small."""

_UPRIGHT: Final = Pose(0.0, 0.0, 0.0, 0.0)
_OFFSET: Final = np.array((0.0, 6.0, 0.25), np.float32)  # what `Pose` subtracts
_CELLS: Final = {"coarse": 0.12, "middle": 0.035}  # decimetres


@dataclass(frozen=True)
class Actor:
    """A person at rest.

    Attributes:
        surface: at rest; `light` holds what arrives under sky, horizon and ground of radiance 1,
            one column each.
        classes: (T,) CelebAMask-HQ classes.
        head: (T,) bool, triangles whose `surface.uv` is the head's atlas.
        solids: vertices that are no strands, the first ones.
        rooted: the solid vertex of every later one.
        casters: (C, 3) triangles that cast shadows.
        lens: spectacle lenses at rest.
        face: (F, 3) facial skin at rest.
        landmarks: 5, 68, 98 → (n, 3) at rest.
        looks: what everything is made of; eyes at rest.
        attributes: what was drawn.
    """

    surface: Surface
    classes: NDArray[np.uint8]
    head: NDArray[np.bool_]
    solids: int
    rooted: NDArray[np.int64]
    casters: NDArray[np.int32]
    lens: Mesh
    face: Floats
    landmarks: dict[int, Floats]
    looks: Looks
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Stance:
    """How an actor stands: the face is at the origin, y is up, z towards the viewer.

    Attributes:
        head: the turn of the head against the body, degrees.
        turn: of the whole body about y, degrees, to the subject's left.
        lean: of the whole body about the viewing axis, degrees, to the subject's right.
    """

    head: Pose
    turn: float = 0.0
    lean: float = 0.0

    def matrix(self) -> NDArray[np.float64]:
        """Return (3, 3) the rotation of the whole body."""
        c, s = np.cos(np.radians(self.turn)), np.sin(np.radians(self.turn))
        d, e = np.cos(np.radians(self.lean)), np.sin(np.radians(self.lean))
        about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        return np.array([[d, -e, 0], [e, d, 0], [0, 0, 1.0]]) @ about_y

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


def hire(heads: Heads, number: int, detail: str) -> Actor:
    """Return an actor.

    Args:
        heads: the head model.
        number: >= 0, who it is; for less than full detail one of `CAST`.
        detail: `full` with every strand, `middle` or `coarse`.
    """
    if detail == "full":
        return _fresh(heads, number)
    return _cast(_Key(heads), number % CAST, detail)


class _Key:
    """A head model as a key: equal only to itself."""

    def __init__(self, heads: Heads):
        self.heads = heads

    def __hash__(self) -> int:
        return id(self.heads)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and other.heads is self.heads


@lru_cache(maxsize=3 * CAST)
def _cast(key: _Key, number: int, detail: str) -> Actor:
    return _coarse(_fresh(key.heads, number), _CELLS[detail])


def _fresh(heads: Heads, number: int) -> Actor:
    """Draw a figure upright and bake it."""
    rng = np.random.Generator(np.random.PCG64([number, 77]))
    figure = draw_figure(rng, heads, _UPRIGHT)
    return _actor(figure)


def _actor(figure: Figure) -> Actor:
    s = figure.surface
    n = figure.solids
    shift = s.rest[0] - s.position[0]  # the figure is upright: a shift separates it from rest
    light = np.zeros_like(s.position)
    light[:n] = bake(s.position[:n], s.normal[:n], figure.casters, np.eye(3))
    light[n:] = light[figure.rooted]
    strands = np.concatenate([s.rest[:n], s.position[n:] + shift])
    surface = s._replace(position=strands, light=light)
    eyes = figure.looks.eyes
    looks = figure.looks._replace(eyes=eyes._replace(centre=eyes.centre + shift))
    head = np.arange(len(s.triangles)) < figure.head
    first = len(s.triangles) - figure.lashes
    del first
    return Actor(
        surface=surface,
        classes=figure.classes,
        head=head,
        solids=n,
        rooted=figure.rooted,
        casters=figure.casters,
        lens=figure.lens.moved(figure.lens.vertices + shift),
        face=figure.face + shift,
        landmarks={count: points + shift for count, points in figure.landmarks.items()},
        looks=looks,
        attributes=figure.attributes,
    )


def _coarse(actor: Actor, cell: float) -> Actor:
    """Merge the solid vertices of one material that share a cell; leave the strands out."""
    s, n = actor.surface, actor.solids
    solid = (s.triangles < n).all(1)
    triangles, material = s.triangles[solid], s.material[solid]
    kind = np.zeros(n, np.int64)
    kind[triangles] = (
        material.astype(np.int64) * 32 + actor.classes[solid]
    )[:, None]
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
    return Actor(
        surface=surface,
        classes=actor.classes[chosen],
        head=actor.head[chosen],
        solids=len(surface.position),
        rooted=np.zeros(0, np.int64),
        casters=surface.triangles,
        lens=actor.lens,
        face=actor.face,
        landmarks=actor.landmarks,
        looks=actor.looks,
        attributes=actor.attributes,
    )


def posed(actor: Actor, stance: Stance) -> tuple[Surface, Looks]:
    """Return the surface and the looks (of the eyes) of an actor in a stance."""
    s, n = actor.surface, actor.solids
    position = stance(s.position)
    normal = np.empty_like(position)
    normal[:n] = vertex_normals(position[:n], s.triangles[(s.triangles < n).all(1)])
    normal[n:] = normal[actor.rooted]
    moving = s.tangent.any(1, keepdims=True)
    tangent = unit(stance(s.position + 0.01 * s.tangent) - position) * moving
    eyes = actor.looks.eyes
    centre = stance(eyes.centre)
    gaze = unit(stance(eyes.centre + 0.1 * eyes.gaze) - centre)
    looks = actor.looks._replace(
        eyes=eyes._replace(centre=centre.astype(np.float64), gaze=np.asarray(gaze, np.float64))
    )
    return s._replace(
        position=position, normal=normal, tangent=np.asarray(tangent, np.float32)
    ), looks
