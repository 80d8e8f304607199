"""Pictures with a class for every pixel, and a number for every thing: what pix2pixHD learns from.

A data specification is a folder in pix2pixHD's layout (`train_label/`, `train_img/` and perhaps
`train_inst/`; `val_*` or `test_*` beside them), or any faces that `data.faces` knows; the parts of
a face are its instances. The official names of Cityscapes are partners.

Label files hold class numbers, 255 where nothing is known. Instance files hold any integers, of 8
to 32 bits; without them classes are the instances.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pentimento.data.augment import mirror
from pentimento.data.faces import Faces, open_faces, read_rgb, read_values
from pentimento.data.pairs import files_of_phase
from pentimento.errors import DataError
from pentimento.labels import IGNORE

_INTEGER_MODES: Final = ("1", "L", "P", "I", "I;16")


@dataclass(frozen=True)
class LabelledSample:
    """One picture and what is where.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8 classes, 255 where nothing is known.
        instances: (H, W) int32, a number for each thing.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    instances: NDArray[np.int32]


class LabelledFiles:
    """Files of pix2pixHD's folders; the engine's `Dataset` of `LabelledSample`.

    Args:
        images: name → picture.
        labels: name → label file.
        instances: name → instance file, or empty.
        size: (height, width) of the samples.
        classes: how many there are.
        varied: mirror half of them.
    """

    def __init__(
        self,
        images: Mapping[str, Path],
        labels: Mapping[str, Path],
        instances: Mapping[str, Path],
        size: tuple[int, int],
        classes: int,
        *,
        varied: bool,
    ) -> None:
        self._images, self._labels, self._instances = images, labels, instances
        self._names = sorted(images)
        self._size, self._classes, self._varied = size, classes, varied

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._names)

    def sample(self, index: int, rng: np.random.Generator) -> LabelledSample:
        """Return picture `index`."""
        name = self._names[index]
        image, labels = read_rgb(self._images[name]), read_values(self._labels[name])
        wrong = np.unique(labels[(labels >= self._classes) & (labels != IGNORE)])
        if wrong.size:
            raise DataError(
                f"{self._labels[name]}: classes {wrong.tolist()} are beyond the {self._classes} "
                "of the model; set `classes`, or renumber them (255 = unknown)"
            )
        instances = (
            read_integers(self._instances[name])
            if name in self._instances
            else labels.astype(np.int32)
        )
        if not image.shape[:2] == labels.shape == instances.shape:
            raise DataError(
                f"{name}: the picture is {image.shape[:2]}, its labels {labels.shape}, its "
                f"instances {instances.shape}; they must have one size"
            )
        found = _sized(LabelledSample(image, labels, instances), self._size)
        if self._varied and rng.random() < 0.5:
            return LabelledSample(
                np.ascontiguousarray(found.image[:, ::-1]),
                np.ascontiguousarray(found.labels[:, ::-1]),
                np.ascontiguousarray(found.instances[:, ::-1]),
            )
        return found


class LabelledFaces:
    """Faces with their parts as instances; the engine's `Dataset` of `LabelledSample`."""

    def __init__(self, faces: Faces, size: tuple[int, int], *, varied: bool) -> None:
        self._faces, self._size, self._varied = faces, size, varied

    def __len__(self) -> int:
        """Return the number of draws of one epoch."""
        return len(self._faces)

    def sample(self, index: int, rng: np.random.Generator) -> LabelledSample:
        """Return face `index`."""
        face = self._faces.sample(index, rng)
        if self._varied and rng.random() < 0.5:
            face = mirror(face)
        instances = face.labels.astype(np.int32)
        return _sized(LabelledSample(face.image, face.labels, instances), self._size)


def open_labelled(
    spec: str, split: Literal["train", "val"], size: tuple[int, int], classes: int
) -> LabelledFiles | LabelledFaces:
    """Open pictures with labels.

    Args:
        spec: see above.
        split: which of them.
        size: (height, width) of the samples.
        classes: how many there are.

    Raises:
        DataError: nothing like that is there, or files lack a partner.
    """
    folder, varied = Path(spec).expanduser(), split == "train"
    if not ((folder / "train_label").is_dir() and (folder / "train_img").is_dir()):
        return LabelledFaces(open_faces(spec, split, max(size)), size, varied=varied)
    images, labels = (files_of_phase(folder, end, split) for end in ("_img", "_label"))
    has_instances = (folder / "train_inst").is_dir()
    instances = files_of_phase(folder, "_inst", split) if has_instances else {}
    alone = images.keys() ^ labels.keys()
    if has_instances:
        alone |= images.keys() ^ instances.keys()
    if alone:
        raise DataError(
            f"{folder}: pictures, labels and instances must have equal names; without a partner: "
            f"{', '.join(sorted(alone)[:5])} ({len(alone)} in all)"
        )
    return LabelledFiles(images, labels, instances, size, classes, varied=varied)


def _sized(sample: LabelledSample, size: tuple[int, int]) -> LabelledSample:
    """Squeeze to a size; classes and instances are picked, never mixed."""
    height, width = size
    if sample.labels.shape == size:
        return sample
    shrinks = height * width < sample.labels.size
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    rows = ((np.arange(height) + 0.5) * sample.labels.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * sample.labels.shape[1] / width).astype(int)
    return LabelledSample(
        np.asarray(cv2.resize(sample.image, (width, height), interpolation=how), np.uint8),
        np.ascontiguousarray(sample.labels[rows][:, columns]),
        np.ascontiguousarray(sample.instances[rows][:, columns]),
    )


def read_integers(path: Path) -> NDArray[np.int32]:
    """Return (H, W) of an instance file; DataError if it holds no integers."""
    try:
        with Image.open(path) as picture:
            if picture.mode not in _INTEGER_MODES:
                raise DataError(
                    f"{path}: an instance file holds integers, this one is {picture.mode}; write "
                    "a PNG of 8 or 16 bits with one channel"
                )
            return np.asarray(picture).astype(np.int32)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: not a readable instance file ({error}); remove or replace it"
        ) from None
