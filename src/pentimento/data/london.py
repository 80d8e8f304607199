"""The Face Research Lab London Set (DeBruine & Jones 2017, CC BY 4.0) and its Canadian sister.

A folder holds `neutral/` and `canada/` photos, for each either an entry of `landmarks189.json` or a
WebMorph `.tem` file beside it (189 points in pixels), and `masks/<set>/<name>.png`: part masks
drawn from the points, with 1 face skin, 2 brow, 3 eye white, 4 iris, 5 nose, 6 upper lip, 7 lower
lip, 8 ear, 9 neck, 10 mouth gap and 0 for all the rest.

The rest is derived from the photo, whose studio background is plain: what differs from the
background is hair where it lies above and beside the head, clothes where it is white below the
chin. Wherever colour does not decide, the label is `IGNORE`: a hole costs less than a lie.
`points68` turns the 189 points into the 68 of iBUG 300-W.

The averaged faces of `composite/` are left out, their people are in the other sets; the smiling
photos have no landmarks (self-training aligns them by the parser itself).
"""

import json
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.data.faces import (
    Face,
    FaceSample,
    aligned,
    files_by_stem,
    read_rgb,
    read_values,
)
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19, IGNORE

_SETS: Final = ("neutral", "canada")
_POINTS: Final = 189
_PUPILS: Final = (0, 1)  # image-left, image-right
_MOUTH_CORNERS: Final = (87, 93)
_LIPS_MEET: Final = (96, 101)  # the middle of the upper lip's lower line, of the lower's upper one
_EARS: Final = range(115, 125)
_CHIN: Final = 128
_HEAD: Final = range(145, 158)  # the outer line of the head, over the hair
_JAW: Final = (
    109, 185, 110, 186, 111, *range(125, 134), 114, 188, 113, 187, 112,
)  # fmt: skip
_UPPER_BROWS: Final = ((71, 72, 73, 74, 75, 76), (77, 78, 79, 80, 81, 82))
_BRIDGE: Final = ((50, 51, 52, 53, 54), (56, 57, 58, 59, 60))
_LIDS: Final = (  # upper then lower line of each eye, from image-left to image-right
    ((18, 19, 20, 21, 22), (18, 28, 29, 30, 22)),
    ((23, 24, 25, 26, 27), (23, 31, 32, 33, 27)),
)
_NOSE_BASE: Final = ((63, 64), (64, 180), (55, 55), (69, 181), (68, 69))
_OUTER_LIPS: Final = (*range(87, 94), *range(108, 103, -1))
_BACKGROUND, _SKIN, _NOSE, _U_LIP, _L_LIP, _MOUTH, _HAIR, _NECK, _CLOTH = CELEBAMASK19.values(
    "background", "skin", "nose", "u_lip", "l_lip", "mouth", "hair", "neck", "cloth"
)
_MIDDLE: Final = {1: _SKIN, 5: _NOSE, 6: _U_LIP, 7: _L_LIP, 9: _NECK, 10: _MOUTH}
_PAIRED: Final = {
    2: CELEBAMASK19.values("r_brow", "l_brow"),  # (image-left, image-right)
    3: CELEBAMASK19.values("r_eye", "l_eye"),
    4: CELEBAMASK19.values("r_eye", "l_eye"),
    8: CELEBAMASK19.values("r_ear", "l_ear"),
}

Lab = NDArray[np.float32]
Mask = NDArray[np.bool_]


def london_faces(folder: Path) -> list[Face]:
    """Return the faces of the folder that have both landmarks and a mask.

    Raises:
        DataError: the folder has no photos with landmarks and masks.
    """
    faces = []
    for person, photo, xy in _marked_photos(folder):
        mask = folder / "masks" / photo.parent.name / f"{photo.stem}.png"
        if mask.exists():
            marks = tuple(map(tuple, xy))
            faces.append(Face(person, partial(_read, photo, mask, marks, person)))
    if not faces:
        raise DataError(
            f"{folder}: expected neutral/*.jpg with landmarks189.json (or .tem files) and "
            "masks/neutral/*.png; found no photo that has all three"
        )
    return faces


def london_landmarks(
    folder: Path,
) -> list[tuple[str, Callable[[], tuple[NDArray[np.uint8], dict[int, NDArray[Any]]]]]]:
    """Return, for every photo with landmarks, who it shows and how to read it.

    Reading gives the head's part of the photo (H, W, 3) and its 68 points in pixels of that part.

    Raises:
        DataError: the folder has no photos with landmarks.
    """
    found = [
        (person, partial(_read_marked, photo, tuple(map(tuple, xy))))
        for person, photo, xy in _marked_photos(folder)
    ]
    if not found:
        raise DataError(
            f"{folder}: expected neutral/*.jpg with landmarks189.json (or .tem files); found none"
        )
    return list(found)


def _marked_photos(folder: Path) -> Iterator[tuple[str, Path, list[list[float]]]]:
    """Yield person, photo and its 189 points."""
    listed = folder / "landmarks189.json"
    points: dict[str, Any] = json.loads(listed.read_text()) if listed.exists() else {}
    for name in _SETS:
        if not (folder / name).is_dir():
            continue
        for stem, photo in files_by_stem(folder / name, (".jpg",)).items():
            xy = points.get(f"{name}/{photo.name}")
            if xy is None and photo.with_suffix(".tem").exists():
                xy = read_tem(photo.with_suffix(".tem"))
            if xy is not None and len(xy) != _POINTS:
                raise DataError(f"{photo}: expected {_POINTS} points, found {len(xy)}")
            if xy is not None:
                yield f"{name}-{stem.split('_')[0]}", photo, xy


@lru_cache(maxsize=256)  # about 100 MB; decoding takes longer than a training step
def _read_marked(
    photo: Path, marks: tuple[tuple[float, float], ...]
) -> tuple[NDArray[np.uint8], dict[int, NDArray[Any]]]:
    image, points = read_rgb(photo), points68(np.array(marks))
    low, high = points.min(0), points.max(0)
    reach = 1.1 * float((high - low).max())  # enough for any crop that training may take
    left, top = np.maximum(np.floor((low + high) / 2 - reach), 0).astype(int)
    right, bottom = np.ceil((low + high) / 2 + reach).astype(int)
    return np.ascontiguousarray(image[top:bottom, left:right]), {68: points - [left, top]}


def points68(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 68 points of iBUG 300-W for the set's 189.

    Lines that both have are taken over or divided anew by length. The bridge of the nose starts at
    the level of the pupils and ends between the tip's sides; the inner corners of the lips, which
    the set marks further in, are put between the outer corner and its own.
    """
    jaw = divided(points[list(_JAW)], np.linspace(0, 1, 17))
    brows = [divided(points[list(line)], np.linspace(0, 1, 5)) for line in _UPPER_BROWS]
    middle = points[list(_BRIDGE[0])] / 2 + points[list(_BRIDGE[1])] / 2
    tip = middle[-1]
    down = tip - middle[0]
    eye_level = points[list(_PUPILS)].mean(0)
    top = middle[0] + down * float((eye_level - middle[0]) @ down) / float(down @ down)
    bridge = top + (tip - top) * np.linspace(0, 1, 4)[:, None]
    base = [points[list(pair)].mean(0) for pair in _NOSE_BASE]
    eyes = []
    for upper, lower in _LIDS:
        above = divided(points[list(upper)], np.linspace(0, 1, 4))
        below = divided(points[list(lower)], np.linspace(0, 1, 4))
        eyes += [above, below[2:0:-1]]
    outer = points[list(_OUTER_LIPS)]
    upper_lip, lower_lip = points[94:99].copy(), points[102:99:-1]
    upper_lip[[0, -1]] = (upper_lip[[0, -1]] + points[list(_MOUTH_CORNERS)]) / 2
    return np.vstack([jaw, *brows, bridge, base, *eyes, outer, upper_lip, lower_lip])


def divided(line: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the points of a polyline at shares of its length."""
    steps = np.hypot(*np.diff(line, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    places = at * along[-1]
    return np.stack([np.interp(places, along, line[:, axis]) for axis in (0, 1)], 1)


def read_tem(path: Path) -> list[list[float]]:
    """Return the points of a WebMorph template; DataError if it is none."""
    lines = path.read_text().splitlines()
    try:
        count = int(lines[0])
        xy = [[float(field) for field in line.split()] for line in lines[1 : 1 + count]]
    except (IndexError, ValueError):
        raise DataError(f"{path}: not a WebMorph template (a count, then x and y lines)") from None
    if len(xy) != count:
        raise DataError(f"{path}: expected {count} points, found {len(xy)}")
    return xy


@lru_cache(maxsize=512)  # about 100 MB at 256²; deriving takes longer than a training step
def _read(
    photo: Path, mask: Path, marks: tuple[tuple[float, float], ...], person: str, size: int
) -> FaceSample:
    image, parts, xy = read_rgb(photo), read_values(mask), np.array(marks)
    if parts.shape != image.shape[:2] or xy.shape != (_POINTS, 2):
        raise DataError(
            f"{mask}: mask {parts.shape} and {len(xy)} points do not fit the photo "
            f"{image.shape[:2]}"
        )
    labels = derive_labels(image, parts, xy)
    points = np.vstack([xy[list(_PUPILS)], xy[list(_MOUTH_CORNERS)].mean(0)])
    return aligned(image, labels, points, person, size)


def derive_labels(
    image: NDArray[np.uint8], parts: NDArray[np.uint8], points: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return the 19-class map of a studio photo from its part mask and its own colours.

    Args:
        image: (H, W, 3) uint8.
        parts: (H, W) uint8, the part mask described above.
        points: (189, 2) landmarks in pixels.
    """
    labels = _named_parts(parts, points)
    sharp = cv2.cvtColor(np.asarray(image, np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab: Lab = np.asarray(cv2.bilateralFilter(sharp, 5, 8.0, 3.0), np.float32)
    height, width = parts.shape
    y, x = np.mgrid[:height, :width]
    chin = points[_CHIN, 1]
    eyes = points[list(_PUPILS)].mean(0)
    face = float(chin - eyes[1])

    apart = _distance(lab, _plain_background(lab, y < points[_MOUTH_CORNERS[0], 1]))
    skin_colour = np.median(lab[(labels == _SKIN) & (y < chin - 0.15 * face)], axis=0)
    from_skin = _distance(lab, skin_colour)
    free = labels == IGNORE

    backdrop = _touching_top(apart < 5)
    labels[free & backdrop & (y < chin + 0.3 * face)] = _BACKGROUND
    labels[free & backdrop & (y >= chin + 0.3 * face) & (apart < 3)] = _BACKGROUND

    solid = free & ~backdrop & (apart > 12)
    head = np.abs(x - eyes[0]) < 1.5 * face
    # A shaved head shows skin above the hairline: then nothing there is called hair.
    crown = _inside(points[list(_HEAD)], parts.shape) & free & (y < eyes[1] - 0.3 * face)
    shaved = crown.any() and np.median(from_skin[crown]) < 16
    if shaved:
        labels[crown & (from_skin < 9) & (apart > 12)] = _SKIN
    hair_colour = np.median(lab[crown & solid], axis=0) if (crown & solid).any() else skin_colour
    from_hair = _distance(lab, hair_colour)
    above = solid & head & (y < points[list(_EARS), 1].max())
    above &= from_hair < np.minimum(1.3 * from_skin, 50)
    above = _touching(above, crown & solid)
    strand = solid & head & (from_hair < np.minimum(0.7 * from_skin, 22)) & (lab[..., 0] < 70)
    strand &= y < chin + 0.2 * face  # further down it may as well be a dark coat
    if not shaved:
        labels[_largest(above | (crown & solid) | _touching(strand, above))] = _HAIR

    below = free & (labels == IGNORE) & (y > chin)
    neck = below & (from_skin < 14) & (apart > 12)
    labels[_touching(neck, labels == _NECK)] = _NECK
    low = below & (labels == IGNORE) & (y > chin + 0.3 * face)
    unlike = (from_hair > 30) & (from_skin > 30) & (apart > 15)  # neither hair nor skin
    white = (np.hypot(lab[..., 1], lab[..., 2]) < 12) & (lab[..., 0] > 75) & (apart > 5)
    labels[_largest(low & (unlike | white))] = _CLOTH

    # Strands that fall over the ears, the neck and the brow are not cut out of the part masks.
    covered = np.isin(labels, [*CELEBAMASK19.values("l_ear", "r_ear"), _NECK])
    covered |= (labels == _SKIN) & (y < eyes[1] - 0.35 * face)
    if not shaved:
        labels[covered & (from_hair < from_skin)] = IGNORE
        labels[covered & (from_hair < 0.4 * from_skin) & (y < eyes[1])] = _HAIR
    labels[np.isin(labels, [_NECK]) & (apart < 6)] = IGNORE
    return labels


def _named_parts(parts: NDArray[np.uint8], points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Rename the part mask's values, telling left from right by the face's middle line."""
    labels = np.full(parts.shape, IGNORE, np.uint8)
    for value, target in _MIDDLE.items():
        labels[parts == value] = target
    # Between closed lips the template leaves a line, where no class would draw a mouth.
    left, right, upper, lower = points[[*_MOUTH_CORNERS, *_LIPS_MEET]]
    if np.hypot(*(lower - upper)) < 0.035 * np.hypot(*(right - left)):
        labels[labels == _MOUTH] = IGNORE
    # The template's nose is a narrow bridge and two wings; CelebAMask-HQ's has flanks.
    nose = cv2.convexHull(np.argwhere(parts == 5)[:, ::-1].astype(np.int32))
    flanks = np.zeros(parts.shape, np.uint8)
    cv2.fillConvexPoly(flanks, nose, (1,))
    labels[(flanks == 1) & (labels == _SKIN)] = _NOSE
    eyes = points[list(_PUPILS)].mean(0)
    along = points[list(_MOUTH_CORNERS)].mean(0) - eyes
    y, x = np.mgrid[: parts.shape[0], : parts.shape[1]]
    image_right = (x - eyes[0]) * along[1] - (y - eyes[1]) * along[0] > 0
    for value, sides in _PAIRED.items():
        labels[parts == value] = np.where(image_right, sides[1], sides[0])[parts == value]
    return labels


def _plain_background(lab: Lab, upper: Mask) -> Lab:
    """Return (H, W, 3), the backdrop as a quadratic of the place, fitted to the picture's rim."""
    height, width = lab.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    basis = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    rim = np.zeros((height, width), bool)
    rim[: height // 20] = rim[:, : width // 20] = rim[:, -width // 20 :] = True
    rim &= upper
    a, b = basis[rim], lab[rim]
    keep = np.ones(len(a), bool)
    for _ in range(4):  # hair may touch the rim: drop what does not fit, and fit again
        fit = np.linalg.lstsq(a[keep], b[keep], rcond=None)[0]
        error = np.linalg.norm(a @ fit - b, axis=1)
        keep = error < max(3.0, 2.5 * float(np.median(error[keep])))
    return np.asarray(basis @ fit, np.float32)


def _distance(lab: Lab, colour: Any) -> Lab:
    return np.asarray(np.linalg.norm(lab - colour, axis=-1), np.float32)


def _inside(polygon: NDArray[np.float64], shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(polygon).astype(np.int32)], (1,))
    return mask.astype(bool)


def _components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    _, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return np.asarray(numbers, np.int32), np.asarray(stats, np.int32)


def _touching(mask: Mask, seed: Mask) -> Mask:
    """Return the parts of the mask that touch the seed."""
    numbers, _ = _components(mask)
    near = cv2.dilate(seed.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    wanted = np.unique(numbers[near])
    return np.isin(numbers, wanted[wanted > 0])


def _touching_top(mask: Mask) -> Mask:
    seed = np.zeros_like(mask)
    seed[0] = True
    return _touching(mask, seed)


def _largest(mask: Mask) -> Mask:
    """Return the mask without crumbs: components of less than a tenth of the largest."""
    numbers, stats = _components(mask)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas):
        return mask
    return np.isin(numbers, 1 + np.flatnonzero(areas >= areas.max() / 10))
