"""Finding the face: a loose box from a cascade, then the parser itself settles eyes and mouth.

scikit-image's bundled LBP cascade (Ojala's local binary patterns, frontal faces) proposes squares;
the face parser looks into each, its eye and mouth regions give the FFHQ frame (`ops.align`), and
the crop is parsed again in that frame until it rests. A square in which the parser does not see a
plausible face is dropped, so the cascade may be generous.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.errors import FaceError
from pentimento.labels import CELEBAMASK19
from pentimento.ops.align import Points, crop_to_picture, ffhq_quad
from pentimento.ops.warp import cut

HOW_TO_POINT: Final = (
    "Say where it is: --points 'x,y x,y x,y' (two eyes and the mouth, in pixels), "
    "--box left,top,right,bottom, or --aligned if the picture is already a face crop."
)
_SEARCH_SIDE: Final = 480  # px, long side of the picture the cascade scans
_BOX_TO_SIDE: Final = 1.55  # FFHQ side over cascade width: median over frontal studio portraits
_RESTS: Final = 0.006  # of the side: the frame no longer moves
_ROUNDS: Final = 5


class Parser(Protocol):
    """What this package needs of a face parser."""

    @property
    def size(self) -> int:
        """Side of the crop it looks at, in pixels."""
        ...

    def probabilities(self, image: NDArray[np.uint8], *, flip: bool = False) -> NDArray[np.float32]:
        """Return (19, S, S) class probabilities (CelebAMask-HQ order) of (S, S, 3) uint8 RGB.

        With `flip` the mirrored face is asked too and both answers are averaged.
        """
        ...


@dataclass(frozen=True)
class Face:
    """One face of a picture; all coordinates in picture pixels.

    Attributes:
        quad: (4, 2) corners of its FFHQ square: top-left, bottom-left, bottom-right, top-right.
        score: mean probability that the parser gives to the parts of the face; 1 where a person
            said where the face is.
        eyes: (2, 2) eye centres, the one on the picture's left first; None in an aligned crop.
        mouth: (2,) middle between the mouth corners, or None.
    """

    quad: Points
    score: float = 1.0
    eyes: Points | None = None
    mouth: Points | None = None

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
    return Face(ffhq_quad(left, right, mouth), eyes=np.stack([left, right]), mouth=mouth)


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
    return Face(_square(x, y, _BOX_TO_SIDE * width))


def aligned_face(height: int, width: int) -> Face:
    """Return the face of a picture that is itself an aligned crop: its largest centred square."""
    return Face(_square(width / 2, height / 2, min(height, width)))


def _square(x: float, y: float, side: float, angle: float = 0.0) -> Points:
    """Return the corners of a square, turned by `angle` radians (clockwise on screen)."""
    half = side / 2 * np.array([[-1.0, -1], [-1, 1], [1, 1], [1, -1]])
    c, s = math.cos(angle), math.sin(angle)
    return np.asarray(half @ np.array([[c, s], [-s, c]]) + [x, y])


@cache
def _cascade() -> Any:
    """Return scikit-image's frontal-face cascade."""
    from skimage.data import lbp_frontal_face_cascade_filename
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())  # type: ignore[no-untyped-call]  # untyped


def _detections(grey: NDArray[np.uint8]) -> list[tuple[float, float, float]]:
    """Return cascade answers as (centre x, centre y, width) in pixels of `grey`."""
    short = min(grey.shape)
    if short < 32:  # smaller than the cascade's own 24-pixel window with its padding
        return []
    found = _cascade().detect_multi_scale(
        grey,
        scale_factor=1.2,
        step_ratio=1,
        min_size=(max(24, short // 14),) * 2,
        max_size=(short, short),
    )
    return [(f["c"] + f["width"] / 2, f["r"] + f["height"] / 2, float(f["width"])) for f in found]


def _candidates(rgb: NDArray[np.uint8]) -> Iterator[list[Points]]:
    """Yield rounds of squares to look into, the likeliest round first."""
    height, width = rgb.shape[:2]
    factor = min(1.0, _SEARCH_SIDE / max(height, width))
    small = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    h, w = grey.shape
    pad = max(h, w) // 4  # a face that fills the picture lies outside every cascade window
    padded = cv2.copyMakeBorder(grey, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    for angle, image, offset in (
        (0.0, grey, 0),
        (0.0, padded, pad),
        (-20.0, grey, 0),
        (20.0, grey, 0),
    ):
        turn = cv2.getRotationMatrix2D((w / 2, h / 2), angle, 1.0)
        turned = image
        if angle:
            turned = cv2.warpAffine(image, turn, (w, h), borderMode=cv2.BORDER_REPLICATE)
        back = cv2.invertAffineTransform(turn) if angle else np.eye(2, 3)
        squares = []
        for x, y, size in _detections(np.asarray(turned, np.uint8)):
            cx, cy = back @ [x - offset, y - offset - 0.06 * size, 1.0]
            side = _BOX_TO_SIDE * size / factor
            squares.append(_square(cx / factor, cy / factor, side, math.radians(angle)))
        yield squares
    short, long = min(height, width), max(height, width)
    if long <= 2 * short:  # a portrait that the cascade missed: look at the picture itself
        yield [
            _square(width / 2, height / 2 + dy * short, short * share)
            for share in (1.0, 0.8, 0.62)
            for dy in ((0.0,) if share == 1.0 else (0.0, -0.12))
        ]


def _landmarks(probabilities: NDArray[np.float32]) -> tuple[Points, float] | None:
    """Return eyes and mouth (3, 2) in crop pixels and a score, or None for an implausible face."""
    size = probabilities.shape[-1]
    labels = probabilities.argmax(0)
    best = probabilities.max(0)
    area = float(size * size)

    def where(*names: str) -> NDArray[np.bool_]:
        return np.isin(labels, CELEBAMASK19.values(*names))

    def centre(mask: NDArray[np.bool_]) -> Points | None:
        y, x = np.nonzero(_largest(mask))
        return np.array([x.mean() + 0.5, y.mean() + 0.5]) if len(x) > 4e-4 * area else None

    left, right = centre(where("r_eye")), centre(where("l_eye"))
    if (left is None or right is None) and where("eye_g").any():  # dark glasses hide the eyes
        glasses = where("eye_g")
        middle = np.nonzero(glasses)[1].mean()
        columns = np.arange(size)[None, :]
        left = left if left is not None else centre(glasses & (columns < middle))
        right = right if right is not None else centre(glasses & (columns >= middle))
    lips = _largest(where("mouth", "u_lip", "l_lip"))
    lip_y, lip_x = np.nonzero(lips)
    if left is None or right is None or len(lip_x) < 1e-3 * area:
        return None
    ends = np.quantile(lip_x, [0.02, 0.98])
    corners = [lip_y[np.abs(lip_x - end) <= 0.012 * size].mean() for end in ends]
    mouth = np.array([ends.mean() + 0.5, np.mean(corners) + 0.5])

    across, down = right - left, mouth - (left + right) / 2
    apart = float(np.hypot(*across))
    upright = (across[0] * down[1] - across[1] * down[0]) / max(apart, 1e-6) ** 2
    face = where("skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip")
    score = float(best[face].mean()) if face.any() else 0.0
    plausible = (
        across[0] > 0
        and 0.08 * size < apart < 0.6 * size
        and 0.45 < upright < 2.2
        and abs(float(across @ down)) < 0.8 * apart**2
        and 0.03 * area < face.sum() < 0.85 * area
        and score > 0.55
    )
    return (np.stack([left, right, mouth]), score) if plausible else None


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest connected piece of a mask."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if len(stats) < 2:
        return mask
    return np.asarray(pieces == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))


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
        seen = _landmarks(parser.probabilities(crop))
        if seen is None:
            return None
        points, score = seen
        left, right, mouth = np.column_stack([points, np.ones(3)]) @ matrix.T
        face = Face(ffhq_quad(left, right, mouth), score, np.stack([left, right]), mouth)
        moved = np.abs(face.quad - quad).max() / face.side
        quad = face.quad
        if moved < _RESTS:
            break
    return face


def find_faces(rgb: NDArray[np.uint8], parser: Parser) -> list[Face]:
    """Return the faces of a picture, the largest first; empty if there is none to be seen.

    Args:
        rgb: (H, W, 3) uint8, upright.
        parser: the face parser that confirms and places each face.
    """
    for squares in _candidates(rgb):
        faces: list[Face] = []
        for quad in sorted(squares, key=lambda q: -float(np.ptp(q[:, 0]))):
            face = settle(rgb, parser, quad)
            if face is None:
                continue
            same = [
                i
                for i, other in enumerate(faces)
                if np.hypot(*(face.quad.mean(0) - other.quad.mean(0))) < 0.3 * other.side
            ]
            if not same:
                faces.append(face)
            elif face.score > faces[same[0]].score:
                faces[same[0]] = face
        if faces:
            return sorted(faces, key=lambda face: -face.side)
    return []


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
    found: Sequence[Face] | None = None,
) -> Face:
    """Return the one face that `where` means; `found` spares the search where it was made before.

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
        faces = find_faces(rgb, parser) if found is None else found
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
