"""Learns the statistical head of the world from a folder of MakeHuman files (CC0 1.0).

MakeHuman describes a person by morph targets: lists of vertex displacements of one base mesh, named
after what they do and, most of them, after the ethnic group, sex and age they were drawn for. Here
thousands of random people are put together from them, moved to a common place, and summarised:
mean, principal components, how the components follow age, sex, ethnic group and weight, and the
displacements of the expression units. What the files call left is the viewer's left; every name
given here is the subject's.

Shapes: B vertices of the base file, V of the head, T triangles, N people, M morph targets,
K components, E expression units.
"""

import re
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pentimento.errors import DataError
from pentimento.world.anatomy import landmark_points, skin_fields
from pentimento.world.heads import (
    ETHNICITIES,
    Heads,
    age_shares,
    attribute_features,
    ball_centre,
)
from pentimento.world.mesh import Floats, Indices, part_index

CHEST_Y: Final = 3.9
"""Height in decimetres below which the body is left out."""

STRENGTH: Final = {
    "head": 0.22, "cheek": 0.25, "chin": 0.22, "ears": 0.25, "eyes": 0.2, "mouth": 0.16,
    "neck": 0.15, "nose": 0.2, "asym": 0.08,
}  # fmt: skip
"""Standard deviation of a modifier's weight by folder; chosen by looking at random heads."""

EYE_SCALE: Final = 1.22
"""The source's eyes are small: lids span 0.35 of the distance between pupils, people's 0.46."""

_FACE_PARTS: Final = ("skin", "nose", "u_lip", "l_lip", "l_lid", "r_lid")
_AGES: Final = ("child", "young", "old")


@dataclass(frozen=True)
class BaseMesh:
    """The head-and-shoulders part of the base file.

    Attributes:
        vertices: (V, 3) decimetres, arms hanging.
        triangles: (T, 3) vertex indices.
        uv: (T, 3, 2) per corner.
        part: (T,) index into `PARTS`.
        source: (V,) vertex numbers in the base file.
        brow: (P, 3) vertices of the eyebrow strips.
        linear: (V, 3, 3) map of displacements of the base file to displacements here.
        scale: (V,) how much larger things are here than in the base file.
    """

    vertices: NDArray[np.float64]
    triangles: Indices
    uv: Floats
    part: NDArray[np.uint8]
    source: NDArray[np.int64]
    brow: NDArray[np.float64]
    linear: NDArray[np.float64]
    scale: NDArray[np.float64]


def part_of_group(group: str, x: float) -> str | None:
    """Return the part of a face group of the base file, None for what is left out.

    Args:
        group: the name after `g`; some are cut at 21 letters in the file.
        x: mean x of the face; it tells the subject's side, since the file names the viewer's.
    """
    side = "l" if x > 0 else "r"
    rules = (
        (r"joint|helper|lash|eyebrown|eye-ball|teeth-up-(third|sec)-mol", None),
        ("teeth-low-(first|sec|third)", None),
        ("cornea", f"{side}_eye"),  # the smooth shell is the visible eyeball
        ("-ear-", f"{side}_ear"),
        (r"eye-.*-li(d|$)", f"{side}_lid"),
        (r"philtrum|glabella", "skin"),
        ("nose", "nose"),
        (r"mouth-upper", "u_lip"),
        (r"mouth-lower-", "l_lip"),
        ("teeth", "teeth"),
        ("tongue", "tongue"),
        ("inner-mouth", "mouth"),
        ("upper-skull|back-skull", "scalp"),
        ("neck", "neck"),
        ("head|eye|jaw|mouth", "skin"),
        ("torso|upperarm|hip", "chest"),
    )
    for pattern, part in rules:
        if re.search(pattern, group):
            return part
    return None


def hang_arms(
    vertices: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return vertices (B, 3) with the arms down, and the local linear map (B, 3, 3).

    The base file stands with its arms stretched out; shoulders of a portrait slope.
    """
    side = np.sign(vertices[:, 0])
    bend = np.clip((np.abs(vertices[:, 0]) - 0.9) / 1.3, 0, 1) * (vertices[:, 1] < 6.1)
    angle = np.radians(62) * bend**2 * (3 - 2 * bend)
    cos, sin, zero, one = np.cos(angle), np.sin(angle), np.zeros(len(side)), np.ones(len(side))
    turn = np.stack([cos, sin * side, zero, -sin * side, cos, zero, zero, zero, one], 1)
    linear = turn.reshape(-1, 3, 3)
    pivot = np.stack([1.35 * side, np.full(len(side), 5.35), zero], axis=1)
    return np.einsum("bij,bj->bi", linear, vertices - pivot) + pivot, linear


def enlarge_eyes(
    vertices: NDArray[np.float64], eyeballs: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return vertices (B, 3) with eyes and sockets scaled, and the local scale (B,).

    Args:
        vertices: (B, 3).
        eyeballs: the points (·, 3) of each eyeball.
    """
    scale = np.ones(len(vertices))
    for ball in eyeballs:
        centre = ball_centre(ball)
        radius = float(np.ptp(ball[:, 0])) / 2
        away = np.linalg.norm(vertices - centre, axis=1) / radius
        # The bridge of the nose stays as it is.
        beside = np.clip((np.sign(centre[0]) * vertices[:, 0] - 0.06) / 0.12, 0, 1)
        wide, deep = (np.clip((end - away) / 1.0, 0, 1) * beside for end in (2.3, 1.9))
        local = 1 + (EYE_SCALE - 1) * wide * wide * (3 - 2 * wide)
        # Brows and cheeks make room sideways; only the eye itself grows towards the viewer.
        forward = 1 + (EYE_SCALE - 1) * deep * deep * (3 - 2 * deep)
        vertices = centre + np.stack([local, local, forward], axis=1) * (vertices - centre)
        scale *= local
    return vertices, scale


def read_obj(
    path: Path,
) -> tuple[NDArray[np.float64], NDArray[np.float64], list[tuple[str, list[int], list[int]]]]:
    """Return vertices (B, 3), texture positions (U, 2) and faces (group, corners, uv corners)."""
    vertices, uvs, faces, group = [], [], [], ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        kind, *words = line.split() or [""]
        if kind == "v":
            vertices.append([float(w) for w in words[:3]])
        elif kind == "vt":
            uvs.append([float(w) for w in words[:2]])
        elif kind == "g":
            group = words[0] if words else ""
        elif kind == "f":
            corners = [w.split("/") for w in words]
            faces.append(
                (
                    group,
                    [int(c[0]) - 1 for c in corners],
                    [int([*c, "1"][1] or 1) - 1 for c in corners],
                )
            )
    if not faces:
        raise DataError(f"{path}: an OBJ file with faces was expected, it has none")
    return np.array(vertices), np.array(uvs or [[0.0, 0.0]]), faces


def read_base(path: Path) -> BaseMesh:
    """Read the base file, keep head and shoulders, name the parts, triangulate the quads."""
    raw, uvs, faces = read_obj(path)
    hung, turn = hang_arms(raw)
    cornea = [np.unique([c for g, corners, _ in faces if g == f"{s}-eye-cornea" for c in corners])
              for s in "lr"]  # fmt: skip
    vertices, grow = enlarge_eyes(hung, [hung[ball.astype(int)] for ball in cornea if len(ball)])
    triangles, uv, part, brow = [], [], [], []
    for group, corners, uv_corners in faces:
        centre = raw[corners].mean(axis=0)
        if "eyebrown" in group:
            brow.extend(corners)
        name = part_of_group(group, float(centre[0]))
        if name is None or vertices[corners, 1].min() < CHEST_Y:
            continue
        for k in range(1, len(corners) - 1):
            triangles.append([corners[0], corners[k], corners[k + 1]])
            uv.append([uv_corners[0], uv_corners[k], uv_corners[k + 1]])
            part.append(part_index(name))
    source, flat = np.unique(np.array(triangles), return_inverse=True)
    local = flat.reshape(-1, 3).astype(np.int32)
    corner_uv = uvs[np.array(uv)].astype(np.float32)
    kept = vertices[source]
    for name in ("l_eye", "r_eye"):
        of_eye = np.array(part) == part_index(name)
        ball = kept[local[of_eye]]
        low, high = ball.reshape(-1, 3).min(axis=0), ball.reshape(-1, 3).max(axis=0)
        centre, radius = (low + high)[:2] / 2, (high - low)[0] / 2
        corner_uv[of_eye] = 0.5 + 0.5 * (ball[..., :2] - centre) / radius
    return BaseMesh(
        kept, local, np.clip(corner_uv, 0, 1), np.array(part, np.uint8), source,
        raw[np.unique(brow)] if brow else np.zeros((0, 3)), turn[source], grow[source],
    )  # fmt: skip


def read_targets(folder: Path) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield (path without ending, rows of vertex number and displacement (·, 4)) of all targets."""
    archive = folder / "targets_head.tar.xz"
    if archive.exists():
        with tarfile.open(archive) as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.name.endswith(".target") else None
                if stream is not None:
                    name = member.name.removeprefix("./").removesuffix(".target")
                    yield name, _rows(stream.read().decode("utf-8", "replace"))
    elif (folder / "targets").is_dir():
        for path in sorted((folder / "targets").rglob("*.target")):
            name = path.relative_to(folder).with_suffix("").as_posix()
            yield name, _rows(path.read_text(encoding="utf-8", errors="replace"))
    else:
        raise DataError(
            f"{folder}: expected base.obj beside targets_head.tar.xz or a folder `targets`; "
            "give the folder that holds them"
        )


def _rows(text: str) -> NDArray[np.float64]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return np.array(" ".join(lines).split(), np.float64).reshape(-1, 4)


@dataclass(frozen=True)
class Targets:
    """All displacements as one sparse matrix, and what each row is for.

    Attributes:
        matrix: (M, 3V).
        rows: modifier ("nose/nose-hump") → {(ethnicity, sex, age): row}; "*" means any.
    """

    matrix: sparse.csr_matrix
    rows: dict[str, dict[tuple[str, str, str], int]]

    def weights(self, modifier: str, attributes: "People") -> dict[int, NDArray[np.float64]]:
        """Return row → weight (N,) of the variants that these people use; they sum to one."""
        variants = self.rows[modifier]
        raw = {
            row: attributes.share(ethnicity, sex, age)
            for (ethnicity, sex, age), row in variants.items()
        }
        total = np.maximum(sum(raw.values()), 1e-9)
        return {row: weight / total for row, weight in raw.items()}


def collect_targets(folder: Path, base: BaseMesh) -> Targets:
    """Read every target that shapes a head or moves a face."""
    where = np.full(int(base.source.max()) + 1, -1)
    where[base.source] = np.arange(len(base.source))
    data, rows, columns = [], [], []
    names: dict[str, dict[tuple[str, str, str], int]] = defaultdict(dict)
    count = 0
    for path, values in read_targets(folder):
        key = _modifier(path)
        if key is None or not len(values):
            continue
        modifier, variant = key
        number = values[:, 0].astype(int)
        known = number < len(where)
        local = np.where(known, where[np.where(known, number, 0)], -1)
        inside = local >= 0
        data.append(values[inside, 1:].ravel())
        columns.append((3 * local[inside, None] + np.arange(3)).ravel())
        rows.append(np.full(data[-1].size, count))
        names[modifier][variant] = count
        count += 1
    if not count:
        raise DataError(f"{folder}: no head target was found among the morph targets")
    matrix = sparse.csr_matrix(
        (np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))),
        shape=(count, 3 * len(base.source)),
    )
    return Targets(matrix, dict(names))


def _modifier(path: str) -> tuple[str, tuple[str, str, str]] | None:
    """Return (modifier, (ethnicity, sex, age)) of a target's path, None if it is not for heads."""
    words = path.replace("female-old", "female_old").split("/")[1:]
    if not words or path.startswith("models"):
        return None
    folder, *middle, name = words
    if folder == "asym" and "breast" not in name and "trunk" not in name:
        return f"asym/{name}", ("*", "*", "*")
    if folder == "macrodetails":
        match = re.fullmatch(r"(\w+)-(female|male)-(child|young|old)(-[\w-]+)?", name)
        if match is None:
            return None
        group, sex, age, detail = match.groups()
        group = {"neutral": "caucasian", "universal": "*"}.get(group, group)
        return f"macro/{(detail or '-base')[1:]}", (group, sex, age)
    if folder == "expression" and middle[:1] != ["units"]:
        return None
    if (folder not in STRENGTH and folder != "expression") or len(middle) < 2:
        return None
    sex, age = middle[-1].split("_")
    return f"{folder}/{name}", (middle[-2], sex, age)


@dataclass(frozen=True)
class People:
    """Attributes of N random people.

    Attributes:
        ethnicity: (N, 3) shares in the order of `ETHNICITIES`.
        male: (N,) 0 female … 1 male.
        age: (N,) years.
        weight: (N,) -1 light … 1 heavy.
    """

    ethnicity: NDArray[np.float64]
    male: NDArray[np.float64]
    age: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def draw(cls, count: int, rng: np.random.Generator) -> "People":
        """Return random people, broadly and evenly spread: the model is for conditioning."""
        return cls(
            rng.dirichlet([0.5] * len(ETHNICITIES), count),
            np.clip(rng.choice([0.05, 0.95], count) + rng.normal(0, 0.15, count), 0, 1),
            rng.uniform(10, 80, count),
            np.clip(rng.normal(0, 0.45, count), -1, 1),
        )

    def share(self, ethnicity: str, sex: str, age: str) -> NDArray[np.float64]:
        """Return how much (N,) of a variant applies to each person."""
        ages = dict(zip(_AGES, age_shares(self.age), strict=True))
        share = np.ones_like(self.male)
        if ethnicity != "*":
            share = share * self.ethnicity[:, ETHNICITIES.index(ethnicity)]
        if sex != "*":
            share = share * (self.male if sex == "male" else 1 - self.male)
        return share if age == "*" else share * ages[age]


def compose(targets: Targets, people: People, rng: np.random.Generator) -> Floats:
    """Return displacements (N, 3V) of random people: macro shape plus random modifiers."""
    count = len(people.age)
    use: dict[int, NDArray[np.float64]] = {}
    shared: dict[str, NDArray[np.float64]] = {}
    levels = {
        "macro/base": np.ones(count),
        "macro/heavy": np.maximum(people.weight, 0),
        "macro/light": np.maximum(-people.weight, 0),
        "macro/muscle": np.maximum(rng.normal(0, 0.35, count), 0).clip(0, 1),
    }
    for modifier in sorted(targets.rows):
        folder = modifier.split("/")[0]
        if folder == "expression" or (folder == "macro" and modifier not in levels):
            continue
        level = levels.get(modifier)
        if level is None:
            # The two sides of a face share most of their shape.
            name = re.sub(r"/[lr]-", "/", modifier) if folder != "asym" else modifier
            common = shared.setdefault(name, rng.normal(0, 1, count))
            own = common if name == modifier else common + rng.normal(0, 0.2, count)
            level = np.clip(STRENGTH[folder] * own, 0, 1)
        for row, weight in targets.weights(modifier, people).items():
            use[row] = weight * level
    mix = np.zeros((count, targets.matrix.shape[0]))
    for row, weight in use.items():
        mix[:, row] = weight
    return np.asarray(mix @ targets.matrix, np.float32)


def _other_side(name: str) -> str:
    return re.sub("left|right", lambda found: "right" if found[0] == "left" else "left", name)


def expression_units(targets: Targets, scale: NDArray[np.float64]) -> dict[str, Floats]:
    """Return unit → displacement (V, 3), the mean over all drawn variants, subject's sides.

    Args:
        targets: of the head.
        scale: (V,) of the displacements.
    """
    units = {}
    for modifier, variants in sorted(targets.rows.items()):
        folder, name = modifier.split("/")
        if folder == "expression":
            mean = targets.matrix[sorted(variants.values())].mean(axis=0)
            moved = scale[:, None] * np.asarray(mean).reshape(-1, 3)
            units[_other_side(name)] = moved.astype(np.float32)
    return units


def learn_heads(folder: Path, *, people: int = 2500, components: int = 60, seed: int = 0) -> Heads:
    """Learn the statistical head from a MakeHuman folder.

    Args:
        folder: holds `base.obj` and `targets_head.tar.xz` (or a folder `targets`).
        people: random heads to learn from.
        components: principal components to keep, at most.
        seed: of the random heads.

    Raises:
        DataError: the folder lacks the files or they are not of this kind.
    """
    if not (folder / "base.obj").exists():
        raise DataError(f"{folder}: base.obj was not found; give a folder of MakeHuman files")
    base = read_base(folder / "base.obj")
    targets = collect_targets(folder, base)
    rng = np.random.default_rng(seed)
    crowd = People.draw(people, rng)
    shapes = compose(targets, crowd, rng).reshape(people, -1, 3)

    face = np.unique(base.triangles[np.isin(base.part, [part_index(p) for p in _FACE_PARTS])])
    # Statures go before the arms are turned down: turning is linear, but not about the feet.
    shapes -= shapes[:, face].mean(axis=1, keepdims=True)
    shapes = np.einsum("vij,nvj->nvi", base.linear.astype(np.float32), shapes)
    shapes += base.vertices.astype(np.float32)
    mean = shapes.mean(axis=0)
    shapes -= mean

    # What a portrait shows decides what the components describe.
    weight = np.full(len(mean), 0.2, np.float32)
    weight[np.unique(base.triangles[base.part == part_index("scalp")])] = 0.6
    weight[face] = 1.0
    flat = (shapes * weight[:, None]).reshape(people, -1)
    values, vectors = np.linalg.eigh(flat @ flat.T)
    order = np.argsort(values)[::-1][: min(components, people - 1)]
    order = order[values[order] > 1e-7 * values.max()]
    codes = vectors[:, order] * np.sqrt(people)  # unit variance
    directions = np.tensordot(codes, shapes, axes=(0, 0)) / people  # (K, V, 3)
    explained = values[order].cumsum() / values.clip(0).sum()

    features = attribute_features(crowd.ethnicity, crowd.male, crowd.age, crowd.weight)
    ridge = 1e-3 * people * np.eye(features.shape[1])
    regression = np.linalg.solve(features.T @ features + ridge, features.T @ codes)
    residual = codes - features @ regression
    spread = np.linalg.cholesky(np.cov(residual.T) + 1e-6 * np.eye(len(order)))

    units = expression_units(targets, base.scale)
    parted = base.vertices + 0.4 * units.get("mouth-open", 0.0)
    points = landmark_points(base.vertices, parted, base.triangles, base.part, base.brow)
    rims = points[98].of(base.vertices.astype(np.float32))[60:76]
    return Heads(
        neutral=mean,
        components=directions.astype(np.float32),
        regression=regression.astype(np.float32),
        spread=spread.astype(np.float32),
        units=units,
        triangles=base.triangles,
        uv=base.uv,
        part=base.part,
        fields=skin_fields(base.vertices, base.triangles, base.part, base.brow, rims),
        points=points,
        facts={
            "people": people,
            "seed": seed,
            "variance_explained": round(float(explained[-1]), 5),
        },
    )
