"""The statistical head: identities, expressions, gaze, landmarks and fields from a small model.

A head is `neutral + Σ code_k · component_k + Σ activation_e · unit_e`, eyeballs turned about their
centres. Codes follow age, sex, ethnic group and weight by a linear regression on products of their
shares; what these leave open is Gaussian. The model is learnt by `recipes/head_model.py`.

Shapes: V vertices, T triangles, K components, E expression units, F attribute features.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from pentimento.errors import CheckpointError
from pentimento.world.anatomy import Anchors
from pentimento.world.face_mesh import FACE, FaceMesh, face_mesh
from pentimento.world.mesh import Floats, Indices, Mesh, part_index

BUNDLED: Final = Path(__file__).parent.parent / "weights" / "head"
"""Folder of the head model that comes with the package."""

ETHNICITIES: Final = ("african", "asian", "caucasian")
SEXES: Final = ("female", "male")
_QUANTISED: Final = ("components", "units")


def age_shares(age: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Return the shares of child, young and old: corners at 10, 25 and 70 years."""
    child, old = np.clip((25 - age) / 15, 0, 1), np.clip((age - 25) / 45, 0, 1)
    return child, 1 - child - old, old


def attribute_features(
    ethnicity: NDArray[np.float64],
    male: NDArray[np.float64],
    age: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return features (N, F) in which the morph targets are linear: products of the shares.

    Args:
        ethnicity: (N, 3) shares in the order of `ETHNICITIES`.
        male: (N,) 0 … 1.
        age: (N,) years.
        weight: (N,) -1 … 1.
    """
    sexes, ages = (1 - male, male), age_shares(age)
    heavy = (np.maximum(weight, 0), np.maximum(-weight, 0))
    columns = [
        group * sex * share for group, sex, share in itertools.product(ethnicity.T, sexes, ages)
    ]
    columns += [load * sex * share for load, sex, share in itertools.product(heavy, sexes, ages)]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class HeadParams:
    """One person at one moment.

    Attributes:
        code: (K,) identity, roughly unit normal.
        age: years.
        male: 0 female … 1 male.
        ethnicity: (3,) shares in the order of `ETHNICITIES`.
        weight: -1 light … 1 heavy.
        expression: unit → activation, usually 0 … 1.
        gaze: (2,) radians; first to the subject's left, second up.
    """

    code: Floats
    age: float
    male: float
    ethnicity: Floats
    weight: float
    expression: Mapping[str, float] = field(default_factory=dict)
    gaze: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Heads:
    """A statistical head model.

    Attributes:
        neutral: (V, 3) mean head.
        components: (K, V, 3) displacement per standard deviation.
        regression: (F, K) mean codes from `attribute_features`.
        spread: (K, K) lower-triangular factor of the remaining covariance of the codes.
        units: expression unit → (V, 3).
        triangles: (T, 3).
        uv: (T, 3, 2).
        part: (T,) index into `PARTS`.
        fields: name → (V,), see `anatomy.skin_fields`.
        points: 68 and 98 → anchors of the landmarks.
        facts: how the model was learnt.
    """

    neutral: Floats
    components: Floats
    regression: Floats
    spread: Floats
    units: Mapping[str, Floats]
    triangles: Indices
    uv: Floats
    part: NDArray[np.uint8]
    fields: Mapping[str, Floats]
    points: Mapping[int, Anchors]
    facts: Mapping[str, Any]

    def vertices_of(self, *parts: str) -> NDArray[np.int64]:
        """Return the numbers of the vertices of some parts, ascending."""
        chosen = np.isin(self.part, [part_index(name) for name in parts])
        return np.unique(self.triangles[chosen]).astype(np.int64)

    @cached_property
    def eyeballs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Vertex numbers of the subject's right and left eyeball."""
        return self.vertices_of("r_eye"), self.vertices_of("l_eye")

    @cached_property
    def face(self) -> FaceMesh:
        """The vertices of the face, and those that describe its shape."""
        return face_mesh(self.neutral, self.triangles, self.vertices_of(*FACE))

    @cached_property
    def _component_matrix(self) -> Floats:
        return np.ascontiguousarray(self.components.reshape(len(self.components), -1))

    def code_for(
        self,
        rng: np.random.Generator,
        *,
        ethnicity: Floats,
        male: float,
        age: float,
        weight: float,
        variety: float = 1.0,
    ) -> Floats:
        """Return a random identity code (K,) for the given attributes.

        Args:
            rng: source of chance.
            ethnicity: (3,) shares.
            male: 0 … 1.
            age: years.
            weight: -1 … 1.
            variety: scale of what the attributes leave open; 0 gives the mean of such people.
        """
        features = attribute_features(
            np.asarray(ethnicity, np.float64)[None],
            np.array([male], np.float64),
            np.array([age], np.float64),
            np.array([weight], np.float64),
        )[0]
        free = np.clip(rng.standard_normal(self.spread.shape[0]), -2.2, 2.2)
        code = features @ self.regression + variety * self.spread @ free
        return np.asarray(code, np.float32)

    def sample(self, rng: np.random.Generator) -> HeadParams:
        """Return a random person with a random expression.

        Ages are those of portraits (mostly 18 to 65), sexes balanced, ethnic groups mixed; about
        two of five are neutral, two smile, the others speak, frown, wonder or blink.
        """
        ethnicity = np.asarray(rng.dirichlet([0.35] * len(ETHNICITIES)), np.float32)
        male = float(np.clip(rng.choice([0.06, 0.94]) + rng.normal(0, 0.1), 0, 1))
        age = float(rng.uniform(8, 18) if rng.random() < 0.08 else rng.triangular(18, 28, 80))
        weight = float(np.clip(rng.normal(0, 0.35), -0.9, 0.9))
        code = self.code_for(rng, ethnicity=ethnicity, male=male, age=age, weight=weight)
        expression = sample_expression(rng, sorted(self.units))
        gaze = rng.normal(0, (0.16, 0.08)) * (rng.random() < 0.7)
        side, up = np.clip(gaze, (-0.45, -0.25), (0.45, 0.2))
        return HeadParams(code, age, male, ethnicity, weight, expression, (float(side), float(up)))

    def vertices(self, params: HeadParams) -> Floats:
        """Return the vertices (V, 3) of a person."""
        shape = self.neutral + (params.code @ self._component_matrix).reshape(-1, 3)
        # The unit closes the lids of a mean eye; larger eyes have further to go.
        reach = 1.06 * self._lid_heights(shape) / self._lid_heights(self.neutral)
        reaches = {"eye-right-closure": reach[0], "eye-left-closure": reach[1]}
        for name, amount in params.expression.items():
            if name in self.units and amount:
                shape += np.float32(amount * reaches.get(name, 1.0)) * self.units[name]
        side, up = params.gaze
        turn = _rotation(side, up)
        for ball in self.eyeballs:
            if len(ball):
                centre = ball_centre(shape[ball])
                shape[ball] = (shape[ball] - centre) @ turn.T + centre
        return np.asarray(shape, np.float32)

    def _lid_heights(self, vertices: Floats) -> Floats:
        """Return the lid openings (2,) of the subject's right and left eye in decimetres."""
        points = self.points[68].of(vertices)
        upper, lower = points[[37, 38, 43, 44], 1], points[[41, 40, 47, 46], 1]
        heights: Floats = np.maximum((upper - lower).reshape(2, 2).mean(axis=1), 1e-3)
        return heights

    def mesh(self, params: HeadParams) -> Mesh:
        """Return the head of a person, without hair and clothes."""
        return Mesh(self.vertices(params), self.triangles, self.uv, self.part)

    def landmarks(self, vertices: Floats) -> dict[int, Floats]:
        """Return 5, 68 and 98 landmarks on given vertices, float32 (5 | 68 | 98, 3).

        Orders: 5 = image-left eye, image-right eye, nose tip, image-left and image-right mouth
        corner (RetinaFace); 68 = iBUG 300-W; 98 = WFLW. Image-left is the subject's right.
        """
        points = {count: anchors.of(vertices) for count, anchors in self.points.items()}
        full = points[68]
        five = [full[36:42].mean(axis=0), full[42:48].mean(axis=0), full[30], full[48], full[54]]
        return {5: np.stack(five).astype(np.float32), **points}


def ball_centre(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the centre (3,) of an eyeball (·, 3), of which only the front two thirds exist."""
    low, high = points.min(axis=0), points.max(axis=0)
    centre = (low + high) / 2
    centre[2] = high[2] - (high[0] - low[0]) / 2
    return np.asarray(centre)


def _rotation(side: float, up: float) -> Floats:
    """Return the rotation that turns the forward axis z towards +x by `side`, then +y by `up`."""
    c, s, d, e = np.cos(side), np.sin(side), np.cos(up), np.sin(up)
    yaw = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    pitch = np.array([[1, 0, 0], [0, d, e], [0, -e, d]])
    return np.asarray(yaw @ pitch, np.float32)


_MOODS: Final[dict[str, tuple[float, tuple[tuple[str, float, float, float], ...]]]] = {
    # mood: chance, then units with least and greatest activation and the chance of each
    "neutral": (0.36, ()),
    "smile": (0.27, (("mouth-corner-puller", 0.3, 1.0, 1), ("mouth-parling", 0.1, 0.9, 0.5),
                     ("eye-slit", 0.0, 0.2, 1))),
    "laugh": (0.12, (("mouth-corner-puller", 0.6, 1.0, 1), ("mouth-open", 0.08, 0.45, 1),
                     ("mouth-upward-retraction", 0.2, 0.7, 1), ("eye-slit", 0.1, 0.35, 1))),
    "speak": (0.10, (("mouth-open", 0.1, 0.7, 1), ("mouth-protusion", 0.0, 0.4, 1),
                     ("mouth-eversion", 0.0, 0.4, 1))),
    "frown": (0.06, (("eyebrows-down", 0.4, 1.0, 1), ("mouth-depression", 0.0, 0.8, 1),
                     ("mouth-compression", 0.0, 0.6, 1))),
    "wonder": (0.06, (("eyebrows-up", 0.4, 1.0, 1), ("eye-opened-up", 0.1, 0.7, 1),
                      ("mouth-open", 0.0, 0.8, 1))),
    "kiss": (0.03, (("mouth-pursing", 0.4, 0.9, 1),)),
}  # fmt: skip

_ALWAYS: Final = (
    ("eye-closure", 1.0, 1.0, 0.05),
    ("eye-closure", 0.0, 0.25, 0.25),
    ("eyebrows-inner-up", 0.0, 0.4, 0.1),
    ("eyebrows-extern-up", 0.0, 0.4, 0.1),
    ("eyebrows-down", 0.0, 0.4, 0.1),
)


def sample_expression(rng: np.random.Generator, units: Sequence[str]) -> dict[str, float]:
    """Return activations of a plausible expression among the given units.

    A unit that exists once for each side moves on both, not quite alike.
    """
    amount: dict[str, float] = {}
    chances = [chance for chance, _ in _MOODS.values()]
    mood = list(_MOODS)[int(rng.choice(len(_MOODS), p=chances))]
    for name, low, high, chance in (*_MOODS[mood][1], *_ALWAYS):
        value = rng.uniform(low, high) * (rng.random() < chance)
        head, _, tail = name.partition("-")
        for key in (name, f"{head}-left-{tail}", f"{head}-right-{tail}"):
            if key in units and value > 0:
                part = value if key == name else value * rng.uniform(0.85, 1.15)
                amount[key] = min(amount.get(key, 0.0) + float(part), 1.15)
    return amount


def save_heads(heads: Heads, folder: Path) -> None:
    """Write `model.safetensors` and `config.json`; displacements as int16 with one scale each."""
    arrays: dict[str, NDArray[Any]] = {
        "neutral": heads.neutral,
        "regression": heads.regression,
        "spread": heads.spread,
        "triangles": heads.triangles.astype(np.uint16),
        "part": heads.part,
        "fields": np.stack(list(heads.fields.values())).astype(np.float16),
    }
    corner_uv, index = np.unique(heads.uv.reshape(-1, 2), axis=0, return_inverse=True)
    arrays["uv"] = corner_uv
    arrays["uv_index"] = index.astype(np.uint16).reshape(-1, 3)
    stacks = (heads.components, np.stack(list(heads.units.values())))
    for name, stack in zip(_QUANTISED, stacks, strict=True):
        scale = np.maximum(np.abs(stack).max(axis=(1, 2)), 1e-9) / 32767
        arrays[name] = np.round(stack / scale[:, None, None]).astype(np.int16)
        arrays[f"{name}_scale"] = scale.astype(np.float32)
    for count, anchors in heads.points.items():
        arrays[f"landmarks_{count}_corners"] = anchors.corners.astype(np.uint16)
        arrays[f"landmarks_{count}_weights"] = anchors.weights
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        folder / "model.safetensors",
    )
    config = {
        "format": "pentimento-head-1",
        "units": list(heads.units),
        "fields": list(heads.fields),
        "facts": dict(heads.facts),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_heads(folder: Path | None = None) -> Heads:
    """Load a head model.

    Args:
        folder: a folder with `model.safetensors` and `config.json`, or a folder of MakeHuman files
            (`base.obj` and morph targets), from which a model is learnt on the spot (about half
            a minute); None for the model that comes with the package.

    Raises:
        CheckpointError: the folder holds no head model, or another kind.
        DataError: a MakeHuman folder is incomplete.
    """
    folder = folder or BUNDLED
    if (folder / "base.obj").exists():
        # Only this way needs scipy and the learning code.
        from pentimento.world.makehuman import learn_heads

        return learn_heads(folder, people=800)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        arrays = load_file(folder / "model.safetensors")
        if config["format"] != "pentimento-head-1":
            raise KeyError(config["format"])
        wide = {name: arrays[name] * arrays[f"{name}_scale"][:, None, None] for name in _QUANTISED}
        points = {
            count: Anchors(
                arrays[f"landmarks_{count}_corners"].astype(np.int32),
                arrays[f"landmarks_{count}_weights"],
            )
            for count in (68, 98)
        }
        return Heads(
            neutral=arrays["neutral"],
            components=wide["components"],
            regression=arrays["regression"],
            spread=arrays["spread"],
            units=dict(zip(config["units"], wide["units"], strict=True)),
            triangles=arrays["triangles"].astype(np.int32),
            uv=arrays["uv"][arrays["uv_index"]],
            part=arrays["part"],
            fields=dict(zip(config["fields"], arrays["fields"].astype(np.float32), strict=True)),
            points=points,
            facts=config["facts"],
        )
    except (OSError, KeyError, ValueError) as problem:
        raise CheckpointError(
            f"{folder}: expected a head model (config.json and model.safetensors) or a MakeHuman "
            f"folder (base.obj and targets): {problem}"
        ) from problem
