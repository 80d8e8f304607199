"""Pictures with boxes of named objects, for detectors.

A data specification is one or more sources joined by `,`:

| source | what it reads |
|---|---|
| `world`, `world:count=2000` | things of rendered scenes, drawn on demand, kept in the cache |
| a folder with `images/`, `instances.json` | COCO, as `pentimento world scenes` writes it |

About a tenth of a folder's pictures, by a hash of the name, are for validation; of clips
(`pentimento world clips`), whole ones. Objects whose name is not among the asked-for classes are
left out; a picture without any stays, as an example of that.

Alphabet: S side; N objects.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.faces import drawn_once, read_rgb, split_of
from pentimento.errors import DataError
from pentimento.world.scenes import CATEGORIES, scene

Rng = np.random.Generator
Split = Literal["train", "val"]
THINGS: Final = tuple(c.name for c in CATEGORIES if c.thing)
"""Names of the things in rendered scenes."""

_VAL_SEEDS: Final = 1_000_000_000  # rendered validation scenes start at this seed
# CenterTrack's noise on what was found before.
_LOST: Final = 0.4
_FALSE: Final = 0.1
_JITTER: Final = 0.05
_SMALLEST: Final = 3.0  # sides below are not worth a peak


@dataclass(frozen=True)
class Earlier:
    """The picture before: a clip's, or made of the same still one (CenterTrack, section 5.3).

    Attributes:
        image: (S, S, 3) uint8 RGB.
        middles: (N, 2) float32 where the objects were, in pixels; NaN for those that were not.
        peaks: (M, 3) int64 x, y and radius of what a tracker might have found there: jittered, some
            lost, some false.
    """

    image: NDArray[np.uint8]
    middles: NDArray[np.float32]
    peaks: NDArray[np.int64]


@dataclass(frozen=True)
class DetectionSample:
    """A picture and what is in it.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        boxes: (N, 4) float32 left, top, right, bottom in its pixels.
        classes: (N,) int64, places in the asked-for class names.
        earlier: the picture before, where that is asked for.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    earlier: Earlier | None = None


@dataclass(frozen=True)
class _Named:
    """A picture with the names of its objects; boxes (N, 4) in its own pixels.

    In a clip, `tracks` are numbers that stay, and `before` reads the frame before.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    names: tuple[str, ...]
    tracks: tuple[int, ...] = ()
    before: "Callable[[], _Named] | None" = None


@dataclass(frozen=True)
class Detections:
    """All pictures of a specification, at one size.

    Attributes:
        sources: one function per picture.
        size: S.
        classes: names that count.
        augmented: mirror, shift, scale and shade them.
        paired: add an earlier picture.
    """

    sources: Sequence[Callable[[], _Named]]
    size: int
    classes: tuple[str, ...]
    augmented: bool
    paired: bool

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.sources)

    def sample(self, index: int, rng: Rng) -> DetectionSample:
        """Return one picture, varied by `rng` where that is asked for."""
        read = self.sources[index]()
        kept = [i for i, name in enumerate(read.names) if name in self.classes]
        classes = np.array([self.classes.index(read.names[i]) for i in kept], np.int64)
        boxes = read.boxes[kept].reshape(-1, 4)
        matrix = frame_of(read.image.shape[:2], self.size, rng if self.augmented else None)
        image = view_of(read.image, matrix, self.size)
        cut, seen = moved_boxes(boxes, matrix, self.size)
        earlier = None
        if self.paired and read.before is None:
            earlier = self._still(read.image, boxes[seen], matrix, rng)
        elif self.paired and read.before is not None:
            tracks = [read.tracks[i] for i, worth in zip(kept, seen, strict=True) if worth]
            earlier = self._frame(read.before(), tracks, matrix, rng)
        image = shaded(image, rng) if self.augmented else image
        return DetectionSample(image, cut[seen], classes[seen], earlier)

    def _still(
        self, image: NDArray[np.uint8], boxes: NDArray[np.float32], matrix: Any, rng: Rng
    ) -> Earlier:
        """Make the picture before of the same one, a little moved and scaled."""
        before = self._shaken(matrix, rng)
        there, _ = moved_boxes(boxes, before, self.size)
        return self._earlier(image, there, np.ones(len(there), bool), before, rng)

    def _frame(self, past: _Named, tracks: Sequence[int], matrix: Any, rng: Rng) -> Earlier:
        """Take a clip's frame before; `tracks` are those of the objects that are seen now.

        In training it is moved and scaled as well: most of what is seen in a clip stands still, and
        what learns from that alone answers that nothing moves.
        """
        rows = {track: row for row, track in enumerate(past.tracks)}
        boxes = np.zeros((len(tracks), 4), np.float32)
        for place, track in enumerate(tracks):
            if track in rows:
                boxes[place] = past.boxes[rows[track]]
        before = self._shaken(matrix, rng) if self.augmented else matrix
        there, seen = moved_boxes(boxes, before, self.size)
        return self._earlier(past.image, there, seen, before, rng)

    def _shaken(self, matrix: Any, rng: Rng) -> Any:
        scale, shift = float(np.exp(rng.normal(0, 0.05))), rng.normal(0, 0.04, 2) * self.size
        before = scale * matrix
        before[:, 2] += (1 - scale) * self.size / 2 + shift
        return before

    def _earlier(
        self,
        image: NDArray[np.uint8],
        there: NDArray[np.float32],
        known: NDArray[np.bool_],
        matrix: Any,
        rng: Rng,
    ) -> Earlier:
        middles = np.asarray((there[:, :2] + there[:, 2:]) / 2, np.float32)
        sides = there[:, 2:] - there[:, :2]
        found = (rng.random(len(there)) > _LOST) & known
        peaks = middles + sides * rng.normal(0, _JITTER, (len(there), 2))
        false = found & (rng.random(len(there)) < _FALSE)
        wrong = middles[false] + sides[false] * rng.normal(0, 0.5, (int(false.sum()), 2))
        places = np.concatenate([peaks[found], wrong])
        reach = np.concatenate([sides[found], sides[false]]).min(1) / 6
        rows = np.concatenate([places, reach[:, None]], 1).clip(0, self.size - 1)
        middles[~known] = np.nan
        return Earlier(view_of(image, matrix, self.size), middles, rows.astype(np.int64))


def open_detections(
    spec: str,
    split: Split,
    size: int,
    classes: tuple[str, ...],
    *,
    augmented: bool,
    paired: bool = False,
) -> Detections:
    """Open one side of a specification; see this module.

    Raises:
        DataError: a source that is no folder or has no pictures for this side; or no source knows
            any of the classes.
    """
    sources: list[Callable[[], _Named]] = []
    known: set[str] = set()
    for source in spec.split(","):
        if source == "world" or source.startswith("world:"):
            seeds = scene_seeds(source.partition(":")[2], split)
            sources += [partial(_drawn, seed, size) for seed in seeds]
            known.update(THINGS)
        else:
            found, names = _folder(Path(source).expanduser(), split)
            sources += found
            known.update(names)
    if not known.intersection(classes):
        there = ", ".join(sorted(known))
        raise DataError(f"{spec}: none of the classes {', '.join(classes)}; there are {there}")
    return Detections(sources, size, classes, augmented, paired)


def scene_seeds(options: str, split: Split) -> range:
    """Return the seeds of scenes that are meant; a tenth of them is for validation.

    Raises:
        DataError: options other than `count=N`, N at least 2.
    """
    match = re.fullmatch(r"(?:count=(\d+))?", options)
    count = int(match[1] or 2000) if match else 0
    if count < 2:
        raise DataError(f"world:{options}: expected world or world:count=N, N at least 2")
    val = max(1, count // 10)
    return range(count - val) if split == "train" else range(_VAL_SEEDS, _VAL_SEEDS + val)


def _drawn(seed: int, size: int) -> _Named:
    """Return a rendered scene, drawn when it is asked for the first time."""

    def draw() -> dict[str, NDArray[Any]]:
        truth = scene(seed, size)
        things = [s for s in truth.segments if s.thing]
        return {
            "image": truth.picture,
            "boxes": np.array([s.box for s in things], np.float32).reshape(-1, 4),
            "categories": np.array([s.category for s in things], np.int64),
        }

    kept = drawn_once("scenes", size, seed, draw)
    names = {c.id: c.name for c in CATEGORIES}
    return _Named(kept["image"], kept["boxes"], tuple(names[c] for c in kept["categories"]))


def _folder(folder: Path, split: Split) -> tuple[list[Callable[[], _Named]], set[str]]:
    """Return what reads the pictures of one side, and the names of all classes."""
    table = folder / "instances.json"
    if not (folder / "images").is_dir() or not table.is_file():
        raise DataError(
            f"{folder}: expected images/ and instances.json (COCO); `pentimento world scenes "
            f"--out {folder}` writes such a folder"
        )
    try:
        content = json.loads(table.read_text(encoding="utf-8"))
        names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        objects: dict[int, list[Mapping[str, Any]]] = {}
        for entry in content["annotations"]:
            if not entry.get("iscrowd", 0):
                objects.setdefault(entry["image_id"], []).append(entry)
        pictures = sorted(
            content["images"],
            key=lambda e: (e.get("video_id", -1), e.get("frame_id", 0), str(e["file_name"])),
        )
        readers: dict[tuple[Any, Any], Callable[[], _Named]] = {}
        read: list[tuple[str, Callable[[], _Named]]] = []
        for entry in pictures:
            shown = objects.get(entry["id"], ())
            video, frame = entry.get("video_id"), entry.get("frame_id", 0)
            reader = partial(
                _read, folder / "images" / Path(str(entry["file_name"])).name,
                np.array([o["bbox"] for o in shown], np.float32),
                tuple(names[o["category_id"]] for o in shown),
                tuple(o.get("track_id", -1) for o in shown),
                None if video is None else readers.get((video, frame - 1)),
            )  # fmt: skip
            readers[video, frame] = reader
            stem = Path(str(entry["file_name"])).stem
            read.append((stem if video is None else f"clip {video}", reader))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{table}: not a COCO file of instances ({error!r})") from None
    sides = {name: split_of(name) for name, _ in read}
    if read and len(set(sides.values())) == 1:  # the hash left one side empty
        sides[read[-1][0]] = "val" if "train" in sides.values() else "train"
    kept: list[Callable[[], _Named]] = [source for name, source in read if sides[name] == split]
    if not kept:
        raise DataError(f"{folder}: no picture for {split} among {len(read)}; at least two needed")
    return kept, set(names.values())


def _read(
    path: Path,
    xywh: NDArray[np.float32],
    names: tuple[str, ...],
    tracks: tuple[int, ...],
    before: Callable[[], _Named] | None,
) -> _Named:
    boxes = xywh.reshape(-1, 4)
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    return _Named(read_rgb(path), corners, names, tracks, before)


def frame_of(
    shape: tuple[int, ...], size: int, rng: Rng | None, *, mirrors: bool = True
) -> NDArray[np.float64]:
    """Return (2, 3): the whole picture in a square, or, with `rng`, a varied view of it.

    Args:
        shape: height and width of the picture.
        size: side of the square.
        rng: draws scale, place and, half of the time, a mirror.
        mirrors: False where left and right have other meanings.
    """
    height, width = shape[:2]
    scale, mirrored = size / max(height, width), False
    x, y = width / 2, height / 2
    if rng is not None:
        scale *= float(np.exp(rng.uniform(np.log(0.7), np.log(1.6))))
        mirrored = bool(rng.random() < 0.5) and mirrors
        x += width * rng.uniform(-0.2, 0.2)
        y += height * rng.uniform(-0.2, 0.2)
    across = -scale if mirrored else scale
    return np.array([[across, 0, size / 2 - across * x], [0, scale, size / 2 - scale * y]])


def view_of(image: NDArray[np.uint8], matrix: Any, size: int) -> NDArray[np.uint8]:
    """Return the picture through an affine (2, 3), grey where there is none."""
    smooth = cv2.INTER_AREA if matrix[1, 1] < 1 else cv2.INTER_LINEAR
    out = cv2.warpAffine(image, matrix, (size, size), flags=smooth, borderValue=(124, 116, 104))
    return np.ascontiguousarray(out, np.uint8)


def moved_boxes(
    boxes: NDArray[np.float32], matrix: NDArray[np.float64], size: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return boxes in the frame, cut at its border, and which of them are still worth finding."""
    x = matrix[0, 0] * boxes[:, [0, 2]] + matrix[0, 2]
    y = matrix[1, 1] * boxes[:, [1, 3]] + matrix[1, 2]
    whole = np.stack([x.min(1), y.min(1), x.max(1), y.max(1)], 1)
    cut = whole.clip(0, size)
    sides, before = cut[:, 2:] - cut[:, :2], whole[:, 2:] - whole[:, :2]
    seen = (sides.min(1) >= _SMALLEST) & (sides.prod(1) >= 0.3 * before.prod(1))
    return cut.astype(np.float32), seen


def shaded(image: NDArray[np.uint8], rng: Rng) -> NDArray[np.uint8]:
    """Return the picture in another light."""
    gain = 1 + rng.normal(0, 0.15) + rng.normal(0, 0.05, 3)
    return (image.astype(np.float32) * gain + rng.normal(0, 10)).clip(0, 255).astype(np.uint8)
