"""What people wear: glasses, hats, earrings, necklaces and clothes, fitted to any head.

Every function takes the ground under the hair (it knows the model), the vertices of one head and a
source of chance. Brims, collars and lapels are open sheets: draw them from both sides.

Shapes: V vertices of a head; A angles of the ground.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pentimento.world.hair import CENTRE, Ground
from pentimento.world.mesh import (
    Floats,
    Mesh,
    clip,
    grid_triangles,
    make_mesh,
    merge,
    part_index,
    sphere,
    tube,
    vertex_normals,
)

Array = NDArray[np.float64]

FRAMES: Final = {
    # width, height, roundness (2: ellipse, more: rectangle), droop and lift of the outer corner
    "round": (0.46, 0.44, 2.0, 0.0, 0.0),
    "oval": (0.5, 0.36, 2.2, 0.0, 0.0),
    "rectangle": (0.54, 0.32, 5.0, 0.0, 0.0),
    "square": (0.54, 0.42, 4.0, 0.0, 0.0),
    "cat-eye": (0.54, 0.38, 2.8, 0.0, 0.07),
    "aviator": (0.58, 0.48, 2.6, 0.1, 0.0),
}
"""Shapes of spectacle frames, sizes in decimetres."""


def _smooth(t: Array) -> Array:
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def glasses(ground: Ground, vertices: Floats, rng: np.random.Generator) -> Mesh:
    """Return spectacles: rims, bridge and temples (part "glasses") and two lenses ("lens")."""
    heads = ground.heads
    points = heads.landmarks(vertices)[68].astype(np.float64)
    width, height, power, droop, lift = FRAMES[rng.choice(list(FRAMES))]
    eyes = (points[36:42].mean(axis=0), points[42:48].mean(axis=0))
    scale = float(np.linalg.norm(eyes[1] - eyes[0])) / 0.66 * rng.uniform(0.92, 1.08)
    width, height = scale * width, scale * height
    radius = rng.choice([0.013, 0.02, 0.03])
    turn = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    cos, sin = np.cos(turn), np.sin(turn)
    x = 0.5 * width * np.sign(cos) * np.abs(cos) ** (2 / power)
    y = 0.5 * height * np.sign(sin) * np.abs(sin) ** (2 / power)
    outward = x / width + 0.5
    y = y + lift * outward**2 * (y > 0) - droop * (1 - outward) * np.maximum(-y / height, 0)

    skin = vertices[heads.vertices_of("skin", "l_lid", "r_lid", "l_eye", "r_eye")]
    parts, hinges, inner = [], [], []
    for side, eye in zip((-1.0, 1.0), eyes, strict=True):
        centre = eye + np.array([side * 0.03 * scale, -0.04 * height, 0.0])
        under = np.abs(skin[:, :2] - centre[:2]) < 0.5 * np.array([width, height])
        front = float(skin[under.all(axis=1), 2].max())
        rim = np.stack([centre[0] + side * x, centre[1] + y, np.zeros_like(x)], axis=1)
        # Frames wrap a little: the outer edge stands further back.
        rim[:, 2] = front + 0.05 - 0.12 * outward**2 * width
        parts.append(tube(rim, radius, "glasses", closed=True, flat=1.3))
        lens = np.concatenate([rim, rim.mean(axis=0, keepdims=True) + np.array([[0, 0, 0.02]])])
        ring = np.arange(len(rim))
        fan = np.stack([ring, np.roll(ring, -1), np.full_like(ring, len(rim))], axis=1)
        flat = lens[:, :2] - lens[:, :2].min(axis=0)
        parts.append(make_mesh(lens, fan[:, :: int(side)], flat / flat.max(axis=0), "lens"))
        hinges.append(rim[np.argmin(np.abs(turn - np.radians(25)))])
        inner.append(rim[np.argmin(np.abs(turn - np.radians(165)))])
    nose = float(vertices[heads.vertices_of("nose")][:, 1].max())
    middle = (inner[0] + inner[1]) / 2
    ridge = skin_front(ground, vertices, middle[1])
    middle[1] = min(middle[1] + 0.03, nose)
    middle[2] = max(middle[2], ridge + 1.5 * radius)
    t = np.linspace(0, 1, 9)[:, None]
    bridge = (1 - t) ** 2 * inner[0] + 2 * t * (1 - t) * (2 * middle - (inner[0] + inner[1]) / 2)
    parts.append(tube(bridge + t**2 * inner[1], radius, "glasses"))
    for side, hinge, ear in zip((-1, 1), hinges, ("r_ear", "l_ear"), strict=True):
        parts.append(tube(_temple(ground, vertices, side, hinge, ear), 1.1 * radius, "glasses"))
    return merge(parts)


def skin_front(ground: Ground, vertices: Floats, y: float) -> float:
    """Return z of the face's middle line at a height."""
    heads = ground.heads
    line = vertices[heads.vertices_of("skin", "nose")]
    line = line[(np.abs(line[:, 0]) < 0.06) & (line[:, 2] > 1.0)]
    line = line[np.argsort(line[:, 1])]
    return float(np.interp(y, line[:, 1], line[:, 2]))


def _temple(ground: Ground, vertices: Floats, side: int, hinge: Array, ear: str) -> Array:
    """Return the path (S, 3) of a temple from its hinge over the ear."""
    lobe = vertices[ground.heads.vertices_of(ear)]
    top = lobe[lobe[:, 1] > np.quantile(lobe[:, 1], 0.75)]
    rest = np.array([side * np.abs(top[:, 0]).min(), top[:, 1].max() - 0.05, top[:, 2].mean()])
    t = np.linspace(0, 1, 12)[:, None]
    path = hinge + t * (rest - hinge)
    # Keep off the temple of the head.
    surface = ground.surface(vertices)
    angle = np.arctan2(path[:, 0], path[:, 2] - CENTRE[2])
    row = 1 + np.maximum(CENTRE[1] - path[:, 1], 0)
    head = np.abs(surface.at(angle, row, np.full(len(row), 0.03))[:, 0])
    path[:, 0] = side * np.maximum(np.abs(path[:, 0]), head)
    tip = path[-1] + np.array([[0, -0.05, -0.12], [0, -0.2, -0.22]])
    return np.concatenate([path, tip])


class Hat(NamedTuple):
    """A hat and its edge, which presses the hair.

    Attributes:
        mesh: part "hat".
        edge: (A,) h of the lower edge over the ground's angles.
    """

    mesh: Mesh
    edge: Array


def hat(ground: Ground, vertices: Floats, rng: np.random.Generator) -> Hat:
    """Return a random beanie, cap or brimmed hat."""
    kind = rng.choice(["beanie", "cap", "brim"])
    surface = ground.surface(vertices)
    columns, rows = 72, 18
    angle = ground.angles
    tilt = rng.uniform(-0.05, 0.05) * np.sin(angle)
    front, back = {"beanie": (0.86, 1.3), "cap": (0.84, 1.15), "brim": (0.84, 1.1)}[str(kind)]
    front, back = front + rng.uniform(-0.08, 0.04), back + rng.uniform(-0.1, 0.1)
    edge = front + (back - front) * _smooth(np.abs(angle) / np.radians(115)) + tilt
    t = np.linspace(0, 1, rows)
    row = edge * t[:, None]
    around = np.broadcast_to(angle, row.shape)
    lift = np.full(row.shape, rng.uniform(0.06, 0.1))
    if kind == "beanie":
        slouch = rng.uniform(0, 0.3)
        ripple = 0.02 * np.sin(11 * angle + rng.uniform(0, 6)) * np.sin(5 * row)
        lift = lift + slouch * np.maximum(1 - row, 0) ** 2 * (0.7 - 0.3 * np.cos(angle)) + ripple
        cuff = rng.uniform(0.7, 0.85) if rng.random() < 0.7 else 2.0
        lift = lift + 0.05 * (t[:, None] > cuff)
    points = surface.at(around, row, lift)
    if kind == "brim":
        # A stiff crown: walls rise, the top is flat and pinched.
        high = CENTRE[1] + rng.uniform(0.85, 1.25)
        wall = points[:, :, 1] > points[-1, :, 1] + 0.1
        grow = _smooth((row[-1] - row) / 0.5)
        points[..., 1] = np.where(
            wall, points[..., 1] + grow * (high - points[..., 1]) * 0.75, points[..., 1]
        )
        widen = 1 + 0.35 * _smooth((0.75 - row) / 0.6) * row / np.maximum(row + 0.15, 0.2)
        points[..., 0] *= widen
        points[..., 2] = CENTRE[2] + (points[..., 2] - CENTRE[2]) * widen
    points[-1] = surface.at(angle, edge, np.full(columns, 0.03))
    uv = np.stack(np.broadcast_arrays((angle / (2 * np.pi) + 0.5)[None], t[:, None]), axis=-1)
    mesh = make_mesh(
        points.reshape(-1, 3), grid_triangles(rows, columns, closed=True), uv.reshape(-1, 2), "hat"
    )
    rim = points[-2]
    if kind == "cap":
        mesh = merge([mesh, _brim(rim, angle, _smooth((62 - np.degrees(np.abs(angle))) / 40)
                                  * rng.uniform(0.55, 0.8), rng.uniform(-0.25, 0.0))])  # fmt: skip
    elif kind == "brim":
        reach = np.full(columns, rng.uniform(0.4, 1.0))
        mesh = merge([mesh, _brim(rim, angle, reach, rng.uniform(-0.15, 0.12))])
    return Hat(mesh, edge)


def _brim(rim: Array, angle: Array, reach: Array, bend: float) -> Mesh:
    """Return a sheet from a hat's rim (A, 3) outwards; `bend` raises or lowers the sides."""
    rows = 5
    t = np.linspace(0, 1, rows)[:, None]
    out = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=-1)
    points = rim + (t * reach)[..., None] * out
    points[..., 1] += t * reach * (0.5 * bend - 0.1 + bend * np.abs(np.sin(angle)))
    under = points - np.array([0, 0.025, 0])
    uv = np.stack(np.broadcast_arrays((angle / (2 * np.pi) + 0.5)[None], t), axis=-1)
    grid = grid_triangles(rows, len(angle), closed=True)
    return merge(
        [
            make_mesh(points.reshape(-1, 3), grid, uv.reshape(-1, 2), "hat"),
            make_mesh(under.reshape(-1, 3), grid[:, ::-1], uv.reshape(-1, 2), "hat"),
        ]
    )


def earrings(ground: Ground, vertices: Floats, rng: np.random.Generator) -> Mesh:
    """Return studs, drops or hoops at both lobes."""
    kind = rng.choice(["stud", "drop", "hoop"])
    size = rng.uniform(0.9, 1.3)
    parts = []
    hoop = rng.uniform(0.1, 0.25)
    for ear in ("r_ear", "l_ear"):
        points = vertices[ground.heads.vertices_of(ear)].astype(np.float64)
        low = points[points[:, 1] < np.quantile(points[:, 1], 0.12)]
        lobe = low[np.argmax(np.abs(low[:, 0]) + 0.5 * low[:, 2])] + np.array([0, 0.03, 0.0])
        side = np.sign(lobe[0])
        if kind != "hoop":
            parts.append(sphere(lobe + np.array([0.015 * side, 0, 0.01]), 0.03 * size, "earring"))
        if kind == "drop":
            hang = np.linspace(0, hoop, 6)[:, None] * np.array([0.15 * side, -1.0, 0])
            parts.append(tube(lobe + hang, 0.008, "earring", sides=4))
            parts.append(sphere((lobe + hang)[-1], 0.045 * size, "earring"))
        if kind == "hoop":
            turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
            ring = np.stack([0.25 * side * (1 - np.cos(turn)), np.cos(turn) - 1, np.sin(turn)], 1)
            parts.append(tube(lobe + hoop * size * ring, 0.014 * size, "earring", closed=True))
    return merge(parts)


def necklace(ground: Ground, vertices: Floats, rng: np.random.Generator) -> Mesh:
    """Return a chain or beads around the neck, sometimes with a pendant."""
    surface = ground.surface(vertices)
    angle = np.linspace(-np.pi, np.pi, 72, endpoint=False)
    front, back = rng.uniform(2.9, 3.5), rng.uniform(2.3, 2.45)
    row = back + (front - back) * (0.5 + 0.5 * np.cos(angle)) ** 1.5
    radius = rng.uniform(0.012, 0.022)
    path = surface.at(angle, row, np.full(72, 1.2 * radius))
    if rng.random() < 0.35:
        beads = [sphere(p, 2.2 * radius, "necklace", rows=5, columns=7) for p in path]
        return merge(beads)
    parts = [tube(path, radius, "necklace", closed=True)]
    if rng.random() < 0.6:
        lowest = path[np.argmax(path[:, 2] - path[:, 1])]
        parts.append(
            sphere(lowest + np.array([0, -0.06, 0.03]), rng.uniform(0.04, 0.08), "necklace")
        )
    return merge(parts)


def clothes(ground: Ground, vertices: Floats, rng: np.random.Generator) -> Mesh:
    """Return an upper garment: crew neck, V-neck, turtleneck, shirt or jacket over a shirt."""
    kind = str(
        rng.choice(["crew", "vee", "turtle", "shirt", "jacket"], p=[0.3, 0.2, 0.08, 0.25, 0.17])
    )
    depth = {"crew": 0.1, "vee": 0.75, "turtle": 0.0, "shirt": 0.45, "jacket": 0.3}[kind]
    depth *= rng.uniform(0.8, 1.3)
    wide = rng.uniform(0.0, 0.12) if kind in ("crew", "vee") else 0.0
    parts = [_garment(ground, vertices, depth, wide, 0.06, "cloth", pointed=kind != "crew")]
    if kind in ("crew", "vee"):
        parts.append(_hem(ground, vertices, depth, wide, pointed=kind == "vee"))
    elif kind == "turtle":
        parts.append(
            _band(ground, vertices, rise=rng.uniform(0.4, 0.6), flare=0.0, fold=0.0, opening=0.0)
        )
    else:
        parts.append(
            _band(ground, vertices, rise=rng.uniform(0.22, 0.32), flare=0.04,
                  fold=rng.uniform(0.2, 0.32), opening=rng.uniform(10, 24))
        )  # fmt: skip
    if kind == "jacket":
        deep = rng.uniform(1.0, 1.5)
        parts.append(_garment(ground, vertices, deep, 0.16, 0.12, "cloth", pointed=True))
        parts.append(_hem(ground, vertices, deep, 0.16, pointed=True, size=0.04, off=0.13))
    return merge(parts)


def _neckline(angle: Array, depth: float, wide: float, *, pointed: bool) -> Array:
    """Return h of the neckline over φ; the V reaches lower in front."""
    front = np.abs(angle) / np.radians(60)
    dip = np.maximum(1 - front, 0) if pointed else 1 - _smooth(front)
    base = 2.42 + 0.42 * _smooth(1 - np.abs(angle) / np.pi)
    return np.asarray(base + wide + depth * dip)


def _height(row: Array) -> Array:
    return np.asarray(CENTRE[1] + 1 - row)


def _garment(
    ground: Ground,
    vertices: Floats,
    depth: float,
    wide: float,
    off: float,
    part: str,
    *,
    pointed: bool,
) -> Mesh:
    """Return the body's surface below a neckline, moved outwards by `off`."""
    heads = ground.heads
    body = np.isin(heads.part, [part_index("neck"), part_index("chest")])
    normals = vertex_normals(vertices, heads.triangles)
    moved = vertices + np.float32(off) * normals
    cloth = Mesh(moved, heads.triangles, heads.uv, heads.part).select(body)
    # The line is drawn on the mean head, so it rides on the vertices of every other.
    x, y, z = heads.neutral[np.unique(heads.triangles[body])].T.astype(np.float64)
    line = _height(_neckline(np.arctan2(x, z - CENTRE[2]), depth, wide, pointed=pointed))
    cut = clip(cloth, (line - y).astype(np.float32))
    return make_mesh(cut.vertices, cut.triangles, cut.uv, part)


def _hem(
    ground: Ground, vertices: Floats, depth: float, wide: float, *, pointed: bool,
    size: float = 0.032, off: float = 0.065,
) -> Mesh:  # fmt: skip
    """Return the rolled edge along a neckline."""
    angle = np.linspace(-np.pi, np.pi, 96, endpoint=False)
    row = _neckline(angle, depth, wide, pointed=pointed)
    path = ground.surface(vertices).at(angle, row, np.full(96, off))
    return tube(path, size, "collar", closed=True, flat=1.8)


def _band(
    ground: Ground, vertices: Floats, *, rise: float, flare: float, fold: float, opening: float
) -> Mesh:
    """Return a collar: a band up the neck and, with `fold`, its outer leaf falling down.

    Args:
        ground: of the model.
        vertices: (V, 3).
        rise: height of the band.
        flare: how far its upper edge stands off.
        fold: length of the leaf.
        opening: degrees left open on both sides of the throat.
    """
    surface = ground.surface(vertices)
    angle = np.linspace(np.radians(opening), 2 * np.pi - np.radians(opening), 72)
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    low = _neckline(angle, 0.05, 0.18, pointed=False)
    ends = _smooth((np.degrees(np.abs(angle)) - opening) / 30)
    steps = np.linspace(0, 1, 6)[:, None]
    rows = [low - rise * steps * (0.7 + 0.3 * ends)]
    lifts = [0.09 + flare * steps + 0 * angle]
    if fold:
        rows.append(rows[0][-1] + steps[1:] * fold * (1.9 - 0.9 * ends))
        lifts.append(lifts[0][-1] + 0.03 + 0.09 * steps[1:] + 0 * angle)
    row, lift = np.concatenate(rows), np.concatenate(lifts)
    points = surface.at(np.broadcast_to(angle, row.shape), row, lift)
    t = np.linspace(0, 1, len(row))[:, None]
    uv = np.stack(np.broadcast_arrays(np.linspace(0, 1, 72)[None], t), axis=-1)
    grid = grid_triangles(len(row), 72)
    # A leaf falls outside the band and faces outwards; a bare band rises and has to be turned.
    grid = grid if fold else grid[:, ::-1]
    return make_mesh(points.reshape(-1, 3), grid, uv.reshape(-1, 2), "collar")
