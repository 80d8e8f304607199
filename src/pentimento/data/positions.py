"""Faces with position maps: where every point of the face is, hidden ones too.

A data specification is one or more sources joined by `,` or `+`, weighed as in `data.faces`:

| source | what it reads |
|---|---|
| `world`, `world:count=3000` | rendered portraits, drawn on demand and kept in the cache folder |
| a folder that `pentimento world portraits` wrote | its pictures; positions follow from the seeds |

Alphabet: S side of the picture; T side of the map.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.augment import occlude, photograph
from pentimento.data.charts import moved, placed
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
)
from pentimento.errors import DataError
from pentimento.world.portraits import builtin_heads
from pentimento.world.positions import Layout, layout, positions

__all__ = ["Layout", "PositionFaces", "PositionSample", "layout", "neutral", "open_positions"]


Split = Literal["train", "val"]
_WORLD_SIDE: Final = 192  # px, of portraits that are drawn on demand
_OFF: Final = 0.02  # of the side, that landmarks of the same world differ at most
_FRONT: Final = ((0.37, -0.4, 0.37), (0.52, 3.36, -0.38))
"""Scale and shift that lay the neutral head where 200 portraits show theirs on average."""


@dataclass(frozen=True)
class PositionSample:
    """One aligned face.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        positions: (T, T, 3) float32 x, y and z, in sides of the picture: see `world.positions`.
        person: who it is.
    """

    image: NDArray[np.uint8]
    positions: NDArray[np.float32]
    person: str


Placed = Readable[tuple[NDArray[np.uint8], NDArray[np.float32]]]
"""Its `read` returns image (H, H, 3) and positions (T, T, 3)."""


@dataclass(frozen=True)
class PositionFaces:
    """Faces of one split; the engine's `Dataset` of `PositionSample`."""

    draws: Draws[Placed]
    size: int
    varied: bool

    def __len__(self) -> int:
        """Return the number of draws of one epoch."""
        return len(self.draws)

    def sample(self, index: int, rng: np.random.Generator) -> PositionSample:
        """Return face `index`; `rng` chooses among those that share a draw, and varies."""
        face = self.draws.pick(index, rng)
        image, where = face.read()
        old, size = image.shape[0], self.size
        matrix = placed(old, size, rng if self.varied else None)
        image = moved(image, matrix, size, cv2.INTER_AREA, cv2.BORDER_REPLICATE)
        # OpenCV counts from the middle of a pixel, positions from the picture's edge.
        linear = matrix[:, :2] * old / size
        shift = (matrix[:, 2] + 0.5 - matrix[:, :2] @ np.full(2, 0.5)) / size
        depth = np.sqrt(abs(np.linalg.det(linear)))
        where = np.concatenate([where[..., :2] @ linear.T + shift, where[..., 2:] * depth], 2)
        if self.varied:
            sample = FaceSample(image, np.zeros((size, size), np.uint8), face.person)
            if rng.random() < 0.3:
                sample = occlude(sample, rng)
            image = photograph(sample, rng).image
        return PositionSample(image, where.astype(np.float32), face.person)


def open_positions(spec: str, split: Split, size: int, side: int, *, varied: bool) -> PositionFaces:
    """Open the faces that a data specification names.

    Args:
        spec: sources as described above.
        split: which people.
        size: S.
        side: T.
        varied: whether they are moved, covered in part and photographed.

    Raises:
        DataError: a source does not exist, is no export or has no face in this split.
    """
    draws = draws_of(spec, split, lambda source, of: _source(source, of, side))
    return PositionFaces(draws, size, varied)


def neutral(side: int) -> NDArray[np.float32]:
    """Return the map (T, T, 3) of the neutral head seen from the front, 0 where no face is."""
    shape, (scale, shift) = layout(side), _FRONT
    placed = builtin_heads().neutral * np.array(scale) + np.array(shift)
    return np.asarray(np.einsum("ijk,ijkc->ijc", shape.shares, placed[shape.corners]), np.float32)


def _source(source: str, split: Split, side: int) -> list[Placed]:
    kind, _, rest = source.partition(":")
    if kind == "world":
        seeds = portrait_seeds(rest, split)
        return [Placed(f"world-{s}", partial(_drawn, s, side), split) for s in seeds]
    return one_side(_exported(data_folder(source), side), split, source)


def _exported(folder: Path, side: int) -> list[Placed]:
    if not all((folder / part).is_dir() for part in ("images", "truths")):
        raise DataError(
            f"{folder}: expected images/ and truths/ as `pentimento world portraits` writes them"
        )
    pictures, truths = (files_by_stem(folder / name, kinds) for name, kinds in (
        ("images", (".png", ".jpg")), ("truths", (".json",)),
    ))  # fmt: skip
    return [
        Placed(f"{folder.name}-{stem}", partial(_read, pictures[stem], truths[stem], side))
        for stem in sorted(pictures.keys() & truths.keys())
    ]


def _read(picture: Path, truths: Path, side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    try:
        told: Any = json.loads(truths.read_text(encoding="utf-8"))
        seed = int(told["seed"])
        points = np.array(told["landmarks"]["68"], np.float64)[:, :2] / float(told["size"])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{truths}: not the truths of a rendered portrait ({error!r})") from None
    where = _kept(seed, side)
    shape = layout(side)
    found = (where.reshape(-1, 3)[shape.texels] * shape.blend[..., None]).sum(1)[:, :2]
    # Coarse maps blur the deep inner corners of eyes and mouth: the median is not about them.
    off = float(np.median(np.linalg.norm(found - points, axis=1)))
    if off > _OFF:
        raise DataError(
            f"{truths}: landmarks lie {off:.2f} sides off those of seed {seed}; another version of "
            "the world or another head model drew it: render the folder again"
        )
    return read_rgb(picture), where


def _kept(seed: int, side: int) -> NDArray[np.float32]:
    """Return the positions of a seed, drawn when they are asked for the first time."""
    kept = drawn_once(
        "positions", side, seed, lambda: {"where": positions(seed, side).astype(np.float16)}
    )
    return kept["where"].astype(np.float32)


def _drawn(seed: int, side: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return a rendered portrait, drawn when it is asked for the first time."""

    def draw() -> dict[str, NDArray[Any]]:
        from pentimento.world.portraits import portrait

        return {"image": portrait(seed, _WORLD_SIDE).picture}

    return drawn_once("portraits", _WORLD_SIDE, seed, draw)["image"], _kept(seed, side)
