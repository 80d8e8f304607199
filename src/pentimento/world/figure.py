"""A person ready to be lit: head, hair, clothes and glasses posed, with a material everywhere.

`draw_figure` draws everything that does not depend on camera, light and background. The mesh has
three parts in order: the head (its texture positions are the UV truth), other solids, strands.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19
from pentimento.world import materials as m
from pentimento.world.accessories import clothes, earrings, glasses, hat, necklace
from pentimento.world.hair import Ground, sample_style
from pentimento.world.heads import HeadParams, Heads
from pentimento.world.mesh import CLASS_OF_PART, PARTS, Mesh, merge, vertex_normals
from pentimento.world.shading import FIELDS, Surface, brow_weights, cross, unit
from pentimento.world.strands import Roots, grow, ribbons, scatter

Rng = np.random.Generator
Floats = NDArray[np.float32]

_MATERIAL: Final = {
    "teeth": m.TEETH, "mouth": m.GUM, "tongue": m.GUM, "l_eye": m.EYE, "r_eye": m.EYE,
    "hair": m.HAIR,
    "hat": m.HAT, "glasses": m.FRAME, "lens": m.FRAME, "earring": m.METAL, "necklace": m.METAL,
    "cloth": m.CLOTH, "collar": m.CLOTH,
}  # fmt: skip
_OF_PART: Final = np.array([_MATERIAL.get(part, m.SKIN) for part in PARTS], np.uint8)
_GROUNDS: Final[dict[int, tuple[Heads, Ground]]] = {}
_INSIDE: Final = [PARTS.index(part) for part in ("teeth", "mouth", "tongue")]
_FACE: Final = ("skin", "nose", "u_lip", "l_lip", "l_lid", "r_lid")


@dataclass(frozen=True)
class Figure:
    """Everything about a person that light and camera need.

    Attributes:
        surface: the posed mesh; the light is not baked yet.
        classes: (T,) CelebAMask-HQ class of every triangle.
        head: triangles of the head, the first ones.
        casters: (C, 3) triangles that cast shadows: solids without the inside of the mouth.
        solid_vertices: their vertices.
        rooted: for every other vertex, the solid vertex whose light it takes.
        lens_position: (V, 3) of the spectacles' lenses, with `lens_normal` and `lens_triangles`.
        face: (V, 3) vertices of the facial skin.
        landmarks: 5, 68, 98 → (n, 3) posed.
        skin: and the other looks: see `materials`.
        attributes: what was drawn, in words and numbers.
    """

    surface: Surface
    classes: NDArray[np.uint8]
    head: int
    casters: NDArray[np.int32]
    solid_vertices: int
    rooted: NDArray[np.int64]
    lens_position: Floats
    lens_normal: Floats
    lens_triangles: NDArray[np.int32]
    face: Floats
    landmarks: dict[int, Floats]
    skin: m.Skin
    eyes: m.Eyes
    fibres: m.Fibres
    cloth: m.Fabric
    hat: m.Fabric
    trim: m.Trim
    attributes: dict[str, Any]


@dataclass(frozen=True)
class _Pose:
    """A turn of the head; the neck follows in part, the shoulders hardly."""

    yaw: float
    pitch: float
    roll: float
    body: float
    origin: NDArray[np.float64]

    def __call__(self, points: Any) -> Floats:
        """Return points (..., 3) turned and moved so that the face is at the origin."""
        y = points[..., 1]
        t = np.clip((y - 5.35) / 0.95, 0, 1)
        share = t * t * (3 - 2 * t)
        out = np.asarray(points, np.float64) - (0.0, 6.0, 0.25)
        for angle, (i, j), least in (
            (self.roll, (0, 1), 0.1), (self.pitch, (2, 1), 0.05), (self.yaw, (2, 0), self.body),
        ):  # fmt: skip
            turn = np.radians(angle) * (least + (1 - least) * share)
            cos, sin = np.cos(turn), np.sin(turn)
            a, b = out[..., i].copy(), out[..., j].copy()
            out[..., i], out[..., j] = cos * a - sin * b, sin * a + cos * b
        return np.asarray(out - self.origin, np.float32)


def _draw_pose(rng: Rng) -> tuple[float, float, float, float]:
    """Draw yaw, pitch, roll in degrees (most within 20, 10 and 5) and the share of the body."""
    yaw = float(np.clip(rng.normal(0, 12 if rng.random() < 0.75 else 26), -45, 45))
    pitch = float(np.clip(rng.normal(-1, 6), -20, 20))
    roll = float(np.clip(rng.normal(0, 4), -15, 15))
    return yaw, pitch, roll, float(rng.uniform(-0.2, 0.6))


def _soft(mesh: Mesh, *parts: str) -> Floats:
    """Return (V,) the share of a vertex's triangles that belong to the parts."""
    inside = np.isin(mesh.part, [PARTS.index(part) for part in parts])
    count = len(mesh.vertices)
    corners = mesh.triangles.ravel()
    total = np.bincount(corners, minlength=count)
    chosen = np.bincount(corners, np.repeat(inside, 3), count)
    return (chosen / np.maximum(total, 1)).astype(np.float32)


def _flow(mesh: Mesh) -> Floats:
    """Return (V, 3) unit directions in which v grows: along the strands of a hair mesh."""
    p, uv = mesh.vertices[mesh.triangles], mesh.uv
    e1, e2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    d1, d2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    sign = np.sign(d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0])[:, None]
    along = unit((e2 * d1[:, :1] - e1 * d2[:, :1]) * sign)
    total = np.zeros_like(mesh.vertices, dtype=np.float64)
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(
                mesh.triangles[:, corner], along[:, axis], len(mesh.vertices)
            )
    return unit(total).astype(np.float32)


def _fields(head: Mesh, heads: Heads, landmarks: dict[int, Floats], style: Floats) -> Floats:
    """Return the columns of `FIELDS` (V, 13) for the head's vertices."""
    fields = np.zeros((len(head.vertices), len(FIELDS)), np.float32)
    for column, name in enumerate(FIELDS):
        if name in heads.fields:
            fields[:, column] = heads.fields[name]
    # Between vertices far below and far behind the brow, v runs through the brow: u must not.
    u, v = FIELDS.index("brow_u"), FIELDS.index("brow_v")
    fields[np.abs(fields[:, v]) > 8.5, u] = 5.0
    fields[:, FIELDS.index("beard")] = style
    fields[:, FIELDS.index("lips")] = _soft(head, "u_lip", "l_lip")
    fields[:, FIELDS.index("lids")] = _soft(head, "l_lid", "r_lid")
    strand, along = FIELDS.index("strand"), FIELDS.index("along")
    fields[heads.vertices_of("teeth"), along] = 1.0
    for side, part in enumerate(("l_eye", "r_eye")):
        ball = heads.vertices_of(part)
        upper = landmarks[98][68:73] if side == 0 else landmarks[98][60:65]
        order = np.argsort(upper[:, 0])
        x, y = head.vertices[ball, 0], head.vertices[ball, 1]
        below = np.interp(x, upper[order, 0], upper[order, 1]) - y
        t = np.clip((below + 0.01) / 0.075, 0, 1)
        fields[ball, strand] = side
        fields[ball, along] = 0.3 + 0.7 * t * t * (3 - 2 * t)
    return fields


def _beard_style(rng: Rng, heads: Heads, vertices: Floats, points: Floats) -> tuple[Floats, str]:
    """Return (V,) where a beard grows and the style's name, from 68 landmarks."""
    beard, moustache = heads.fields["beard"], heads.fields["moustache"]
    style = str(rng.choice(["full", "moustache", "goatee", "chin"], p=[0.6, 0.14, 0.18, 0.08]))
    x = np.abs(vertices[:, 0])
    half = np.abs(points[[48, 54], 0]).mean()
    middle = np.clip(1.5 - x / half, 0, 1) ** 0.5
    below = np.clip((points[57, 1] + 0.03 - vertices[:, 1]) / 0.06, 0, 1)
    area = {
        "full": np.maximum(beard, moustache),
        "moustache": moustache,
        "goatee": np.maximum(beard * middle, moustache),
        "chin": beard * middle * below,
    }[style]
    return np.asarray(area, np.float32), style


def _lashes(rng: Rng, points: Floats, length: float) -> tuple[Floats, Floats]:
    """Return curves (N, 5, 3) and widths (N,) of all lashes, from 98 landmarks."""
    curves, widths = [], []
    t = np.linspace(0, 1, 5)[:, None]
    for first in (60, 68):
        centre = points[first : first + 8].mean(0)
        for upper in (True, False):
            rim = points[[first + k for k in ((0, 1, 2, 3, 4) if upper else (4, 5, 6, 7, 8))]] if upper else points[[first + k for k in (4, 5, 6, 7, 0)]]
            count = 34 if upper else 18
            at = np.sort(rng.uniform(0.04, 0.98, count)) * 4
            root = np.stack([np.interp(at, np.arange(5), rim[:, k]) for k in range(3)], 1)
            out = (root - centre) * [1.0, 0, 0] * 4.0
            size = length * (1.0 if upper else 0.45) * rng.uniform(0.7, 1.15, count)
            rise = np.array([0, 0.05 if upper else -0.75, 0.9])
            direction = unit(out + rise + rng.normal(0, 0.10, (count, 3)))
            curl = np.array([0, 0.6 if upper else -0.1, -0.25])
            curve = root[:, None] + size[:, None, None] * (direction[:, None] * t + curl * t * t)
            curves.append(curve)
            widths.append(np.full(count, 0.0055 if upper else 0.003))
    return np.concatenate(curves), np.concatenate(widths)


@dataclass
class _Strands:
    """Ribbons under construction."""

    position: list[Floats]
    rest: list[Floats]
    tangent: list[Floats]
    normal: list[Floats]
    fields: list[Floats]
    triangles: list[NDArray[np.int32]]
    material: list[NDArray[np.uint8]]
    classes: list[NDArray[np.uint8]]
    rooted: list[NDArray[np.int64]]
    count: int

    def add(
        self, pose: _Pose, curves: Floats, width: Floats, normal: Floats, chance: Floats,
        rooted: NDArray[np.int64], material: int, classes: NDArray[np.uint8] | int,
    ) -> None:  # fmt: skip
        """Add N curves (N, K, 3) given at rest."""
        if not len(curves):
            return
        n, k, _ = curves.shape
        vertices, tangent, along, triangles = ribbons(pose(curves), width, np.array([0, 0, 5.0]))
        fields = np.zeros((len(vertices), len(FIELDS)), np.float32)
        fields[:, FIELDS.index("strand")] = np.repeat(chance, 2 * k)
        fields[:, FIELDS.index("along")] = along
        self.position.append(vertices.astype(np.float32))
        self.rest.append(np.repeat(curves.reshape(-1, 3), 2, axis=0).astype(np.float32))
        self.tangent.append(tangent.astype(np.float32))
        self.normal.append(np.repeat(normal, 2 * k, axis=0).astype(np.float32))
        self.fields.append(fields)
        self.triangles.append(triangles + np.int32(self.count))
        self.material.append(np.full(len(triangles), material, np.uint8))
        per = 2 * (k - 1)
        self.classes.append(np.repeat(np.broadcast_to(np.uint8(classes), (n,)), per))
        self.rooted.append(np.repeat(rooted, 2 * k))
        self.count += len(vertices)


def draw_figure(rng: Rng, heads: Heads) -> Figure:
    """Draw a person: shape, expression, hair, clothes, looks and pose."""
    params = heads.sample(rng)
    head = heads.mesh(params)
    female = params.male < 0.5
    tone = _tone(rng, params)
    points = heads.landmarks(head.vertices)
    hair_name, hair_colour, grey = m.sample_hair_colour(rng, tone, params.age)
    skin = m.sample_skin(rng, tone, params.age, female, hair_colour)
    fibres = m.sample_fibres(rng, hair_colour, grey, female and rng.random() < 0.5)
    trim = m.sample_trim(rng)
    cloth, felt = m.sample_fabric(rng), m.sample_fabric(rng)
    extras, worn = _dress(rng, heads, params, head)
    extras = [_below_chin(mesh, points[68]) for mesh in extras]
    skin = skin._replace(scalp=float(worn["scalp"]))

    *turn, body = _draw_pose(rng)
    pose = _Pose(*turn, body, np.zeros(3))
    centre = pose(points[5]).mean(0) + [0, 0, -0.45]
    pose = _Pose(*turn, body, centre.astype(np.float64))

    beard, style = _beard_style(rng, heads, head.vertices, points[68])
    bearded = not female and params.age > 20 and rng.random() < 0.38
    fields = _fields(head, heads, points, beard)
    other = merge([mesh for mesh in extras if len(mesh.triangles)]) if extras else None
    is_lens = other.part == PARTS.index("lens") if other else np.zeros(0, bool)
    lens = other.select(is_lens) if other else None
    solids = other.select(~is_lens) if other else None
    whole = merge([head, solids]) if solids and len(solids.triangles) else head
    position = pose(whole.vertices)
    normal = vertex_normals(position, whole.triangles)
    tangent = np.zeros_like(position)
    extra_fields = np.zeros((len(position) - len(head.vertices), len(FIELDS)), np.float32)
    extra_fields[:, FIELDS.index("strand")] = -1
    fields = np.concatenate([fields, extra_fields])
    hairy = whole.part == PARTS.index("hair")
    if hairy.any():
        locks = whole.select(hairy)
        of_hair = np.unique(whole.triangles[hairy])
        tangent[of_hair] = _flow(locks.moved(position[of_hair]))
        along = np.bincount(locks.triangles.ravel(), locks.uv[..., 1].ravel(), len(of_hair))
        along /= np.maximum(np.bincount(locks.triangles.ravel(), minlength=len(of_hair)), 1)
        fields[of_hair, FIELDS.index("along")] = along

    strands = _Strands([], [], [], [], [], [], [], [], [], len(position))
    grower = _Grower(rng, pose, whole, position, vertex_normals(whole.vertices, whole.triangles), normal, fields, strands)
    grower.brows(skin.brow)
    curves, widths = _lashes(rng, points[98], rng.uniform(0.04, 0.07) if female else rng.uniform(0.028, 0.045))
    near = heads.vertices_of("l_lid", "r_lid")
    nearest = near[((curves[:, :1] - whole.vertices[near]) ** 2).sum(-1).argmin(1)]
    side = np.where(curves[:, 0, 0] > 0, CLASS_OF_PART[PARTS.index("l_eye")], CLASS_OF_PART[PARTS.index("r_eye")])
    strands.add(pose, curves, widths, normal[nearest], rng.random(len(curves)), nearest, m.LASH, side.astype(np.uint8))
    if bearded:
        grower.beard(float(min(0.03 + rng.gamma(1.5, 0.035), 0.26)), float(points[68][48:68, 1].mean()))
        skin = skin._replace(stubble=1.0)
    if hairy.any():
        grower.loose_hair(hairy, float(worn.get("curl", 0.3)))

    surface = Surface(
        position=np.concatenate([position, *strands.position]).astype(np.float32),
        rest=np.concatenate([whole.vertices, *strands.rest]).astype(np.float32),
        normal=np.concatenate([normal, *strands.normal]).astype(np.float32),
        tangent=np.concatenate([tangent, *strands.tangent]).astype(np.float32),
        light=np.zeros((0, 3), np.float32),
        fields=np.concatenate([fields, *strands.fields]).astype(np.float32),
        triangles=np.concatenate([whole.triangles, *strands.triangles]).astype(np.int32),
        uv=np.concatenate(
            [whole.uv, np.zeros((sum(map(len, strands.triangles)), 3, 2), np.float32)]
        ),
        material=np.concatenate([_OF_PART[whole.part], *strands.material]).astype(np.uint8),
    )
    eyes = _eyes(rng, heads, head, position, tone)
    return Figure(
        surface=surface,
        classes=np.concatenate([CLASS_OF_PART[whole.part], *strands.classes]).astype(np.uint8),
        head=len(head.triangles),
        casters=whole.triangles[~np.isin(whole.part, _INSIDE)],
        solid_vertices=len(position),
        rooted=np.concatenate([np.zeros(0, np.int64), *strands.rooted]),
        lens_position=pose(lens.vertices) if lens else np.zeros((0, 3), np.float32),
        lens_normal=vertex_normals(pose(lens.vertices), lens.triangles) if lens else np.zeros((0, 3), np.float32),
        lens_triangles=lens.triangles if lens else np.zeros((0, 3), np.int32),
        face=position[heads.vertices_of(*_FACE)],
        landmarks={count: pose(p) for count, p in points.items()},
        skin=skin, eyes=eyes, fibres=fibres, cloth=cloth, hat=felt, trim=trim,
        attributes={
            "age": round(params.age, 1),
            "sex": "female" if female else "male",
            "skin_tone": round(tone, 3),
            "hair_colour": hair_name,
            "beard": style if bearded else "none",
            "yaw": round(turn[0], 2), "pitch": round(turn[1], 2), "roll": round(turn[2], 2),
            "expression": {name: round(value, 3) for name, value in params.expression.items()},
            "gaze": [round(float(v), 3) for v in params.gaze],
            "sunglasses": bool(lens and len(lens.triangles) and trim.lens_depth > 0.6),
        } | {k: v for k, v in worn.items() if k not in ("scalp", "curl")},
    )  # fmt: skip



def _dress(
    rng: Rng, heads: Heads, params: HeadParams, head: Mesh
) -> tuple[list[Mesh], dict[str, Any]]:
    """Draw hair and everything worn: meshes, and words and numbers about them."""
    ground, vertices = _ground(heads), head.vertices
    female = params.male < 0.5
    grown = params.age > 14
    chance = {
        "glasses": 0.10 + 0.004 * params.age,
        "hat": 0.11,
        "earrings": 0.45 * grown if female else 0.05,
        "necklace": 0.35 * grown if female else 0.06,
        "clothes": 0.96,
    }
    worn: dict[str, Any] = {name: bool(rng.random() < share) for name, share in chance.items()}
    style = sample_style(rng, male=params.male, age=params.age)
    makers = {"glasses": glasses, "earrings": earrings, "necklace": necklace, "clothes": clothes}
    meshes = [make(ground, vertices, rng) for name, make in makers.items() if worn[name]]
    cover = hat(ground, vertices, rng) if worn["hat"] else None
    if cover is not None:
        meshes.append(cover.mesh)
    hair = ground.grow(vertices, style, rng, hat=cover.edge if cover else None)
    if hair is not None:
        meshes.append(hair)
    cropped = style.name not in ("bald", "horseshoe", "receding")
    looks = {"hair": style.name, "scalp": 0.9 * cropped, "curl": min(1.0, 10 * style.wave)}
    return meshes, worn | looks


def _below_chin(mesh: Mesh, points: Floats) -> Mesh:
    """Return a mesh without the parts of collars that would reach over chin and cheeks."""
    collar = np.isin(mesh.part, [PARTS.index("collar"), PARTS.index("cloth")])
    if not collar.any():
        return mesh
    corners = mesh.vertices[mesh.triangles]
    line = points[8, 1] + 0.02 + 0.6 * np.maximum(points[8, 2] - 0.35 - corners[..., 2], 0)
    return mesh.select(~(collar & (corners[..., 1] > line).any(axis=1)))


def _ground(heads: Heads) -> Ground:
    """Return the ground under the hair of a model; probing it takes half a second, once."""
    known = _GROUNDS.get(id(heads))
    if known is None or known[0] is not heads:
        known = _GROUNDS[id(heads)] = (heads, Ground(heads))
    return known[1]


def _tone(rng: Rng, params: Any) -> float:
    """Draw how deep the skin is, 0..1, wide for every ethnic group."""
    african, asian, caucasian = (float(share) for share in params.ethnicity)
    mean = 0.76 * african + 0.36 * asian + 0.2 * caucasian
    return float(np.clip(rng.normal(mean, 0.13), 0.0, 1.0))


def _eyes(rng: Rng, heads: Heads, head: Mesh, position: Floats, tone: float) -> m.Eyes:
    """Find centre and gaze of the posed eyeballs from their texture positions."""
    centres, gazes = [], []
    for part in ("l_eye", "r_eye"):
        chosen = head.part == PARTS.index(part)
        ball = heads.vertices_of(part)
        middle = (position[ball].min(0) + position[ball].max(0)) / 2
        p = position[head.triangles[chosen].ravel()].astype(np.float64)
        a, b = (2 * head.uv[chosen].reshape(-1, 2) - 1).astype(np.float64).T
        front = (a * a + b * b < 0.9) & (p[:, 2] > middle[2])
        a, b, p = a[front], b[front], p[front]
        basis = np.stack([a, b, np.sqrt(1 - a * a - b * b), np.ones_like(a)], 1)
        axes = np.linalg.lstsq(basis, p, rcond=None)[0]
        centres.append(axes[3])
        gazes.append(unit(axes[2]))
    return m.sample_eyes(rng, tone, np.array(centres), np.array(gazes))


@dataclass(frozen=True)
class _Grower:
    """Grows strands from the triangles of a mesh."""

    rng: Rng
    pose: _Pose
    mesh: Mesh
    position: Floats
    rest_normal: Floats
    normal: Floats
    fields: Floats
    strands: _Strands

    def _field(self, name: str) -> Floats:
        return self.fields[:, FIELDS.index(name)]

    def _add(self, roots: Roots, curves: Floats, width: Floats, material: int, classes: Any) -> None:
        corner = self.mesh.triangles[roots.triangle, roots.weights.argmax(1)]
        normal = unit(roots.of(self.mesh.triangles, self.normal))
        self.strands.add(self.pose, curves, width, normal, roots.chance, corner.astype(np.int64), material, classes)

    def _roots(self, density: Floats, count: int, among: NDArray[np.bool_] | None = None) -> Roots:
        triangles = self.mesh.triangles
        if among is None:
            return scatter(self.rng, self.mesh.vertices, triangles, density, count)
        chosen = np.flatnonzero(among)
        roots = scatter(self.rng, self.mesh.vertices, triangles[chosen], density, count)
        return Roots(chosen[roots.triangle], roots.weights, roots.chance)

    def brows(self, brow: m.Brow) -> None:
        """Grow eyebrows: upright at the inner end, combed outwards further on."""
        u, v = self._field("brow_u"), self._field("brow_v")
        skin = _OF_PART[self.mesh.part] == m.SKIN
        coarse = ((u > -0.4) & (u < 1.4) & (abs(v) < 4)).astype(np.float64)
        roots = self._roots(coarse, 5000, skin)
        u, v = roots.of(self.mesh.triangles, u), roots.of(self.mesh.triangles, v)
        weight = brow_weights(brow, u, v)
        keep = roots.chance < weight * brow.density
        roots = Roots(roots.triangle[keep], roots.weights[keep], roots.chance[keep] / np.maximum(weight[keep] * brow.density, 1e-6))
        t = np.clip(u[keep], 0, 1)
        root = roots.of(self.mesh.triangles, self.mesh.vertices)
        side = np.sign(root[:, 0])
        lean = v[keep] * 0.45
        direction = np.stack([side * (0.55 + 0.9 * t), 0.8 * (1 - t) ** 2 - 0.2 * t - lean, np.zeros_like(t)], 1)
        direction += self.rng.normal(0, 0.16, direction.shape)
        normal = unit(roots.of(self.mesh.triangles, self.rest_normal))
        length = self.rng.uniform(0.035, 0.065, len(root)) * (1.0 - 0.3 * t)
        curves = grow(root, normal, unit(direction), length, lift=0.1, droop=0.05, points=4)
        width = self.rng.uniform(0.003, 0.005, len(root))
        left, right = CELEBAMASK19.values("l_brow", "r_brow")
        self._add(roots, curves, width, m.BROW, np.where(side > 0, left, right).astype(np.uint8))

    def beard(self, length: float, mouth: float) -> None:
        """Grow a beard: longer below the height `mouth`, falling."""
        area = self._field("beard").astype(np.float64)
        area = np.where(self._field("lips") > 0.05, 0, area) ** 1.3
        roots = self._roots(area, 4200)
        root = roots.of(self.mesh.triangles, self.mesh.vertices)
        if not len(root):
            return
        normal = unit(roots.of(self.mesh.triangles, self.rest_normal))
        direction = np.array([0, -1.0, 0.1]) + np.array([0.9, 0, 0]) * root[:, :1]
        direction = direction + self.rng.normal(0, 0.28, direction.shape)
        size = length * self.rng.uniform(0.5, 1.3, len(root)) * (0.5 + 0.7 * roots.of(self.mesh.triangles, area))
        size = np.minimum(size, 0.07 + 0.5 * np.maximum(mouth - root[:, 1], 0))
        curves = grow(root, normal, unit(direction), size, lift=0.22, droop=0.25)
        self._add(roots, curves, self.rng.uniform(0.005, 0.009, len(root)), m.BEARD, 1)

    def loose_hair(self, hairy: NDArray[np.bool_], curl: float) -> None:
        """Lay strands over the hair's surface and let a few of them stray."""
        roots = self._roots(np.ones(len(self.mesh.vertices)), 4200, hairy)
        root = roots.of(self.mesh.triangles, self.mesh.vertices)
        normal = unit(roots.of(self.mesh.triangles, self.rest_normal))
        flow = np.zeros_like(self.mesh.vertices)
        flow[np.unique(self.mesh.triangles[hairy])] = _flow(self.mesh.select(hairy))
        direction = roots.of(self.mesh.triangles, flow)
        direction = unit(direction + self.rng.normal(0, 0.05 + 0.2 * curl, direction.shape))
        stray = self.rng.random(len(root)) < 0.05
        length = self.rng.uniform(0.12, 0.34, len(root))
        curves = grow(root + 0.006 * normal, normal, direction, length, lift=0.03, droop=0.04)
        t = np.linspace(0, 1, curves.shape[1])[None, :, None]
        away = np.where(stray, self.rng.uniform(0.0, 0.25, len(root)), -0.04)[:, None, None]
        curves += normal[:, None] * away * length[:, None, None] * t * t
        phase = self.rng.uniform(0, 6.3, (len(root), 1, 1))
        wave = np.sin(phase + 7 * t) * cross(normal, direction)[:, None]
        curves += 0.04 * curl * wave * t
        hair = CLASS_OF_PART[PARTS.index("hair")]
        width = np.where(stray, 0.004, self.rng.uniform(0.004, 0.010, len(root)))
        self._add(roots, curves, width, m.HAIR, int(hair))
