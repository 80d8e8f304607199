"""Hair that grows on any head of the model: a shell over the scalp and locks above it.

All styles live in hair coordinates (φ, h, lift): φ is the angle about the skull's vertical axis, 0
in front and positive to the subject's left; h runs from 0 at the crown to 1 at the skull's widest
height and then on downwards, one per decimetre; lift is the distance from the head. The ground
under (φ, h) is tied to triangles of the model, so one style follows every identity.

Shapes: A angles, R rows of the ground; M locks of S points.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pentimento.world.anatomy import HAIRLINE, Anchors
from pentimento.world.hairstyles import STYLES, HairStyle, sample_style
from pentimento.world.heads import Heads
from pentimento.world.mesh import Floats, Mesh, grid_triangles, make_mesh, merge, part_index

__all__ = ["STYLES", "Ground", "HairStyle", "Surface", "sample_style"]

Array = NDArray[np.float64]

CENTRE: Final = np.array([0.0, 7.55, 0.45])
"""Middle of the skull's widest section on the mean head."""

_ANGLES: Final = 72
_DOME: Final = np.linspace(0, 1, 15)
_DROP: Final = np.linspace(1.1, 4.0, 30)
_ROWS: Final = np.concatenate([_DOME, _DROP])
_STEPS: Final = 12
_BALD_FRONT: Final = 56
"""Degrees on both sides of the face in which a bald top has no hair below it either."""


def _smooth(t: Array) -> Array:
    t = np.clip(t, 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


class Locks(NamedTuple):
    """Paths of M locks in hair coordinates, each (M, S), and the width (M,) of each lock."""

    angle: Array
    row: Array
    lift: Array
    width: Array


class Ground:
    """The surface under the hair of one model of heads.

    Args:
        heads: the model; its mean head is probed once, about half a second.
    """

    def __init__(self, heads: Heads):
        self.heads = heads
        self.angles = np.linspace(-np.pi, np.pi, _ANGLES, endpoint=False)
        self.anchors = _probe(heads, self.angles)
        mean = self._points(heads.neutral)
        heights = np.interp(np.degrees(np.abs(self.angles)), *HAIRLINE.T)
        # Heights fall from row to row; np.interp wants them rising.
        self.hairline = np.array(
            [
                np.interp(-y, -np.minimum.accumulate(c), _ROWS)
                for y, c in zip(heights, mean[..., 1], strict=True)
            ]
        )

    def _points(self, vertices: Floats) -> Array:
        return self.anchors.of(vertices).astype(np.float64).reshape(_ANGLES, len(_ROWS), 3)

    def hairline_at(self, angle: Array) -> Array:
        """Return h of the hairline at angles φ (radians)."""
        return np.asarray(np.interp(angle, self.angles, self.hairline, period=2 * np.pi))

    def surface(self, vertices: Floats, *, hang: bool = False) -> "Surface":
        """Return one head's surface in hair coordinates.

        Args:
            vertices: (V, 3) of the head.
            hang: bridge the hollows that hanging hair does not follow.
        """
        return Surface(self._points(vertices), hang=hang)

    def grow(
        self,
        vertices: Floats,
        style: HairStyle,
        rng: np.random.Generator,
        *,
        hat: Array | None = None,
    ) -> Mesh | None:
        """Return the hair of a head, or None if there is none.

        Args:
            vertices: (V, 3) of the head, from `Heads.vertices`.
            style: what to grow.
            rng: source of chance for the single locks.
            hat: (A,) h of a hat's edge over `angles`; above it the hair is pressed flat.
        """
        if style.flow == "none":
            return None
        surface = self.surface(vertices, hang=style.flow == "fall")
        surface.press(self.angles, hat)
        noise = _Noise(rng)
        parts = [self._shell(surface, style, noise)]
        if style.flow != "shell":
            angle, row = self._roots(style, rng)
            locks = {"comb": self._comb, "fall": self._fall, "gather": self._gather}[style.flow](
                surface, style, angle, row, rng
            )
            parts.append(_ribbons(surface, locks, style, rng))
        if style.flow == "gather":
            parts.append(_tail_mesh(surface, style, rng))
        mesh = merge(parts)
        if hat is None:
            return mesh
        hidden = self._under(mesh.vertices, hat)[mesh.triangles].all(axis=1)
        return mesh.select(np.asarray(~hidden))

    def _under(self, points: Floats, hat: Array) -> NDArray[np.bool_]:
        """Return which points (V, 3) lie above the edge of a hat, seen from the skull's middle."""
        out = points - CENTRE
        height = np.arctan2(out[:, 1], np.hypot(out[:, 0], out[:, 2]))
        row = np.where(out[:, 1] > 0, 1 - height / (np.pi / 2), 1 - out[:, 1])
        edge = np.interp(np.arctan2(out[:, 0], out[:, 2]), self.angles, hat, period=2 * np.pi)
        return np.asarray(row < edge - 0.03)

    def _line(self, style: HairStyle, angle: Array) -> Array:
        """Return h of this style's hairline: the natural one, temples moved up."""
        degrees = np.degrees(np.abs(angle))
        temples = np.exp(-(((degrees - 33) / 14) ** 2)) + 0.45 * np.exp(-((degrees / 30) ** 2))
        return self.hairline_at(angle) - style.recede * temples

    def _body(self, style: HairStyle, angle: Array, row: Array) -> Array:
        """Return the lift of the hair's body: thin at the hairline, full above."""
        line = self._line(style, angle)
        inner = _smooth((line - row) / 0.35)
        if style.flow == "fall":
            # Below the scalp the body hangs on, thinning to the tips.
            hanging = np.abs(angle) > np.radians(style.face) * 0.9
            inner = np.where(hanging, 1 - 0.6 * _smooth((row - style.length + 0.6) / 0.7), inner)
        top = 1.0 - 0.25 * _smooth((0.5 - row) / 0.5)
        return 0.012 + style.volume * inner * top

    def _shell(self, surface: "Surface", style: HairStyle, noise: "_Noise") -> Mesh:
        """Return the hair's body, a grid from crown (or bald edge) to its uneven lower edge."""
        columns, rows = 120, 22 if style.flow == "fall" else 16
        angle = np.linspace(-np.pi, np.pi, columns, endpoint=False)
        edge = self._line(style, angle) + 0.015 * noise.along(angle, 23)
        if style.flow == "fall":
            open_side = _smooth((np.degrees(np.abs(angle)) - style.face) / 5 + 0.5)
            end = style.length - 0.12 + 0.12 * noise.along(angle, 9)
            edge = edge + (np.maximum(end, edge) - edge) * open_side
        start = np.full(columns, style.bald) + (0.06 * noise.along(angle, 5) if style.bald else 0)
        start = np.minimum(start, edge - 0.01)
        t = np.linspace(0, 1, rows)[:, None]
        row = start + (edge - start) * t
        lift = self._body(style, np.broadcast_to(angle, row.shape), row)
        lift = lift * (1 + style.bumps * noise.over(angle[None], row))
        lift[-1] = 0.0 if style.flow != "fall" else lift[-1] * 0.6
        if style.bald:
            lift[0] = 0.0
        points = surface.at(np.broadcast_to(angle, row.shape), row, lift)
        uv = np.stack(np.broadcast_arrays((angle / (2 * np.pi) + 0.5) % 1, 0.8 * t), axis=-1)
        triangles = grid_triangles(rows, columns, closed=True)
        if style.bald:
            bare = (np.degrees(np.abs(angle)) < _BALD_FRONT)[triangles % columns]
            triangles = triangles[~bare.any(axis=1)]
        return make_mesh(points.reshape(-1, 3), triangles, uv.reshape(-1, 2), "hair")

    def _roots(self, style: HairStyle, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return φ and h (M,) of roots; a third of them stand along the hairline."""
        angle = rng.uniform(-np.pi, np.pi, style.locks)
        deep = np.sqrt(rng.uniform(0, 1, style.locks))
        border = rng.random(style.locks) < 0.34
        deep = np.where(border, rng.uniform(0.93, 0.995, style.locks), deep)
        row = np.maximum(self._line(style, angle) * deep, 0.02)
        if style.bald:
            row = style.bald + (self._line(style, angle) - style.bald) * deep
            keep = (np.degrees(np.abs(angle)) > _BALD_FRONT) & (row >= style.bald)
            angle, row = angle[keep], row[keep]
        return angle, row

    def _comb(
        self,
        surface: "Surface",
        style: HairStyle,
        angle: Array,
        row: Array,
        rng: np.random.Generator,
    ) -> Locks:
        """Return short locks combed one way on top, downwards at the sides."""
        root = row * np.array([np.sin(angle), np.cos(angle)])
        combed = np.array(style.direction)[:, None] / np.hypot(*style.direction)
        radial = root / np.maximum(row, 1e-6)
        side = _smooth((row - 0.45) / 0.4)
        # Over the forehead the comb decides, at sides and back gravity.
        side = side * np.where(np.abs(angle) < np.radians(45), 0.35, 1.0)
        if style.parting:
            combed = np.where(
                root[0] * np.sign(style.parting) > abs(style.parting), -combed, combed
            )
        way = combed * (1 - side) + radial * side + rng.normal(0, 0.25, root.shape)
        way /= np.maximum(np.hypot(*way), 1e-6)
        length = style.length * rng.uniform(0.6, 1.15, len(row))
        t = np.linspace(0, 1, _STEPS)
        path = root[..., None] + way[..., None] * length[:, None] * t
        phi, h = np.arctan2(path[0], path[1]), np.hypot(path[0], path[1])
        limit = self._line(style, phi) + 0.04 * rng.uniform(-1, 1, len(row))[:, None]
        if style.fringe:
            front = _smooth((48 - np.degrees(np.abs(phi))) / 12)
            ends = style.fringe + rng.uniform(-0.07, 0.05, len(row))[:, None]
            limit = np.maximum(limit, limit + front * (ends - limit))
        h = np.minimum(h, limit)
        lift = (
            self._body(style, phi, h)
            + 0.02
            + style.rise * t * rng.uniform(0.3, 1, len(row))[:, None]
        )
        return Locks(phi, h, lift, style.width * rng.uniform(0.6, 1.3, len(row)))

    def _fall(
        self,
        surface: "Surface",
        style: HairStyle,
        angle: Array,
        row: Array,
        rng: np.random.Generator,
    ) -> Locks:
        """Return locks that leave the parting, pass the face at its sides and hang down."""
        count = len(row)
        x = surface.at(angle, row, np.zeros(count))[:, 0]
        fringe = (style.fringe > 0) & (np.abs(angle) < np.radians(46)) & (row > 0.25)
        side = np.where(x > style.parting, 1.0, -1.0)
        free = np.radians(style.face + rng.uniform(0, 22, count))
        # A lock that starts in front turns to its side before it reaches the brows.
        front = np.abs(angle) < np.radians(100)
        target = np.where(front & (side * angle < free), side * free, angle)
        target = target + rng.normal(0, 0.04, count)
        target = np.where(fringe, angle * 0.9 + rng.normal(0, 0.06, count), target)
        end = style.length + rng.normal(0, 0.1, count) - 0.25 * rng.random(count) ** 2
        end = np.where(fringe, style.fringe + rng.uniform(-0.1, 0.04, count), end)
        t = np.linspace(0, 1, _STEPS)
        h = row[:, None] + (np.maximum(end, row + 0.05) - row)[:, None] * t
        turn = np.maximum(0.98 - row, 0.22)[:, None]
        phi = angle[:, None] + (target - angle)[:, None] * _smooth((h - row[:, None]) / turn)
        lift = self._body(style, phi, h) + rng.uniform(0.0, 0.05, count)[:, None] * _smooth(4 * t)
        lift = np.where(fringe[:, None], 0.02 + (0.03 + 0.4 * style.volume) * _smooth(2 * t), lift)
        return Locks(phi, h, lift, style.width * rng.uniform(0.6, 1.4, count))

    def _gather(
        self,
        surface: "Surface",
        style: HairStyle,
        angle: Array,
        row: Array,
        rng: np.random.Generator,
    ) -> Locks:
        """Return locks drawn tightly to one place at the back."""
        root = row * np.array([np.sin(angle), np.cos(angle)])
        knot = np.array([0.0, -style.tie[0]])[:, None] + rng.normal(0, 0.03, root.shape)
        t = np.linspace(0, 1, _STEPS)
        path = root[..., None] + (knot - root)[..., None] * t
        # Low roots at the sides pass behind the ears, not through the crown.
        phi, h = np.arctan2(path[0], path[1]), np.hypot(path[0], path[1])
        h = np.maximum(h, row[:, None] * (1 - t) * 0.85)
        lift = self._body(style, phi, h) + rng.uniform(0.0, 0.03, len(row))[:, None]
        return Locks(phi, h, lift, style.width * rng.uniform(0.6, 1.3, len(row)))


class _Noise:
    """Smooth random functions on the head, periodic in φ, about -1 … 1."""

    def __init__(self, rng: np.random.Generator):
        self.phase = rng.uniform(0, 2 * np.pi, (3, 24))
        self.weight = rng.normal(0, 1, (3, 24))

    def along(self, angle: Array, waves: int) -> Array:
        """Return noise over φ with up to `waves` periods."""
        k = np.arange(1, waves + 1)
        value = np.sin(k * angle[..., None] + self.phase[0, :waves]) * self.weight[0, :waves]
        total: Array = value.sum(axis=-1) / np.sqrt(waves)
        return total

    def over(self, angle: Array, row: Array) -> Array:
        """Return noise over φ and h."""
        total = np.zeros(np.broadcast_shapes(angle.shape, row.shape))
        for k in range(12):
            turns, climbs = 3 + 2 * k, 4 + (5 * k) % 17
            total += (
                self.weight[1, k]
                * np.sin(turns * angle + self.phase[1, k])
                * np.sin(climbs * row + self.phase[2, k])
            )
        return total / 2.5


class Surface:
    """The head's surface in hair coordinates, for one identity."""

    def __init__(self, points: Array, *, hang: bool):
        axis = np.array([0.0, 0.0, CENTRE[2]])
        flat = points - axis
        if hang:
            # Hair hangs from the widest place above it and lies on what stands out further below.
            radius = np.hypot(flat[..., 0], flat[..., 2])
            widest = np.maximum.accumulate(radius[:, 8:], axis=1)
            radius_new = radius.copy()
            radius_new[:, 8:] = np.maximum(radius[:, 8:], 0.88 * widest + 0.12 * radius[:, 8:])
            flat = flat * np.stack(
                [s := radius_new / np.maximum(radius, 1e-6), np.ones_like(s), s], axis=-1
            )
        self.points = np.concatenate([flat, flat[:1]]) + axis
        out = (
            self.points - axis - np.array([0, 1, 0]) * np.maximum(self.points[..., 1:2], CENTRE[1])
        )
        dome = _ROWS[None, :, None] <= 1
        out = np.where(dome, self.points - CENTRE, out * np.array([1, 0, 1]))
        self.normals = out / np.maximum(np.linalg.norm(out, axis=-1, keepdims=True), 1e-6)
        self._angles, self._hat = np.zeros(1), np.full(1, -np.inf)

    def press(self, angles: Array, hat: Array | None) -> None:
        """Let nothing stand off above the edge h (A,) of a hat over φ (A,)."""
        if hat is not None:
            self._angles, self._hat = angles, hat

    def _mix(self, table: Array, angle: Array, row: Array) -> Array:
        a = ((angle + np.pi) / (2 * np.pi) % 1.0) * _ANGLES
        i = np.minimum(a.astype(int), _ANGLES - 1)
        r = np.interp(row, _ROWS, np.arange(len(_ROWS)))
        j = np.minimum(r.astype(int), len(_ROWS) - 2)
        fa, fr = (a - i)[..., None], (r - j)[..., None]
        near = table[i, j] * (1 - fr) + table[i, j + 1] * fr
        far = table[i + 1, j] * (1 - fr) + table[i + 1, j + 1] * fr
        mixed: Array = near * (1 - fa) + far * fa
        return mixed

    def at(self, angle: Array, row: Array, lift: Array) -> Array:
        """Return points (…, 3) at hair coordinates of equal shapes (…)."""
        edge = np.interp(angle, self._angles, self._hat, period=2 * np.pi)
        lift = np.where(row < edge + 0.05, np.minimum(lift, 0.025), lift)
        return self._mix(self.points, angle, row) + lift[..., None] * self.normal(angle, row)

    def normal(self, angle: Array, row: Array) -> Array:
        """Return unit vectors (…, 3) away from the head."""
        return self._mix(self.normals, angle, row)


def _probe(heads: Heads, angles: Array) -> Anchors:
    """Return where rays from the skull's axis leave the mean head, φ-major (A·R)."""
    outer = np.isin(heads.part, [part_index(n) for n in ("skin", "scalp", "neck", "chest", "nose")])
    triangles = heads.triangles[outer]
    corners = heads.neutral[triangles].astype(np.float64)
    found, weights = [], []
    for angle in angles:
        flat = np.array([np.sin(angle), 0.0, np.cos(angle)])
        tilt = (1 - _DOME) * np.pi / 2
        rays = np.sin(tilt)[:, None] * np.array([0, 1, 0]) + np.cos(tilt)[:, None] * flat
        origins = np.repeat(CENTRE[None], len(_DOME), axis=0)
        low = np.repeat(CENTRE[None], len(_DROP), axis=0)
        low[:, 1] -= _DROP - 1
        rays = np.concatenate([rays, np.repeat(flat[None], len(_DROP), axis=0)])
        origins = np.concatenate([origins, low])
        side = np.cross(flat, [0, 1, 0])
        # Only triangles that the half-plane of this angle can meet.
        beside = (corners - CENTRE) @ side
        near = (beside.min(axis=1) < 0.01) & (beside.max(axis=1) > -0.01)
        near &= ((corners - CENTRE) @ flat).max(axis=1) > -0.05
        index, weight = _outermost(origins, rays, corners[near])
        found.append(triangles[near][index])
        weights.append(weight)
    return Anchors(
        np.concatenate(found).astype(np.int32), np.concatenate(weights).astype(np.float32)
    )


def _outermost(origins: Array, rays: Array, corners: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the farthest triangle hit by each ray and the weights there; the nearest if none."""
    a, b, c = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(rays[:, None], c[None])
    det = (p * b).sum(axis=-1)
    det = np.where(np.abs(det) < 1e-12, 1e-12, det)
    s = origins[:, None] - a
    u = (s * p).sum(axis=-1) / det
    q = np.cross(s, np.broadcast_to(b, s.shape))
    v = (q * rays[:, None]).sum(axis=-1) / det
    far = (q * c).sum(axis=-1) / det
    outside = np.maximum.reduce([-u, -v, u + v - 1])
    score = np.where((outside < 1e-6) & (far > 0), far, -1e3 - outside - 10 * (far <= 0))
    best = score.argmax(axis=1)
    at = np.arange(len(rays)), best
    w = np.stack([1 - u[at] - v[at], u[at], v[at]], axis=1).clip(0, 1)
    return best, w / w.sum(axis=1, keepdims=True)


def _ribbons(surface: Surface, locks: Locks, style: HairStyle, rng: np.random.Generator) -> Mesh:
    """Return rounded, tapering strips along the paths of locks."""
    points = surface.at(locks.angle, locks.row, locks.lift)
    normal = surface.normal(locks.angle, locks.row)
    return _strips(points, normal, locks.width, style, rng)


def _strips(
    points: Array, normal: Array, width: Array, style: HairStyle, rng: np.random.Generator
) -> Mesh:
    """Return strips of three points across along paths (M, S, 3) that face `normal`."""
    count, steps = points.shape[:2]
    t = np.linspace(0, 1, steps)
    tangent = np.gradient(points, axis=1)
    across = np.cross(normal, tangent)
    across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-9)
    if style.wave:
        phase = rng.uniform(0, 2 * np.pi, (count, 1)) + 2 * np.pi * style.frequency * t
        swing = style.wave * _smooth(3 * t) * np.sin(phase)
        points = points + across * swing[..., None]
        points = points + normal * (style.wave * 0.7 * _smooth(3 * t) * np.cos(phase))[..., None]
    taper = (0.55 + 0.45 * _smooth(4 * t)) * (1 - 0.85 * _smooth((t - 0.55) / 0.45))
    half = 0.5 * width[:, None, None] * taper[:, None]
    bulge = normal * half * 0.55
    roll = normal * half * rng.normal(0, 0.35, (count, 1, 1))
    strips = np.stack(
        [points - across * half - roll, points + bulge, points + across * half + roll], 2
    )
    grid = grid_triangles(steps, 3)
    triangles = (np.arange(count)[:, None, None] * steps * 3 + grid).reshape(-1, 3)
    shade = rng.random((count, 1, 1)) * 0.94
    u = shade + np.array([0, 0.03, 0.06])
    uv = np.stack(np.broadcast_arrays(u, t[None, :, None]), axis=-1)
    return make_mesh(strips.reshape(-1, 3), triangles, uv.reshape(-1, 2), "hair")


def _tail_mesh(surface: Surface, style: HairStyle, rng: np.random.Generator) -> Mesh:
    """Return the gathered end: a hanging tail, or a bun."""
    row, length = style.tie
    angle = np.array([np.pi - 1e-6])
    root = surface.at(angle, np.array([row]), np.array([0.05]))[0]
    out = surface.normal(angle, np.array([row]))[0]
    count, steps = 90, 14
    t = np.linspace(0, 1, steps)
    if length:
        spread = rng.normal(0, 1, (count, 3)) * np.array([0.16, 0.05, 0.12])
        bow = out * (0.45 * np.sin(np.pi * np.minimum(t * 1.2, 1)) ** 0.7)[:, None]
        fall = np.array([0, -1.0, 0]) * (length * t**1.4)[:, None]
        fan = (0.35 + 0.65 * _smooth(2 * t) - 0.4 * t**3)[:, None]
        points = root + bow + fall + spread[:, None] * fan
        points[..., 2] = np.minimum(points[..., 2], root[2] + 0.05)
        width = rng.uniform(0.05, 0.12, count)
        facing = points - (root + fall)
    else:
        size = rng.uniform(0.24, 0.4)
        heart = root + out * size * 0.75
        turn = rng.normal(0, 1, (count, 3))
        first = turn / np.linalg.norm(turn, axis=1, keepdims=True)
        second = np.cross(first, out + rng.normal(0, 0.2, (count, 3)))
        second /= np.linalg.norm(second, axis=1, keepdims=True)
        arc = (t * 2.4)[None, :, None]
        reach = size * rng.uniform(0.82, 1.02, (count, 1, 1))
        points = heart + reach * (first[:, None] * np.cos(arc) + second[:, None] * np.sin(arc))
        width = rng.uniform(0.08, 0.16, count)
        facing = points - heart
    normal = facing / np.maximum(np.linalg.norm(facing, axis=-1, keepdims=True), 1e-6)
    return _strips(points, normal, width, style, rng)
