"""Surfaces as tiles: plaster, brick, planks, grass, foliage, shelves, façades, print and more.

A tile is a square bitmap that repeats without seams, with its smaller versions. Each kind is
painted in a few variants, once per process; scenes tint and scale them. Values are the square
roots of linear light, which eight bits hold well.

Alphabet: N side of a tile; M texels of a tile and all its smaller versions.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from pentimento.world.light import Floats, Vec
from pentimento.world.materials import linear

Rng = np.random.Generator
Field = NDArray[np.float32]

SIDE: Final = 256
VARIANTS: Final = 8
LEVELS: Final = 8
TEXELS: Final = sum((SIDE >> level) ** 2 for level in range(LEVELS))


@lru_cache(maxsize=256)
def tile(kind: str, variant: int) -> NDArray[np.uint8]:
    """Return (M, 3) texels of a tile, largest version first, row by row.

    Args:
        kind: a key of `PAINTERS`.
        variant: 0 .. `VARIANTS` - 1.
    """
    rng = np.random.Generator(np.random.PCG64([crc32(kind.encode()), variant]))
    field = np.clip(PAINTERS[kind](rng), 0, 1).astype(np.float32)
    rows = []
    for level in range(LEVELS):
        side = SIDE >> level
        small = cv2.resize(field, (side, side), interpolation=cv2.INTER_AREA) if level else field
        rows.append(np.rint(255 * np.sqrt(small)).reshape(-1, 3))
    return np.concatenate(rows).astype(np.uint8)


@njit(cache=True, nogil=True)
def sample(texels: NDArray[np.uint8], u: float, v: float, footprint: float) -> Vec:
    """Return the linear colour of a tile at (u, v), whose whole side is one unit.

    Args:
        texels: (M, 3).
        u: across.
        v: down.
        footprint: units per pixel of the picture.
    """
    level, first, side = 0, 0, SIDE
    wide = footprint * SIDE * 0.75
    while wide > 1.0 and level < LEVELS - 1:
        first += side * side
        side //= 2
        wide *= 0.5
        level += 1
    x, y = (u - np.floor(u)) * side - 0.5, (v - np.floor(v)) * side - 0.5
    fx, fy = np.floor(x), np.floor(y)
    x, y = x - fx, y - fy
    i, j = int(fx) % side, int(fy) % side
    right, below = (i + 1) % side, (j + 1) % side
    a, b = first + j * side + i, first + j * side + right
    c, d = first + below * side + i, first + below * side + right
    k00, k01, k10, k11 = (1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y
    r = k00 * texels[a, 0] + k01 * texels[b, 0] + k10 * texels[c, 0] + k11 * texels[d, 0]
    g = k00 * texels[a, 1] + k01 * texels[b, 1] + k10 * texels[c, 1] + k11 * texels[d, 1]
    s = k00 * texels[a, 2] + k01 * texels[b, 2] + k10 * texels[c, 2] + k11 * texels[d, 2]
    n = 1.0 / (255.0 * 255.0)
    return (r * r * n, g * g * n, s * s * n)


def _noise(rng: Rng, slope: float = 1.0, stretch: float = 1.0) -> Field:
    """Return seamless noise (N, N) of mean 0, deviation 1, whose amplitude falls as f^-slope.

    `stretch` > 1 draws it out along x.
    """
    f = np.hypot(np.fft.fftfreq(SIDE)[:, None], stretch * np.fft.rfftfreq(SIDE)[None]) * SIDE
    spectrum = np.fft.rfft2(rng.normal(0, 1, (SIDE, SIDE))) / np.maximum(f, 1) ** slope
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (SIDE, SIDE))
    return np.asarray(field / field.std(), np.float32)


def _colour(rng: Rng, low: float, high: float, chroma: float = 0.15) -> Field:
    """Return a muted linear colour (3,)."""
    tint = 0.75 * chroma * rng.normal(0, 1, 3).clip(-1.6, 1.6) * [1, 0.5, 1]
    return linear(np.clip(rng.uniform(low, high) * (1 + tint), 3, 252)).astype(np.float32)


def _grid() -> tuple[Field, Field]:
    y, x = (np.mgrid[:SIDE, :SIDE].astype(np.float32) + 0.5) / SIDE
    return x, y


def _plaster(rng: Rng) -> Field:
    field = 0.05 * _noise(rng, 1.6) + rng.uniform(0.01, 0.05) * _noise(rng, 0.4)
    return np.asarray(_colour(rng, 110, 245, 0.12) * (1 + field[..., None]), np.float32)


def _wallpaper(rng: Rng) -> Field:
    x, y = _grid()
    n, m = int(rng.integers(3, 9)), int(rng.integers(2, 7))
    waves = np.cos(2 * np.pi * n * x) + np.cos(2 * np.pi * m * y) * rng.choice([0, 1.0])
    waves += 0.8 * np.cos(2 * np.pi * (n * x + m * y)) * np.cos(2 * np.pi * (n * x - m * y))
    amount = 1 / (1 + np.exp(-6 * (waves - rng.uniform(-0.3, 0.9))))[..., None]
    a, b = _colour(rng, 90, 235, 0.2), _colour(rng, 90, 235, 0.2)
    wall = (a + amount * (b - a)) * (1 + 0.03 * _noise(rng, 0.7)[..., None])
    return np.asarray(wall, np.float32)


def _courses(rng: Rng, rows: int, columns: int, shift: float, gap: float) -> tuple[Any, Any]:
    """Return the number of the stone at every texel and whether there is mortar."""
    x, y = _grid()
    x = x + 0.003 * _noise(rng, 1.0)
    y = y + 0.003 * _noise(rng, 1.0)
    row = np.floor(y * rows).astype(int) % rows
    across = x * columns + shift * row
    number = (np.floor(across).astype(int) % columns) + columns * row
    u, v = across - np.floor(across), y * rows - np.floor(y * rows)
    edge = np.minimum(np.minimum(u, 1 - u) / columns, np.minimum(v, 1 - v) / rows)
    return number, edge < gap


def _brick(rng: Rng) -> Field:
    number, mortar = _courses(rng, 16, 6, 0.5, 0.005)
    base = linear([(150, 72, 54), (172, 110, 84), (120, 60, 50), (176, 150, 128)][rng.integers(4)])
    tone = rng.uniform(0.6, 1.25, 96)[number][..., None]
    wall = base * tone * (1 + 0.16 * _noise(rng, 0.8)[..., None])
    wall[mortar] = _colour(rng, 120, 200, 0.05) * (1 + 0.1 * _noise(rng, 0.6)[mortar][:, None])
    return np.asarray(wall, np.float32)


def _squares(rng: Rng) -> Field:
    n = int(rng.integers(3, 9))
    number, grout = _courses(rng, n, n, 0, 0.004)
    a, b = _colour(rng, 60, 235, 0.12), _colour(rng, 60, 235, 0.12)
    chess = rng.random() < 0.4
    odd = ((number // n + number % n) % 2 * chess)[..., None]
    wall = (a + odd * (b - a)) * rng.uniform(0.9, 1.05, n * n)[number][..., None]
    wall = wall * (1 + 0.06 * _noise(rng, 1.3)[..., None])
    wall[grout] *= rng.uniform(0.4, 0.8)
    return np.asarray(wall, np.float32)


def _planks(rng: Rng) -> Field:
    n = int(rng.integers(4, 10))
    _, y = _grid()
    number = np.floor(y * n).astype(int) % n
    shift = rng.integers(0, SIDE, n)[number]
    columns = (np.arange(SIDE)[None] + shift) % SIDE
    grain = np.take_along_axis(_noise(rng, 0.9, 14.0), columns, 1)
    fine = np.take_along_axis(_noise(rng, 0.5, 30.0), columns, 1)
    base = linear([(150, 104, 66), (186, 144, 100), (96, 62, 40), (206, 180, 146), (120, 110, 100)][
        rng.integers(5)
    ])  # fmt: skip
    wood = base * (1 + 0.16 * grain + 0.09 * fine)[..., None]
    wood = wood * rng.uniform(0.75, 1.2, n)[number][..., None]
    edge = np.abs(y * n - np.round(y * n)) < 0.025
    wood[edge] *= 0.35
    return np.asarray(wood, np.float32)


def _fibres(rng: Rng) -> Field:
    a, b = _colour(rng, 30, 200, 0.3), _colour(rng, 30, 200, 0.3)
    amount = 1 / (1 + np.exp(-3 * _noise(rng, rng.uniform(0.8, 1.6))))[..., None]
    mix = a + amount * (b - a) * rng.uniform(0, 1)
    return np.asarray(mix * (1 + 0.22 * _noise(rng, 0.1)[..., None]), np.float32)


def _grass(rng: Rng) -> Field:
    blades = 0.5 * _noise(rng, 0.3, 0.4) + 0.5 * _noise(rng, 0.9) + 0.4 * _noise(rng, 1.6)
    amount = np.clip(0.45 + 0.3 * blades, 0, 1.4)[..., None]
    dark, bright = linear((34, 52, 20)), linear((132, 152, 62))
    if rng.random() < 0.3:
        dark, bright = linear((70, 62, 34)), linear((176, 160, 96))
    return np.asarray(dark + amount * (bright - dark), np.float32)


def _asphalt(rng: Rng) -> Field:
    base = _colour(rng, 70, 150, 0.05)
    spots = 0.16 * _noise(rng, 0.1) + 0.12 * _noise(rng, 1.4)
    return np.asarray(base * (1 + spots[..., None]), np.float32)


def _sand(rng: Rng) -> Field:
    base = linear([(206, 180, 140), (226, 208, 176), (170, 140, 104)][rng.integers(3)])
    field = 0.07 * _noise(rng, 0.2) + 0.1 * _noise(rng, 1.2, 0.5) + 0.05 * _noise(rng, 1.8)
    return np.asarray(base * (1 + field[..., None]), np.float32)


def _stones(rng: Rng) -> Field:
    """Pebbles or rubble: the cells of random points."""
    x, y = _grid()
    points = rng.random((int(rng.integers(30, 110)), 2)).astype(np.float32)
    x, y = x + 0.006 * _noise(rng, 1.1), y + 0.006 * _noise(rng, 1.1)
    first = np.full((SIDE, SIDE), 9.0, np.float32)
    second, number = first.copy(), np.zeros((SIDE, SIDE), int)
    for index, (px, py) in enumerate(points):
        dx, dy = np.abs(x - px), np.abs(y - py)
        d = np.minimum(dx, 1 - dx) ** 2 + np.minimum(dy, 1 - dy) ** 2
        closer = d < first
        second = np.where(closer, first, np.minimum(second, d))
        first = np.where(closer, d, first)
        number[closer] = index
    ridge = np.sqrt(second) - np.sqrt(first)
    tone = rng.uniform(0.6, 1.2, len(points))[number] * np.clip(0.25 + ridge * 30, 0.3, 1)
    tint = 1 + 0.05 * rng.normal(0, 1, (len(points), 3))[number]
    stone = _colour(rng, 90, 190, 0.06) * tone[..., None] * tint
    return np.asarray(stone * (1 + 0.1 * _noise(rng, 0.7)[..., None]), np.float32)


def _water(rng: Rng) -> Field:
    waves = 0.6 * _noise(rng, 1.2, 4.0) + 0.4 * _noise(rng, 0.8, 3.0)
    deep, sky = linear((28, 62, 78)) * rng.uniform(0.6, 1.5), linear((150, 184, 206))
    amount = np.clip(0.35 + 0.28 * waves, 0, 1.2)[..., None]
    return np.asarray(deep + amount * (sky - deep), np.float32)


def _leaves(
    rng: Rng, canvas: Field, count: int, colour: Callable[[], Any], sizes: tuple[float, float],
    kinds: tuple[str, ...],
) -> Field:  # fmt: skip
    """Drop random shapes on a tile, each over the earlier ones and over the tile's edges."""
    for _ in range(count):
        size = SIDE * float(np.exp(rng.uniform(*np.log(sizes))))
        cx, cy = rng.uniform(0, SIDE, 2)
        axes = (max(1, int(size)), max(1, int(size * rng.uniform(0.25, 1))))
        angle, kind = rng.uniform(0, 180), kinds[int(rng.integers(len(kinds)))]
        value = tuple(float(v) for v in colour())
        turn = np.radians(angle)
        corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1.0]]) * axes
        if kind == "triangle":
            corners = corners[:3]
        corners = corners @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        reach = axes[0] + axes[1]
        for dx in (-SIDE, 0, SIDE):
            for dy in (-SIDE, 0, SIDE):
                x, y = cx + dx, cy + dy
                if not (-reach < x < SIDE + reach and -reach < y < SIDE + reach):
                    continue
                if kind == "ellipse":
                    cv2.ellipse(
                        canvas, (int(x), int(y)), axes, angle, 0, 360, value, -1, cv2.LINE_AA
                    )
                else:
                    points = np.rint(corners + np.array([x, y])).astype(np.int32)
                    cv2.fillPoly(canvas, [points], value, cv2.LINE_AA)
    return canvas


def _foliage(rng: Rng) -> Field:
    hue = np.array(
        [(60, 88, 34), (84, 104, 44), (44, 70, 40), (72, 96, 52), (132, 84, 34)][rng.integers(5)]
    )
    canvas = np.full((SIDE, SIDE, 3), 0.012, np.float32)
    depth = iter(np.linspace(0.15, 1.5, 2600))

    def colour() -> Any:
        leaf = hue * rng.uniform(0.75, 1.35) * (1 + 0.1 * rng.normal(0, 1, 3))
        return linear(np.clip(leaf, 2, 250)) * next(depth) * rng.uniform(0.5, 1.5)

    canvas = _leaves(rng, canvas, 2600, colour, (0.012, 0.035), ("ellipse",))
    return np.asarray(canvas * (1 + 0.5 * np.tanh(_noise(rng, 1.7)))[..., None], np.float32)


def _clutter(rng: Rng) -> Field:
    """Dead leaves (Lee, Mumford and Huang 2001): shapes of every size, as in natural images."""
    canvas = np.ones((SIDE, SIDE, 3), np.float32) * _colour(rng, 40, 200, 0.2)
    palette = [_colour(rng, 15, 245, 0.35) for _ in range(9)]
    skins = [linear(c) for c in ((224, 182, 156), (168, 116, 86), (110, 72, 54))]

    def colour() -> Any:
        if rng.random() < 0.08:
            return skins[int(rng.integers(3))] * rng.uniform(0.5, 1.1)
        return palette[int(rng.integers(9))] * rng.uniform(0.5, 1.3)

    canvas = _leaves(rng, canvas, 420, colour, (0.012, 0.2), ("ellipse", "box", "triangle"))
    return canvas * (1 + 0.12 * _noise(rng, 1.0) + 0.05 * _noise(rng, 0.2))[..., None]


def _blotches(rng: Rng) -> Field:
    """Coloured noise with the spectrum of photographs."""
    slope = rng.uniform(0.9, 1.7)
    fields = np.stack([_noise(rng, slope) for _ in range(3)], -1)
    mix = 0.75 * fields[..., :1] + 0.35 * fields
    return np.asarray(_colour(rng, 60, 170, 0.3) * np.exp(rng.uniform(0.3, 0.8) * mix), np.float32)


def _curtain(rng: Rng) -> Field:
    x, _ = _grid()
    x = x + 0.004 * _noise(rng, 1.6, 0.2)
    folds = sum(
        rng.uniform(0.3, 1) * np.cos(2 * np.pi * (n * x + rng.random()))
        for n in rng.integers(3, 14, 4)
    )
    cloth = _colour(rng, 50, 230, 0.28) * (0.75 + 0.22 * folds)[..., None]
    if rng.random() < 0.4:
        _, y = _grid()
        cloth = cloth * (1 - 0.4 * ((y * int(rng.integers(3, 12))) % 1 < 0.3))[..., None]
    return np.asarray(cloth * (1 + 0.05 * _noise(rng, 0.3)[..., None]), np.float32)


def _shelves(rng: Rng) -> Field:
    canvas = np.full((SIDE, SIDE, 3), 0.02, np.float32)
    rows = int(rng.integers(3, 6))
    high = SIDE // rows
    for row in range(rows):
        top = row * SIDE // rows
        x = 0
        while x < SIDE:
            wide = int(rng.integers(3, 13))
            if rng.random() < 0.12:
                x += 2 * wide
                continue
            tall = int(high * rng.uniform(0.55, 0.88))
            spine = canvas[top + high - tall : top + high, x : x + wide]
            spine[:] = _colour(rng, 20, 220, 0.35)
            if wide > 5 and rng.random() < 0.7:
                at = int(tall * rng.uniform(0.1, 0.6))
                spine[at : at + max(2, tall // 8), 1:-1] = _colour(rng, 120, 245, 0.2)
            spine[:, -1] *= 0.5
            x += wide
        canvas[top + high - 5 : top + high] = _colour(rng, 60, 150, 0.15)
    return canvas * (1 + 0.06 * _noise(rng, 0.8)[..., None])


def _facade(rng: Rng) -> Field:
    wall = _plaster(rng) * rng.uniform(0.5, 1.0)
    if rng.random() < 0.4:
        quarter = (SIDE // 4, SIDE // 4)
        wall = np.tile(cv2.resize(_brick(rng), quarter, interpolation=cv2.INTER_AREA), (4, 4, 1))
    x, y = _grid()
    n, m = int(rng.integers(3, 7)), int(rng.integers(3, 6))
    u, v = (x * n) % 1, (y * m) % 1
    wide, tall = rng.uniform(0.3, 0.7), rng.uniform(0.4, 0.75)
    inside = (np.abs(u - 0.5) < wide / 2) & (np.abs(v - 0.5) < tall / 2)
    frame = (np.abs(u - 0.5) < wide / 2 + 0.05) & (np.abs(v - 0.5) < tall / 2 + 0.05)
    wall[frame] = _colour(rng, 60, 240, 0.05)
    number = (np.floor(x * n) + n * np.floor(y * m)).astype(int)
    panes = _colour(rng, 30, 130, 0.15) * rng.uniform(0.2, 1.9, n * m)[number][..., None]
    wall[inside] = panes[inside] * (1 + 0.3 * _noise(rng, 1.5)[inside][:, None])
    wall[inside & (np.abs(u - 0.5) < 0.02)] = _colour(rng, 60, 240, 0.05)
    return wall


def _print(rng: Rng) -> Field:
    """Posters, papers and signs: blocks of words and pictures."""
    canvas = np.ones((SIDE, SIDE, 3), np.float32) * _colour(rng, 120, 245, 0.12)
    fonts = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX)
    letters = np.array(list("ABCDEFGHIKLMNOPRSTUVWXYZabcdeghilmnoprstu0123456789&%"))
    for _ in range(int(rng.integers(5, 12))):
        x, y = rng.integers(0, SIDE, 2)
        w, h = rng.integers(30, 150, 2)
        colour = _colour(rng, 20, 250, 0.35)
        canvas[y : y + h, x : x + w] = colour
        if rng.random() < 0.3:
            piece = canvas[y : y + h, x : x + w]
            piece *= np.exp(0.5 * _noise(rng, 1.3))[: piece.shape[0], : piece.shape[1], None]
        ink = _colour(rng, 5, 90 if colour.mean() > 0.25 else 250, 0.2)
        words = np.zeros((SIDE, SIDE), np.uint8)
        line, size = int(y) + 4, rng.uniform(0.25, 1.2)
        while line < min(y + h, SIDE - 4):
            line += int(24 * size) + 2
            word = "".join(rng.choice(letters, int(rng.integers(3, 14))))
            font = fonts[int(rng.integers(3))]
            cv2.putText(words, word, (int(x) + 4, line), font, size, 255, 1 + int(size > 0.7))
        canvas += (words / np.float32(255))[..., None] * (ink - canvas)
    return canvas * (1 + 0.05 * _noise(rng, 1.0)[..., None])


def _clouds(rng: Rng) -> Field:
    """Sky to be multiplied by its gradient: how white it is."""
    cover = np.clip(_noise(rng, 1.5, 2.0) * 0.6 + rng.uniform(-0.9, 0.5), 0, 1)[..., None]
    blue, white = np.array([0.42, 0.62, 0.95]), np.array([0.98, 0.98, 0.98])
    return np.asarray(blue + cover * (white - blue) * (1 + 0.1 * _noise(rng, 1.0)[..., None]), "f4")


def _weave(rng: Rng) -> Field:
    """Plain or checked cloth, leather, painted metal: what things are covered with."""
    x, y = _grid()
    a, b = _colour(rng, 20, 240, 0.4), _colour(rng, 20, 240, 0.4)
    n, kind = int(rng.integers(1, 12)), int(rng.integers(4))
    amount = [
        0 * x,
        (x * n) % 1 < 0.5,
        (y * n) % 1 < 0.5,
        ((x * n) % 1 < 0.5) ^ ((y * n) % 1 < 0.5),
    ]
    mix = a + np.asarray(amount[kind], np.float32)[..., None] * (b - a)
    return np.asarray(mix * (1 + 0.05 * _noise(rng, rng.uniform(0.1, 1.5))[..., None]), np.float32)


PAINTERS: Final[dict[str, Callable[[Rng], Field]]] = {
    "plaster": _plaster, "wallpaper": _wallpaper, "brick": _brick, "squares": _squares,
    "planks": _planks, "fibres": _fibres, "grass": _grass, "asphalt": _asphalt, "sand": _sand,
    "stones": _stones, "water": _water, "foliage": _foliage, "clutter": _clutter,
    "blotches": _blotches, "curtain": _curtain, "shelves": _shelves, "facade": _facade,
    "print": _print, "clouds": _clouds, "weave": _weave,
}  # fmt: skip
"""Kind → painter of (N, N, 3) linear colours."""


def stack(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return (K, M, 3)."""
    return np.stack(tiles) if tiles else np.zeros((1, TEXELS, 3), np.uint8)


__all__ = ["PAINTERS", "SIDE", "TEXELS", "VARIANTS", "Floats", "sample", "stack", "tile"]
