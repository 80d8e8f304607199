"""Faces with dense correspondence: which part of the head a pixel shows, and where on it.

A data specification is one or more sources joined by `,` or `+`, weighed as in `data.faces`:

| source | what it reads |
|---|---|
| `world`, `world:count=3000` | rendered portraits, drawn on demand and kept in the cache folder |
| a folder with `images/`, `labels/`, `maps/` | as `pentimento world portraits` writes |

Parts: 1 is the skin of the head, 2 and 3 are the subject's left and right eyeball, each in a
texture of its own, 4 is the neck, a separate island of the head's texture.
"""

import zipfile
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
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19, IGNORE

Split = Literal["train", "val"]

PARTS: Final = ("skin", "left eye", "right eye", "neck")
_NECK_U: Final = 0.45  # the islands lie left and right of it
_EYES: Final = CELEBAMASK19.values("l_eye", "r_eye")
_VAL_SEEDS: Final = 1_000_000_000  # as in `data.faces`
_WORLD_SIDE: Final = 192  # px, of portraits that are drawn on demand


@dataclass(frozen=True)
class ChartSample:
    """One aligned face.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        part: (S, S) uint8, 0 where no known surface is seen, else 1 + index in `PARTS`.
        uv: (S, S, 2) float32 in [0, 1], 0 where `part` is.
        person: who it is.
    """

    image: NDArray[np.uint8]
    part: NDArray[np.uint8]
    uv: NDArray[np.float32]
    person: str


Charted = Readable[tuple[NDArray[Any], ...]]
"""Its `read` returns image, labels (H, W), uv (H, W, 2) and covered (H, W)."""


@dataclass(frozen=True)
class ChartFaces:
    """Faces of one split; the engine's `Dataset` of `ChartSample`."""

    draws: Draws[Charted]
    size: int
    varied: bool

    def __len__(self) -> int:
        """Return the number of draws of one epoch."""
        return len(self.draws)

    def sample(self, index: int, rng: np.random.Generator) -> ChartSample:
        """Return face `index`; `rng` chooses among those that share a draw, and varies."""
        face = self.draws.pick(index, rng)
        image, labels, uv, covered = face.read()
        part = parts_of(labels, uv, covered)
        matrix = placed(image.shape[0], self.size, rng if self.varied else None)
        image = moved(image, matrix, self.size, cv2.INTER_AREA, cv2.BORDER_REPLICATE)
        part = moved(part, matrix, self.size, cv2.INTER_NEAREST)
        uv = moved(uv.astype(np.float32), matrix, self.size, cv2.INTER_NEAREST)
        if self.varied:
            sample = FaceSample(image, part, face.person)
            if rng.random() < 0.3:
                sample = occlude(sample, rng)
            sample = photograph(sample, rng)
            image, part = sample.image, np.where(sample.labels == IGNORE, 0, sample.labels)
        return ChartSample(image, part.astype(np.uint8), uv * (part > 0)[..., None], face.person)


def parts_of(
    labels: NDArray[np.uint8], uv: NDArray[Any], covered: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """Return the part (H, W) that each pixel shows: 0, or 1 + index in `PARTS`."""
    part = np.where(uv[..., 0] > _NECK_U, np.uint8(4), np.uint8(1))
    for number, eye in enumerate(_EYES, 2):
        part[labels == eye] = number
    return np.asarray(part * covered, np.uint8)


def open_charts(spec: str, split: Split, size: int, *, varied: bool | None = None) -> ChartFaces:
    """Open the faces that a data specification names.

    Args:
        spec: sources as described above.
        split: which people.
        size: side of the samples in pixels.
        varied: whether faces are moved, occluded and photographed; by default in training.

    Raises:
        DataError: a source does not exist, is no known layout, or has no face in this split.
    """
    wide = split == "train" if varied is None else varied
    return ChartFaces(draws_of(spec, split, _open_source), size, wide)


def placed(old: int, new: int, rng: np.random.Generator | None) -> NDArray[np.float64]:
    """Return the (2, 3) map of old to new pixels for OpenCV: resized, and moved if there is rng."""
    linear = np.eye(2) * new / old
    middle = np.full(2, (new - 1) / 2)
    if rng is not None:
        angle, scale = rng.normal(0, 0.14), np.exp(rng.normal(0, 0.1))
        cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
        linear = np.array([[cos, -sin], [sin, cos]]) @ linear
        middle = middle + rng.normal(0, 0.04, 2) * new
    return np.column_stack([linear, middle - linear @ np.full(2, (old - 1) / 2)])


def moved(
    image: NDArray[Any],
    matrix: NDArray[np.float64],
    size: int,
    how: int,
    border: int = cv2.BORDER_CONSTANT,
) -> NDArray[Any]:
    """Return a picture or map (size, size) through `placed`; `how` and `border` are OpenCV's."""
    shrink = 1 / np.sqrt(np.linalg.det(matrix[:, :2]))
    if how == cv2.INTER_AREA:
        how = cv2.INTER_LINEAR
        if shrink > 1.2:
            image = cv2.GaussianBlur(image, (0, 0), 0.4 * shrink)
    return np.asarray(cv2.warpAffine(image, matrix, (size, size), flags=how, borderMode=border))


# Sources


def _open_source(source: str, split: Split) -> list[Charted]:
    kind, _, rest = source.partition(":")
    if kind == "world":
        return _world(rest, split)
    return one_side(_exported(data_folder(source)), split, source)


def _exported(folder: Path) -> list[Charted]:
    if not all((folder / part).is_dir() for part in ("images", "labels", "maps")):
        raise DataError(
            f"{folder}: no known layout of faces with surface positions; expected images/, labels/ "
            "and maps/ as `pentimento world portraits` writes, or `world`"
        )
    pictures = files_by_stem(folder / "images")
    labels = files_by_stem(folder / "labels", (".png",))
    maps = files_by_stem(folder / "maps", (".npz",))
    return [
        Charted(
            f"{folder.name}-{stem}", partial(_read_export, pictures[stem], labels[stem], maps[stem])
        )
        for stem in sorted(pictures.keys() & labels.keys() & maps.keys())
    ]


@lru_cache(maxsize=2048)  # 1 GB of 256² portraits; decoding takes longer than a training step
def _read_export(picture: Path, labels: Path, maps: Path) -> tuple[NDArray[Any], ...]:
    image, values = read_rgb(picture), read_values(labels)
    try:
        with np.load(maps, allow_pickle=False) as kept:
            uv, covered = kept["uv"], kept["covered"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{maps}: no surface positions can be read ({error})") from None
    if not image.shape[0] == image.shape[1] == uv.shape[1]:
        raise DataError(f"{picture}: expected a square picture with a map of its size")
    if values.shape != uv.shape[:2] or covered.shape != values.shape or uv.shape[2:] != (2,):
        raise DataError(f"{maps}: uv {uv.shape} and labels {values.shape} do not fit")
    return image, values, uv, covered


def _world(options: str, split: Split) -> list[Charted]:
    return [
        Charted(f"world-{s}", partial(_drawn, s), split) for s in portrait_seeds(options, split)
    ]


def _drawn(seed: int) -> tuple[NDArray[Any], ...]:
    """Return a rendered portrait, drawn when it is asked for the first time."""

    def draw() -> dict[str, NDArray[Any]]:
        from pentimento.world.portraits import portrait

        truth = portrait(seed, _WORLD_SIDE)
        return {
            "image": truth.picture, "labels": truth.labels.values,
            "uv": truth.uv.uv.astype(np.float16), "covered": truth.uv.covered,
        }  # fmt: skip

    kept = drawn_once("charts", _WORLD_SIDE, seed, draw)
    return kept["image"], kept["labels"], kept["uv"], kept["covered"]
