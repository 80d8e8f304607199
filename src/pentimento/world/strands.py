"""Hairs as ribbons that face the camera: brows, lashes, beards and the loose strands of a hairstyle.

Roots are drawn on the triangles of a mesh, so strands move with the face. Lengths are decimetres.

Alphabet: N strands, K points each.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pentimento.world.shading import cross, unit

Floats = NDArray[np.floating[Any]]
Rng = np.random.Generator


@dataclass(frozen=True)
class Roots:
    """Where strands start.

    Attributes:
        triangle: (N,) int.
        weights: (N, 3) barycentric.
        chance: (N,) uniform in [0, 1), one number per strand.
    """

    triangle: NDArray[np.int64]
    weights: Floats
    chance: Floats

    def of(self, triangles: NDArray[np.int32], values: Floats) -> Floats:
        """Return (N, ...) vertex values interpolated at the roots."""
        corners = values[triangles[self.triangle]]
        return np.einsum("nk,nk...->n...", self.weights, corners)


def scatter(
    rng: Rng, position: Floats, triangles: NDArray[np.int32], density: Floats, count: int
) -> Roots:
    """Draw roots on triangles.

    Args:
        rng: where chance comes from.
        position: (V, 3).
        triangles: (T, 3).
        density: (V,) relative number of roots per area, >= 0.
        count: of roots; 0 come back where the density is 0 everywhere.
    """
    a, b, c = (position[triangles[:, k]] for k in range(3))
    normal = cross(b - a, c - a)
    area = np.sqrt(np.einsum("ni,ni->n", normal, normal)).astype(np.float64)
    mass = np.cumsum(area * density[triangles].mean(1))
    pick = rng.random(count) * (mass[-1] if len(mass) else 0.0)
    u, v, chance = rng.random(count), rng.random(count), rng.random(count)
    if not len(mass) or mass[-1] <= 0:
        return Roots(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    triangle = np.searchsorted(mass, pick).clip(0, len(mass) - 1)
    return Roots(triangle, np.stack([1 - u - v, u, v], 1), chance)


def grow(
    root: Floats, normal: Floats, direction: Floats, length: Floats, *, lift: float, droop: float,
    points: int = 5,
) -> Floats:  # fmt: skip
    """Return (N, K, 3) curves that leave the surface and fall.

    Args:
        root: (N, 3).
        normal: (N, 3) unit, of the surface.
        direction: (N, 3) unit; its part along the surface is followed.
        length: (N,).
        lift: how steeply strands leave the surface, as a part of their length.
        droop: how far their tips fall, as a part of their length.
        points: K.
    """
    flat = direction - (direction * normal).sum(1, keepdims=True) * normal
    flat = unit(flat)
    t = np.linspace(0, 1, points)[None, :, None]
    down = np.array([0.0, -1, 0])
    path = flat[:, None] * t + normal[:, None] * lift * t * (1 - 0.5 * t) + down * droop * t * t
    return root[:, None] + path * length[:, None, None]


def ribbons(
    curves: Floats, width: Floats, eye: Floats
) -> tuple[Floats, Floats, Floats, NDArray[np.int32]]:
    """Return vertices (2NK, 3), tangents (2NK, 3), along (2NK,) and triangles of tapered ribbons.

    Args:
        curves: (N, K, 3).
        width: (N,) at the root; the tip has a third of it.
        eye: (3,) where they are seen from.
    """
    n, k, _ = curves.shape
    tangent = unit(np.gradient(curves, axis=1)) if n else curves
    side = unit(cross(tangent, eye - curves))
    along = np.broadcast_to(np.linspace(0, 1, k), (n, k))
    half = 0.5 * width[:, None] * (1 - 0.67 * along**1.5)
    pair = np.stack([curves - side * half[..., None], curves + side * half[..., None]], 2)
    first = (np.arange(n)[:, None] * k + np.arange(k - 1))[..., None] * 2
    quad = first + np.array([0, 1, 2, 1, 3, 2])
    return (
        pair.reshape(-1, 3),
        np.repeat(tangent, 2, axis=1).reshape(-1, 3),
        np.repeat(along, 2, axis=1).reshape(-1),
        quad.reshape(-1, 3).astype(np.int32),
    )
