"""Pictures of people with dense correspondence: boxes, and marked points of their surfaces.

A data specification is one or more sources joined by `,`:

| source | what it reads |
|---|---|
| `world`, `world:count=2000` | people of rendered scenes, drawn on demand, kept in the cache |
| a folder with `instances.json`, `panoptic/`, `maps/` | as `pentimento world scenes` writes it |
| `coco:FILE.json:FOLDER` | COCO DensePose: its annotations, and the folder of its pictures |

Rendered people have the parts of `PARTS`; COCO's have 24 of the body. About a tenth of the pictures
of a folder or file, by a hash of the name, are for validation.

A point is placed as in COCO: in 256ths of its person's box. Alphabet: S side; K points.
"""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.detection import frame_of, moved_boxes, scene_seeds, shaded, view_of
from pentimento.data.faces import drawn_once, read_rgb, split_of
from pentimento.errors import DataError
from pentimento.world.actors import PARTS as WORLD_PARTS
from pentimento.world.bodies import BODY_PARTS
from pentimento.world.scenes import CATEGORIES, scene

Rng = np.random.Generator
Split = Literal["train", "val"]

PARTS: Final = ("head", "neck", *BODY_PARTS)
"""Of rendered people. Head and neck share the head's texture, every limb has one of its own."""

MASK: Final = 256
"""Side of a mask, which covers its person's box."""

_BODY: Final = 24  # parts of COCO DensePose
_COARSE: Final = 14  # its masks
_PERSON: Final = next(c.id for c in CATEGORIES if c.name == "person")
# The world's finer parts of a head lie in one texture; eyeballs have their own and are left out.
_OF_WORLD: Final = np.array(
    [
        0 if name in ("none", "l_eye", "r_eye") else 1 + PARTS.index(name) if name in PARTS else 1
        for name in WORLD_PARTS
    ],
    np.uint8,
)


@dataclass(frozen=True)
class Person:
    """One person.

    Attributes:
        frame: (4,) float32 left, top, right, bottom of the annotated box, in pixels.
        points: (K, 2) float32 x, y in 256ths of `frame`; none of a person without annotation.
        part: (K,) int64, 1 + place in the list of parts.
        uv: (K, 2) float32 in [0, 1].
        mask: (256, 256) uint8 over `frame`: 0 outside of the body, else 1 or a coarse part.
    """

    frame: NDArray[np.float32]
    points: NDArray[np.float32]
    part: NDArray[np.int64]
    uv: NDArray[np.float32]
    mask: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Refuse lists of different lengths and values out of range."""
        count = len(self.points)
        if self.points.shape != (count, 2) or self.uv.shape != (count, 2):
            raise ValueError(f"points {self.points.shape} and uv {self.uv.shape} must be (K, 2)")
        if self.part.shape != (count,) or self.mask.shape != (MASK, MASK):
            raise ValueError(f"{count} points, parts {self.part.shape}, mask {self.mask.shape}")
        if count and (self.part.min() < 1 or self.uv.min() < 0 or self.uv.max() > 1):
            raise ValueError("parts count from 1; u and v lie in 0..1")


@dataclass(frozen=True)
class PeopleSample:
    """A picture and the people in it.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        boxes: (N, 4) float32, what is inside the picture of each person's frame.
        people: N.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    people: tuple[Person, ...]


Read = Callable[[Rng], tuple[NDArray[np.uint8], list[Person]]]
"""Reads a picture with its people; the generator chooses points where there are more."""


@dataclass(frozen=True)
class People:
    """All pictures of a specification, at one size.

    Attributes:
        sources: one function per picture.
        size: S.
        augmented: shift, scale and shade them. Nothing is mirrored: that needs to know which point
            of a surface mirrors which.
    """

    sources: Sequence[Read]
    size: int
    augmented: bool

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.sources)

    def sample(self, index: int, rng: Rng) -> PeopleSample:
        """Return one picture, varied by `rng` where that is asked for."""
        image, people = self.sources[index](rng)
        varied = rng if self.augmented else None
        matrix = frame_of(image.shape[:2], self.size, varied, mirrors=False)
        frames = np.array([p.frame for p in people], np.float32).reshape(-1, 4)
        boxes, seen = moved_boxes(frames, matrix, self.size)
        corners = frames.reshape(-1, 2, 2) * np.diag(matrix[:, :2]) + matrix[:, 2]
        placed = [
            Person(corners[i].reshape(4).astype(np.float32), p.points, p.part, p.uv, p.mask)
            for i, p in enumerate(people)
            if seen[i]
        ]
        image = view_of(image, matrix, self.size)
        image = shaded(image, rng) if self.augmented else image
        return PeopleSample(image, boxes[seen], tuple(placed))


def open_people(
    spec: str, split: Split, size: int, points: int, parts: int, *, augmented: bool
) -> People:
    """Open one side of a specification; see this module.

    Args:
        spec: sources as described above.
        split: which pictures.
        size: side of the samples.
        points: K at most.
        parts: that the model knows; 15 for rendered people, 24 for COCO's.
        augmented: see `People`.

    Raises:
        DataError: a source is none of these, cannot be read, has no picture for this side or more
            parts than the model.
    """
    sources: list[Read] = []
    for source in spec.split(","):
        kind = source.partition(":")[0]
        needed = _BODY if kind == "coco" else len(PARTS)
        if parts < needed:
            raise DataError(
                f"{source}: has {needed} parts, the model {parts}; --set parts={needed}"
            )
        if kind == "world":
            seeds = scene_seeds(source.partition(":")[2], split)
            sources += [partial(_drawn, seed, size, points) for seed in seeds]
        elif kind == "coco":
            sources += _coco(source, split, points)
        else:
            sources += _folder(Path(source).expanduser(), split, points)
    return People(sources, size, augmented)


def _chosen(count: int, most: int, rng: Rng) -> NDArray[np.int64]:
    """Return `most` of the numbers below `count`, or all."""
    return np.sort(rng.permutation(count)[:most])


def _divided(named: Sequence[tuple[str, Read]], split: Split, source: str) -> list[Read]:
    """Return the pictures of one side; neither stays empty if there are two."""
    sides = {name: split_of(Path(name).stem) for name, _ in named}
    if named and len(set(sides.values())) == 1:
        sides[named[-1][0]] = "val" if "train" in sides.values() else "train"
    kept = [read for name, read in named if sides[name] == split]
    if not kept:
        raise DataError(f"{source}: no picture for {split} among {len(named)}; two are needed")
    return kept


# Rendered people


def people_of(
    owner: NDArray[np.integer[Any]], parts: NDArray[np.uint8], uv: NDArray[Any], most: int, rng: Rng
) -> list[Person]:
    """Return the people of dense truth, with at most `most` points each.

    Args:
        owner: (H, W), above 0 on people: whose pixel it is.
        parts: (H, W) places in the world's list of parts.
        uv: (H, W, 2).
        most: points.
        rng: chooses them.
    """
    part = _OF_WORLD[parts]
    people = []
    for number in np.unique(owner[owner > 0]):
        mine = owner == number
        rows, columns = np.flatnonzero(mine.any(1)), np.flatnonzero(mine.any(0))
        top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        y, x = np.nonzero(mine & (part > 0))
        at = _chosen(len(y), most, rng)
        y, x = y[at], x[at]
        size = np.array([right - left, bottom - top])
        places = (np.stack([x - left, y - top], 1) + 0.5) / size * 256
        # Hair, hats and collars belong to a person, though to no chart: as in COCO's masks.
        shown = mine[top:bottom, left:right].astype(np.uint8)
        people.append(
            Person(
                np.array([left, top, right, bottom], np.float32),
                places.astype(np.float32),
                part[y, x].astype(np.int64),
                uv[y, x].astype(np.float32).clip(0, 1),
                cv2.resize(shown, (MASK, MASK), interpolation=cv2.INTER_NEAREST).astype(np.uint8),
            )
        )
    return people


def _drawn(seed: int, size: int, points: int, rng: Rng) -> tuple[NDArray[np.uint8], list[Person]]:
    """Return a rendered scene, drawn when it is asked for the first time."""

    def draw() -> dict[str, NDArray[Any]]:
        truth = scene(seed, size)
        people = [s.id for s in truth.segments if s.category == _PERSON]
        owner = np.isin(truth.panoptic, people) * truth.panoptic
        uv = truth.uv.uv.astype(np.float16)
        return {"image": truth.picture, "owner": owner, "parts": truth.parts, "uv": uv}

    kept = drawn_once("people", size, seed, draw)
    return kept["image"], people_of(kept["owner"], kept["parts"], kept["uv"], points, rng)


def _folder(folder: Path, split: Split, points: int) -> list[Read]:
    table = folder / "instances.json"
    if not table.is_file() or not all((folder / n).is_dir() for n in ("panoptic", "maps")):
        raise DataError(
            f"{folder}: expected instances.json, images/, panoptic/ and maps/; `pentimento world "
            f"scenes --out {folder}` writes such a folder, COCO's is `coco:FILE.json:FOLDER`"
        )
    content = _json(table)
    try:
        people: dict[int, list[int]] = {}
        for entry in content["annotations"]:
            if entry["category_id"] == _PERSON:
                people.setdefault(entry["image_id"], []).append(int(entry["track_id"]))
        named = [
            (str(entry["file_name"]), partial(
                _read_export, folder, Path(entry["file_name"]).name,
                tuple(people.get(entry["id"], ())), points,
            ))
            for entry in sorted(content["images"], key=lambda each: str(each["file_name"]))
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{table}: not written by `pentimento world scenes` ({error!r})") from None
    return _divided(named, split, str(folder))


def _read_export(
    folder: Path, name: str, people: tuple[int, ...], points: int, rng: Rng
) -> tuple[NDArray[np.uint8], list[Person]]:
    stem = Path(name).stem
    image = read_rgb(folder / "images" / name)
    coded = read_rgb(folder / "panoptic" / f"{stem}.png").astype(np.int64)
    maps = folder / "maps" / f"{stem}.npz"
    try:
        with np.load(maps, allow_pickle=False) as kept:
            parts, uv = kept["parts"], kept["uv"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(f"{maps}: no surface positions can be read ({error})") from None
    number = coded @ np.array([1, 256, 65536])
    owner = np.isin(number, people) * number
    if not image.shape[:2] == owner.shape == parts.shape == uv.shape[:2]:
        raise DataError(f"{maps}: {parts.shape} does not fit a picture of {image.shape[:2]}")
    return image, people_of(owner, parts, uv, points, rng)


# COCO


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: no readable JSON ({error})") from None


def _coco(source: str, split: Split, points: int) -> list[Read]:
    _, _, rest = source.partition(":")
    file, _, pictures = rest.rpartition(":")
    table, folder = Path(file).expanduser(), Path(pictures).expanduser()
    if not file or not table.is_file() or not folder.is_dir():
        raise DataError(
            f"{source}: expected coco:FILE.json:FOLDER, such as "
            "coco:densepose_coco_2014_minival.json:val2014, both existing"
        )
    content = _json(table)
    try:
        entries: dict[int, list[Mapping[str, Any]]] = {}
        for entry in content["annotations"]:
            if not entry.get("iscrowd", 0):
                entries.setdefault(entry["image_id"], []).append(entry)
        named = [
            (str(image["file_name"]), partial(
                _read_coco, folder / Path(image["file_name"]).name, table,
                entries.get(image["id"], ()), points,
            ))
            for image in sorted(content["images"], key=lambda each: str(each["file_name"]))
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{table}: not a file of COCO annotations ({error!r})") from None
    return _divided(named, split, str(table))


def _read_coco(
    picture: Path, table: Path, entries: Sequence[Mapping[str, Any]], points: int, rng: Rng
) -> tuple[NDArray[np.uint8], list[Person]]:
    people = []
    for entry in entries:
        try:
            person = read_densepose(entry)
        except (DataError, KeyError, TypeError, ValueError) as error:
            wrong = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(f"{table}: annotation {entry.get('id', '?')}: {wrong}") from None
        at = _chosen(len(person.points), points, rng)
        people.append(
            Person(person.frame, person.points[at], person.part[at], person.uv[at], person.mask)
        )
    return read_rgb(picture), people


def read_densepose(entry: Mapping[str, Any]) -> Person:
    """Read an annotation of COCO DensePose.

    Args:
        entry: `bbox` (left, top, width, height), and of annotated people `dp_x`, `dp_y` in 256ths
            of it, `dp_I` 1..24, `dp_U`, `dp_V` in 0..1, and `dp_masks`: 14 run-length masks of
            256 x 256, `[]` where a part is not seen.

    Raises:
        DataError: lists of different lengths, values out of range or a mask that cannot be read.
        KeyError: an entry is missing.
    """
    left, top, width, height = (float(value) for value in entry["bbox"])
    if not (width > 0 and height > 0):
        raise DataError(f"bbox must have sides above 0, got {width:g} x {height:g}")
    frame = np.array([left, top, left + width, top + height], np.float32)
    mask = np.zeros((MASK, MASK), np.uint8)
    names = ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V")
    if not any(name in entry for name in (*names, "dp_masks")):
        nothing = np.zeros((0, 2), np.float32)
        return Person(frame, nothing, np.zeros(0, np.int64), nothing, mask)
    columns = {name: np.asarray(entry[name], np.float64).ravel() for name in names}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"lists must be equally long, got {lengths}")
    for name, low, high in (
        ("dp_x", 0, 256), ("dp_y", 0, 256), ("dp_I", 1, _BODY), ("dp_U", 0, 1), ("dp_V", 0, 1),
    ):  # fmt: skip
        column = columns[name]
        if not ((column >= low) & (column <= high)).all():
            span = f"{column.min():g}..{column.max():g}"
            raise DataError(f"{name} must be within {low}..{high}, got {span}")
    if (columns["dp_I"] % 1).any():
        raise DataError("dp_I must be whole numbers")
    masks = entry["dp_masks"]
    if len(masks) != _COARSE:
        raise DataError(f"dp_masks must be {_COARSE} masks, got {len(masks)}")
    for number, run in enumerate(masks, 1):
        if run:
            mask[_decoded(run)] = number
    x, y, part, u, v = columns.values()
    return Person(
        frame, np.stack([x, y], 1).astype(np.float32), part.astype(np.int64),
        np.stack([u, v], 1).astype(np.float32), mask,
    )  # fmt: skip


def _decoded(run: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return a mask (256, 256) of COCO's run lengths, compressed or not."""
    size, counts = list(run["size"]), run["counts"]
    if size != [MASK, MASK]:
        raise DataError(f"a mask of dp_masks must be {MASK} x {MASK}, got {size}")
    runs = _unpacked(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if sum(runs) != MASK * MASK or min(runs) < 0:
        raise DataError(f"a mask of dp_masks has runs of {sum(runs)} pixels, not {MASK * MASK}")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.asarray(inside.reshape(MASK, MASK).T)  # column by column


def _unpacked(text: str) -> list[int]:
    """Return the runs of COCO's compressed text.

    Every number is written in groups of five bits, the lowest first, as characters from `0` on; a
    sixth bit says that more follow. From the fourth on it is the difference to the last but one.
    """
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        group = ord(letter) - 48
        if not 0 <= group < 64:
            raise DataError(f"a mask of dp_masks has {letter!r} among its run lengths")
        value |= (group & 31) << shift
        shift += 5
        if not group & 32:
            if group & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs
