"""Pictures of two domains, A and B, paired or not: what translation learns from.

A data specification is one of

| specification | A and B |
|---|---|
| `world:labels2portrait` | label maps of rendered portraits in colours, and the portraits |
| `world:edges2portrait` | their outlines (Canny 1986), and the portraits |
| `world:grey2portrait` | the portraits without colours, and with |
| `DIR` with `train/`, `val/` or `test/` | left and right half of side-by-side files |
| `DIR` with `trainA/`, `trainB/`, `testA/`, `testB/` | the files of each |
| `DIR` with `train_label/`, `train_img/` (or `train_A/`, `train_B/`) | pix2pixHD's folders |
| `DIR` with `A/` and `B/`, or `DIR_A,DIR_B` | the files of each |

In front of `:labels2portrait` and its kin any faces may stand that `data.faces` knows
(`london:DIR`, `world:count=300`, a folder); without a task, faces are `labels2portrait`. Files are
partners when their stems are equal (or those of Cityscapes, but for what each file is). `val` is
`val/`, else `test/`, else about a tenth of the files, by the hash of their names.

Any channel count is read: grey becomes colour by repetition, colour grey by luma (Rec. 601); depths
of 8 and 16 bits stay. A `*_label/` folder holds class numbers, which become one plane per class.

Transforms are pix2pix's: squeeze to a square of `load_size`, cut `size` out of it anywhere, mirror
half of the time, for partners alike.
Differs: pictures are shrunk by area means, not by bicubic weights; mirrored faces swap the classes
of left and right.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.augment import mirror
from pentimento.data.faces import (
    Faces,
    FaceSample,
    files_by_stem,
    open_faces,
    read_values,
    split_of,
)
from pentimento.errors import DataError, PictureError
from pentimento.files.compose import to_rgb8
from pentimento.files.pictures import open_picture
from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.ops.planes import Pixels, with_channels

Split = Literal["train", "val"]
_TASKS: Final = ("labels2portrait", "edges2portrait", "grey2portrait")
_CITYSCAPES: Final = re.compile("_(leftImg8bit|gt(Fine|Coarse)_(color|labelIds|instanceIds))$")
_PALETTE: Final = np.array(
    [*CELEBAMASK19.colours, *[(0, 0, 0)] * (256 - len(CELEBAMASK19))], np.uint8
)


@dataclass(frozen=True)
class PairSample:
    """A square of each domain.

    Attributes:
        a: (S, S, C) uint8 or uint16 of a picture, or (S, S) uint8 of classes.
        b: the same of the other domain; the partner of `a` in paired data.
    """

    a: Pixels
    b: Pixels


Read = Callable[[int, bool], Pixels]
"""(side, mirrored?) → a square of that side."""

Sides = tuple[list[Read], list[Read]]


class Pairs:
    """Squares of two domains; the engine's `Dataset` of `PairSample`.

    Args:
        a: how to read each picture of A.
        b: of B; as many where `paired`.
        load_size: side before cutting.
        size: S.
        paired: whether equal places are partners. Otherwise an epoch is as long as the longer
            domain, and what comes with a picture of A is drawn.
        varied: cut and mirror at random; else the whole square is read at `size`.
    """

    def __init__(
        self,
        a: Sequence[Read],
        b: Sequence[Read],
        load_size: int,
        size: int,
        *,
        paired: bool,
        varied: bool,
    ) -> None:
        self._a, self._b, self._paired, self._varied = a, b, paired, varied
        self._load, self._size = (load_size if varied else size), size

    def __len__(self) -> int:
        """Return the number of samples of one epoch."""
        return max(len(self._a), len(self._b))

    def sample(self, index: int, rng: np.random.Generator) -> PairSample:
        """Return sample `index`."""
        place = self._place(rng)
        a = self._square(self._a[index % len(self._a)], *place)
        if self._paired:
            return PairSample(a, self._square(self._b[index], *place))
        other = int(rng.integers(len(self._b))) if self._varied else index % len(self._b)
        return PairSample(a, self._square(self._b[other], *self._place(rng)))

    def _place(self, rng: np.random.Generator) -> tuple[int, int, bool]:
        if not self._varied:
            return 0, 0, False
        top, left = rng.integers(0, self._load - self._size + 1, 2)
        return int(top), int(left), bool(rng.random() < 0.5)

    def _square(self, read: Read, top: int, left: int, mirrored: bool) -> Pixels:
        whole = read(self._load, mirrored)
        return np.ascontiguousarray(whole[top : top + self._size, left : left + self._size])


def open_pairs(
    spec: str,
    split: Split,
    *,
    load_size: int,
    size: int,
    channels: tuple[int, int],
    paired: bool = True,
) -> Pairs:
    """Open the two domains that a data specification names.

    Args:
        spec: see above.
        split: which files.
        load_size: side before cutting, for training.
        size: side of the samples.
        channels: of A and of B.
        paired: whether samples must be partners.

    Raises:
        DataError: nothing like that is there, or files lack a partner.
    """
    parts = [Path(part).expanduser() for part in spec.split(",")]
    if len(parts) == 2 and all(part.is_dir() for part in parts):
        one, other = (_side(part, _pictures(part), split) for part in parts)
        sides: Sides | None = _matched(one, other, channels, paired)
    else:
        sides = _in_folder(Path(spec).expanduser(), split, channels, paired)
    if sides is None:
        sides = _faces(spec, split, load_size if split == "train" else size, channels)
    a, b = sides
    return Pairs(a, b, load_size, size, paired=paired, varied=split == "train")


# --- folders --------------------------------------------------------------------------------------


def _in_folder(folder: Path, split: Split, channels: tuple[int, int], paired: bool) -> Sides | None:
    """Read a folder in one of the known layouts, or None if it is of no such kind."""
    if (folder / "A").is_dir() and (folder / "B").is_dir():
        one, other = (_side(folder, _pictures(folder / name), split) for name in "AB")
        return _matched(one, other, channels, paired)
    for ends in (("A", "B"), ("_A", "_B"), ("_label", "_img")):
        if all((folder / f"train{end}").is_dir() for end in ends):
            one, other = (files_of_phase(folder, end, split) for end in ends)
            return _matched(one, other, channels, paired, classes=ends[0].endswith("label"))
    if (folder / "train").is_dir():
        files = files_of_phase(folder, "", split).values()
        left: list[Read] = [partial(_half, path, 0, channels[0]) for path in files]
        right: list[Read] = [partial(_half, path, 1, channels[1]) for path in files]
        return left, right
    return None


def files_of_phase(folder: Path, end: str, split: Split) -> dict[str, Path]:
    """Return the files of a split from the folder `train`, `val` or `test` + `end`, by name.

    Raises:
        DataError: there are none.
    """
    held_out = [phase for phase in ("val", "test") if (folder / f"{phase}{end}").is_dir()]
    if not held_out:
        return _side(folder, _pictures(folder / f"train{end}"), split)
    return _pictures(folder / f"{'train' if split == 'train' else held_out[0]}{end}")


def _pictures(folder: Path) -> dict[str, Path]:
    files = files_by_stem(folder)
    if not files:
        raise DataError(f"{folder}: no pictures there")
    return {partner_name(stem): path for stem, path in files.items()}


def partner_name(stem: str) -> str:
    """Return the name that partners share: a file's stem without Cityscapes' endings."""
    return _CITYSCAPES.sub("", stem)


def _side(folder: Path, files: Mapping[str, Path], split: Split) -> dict[str, Path]:
    kept = {stem: path for stem, path in files.items() if split_of(stem) == split}
    if not kept:
        raise DataError(
            f"{folder}: none of its {len(files)} files falls into {split}; about a tenth is for "
            "validation, chosen by name. Add files, or give them a val/ beside train/"
        )
    return kept


def _matched(
    one: Mapping[str, Path],
    other: Mapping[str, Path],
    channels: tuple[int, int],
    paired: bool,
    *,
    classes: bool = False,
) -> Sides:
    """Read the files of two domains; of A as `classes`, or as pictures."""
    alone = sorted(one.keys() ^ other.keys())
    if paired and alone:
        raise DataError(
            f"{next(iter(one.values())).parent} and {next(iter(other.values())).parent}: partners "
            f"must have equal names; without one: {', '.join(alone[:5])} ({len(alone)} in all). "
            "Unpaired pictures are for cyclegan"
        )
    read = _classes if classes else _whole
    a: list[Read] = [partial(read, path, channels[0]) for path in one.values()]
    b: list[Read] = [partial(_whole, path, channels[1]) for path in other.values()]
    return a, b


@lru_cache(maxsize=2)  # both halves of a side-by-side file are read one after the other
def _decoded(path: Path) -> Pixels:
    try:
        picture = open_picture(path)
    except PictureError as error:
        raise DataError(str(error)) from None
    if picture.mode == "cmyk":
        return to_rgb8(picture)
    if picture.alpha is None:
        return picture.pixels
    return np.dstack([picture.pixels, picture.alpha])


def _whole(path: Path, channels: int, side: int, mirrored: bool) -> Pixels:
    return _square(with_channels(_decoded(path), channels, str(path)), side, mirrored)


def _half(path: Path, half: int, channels: int, side: int, mirrored: bool) -> Pixels:
    both = _decoded(path)
    middle = both.shape[1] // 2
    if not middle:
        raise DataError(f"{path}: one pixel wide, where two pictures are expected side by side")
    pixels = both[:, :middle] if half == 0 else both[:, middle:]
    return _square(with_channels(pixels, channels, str(path)), side, mirrored)


def _classes(path: Path, classes: int, side: int, mirrored: bool) -> Pixels:
    values = read_values(path)
    wrong = np.unique(values[(values >= classes) & (values != IGNORE)])
    if wrong.size:
        raise DataError(
            f"{path}: classes {wrong.tolist()} are beyond the {classes} that the model knows; set "
            "its channels to the number of classes, or renumber them (255 = unknown)"
        )
    return _square(values, side, mirrored)


def _square(pixels: Pixels, side: int, mirrored: bool) -> Pixels:
    """Squeeze to a square; classes are picked, never mixed."""
    if mirrored:
        pixels = pixels[:, ::-1]
    if pixels.shape[:2] == (side, side):
        return pixels
    shrinks = side < min(pixels.shape[:2])
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    if pixels.ndim == 2:
        how = cv2.INTER_NEAREST_EXACT
    resized = cv2.resize(np.ascontiguousarray(pixels), (side, side), interpolation=how)
    return resized.reshape(side, side, *pixels.shape[2:])


# --- faces ----------------------------------------------------------------------------------------


def _faces(spec: str, split: Split, size: int, channels: tuple[int, int]) -> Sides:
    found = re.fullmatch(rf"(.+):({'|'.join(_TASKS)})", spec)
    source, task = (found[1], found[2]) if found else (spec, _TASKS[0])
    faces, what = open_faces(source, split, size), task.partition("2")[0]
    for side, planes in ((what, channels[0]), ("portrait", channels[1])):
        known = (1, 3, len(CELEBAMASK19)) if side == "labels" else (1, 3)
        if planes not in known:
            raise DataError(
                f"{spec}: {side} can be shown in {' or '.join(map(str, known))} channels, not in "
                f"{planes}; set the model's channels to that (classes are one plane each)"
            )
    count = len(faces)
    a: list[Read] = [partial(_face, faces, n, what, channels[0]) for n in range(count)]
    b: list[Read] = [partial(_face, faces, n, "portrait", channels[1]) for n in range(count)]
    return a, b


def _face(faces: Faces, index: int, what: str, channels: int, side: int, mirrored: bool) -> Pixels:
    sample = _drawn(faces, index)
    if mirrored:
        sample = mirror(sample)
    if what == "labels" and channels == len(CELEBAMASK19):
        return _square(sample.labels, side, mirrored=False)
    pixels: Pixels = sample.image
    if what == "labels":
        pixels = _PALETTE[sample.labels]
    elif what == "edges":
        pixels = _outlines(sample.image)
    elif what == "grey":
        pixels = with_channels(sample.image, 1)
    return _square(with_channels(pixels, channels), side, mirrored=False)


@lru_cache(maxsize=2)  # both sides of a pair are read one after the other
def _drawn(faces: Faces, index: int) -> FaceSample:
    # A weighted source offers several faces for an index; both partners must be the same one.
    return faces.sample(index, np.random.default_rng(index))


def _outlines(image: NDArray[np.uint8]) -> Pixels:
    """Return dark lines on white, (S, S, 1)."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.0)
    return np.asarray(255 - cv2.Canny(grey, 40, 100), np.uint8)[..., None]
