"""Faces with landmarks: square crops as a detector's box would give them, and varied for training.

A data specification is one or more sources joined by `,` or `+`, weighed as in `data.faces`:

| source | what it reads |
|---|---|
| `world`, `world:count=3000` | rendered portraits, drawn on demand and kept in the cache folder |
| a folder with `images/`, `truths/` | as `pentimento world portraits` writes |
| `london:DIR` | the London set, its 189 points turned into 68 (`data.london`) |

People mark photographs by other rules than a head's geometry has, so the 68 points of rendered
portraits are moved (`as_marked`). A photograph's far jaw is the outline of the face, while a head's
own jaw disappears behind the cheek: hidden jaw points are put on the outline (`outlined`).

A crop is the square of `ops.landmarks.crop_of`. In validation it is off by a little, because no
detector is exact; in training by much more, and turned.
"""

import json
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.augment import occlude, photograph
from pentimento.data.faces import (
    Draws,
    FaceSample,
    Readable,
    data_folder,
    drawn_once,
    draws_of,
    files_by_stem,
    one_side,
    portrait_seeds,
    read_rgb,
    read_values,
)
from pentimento.data.london import london_landmarks
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19
from pentimento.ops.align import crop_to_picture
from pentimento.ops.landmarks import GROUPS, crop_of, mirrored, remap
from pentimento.ops.warp import cut, invert

Split = Literal["train", "val"]

# Where people put points 0…35 of London photos, against where a network trained on rendered
# portraits alone expects them: thousandths of the outer eye corners' distance to the right, and of
# 1.29 times the distance from eyes to mouth (as long, in a frontal face) down. Both sides averaged;
# `recipes/landmarks.py conventions` measures what remains beyond it. Eyes and lips are not moved:
# their borders mean the same in both, and what is measured there is that rendered eyes stand wider
# apart.
_MARKED: Final = np.array(
    [
        (11, -39), (4, -34), (-14, -54), (-20, -60), (-14, -31), (-6, -17), (-12, -35), (2, -22),
        (0, -21), (-2, -22), (12, -35), (6, -17), (14, -31), (20, -60), (14, -54), (-4, -34),
        (-11, -39), (-17, 90), (-49, -15), (-21, -44), (19, -15), (8, 81), (-8, 81), (-19, -15),
        (21, -44), (49, -15), (17, 90), (0, -14), (0, -11), (0, -28), (0, -47), (15, 18), (1, 20),
        (0, 22), (-1, 20), (-15, 18),
    ]
) / 1000  # fmt: skip
_EYES_TO_MOUTH: Final = 1.29
_VAL_SEEDS: Final = 1_000_000_000  # as in `data.faces`
_FACE: Final = CELEBAMASK19.values(
    "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"
)
_WORLD_SIDE: Final = 192  # px, of portraits that are drawn on demand


@dataclass(frozen=True)
class LandmarkSample:
    """One crop of a face.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        points: (N, 2) float32 in pixels of the crop; some may lie outside of it.
        eye_span: distance of the outer eye corners in pixels of the crop.
        person: who it is.
    """

    image: NDArray[np.uint8]
    points: NDArray[np.float32]
    eye_span: float
    person: str


Marked = Readable[tuple[NDArray[np.uint8], dict[int, NDArray[Any]]]]
"""Its `read` returns the picture (H, W, 3) uint8, and all sets of points that are known, by their
number; 68 is always among them."""


@dataclass(frozen=True)
class Landmarks:
    """Crops of one split; the engine's `Dataset` of `LandmarkSample`."""

    draws: Draws[Marked]
    size: int
    count: int
    varied: bool

    def __len__(self) -> int:
        """Return the number of draws of one epoch."""
        return len(self.draws)

    def sample(self, index: int, rng: np.random.Generator) -> LandmarkSample:
        """Return face `index`; `rng` chooses among those that share a draw, and varies."""
        face = self.draws.pick(index, rng)
        image, sets = face.read()
        points = chosen(sets, self.count, face.person)
        quad = jittered(crop_of(sets[68]), rng, varied=self.varied)
        matrix = crop_to_picture(quad, self.size)
        crop = np.rint(cut(image, matrix, self.size)).astype(np.uint8)
        back = invert(matrix)
        placed = points @ back[:, :2].T + back[:, 2]
        corners = sets[68][[36, 45]] @ back[:, :2].T
        if self.varied:
            crop, placed = varied(crop, placed, rng)
        span = float(np.hypot(*(corners[1] - corners[0])))
        return LandmarkSample(crop, placed.astype(np.float32), span, face.person)


def open_landmarks(
    spec: str, split: Split, size: int, count: int, *, varied: bool | None = None
) -> Landmarks:
    """Open the faces that a data specification names.

    Args:
        spec: sources as described above.
        split: which people.
        size: side of the crops in pixels.
        count: 5, 68 or 98 points.
        varied: whether crops are varied as for training; by default in the training split.

    Raises:
        DataError: a source does not exist, is no known layout, or has no face in this split.
    """
    wide = split == "train" if varied is None else varied
    return Landmarks(draws_of(spec, split, _open_source), size, count, wide)


def chosen(sets: dict[int, NDArray[Any]], count: int, who: str) -> NDArray[Any]:
    """Return the set of `count` points, from a finer one if need be; DataError if there is none."""
    for have in sorted((n for n in sets if n >= count), key=lambda n: (n != count, n)):
        return remap(sets[have], count)
    raise DataError(
        f"{who} has sets of {', '.join(map(str, sorted(sets)))} landmarks, not of {count}; "
        "choose another source or another number of points"
    )


def neutral(count: int) -> NDArray[np.float32]:
    """Return (N, 2): points of the neutral head seen from the front, from its crop's middle.

    Args:
        count: N, 5, 68 or 98.
    """
    from pentimento.world.portraits import builtin_heads

    heads = builtin_heads()
    sets = {n: p[:, :2] * (1, -1) for n, p in heads.landmarks(heads.neutral).items()}
    sets[68] = as_marked(sets[68])
    quad = crop_of(sets[68])
    side = quad[3, 0] - quad[0, 0]
    return np.asarray((sets[count] - quad.mean(0)) / side, np.float32)


# Variation


def jittered(quad: NDArray[Any], rng: np.random.Generator, *, varied: bool) -> NDArray[Any]:
    """Return a crop's corners, off as a detector is: a little, or (`varied`) much and turned."""
    middle = quad.mean(0)
    side = float(np.hypot(*(quad[3] - quad[0])))
    if varied:
        angle = np.radians(np.clip(rng.normal(0, 14), -35, 35))
        scale = np.exp(np.clip(rng.normal(0.02, 0.11), -0.22, 0.3))
        shift = np.clip(rng.normal(0, 0.045, 2), -0.1, 0.1) * side
    else:
        angle, scale = 0.0, np.exp(rng.normal(0, 0.05))
        shift = rng.normal(0, 0.02, 2) * side
    cos, sin = np.cos(angle), np.sin(angle)
    turned = (quad - middle) @ np.array([[cos, sin], [-sin, cos]]) * scale
    return np.asarray(turned + middle + shift)


def varied(
    image: NDArray[np.uint8], points: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return a crop as another camera would take it, perhaps mirrored, perhaps with occluders."""
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
        points = mirrored(points, image.shape[1])
    if rng.random() < 0.3:  # stretch a little: faces differ in proportion more than the world's do
        image, points = _stretched(image, points, rng)
    sample = FaceSample(image, np.zeros(image.shape[:2], np.uint8), "")
    if rng.random() < 0.3:
        sample = occlude(sample, rng)
    return photograph(sample, rng).image, points


def _stretched(
    image: NDArray[np.uint8], points: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    middle = np.full(2, image.shape[0] / 2)
    linear = np.diag(np.exp(rng.normal(0, 0.06, 2)))
    linear[0, 1] = rng.normal(0, 0.05)
    shift = middle - linear @ middle
    matrix = np.column_stack([linear, shift + linear.sum(1) / 2 - 0.5])  # OpenCV's frame
    size = (image.shape[1], image.shape[0])
    moved = cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8), points @ linear.T + shift


# Sources


def outlined(
    points: NDArray[Any], visible: NDArray[np.bool_], labels: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Return the points with the jaw points that the face itself hides moved onto its outline.

    They move away from the middle of the face to where the label map leaves it, but not further
    than a third of the distance of the outer eye corners; points behind hair stay.

    Args:
        points: (N, 2) in pixels; sets without a jaw are returned as they are.
        visible: (N,) whether nothing lies in front.
        labels: (H, W) 19 classes.
    """
    moved = np.asarray(points, np.float64).copy()
    if len(points) not in GROUPS:
        return moved
    first, last = GROUPS[len(points)]["jaw"]
    eyes = GROUPS[len(points)]["eyes"]
    far = 0.33 * float(np.ptp(moved[eyes[0] : eyes[1], 0]))
    middle = moved[last:].mean(0)
    height, width = labels.shape
    for i in np.flatnonzero(~visible[first:last]):
        outward = (moved[i] - middle) / max(float(np.hypot(*(moved[i] - middle))), 1e-6)
        steps = moved[i] + np.arange(0, far, 0.5)[:, None] * outward
        x = steps[:, 0].astype(int).clip(0, width - 1)
        y = steps[:, 1].astype(int).clip(0, height - 1)
        inside = np.isin(labels[y, x], _FACE)
        if inside[0] and not inside.all():
            moved[i] = steps[int(np.argmin(inside))]
    return moved


def as_marked(points: NDArray[Any]) -> NDArray[np.float64]:
    """Return the 68 points of a rendered portrait where a person would mark them in a photo."""
    across = points[45] - points[36]
    down = points[[48, 54]].mean(0) - points[36:48].mean(0)
    upright = np.array([-across[1], across[0]]) / max(float(np.hypot(*across)), 1e-6)
    axes = np.stack([across, upright * float(np.hypot(*down)) * _EYES_TO_MOUTH])
    moved = np.asarray(points, np.float64).copy()
    moved[: len(_MARKED)] += _MARKED @ axes
    return moved


def _open_source(source: str, split: Split) -> list[Marked]:
    kind, _, rest = source.partition(":")
    if kind == "world":
        return _world(rest, split)
    if kind == "london":
        marked = [Marked(person, read) for person, read in london_landmarks(data_folder(rest))]
    else:
        marked = _exported(data_folder(source))
    return one_side(marked, split, source)


def _exported(folder: Path) -> list[Marked]:
    if not ((folder / "images").is_dir() and (folder / "truths").is_dir()):
        raise DataError(
            f"{folder}: no known layout of faces with landmarks; expected images/, labels/ and "
            "truths/ as `pentimento world portraits` writes, or `world`, or `london:DIR`"
        )
    pictures = files_by_stem(folder / "images")
    truths = files_by_stem(folder / "truths", (".json",))
    labels = files_by_stem(folder / "labels", (".png",)) if (folder / "labels").is_dir() else {}
    return [
        Marked(
            f"{folder.name}-{stem}",
            partial(_read_export, pictures[stem], labels[stem], truths[stem]),
        )
        for stem in sorted(pictures.keys() & labels.keys() & truths.keys())
    ]


@lru_cache(maxsize=4096)  # 800 MB of 256² portraits; decoding takes longer than a training step
def _read_export(
    picture: Path, labels: Path, truths: Path
) -> tuple[NDArray[np.uint8], dict[int, NDArray[Any]]]:
    try:
        listed = json.loads(truths.read_text())["landmarks"]
        marks = {int(count): np.array(points, np.float64) for count, points in listed.items()}
        if 68 not in marks or any(points.shape != (n, 3) for n, points in marks.items()):
            raise ValueError("sets of points must have as many as they say, and 68 be among them")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{truths}: no landmarks of a portrait can be read ({error})") from None
    image, values = read_rgb(picture), read_values(labels)
    if values.shape != image.shape[:2]:
        raise DataError(f"{labels}: {values.shape} does not fit its picture {image.shape[:2]}")
    sets = {n: outlined(m[:, :2], m[:, 2] > 0, values) for n, m in marks.items()}
    return image, sets | {68: as_marked(sets[68])}


def _world(options: str, split: Split) -> list[Marked]:
    return [Marked(f"world-{s}", partial(_drawn, s), split) for s in portrait_seeds(options, split)]


def _drawn(seed: int) -> tuple[NDArray[np.uint8], dict[int, NDArray[Any]]]:
    """Return a rendered portrait, drawn when it is asked for the first time."""

    def draw() -> dict[str, NDArray[Any]]:
        from pentimento.world.portraits import portrait

        truth = portrait(seed, _WORLD_SIDE)
        return {"image": truth.picture} | {
            f"points{count}": outlined(points.xy, points.visible, truth.labels.values)
            for count, points in truth.landmarks.items()
        }

    kept = drawn_once("landmarks", _WORLD_SIDE, seed, draw)
    marks = {n: kept[f"points{n}"] for n in (5, 68, 98)}
    return kept["image"], marks | {68: as_marked(marks[68])}
