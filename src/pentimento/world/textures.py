"""Albedo from noise, compiled: skin, irises, fabrics, hair, and the shape of eyebrows.

Patterns live in rest space, so they move with the face. Functions write linear RGB into `out` (3,).

Alphabet: V vertices; `f` the 13 vertex fields of one place, see `FIELDS`.
"""

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pentimento.world.light import Doubles, Floats, Vec
from pentimento.world.materials import Brow, Eyes, Fabric, Fibres, Skin

FIELDS: Final = (
    "hairline", "brow_u", "brow_v", "beard", "blush", "under_eye", "nasolabial", "forehead",
    "lips", "lids", "lash", "strand", "along",
)  # fmt: skip
"""What is known of every vertex: fields of `anatomy.skin_fields`, softened masks of lips and lids,
and two numbers of fibres: `strand`, random in 0..1 per strand (-1: a surface textured by its uv),
and `along`, 0 root .. 1 tip. Eyeballs have their number (0 = subject's left) in `strand` and the
share of light that the lids leave them in `along`."""

HAIRLINE, BROW_U, BROW_V, BEARD, BLUSH, UNDER_EYE, FOLD = range(7)
FOREHEAD, LIPS, LIDS, RIM, STRAND, ALONG = range(7, 13)


def noise_table() -> Floats:
    """Return the (32, 32, 32, 3) lattice of the vector noise, the same in every process."""
    return np.random.Generator(np.random.PCG64(20)).uniform(-1, 1, (32, 32, 32, 3)).astype("f4")


@njit(cache=True, nogil=True)
def clamp(x: float, low: float, high: float) -> float:
    """Return x kept within low .. high."""
    return low if x < low else (high if x > high else x)


@njit(cache=True, nogil=True)
def step(low: float, high: float, x: float) -> float:
    """Return 0 below `low`, 1 above `high`, smooth between."""
    t = clamp((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


@njit(cache=True, nogil=True)
def noise(table: Floats, x: float, y: float, z: float) -> Vec:
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
def _spot(table: Floats, x: float, y: float, z: float) -> tuple[float, float]:
    """Return one round spot per unit cell: its distance from here and a random number."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    v = table[int(fz) & 31, int(fy) & 31, int(fx) & 31]
    dx, dy, dz = x - fx - 0.5 - 0.25 * v[0], y - fy - 0.5 - 0.25 * v[1], z - fz - 0.5 - 0.25 * v[2]
    return np.sqrt(dx * dx + dy * dy + dz * dz), 0.5 + 0.5 * v[0]


@njit(cache=True, nogil=True)
def brow_weight(brow: Brow, u: float, v: float) -> float:
    """Return 0..1: how much of an eyebrow is at brow coordinates (u, v)."""
    if u <= brow.start or u >= brow.end:
        return 0.0
    t = (u - brow.start) / (brow.end - brow.start)
    half = brow.thickness * (0.55 + 0.45 * step(0.0, 0.3, t)) * (1 - 0.72 * step(0.5, 1.0, t))
    centre = brow.arch * (1 - (2.3 * (t - 0.6)) ** 2) + brow.tilt * (t - 0.5)
    side = abs(v - centre) / half
    return (1 - step(0.7, 1.25, side)) * step(0.0, 0.12, t) * (1 - step(0.93, 1.0, t))


@njit(cache=True, nogil=True)
def brow_weights(brow: Brow, u: NDArray[Any], v: NDArray[Any]) -> Doubles:
    """Return `brow_weight` of many places, (N,) of (N,) and (N,)."""
    out = np.zeros(len(u))
    for i in range(len(u)):
        out[i] = brow_weight(brow, u[i], v[i])
    return out


@njit(cache=True, nogil=True)
def skin_albedo(
    skin: Skin, fibres: Fibres, table: Floats, p: Vec, f: Doubles, out: Doubles
) -> None:
    """Write the albedo of skin at rest position p: complexion, lips, marks, hair under the skin."""
    x, y, z = p
    big = noise(table, 1.7 * x, 1.7 * y, 1.7 * z)
    mid = noise(table, 7 * x, 7 * y, 7 * z)
    fine = noise(table, 31 * x, 31 * y, 31 * z)
    tone = 1 + skin.mottle * (0.25 * big[0] + 0.45 * mid[0] + 0.45 * fine[0])
    flush = clamp(0.75 * f[BLUSH] + 0.16 * mid[1] + 0.06 * big[1], -0.2, 1.0)
    lips = clamp(f[LIPS] * 1.6 - 0.3 + 0.12 * mid[0], 0.0, 1.0)
    tired, fold = skin.tired * f[UNDER_EYE], skin.wrinkles * f[FOLD]
    for c in range(3):
        out[c] = skin.albedo[c] * tone * (1 + flush * (skin.flush[c] - 1))
        out[c] *= 1 - tired * (0.2 + 0.1 * (c == 1)) - 0.15 * fold
        lip = skin.lips[c] * (1 + 0.10 * mid[0] + 0.15 * fine[0])
        out[c] += lips * (lip - out[c])
    _marks(skin, table, p, f[BLUSH], 1 - lips, out)
    beard = skin.stubble * clamp(f[BEARD] * 1.4 - 0.2 + 0.2 * mid[0], 0.0, 1.0) * (1 - lips)
    if beard > 0.01:
        speck = 0.5 + 0.5 * noise(table, 75 * x, 40 * y, 75 * z)[0]
        beard *= 0.15 + 0.2 * (skin.stubble > 0.99) + 0.55 * speck * speck
    scalp = skin.scalp * step(-0.05, 0.14, f[HAIRLINE] + 0.05 * mid[0]) * (0.75 + 0.35 * fine[1])
    brow = brow_weight(skin.brow, f[BROW_U], f[BROW_V])
    brow *= 0.85 * skin.brow.density * (1 + 0.4 * fine[0])
    lid = skin.shadow * clamp(f[LIDS] * 1.2, 0.0, 1.0)
    rim = clamp(f[RIM] * skin.liner, 0.0, 0.95)
    scalp, brow = clamp(scalp, 0.0, 1.0), clamp(brow, 0.0, 0.9)
    for c in range(3):
        out[c] += beard * (skin.stubble_colour[c] * 0.7 - out[c])
        out[c] *= 1 + lid * (skin.shadow_colour[c] * 1.2 - 1)
        out[c] += scalp * (fibres.colour[0][c] - out[c])
        out[c] += brow * (fibres.colour[1][c] - out[c])
        out[c] += rim * (fibres.colour[3][c] * 1.5 - out[c])


@njit(cache=True, nogil=True)
def _marks(skin: Skin, table: Floats, p: Vec, blush: float, bare: float, out: Doubles) -> None:
    """Darken freckles, which gather where the skin blushes, and moles."""
    x, y, z = p
    if skin.freckles > 0.05:
        d, r = _spot(table, 12 * x, 12 * y, 12 * z)
        e, s = _spot(table, 23 * x + 5, 23 * y, 23 * z)
        amount = 0.55 * (r < 0.6) * (1 - step(0.1, 0.3, d)) + 0.4 * (1 - step(0.1, 0.35, e)) * s
        amount *= skin.freckles * bare * clamp(0.25 + blush, 0.0, 1.0)
        for c in range(3):
            out[c] *= 1 - amount * (0.35 + 0.15 * c)
    d, r = _spot(table, 2.9 * x + 9, 2.9 * y, 2.9 * z)
    if r < 0.12 * skin.moles and bare > 0.9:
        mole = 0.8 * (1 - step(0.025, 0.05, d))
        for c in range(3):
            out[c] *= 1 - mole * (0.55 + 0.12 * c)


@njit(cache=True, nogil=True)
def eye_albedo(eyes: Eyes, side: int, table: Floats, a: float, b: float, out: Doubles) -> float:
    """Write the albedo of eyeball `side`, (a, b) radii off the gaze; return 1 inside the iris."""
    distance = np.sqrt(a * a + b * b)
    r = distance / np.sin(eyes.iris_angle)
    veins = noise(table, 9 * a + eyes.seed, 26 * b, 3.0 * side)[0]
    pink = clamp(distance - 0.45, 0.0, 1.0) + 0.16 * max(veins, 0.0)
    for c in range(3):
        out[c] = eyes.sclera[c] * (1 - pink * (0.10 if c == 0 else 0.42))
    inside = 1 - step(0.92, 1.06, r)
    if inside > 0:
        angle = np.arctan2(b, a)
        x, y = 5 * np.cos(angle), 5 * np.sin(angle)
        rays = noise(table, x * 2.6 + eyes.seed, y * 2.6, 2.2 * r)[0]
        rays += 0.6 * noise(table, x * 6 + eyes.seed, y * 6, 1.5 * r)[0]
        heart = 0.6 * (1 - step(eyes.pupil, eyes.pupil + 0.3, r + 0.06 * rays))
        ring = 1 - eyes.ring * step(0.72, 1.0, r)
        pupil = 1 - step(eyes.pupil - 0.05, eyes.pupil + 0.05, r)
        for c in range(3):
            iris = eyes.iris[c] + heart * (eyes.inner[c] - eyes.iris[c])
            iris *= (1 + 0.45 * rays) * ring * 1.15
            iris += pupil * (0.004 - iris)
            out[c] += inside * (max(iris, 0.003) - out[c])
    return inside


@njit(cache=True, nogil=True)
def fabric_albedo(cloth: Fabric, table: Floats, p: Vec, out: Doubles) -> None:
    """Write the albedo of a fabric at rest position p."""
    x, y, z = p
    wobble = noise(table, 2 * x, 2 * y, 2 * z)[0] * 0.04
    u, v = (x + wobble) / cloth.pitch, (y + 0.3 * z + wobble) / cloth.pitch
    u, v = u - np.floor(u), v - np.floor(v)
    amount = 0.0
    if cloth.pattern == 1:
        amount = 1.0 * (v < 0.4)
    elif cloth.pattern == 2:
        amount = 1.0 * (u < 0.25)
    elif cloth.pattern == 3:
        amount = 0.5 * (u < 0.4) + 0.5 * (v < 0.4)
    elif cloth.pattern == 4:
        amount = 1.0 * ((u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.06)
    elif cloth.pattern == 5:
        amount = 0.35 * clamp(0.5 + noise(table, 26 * x, 80 * y, 26 * z)[0], 0.0, 1.0)
    thread = 1 + 0.6 * cloth.weave * noise(table, 40 * x, 30 * y, 40 * z)[1]
    for c in range(3):
        out[c] = (cloth.colour[c] + amount * (cloth.second[c] - cloth.colour[c])) * thread


@njit(cache=True, nogil=True)
def fibre_albedo(
    fibres: Fibres, kind: int, table: Floats, strand: float, along: float, u: float, v: float,
    out: Doubles,
) -> None:  # fmt: skip
    """Write the colour of one strand or, where `strand` < 0, of many side by side.

    On the latter, surfaces of hair, the strands are noise in (u, v) stretched along v.
    """
    if strand < 0:
        bend = 0.02 * fibres.curl * np.sin(9 * v + 40 * u)
        fine = noise(table, 210 * (u + bend), 2.5 * v, 3.0)[0]
        wide = noise(table, 48 * (u + bend), 1.3 * v, 7.0)[0]
        strand, along = clamp(0.5 + 0.35 * fine + 0.3 * wide, 0.0, 1.0), v
        white = fibres.grey[kind] * clamp(0.8 + 0.6 * wide, 0.0, 1.0)
    else:
        white = 1.0 if (strand * 97.31) % 1.0 < fibres.grey[kind] else 0.0
    level = 1 + fibres.vary[kind] * (2.4 * strand - 1.2)
    level *= fibres.root[kind] + (1 - fibres.root[kind]) * clamp(2.5 * along, 0.0, 1.0)
    for c in range(3):
        colour = fibres.colour[kind][c]
        out[c] = max(level, 0.15) * (colour + 0.75 * white * (0.38 - 0.035 * c - colour))
