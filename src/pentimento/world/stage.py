"""Where scenes take place: rooms, streets, gardens, studios, seen by rays.

A place is a handful of planes with a tile and a category each, some ending at a skyline, and
rectangles on them (windows, doors, pictures). One ray per pixel finds what is there, exactly, and
lights it; people and things leave soft shadows as spheres.

Frame as in `scenes`: the camera at the origin, x right, y up, z towards the viewer.
Alphabet: H, W pixels; P planes; Q panels; K tiles; S spheres; L lamps.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from pentimento.world.light import Doubles, Floats, Vec, Vecs, surroundings
from pentimento.world.materials import linear
from pentimento.world.tiles import VARIANTS, sample, stack, tile

Rng = np.random.Generator

SKYLINE: Final = 128
"""Heights of a plane's upper edge, which repeat after the plane's `period`."""


class Planes(NamedTuple):
    """Endless planes.

    Attributes:
        normal: (P, 3) unit, towards the camera's side.
        offset: (P,) normal · point.
        across: (P, 3) unit, the direction of u.
        down: (P, 3) unit, the direction of v.
        pitch: (P,) decimetres per tile.
        tile: (P,) which of the place's tiles.
        tint: (P, 3) multiplies the tile.
        category: (P,).
        glow: (P,) 1 where it shows its colour whatever the light: sky.
        top: (P, SKYLINE) height of the upper edge, inf for none.
        period: (P,) decimetres after which that repeats.
    """

    normal: Doubles
    offset: Doubles
    across: Doubles
    down: Doubles
    pitch: Doubles
    tile: NDArray[np.int64]
    tint: Doubles
    category: NDArray[np.int64]
    glow: Doubles
    top: Doubles
    period: Doubles


class Panels(NamedTuple):
    """Rectangles on planes; later ones lie over earlier ones.

    Attributes:
        plane: (Q,).
        edges: (Q, 4) least u, least v, greatest u, greatest v in decimetres.
        pitch: (Q,), with tile, tint, category and glow as in `Planes`.
        tile: (Q,).
        tint: (Q, 3).
        category: (Q,) of stuff, or -n for the n-th thing.
        glow: (Q,).
        frame: (Q,) width of a rim in decimetres.
        rim: (Q, 3) its colour.
    """

    plane: NDArray[np.int64]
    edges: Doubles
    pitch: Doubles
    tile: NDArray[np.int64]
    tint: Doubles
    category: NDArray[np.int64]
    glow: Doubles
    frame: Doubles
    rim: Doubles


class Stage(NamedTuple):
    """A place.

    Attributes:
        kind: what it is called.
        outdoors: is there a sun?
        planes: what it consists of.
        panels: what hangs on it.
        tiles: (K, M, 3).
        things: names of the categories of panels that are things.
        blur: radius of the lens's blur as a part of the picture's side.
    """

    kind: str
    outdoors: bool
    planes: Planes
    panels: Panels
    tiles: NDArray[np.uint8]
    things: tuple[str, ...]
    blur: float


class _Builder:
    """Collects planes, panels and tiles."""

    def __init__(self, rng: Rng, ids: dict[str, int]):
        self.rng, self.ids = rng, ids
        self.tiles: list[NDArray[np.uint8]] = []
        self.planes: list[tuple[Any, ...]] = []
        self.panels: list[tuple[Any, ...]] = []
        self.things: list[str] = []

    def tile(self, kind: str) -> int:
        self.tiles.append(tile(kind, int(self.rng.integers(VARIANTS))))
        return len(self.tiles) - 1

    def tint(self) -> Doubles:
        level = np.exp(self.rng.normal(0, 0.22)) * (1 + 0.075 * self.rng.normal(0, 1, 3))
        return np.asarray(np.clip(level, 0.2, 2.2))

    def plane(
        self, normal: Any, offset: float, category: str, kind: str, pitch: float, *,
        glow: float = 0.0, top: Any = np.inf, tint: Any = None,
    ) -> int:  # fmt: skip
        normal = np.asarray(normal, np.float64)
        normal = normal / np.linalg.norm(normal)
        flat = abs(normal[1]) > 0.9
        down = np.array([0.0, 0, 1]) if flat else np.array([0.0, -1, 0])
        across = np.cross(normal, down)
        across /= np.linalg.norm(across)
        self.planes.append(
            (normal, offset, across, down, pitch, self.tile(kind),
             self.tint() if tint is None else tint, self.ids[category], glow,
             np.broadcast_to(np.asarray(top, np.float64), (SKYLINE,)),
             max(400.0, 2.0 * abs(offset)))
        )  # fmt: skip
        return len(self.planes) - 1

    def panel(
        self, plane: int, edges: Any, category: str, kind: str, pitch: float, *,
        glow: float = 0.0, frame: float = 0.0, rim: Any = (1, 1, 1), tint: Any = None,
        thing: bool = False,
    ) -> None:  # fmt: skip
        if thing:
            self.things.append(category)
        code = -len(self.things) if thing else self.ids[category]
        self.panels.append(
            (plane, np.asarray(edges, np.float64), pitch, self.tile(kind),
             self.tint() if tint is None else np.asarray(tint, np.float64), code, glow, frame,
             np.asarray(rim, np.float64))
        )  # fmt: skip

    def stage(self, kind: str, outdoors: bool, blur: float) -> Stage:
        planes = Planes(*(np.array(column) for column in zip(*self.planes, strict=True)))
        if self.panels:
            panels = Panels(*(np.array(column) for column in zip(*self.panels, strict=True)))
        else:
            none, flat = np.zeros(0), np.zeros(0, np.int64)
            panels = Panels(flat, np.zeros((0, 4)), none, flat, np.zeros((0, 3)), flat, none, none,
                            np.zeros((0, 3)))  # fmt: skip
        planes = planes._replace(
            offset=planes.offset.astype(float), pitch=planes.pitch.astype(float),
            glow=planes.glow.astype(float), tint=planes.tint.astype(float),
        )  # fmt: skip
        panels = panels._replace(
            pitch=panels.pitch.astype(float), glow=panels.glow.astype(float),
            frame=panels.frame.astype(float),
        )  # fmt: skip
        return Stage(kind, outdoors, planes, panels, stack(self.tiles), tuple(self.things), blur)


def draw_stage(
    rng: Rng, ids: dict[str, int], ground: float, near: float, far: float, half: float
) -> Stage:
    """Draw a place.

    Args:
        rng: source of chance.
        ids: name → id of every category.
        ground: y of the ground.
        near: distance of the nearest person or thing.
        far: distance of the farthest; walls stand behind it.
        half: half the view's width at unit distance.
    """
    b = _Builder(rng, ids)
    kind = str(rng.choice(["room", "street", "garden", "studio", "paper", "shore"],
                          p=[0.37, 0.17, 0.18, 0.08, 0.14, 0.06]))  # fmt: skip
    close = near < 14
    blur = float(rng.uniform(0, 0.02)) if close and rng.random() < 0.7 else 0.0
    blur = max(blur, float(rng.uniform(0, 0.004)))
    builder = {"room": _room, "street": _street, "garden": _garden, "studio": _studio,
               "paper": _paper, "shore": _shore}[kind]  # fmt: skip
    builder(b, ground, far, half)
    return b.stage(kind, kind in ("street", "garden", "shore"), blur)


def _room(b: _Builder, ground: float, far: float, half: float) -> None:
    rng = b.rng
    wall_kinds = {"wall": ("plaster", 25), "brick": ("brick", 14), "wood": ("planks", 12),
                  "shelf": ("shelves", 22), "curtain": ("curtain", 22), "stone": ("stones", 18),
    }  # fmt: skip
    name = str(rng.choice([*wall_kinds, "paper"], p=[0.42, 0.1, 0.08, 0.1, 0.08, 0.06, 0.16]))
    category, (kind, pitch) = ("wall", ("wallpaper", rng.uniform(4, 14))) if name == "paper" else (
        name, wall_kinds[name]
    )  # fmt: skip
    back = far + float(rng.choice([rng.uniform(2.5, 8), rng.uniform(6, 40)]))
    turn = float(rng.normal(0, 0.18)) if rng.random() < 0.5 else 0.0
    normal = np.array([np.sin(turn), 0, np.cos(turn)])
    plane = b.plane(normal, -back * np.cos(turn), category, kind, pitch * rng.uniform(0.8, 1.3))
    floor, pitch = [("planks", 12), ("squares", 16), ("fibres", 20), ("asphalt", 25)][
        int(rng.choice(4, p=[0.4, 0.25, 0.25, 0.1]))
    ]
    named = {"planks": "wood", "fibres": "carpet"}.get(floor, "floor")
    b.plane((0, 1, 0), ground, named, floor, pitch)
    if rng.random() < 0.5:
        b.plane((0, -1, 0), -(ground + rng.uniform(24, 32)), "ceiling", "plaster", 30,
                tint=np.full(3, rng.uniform(0.8, 1.3)))  # fmt: skip
    for side in (-1, 1):
        if rng.random() < 0.4:
            at = half * back * rng.uniform(0.5, 1.0)
            other = str(rng.choice(["same", "curtain", "shelf", "wall"], p=[0.6, 0.1, 0.1, 0.2]))
            kind2, pitch2 = (kind, 20) if other == "same" else wall_kinds[other]
            b.plane((-side, 0, 0), -at, category if other == "same" else other, kind2, pitch2)
    reach = half * back
    for _ in range(int(rng.integers(0, 5))):
        u, wide, tall = rng.uniform(-reach, reach), rng.uniform(4, 14), rng.uniform(4, 13)
        low = ground + rng.uniform(9, 15)
        edges = [u, -(low + tall), u + wide, -low]
        what = str(rng.choice(["window", "picture", "door", "screen", "sign"],
                              p=[0.3, 0.34, 0.14, 0.1, 0.12]))  # fmt: skip
        white = np.full(3, rng.uniform(0.3, 0.9))
        if what == "window":
            glow = rng.uniform(0.3, 1.6) * (rng.random() < 0.8)
            view = str(rng.choice(["clouds", "foliage", "facade", "blotches"]))
            b.panel(plane, edges, "window", view, max(wide, tall), glow=glow, frame=0.5, rim=white)
        elif what == "door":
            b.panel(plane, [u, -(ground + 20), u + 9, -ground], "wood", "planks", 9, frame=0.6,
                    rim=white)  # fmt: skip
        else:
            shown = str(rng.choice(["clutter", "blotches", "print", "foliage", "facade"]))
            kind = {"picture": shown,
                    "screen": "blotches", "sign": "print"}[what]  # fmt: skip
            b.panel(plane, edges, what, kind, max(wide, tall), frame=rng.choice([0.1, 0.4, 0.8]),
                    rim=linear(rng.choice([[20, 20, 22], [120, 84, 40], [235, 232, 225]])),
                    glow=rng.uniform(0.5, 1.2) * (what == "screen"), thing=True)  # fmt: skip


def _sky(b: _Builder) -> None:
    rng = b.rng
    grey = rng.random() < 0.35
    level = rng.uniform(0.35, 1.3)
    tint = level * (np.array([1.6, 1.25, 0.95]) if grey else np.ones(3))
    if rng.random() < 0.15:
        tint = level * np.array([1.9, 1.0, 0.6])
    b.plane((0, 0, 1), -3000, "sky", "clouds", 4000, glow=1.0, tint=tint)


def _skyline(rng: Rng, low: float, high: float, smooth: bool) -> Doubles:
    if smooth:
        knots = rng.uniform(low, high, 32)
        fine = np.interp(np.arange(SKYLINE), np.arange(33) * 4, [*knots, knots[0]])
        return np.asarray(fine + rng.normal(0, 0.035 * (high - low), SKYLINE))
    steps = np.cumsum(rng.integers(5, 16, SKYLINE))
    return np.asarray(rng.uniform(low, high, SKYLINE)[np.searchsorted(steps, np.arange(SKYLINE))])


def _street(b: _Builder, ground: float, far: float, half: float) -> None:
    rng = b.rng
    _sky(b)
    floor, pitch = [("asphalt", 30), ("squares", 20), ("stones", 14)][int(rng.integers(3))]
    b.plane((0, 1, 0), ground, "stone" if floor == "stones" else "road", floor, pitch)
    back = far + rng.uniform(6, 120)
    for layer in range(int(rng.integers(1, 3))):
        wall = str(rng.choice(["facade", "brick", "plaster", "print"], p=[0.6, 0.18, 0.14, 0.08]))
        top = ground + _skyline(rng, 25, 150 + 100 * layer, False)
        turn = rng.normal(0, 0.25)
        b.plane((np.sin(turn), 0, np.cos(turn)), -(back + 100 * layer) * np.cos(turn),
                "brick" if wall == "brick" else "building", wall,
                {"facade": rng.uniform(70, 160), "brick": 18, "plaster": 40, "print": 40}[wall],
                top=top)  # fmt: skip
    if rng.random() < 0.4:
        side = rng.choice([-1, 1])
        b.plane((-side, 0, 0.05), -half * back * rng.uniform(0.4, 0.9), "building", "facade",
                rng.uniform(60, 120), top=ground + rng.uniform(60, 200))  # fmt: skip
    if rng.random() < 0.3:
        b.plane((0, 0, 1), -(back - 2), "tree", "foliage", rng.uniform(15, 30),
                top=ground + _skyline(rng, -20, 60, True))  # fmt: skip


def _garden(b: _Builder, ground: float, far: float, half: float) -> None:
    rng = b.rng
    _sky(b)
    floor = str(rng.choice(["grass", "grass", "stones", "sand", "planks", "asphalt"]))
    named = {
        "grass": "grass",
        "stones": "stone",
        "sand": "sand",
        "planks": "wood",
        "asphalt": "road",
    }
    b.plane((0, 1, 0), ground, named[floor], floor, {"grass": 18.0}.get(floor, 22.0))
    back = far + rng.uniform(4, 60)
    tall = rng.choice([rng.uniform(10, 30), rng.uniform(40, 250)])
    b.plane((rng.normal(0, 0.15), 0, 1), -back, "tree", "foliage", rng.uniform(10, 45),
            top=ground + _skyline(rng, 0.6 * tall, 1.4 * tall, True))  # fmt: skip
    if rng.random() < 0.5:
        b.plane((0, 0, 1), -(back + 60), "tree", "foliage", rng.uniform(40, 80),
                top=ground + _skyline(rng, 40, 160, True))  # fmt: skip
    if rng.random() < 0.25:
        fence = str(rng.choice(["planks", "brick"]))
        b.plane((0, 0, 1), -(back - 1.5), "wood" if fence == "planks" else "brick", fence, 14,
                top=ground + rng.uniform(9, 22))  # fmt: skip


def _shore(b: _Builder, ground: float, far: float, half: float) -> None:
    rng = b.rng
    _sky(b)
    b.plane((0, 1, 0), ground, "sand", "sand", 30)
    line = far + rng.uniform(3, 60)
    # The sea lies a little lower and begins where the beach, which falls, meets it.
    b.plane((0, 1, 0.02), ground + 0.02 * -line, "water", "water", 60)
    if rng.random() < 0.5:
        b.plane(
            (0, 0, 1), -2000, "tree", "blotches", 900, top=ground + _skyline(rng, -50, 260, True)
        )


def _studio(b: _Builder, ground: float, far: float, half: float) -> None:
    rng = b.rng
    tint = np.full(3, rng.uniform(0.4, 1.2))
    b.plane((0, 0, 1), -(far + rng.uniform(3, 12)), "wall", "plaster", 60, tint=tint)
    b.plane((0, 1, 0), ground, "floor", "plaster", 60, tint=tint)


def _paper(b: _Builder, ground: float, far: float, half: float) -> None:
    """Fill the view with one surface: what a detector must not take for faces."""
    rng = b.rng
    names = {"clutter": "clutter", "blotches": "clutter", "print": "clutter", "foliage": "tree",
             "wallpaper": "wall", "shelves": "shelf", "curtain": "curtain", "facade": "building",
             "stones": "stone", "grass": "grass", "fibres": "carpet"}  # fmt: skip
    kind = str(rng.choice(list(names), p=[0.24, 0.14, 0.14, 0.12, 0.06, 0.08, 0.05, 0.05, 0.04,
                                          0.04,
                                          0.04]))  # fmt: skip
    back = far + rng.uniform(2, 15)
    turn, tilt = rng.normal(0, 0.25, 2)
    b.plane((np.sin(turn), np.sin(tilt), 1), -back, names[kind], kind,
            half * back * float(np.exp(rng.uniform(-0.6, 1.2))))  # fmt: skip


@njit(cache=True, nogil=True)
def _shadow(
    spheres: Doubles, direction: Doubles, px: float, py: float, pz: float, soft: float
) -> float:
    """Return 0..1: how much of a lamp reaches a point past the spheres (S, 4)."""
    share = 1.0
    for s in range(spheres.shape[0]):
        x, y, z = spheres[s, 0] - px, spheres[s, 1] - py, spheres[s, 2] - pz
        along = x * direction[0] + y * direction[1] + z * direction[2]
        if along <= 0.0:
            continue
        r = spheres[s, 3]
        rim = 0.35 * r + soft * along
        square = x * x + y * y + z * z - along * along
        if square >= (r + 0.5 * rim) ** 2:
            continue
        off = np.sqrt(max(square, 0.0))
        t = min(max((off - r + 0.5 * rim) / rim, 0.0), 1.0)
        share *= t * t * (3 - 2 * t)
    return share


@njit(cache=True, nogil=True)
def _meet(dx: float, dy: float, eye: Doubles, offset: Doubles, planes: Planes) -> tuple[float, int]:
    """Return the depth at which a ray meets the first plane, and that plane; -1 for none."""
    best, plane = 1e9, -1
    n, a = planes.normal, planes.across
    for p in range(offset.shape[0]):
        slope = n[p, 0] * dx + n[p, 1] * dy - n[p, 2]
        if slope == 0.0:
            continue
        t = offset[p] / slope
        if t <= 0.5 or t >= best:
            continue
        up = t * dy + eye[1]
        u = a[p, 0] * (t * dx + eye[0]) + a[p, 1] * up + a[p, 2] * (eye[2] - t)
        if np.isfinite(planes.top[p, 0]):
            place = (u / planes.period[p] - np.floor(u / planes.period[p])) * SKYLINE
            left, share = int(place) % SKYLINE, place - np.floor(place)
            top = planes.top[p]
            if up > top[left] + share * (top[(left + 1) % SKYLINE] - top[left]):
                continue
        best, plane = t, p
    return best, plane


@njit(cache=True, nogil=True)
def _open(p: Vec, plane: int, offset: Doubles, planes: Planes, spheres: Doubles) -> float:
    """Return 0..1: how much of the surroundings reaches a point: corners and feet are darker."""
    share = 1.0
    n = planes.normal
    for other in range(offset.shape[0]):
        gap = abs(n[other, 0] * p[0] + n[other, 1] * p[1] + n[other, 2] * p[2] - offset[other])
        if other != plane and gap < 12 and planes.glow[other] == 0:
            share *= 1 - 0.38 * np.exp(-gap / 2.5)
    for k in range(spheres.shape[0]):
        x, y, z = spheres[k, 0] - p[0], spheres[k, 1] - p[1], spheres[k, 2] - p[2]
        square, reach = x * x + y * y + z * z + 1e-6, spheres[k, 3] ** 2
        if square > 49 * reach:
            continue
        rise = (x * n[plane, 0] + y * n[plane, 1] + z * n[plane, 2]) / np.sqrt(square)
        if rise > 0:
            share *= 1 - 0.75 * rise * min(reach / square - 0.02, 1.0)
    return share


@njit(cache=True, nogil=True)
def _arrives(
    p: Vec, plane: int, around: Vec, planes: Planes, spheres: Doubles, direction: Doubles,
    lamp: Doubles, soft: float,
) -> Vec:  # fmt: skip
    """Return the irradiance of a point: surroundings and lamps, of which the first has shadows."""
    r, g, b = around
    n = planes.normal[plane]
    for k in range(direction.shape[0]):
        d = direction[k]
        share = n[0] * d[0] + n[1] * d[1] + n[2] * d[2]
        if share <= 0 or lamp[k, 1] <= 0:
            continue
        if k == 0:
            share *= _shadow(spheres, d, p[0], p[1], p[2], soft)
        r, g, b = r + share * lamp[k, 0], g + share * lamp[k, 1], b + share * lamp[k, 2]
    return r, g, b


@njit(cache=True, nogil=True)
def _hung(panels: Panels, plane: int, u: float, v: float) -> int:
    """Return the panel that covers a place of a plane, -1 for none."""
    found = -1
    for q in range(panels.plane.shape[0]):
        e = panels.edges[q]
        if panels.plane[q] == plane and e[0] <= u <= e[2] and e[1] <= v <= e[3]:
            found = q
    return found


@njit(cache=True, nogil=True)
def trace(
    inverse: Doubles, eye: Doubles, planes: Planes, panels: Panels, tiles: NDArray[np.uint8],
    spheres: Doubles, direction: Doubles, lamp: Doubles, sky: Vecs, soft: float, pool: Doubles,
    flash: Doubles, light: Floats, code: NDArray[np.int32], depth: Floats,
) -> None:  # fmt: skip
    """Write what every pixel's ray meets.

    Args:
        inverse: (2, 3) from pixels to the plane at unit depth, y down.
        eye: (3,) where the camera is on the stage.
        planes: of the stage, with `panels` and `tiles`.
        panels: on them.
        tiles: (K, M, 3).
        spheres: (S, 4) centres and radii of what casts shadows.
        direction: (L, 3) unit, towards the lamps.
        lamp: (L, 3) irradiance when facing it.
        sky: as in `light.Lights`.
        soft: width of penumbras per distance.
        pool: (5,) a patch of brighter light: x, y, z, radius, gain.
        flash: (2,) distance at which the light is as it is, and the power at which it falls off.
        light: (H, W, 3) written: linear radiance.
        code: (H, W) written: category, or -n for the n-th thing.
        depth: (H, W) written: decimetres along the optical axis, inf in the sky.
    """
    scale = np.sqrt(inverse[0, 0] ** 2 + inverse[1, 0] ** 2)
    count = planes.offset.shape[0]
    offset, ambient = np.zeros(count), np.zeros((count, 3))
    for p in range(count):
        n = planes.normal[p]
        offset[p] = planes.offset[p] - n[0] * eye[0] - n[1] * eye[1] - n[2] * eye[2]
        ambient[p, 0], ambient[p, 1], ambient[p, 2] = surroundings(sky, n[1])
    for row in range(code.shape[0]):
        for column in range(code.shape[1]):
            x, y = column + 0.5, row + 0.5
            dx = inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]
            dy = -(inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2])
            t, p = _meet(dx, dy, eye, offset, planes)
            if p < 0:
                # Beyond the edge of the first plane, which is the sky outdoors, it goes on.
                t, p = 2999.0, 0
            px, py, pz = t * dx, t * dy, -t
            sx, sy, sz = px + eye[0], py + eye[1], pz + eye[2]
            a, d, n = planes.across[p], planes.down[p], planes.normal[p]
            u = a[0] * sx + a[1] * sy + a[2] * sz
            v = d[0] * sx + d[1] * sy + d[2] * sz
            q = _hung(panels, p, u, v)
            length = np.sqrt(dx * dx + dy * dy + 1)
            grazing = max(abs(n[0] * dx + n[1] * dy - n[2]) / length, 0.06)
            wide = t * scale / np.sqrt(grazing)
            code[row, column] = planes.category[p] if q < 0 else panels.category[q]
            depth[row, column] = t if t < 2900 else np.inf
            glow = planes.glow[p]
            if q < 0:
                pitch, tint = planes.pitch[p], planes.tint[p]
                albedo = sample(tiles[planes.tile[p]], u / pitch, v / pitch, wide / pitch)
            else:
                pitch, tint, e = panels.pitch[q], panels.tint[q], panels.edges[q]
                glow = panels.glow[q]
                albedo = sample(
                    tiles[panels.tile[q]], (u - e[0]) / pitch, (v - e[1]) / pitch, wide / pitch
                )
                if min(min(u - e[0], e[2] - u), min(v - e[1], e[3] - v)) < panels.frame[q]:
                    albedo, tint, glow = (1.0, 1.0, 1.0), panels.rim[q], 0.0
            if planes.glow[p] > 0:
                # The sky pales towards the horizon.
                pale = 0.6 * np.exp(-max(dy, 0.0) * 3.0)
                for c in range(3):
                    white = 0.75 + 0.05 * c
                    light[row, column, c] = tint[c] * (albedo[c] + pale * (white - albedo[c]))
                continue
            place = (px, py, pz)
            share = _open(place, p, offset, planes, spheres)
            around = (share * ambient[p, 0], share * ambient[p, 1], share * ambient[p, 2])
            arrives = _arrives(place, p, around, planes, spheres, direction, lamp, soft)
            gain = 1.0
            if pool[4] > 0:
                near = (sx - pool[0]) ** 2 + (sy - pool[1]) ** 2 + (sz - pool[2]) ** 2
                gain += pool[4] * np.exp(-near / (pool[3] * pool[3]))
            if flash[1] > 0:
                gain = min(gain * (flash[0] / (t * length + 1.0)) ** flash[1], 4.0)
            for c in range(3):
                light[row, column, c] = albedo[c] * tint[c] * (arrives[c] * gain + glow)
