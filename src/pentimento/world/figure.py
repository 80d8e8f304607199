"""A person ready to be lit: head, hair, clothes and glasses posed, with a material everywhere.

`draw_figure` draws everything that does not depend on camera, light and background. The mesh has
three parts in order: the head (its texture positions are the UV truth), other solids, strands.

Alphabet: V vertices; T triangles; N strands.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pentimento.world import materials as m
from pentimento.world.heads import HeadParams, Heads
from pentimento.world.light import unit
from pentimento.world.mesh import CLASS_OF_PART, PARTS, Mesh, merge, part_index, vertex_normals
from pentimento.world.shading import Looks, Surface
from pentimento.world.strands import (
    Soil,
    Tuft,
    beard_tuft,
    brow_tuft,
    hair_tuft,
    lash_tuft,
    ribbons,
)  # fmt: skip
from pentimento.world.textures import ALONG, BEARD, BROW_U, BROW_V, FIELDS, LIDS, LIPS, STRAND
from pentimento.world.wardrobe import Outfit, draw_outfit

Rng = np.random.Generator
Floats = NDArray[np.float32]

_MATERIAL: Final = {
    "teeth": m.TEETH, "mouth": m.GUM, "tongue": m.GUM, "l_eye": m.EYE, "r_eye": m.EYE,
    "hair": m.HAIR, "hat": m.HAT, "glasses": m.FRAME, "earring": m.METAL, "necklace": m.METAL,
    "cloth": m.CLOTH, "collar": m.CLOTH,
}  # fmt: skip
_OF_PART: Final = np.array([_MATERIAL.get(part, m.SKIN) for part in PARTS], np.uint8)
_INSIDE: Final = [part_index(part) for part in ("teeth", "mouth", "tongue")]
_EYE: Final = np.array([0, 0, 5], np.float32)  # where ribbons turn to: about the camera


@dataclass(frozen=True)
class Figure:
    """Everything about a person that light and camera need.

    Attributes:
        surface: the posed mesh, the face at the origin; its light is not baked yet.
        classes: (T,) CelebAMask-HQ class of every triangle.
        head: number of triangles of the head, the first ones.
        lashes: number of triangles of the lashes, the last ones; they have no class of their own.
        casters: (C, 3) triangles that cast shadows: solids without the inside of the mouth.
        solids: number of vertices of head and other solids, the first ones.
        rooted: for every later vertex, the solid one whose light it takes.
        lens: the lenses of spectacles, posed, perhaps without triangles.
        face: (F, 3) vertices of the facial skin; the first ones are `Heads.face`'s mesh.
        landmarks: 5, 68, 98 → (n, 3) posed.
        looks: what everything is made of.
        attributes: what was drawn, in words and numbers.
        params: of the head.
    """

    surface: Surface
    classes: NDArray[np.uint8]
    head: int
    lashes: int
    casters: NDArray[np.int32]
    solids: int
    rooted: NDArray[np.int64]
    lens: Mesh
    face: Floats
    landmarks: dict[int, Floats]
    looks: Looks
    attributes: dict[str, Any]
    params: HeadParams


@dataclass(frozen=True)
class Pose:
    """A turn of the head in degrees; the neck follows in part, the shoulders hardly.

    Attributes:
        yaw: to the subject's left.
        pitch: upwards.
        roll: to the subject's right shoulder.
        body: the part of the yaw that the shoulders follow.
        origin: (3,) subtracted afterwards.
    """

    yaw: float
    pitch: float
    roll: float
    body: float
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __call__(self, points: Any) -> Floats:
        """Return points (..., 3) turned and moved."""
        t = np.clip((points[..., 1] - 5.35) / 0.95, 0, 1)
        share = t * t * (3 - 2 * t)  # 0 at the shoulders, 1 at the jaw
        out = np.asarray(points, np.float32) - np.array((0.0, 6.0, 0.25), np.float32)
        for angle, (i, j), least in (
            (self.roll, (0, 1), 0.1), (self.pitch, (2, 1), 0.05), (self.yaw, (2, 0), self.body),
        ):  # fmt: skip
            turn = (np.radians(angle) * (least + (1 - least) * share)).astype(np.float32)
            cos, sin = np.cos(turn), np.sin(turn)
            a, b = out[..., i].copy(), out[..., j].copy()
            out[..., i], out[..., j] = cos * a - sin * b, sin * a + cos * b
        return np.asarray(out - np.array(self.origin, np.float32), np.float32)


def draw_pose(rng: Rng) -> Pose:
    """Draw a pose: yaw mostly within 20 degrees and never beyond 45."""
    yaw = float(np.clip(rng.normal(0, 12 if rng.random() < 0.75 else 26), -45, 45))
    pitch = float(np.clip(rng.normal(-1, 6), -20, 20))
    roll = float(np.clip(rng.normal(0, 4), -15, 15))
    return Pose(yaw, pitch, roll, float(rng.uniform(-0.2, 0.6)))


def draw_figure(rng: Rng, heads: Heads, pose: Pose | None = None) -> Figure:
    """Draw a person: shape, expression, hair, clothes, looks and, if it is not given, pose."""
    pose = pose or draw_pose(rng)
    params = _attentive(rng, heads.sample(rng), pose)
    head = heads.mesh(params)
    points = heads.landmarks(head.vertices)
    centre = pose(points[5]).mean(0) - [0, 0, 0.45]
    pose = replace(pose, origin=(float(centre[0]), float(centre[1]), float(centre[2])))
    female = params.male < 0.5
    tone = _tone(rng, params)
    hair_name, hair_colour, grey = m.sample_hair_colour(rng, tone, params.age)
    skin = m.sample_skin(rng, tone, params.age, female, hair_colour)
    fibres = m.sample_fibres(rng, hair_colour, grey, female and rng.random() < 0.5)
    trim, cloth, felt = m.sample_trim(rng), m.sample_fabric(rng), m.sample_fabric(rng)
    outfit = draw_outfit(rng, heads, params, head, points[68])
    bearded = not female and params.age > 20 and rng.random() < 0.38
    area, style = _beard_area(rng, heads, head.vertices, points[68])
    skin = skin._replace(scalp=0.9 * outfit.cropped, stubble=1.0 if bearded else skin.stubble)

    worn = merge(outfit.meshes) if outfit.meshes else head.select(np.zeros(len(head.part), bool))
    glass = worn.part == part_index("lens")
    whole, lens = merge([head, worn.select(~glass)]), worn.select(glass)
    fields = np.zeros((len(whole.vertices), len(FIELDS)), np.float32)
    fields[:, STRAND] = -1
    fields[: len(head.vertices)] = _fields(head, heads, points, area)
    hair = whole.part == part_index("hair")
    flow, of_hair = _flow(whole, hair), np.unique(whole.triangles[hair])
    fields[of_hair, ALONG] = _mean_v(whole, hair)[of_hair]
    soil = Soil(whole, vertex_normals(whole.vertices, whole.triangles), fields, points[98])
    tufts = _tufts(rng, heads, soil, skin, outfit, flow, female, bearded)
    surface, rooted, classes = _assemble(soil, pose, flow, tufts)
    position = surface.position[: len(whole.vertices)]
    eyes = m.sample_eyes(rng, tone, *_eyeballs(heads, head, position))
    return Figure(
        surface=surface,
        classes=classes,
        head=len(head.triangles),
        lashes=int((surface.material == m.LASH).sum()),
        casters=whole.triangles[~np.isin(whole.part, _INSIDE)],
        solids=len(whole.vertices),
        rooted=rooted,
        lens=lens.moved(pose(lens.vertices)),
        face=position[heads.face.vertices],
        landmarks={count: pose(p) for count, p in points.items()},
        looks=Looks(skin, eyes, fibres, cloth, felt, trim),
        attributes={
            "age": round(params.age, 1),
            "sex": "female" if female else "male",
            "skin_tone": round(tone, 3),
            "hair_colour": hair_name,
            "beard": style if bearded else "none",
            "yaw": round(pose.yaw, 2),
            "pitch": round(pose.pitch, 2),
            "roll": round(pose.roll, 2),
            "gaze": [round(float(angle), 3) for angle in params.gaze],
            "expression": {name: round(float(v), 3) for name, v in params.expression.items()},
            "sunglasses": bool(glass.any() and trim.lens_depth > 0.6),
        }
        | outfit.attributes,
        params=params,
    )


def _attentive(rng: Rng, params: HeadParams, pose: Pose) -> HeadParams:
    """Return the person awake, and three times in four looking at the camera."""
    gaze = params.gaze
    if rng.random() < 0.75:
        side, up = -0.95 * np.radians([pose.yaw, pose.pitch]) + rng.normal(0, 0.03, 2)
        gaze = (float(np.clip(side, -0.5, 0.5)), float(np.clip(up, -0.25, 0.22)))
    expression = dict(params.expression)
    wide = float(rng.uniform(0.1, 0.5))
    for eye in ("left", "right"):
        if expression.get(f"eye-{eye}-closure", 0.0) < 0.5:
            name = f"eye-{eye}-opened-up"
            expression[name] = expression.get(name, 0.0) + wide
    return replace(params, gaze=gaze, expression=expression)


def _tone(rng: Rng, params: HeadParams) -> float:
    """Draw how deep the skin is, 0..1, wide for every ethnic group."""
    african, asian, caucasian = (float(share) for share in params.ethnicity)
    mean = 0.76 * african + 0.36 * asian + 0.2 * caucasian
    return float(np.clip(rng.normal(mean, 0.13), 0.0, 1.0))


def _beard_area(rng: Rng, heads: Heads, vertices: Floats, points: Floats) -> tuple[Floats, str]:
    """Return (V,) where a beard grows and the style's name, from 68 landmarks."""
    beard, moustache = heads.fields["beard"], heads.fields["moustache"]
    style = str(rng.choice(["full", "moustache", "goatee", "chin"], p=[0.6, 0.14, 0.18, 0.08]))
    half = np.abs(points[[48, 54], 0]).mean()
    middle = np.clip(1.5 - np.abs(vertices[:, 0]) / half, 0, 1) ** 0.5
    below = np.clip((points[57, 1] + 0.03 - vertices[:, 1]) / 0.06, 0, 1)
    area = {
        "full": np.maximum(beard, moustache),
        "moustache": moustache,
        "goatee": np.maximum(beard * middle, moustache),
        "chin": beard * middle * below,
    }[style]
    return np.asarray(area, np.float32), style


def _soft(mesh: Mesh, *parts: str) -> Floats:
    """Return (V,) the share of a vertex's triangles that belong to the parts."""
    inside = np.isin(mesh.part, [part_index(part) for part in parts])
    corners, count = mesh.triangles.ravel(), len(mesh.vertices)
    chosen = np.bincount(corners, np.repeat(inside, 3), count)
    total = np.bincount(corners, minlength=count)
    return np.asarray(chosen / np.maximum(total, 1), np.float32)


def _fields(head: Mesh, heads: Heads, points: dict[int, Floats], beard: Floats) -> Floats:
    """Return the columns of `textures.FIELDS` (V, 13) for the head's vertices."""
    fields = np.zeros((len(head.vertices), len(FIELDS)), np.float32)
    for column, name in enumerate(FIELDS):
        if name in heads.fields:
            fields[:, column] = heads.fields[name]
    # Between vertices far below and far behind the brow, v runs through the brow: u must not.
    fields[np.abs(fields[:, BROW_V]) > 8.5, BROW_U] = 5.0
    fields[:, BEARD] = beard
    fields[:, LIPS] = _soft(head, "u_lip", "l_lip")
    fields[:, LIDS] = _soft(head, "l_lid", "r_lid")
    for side, (part, first) in enumerate((("l_eye", 68), ("r_eye", 60))):
        ball = heads.vertices_of(part)
        upper = points[98][first : first + 5]
        upper = upper[np.argsort(upper[:, 0])]
        x, y = head.vertices[ball, 0], head.vertices[ball, 1]
        t = np.clip((np.interp(x, upper[:, 0], upper[:, 1]) - y + 0.01) / 0.075, 0, 1)
        fields[ball, STRAND] = side
        fields[ball, ALONG] = 0.3 + 0.7 * t * t * (3 - 2 * t)  # the upper lid shades it
    return fields


def _mean_v(mesh: Mesh, chosen: NDArray[np.bool_]) -> Floats:
    """Return (V,) the mean v of a vertex's chosen triangles, 0 without any."""
    corners, count = mesh.triangles[chosen].ravel(), len(mesh.vertices)
    total = np.bincount(corners, mesh.uv[chosen][..., 1].ravel(), count)
    return np.asarray(total / np.maximum(np.bincount(corners, minlength=count), 1), np.float32)


def _flow(mesh: Mesh, hair: NDArray[np.bool_]) -> Floats:
    """Return (V, 3) unit directions in which v grows on hair: along it; zero elsewhere."""
    p, uv = mesh.vertices[mesh.triangles[hair]], mesh.uv[hair]
    e1, e2 = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    d1, d2 = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    sign = np.sign(d1[:, :1] * d2[:, 1:] - d1[:, 1:] * d2[:, :1])
    along = unit((e2 * d1[:, :1] - e1 * d2[:, :1]) * sign)
    corners, count = mesh.triangles[hair].ravel(), len(mesh.vertices)
    axes = [np.bincount(corners, np.repeat(along[:, axis], 3), count) for axis in range(3)]
    return np.asarray(unit(np.stack(axes, 1)), np.float32)


def _tufts(
    rng: Rng, heads: Heads, soil: Soil, skin: m.Skin, outfit: Outfit, flow: Floats, female: bool,
    bearded: bool,
) -> list[Tuft]:  # fmt: skip
    """Grow brows, beard, loose hair and, last, lashes."""
    parts = soil.mesh.part
    hair = parts == part_index("hair")
    tufts = [brow_tuft(rng, soil, skin.brow, _OF_PART[parts] == m.SKIN)]
    if bearded:
        tufts.append(beard_tuft(rng, soil, min(0.03 + rng.gamma(1.5, 0.035), 0.26)))
    if hair.any():
        # Under a hat only the hair below its edge is free.
        top = float(soil.points[33:51, 1].max()) + 0.02 if outfit.hat else np.inf
        tufts.append(hair_tuft(rng, soil, flow, hair, outfit.curl, top))
    length = rng.uniform(0.04, 0.07) if female else rng.uniform(0.028, 0.045)
    tufts.append(lash_tuft(rng, soil, length, heads.vertices_of("l_lid", "r_lid")))
    return [tuft for tuft in tufts if len(tuft.curves)]


def _assemble(
    soil: Soil, pose: Pose, flow: Floats, tufts: list[Tuft]
) -> tuple[Surface, NDArray[np.int64], NDArray[np.uint8]]:
    """Return the posed surface of solids and strands, the roots of the latter, and the classes."""
    mesh = soil.mesh
    position = pose(mesh.vertices)
    normal = vertex_normals(position, mesh.triangles)
    # Directions along the hair turn with it.
    tangent = unit(pose(mesh.vertices + 0.01 * flow) - position) * flow.any(1, keepdims=True)
    solids, solid = len(position), len(mesh.triangles)
    vertices = solids + sum(2 * tuft.curves.shape[0] * tuft.curves.shape[1] for tuft in tufts)
    triangles = solid + sum(2 * len(t.curves) * (t.curves.shape[1] - 1) for t in tufts)
    p, r, n, g, light = (np.zeros((vertices, 3), np.float32) for _ in range(5))
    surface = Surface(
        position=p,
        rest=r,
        normal=n,
        tangent=g,
        light=light,
        fields=np.zeros((vertices, len(FIELDS)), np.float32),
        triangles=np.zeros((triangles, 3), np.int32),
        uv=np.zeros((triangles, 3, 2), np.float32),
        material=np.zeros(triangles, np.uint8),
    )
    rooted, classes = np.zeros(vertices - solids, np.int64), np.zeros(triangles, np.uint8)
    surface.position[:solids], surface.rest[:solids] = position, mesh.vertices
    surface.normal[:solids], surface.tangent[:solids] = normal, tangent
    surface.fields[:solids] = soil.fields
    surface.triangles[:solid], surface.uv[:solid] = mesh.triangles, mesh.uv
    surface.material[:solid], classes[:solid] = _OF_PART[mesh.part], CLASS_OF_PART[mesh.part]
    v, t = solids, solid
    for tuft in tufts:
        k = tuft.curves.shape[1]
        points, along, place, corners = ribbons(pose(tuft.curves), tuft.width, _EYE)
        here, there = slice(v, v + len(points)), slice(t, t + len(corners))
        roots = np.repeat(tuft.root, 2 * k)
        rooted[v - solids : v - solids + len(points)] = roots
        surface.position[here], surface.tangent[here] = points, along
        surface.rest[here] = np.repeat(tuft.curves.reshape(-1, 3), 2, axis=0)
        surface.normal[here] = normal[roots]
        surface.fields[here, STRAND] = np.repeat(tuft.chance, 2 * k)
        surface.fields[here, ALONG] = place
        surface.triangles[there] = corners + np.int32(v)
        surface.material[there] = tuft.material
        classes[there] = np.repeat(tuft.classes, 2 * (k - 1))
        v, t = here.stop, there.stop
    return surface, rooted, classes


def _eyeballs(heads: Heads, head: Mesh, position: Floats) -> tuple[m.Colour, m.Colour]:
    """Return centres and gazes (2, 3) of the posed eyeballs, left first, from their uv."""
    centres, gazes = [], []
    for part in ("l_eye", "r_eye"):
        chosen = head.part == part_index(part)
        ball = position[heads.vertices_of(part)]
        p = position[head.triangles[chosen].ravel()].astype(np.float64)
        a, b = (2 * head.uv[chosen].reshape(-1, 2) - 1).astype(np.float64).T
        front = (a * a + b * b < 0.9) & (p[:, 2] > (ball[:, 2].min() + ball[:, 2].max()) / 2)
        a, b, p = a[front], b[front], p[front]
        # A point of the eyeball is centre + a·right + b·up + √(1-a²-b²)·gaze, all times the radius.
        basis = np.stack([a, b, np.sqrt(1 - a * a - b * b), np.ones_like(a)], 1)
        axes = np.linalg.lstsq(basis, p, rcond=None)[0]
        centres.append(axes[3])
        gazes.append(unit(axes[2]))
    return np.array(centres), np.array(gazes)
