"""Finding the face to be edited: the face finder says where, the parser settles the exact frame.

The finder's five points give the FFHQ square (`ops.align`) of every face; the face parser looks
into it, its eye and mouth regions give a better square, and the crop is parsed again in that frame
until it rests. A square in which the parser sees no plausible face is dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pentimento.errors import FaceError
from pentimento.labels import CELEBAMASK19
from pentimento.ops.align import Points, crop_to_picture, ffhq_quad
from pentimento.ops.face_points import five_points
from pentimento.ops.warp import cut
from pentimento.session.detect import Finder, detect
from pentimento.session.models import load_finder

HOW_TO_POINT: Final = (
    "Say where it is: --points 'x,y x,y x,y' (two eyes and the mouth, in pixels), "
    "--box left,top,right,bottom, or --aligned if the picture is already a face crop."
)
_BOX_TO_SIDE: Final = 1.55  # FFHQ side over the width of a box from brows to chin
_SURE: Final = 0.9  # a face of which the finder is so sure need not be plain to the parser
_FACE: Final = CELEBAMASK19.values(
    "skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"
)
_RESTS: Final = 0.006  # of the side: the frame no longer moves
_ROUNDS: Final = 5


class Parser(Protocol):
    """What this package needs of a face parser."""

    @property
    def size(self) -> int:
        """Side of the crop it looks at, in pixels."""
        ...

    def probabilities(self, image: NDArray[np.uint8], *, tta: bool = False) -> NDArray[np.float32]:
        """Return (19, S, S) class probabilities (CelebAMask-HQ order) of (S, S, 3) uint8 RGB.

        With `tta` the answers for several views of the face are averaged.
        """
        ...


@dataclass(frozen=True)
class Face:
    """One face of a picture; all coordinates in picture pixels.

    Attributes:
        quad: (4, 2) corners of its FFHQ square: top-left, bottom-left, bottom-right, top-right.
        score: mean probability that the parser gives to the parts of the face, or the finder's
            where the parser is at a loss; 1 where a person said where the face is.
        points: (5, 2) eyes, nose and mouth corners as in `ops/face_points.py`, or None.
    """

    quad: Points
    score: float = 1.0
    points: Points | None = None

    @property
    def side(self) -> float:
        """Length of the square's side in picture pixels."""
        return float(np.hypot(*(self.quad[3] - self.quad[0])))

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) around the square."""
        left, top = self.quad.min(0)
        right, bottom = self.quad.max(0)
        return float(left), float(top), float(right), float(bottom)

    def matrix(self, size: int) -> Points:
        """Return the (2, 3) map from `size`-pixel crop coordinates to picture pixels."""
        return crop_to_picture(self.quad, size)


def face_from_points(points: Sequence[tuple[float, float]]) -> Face:
    """Return the face that three points (eyes, mouth) or five (eyes, nose, mouth corners) mark.

    Raises:
        FaceError: another number of points, or points that span no face.
    """
    array = np.asarray(points, np.float64)
    if array.shape not in ((3, 2), (5, 2)) or not np.isfinite(array).all():
        raise FaceError(
            "points are three x,y pairs (two eyes, the mouth) or five (two eyes, the nose, two "
            f"mouth corners); got {len(points)}"
        )
    left, right = array[0], array[1]
    mouth = array[2] if len(array) == 3 else array[3:].mean(0)
    across, down = right - left, mouth - (left + right) / 2
    if across[0] * down[1] - across[1] * down[0] < 0:  # the eyes came right to left
        left, right = right, left
    if np.hypot(*across) < 2 or np.hypot(*down) < 2:
        raise FaceError("the points lie on each other: give eyes and mouth of one face")
    return Face(ffhq_quad(left, right, mouth))


def face_from_box(box: Sequence[float]) -> Face:
    """Return the loose, upright square around a face box (brows to chin).

    Raises:
        FaceError: not four numbers, or an empty box.
    """
    if len(box) != 4 or not (box[2] > box[0] and box[3] > box[1]):
        raise FaceError(
            f"a box is left,top,right,bottom with left < right and top < bottom; got {tuple(box)}"
        )
    width = max(box[2] - box[0], box[3] - box[1])
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2 - 0.06 * width
    return Face(square(x, y, _BOX_TO_SIDE * width))


def aligned_face(height: int, width: int) -> Face:
    """Return the face of a picture that is itself an aligned crop: its largest centred square."""
    return Face(square(width / 2, height / 2, min(height, width)))


def square(x: float, y: float, side: float) -> Points:
    """Return the corners of an upright square: top-left, bottom-left, bottom-right, top-right."""
    half = side / 2 * np.array([[-1.0, -1], [-1, 1], [1, 1], [1, -1]])
    return np.asarray(half + np.array([x, y]))


def _frame(points: Points) -> Points:
    """Return the FFHQ square of five points."""
    return ffhq_quad(points[0], points[1], points[3:].mean(0))


def _plausible(probabilities: NDArray[np.float32]) -> tuple[Points, float] | None:
    """Return five points (5, 2) in crop pixels and a score, or None for an implausible face."""
    size = probabilities.shape[-1]
    labels = probabilities.argmax(0).astype(np.uint8)
    points = five_points(labels)
    if points is None:
        return None
    left, right = points[:2]
    across, down = right - left, points[3:].mean(0) - (left + right) / 2
    apart = float(np.hypot(*across))
    upright = (across[0] * down[1] - across[1] * down[0]) / max(apart, 1e-6) ** 2
    face = np.isin(labels, _FACE)
    score = float(probabilities.max(0)[face].mean()) if face.any() else 0.0
    plausible = (
        across[0] > 0
        and 0.08 * size < apart < 0.6 * size
        and 0.45 < upright < 2.2
        and abs(float(across @ down)) < 0.8 * apart**2
        and 0.03 < face.mean() < 0.85
        and score > 0.55
    )
    return (points, score) if plausible else None


def settle(rgb: NDArray[np.uint8], parser: Parser, quad: Points) -> Face | None:
    """Return the face seen in a loose square, its frame refined until it rests; None if none.

    Args:
        rgb: (H, W, 3) the picture.
        parser: the face parser that looks.
        quad: (4, 2) corners of the square to start from.
    """
    face: Face | None = None
    for _ in range(_ROUNDS):
        matrix = crop_to_picture(quad, parser.size)
        crop = np.rint(cut(rgb, matrix, parser.size)).astype(np.uint8)
        seen = _plausible(parser.probabilities(crop))
        if seen is None:
            return None
        points = np.column_stack([seen[0], np.ones(5)]) @ matrix.T
        face = Face(_frame(points), seen[1], points)
        moved = np.abs(face.quad - quad).max() / face.side
        quad = face.quad
        if moved < _RESTS:
            break
    return face


def find_faces(rgb: NDArray[np.uint8], parser: Parser, finder: Finder | None = None) -> list[Face]:
    """Return the faces of a picture, the largest first; empty if there is none to be seen.

    Arguments as for `seek_faces`.
    """
    return list(seek_faces(rgb, parser, finder))


def seek_faces(
    rgb: NDArray[np.uint8], parser: Parser, finder: Finder | None = None
) -> Iterator[Face]:
    """Yield the faces of a picture, the largest first; nothing if there is none to be seen.

    A face is settled by the parser when it is asked for: the largest of a crowd comes at once.

    Args:
        rgb: (H, W, 3) uint8, upright.
        parser: the face parser that confirms and places each face.
        finder: the face finder; the bundled one by default.
    """
    none = True
    for seen in detect(rgb, finder or load_finder()):
        face = settle(rgb, parser, _frame(seen.points))
        if face is None and seen.score > _SURE:
            face = Face(_frame(seen.points), seen.score, seen.points)
        if face is not None:
            none = False
            yield face
    height, width = rgb.shape[:2]
    short, long = min(height, width), max(height, width)
    if none and long <= 2 * short:  # perhaps a portrait after all: let the parser look for itself
        for share, dy in ((1.0, 0.0), (0.8, 0.0), (0.8, -0.12), (0.62, 0.0), (0.62, -0.12)):
            face = settle(rgb, parser, square(width / 2, height / 2 + dy * short, short * share))
            if face is not None:
                yield face
                return


@dataclass(frozen=True)
class Where:
    """What a person says about where the face is; nothing said means: look for it.

    Attributes:
        index: which of the found faces, 1 = the largest.
        points: three or five points, see `face_from_points`.
        box: a face box, see `face_from_box`; the parser refines it where it can.
        aligned: the picture is already an aligned crop.
    """

    index: int = 1
    points: tuple[tuple[float, float], ...] = ()
    box: tuple[float, float, float, float] | None = None
    aligned: bool = False

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        if bool(self.points) + (self.box is not None) + self.aligned > 1:
            raise FaceError("give points, a box or 'aligned': one of them, not several")
        if self.index < 1:
            raise FaceError(f"faces are counted from 1, the largest; got {self.index}")


LARGEST: Final = Where()
"""Nothing said: the largest face."""


def choose_face(
    rgb: NDArray[np.uint8],
    parser: Parser,
    where: Where,
    name: str,
    finder: Finder | None = None,
    found: Sequence[Face] | None = None,
) -> Face:
    """Return the one face that `where` means.

    If nothing is said it is looked for by `seek_faces`, unless `found` has the faces already.

    Raises:
        FaceError: there is no such face; the message says how to point at it.
    """
    height, width = rgb.shape[:2]
    if where.aligned:
        return aligned_face(height, width)
    if where.points:
        face = face_from_points(where.points)
    elif where.box is not None:
        loose = face_from_box(where.box)
        face = settle(rgb, parser, loose.quad) or replace(loose, score=0.0)
    else:
        sought = seek_faces(rgb, parser, finder) if found is None else found
        faces = list(islice(sought, where.index))
        if not faces:
            raise FaceError(f"{name}: no face found. {HOW_TO_POINT}")
        if where.index > len(faces):
            raise FaceError(
                f"{name}: face {where.index} was asked for, but {len(faces)} "
                f"{'face was' if len(faces) == 1 else 'faces were'} found. {HOW_TO_POINT}"
            )
        face = faces[where.index - 1]
    x, y = face.quad.mean(0)
    if not (0 <= x < width and 0 <= y < height):
        raise FaceError(f"{name}: the face lies outside the picture of {width}x{height} pixels")
    return face
