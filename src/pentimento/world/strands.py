"""Hairs as ribbons that face the camera: brows, lashes, beards, the loose strands of a hairstyle.

Roots are drawn on the triangles of the head or of its hair, at rest; tufts are posed later, like
everything else. Lengths are decimetres.

Alphabet: N strands of K points; V vertices; T triangles.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19
from pentimento.world import materials as m
from pentimento.world.light import cross, normed, unit
from pentimento.world.mesh import Mesh
from pentimento.world.textures import FIELDS, brow_weights

Array = NDArray[np.floating[Any]]
Rng = np.random.Generator


class Tuft(NamedTuple):
    """Strands of one material.

    Attributes:
        curves: (N, K, 3) at rest, root first.
        width: (N,) at the root.
        chance: (N,) uniform in 0..1, tells strands apart.
        root: (N,) the mesh vertex whose normal and light they take.
        material: see `materials`.
        classes: (N,) class of each.
    """

    curves: Array
    width: Array
    chance: Array
    root: NDArray[np.int64]
    material: int
    classes: NDArray[np.uint8]


@dataclass(frozen=True)
class Soil:
    """What strands grow on.

    Attributes:
        mesh: everything solid, at rest.
        normal: (V, 3) unit.
        fields: (V, 13), see `textures.FIELDS`.
        points: (98, 3) landmarks.
    """

    mesh: Mesh
    normal: Array
    fields: Array
    points: Array

    def field(self, name: str) -> Array:
        """Return a field (V,)."""
        return np.asarray(self.fields[:, FIELDS.index(name)])


@dataclass(frozen=True)
class Roots:
    """Places on triangles.

    Attributes:
        corners: (N, 3) vertices.
        weights: (N, 3) barycentric.
        chance: (N,) uniform in 0..1.
    """

    corners: NDArray[np.int32]
    weights: Array
    chance: Array

    def of(self, values: Array) -> Array:
        """Return vertex values (V, ...) interpolated at the roots."""
        return np.asarray(np.einsum("nk,nk...->n...", self.weights, values[self.corners]))

    def vertex(self) -> NDArray[np.int64]:
        """Return the nearest corners (N,)."""
        best = self.weights.argmax(1)[:, None]
        return np.take_along_axis(self.corners, best, 1)[:, 0].astype(np.int64)

    def where(self, keep: NDArray[np.bool_]) -> "Roots":
        """Return some of the roots."""
        return Roots(self.corners[keep], self.weights[keep], self.chance[keep])


def scatter(
    rng: Rng, position: Array, triangles: NDArray[np.int32], density: Array, count: int
) -> Roots:
    """Draw roots on triangles.

    Args:
        rng: source of chance.
        position: (V, 3).
        triangles: (T, 3).
        density: (V,) relative number of roots per area, at least 0.
        count: of roots; none come back where the density is 0 everywhere.
    """
    a, b, c = (position[triangles[:, corner]] for corner in range(3))
    normal = cross(b - a, c - a)
    area = np.sqrt(np.einsum("ni,ni->n", normal, normal)).astype(np.float64)
    mass = np.cumsum(area * density[triangles].mean(1))
    u, v, pick, chance = rng.random((4, count))
    if not len(mass) or mass[-1] <= 0:
        return Roots(np.zeros((0, 3), np.int32), np.zeros((0, 3)), np.zeros(0))
    u, v = np.where(u + v > 1, (1 - u, 1 - v), (u, v))
    index = np.searchsorted(mass, pick * mass[-1]).clip(0, len(mass) - 1)
    return Roots(triangles[index], np.stack([1 - u - v, u, v], 1), chance)


def grow(
    root: Array, normal: Array, direction: Array, length: Array, *, lift: float, droop: float,
    points: int = 5,
) -> Array:  # fmt: skip
    """Return (N, K, 3) curves that leave the surface and fall.

    Args:
        root: (N, 3).
        normal: (N, 3) unit, of the surface.
        direction: (N, 3); its part along the surface is followed.
        length: (N,).
        lift: how far they rise off the surface, as a part of their length.
        droop: how far their tips fall, as a part of their length.
        points: K.
    """
    flat = unit(direction - np.einsum("ni,ni->n", direction, normal)[:, None] * normal)
    t = np.linspace(0, 1, points)[None, :, None]
    path = flat[:, None] * t + normal[:, None] * lift * t * (1 - 0.5 * t)
    path = path + np.array([0.0, -1, 0]) * droop * t * t
    return np.asarray(root[:, None] + path * length[:, None, None])


def ribbons(
    curves: Array, width: Array, eye: Array
) -> tuple[Array, Array, Array, NDArray[np.int32]]:
    """Return vertices and tangents (2NK, 3), place along (2NK,) and triangles of tapered ribbons.

    Args:
        curves: (N, K, 3).
        width: (N,) at the root; the tip has a third of it.
        eye: (3,) where they are seen from.
    """
    n, k, _ = curves.shape
    along = np.broadcast_to(np.linspace(0, 1, k, dtype=np.float32)[None, :, None], (n, k, 2))
    pair, tangent = np.empty((2, n, k, 2, 3), np.float32)
    taper = 0.5 * (1 - 0.67 * along[0, :, 0] ** 1.5)
    _spread(curves.astype(np.float32), width, taper, eye, pair, tangent)
    first = (np.arange(n, dtype=np.int32)[:, None] * np.int32(k) + np.arange(k - 1))[..., None] * 2
    return (
        pair.reshape(-1, 3),
        tangent.reshape(-1, 3),
        along.reshape(-1),
        (first + np.array([0, 1, 2, 1, 3, 2])).reshape(-1, 3).astype(np.int32),
    )


@njit(cache=True, nogil=True)
def _spread(
    curves: Array, width: Array, taper: Array, eye: Array, pair: Array, tangent: Array
) -> None:
    """Write both edges (N, K, 2, 3) of ribbons that face the eye, and unit tangents."""
    count, last = curves.shape[0], curves.shape[1] - 1
    for i in range(count):
        for j in range(last + 1):
            before, after = curves[i, max(j - 1, 0)], curves[i, min(j + 1, last)]
            here = curves[i, j]
            t = normed((after[0] - before[0], after[1] - before[1], after[2] - before[2]))
            x, y, z = eye[0] - here[0], eye[1] - here[1], eye[2] - here[2]
            side = normed((t[1] * z - t[2] * y, t[2] * x - t[0] * z, t[0] * y - t[1] * x))
            half = width[i] * taper[j]
            for axis in range(3):
                pair[i, j, 0, axis] = here[axis] - side[axis] * half
                pair[i, j, 1, axis] = here[axis] + side[axis] * half
                tangent[i, j, 0, axis] = tangent[i, j, 1, axis] = t[axis]


def brow_tuft(rng: Rng, soil: Soil, brow: m.Brow, skin: NDArray[np.bool_]) -> Tuft:
    """Grow eyebrows on the triangles of `skin` (T,): upright inside, combed outwards further on."""
    u, v = soil.field("brow_u"), soil.field("brow_v")
    coarse = ((u > -0.4) & (u < 1.4) & (abs(v) < 4)).astype(np.float64)
    roots = scatter(rng, soil.mesh.vertices, soil.mesh.triangles[skin], coarse, 5000)
    share = brow_weights(brow, roots.of(u), roots.of(v)) * brow.density
    keep = roots.chance < share
    roots = roots.where(keep)
    root, t, v = roots.of(soil.mesh.vertices), roots.of(u).clip(0, 1), roots.of(v)
    side = np.sign(root[:, 0])
    rise = 0.8 * (1 - t) ** 2 - 0.2 * t - 0.45 * v  # hairs of both edges lean to the middle
    direction = np.stack([side * (0.55 + 0.9 * t), rise, np.zeros_like(t)], 1)
    direction += rng.normal(0, 0.16, direction.shape)
    length = rng.uniform(0.035, 0.065, len(root)) * (1.0 - 0.3 * t)
    normal = unit(roots.of(soil.normal))
    curves = grow(root, normal, direction, length, lift=0.1, droop=0.05, points=4)
    left, right = CELEBAMASK19.values("l_brow", "r_brow")
    classes = np.where(side > 0, left, right).astype(np.uint8)
    width = rng.uniform(0.003, 0.005, len(root))
    return Tuft(curves, width, roots.chance / share[keep], roots.vertex(), m.BROW, classes)


def lash_tuft(rng: Rng, soil: Soil, length: float, lids: NDArray[np.int64]) -> Tuft:
    """Grow lashes along the rims of the eyes; they take the light of the nearest of `lids`."""
    curves, widths = [], []
    t = np.linspace(0, 1, 5)[:, None]
    for first in (60, 68):
        eye = soil.points[first : first + 8]
        for rim, count, scale, rise, curl, width in (
            (eye[[0, 1, 2, 3, 4]], 34, 1.0, 0.05, 0.6, 0.0055),
            (eye[[4, 5, 6, 7, 0]], 18, 0.45, -0.75, -0.1, 0.003),
        ):
            at = np.sort(rng.uniform(0.04, 0.98, count)) * 4
            root = np.stack([np.interp(at, np.arange(5), rim[:, axis]) for axis in range(3)], 1)
            fan = 4.0 * (root - eye.mean(0)) * [1.0, 0, 0]
            way = unit(fan + np.array([0, rise, 0.9]) + rng.normal(0, 0.10, (count, 3)))
            size = length * scale * rng.uniform(0.7, 1.15, (count, 1, 1))
            curves.append(root[:, None] + size * (way[:, None] * t + [0, curl, -0.25] * t * t))
            widths.append(np.full(count, width))
    paths = np.concatenate(curves)
    distance = ((paths[:, :1] - soil.mesh.vertices[lids]) ** 2).sum(-1)
    classes = np.zeros(len(paths), np.uint8)
    chance = rng.random(len(paths))
    return Tuft(paths, np.concatenate(widths), chance, lids[distance.argmin(1)], m.LASH, classes)


def beard_tuft(rng: Rng, soil: Soil, length: float) -> Tuft:
    """Grow a beard where the field says, short above the mouth, longer below it."""
    area = np.where(soil.field("lips") > 0.05, 0, soil.field("beard").astype(np.float64)) ** 1.3
    roots = scatter(rng, soil.mesh.vertices, soil.mesh.triangles, area, 4200)
    root = roots.of(soil.mesh.vertices)
    direction = np.array([0, -1.0, 0.1]) + np.array([0.9, 0, 0]) * root[:, :1]
    direction = direction + rng.normal(0, 0.28, direction.shape)
    size = length * rng.uniform(0.5, 1.3, len(root)) * (0.5 + 0.7 * roots.of(area))
    mouth = soil.points[76:96, 1].mean()
    size = np.minimum(size, 0.04 + 0.6 * np.maximum(mouth - root[:, 1], 0))
    curves = grow(root, unit(roots.of(soil.normal)), direction, size, lift=0.22, droop=0.25)
    width = rng.uniform(0.005, 0.009, len(root))
    skin = np.full(len(root), CELEBAMASK19.value("skin"), np.uint8)
    return Tuft(curves, width, roots.chance, roots.vertex(), m.BEARD, skin)


def hair_tuft(
    rng: Rng, soil: Soil, flow: Array, hair: NDArray[np.bool_], curl: float, top: float
) -> Tuft:
    """Lay strands over the hair's surface and let a few of them stray.

    Args:
        rng: source of chance.
        soil: what carries them.
        flow: (V, 3) unit, along the hair.
        hair: (T,) its triangles.
        curl: 0..1.
        top: height above which nothing is free: a hat.
    """
    free = (soil.mesh.vertices[:, 1] < top).astype(np.float64)
    roots = scatter(rng, soil.mesh.vertices, soil.mesh.triangles[hair], free, 5600)
    root, normal = roots.of(soil.mesh.vertices), unit(roots.of(soil.normal))
    direction = unit(roots.of(flow) + rng.normal(0, 0.05 + 0.2 * curl, root.shape))
    stray = rng.random(len(root)) < 0.025
    length = rng.uniform(0.12, 0.34, len(root))
    curves = grow(root + 0.006 * normal, normal, direction, length, lift=0.03, droop=0.04)
    t = np.linspace(0, 1, curves.shape[1])[None, :, None]
    away = length * np.where(stray, rng.uniform(0.0, 0.25, len(root)), -0.04)
    wave = (
        np.sin(rng.uniform(0, 6.3, (len(root), 1, 1)) + 7 * t) * cross(normal, direction)[:, None]
    )
    curves = curves + normal[:, None] * away[:, None, None] * t * t + 0.04 * curl * wave * t
    width = np.where(stray, 0.004, rng.uniform(0.004, 0.010, len(root)))
    classes = np.full(len(root), CELEBAMASK19.value("hair"), np.uint8)
    return Tuft(curves, width, roots.chance, roots.vertex(), m.HAIR, classes)
