"""Pictures that each belong to one class.

A data specification is `digits` or `digits:count=N`, drawn on demand (`world.digits`), or a folder
with one folder of pictures per class; the classes are numbered in the order of their names.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.faces import PICTURES, read_rgb, split_of
from pentimento.errors import DataError
from pentimento.ops.planes import with_channels
from pentimento.world.digits import CLASSES, digit

_DIGITS: Final = 20_000
_VALIDATION: Final = 1_000_000_000  # digits of validation have seeds from here on


@dataclass(frozen=True)
class ClassSample:
    """A picture and its class.

    Attributes:
        image: (S, S, C) uint8, of 1 or 3 channels.
        kind: its class.
    """

    image: NDArray[np.uint8]
    kind: int


class Digits:
    """Drawn digits; the engine's `Dataset` of `ClassSample`."""

    def __init__(self, count: int, first: int, size: int, channels: int) -> None:
        self._count, self._first, self._size, self._channels = count, first, size, channels

    def __len__(self) -> int:
        """Return the number of digits of one epoch."""
        return self._count

    def sample(self, index: int, rng: np.random.Generator) -> ClassSample:
        """Return digit `index`; all ten take turns."""
        kind = index % CLASSES
        drawn = _drawn(self._first + index, kind, self._size)[..., None]
        return ClassSample(with_channels(drawn, self._channels), kind)


@lru_cache(maxsize=50_000)  # drawing takes longer than a step; a digit is a kilobyte
def _drawn(seed: int, kind: int, size: int) -> NDArray[np.uint8]:
    return digit(seed, kind, size)


class ClassFolders:
    """Files in a folder per class; the engine's `Dataset` of `ClassSample`."""

    def __init__(self, files: Sequence[tuple[Path, int]], size: int, channels: int) -> None:
        self._files, self._size, self._channels = files, size, channels

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._files)

    def sample(self, index: int, rng: np.random.Generator) -> ClassSample:
        """Return picture `index`, squeezed to a square."""
        path, kind = self._files[index]
        image = read_rgb(path)
        how = cv2.INTER_AREA if self._size < min(image.shape[:2]) else cv2.INTER_CUBIC
        square = np.asarray(cv2.resize(image, (self._size,) * 2, interpolation=how), np.uint8)
        return ClassSample(with_channels(square, self._channels), kind)


def open_classes(
    spec: str, split: Literal["train", "val"], *, size: int, channels: int, classes: int
) -> Digits | ClassFolders:
    """Open pictures with their classes.

    Args:
        spec: see above.
        split: about a tenth of the files, by the hash of their names, is for validation.
        size: S.
        channels: 1 or 3.
        classes: most that the model knows.

    Raises:
        DataError: nothing like that is there, or there are more classes.
    """
    if found := re.fullmatch(r"digits(?::count=(\d+))?", spec):
        count = int(found[1] or _DIGITS)
        if not count or classes < CLASSES:
            raise DataError(f"{spec}: digits are at least one, and of {CLASSES} classes")
        train = split == "train"
        count = count if train else max(CLASSES, count // 10)
        return Digits(count, 0 if train else _VALIDATION, size, channels)
    folder = Path(spec).expanduser()
    kinds = sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    files = [
        (path, kind)
        for kind, below in enumerate(kinds)
        for path in sorted(below.rglob("*"))
        if path.suffix.lower() in PICTURES and split_of(path.stem) == split
    ]
    if not files or len(kinds) > classes:
        raise DataError(
            f"{spec}: expected `digits`, or a folder with 1 to {classes} folders of pictures, one "
            f"per class; found {len(kinds)} folders and {len(files)} pictures for {split}"
        )
    return ClassFolders(files, size, channels)
