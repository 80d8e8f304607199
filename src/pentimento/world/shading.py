"""Light on surfaces: baked surroundings, soft shadows, and one compiled shader for all materials.

Light arrives three ways. The surroundings (a gradient of sky, horizon and ground) are gathered per
vertex from `_DIRECTIONS` with a visibility test each, which gives ambient occlusion its colour.
Directional lights are evaluated per sample with filtered shadow maps. Eyes, lenses and skin at
grazing angles mirror the surroundings. Everything is linear; irradiance 1 shows an albedo as it is.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pentimento.world.materials import (
    BEARD, BROW, CLOTH, EYE, FRAME, GUM, HAIR, HAT, LASH, METAL, SKIN, TEETH,
    Eyes, Fabric, Fibres, Skin, Trim,
)  # fmt: skip
from pentimento.world.raster import draw_heights

Floats = NDArray[np.float32]
FIELDS: Final = (
    "hairline", "brow_u", "brow_v", "beard", "blush", "under_eye", "nasolabial", "forehead",
    "lips", "lids", "lash", "strand", "along",
)  # fmt: skip
"""Columns of `Surface.fields`: those of `anatomy.skin_fields`, softened masks of lips and lids, and
two numbers of fibres: `strand`, random in 0..1 per strand (-1: a surface textured by its uv), and
`along`, 0 root .. 1 tip. Eyeballs have 0 (subject's left) or 1 in `strand`, their light in `along`."""

HAIRLINE, BROW_U, BROW_V, BEARD_AREA, BLUSH, UNDER_EYE, FOLD, FOREHEAD, LIPS, LIDS, RIM, STRAND, ALONG = range(13)  # fmt: skip  # noqa: E501

_SHADOW_SIZE: Final = 256
_BAKE_SIZE: Final = 72
_RADIUS: Final = 2.9  # decimetres round the centre that cast shadows


class Surface(NamedTuple):
    """Everything that is drawn, as one mesh.

    Attributes:
        position: (V, 3) posed.
        rest: (V, 3) before posing; patterns stick to it.
        normal: (V, 3) unit.
        tangent: (V, 3) unit, along fibres; zero elsewhere.
        light: (V, 3) baked irradiance of the surroundings.
        fields: (V, 13), columns as in `FIELDS`.
        triangles: (T, 3).
        uv: (T, 3, 2).
        material: (T,).
    """

    position: Floats
    rest: Floats
    normal: Floats
    tangent: Floats
    light: Floats
    fields: Floats
    triangles: NDArray[np.int32]
    uv: Floats
    material: NDArray[np.uint8]


class Lights(NamedTuple):
    """Directional lights and the surroundings.

    Attributes:
        direction: (L, 3) unit, towards the light.
        colour: (L, 3) irradiance when facing it.
        blur: (L,) radius of the shadow's edge in texels.
        box: (L,) half the angular size of the light as mirrored in an eye.
        sky: (3, 3) radiance from above, from the horizon, from below.
        axes: (L, 2, 3) axes of the shadow maps.
        heights: (L, R, R) shadow maps.
        centre: (3,) centre of the shadow maps.
    """

    direction: NDArray[np.float64]
    colour: NDArray[np.float64]
    blur: NDArray[np.float64]
    box: NDArray[np.float64]
    sky: NDArray[np.float64]
    axes: NDArray[np.float64]
    heights: Floats
    centre: NDArray[np.float64]


def _fibonacci(count: int) -> NDArray[np.float64]:
    """Return (count, 3) directions spread evenly over the sphere."""
    i = np.arange(count) + 0.5
    z, turn = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - z * z)
    return np.stack([r * np.cos(turn), r * np.sin(turn), z], 1)


def cross(a: Any, b: Any) -> Any:
    """Return the cross products (..., 3), several times faster than numpy's for many vectors."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def unit(v: Any) -> NDArray[np.float64]:
    """Return vectors (..., 3) scaled to length 1."""
    v = np.asarray(v, np.float64)
    length = np.sqrt(np.einsum("...i,...i", v, v))
    return np.asarray(v / np.maximum(length, 1e-12)[..., None])


def _axes(direction: NDArray[np.float64]) -> NDArray[np.float64]:
    side = np.array([0.0, 1, 0]) if abs(direction[1]) < 0.9 else np.array([1.0, 0, 0])
    right = unit(cross(side, direction))
    return np.stack([right, cross(direction, right), direction])


_DIRECTIONS: Final = _fibonacci(20)[:15]  # those that reach what the camera sees
_DIRECTION_AXES: Final = [_axes(direction) for direction in _DIRECTIONS]


def _heights(
    position: Floats, triangles: NDArray[np.int32], axes: NDArray[np.float64], size: int
) -> tuple[Floats, Floats]:
    """Return the shadow map (size, size) and every vertex in its frame (V, 3)."""
    points = (position @ axes.T.astype(np.float32)).astype(np.float32)
    points[:, :2] = (points[:, :2] / _RADIUS + 1) * (size / 2)
    heights = np.full((size, size), -np.inf, np.float32)
    draw_heights(points, triangles, heights)
    return heights, points


def bake(
    position: Floats, normal: Floats, triangles: NDArray[np.int32], sky: NDArray[np.float64]
) -> Floats:
    """Return (V, 3) irradiance of the surroundings with occlusion.

    Args:
        position: (V, 3) relative to the centre of the shadow maps.
        normal: (V, 3) unit.
        triangles: (T, 3) what casts shadows.
        sky: (3, 3) radiance from above, horizon, below.
    """
    total = np.zeros((len(position), 3), np.float32)
    weight = np.zeros(len(position), np.float32)
    for direction, axes in zip(_DIRECTIONS, _DIRECTION_AXES, strict=True):
        heights, points = _heights(position, triangles, axes, _BAKE_SIZE)
        radiance = environment(direction[1], sky).astype(np.float32)
        _gather(points, heights, normal, direction.astype(np.float32), radiance, total, weight)
    return total / np.maximum(weight, 1.0)[:, None]


def cast(
    position: Floats,
    triangles: NDArray[np.int32],
    direction: NDArray[np.float64],
    colour: NDArray[np.float64],
    blur: NDArray[np.float64],
    box: NDArray[np.float64],
    sky: NDArray[np.float64],
    centre: NDArray[np.float64],
) -> Lights:
    """Return the lights with shadow maps of a mesh (`position` relative to `centre`)."""
    axes = np.stack([_axes(d) for d in direction])
    dark = np.full((_SHADOW_SIZE, _SHADOW_SIZE), -np.inf, np.float32)
    maps = [
        _heights(position, triangles, a, _SHADOW_SIZE)[0] if c.any() else dark
        for a, c in zip(axes, colour, strict=True)
    ]
    return Lights(
        direction, colour, blur, box, sky, np.ascontiguousarray(axes[:, :2]), np.stack(maps), centre
    )


def environment(up: float, sky: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the radiance (3,) of the surroundings in a direction with this y."""
    t = min(abs(up) ** 0.7, 1.0)
    return sky[1] + t * ((sky[0] if up > 0 else sky[2]) - sky[1])


@njit(cache=True, nogil=True)
def _gather(points, heights, normal, direction, radiance, total, weight):  # type: ignore[no-untyped-def]
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
        lit = np.float32(1.0)
        if 0 <= x0 < size - 1 and 0 <= y0 < size - 1:
            fx, fy = x - x0, y - y0
            h = points[i, 2] + np.float32(0.07)
            lit = (
                (1 - fx) * (1 - fy) * (heights[y0, x0] <= h)
                + fx * (1 - fy) * (heights[y0, x0 + 1] <= h)
                + (1 - fx) * fy * (heights[y0 + 1, x0] <= h)
                + fx * fy * (heights[y0 + 1, x0 + 1] <= h)
            )
        for c in range(3):
            total[i, c] += cosine * lit * radiance[c]


@njit(cache=True, nogil=True, inline="always")
def _clamp(x, low, high):  # type: ignore[no-untyped-def]
    return low if x < low else (high if x > high else x)


@njit(cache=True, nogil=True)
def _step(low, high, x):  # type: ignore[no-untyped-def]
    t = _clamp((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


@njit(cache=True, nogil=True)
def noise(table, x, y, z):  # type: ignore[no-untyped-def]
    """Return smooth vector noise in [-1, 1]³ at a point; its grain is one unit."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    ix, iy, iz = int(fx) & 31, int(fy) & 31, int(fz) & 31
    tx, ty, tz = x - fx, y - fy, z - fz
    tx, ty, tz = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty), tz * tz * (3 - 2 * tz)
    jx, jy, jz = (ix + 1) & 31, (iy + 1) & 31, (iz + 1) & 31
    w00, w01, w10, w11 = (1 - tx) * (1 - ty), tx * (1 - ty), (1 - tx) * ty, tx * ty
    a, b, c = 0.0, 0.0, 0.0
    for k, w in ((iz, 1 - tz), (jz, tz)):
        p, q, r, s = w * w00, w * w01, w * w10, w * w11
        a += p * table[k, iy, ix, 0] + q * table[k, iy, jx, 0]
        a += r * table[k, jy, ix, 0] + s * table[k, jy, jx, 0]
        b += p * table[k, iy, ix, 1] + q * table[k, iy, jx, 1]
        b += r * table[k, jy, ix, 1] + s * table[k, jy, jx, 1]
        c += p * table[k, iy, ix, 2] + q * table[k, iy, jx, 2]
        c += r * table[k, jy, ix, 2] + s * table[k, jy, jx, 2]
    return a, b, c


@njit(cache=True, nogil=True)
def _spot(table, x, y, z):  # type: ignore[no-untyped-def]
    """Return one round spot per unit cell: its distance from here and a random number."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    v = table[int(fz) & 31, int(fy) & 31, int(fx) & 31]
    dx, dy, dz = x - fx - 0.5 - 0.25 * v[0], y - fy - 0.5 - 0.25 * v[1], z - fz - 0.5 - 0.25 * v[2]
    return np.sqrt(dx * dx + dy * dy + dz * dz), 0.5 + 0.5 * v[0]


@njit(cache=True, nogil=True)
def _lit(lights, k, px, py, pz):  # type: ignore[no-untyped-def]
    """Return how much of light `k` reaches a point: a smooth 3×3 comparison in its shadow map."""
    heights = lights.heights
    size = heights.shape[1]
    x, y, z = px - lights.centre[0], py - lights.centre[1], pz - lights.centre[2]
    a, d = lights.axes, lights.direction
    u = ((a[k, 0, 0] * x + a[k, 0, 1] * y + a[k, 0, 2] * z) / _RADIUS + 1) * (size / 2) - 0.5
    v = ((a[k, 1, 0] * x + a[k, 1, 1] * y + a[k, 1, 2] * z) / _RADIUS + 1) * (size / 2) - 0.5
    h = d[k, 0] * x + d[k, 1] * y + d[k, 2] * z + 0.05
    step = lights.blur[k]
    total, weight = 0.0, 0.0
    for j in range(-1, 2):
        for i in range(-1, 2):
            uu, vv = u + i * step, v + j * step
            iu, iv = int(np.floor(uu)), int(np.floor(vv))
            if iu < 0 or iv < 0 or iu >= size - 1 or iv >= size - 1:
                continue
            w = 3.0 - i * i - j * j
            fu, fv = uu - iu, vv - iv
            top = (1 - fu) * (heights[k, iv, iu] <= h) + fu * (heights[k, iv, iu + 1] <= h)
            low = (1 - fu) * (heights[k, iv + 1, iu] <= h) + fu * (heights[k, iv + 1, iu + 1] <= h)
            total += w * ((1 - fv) * top + fv * low)
            weight += w
    return total / weight if weight > 0 else 1.0


@njit(cache=True, nogil=True)
def brow_weight(brow, u, v):  # type: ignore[no-untyped-def]
    """Return 0..1: how much of an eyebrow of shape `brow` is at brow coordinates (u, v)."""
    start, end = brow.start, brow.end
    if u <= start or u >= end:
        return 0.0
    t = (u - start) / (end - start)
    half = brow.thickness * (0.55 + 0.45 * _step(0.0, 0.3, t)) * (1 - 0.72 * _step(0.5, 1.0, t))
    centre = brow.arch * (1 - (2.3 * (t - 0.6)) ** 2) + brow.tilt * (t - 0.5)
    side = abs(v - centre) / half
    return (1 - _step(0.7, 1.25, side)) * _step(0.0, 0.12, t) * (1 - _step(0.93, 1.0, t))


@njit(cache=True, nogil=True)
def brow_weights(brow, u, v):  # type: ignore[no-untyped-def]
    """Return `brow_weight` of many places, (N,) of (N,) and (N,)."""
    out = np.zeros(len(u))
    for i in range(len(u)):
        out[i] = brow_weight(brow, u[i], v[i])
    return out


@njit(cache=True, nogil=True)
def _skin(skin, fibres, table, x, y, z, f, out):  # type: ignore[no-untyped-def]
    """Write the albedo of skin at a rest position with vertex fields `f`."""
    big, green, _ = noise(table, 1.7 * x, 1.7 * y, 1.7 * z)
    mid, red, _ = noise(table, 7 * x, 7 * y, 7 * z)
    fine, grain, _ = noise(table, 31 * x, 31 * y, 31 * z)
    tone = 1 + skin.mottle * (0.25 * big + 0.45 * mid + 0.45 * fine)
    flush = _clamp(0.75 * f[BLUSH] + 0.16 * red + 0.06 * green, -0.2, 1.0)
    lips = _clamp(f[LIPS] * 1.6 - 0.3 + 0.12 * mid, 0.0, 1.0)
    tired = skin.tired * f[UNDER_EYE]
    for c in range(3):
        out[c] = skin.albedo[c] * tone * (1 + flush * (skin.flush[c] - 1))
        out[c] *= 1 - tired * (0.2 + 0.1 * (c == 1)) - 0.15 * skin.wrinkles * f[FOLD]
        lip = skin.lips[c] * (1 + 0.10 * mid + 0.15 * fine)
        out[c] += lips * (lip - out[c])
    bare = 1 - lips
    if skin.freckles > 0.05:
        d, r = _spot(table, 12 * x, 12 * y, 12 * z)
        e, s = _spot(table, 23 * x + 5, 23 * y, 23 * z)
        amount = skin.freckles * bare * _clamp(0.25 + f[BLUSH], 0.0, 1.0)
        amount *= 0.55 * (r < 0.6) * (1 - _step(0.1, 0.3, d)) + 0.4 * (1 - _step(0.1, 0.35, e)) * s
        for c in range(3):
            out[c] *= 1 - amount * (0.35 + 0.15 * c)
    d, r = _spot(table, 2.9 * x + 9, 2.9 * y, 2.9 * z)
    if r < 0.12 * skin.moles and bare > 0.9:
        mole = 0.8 * (1 - _step(0.025, 0.05, d + 0.008 * fine))
        for c in range(3):
            out[c] *= 1 - mole * (0.55 + 0.12 * c)
    beard = skin.stubble * _clamp(f[BEARD_AREA] * 1.4 - 0.2 + 0.2 * mid, 0.0, 1.0) * bare
    if beard > 0.01:
        speck = 0.5 + 0.5 * noise(table, 75 * x, 40 * y, 75 * z)[0]
        amount = beard * (0.15 + 0.2 * (skin.stubble > 0.99) + 0.55 * speck * speck)
        for c in range(3):
            out[c] += amount * (skin.stubble_colour[c] * 0.7 - out[c])
    scalp = skin.scalp * _step(-0.05, 0.14, f[HAIRLINE] + 0.05 * mid) * (0.75 + 0.35 * grain)
    brow = 0.85 * skin.brow.density * brow_weight(skin.brow, f[BROW_U], f[BROW_V]) * (1 + 0.4 * fine)
    lid = skin.shadow * _clamp(f[LIDS] * 1.2, 0.0, 1.0)
    rim = _clamp(f[RIM] * skin.liner, 0.0, 0.95)
    for c in range(3):
        out[c] *= 1 + lid * (skin.shadow_colour[c] * 1.2 - 1)
        out[c] += _clamp(scalp, 0.0, 1.0) * (fibres.colour[0, c] - out[c])
        out[c] += _clamp(brow, 0.0, 0.9) * (fibres.colour[1, c] - out[c])
        out[c] += rim * (fibres.colour[3, c] * 1.5 - out[c])


@njit(cache=True, nogil=True)
def classify(triangle, weights, surface, classes, skin, brows, hair, out):  # type: ignore[no-untyped-def]
    """Write the class (H, W) of every covered sample: its triangle's, or brow or cropped hair.

    Args:
        triangle: (H, W), with `weights` as in `raster.Layer`.
        surface: what was drawn.
        classes: (T,) of the triangles.
        skin: its brow and scalp decide where skin counts as brow or hair.
        brows: classes of the subject's left and right brow.
        hair: class of hair.
        out: (H, W) uint8, written where something is.
    """
    fields = surface.fields
    for row in range(triangle.shape[0]):
        for column in range(triangle.shape[1]):
            t = triangle[row, column]
            if t < 0:
                continue
            out[row, column] = classes[t]
            if surface.material[t] != SKIN:
                continue
            i, j, k = surface.triangles[t]
            a, b = weights[row, column, 0], weights[row, column, 1]
            c = 1 - a - b
            u = a * fields[i, BROW_U] + b * fields[j, BROW_U] + c * fields[k, BROW_U]
            v = a * fields[i, BROW_V] + b * fields[j, BROW_V] + c * fields[k, BROW_V]
            line = a * fields[i, HAIRLINE] + b * fields[j, HAIRLINE] + c * fields[k, HAIRLINE]
            if brow_weight(skin.brow, u, v) > 0.4:
                out[row, column] = brows[0] if surface.rest[i, 0] > 0 else brows[1]
            elif line > 0.05 and skin.scalp > 0.5:
                out[row, column] = hair


@njit(cache=True, nogil=True)
def _iris(eyes, which, table, a, b, out):  # type: ignore[no-untyped-def]
    """Write the albedo of the eyeball `a`, `b` radii off the gaze; return 1 inside the iris."""
    r = np.sqrt(a * a + b * b) / np.sin(eyes.iris_angle)
    veins = noise(table, 9 * a + eyes.seed, 26 * b, 3.0 * which)[0]
    pink = _clamp(np.sqrt(a * a + b * b) - 0.45, 0.0, 1.0) + 0.16 * max(veins, 0.0)
    for c in range(3):
        out[c] = eyes.sclera[c] * (1 - pink * (0.10 if c == 0 else 0.42))
    inside = 1 - _step(0.92, 1.06, r)
    if inside > 0:
        angle = np.arctan2(b, a)
        x, y = 5 * np.cos(angle), 5 * np.sin(angle)
        rays = noise(table, x * 2.6 + eyes.seed, y * 2.6, 2.2 * r)[0]
        rays += 0.6 * noise(table, x * 6 + eyes.seed, y * 6, 1.5 * r)[0]
        heart = 1 - _step(eyes.pupil, eyes.pupil + 0.3, r + 0.06 * rays)
        dark = 1 - eyes.ring * _step(0.72, 1.0, r)
        pupil = 1 - _step(eyes.pupil - 0.05, eyes.pupil + 0.05, r)
        for c in range(3):
            iris = eyes.iris[c] + 0.6 * heart * (eyes.inner[c] - eyes.iris[c])
            iris *= (1 + 0.45 * rays) * dark * 1.15
            iris += pupil * (0.004 - iris)
            out[c] += inside * (max(iris, 0.003) - out[c])
    return inside


@njit(cache=True, nogil=True)
def _fabric(cloth, table, x, y, z, out):  # type: ignore[no-untyped-def]
    """Write the albedo of a fabric."""
    wobble = noise(table, 2 * x, 2 * y, 2 * z)[0] * 0.04
    u, v = (x + wobble) / cloth.pitch, (y + 0.3 * z + wobble) / cloth.pitch
    amount = 0.0
    if cloth.pattern == 1:
        amount = 1.0 * (v - np.floor(v) < 0.4)
    elif cloth.pattern == 2:
        amount = 1.0 * (u - np.floor(u) < 0.25)
    elif cloth.pattern == 3:
        amount = 0.5 * (u - np.floor(u) < 0.4) + 0.5 * (v - np.floor(v) < 0.4)
    elif cloth.pattern == 4:
        du, dv = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
        amount = 1.0 * (du * du + dv * dv < 0.06)
    elif cloth.pattern == 5:
        amount = 0.35 * _clamp(0.5 + noise(table, 26 * x, 80 * y, 26 * z)[0], 0.0, 1.0)
    thread = 1 + 0.6 * cloth.weave * noise(table, 40 * x, 30 * y, 40 * z)[1]
    for c in range(3):
        out[c] = (cloth.colour[c] + amount * (cloth.second[c] - cloth.colour[c])) * thread


@njit(cache=True, nogil=True)
def _fibre(fibres, kind, table, f, u, v, out):  # type: ignore[no-untyped-def]
    """Write the colour of hair; `f[STRAND]` is its strand, or below 0 on a surface textured by (u, v)."""
    strand, along = f[STRAND], f[ALONG]
    if strand < 0:
        bend = 0.02 * fibres.curl * np.sin(9 * v + 40 * u)
        fine = noise(table, 210 * (u + bend), 2.5 * v, 3.0)[0]
        wide = noise(table, 48 * (u + bend), 1.3 * v, 7.0)[0]
        strand, along = _clamp(0.5 + 0.35 * fine + 0.3 * wide, 0.0, 1.0), v
        white = fibres.grey[kind] * _clamp(0.8 + 0.6 * wide, 0.0, 1.0)
    else:
        white = 1.0 if (strand * 97.31) % 1.0 < fibres.grey[kind] else 0.0
    level = 1 + fibres.vary[kind] * (2.4 * strand - 1.2)
    level *= fibres.root[kind] + (1 - fibres.root[kind]) * _clamp(2.5 * along, 0.0, 1.0)
    for c in range(3):
        colour = fibres.colour[kind, c]
        out[c] = max(level, 0.15) * (colour + 0.85 * white * (0.40 - 0.03 * c - colour))


@njit(cache=True, nogil=True)
def shade(triangle, near, weights, surface, lights, skin, eyes, fibres, cloth, hat, trim, table, eye_z, colour):  # type: ignore[no-untyped-def]  # fmt: skip  # noqa: C901
    """Write the colour (H, W, 3) of every covered sample; the camera is at (0, 0, `eye_z`)."""
    height, width = triangle.shape
    albedo, f = np.zeros(3), np.zeros(13)
    lamps = lights.direction.shape[0]
    for row in range(height):
        for column in range(width):
            t = triangle[row, column]
            if t < 0:
                continue
            material = surface.material[t]
            if column & 1 and material != EYE:
                # The left sample of the pair speaks for both where nothing changes between them.
                s = triangle[row, column - 1]
                same = s == t or (s >= 0 and surface.material[s] == material and material < HAIR)
                if same and abs(near[row, column] - near[row, column - 1]) < 4e-3:
                    for c in range(3):
                        colour[row, column, c] = colour[row, column - 1, c]
                    continue
            i, j, k = surface.triangles[t]
            wa, wb = np.float64(weights[row, column, 0]), np.float64(weights[row, column, 1])
            wc = 1 - wa - wb
            p, q, n, e, g = (
                surface.position, surface.rest, surface.normal, surface.light, surface.fields
            )  # fmt: skip
            px = wa * p[i, 0] + wb * p[j, 0] + wc * p[k, 0]
            py = wa * p[i, 1] + wb * p[j, 1] + wc * p[k, 1]
            pz = wa * p[i, 2] + wb * p[j, 2] + wc * p[k, 2]
            x = wa * q[i, 0] + wb * q[j, 0] + wc * q[k, 0]
            y = wa * q[i, 1] + wb * q[j, 1] + wc * q[k, 1]
            z = wa * q[i, 2] + wb * q[j, 2] + wc * q[k, 2]
            nx = wa * n[i, 0] + wb * n[j, 0] + wc * n[k, 0]
            ny = wa * n[i, 1] + wb * n[j, 1] + wc * n[k, 1]
            nz = wa * n[i, 2] + wb * n[j, 2] + wc * n[k, 2]
            er = wa * e[i, 0] + wb * e[j, 0] + wc * e[k, 0]
            eg = wa * e[i, 1] + wb * e[j, 1] + wc * e[k, 1]
            eb = wa * e[i, 2] + wb * e[j, 2] + wc * e[k, 2]
            for c in range(13):
                f[c] = wa * g[i, c] + wb * g[j, c] + wc * g[k, c]
            u = wa * surface.uv[t, 0, 0] + wb * surface.uv[t, 1, 0] + wc * surface.uv[t, 2, 0]
            v = wa * surface.uv[t, 0, 1] + wb * surface.uv[t, 1, 1] + wc * surface.uv[t, 2, 1]
            scale = 1 / np.sqrt(px * px + py * py + (eye_z - pz) ** 2)
            vx, vy, vz = -px * scale, -py * scale, (eye_z - pz) * scale

            # What it is made of: albedo, relief, wrap, and two lobes of gloss.
            relief, wrap_r, wrap_g, wrap_b = 0.0, 0.0, 0.0, 0.0
            sharp, gloss, broad, haze, base = 60.0, 0.0, 14.0, 0.0, 0.028
            inside = 0.0
            fibre = HAIR <= material <= LASH
            if material == SKIN:
                _skin(skin, fibres, table, x, y, z, f, albedo)
                wrap_r, wrap_g, wrap_b = skin.scatter[0], skin.scatter[1], skin.scatter[2]
                relief = skin.pores * (1 - 0.3 * f[LIPS])
                lips = _clamp(f[LIPS], 0.0, 1.0)
                gloss = 0.45 * skin.gloss
                gloss += lips * (1.6 * skin.lip_gloss - gloss)
                haze, broad = 1.2 * skin.gloss, 9.0
                sharp = 26.0 + 40 * lips
            elif material == EYE:
                which = 0 if f[STRAND] < 0.5 else 1
                a, b = 2 * u - 1, 2 * v - 1
                inside = _iris(eyes, which, table, a, b, albedo)
                nx, ny, nz = px - eyes.centre[which, 0], py - eyes.centre[which, 1], pz - eyes.centre[which, 2]  # fmt: skip
                wrap_r, wrap_g, wrap_b = 0.3, 0.22, 0.2
            elif material == TEETH:
                shade_ = 0.75 + 0.25 * _clamp(f[ALONG], 0.0, 1.0)
                albedo[0], albedo[1], albedo[2] = 0.66 * shade_, 0.60 * shade_, 0.50 * shade_
                gloss, sharp, wrap_r, wrap_g, wrap_b = 2.0, 90.0, 0.3, 0.3, 0.25
            elif material == GUM:
                albedo[0], albedo[1], albedo[2] = 0.30, 0.085, 0.075
                gloss = 1.0
            elif fibre:
                _fibre(fibres, material - HAIR, table, f, u, v, albedo)
            elif material == CLOTH:
                _fabric(cloth, table, x, y, z, albedo)
                relief, haze, broad = 0.2 * cloth.weave, 2.0 * cloth.sheen, 6.0
            elif material == HAT:
                _fabric(hat, table, x, y, z, albedo)
                relief, haze, broad = 0.2 * hat.weave, 2.0 * hat.sheen, 6.0
            elif material == FRAME:
                spots = trim.tortoise * _step(-0.1, 0.4, noise(table, 9 * x, 9 * y, 9 * z)[0])
                for c in range(3):
                    albedo[c] = trim.frame[c] * (1 + spots * (4.0 - 1.5 * c))
                gloss, sharp, base = 2.5 * trim.frame_shine, 90.0, 0.04
            else:
                for c in range(3):
                    albedo[c] = 0.25 * trim.metal[c]
                gloss, sharp, base, haze = 1.6, 70.0, 0.7, 0.5

            if relief > 0:
                a, b, c_ = noise(table, 52 * x, 52 * y, 52 * z)
                a2, b2, c2 = noise(table, 17 * x, 17 * y, 17 * z)
                nx, ny, nz = nx + relief * (0.7 * a + 0.8 * a2), ny + relief * (0.7 * b + 0.8 * b2), nz + relief * (0.7 * c_ + 0.8 * c2)  # fmt: skip
            scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-12)
            nx, ny, nz = nx * scale, ny * scale, nz * scale
            facing = nx * vx + ny * vy + nz * vz
            if facing < 0 and not fibre:
                nx, ny, nz, facing = -nx, -ny, -nz, -facing

            dim = 1.0
            if material == EYE:
                # The lids keep light off the white's rim; the cornea bulges over the iris.
                dim = f[ALONG]
                er, eg, eb = er * dim, eg * dim, eb * dim
            sr, sg, sb = albedo[0] * er, albedo[1] * eg, albedo[2] * eb
            tx, ty, tz = 0.0, 0.0, 0.0
            if fibre:
                d = surface.tangent
                tx = wa * d[i, 0] + wb * d[j, 0] + wc * d[k, 0] + 0.25 * nx * (f[STRAND] - 0.5)
                ty = wa * d[i, 1] + wb * d[j, 1] + wc * d[k, 1] + 0.25 * ny * (f[STRAND] - 0.5)
                tz = wa * d[i, 2] + wb * d[j, 2] + wc * d[k, 2] + 0.25 * nz * (f[STRAND] - 0.5)
                scale = 1 / np.sqrt(tx * tx + ty * ty + tz * tz + 1e-12)
                tx, ty, tz = tx * scale, ty * scale, tz * scale
            for lamp in range(lamps):
                if lights.colour[lamp, 1] <= 0.0:
                    continue
                lx, ly, lz = lights.direction[lamp, 0], lights.direction[lamp, 1], lights.direction[lamp, 2]  # fmt: skip
                cosine = nx * lx + ny * ly + nz * lz
                if cosine < -0.5 and not fibre:
                    continue
                lit = _lit(lights, lamp, px + 0.02 * nx, py + 0.02 * ny, pz + 0.02 * nz) * dim
                if lit <= 0.0:
                    continue
                cr, cg, cb = lights.colour[lamp, 0], lights.colour[lamp, 1], lights.colour[lamp, 2]
                hx, hy, hz = lx + vx, ly + vy, lz + vz
                scale = 1 / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-12)
                hx, hy, hz = hx * scale, hy * scale, hz * scale
                if fibre:
                    along = tx * hx + ty * hy + tz * hz
                    tl = tx * lx + ty * ly + tz * lz
                    body = np.sqrt(max(1 - tl * tl, 0.0)) * _clamp(0.35 + 0.65 * cosine, 0.0, 1.0)
                    first = np.sqrt(max(1 - (along + 0.06) ** 2, 0.0)) ** 120
                    second = np.sqrt(max(1 - (along - 0.11) ** 2, 0.0)) ** 28
                    gate = _clamp(0.25 + cosine, 0.0, 1.0) * fibres.shine[material - HAIR] * lit
                    streak = 0.5 + f[STRAND] if f[STRAND] >= 0 else 1.0
                    white = 0.06 * first * gate * streak
                    sr += cr * (albedo[0] * (body * lit * 0.9 + 1.1 * second * gate) + white)
                    sg += cg * (albedo[1] * (body * lit * 0.9 + 1.1 * second * gate) + white)
                    sb += cb * (albedo[2] * (body * lit * 0.9 + 1.1 * second * gate) + white)
                    continue
                # Red light bleeds furthest past the terminator and into the shadow's edge.
                sr += cr * albedo[0] * max(cosine + wrap_r, 0.0) / (1 + wrap_r) * lit ** (1 - 0.7 * wrap_r)  # fmt: skip
                sg += cg * albedo[1] * max(cosine + wrap_g, 0.0) / (1 + wrap_g) * lit ** (1 - 0.7 * wrap_g)  # fmt: skip
                sb += cb * albedo[2] * max(cosine + wrap_b, 0.0) / (1 + wrap_b) * lit ** (1 - 0.7 * wrap_b)  # fmt: skip
                if cosine > 0 and gloss + haze > 0:
                    half = max(nx * hx + ny * hy + nz * hz, 0.0)
                    fresnel = base + (1 - base) * (1 - max(vx * hx + vy * hy + vz * hz, 0.0)) ** 5
                    lobe = gloss * (sharp + 2) / 8 * half**sharp + haze * (broad + 2) / 8 * half**broad  # fmt: skip
                    lobe *= fresnel * cosine * lit
                    sr, sg, sb = sr + cr * lobe, sg + cg * lobe, sb + cb * lobe

            # Mirrors of the surroundings, dimmed where little of them arrives.
            if not fibre and material != CLOTH and material != HAT:
                strength = 0.35 if material == SKIN else (0.5 if material == FRAME else 1.0)
                fresnel = (base + (1 - base) * (1 - facing) ** 5) * strength
                if material == EYE:
                    which = 0 if f[STRAND] < 0.5 else 1
                    gx, gy, gz = eyes.gaze[which, 0], eyes.gaze[which, 1], eyes.gaze[which, 2]
                    bulge = 0.9 * inside
                    along = nx * gx + ny * gy + nz * gz
                    nx, ny, nz = nx + bulge * (nx - along * gx), ny + bulge * (ny - along * gy), nz + bulge * (nz - along * gz)  # fmt: skip
                    scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
                    nx, ny, nz = nx * scale, ny * scale, nz * scale
                    facing = nx * vx + ny * vy + nz * vz
                    fresnel = 0.05
                rx, ry, rz = 2 * facing * nx - vx, 2 * facing * ny - vy, 2 * facing * nz - vz
                if material == EYE:
                    for lamp in range(lamps):
                        d, a3 = lights.direction, lights.axes
                        if rx * d[lamp, 0] + ry * d[lamp, 1] + rz * d[lamp, 2] < 0.5:
                            continue
                        a = abs(rx * a3[lamp, 0, 0] + ry * a3[lamp, 0, 1] + rz * a3[lamp, 0, 2])
                        b = abs(rx * a3[lamp, 1, 0] + ry * a3[lamp, 1, 1] + rz * a3[lamp, 1, 2])
                        size = lights.box[lamp]
                        flash = (1 - _step(0.8 * size, 1.2 * size, a)) * (1 - _step(0.8 * size, 1.2 * size, b))  # fmt: skip
                        flash *= 0.9 * _clamp(dim * 1.5, 0.0, 1.0)
                        sr += flash * lights.colour[lamp, 0]
                        sg += flash * lights.colour[lamp, 1]
                        sb += flash * lights.colour[lamp, 2]
                t_ = min(abs(ry) ** 0.7, 1.0)
                end = 0 if ry > 0 else 2
                open_ = _clamp((er + eg + eb) / (lights.sky[1, 0] + lights.sky[1, 1] + lights.sky[1, 2] + 1e-6), 0.0, 1.0) * fresnel  # fmt: skip
                metal = material == METAL
                sr += open_ * (lights.sky[1, 0] + t_ * (lights.sky[end, 0] - lights.sky[1, 0])) * (trim.metal[0] if metal else 1.0)  # fmt: skip
                sg += open_ * (lights.sky[1, 1] + t_ * (lights.sky[end, 1] - lights.sky[1, 1])) * (trim.metal[1] if metal else 1.0)  # fmt: skip
                sb += open_ * (lights.sky[1, 2] + t_ * (lights.sky[end, 2] - lights.sky[1, 2])) * (trim.metal[2] if metal else 1.0)  # fmt: skip
            colour[row, column, 0], colour[row, column, 1], colour[row, column, 2] = sr, sg, sb


@njit(cache=True, nogil=True)
def glaze(near, triangle, weights, behind, position, normal, triangles, lights, trim, eye_z, colour):  # type: ignore[no-untyped-def]  # fmt: skip
    """Tint what lies behind lenses and add what they mirror, on `colour` (H, W, 3) in place."""
    height, width = triangle.shape
    for row in range(height):
        for column in range(width):
            t = triangle[row, column]
            if t < 0 or near[row, column] <= behind[row, column]:
                continue
            i, j, k = triangles[t]
            wa, wb = np.float64(weights[row, column, 0]), np.float64(weights[row, column, 1])
            p, n = np.zeros(3), np.zeros(3)
            for c in range(3):
                p[c] = wa * position[i, c] + wb * position[j, c] + (1 - wa - wb) * position[k, c]
                n[c] = wa * normal[i, c] + wb * normal[j, c] + (1 - wa - wb) * normal[k, c]
            v = np.array([-p[0], -p[1], eye_z - p[2]])
            v /= np.sqrt((v * v).sum())
            n /= np.sqrt((n * n).sum() + 1e-12)
            facing = (n * v).sum()
            if facing < 0:
                n, facing = -n, -facing
            r = 2 * facing * n - v
            fresnel = 0.045 + 0.955 * (1 - facing) ** 5 + 0.03 * trim.lens_depth
            # A window with a cross bar, high on one side: lenses mirror rooms, not gradients.
            a, b = r[0] - lights.direction[0, 0] * 0.55, r[1] - 0.28
            pane = _step(0.10, 0.14, 0.26 - abs(a)) * _step(0.10, 0.14, 0.24 - abs(b))
            t_ = min(abs(r[1]) ** 0.7, 1.0)
            end = 0 if r[1] > 0 else 2
            for c in range(3):
                passed = 1 - trim.lens_depth * (1 - trim.lens[c] * 0.6)
                mirror = lights.sky[1, c] + t_ * (lights.sky[end, c] - lights.sky[1, c])
                mirror += 1.6 * pane * lights.colour[0, c]
                colour[row, column, c] = colour[row, column, c] * passed + fresnel * mirror
