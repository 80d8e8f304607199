"""Everyday things: solids of revolution and boxes, covered with tiles.

Frame of a thing: decimetres, standing on y = 0 about the y axis. Alphabet: V vertices; T triangles;
C covers, each with a tile; H, W samples.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pentimento.world.light import Doubles, Floats, Vecs, dot, normed, plus, surroundings
from pentimento.world.mesh import grid_triangles, vertex_normals
from pentimento.world.tiles import VARIANTS, sample, stack, tile

Rng = np.random.Generator


class Prop(NamedTuple):
    """A thing.

    Attributes:
        position: (V, 3).
        normal: (V, 3) unit.
        triangles: (T, 3).
        uv: (T, 3, 2) in tiles.
        cover: (T,).
        tiles: (C, M, 3).
        tint: (C, 3) multiplies the tile.
        gloss: (C,) strength of highlights.
    """

    position: Floats
    normal: Floats
    triangles: NDArray[np.int32]
    uv: Floats
    cover: NDArray[np.int64]
    tiles: NDArray[np.uint8]
    tint: Doubles
    gloss: Doubles


class _Maker:
    """Collects pieces."""

    def __init__(self, rng: Rng):
        self.rng = rng
        self.pieces: list[tuple[Any, ...]] = []
        self.covers: list[tuple[Any, ...]] = []
        self.count = 0

    def cover(self, *kinds: str, gloss: float = 0.2, tint: Any = None) -> int:
        rng = self.rng
        kind = kinds[int(rng.integers(len(kinds)))]
        if tint is None:
            tint = np.exp(rng.normal(0, 0.3)) * (1 + 0.12 * rng.normal(0, 1, 3))
        self.covers.append((tile(kind, int(rng.integers(VARIANTS))), np.clip(tint, 0.1, 3), gloss))
        return len(self.covers) - 1

    def add(self, position: Any, triangles: Any, uv: Any, cover: int) -> None:
        self.pieces.append(
            (position.reshape(-1, 3), triangles + self.count, uv, np.full(len(triangles), cover))
        )
        self.count += position.size // 3

    def turned(
        self, profile: Any, cover: int, *, sides: int = 20, repeat: float = 1.0, at: Any = (0, 0, 0)
    ) -> None:
        """Add a solid of revolution from (radius, height) pairs, top first."""
        profile = np.asarray(profile, np.float64)
        turn = np.linspace(0, 2 * np.pi, sides + 1)
        ring = np.stack([np.sin(turn), np.cos(turn)], -1)
        points = np.empty((len(profile), sides + 1, 3))
        points[..., [0, 2]] = profile[:, :1, None] * ring
        points[..., 1] = profile[:, 1:]
        steps = np.hypot(*np.diff(profile, axis=0).T)
        v = np.concatenate([[0], np.cumsum(steps)]) / max(steps.sum(), 1e-6)
        u = np.linspace(0, repeat, sides + 1)
        uv = np.stack(np.broadcast_arrays(u, v[:, None]), -1).reshape(-1, 2)
        grid = grid_triangles(len(profile), sides + 1)
        self.add(points + np.asarray(at), grid, uv[grid], cover)

    def box(self, low: Any, high: Any, cover: int, pitch: float = 8.0) -> None:
        """Add a box between two corners; `pitch` decimetres of it show one tile."""
        low, high = np.asarray(low, float), np.asarray(high, float)
        for axis in range(3):
            i, j = (axis + 1) % 3, (axis + 2) % 3
            for end in (0, 1):
                corners = np.tile(low, (4, 1))
                corners[[1, 2], i] = high[i]
                corners[[2, 3], j] = high[j]
                corners[:, axis] = (low, high)[end][axis]
                order = np.array([[0, 1, 2], [0, 2, 3]])
                flat = (corners[:, [i, j]] - low[[i, j]]) / pitch
                if axis == 0:
                    flat = flat[:, ::-1]
                flat[:, 1] *= -1
                faces = order if end else order[:, ::-1]
                self.add(corners, faces, flat[faces], cover)

    def prop(self) -> Prop:
        whole = [np.concatenate(column) for column in zip(*self.pieces, strict=True)]
        position, triangles = whole[0].astype(np.float32), whole[1].astype(np.int32)
        texels, tint, gloss = zip(*self.covers, strict=True)
        return Prop(
            position, vertex_normals(position, triangles), triangles, whole[2].astype(np.float32),
            whole[3].astype(np.int64), stack(list(texels)), np.array(tint, np.float64),
            np.array(gloss, np.float64),
        )  # fmt: skip


_SKINS: Final = ("weave", "plaster", "blotches", "fibres", "wallpaper")


def _round(radius: float, squash: float = 1.0, rows: int = 12) -> Any:
    t = np.linspace(0, np.pi, rows)
    return np.stack([radius * np.sin(t), radius * squash * (1 + np.cos(t))], 1)


def _ball(k: _Maker) -> None:
    cover = k.cover("weave", "squares", "blotches", "clutter", "plaster", "stones", gloss=0.5)
    k.turned(_round(k.rng.uniform(0.5, 1.6)), cover, repeat=2.0)


def _balloon(k: _Maker) -> None:
    tint = np.clip(k.rng.uniform(-0.2, 1.6, 3), 0.03, 1.6)
    k.turned(_round(1.3, 1.2), k.cover("plaster", gloss=1.0, tint=tint))


def _fruit(k: _Maker) -> None:
    tint = [(1.2, 0.2, 0.1), (1.2, 0.6, 0.05), (0.6, 0.9, 0.1), (1.2, 1.0, 0.1)][k.rng.integers(4)]
    k.turned(_round(k.rng.uniform(0.32, 0.5), 0.95), k.cover("plaster", gloss=0.6, tint=tint))


def _bottle(k: _Maker) -> None:
    r, h = k.rng.uniform(0.3, 0.5), k.rng.uniform(2.0, 3.2)
    glass = k.cover("plaster", gloss=1.2, tint=k.rng.uniform(0.05, 1, 3))
    k.turned([(0.01, h), (0.14, h), (0.14, 0.78 * h), (r, 0.58 * h), (r, 0), (0, 0)], glass)
    label = k.cover("print", "weave", gloss=0.1)
    k.turned([(r + 0.01, 0.5 * h), (r + 0.01, 0.15 * h)], label)


def _cup(k: _Maker) -> None:
    r, h = k.rng.uniform(0.35, 0.5), k.rng.uniform(0.8, 1.3)
    cover = k.cover(*_SKINS, "print", gloss=0.8)
    k.turned([(0, 0.2), (0.9 * r, 0.2), (r, h), (1.05 * r, h), (0.8 * r, 0), (0, 0)], cover)
    if k.rng.random() < 0.6:
        t = np.linspace(-1.3, 1.3, 7)
        path = np.stack([r + 0.25 * np.cos(t), 0.5 * h + 0.3 * np.sin(t)], 1)
        for a, b in pairwise(path):
            low, high = np.minimum(a, b) - 0.04, np.maximum(a, b) + 0.04
            k.box((low[0], low[1], -0.07), (high[0], high[1], 0.07), cover)


def _bowl(k: _Maker) -> None:
    r = k.rng.uniform(0.7, 1.2)
    cover = k.cover(*_SKINS, gloss=0.7)
    k.turned([(0, 0.1), (0.6 * r, 0.15), (0.95 * r, 0.6), (r, 0.6), (0.5 * r, 0), (0, 0)], cover)


def _plate(k: _Maker) -> None:
    r = k.rng.uniform(1.0, 1.4)
    k.turned(
        [(0, 0.05), (0.7 * r, 0.06), (r, 0.2), (r, 0.16), (0.6 * r, 0)], k.cover(*_SKINS, gloss=0.7)
    )


def _vase(k: _Maker) -> None:
    h, r = k.rng.uniform(2, 4), k.rng.uniform(0.5, 0.9)
    t = np.linspace(1, 0, 14)
    wave = 0.55 + 0.45 * np.sin(2.6 * t * np.pi * k.rng.uniform(0.5, 0.8) + k.rng.uniform(0, 2))
    k.turned([(0.0, 0.8 * h), *np.stack([r * wave, h * t], 1), (0, 0)], k.cover(*_SKINS, gloss=0.8))
    if k.rng.random() < 0.5:
        _bunch(k, h, k.rng.uniform(1, 2.5), 26)


def _bunch(k: _Maker, height: float, size: float, count: int) -> None:
    """Add leaves: bent diamonds that stand out of a pot."""
    rng = k.rng
    cover = k.cover("foliage", "grass", gloss=0.25)
    for _ in range(count):
        turn, rise = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 1.4)
        out = np.array([np.cos(turn) * np.cos(rise), np.sin(rise), np.sin(turn) * np.cos(rise)])
        side = np.cross(out, [0, 1, 0]) / max(np.cos(rise), 0.1)
        long, wide = size * rng.uniform(0.6, 1.3), size * rng.uniform(0.08, 0.2)
        t = np.array([0.05, 0.35, 0.7, 1.0])[:, None]
        spine = np.array([0, height, 0]) + out * t * long - np.array([0, 0.35, 0]) * long * t**2
        half = wide * np.array([0.15, 1.0, 0.8, 0.02])[:, None] * side
        points = np.stack([spine - half, spine + half], 1)
        u, v = rng.random(2)
        uv = np.stack(np.broadcast_arrays([[u, u + 0.2]], v + 0.4 * t), -1).reshape(-1, 2)
        grid = grid_triangles(4, 2)
        k.add(points, grid, uv[grid], cover)


def _plant(k: _Maker) -> None:
    r, h = k.rng.uniform(0.8, 1.8), k.rng.uniform(1.2, 3)
    pot = k.cover("plaster", "stones", "brick", "weave", gloss=0.2)
    k.turned([(0, 0.9 * h), (0.9 * r, 0.9 * h), (0.95 * r, h), (r, h), (0.7 * r, 0), (0, 0)], pot)
    _bunch(k, 0.95 * h, k.rng.uniform(3, 8), 44)


def _lamp(k: _Maker) -> None:
    h = k.rng.uniform(8, 15)
    k.turned([(0.1, h), (0.1, 0.3), (1.2, 0.2), (1.2, 0)], k.cover("plaster", gloss=1.0), sides=12)
    bright = k.cover("plaster", "curtain", gloss=0.0, tint=np.full(3, k.rng.uniform(1.2, 3)))
    k.turned([(0.8, h + 1.2), (1.6, h - 1.2), (1.5, h - 1.2)], bright)


def _clock(k: _Maker) -> None:
    r = k.rng.uniform(1.0, 1.8)
    face = k.cover("print", "plaster", gloss=0.3)
    rim = k.cover("plaster", "planks", gloss=0.6)
    turn = np.linspace(0, 2 * np.pi, 25)
    ring = np.stack([np.cos(turn), np.sin(turn)], 1)
    flat = np.concatenate([[[0, 0]], ring])
    fan = np.stack([np.zeros(24, int), np.arange(1, 25), np.arange(2, 26)], 1)
    position = np.concatenate([r * flat + [0, r], np.full((26, 1), 0.15)], 1)
    k.add(position, fan, (0.5 + 0.4 * flat)[fan], face)
    ends = [np.concatenate([r * s * ring + [0, r], np.full((25, 1), z)], 1)
            for s, z in ((1.0, 0.15), (1.0, 0.25), (1.1, 0.2), (1.1, -0.2))]  # fmt: skip
    grid = grid_triangles(4, 25)
    uv = np.stack(np.broadcast_arrays(turn / 2, np.arange(4)[:, None] / 8), -1).reshape(-1, 2)
    k.add(np.stack(ends), grid[:, ::-1], uv[grid[:, ::-1]], rim)


def _book(k: _Maker) -> None:
    w, h, d = k.rng.uniform(1.2, 2.2), k.rng.uniform(0.15, 0.5), k.rng.uniform(1.6, 2.8)
    upright = k.rng.random() < 0.5
    cover = k.cover("print", "weave", "clutter", "blotches", gloss=0.3)
    size = (w, d, h) if upright else (w, h, d)
    k.box((-size[0] / 2, 0, -size[2] / 2), (size[0] / 2, size[1], size[2] / 2), cover, 3.0)


def _box(k: _Maker) -> None:
    w, h, d = k.rng.uniform(1.5, 6, 3)
    card = np.array([1.0, 0.75, 0.5]) * k.rng.uniform(0.4, 0.9)
    cover = k.cover("print", "weave", "planks", "blotches", gloss=0.1)
    if k.rng.random() < 0.5:
        cover = k.cover("plaster", "fibres", gloss=0.05, tint=card)
    k.box((-w / 2, 0, -d / 2), (w / 2, h, d / 2), cover, 5.0)


def _bag(k: _Maker) -> None:
    w, h, d = k.rng.uniform(2, 4), k.rng.uniform(2, 4), k.rng.uniform(0.8, 1.6)
    cover = k.cover("weave", "fibres", "plaster", gloss=0.3)
    k.box((-w / 2, 0, -d / 2), (w / 2, h, d / 2), cover, 4.0)
    for x in (-0.25 * w, 0.25 * w):
        k.box((x - 0.1, h, -0.1), (x + 0.1, h + 1.2, 0.1), cover)
    k.box((-0.25 * w - 0.1, h + 1.0, -0.1), (0.25 * w + 0.1, h + 1.2, 0.1), cover)


def _chair(k: _Maker) -> None:
    cover = k.cover("planks", "weave", "plaster", gloss=0.3)
    w = k.rng.uniform(4, 5)
    seat = 4.5
    for x in (-w / 2, w / 2 - 0.4):
        for z in (-w / 2, w / 2 - 0.4):
            k.box((x, 0, z), (x + 0.4, seat, z + 0.4), cover)
        k.box((x, seat, -w / 2), (x + 0.4, 9.3, -w / 2 + 0.3), cover)
    k.box((-w / 2, seat, -w / 2), (w / 2, seat + 0.5, w / 2), cover, 5)
    for y in (6.0, 7.2, 8.4):
        k.box((-w / 2, y, -w / 2), (w / 2, y + 0.7, -w / 2 + 0.25), cover, 5)


def _table(k: _Maker) -> None:
    w, d = k.rng.uniform(9, 18), k.rng.uniform(6, 9)
    top = k.cover("planks", "plaster", "squares", "weave", gloss=0.4)
    leg = k.cover("planks", "plaster", gloss=0.3)
    k.box((-w / 2, 7.0, -d / 2), (w / 2, 7.4, d / 2), top, 10)
    for x in (-w / 2 + 0.2, w / 2 - 0.8):
        for z in (-d / 2 + 0.2, d / 2 - 0.8):
            k.box((x, 0, z), (x + 0.6, 7.0, z + 0.6), leg)


def _screen(k: _Maker) -> None:
    w = k.rng.uniform(2.5, 6)
    h = 0.6 * w
    rim = k.cover("plaster", gloss=0.5, tint=np.full(3, 0.08))
    k.box((-w / 2, 0.5, -0.2), (w / 2, 0.5 + h, 0), rim)
    k.box((-0.5, 0, -0.6), (0.5, 0.6, 0), rim)
    shown = k.cover("blotches", "print", "clutter", gloss=0.2, tint=np.full(3, 1.5))
    k.box((-0.47 * w, 0.6, 0), (0.47 * w, 0.4 + h, 0.02), shown, w)


MAKERS: Final[dict[str, Callable[[_Maker], None]]] = {
    "ball": _ball, "bottle": _bottle, "cup": _cup, "bowl": _bowl, "book": _book, "chair": _chair,
    "table": _table, "vase": _vase, "plant": _plant, "box": _box, "lamp": _lamp, "clock": _clock,
    "balloon": _balloon, "fruit": _fruit, "screen": _screen, "bag": _bag, "plate": _plate,
}  # fmt: skip
"""Name of the category → what makes one."""

SMALL: Final = ("bottle", "cup", "bowl", "book", "vase", "fruit", "plate", "clock", "screen")
"""What stands on tables."""


def make_prop(name: str, seed: int) -> Prop:
    """Return a thing of a category; the same seed gives the same thing."""
    maker = _Maker(np.random.Generator(np.random.PCG64([seed, 11])))
    MAKERS[name](maker)
    return maker.prop()


@njit(cache=True, nogil=True)
def shade_prop(
    triangle: NDArray[np.int32], weights: Floats, prop: Prop, sky: Vecs, direction: Doubles,
    lamp: Doubles, scale: float, colour: Floats,
) -> None:  # fmt: skip
    """Write the colour (H, W, 3) of every sample of a thing, which stands where it is seen.

    Args:
        triangle: (H, W), -1 where it is not seen.
        weights: (H, W, 2).
        prop: its `position` and `normal` in the camera's frame.
        sky: (3, 3) as in `light.Lights`.
        direction: (L, 3) unit, towards the lamps.
        lamp: (L, 3) irradiance when facing it.
        scale: pixels per unit at unit distance.
        colour: (H, W, 3) linear radiance.
    """
    for row in range(triangle.shape[0]):
        for column in range(triangle.shape[1]):
            t = triangle[row, column]
            if t < 0:
                continue
            a, b = np.float64(weights[row, column, 0]), np.float64(weights[row, column, 1])
            c = 1 - a - b
            i, j, k = prop.triangles[t]
            x = a * prop.position[i, 0] + b * prop.position[j, 0] + c * prop.position[k, 0]
            y = a * prop.position[i, 1] + b * prop.position[j, 1] + c * prop.position[k, 1]
            z = a * prop.position[i, 2] + b * prop.position[j, 2] + c * prop.position[k, 2]
            n = normed((
                a * prop.normal[i, 0] + b * prop.normal[j, 0] + c * prop.normal[k, 0],
                a * prop.normal[i, 1] + b * prop.normal[j, 1] + c * prop.normal[k, 1],
                a * prop.normal[i, 2] + b * prop.normal[j, 2] + c * prop.normal[k, 2],
            ))  # fmt: skip
            view = normed((-x, -y, -z))
            if dot(n, view) < 0:
                n = (-n[0], -n[1], -n[2])
            uv = prop.uv[t]
            u = a * uv[0, 0] + b * uv[1, 0] + c * uv[2, 0]
            v = a * uv[0, 1] + b * uv[1, 1] + c * uv[2, 1]
            cover = prop.cover[t]
            albedo = sample(prop.tiles[cover], u, v, -z / scale / 4.0)
            tint, gloss = prop.tint[cover], prop.gloss[cover]
            around = surroundings(sky, n[1])
            r, g, s = 0.85 * around[0], 0.85 * around[1], 0.85 * around[2]
            shine = 0.0
            for lit in range(direction.shape[0]):
                if lamp[lit, 1] <= 0:
                    continue
                to = (direction[lit, 0], direction[lit, 1], direction[lit, 2])
                cosine = max(dot(n, to), 0.0)
                r += cosine * lamp[lit, 0]
                g += cosine * lamp[lit, 1]
                s += cosine * lamp[lit, 2]
                half = max(dot(n, normed(plus(to, 1.0, view))), 0.0)
                shine += gloss * lamp[lit, 1] * (0.6 * half**60 + 0.06 * half**9)
            facing = 1 - max(dot(n, view), 0.0)
            mirror = gloss * (0.04 + 0.6 * facing**5) * around[1]
            colour[row, column, 0] = albedo[0] * tint[0] * r + shine + mirror
            colour[row, column, 1] = albedo[1] * tint[1] * g + shine + mirror
            colour[row, column, 2] = albedo[2] * tint[2] * s + shine + mirror
