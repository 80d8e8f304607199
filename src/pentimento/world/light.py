"""Where light comes from: surroundings baked into vertices, lamps with soft shadow maps.

Light arrives in two ways. The surroundings (a gradient of sky, horizon and ground) are gathered per
vertex from a few directions with a visibility test each: ambient occlusion with colour. Lamps are
directional and are evaluated per sample, with filtered shadow maps. Irradiance 1 shows an albedo as
it is.

Also here: three-vectors. Numpy arrays (..., 3) outside compiled code, tuples `Vec` inside.

Alphabet: V vertices; T triangles; L lamps; R side of a shadow map.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pentimento.world.raster import draw_heights

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Vec = tuple[float, float, float]
Vecs = tuple[Vec, ...]

_SHADOW_SIZE: Final = 256
_BAKE_SIZE: Final = 72
_RADIUS: Final = 2.9  # decimetres round the origin that cast shadows


def cross(a: Any, b: Any) -> Any:
    """Return the cross products (..., 3), several times faster than numpy's for many vectors."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def unit(v: Any) -> Any:
    """Return vectors (..., 3) scaled to length 1."""
    v = np.asarray(v)
    length = np.sqrt(np.einsum("...i,...i", v, v))
    return np.asarray(v / np.maximum(length, 1e-12)[..., None])


@njit(cache=True, nogil=True)
def dot(a: Vec, b: Vec) -> float:
    """Return the scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(cache=True, nogil=True)
def plus(a: Vec, share: float, b: Vec) -> Vec:
    """Return a + share · b."""
    return (a[0] + share * b[0], a[1] + share * b[1], a[2] + share * b[2])


@njit(cache=True, nogil=True)
def normed(a: Vec) -> Vec:
    """Return a scaled to length 1."""
    scale = 1.0 / np.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2] + 1e-12)
    return (a[0] * scale, a[1] * scale, a[2] * scale)


def frozen(values: Any) -> Any:
    """Return arrays, also within named tuples, as nested tuples.

    Compiled functions count the references of every array they are handed; of tuples they do not,
    which makes the shader half as fast again.
    """
    if isinstance(values, np.ndarray | list):
        return tuple(map(frozen, np.asarray(values).tolist()))
    if hasattr(values, "_fields"):
        return type(values)(*map(frozen, values))
    return values


class Lights(NamedTuple):
    """Lamps and the surroundings.

    Attributes:
        direction: (L, 3) unit, towards the lamp.
        colour: (L, 3) irradiance when facing it; zero for a lamp that is off.
        blur: (L,) softness of the shadow's edge in texels.
        box: (L,) half the size of the lamp as mirrored in an eye, sine of the angle.
        sky: (3, 3) radiance from above, from the horizon, from below.
        axes: (L, 2, 3) axes of the shadow maps.
        heights: (L, R, R) shadow maps.
    """

    direction: Vecs
    colour: Vecs
    blur: tuple[float, ...]
    box: tuple[float, ...]
    sky: Vecs
    axes: tuple[Vecs, ...]
    heights: Floats


def _fibonacci(count: int) -> Doubles:
    """Return (count, 3) directions spread evenly over the sphere, from front to back."""
    i = np.arange(count) + 0.5
    z, turn = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], 1)


def _axes(direction: Doubles) -> Doubles:
    """Return (3, 3) right, up and towards the light."""
    side = np.array([0.0, 1, 0]) if abs(direction[1]) < 0.9 else np.array([1.0, 0, 0])
    right = unit(cross(side, direction))
    return np.stack([right, cross(direction, right), direction])


_DIRECTIONS: Final = _fibonacci(20)[:15]  # those that reach what the camera sees
_DIRECTION_AXES: Final = [_axes(direction) for direction in _DIRECTIONS]


def _heights(
    position: Floats, triangles: NDArray[np.int32], axes: Doubles, size: int
) -> tuple[Floats, Floats]:
    """Return the shadow map (size, size) and every vertex in its frame (V, 3)."""
    points = np.empty_like(position)
    _turn(position, axes.astype(np.float32), size / 2, points)
    heights = np.full((size, size), -np.inf, np.float32)
    draw_heights(points, triangles, heights)
    return heights, points


@njit(cache=True, nogil=True)
def _turn(position: Floats, axes: Floats, half: float, out: Floats) -> None:
    """Write column, row and height of every vertex in a shadow map of side 2 · `half`."""
    for v in range(position.shape[0]):
        x, y, z = position[v, 0], position[v, 1], position[v, 2]
        for axis in range(3):
            out[v, axis] = axes[axis, 0] * x + axes[axis, 1] * y + axes[axis, 2] * z
        out[v, 0] = (out[v, 0] / np.float32(_RADIUS) + np.float32(1)) * np.float32(half)
        out[v, 1] = (out[v, 1] / np.float32(_RADIUS) + np.float32(1)) * np.float32(half)


def bake(position: Floats, normal: Floats, casters: NDArray[np.int32], sky: Doubles) -> Floats:
    """Return (V, 3) irradiance of the surroundings with occlusion.

    Args:
        position: (V, 3).
        normal: (V, 3) unit.
        casters: (T, 3) triangles that cast shadows.
        sky: (3, 3) as in `Lights`.
    """
    total = np.zeros((len(position), 3), np.float32)
    weight = np.zeros(len(position), np.float32)
    for direction, axes in zip(_DIRECTIONS, _DIRECTION_AXES, strict=True):
        heights, points = _heights(position, casters, axes, _BAKE_SIZE)
        radiance = np.array(surroundings(frozen(sky), float(direction[1])), np.float32)
        _gather(points, heights, normal, direction.astype(np.float32), radiance, total, weight)
    return np.asarray(total / np.maximum(weight, 1.0)[:, None], np.float32)


def cast(
    position: Floats,
    casters: NDArray[np.int32],
    direction: Doubles,
    colour: Doubles,
    blur: Doubles,
    box: Doubles,
    sky: Doubles,
) -> Lights:
    """Return lamps with shadow maps of a mesh; the arguments are named as in `Lights`."""
    axes = np.stack([_axes(d) for d in direction])
    off = np.full((_SHADOW_SIZE, _SHADOW_SIZE), -np.inf, np.float32)
    maps = [
        _heights(position, casters, a, _SHADOW_SIZE)[0] if c.any() else off
        for a, c in zip(axes, colour, strict=True)
    ]
    flat: tuple[Vecs, ...] = frozen(axes[:, :2])
    return Lights(
        frozen(direction), frozen(colour), frozen(blur), frozen(box), frozen(sky), flat,
        np.stack(maps),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def surroundings(sky: Vecs, up: float) -> Vec:
    """Return the radiance of the surroundings in a direction whose y is `up`."""
    t = min(abs(up) ** 0.7, 1.0)
    end = 0 if up > 0 else 2
    return (
        sky[1][0] + t * (sky[end][0] - sky[1][0]),
        sky[1][1] + t * (sky[end][1] - sky[1][1]),
        sky[1][2] + t * (sky[end][2] - sky[1][2]),
    )


@njit(cache=True, nogil=True)
def lit(lights: Lights, lamp: int, p: Vec) -> float:
    """Return how much of a lamp reaches a point, 0..1: 3×3 smooth tests in its shadow map."""
    heights, axes = lights.heights, lights.axes[lamp]
    size = heights.shape[1]
    u, v = dot(axes[0], p), dot(axes[1], p)
    u, v = (u / _RADIUS + 1) * (size / 2) - 0.5, (v / _RADIUS + 1) * (size / 2) - 0.5
    h = dot(lights.direction[lamp], p) + 0.05
    total, weight = 0.0, 0.0
    for j in range(-1, 2):
        for i in range(-1, 2):
            x, y = u + i * lights.blur[lamp], v + j * lights.blur[lamp]
            ix, iy = int(np.floor(x)), int(np.floor(y))
            if ix < 0 or iy < 0 or ix >= size - 1 or iy >= size - 1:
                continue
            fx, fy = x - ix, y - iy
            top = (1 - fx) * (heights[lamp, iy, ix] <= h) + fx * (heights[lamp, iy, ix + 1] <= h)
            iy += 1
            low = (1 - fx) * (heights[lamp, iy, ix] <= h) + fx * (heights[lamp, iy, ix + 1] <= h)
            w = 3.0 - i * i - j * j
            total += w * ((1 - fy) * top + fy * low)
            weight += w
    return total / weight if weight > 0 else 1.0


@njit(cache=True, nogil=True)
def _gather(
    points: Floats,
    heights: Floats,
    normal: Floats,
    direction: Floats,
    radiance: Floats,
    total: Floats,
    weight: Floats,
) -> None:
    """Add the light of one direction to every vertex that faces it and is not hidden from it."""
    size = heights.shape[0]
    for i in range(points.shape[0]):
        cosine = (
            normal[i, 0] * direction[0] + normal[i, 1] * direction[1] + normal[i, 2] * direction[2]
        )
        cosine = (cosine + np.float32(0.15)) / np.float32(1.15)
        if cosine <= 0.0:
            continue
        weight[i] += cosine
        x, y = points[i, 0] - 0.5, points[i, 1] - 0.5
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        seen = np.float32(1.0)
        if 0 <= x0 < size - 1 and 0 <= y0 < size - 1:
            fx, fy = x - x0, y - y0
            h = points[i, 2] + np.float32(0.07)
            seen = (
                (1 - fx) * (1 - fy) * (heights[y0, x0] <= h)
                + fx * (1 - fy) * (heights[y0, x0 + 1] <= h)
                + (1 - fx) * fy * (heights[y0 + 1, x0] <= h)
                + fx * fy * (heights[y0 + 1, x0 + 1] <= h)
            )
        for c in range(3):
            total[i, c] += cosine * seen * radiance[c]
