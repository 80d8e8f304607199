"""Pictures without labels, for systems that learn from looking alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.faces import (
    PICTURES,
    Faces,
    open_faces,
    read_rgb,
    resize_image,
    split_of,
)
from pentimento.errors import DataError
from pentimento.world.painting import painting


@dataclass(frozen=True)
class PictureSample:
    """One picture.

    Attributes:
        image: (S, S, 3) uint8 RGB.
    """

    image: NDArray[np.uint8]


class Folder:
    """Squares out of picture files; the engine's `Dataset` of `PictureSample`.

    Args:
        files: what to read.
        size: S.
        varied: cut the square anywhere along the longer side and mirror half of them; else it is
            the middle one, upright.
    """

    def __init__(self, files: Sequence[Path], size: int, *, varied: bool) -> None:
        self._files, self._size, self._varied = files, size, varied

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._files)

    def sample(self, index: int, rng: np.random.Generator) -> PictureSample:
        """Return picture `index`."""
        image = read_rgb(self._files[index])
        side = min(image.shape[:2])
        spare = np.array(image.shape[:2]) - side
        top, left = rng.integers(0, spare + 1) if self._varied else spare // 2
        square = image[top : top + side, left : left + side]
        if self._varied and rng.random() < 0.5:
            square = square[:, ::-1]
        return PictureSample(resize_image(np.ascontiguousarray(square), self._size))


def open_pictures(spec: str, split: Literal["train", "val"], size: int) -> Folder | Faces:
    """Open a folder of pictures, or the pictures of any face data.

    Args:
        spec: `pictures:DIR`, all picture files below DIR, or several of them joined by commas; or
            a specification of `data.faces`.
        split: about a tenth of the files, chosen by the hash of their names, is for validation.
        size: side of the samples in pixels.

    Raises:
        DataError: nothing to read there for this split.
    """
    parts = [part.strip() for part in spec.split(",")]
    if not all(part.startswith("pictures:") for part in parts):
        return open_faces(spec, split, size)
    files: list[Path] = []
    for part in parts:
        name = part.removeprefix("pictures:")
        found = sorted(Path(name).expanduser().rglob("*"))
        found = [path for path in found if path.suffix.lower() in PICTURES]
        if not name or not found:
            raise DataError(
                f"{name or 'an empty name'}: no picture files ({', '.join(PICTURES)}) there"
            )
        files += found
    kept = [path for path in files if split_of(path.stem) == split]
    if not kept:
        raise DataError(
            f"{spec}: none of its {len(files)} pictures falls into {split}; about a tenth is for "
            "validation, chosen by name, so add pictures"
        )
    return Folder(kept, size, varied=split == "train")


def read_style(style: str, size: int) -> NDArray[np.uint8]:
    """Return a picture for its manner: (H, W, 3) uint8, the shorter side `size`.

    Args:
        style: a picture file, or `painting:SEED`, which is drawn (`world.painting`).
        size: in pixels.

    Raises:
        DataError: the file cannot be read, or SEED is no number.
    """
    kind, _, seed = style.partition(":")
    if kind == "painting":
        if not seed.isdecimal():
            raise DataError(f"painting:SEED, where SEED is a number; got {style!r}")
        return painting(int(seed), size)
    picture = read_rgb(Path(style).expanduser())
    height, width = (round(side * size / min(picture.shape[:2])) for side in picture.shape[:2])
    shrinks = size < min(picture.shape[:2])
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)
