"""Faces with 19-class label maps: the sample that parsing and portrait systems train on.

A data specification is one or more sources joined by `,` or `+`:

| source | what it reads |
|---|---|
| `world`, `world:count=3000` | rendered portraits, drawn on demand and kept in the cache folder |
| a folder with `images/`, `labels/` | pairs of one stem, as `pentimento world portraits` writes |
| a CelebAMask-HQ folder | `CelebA-HQ-img/`, `CelebAMask-HQ-mask-anno/`, the official mapping |
| a Helen folder | `<phase>_img/` and `<phase>_label/` pairs of Mask-Guided Portrait Editing |
| `london:DIR` | the London set with landmarks and part masks (`data/london.py`) |
| `npr:DIR` | NPRportrait maps with their thumbnails, for evaluation (`data/npr.py`) |

A number in front weighs a source: with `3*london:DIR` an epoch draws every London face three times,
with `0.5*` half of them. Validation takes every face once, whatever the weights.

Splits are by person. About a tenth of the people, those whose name hashes below a fixed threshold,
are for validation, so that a person stays on one side when faces are added or another folder holds
the same name. The official CelebAMask-HQ split is used where its mapping file is there.

Every picture is an aligned square (`ops/align.py`); folders are taken as aligned already.
"""

import os
import re
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19, HELEN11, IGNORE, remap_table
from pentimento.ops.align import crop_to_picture, ffhq_quad
from pentimento.ops.warp import cut

PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")
VALIDATION_SHARE: Final = 0.1
_VAL_SEEDS: Final = 1_000_000_000  # rendered validation portraits start at this seed


@dataclass(frozen=True)
class FaceSample:
    """One aligned face.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        labels: (S, S) uint8, CelebAMask-HQ order, `IGNORE` where nothing is known.
        person: who it is, for splits by person; the file's stem where nothing better is known.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    person: str


@dataclass(frozen=True)
class Face:
    """A face that can be read at any size.

    Attributes:
        person: who it is.
        read: size in pixels → the sample.
        split: the side an official split puts it on, or None for the split by hash.
    """

    person: str
    read: Callable[[int], FaceSample]
    split: Literal["train", "val"] | None = None


class Known(Protocol):
    """Whatever can be told apart by person."""

    @property
    def person(self) -> str:
        """Who it is."""
        ...

    @property
    def split(self) -> Literal["train", "val"] | None:
        """The side an official split puts it on, if any."""
        ...


KnownT = TypeVar("KnownT", bound=Known)
T = TypeVar("T")


@dataclass(frozen=True)
class Readable(Generic[T]):
    """A face that can be read at its own size.

    Attributes:
        person: who it is.
        read: returns the picture and its truths.
        split: as in `Face`.
    """

    person: str
    read: Callable[[], T]
    split: Literal["train", "val"] | None = None


class Draws(Generic[T]):
    """Things of weighed sources; one epoch draws each of a source about `weight` times."""

    def __init__(self, sources: Sequence[Sequence[T]], weights: Sequence[float]):
        self._things: list[T] = []
        self._draws: list[tuple[int, int]] = []  # which things an index of the epoch draws from
        for things, weight in zip(sources, weights, strict=True):
            count = max(1, round(weight * len(things)))
            edges = [len(self._things) + i * len(things) // count for i in range(count + 1)]
            self._draws += [(a, max(a + 1, b)) for a, b in pairwise(edges)]
            self._things += things

    def __len__(self) -> int:
        """Return the number of draws of one epoch."""
        return len(self._draws)

    def pick(self, index: int, rng: np.random.Generator) -> T:
        """Return the thing of a draw; `rng` chooses where several share it."""
        low, high = self._draws[index]
        return self._things[int(rng.integers(low, high))]


@dataclass(frozen=True)
class Faces:
    """Faces of one split at one size; the engine's `Dataset` of `FaceSample`."""

    draws: Draws[Face]
    size: int

    def __len__(self) -> int:
        """Return the number of draws of one epoch."""
        return len(self.draws)

    def sample(self, index: int, rng: np.random.Generator) -> FaceSample:
        """Return face `index`; `rng` chooses among the faces that share a draw."""
        return self.draws.pick(index, rng).read(self.size)


def open_faces(spec: str, split: Literal["train", "val"], size: int) -> Faces:
    """Open the faces that a data specification names.

    Args:
        spec: sources as described above.
        split: which people.
        size: side of the samples in pixels.

    Raises:
        DataError: a source does not exist, is no known layout, or has no face in this split.
    """
    return Faces(draws_of(spec, split, _open_source), size)


def draws_of(
    spec: str,
    split: Literal["train", "val"],
    open_source: Callable[[str, Literal["train", "val"]], Sequence[T]],
) -> Draws[T]:
    """Return the draws of a specification; weights count in training alone."""
    named = named_sources(spec)
    weights = [weight if split == "train" else 1.0 for weight, _ in named]
    return Draws([open_source(source, split) for _, source in named], weights)


def named_sources(spec: str) -> list[tuple[float, str]]:
    """Return weight and name of every source of a specification; DataError if there is none."""
    sources: list[tuple[float, str]] = []
    for part in filter(None, (part.strip() for part in re.split("[,+]", spec))):
        weighed = re.fullmatch(r"(?:(\d+\.?\d*|\.\d+)\s*\*)?\s*(.+)", part)
        assert weighed is not None  # the pattern matches any non-empty text
        weight = float(weighed[1] or 1)
        if not weight:
            raise DataError(f"{part}: a weight of 0 draws nothing; leave the source out")
        sources.append((weight, weighed[2]))
    if not sources:
        raise DataError(
            f"the data specification {spec!r} names no source; "
            "expected `world`, a folder, or several of them joined by commas"
        )
    return sources


def split_of(person: str) -> Literal["train", "val"]:
    """Return the side of a person: validation for about one name in ten."""
    return "val" if zlib.crc32(person.encode()) < VALIDATION_SHARE * 2**32 else "train"


def resize_image(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return a square picture at another size."""
    if image.shape[0] == size:
        return image
    how = cv2.INTER_AREA if size < image.shape[0] else cv2.INTER_CUBIC
    return _u8(cv2.resize(image, (size, size), interpolation=how))


def resize_labels(labels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Return a square label map at another size; values are picked, never mixed."""
    if labels.shape[0] == size:
        return labels
    return _u8(cv2.resize(labels, (size, size), interpolation=cv2.INTER_NEAREST_EXACT))


def aligned(
    image: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    points: NDArray[np.float64],
    person: str,
    size: int,
) -> FaceSample:
    """Cut the aligned square out of a photo and its label map.

    Args:
        image: (H, W, 3) uint8.
        labels: (H, W) uint8; outside of the photo the sample's labels are `IGNORE`.
        points: (3, 2) image-left eye, image-right eye, mouth, in pixels.
        person: who it is.
        size: side of the sample.
    """
    matrix = crop_to_picture(ffhq_quad(*points), size)
    crop = np.rint(cut(image, matrix, size))
    # OpenCV counts pixel centres from 0; the frame of `ops.align` has them at halves.
    matrix[:, 2] += matrix[:, :2].sum(1) / 2 - 0.5
    truth = cv2.warpAffine(
        labels,
        matrix,
        (size, size),
        flags=cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(IGNORE,),
    )
    return FaceSample(_u8(crop), _u8(truth), person)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 of a training picture, upright; DataError if it cannot be decoded."""
    try:
        with Image.open(path) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable picture ({error}); remove or replace it") from None


def read_values(path: Path) -> NDArray[np.uint8]:
    """Return (H, W) uint8, the values of a grey or indexed label file, as they are stored."""
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("L", "P", "1"):
                raise DataError(
                    f"{path}: a label file must be a grey or indexed PNG, this one is "
                    f"{picture.mode}; write class numbers, not colours"
                )
            return np.asarray(picture, np.uint8)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path}: not a readable label file ({error}); remove or replace it"
        ) from None


def files_by_stem(folder: Path, suffixes: tuple[str, ...] = PICTURES) -> dict[str, Path]:
    """Return the folder's pictures by file stem, in sorted order."""
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in suffixes}


def _u8(array: Any) -> NDArray[np.uint8]:
    """Give OpenCV's result the type it has."""
    return np.ascontiguousarray(array, np.uint8)


def _open_source(source: str, split: Literal["train", "val"]) -> list[Face]:
    kind, _, rest = source.partition(":")
    if kind == "world":
        return _world(rest, split)
    if kind == "london":
        from pentimento.data.london import london_faces

        faces = london_faces(data_folder(rest))
    elif kind == "npr":
        from pentimento.data.npr import npr_faces

        faces = npr_faces(data_folder(rest))
    else:
        faces = _open_folder(data_folder(source))
    return one_side(faces, split, source)


def data_folder(name: str) -> Path:
    """Return a folder that a specification names; DataError if it is not there."""
    folder = Path(name).expanduser()
    if not name or not folder.is_dir():
        raise DataError(
            f"{name or 'an empty name'}: no such folder; expected `world`, a data folder, "
            "`london:DIR` or `npr:DIR`"
        )
    return folder


def one_side(faces: Sequence[KnownT], split: Literal["train", "val"], source: str) -> list[KnownT]:
    """Keep one side; where the hash leaves a side empty, its nearest person crosses over."""
    people = {face.person: face.split or split_of(face.person) for face in faces}
    if len(people) > 1 and len(set(people.values())) == 1 and not any(f.split for f in faces):
        order = sorted(people, key=lambda person: zlib.crc32(person.encode()))
        lonely = order[0] if "train" in people.values() else order[-1]
        people[lonely] = "val" if people[lonely] == "train" else "train"
    kept = [face for face in faces if people[face.person] == split]
    if not kept:
        raise DataError(
            f"{source}: no face for {split} among {len(faces)} faces of {len(people)} people; "
            "a split by person needs at least two people"
        )
    return kept


# Rendered portraits


def cache_folder() -> Path:
    """Return where drawn and derived data is kept: `PENTIMENTO_CACHE` or `~/.cache/pentimento`."""
    return Path(os.environ.get("PENTIMENTO_CACHE") or Path.home() / ".cache" / "pentimento")


def portrait_seeds(options: str, split: Literal["train", "val"]) -> range:
    """Return the seeds that `world` or `world:OPTIONS` means; a tenth as many for validation.

    Raises:
        DataError: options other than `count=N`, N above 0.
    """
    match = re.fullmatch(r"(?:count=(\d+))?", options)
    if match is None or match[1] == "0":
        raise DataError(f"world:{options}: expected `world` or `world:count=3000`")
    count = int(match[1] or 3000)
    return range(count) if split == "train" else range(_VAL_SEEDS, _VAL_SEEDS + max(1, count // 10))


def drawn_once(
    kind: str, size: int, seed: int, draw: Callable[[], Mapping[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """Return what a seed gives, from the cache or, the first time, from `draw`.

    Args:
        kind: folder in the cache.
        size: side of what is drawn.
        seed: of it.
        draw: returns named arrays.
    """
    path = cache_folder() / kind / world_version() / str(size) / f"{seed}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # A reader never sees half a file: it is written under another name and renamed.
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            np.savez_compressed(file, **draw())  # type: ignore[arg-type]  # its stubs take the arrays for `allow_pickle`
        Path(file.name).replace(path)
    with np.load(path, allow_pickle=False) as kept:
        return dict(kept)


def _world(options: str, split: Literal["train", "val"]) -> list[Face]:
    seeds = portrait_seeds(options, split)
    return [Face(f"world-{seed}", partial(_drawn, seed), split) for seed in seeds]


def _drawn(seed: int, size: int) -> FaceSample:
    """Return a rendered portrait, drawn when it is asked for the first time."""

    def draw() -> dict[str, NDArray[Any]]:
        from pentimento.world.portraits import portrait

        truth = portrait(seed, size)
        return {"image": truth.picture, "labels": truth.labels.values}

    kept = drawn_once("world", size, seed, draw)
    return FaceSample(kept["image"], kept["labels"], f"world-{seed}")


@cache
def world_version() -> str:
    """Return a name that changes with the world's code and its head, so no stale face is read."""
    import pentimento.world

    digest = sha256()
    root = Path(pentimento.world.__path__[0])
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


# Folders

_CELEBA_IMAGES: Final = "CelebA-HQ-img"
_CELEBA_MASKS: Final = "CelebAMask-HQ-mask-anno"
_CELEBA_MAPPING: Final = "CelebA-HQ-to-CelebA-mapping.txt"


def _open_folder(folder: Path) -> list[Face]:
    if (folder / _CELEBA_IMAGES).is_dir():
        return _celebamask(folder)
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        return _pairs(folder / "images", folder / "labels", CELEBAMASK19.name)
    phases = [p for p in sorted(folder.glob("*_label")) if p.is_dir()]
    if phases:
        return [face for labels in phases for face in _helen(labels)]
    raise DataError(
        f"{folder}: no known layout of faces; expected images/ + labels/, {_CELEBA_IMAGES}/ + "
        f"{_CELEBA_MASKS}/, or <phase>_img/ + <phase>_label/. It holds "
        f"{', '.join(sorted(p.name for p in folder.iterdir())[:8]) or 'nothing'}"
    )


def _pairs(images: Path, labels: Path, label_set: str) -> list[Face]:
    pictures, maps = files_by_stem(images), files_by_stem(labels, (".png",))
    alone = sorted(pictures.keys() ^ maps.keys())
    if alone or not pictures:
        raise DataError(
            f"{images} and {labels} must hold one PNG label file per picture, with equal names; "
            + (f"without a partner: {', '.join(alone[:5])} ({len(alone)} in all)" if alone else
               "both are empty")
        )  # fmt: skip
    faces = []
    for stem, picture in pictures.items():
        # Helen's edited masks of one photo are called `173angry`, `173hair1`: one person.
        number = re.match(r"\d+", stem) if label_set == HELEN11.name else None
        person = f"helen-{number[0]}" if number else stem
        faces.append(Face(person, partial(_read_pair, picture, maps[stem], label_set, person)))
    return faces


def _read_pair(image: Path, labels: Path, label_set: str, person: str, size: int) -> FaceSample:
    pixels, values = read_rgb(image), read_values(labels)
    if pixels.shape[0] != pixels.shape[1]:
        raise DataError(
            f"{image}: a face must be an aligned square, this is "
            f"{pixels.shape[1]}×{pixels.shape[0]}; crop it first"
        )
    if values.shape[0] != values.shape[1]:
        raise DataError(f"{labels}: {values.shape[1]}×{values.shape[0]} does not fit its picture")
    if label_set == HELEN11.name:
        known = values < len(HELEN11)
        values = remap_table(HELEN11, CELEBAMASK19)[values]
    else:
        known = (values < len(CELEBAMASK19)) | (values == IGNORE)
    if not known.all():
        raise DataError(
            f"{labels}: values {np.unique(values[~known]).tolist()} are no classes of {label_set}"
        )
    return FaceSample(resize_image(pixels, size), resize_labels(values, size), person)


def _helen(labels: Path) -> list[Face]:
    """Read one phase of a Helen folder; its "background" covers neck, clothes and hats too."""
    images = labels.with_name(labels.name.removesuffix("_label") + "_img")
    if not images.is_dir():
        raise DataError(f"{labels}: expected the photos beside it in {images}")
    return _pairs(images, labels, HELEN11.name)


def _celebamask(folder: Path) -> list[Face]:
    if not (folder / _CELEBA_MASKS).is_dir():
        raise DataError(f"{folder}: {_CELEBA_IMAGES}/ is there but {_CELEBA_MASKS}/ is not")
    splits = _celeba_splits(folder / _CELEBA_MAPPING)
    faces = []
    for stem, image in files_by_stem(folder / _CELEBA_IMAGES).items():
        if not stem.isdigit():
            raise DataError(f"{image}: CelebA-HQ pictures are called by number, like 27.jpg")
        side = splits.get(int(stem)) if splits else None
        if side != "test":
            parts = folder / _CELEBA_MASKS / str(int(stem) // 2000)
            read = partial(_read_celebamask, image, parts, stem)
            faces.append(Face(stem, read, side))
    if not faces:
        raise DataError(f"{folder / _CELEBA_IMAGES}: no pictures for training or validation")
    return faces


def _celeba_splits(mapping: Path) -> dict[int, Any]:
    """Return CelebA-HQ number → train, val or test, from the number in the original CelebA."""
    if not mapping.exists():
        return {}
    splits = {}
    for line in mapping.read_text().splitlines()[1:]:
        number, original = (int(field) for field in line.split()[:2])
        splits[number] = "train" if original < 162_771 else "val" if original < 182_638 else "test"
    return splits


def _read_celebamask(image: Path, parts: Path, stem: str, size: int) -> FaceSample:
    labels = np.zeros((512, 512), np.uint8)
    found = False
    for value, name in enumerate(CELEBAMASK19.classes):  # official order: later parts overwrite
        part = parts / f"{int(stem):05d}_{name}.png"
        if value and part.exists():
            found = True
            labels[read_rgb(part)[..., 0] > 127] = value
    if not found:
        raise DataError(f"{image}: no part files {int(stem):05d}_*.png in {parts}")
    return FaceSample(resize_image(read_rgb(image), size), resize_labels(labels, size), stem)
