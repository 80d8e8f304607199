"""Pictures with any number of faces, for face finders: from portraits, photos and scenes.

Portraits are put together into crowds (`data/collage.py`); of scenes, and of a third of the
portraits, parts are shown as they are. A data specification is one or more sources joined by `,`,
each with an optional weight as in `data/faces.py`:

| source | what it reads |
|---|---|
| a folder with `images/`, `truths/` | as `pentimento world portraits` writes |
| `world`, `world:count=3000` | rendered portraits, drawn on demand and kept in the cache |
| `turned`, `turned:count=600` | the same with heads turned by 30 to 90 degrees, likewise |
| `scenes`, `scenes:count=300` | rendered scenes, likewise |
| any other source of `data/faces.py` | labelled faces; box and points are taken from the labels |

`truths/NAME.json` holds `box` [left, top, right, bottom], `landmarks` {"5": [[x, y, ...], ...]} or
one of the two, perhaps `vertices` [[x, y, z, ...], ...], perhaps `person`; without box and points
the picture counts as one without a face.

Alphabet: S side; N faces; V vertices.
"""

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from pentimento.data.collage import POINTS, SEEN, TURNED, Crowd, Portrait, compose, window
from pentimento.data.faces import (
    VALIDATION_SHARE,
    cache_folder,
    files_by_stem,
    open_faces,
    read_rgb,
    split_of,
    world_version,
)
from pentimento.errors import DataError
from pentimento.ops.face_points import face_box, five_points
from pentimento.world.face_mesh import VERTICES

if TYPE_CHECKING:
    from pentimento.world.portraits import WorldPortrait

Rng = np.random.Generator
_WHOLE: Final = 1 / 3  # of the portraits are shown in parts, as scenes: buttons, leaves, ears
_LABELLED: Final = 256  # side at which labelled faces are read

Read = Callable[[], Portrait | Crowd]


class Crowds:
    """Composed pictures; the engine's `Dataset` of `Crowd`."""

    def __init__(self, sources: Sequence[Sequence[Read]], weights: Sequence[float], size: int):
        self.size = size
        self._draws: list[Read] = []
        for portraits, weight in zip(sources, weights, strict=True):
            count = max(1, round(weight * len(portraits)))
            self._draws += [portraits[i * len(portraits) // count] for i in range(count)]

    def __len__(self) -> int:
        """Return the number of portraits of one epoch."""
        return len(self._draws)

    def sample(self, index: int, rng: Rng) -> Crowd:
        """Compose a picture around portrait `index`."""
        first = self._draws[index]()
        if isinstance(first, Portrait) and rng.random() < _WHOLE:
            first = first.alone()
        if isinstance(first, Crowd):
            return window(first, self.size, rng)
        others = (self._draws[number]() for number in rng.integers(0, len(self._draws), 4))
        cast = [first, *(other for other in others if isinstance(other, Portrait))]
        return compose(cast[:3], self.size, rng)


def open_crowds(spec: str, split: Literal["train", "val"], size: int, vertices: int = 0) -> Crowds:
    """Open the portraits that a data specification names.

    Args:
        spec: sources as described above.
        split: which people.
        size: side of the pictures.
        vertices: V; truths with another number count as unknown.

    Raises:
        DataError: a source does not exist, or has no portrait in this split; or the vertices of
            the world's heads are to be learnt, and no source tells them.
    """
    sources: list[list[Read]] = []
    told = vertices != VERTICES or split == "val"
    weights: list[float] = []
    for part in filter(None, (part.strip() for part in spec.split(","))):
        weighed = re.fullmatch(r"(?:(\d+\.?\d*|\.\d+)\s*\*)?\s*(.+)", part)
        assert weighed is not None  # the pattern matches any non-empty text
        weights.append(float(weighed[1] or 1) if split == "train" else 1.0)
        folder = Path(weighed[2]).expanduser()
        if weighed[2].partition(":")[0] in _RENDERED:
            sources.append(_rendered(weighed[2], split, vertices))
            told = True
        elif (folder / "truths").is_dir():
            reads, tells = _truths(folder, split, vertices)
            sources.append(reads)
            told |= tells
        else:
            faces = open_faces(weighed[2], split, _LABELLED)
            sources.append(
                [partial(_labelled, faces.sample, i, vertices) for i in range(len(faces))]
            )
    if not sources:
        raise DataError(f"the data specification {spec!r} names no source; expected `world`, a "
                        "folder, or several of them joined by commas")  # fmt: skip
    if not told:
        raise DataError(
            f"{spec}: nothing there tells the {vertices} vertices of a face; add `world`, export "
            "the portraits anew, or train with --set vertices=0"
        )
    return Crowds(sources, weights, size)


def _labelled(sample: Callable[[int, Rng], Any], index: int, vertices: int) -> Portrait:
    face = sample(index, np.random.default_rng(index))
    points = five_points(face.labels)
    box = None if points is None else face_box(points)
    if points is None:
        points = np.full((POINTS, 2), np.nan)
    return Portrait(face.image, box, points, np.full((vertices, 3), np.nan))


def _truths(folder: Path, split: str, vertices: int) -> tuple[list[Read], bool]:
    """Return what reads the portraits of a side, and whether one tells so many vertices."""
    images, tells = files_by_stem(folder / "images"), False
    people: dict[Path, str] = {}
    for path in sorted((folder / "truths").glob("*.json")):
        if path.stem not in images:
            raise DataError(f"{path}: no picture of that name in {folder / 'images'}")
        facts = json.loads(path.read_text())
        if "annotations" in facts:
            raise DataError(
                f"{path}: the truths of a scene; face finders read rendered scenes as `scenes` or "
                "`scenes:count=300`, and portraits from folders"
            )
        tells |= len(facts.get("vertices", ())) == vertices > 0
        people[path] = str(facts.get("person", path.stem))
    sides = {person: split_of(person) for person in people.values()}
    if len(sides) > 1 and len(set(sides.values())) == 1:  # a side is empty: one crosses over
        lonely = min(sides)
        sides[lonely] = "val" if sides[lonely] == "train" else "train"
    kept: list[Read] = [
        partial(_read, images[path.stem], path, vertices)
        for path, person in people.items()
        if sides[person] == split
    ]
    if not kept:
        raise DataError(f"{folder}: no portrait for {split}; a split by person needs more people")
    return kept, tells


@lru_cache(maxsize=6000)  # about 1 GB at most; decoding costs as much as composing
def _read(image: Path, truth: Path, vertices: int) -> Portrait:
    facts = json.loads(truth.read_text())
    points, box = np.full((POINTS, 2), np.nan), None
    if "5" in facts.get("landmarks", {}):
        points = np.array(facts["landmarks"]["5"], np.float64)[:, :2]
        box = face_box(points)
    if "box" in facts:
        box = np.array(facts["box"], np.float64)
    surface = np.array(facts.get("vertices", []), np.float64)
    surface = surface[:, :3] if len(surface) == vertices > 0 else np.full((vertices, 3), np.nan)
    return Portrait(read_rgb(image), box, points, surface)


# Rendered pictures

_RENDERED: Final = {"world": 3000, "turned": 600, "scenes": 300}  # kind → how many, unless told
_SCENE: Final = (384, 512)
_PORTRAIT: Final = 256
_ASIDE: Final = (30.0, TURNED)  # degrees to either side
_ROOM: Final = 1.5  # around heads that are turned, whose aligned frame is narrow
VAL_SEEDS: Final = 2_000_000_000  # rendered validation pictures start at this seed


def _rendered(source: str, split: str, vertices: int) -> list[Read]:
    kind, _, rest = source.partition(":")
    usual = _RENDERED[kind]
    match = re.fullmatch(r"(?:count=([1-9]\d*))?", rest)
    if match is None:
        raise DataError(f"{source}: expected `{kind}` or `{kind}:count={usual}`")
    count = int(match[1] or usual)
    first = 0
    if split == "val":
        first, count = VAL_SEEDS, max(1, round(VALIDATION_SHARE * count))
    read: dict[str, Callable[[int, int], Portrait | Crowd]] = {
        "world": _read_portrait,
        "turned": _read_turned,
        "scenes": read_scene,
    }
    return [partial(read[kind], seed, vertices) for seed in range(first, first + count)]


@lru_cache(maxsize=1000)  # some 600 MB
def read_scene(seed: int, vertices: int = 0) -> Crowd:
    """Return a rendered scene with the faces that are half seen, or draw it and keep it."""
    return _kept("crowds", seed, _draw_scene, vertices)


@lru_cache(maxsize=3000)  # some 600 MB
def _read_portrait(seed: int, vertices: int) -> Portrait:
    """Return a rendered portrait, or draw it and keep it."""
    return _alone(_kept("portraits", seed, _draw_portrait, vertices))


@lru_cache(maxsize=3000)
def _read_turned(seed: int, vertices: int) -> Portrait:
    """Return a rendered portrait whose head is turned, or draw it and keep it."""
    return _alone(_kept("turned", seed, _draw_turned, vertices))


def _alone(one: Crowd) -> Portrait:
    return Portrait(one.image, *(a[0].astype(float) for a in (one.boxes, one.points, one.vertices)))


def _kept(folder: str, seed: int, draw: Callable[[int], Crowd], vertices: int) -> Crowd:
    """Return a picture from the cache, or draw it and keep it there."""
    path = cache_folder() / folder / world_version() / f"{seed}.npz"
    names = [field.name for field in fields(Crowd)]
    if not path.exists():
        drawn = draw(seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            np.savez_compressed(file, **{name: getattr(drawn, name) for name in names})
        Path(file.name).replace(path)  # a reader never sees half a file
    with np.load(path, allow_pickle=False) as kept:
        crowd = Crowd(**{name: kept[name] for name in names})
    if crowd.vertices.shape[1] == vertices:
        return crowd
    unknown = np.full((len(crowd.boxes), vertices, 3), np.nan, np.float32)
    return replace(crowd, vertices=unknown)


def _draw_scene(seed: int) -> Crowd:
    from pentimento.world.scenes import scene

    drawn = scene(seed, _SCENE)
    faces = [each.face for each in drawn.segments if each.face]
    seen = [face for face in faces if face.visible >= SEEN and abs(face.pose[0]) <= TURNED]
    return Crowd(
        drawn.picture,
        np.array([face.box for face in seen], np.float32).reshape(-1, 4),
        np.array([face.landmarks[5].xy for face in seen], np.float32).reshape(-1, POINTS, 2),
        np.array([face.vertices.xyz for face in seen], np.float32).reshape(-1, VERTICES, 3),
    )


def _draw_portrait(seed: int) -> Crowd:
    from pentimento.world.portraits import portrait

    return _crowd_of_one(portrait(seed, _PORTRAIT))


def _draw_turned(seed: int) -> Crowd:
    from pentimento.world.figure import Pose
    from pentimento.world.portraits import portrait

    rng = np.random.default_rng(seed)
    yaw, body = rng.choice((-1, 1)) * rng.uniform(*_ASIDE), rng.uniform(0, 1)
    pose = Pose(float(yaw), float(rng.normal(0, 10)), float(rng.normal(0, 8)), float(body))
    return _crowd_of_one(portrait(seed, _PORTRAIT, pose=pose, room=_ROOM))


def _crowd_of_one(drawn: "WorldPortrait") -> Crowd:
    points, mesh = drawn.landmarks[5].xy, drawn.vertices.xyz
    return Crowd(drawn.picture, drawn.box.xyxy, points[None], mesh[None])
