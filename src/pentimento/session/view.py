"""One face of one picture, seen once: its frame, its parse, its crops and its photo-sized mask.

A face is found and parsed in the FFHQ square, which cuts hair and shoulders off. Edits work in a
larger square around it, the *frame*: its rim is parsed once more from further away, and only what
continues the inner parse is believed there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.errors import MaskError
from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.ops.align import Points, crop_to_picture
from pentimento.ops.regions import Labels, falloff, resized, shrunk, upsample
from pentimento.ops.warp import Float, bounds, cut, put
from pentimento.session.faces import Face, Parser, Where, choose_face
from pentimento.structures import LabelMap, Picture

ZOOM: Final = 1.4
"""Side of the frame over the side of the FFHQ square."""
_SURE: Final = 0.2  # a class that nowhere reaches this probability wins nowhere that matters
_FRONT: Final = CELEBAMASK19.values(
    "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"
)
_CAP: Final = 0.3  # of the hair's area
_SPECK: Final = 1.2e-3  # of the frame: smaller pieces of large classes are mistakes


@dataclass(frozen=True, eq=False)
class View:
    """A picture with one parsed face; immutable, and everything derived is computed once.

    Attributes:
        picture: the picture as opened.
        rgb: (H, W, 3) uint8, its pixels as a model sees them.
        face: the face that is meant.
        zoom: side of the frame over the side of the face's square.
        probabilities: (19, s, s) float32 class probabilities in the frame.
    """

    picture: Picture
    rgb: NDArray[np.uint8]
    face: Face
    zoom: float
    probabilities: Float

    def matrix(self, side: int) -> Points:
        """Return the (2, 3) map from `side`-pixel frame coordinates to picture pixels."""
        return crop_to_picture(zoomed(self.face.quad, self.zoom), side)

    @lru_cache(maxsize=4)  # noqa: B019 - few crops are kept, whatever the number of views
    def crop(self, side: int) -> Float:
        """Return the frame (side, side, 3), 0..255."""
        return cut(self.rgb, self.matrix(side), side)

    @lru_cache(maxsize=4)  # noqa: B019
    def labels(self, side: int) -> Labels:
        """Return the label map of the frame (side, side)."""
        return upsample(self.probabilities, side)

    def fitting(self, side: int, zoom: float) -> tuple[Float, Labels]:
        """Return crop and labels in a frame of another zoom; background where none was parsed."""
        if zoom == self.zoom:
            return self.crop(side), self.labels(side)
        image = cut(self.rgb, crop_to_picture(zoomed(self.face.quad, zoom), side), side)
        own = self.labels(round(side * self.zoom / zoom))
        labels = np.zeros((side, side), np.uint8)
        there, here = (max(0, (a - b) // 2) for a, b in ((side, len(own)), (len(own), side)))
        span = min(side, len(own))
        labels[there : there + span, there : there + span] = own[
            here : here + span, here : here + span
        ]
        return image, labels

    @property
    def aligned_size(self) -> int:
        """Side of the aligned face that was parsed, in the parser's pixels."""
        return round(len(self.probabilities[0]) / self.zoom)

    @lru_cache(maxsize=4)  # noqa: B019
    def aligned_crop(self, size: int) -> NDArray[np.uint8]:
        """Return the FFHQ square (size, size, 3), as models are trained on it."""
        return np.rint(cut(self.rgb, self.face.matrix(size), size)).astype(np.uint8)

    @lru_cache(maxsize=4)  # noqa: B019
    def aligned_labels(self, size: int) -> Labels:
        """Return the label map of the FFHQ square (size, size)."""
        side = round(size * self.zoom)
        start = (side - size) // 2
        return self.labels(side)[start : start + size, start : start + size]

    @cached_property
    def label_map(self) -> LabelMap:
        """The parse in the photo's own size; background beyond the frame."""
        height, width = self.rgb.shape[:2]
        small = self.probabilities.shape[-1]
        matrix = self.matrix(small)
        box = bounds(matrix, small, height, width)
        left, top, right, bottom = box
        values = np.zeros((height, width), np.uint8)
        best = put(self.probabilities[0], matrix, box, linear=True)
        found = np.zeros(best.shape, np.uint8)
        for value, plane in enumerate(self.probabilities[1:], 1):
            if plane.max() < _SURE:
                continue
            there = put(plane, matrix, box, linear=True)
            wins = there > best
            best[wins], found[wins] = there[wins], value
        values[top:bottom, left:right] = found
        return LabelMap(values)

    def edited(self, mask: LabelMap, name: str, side: int) -> tuple[Labels, NDArray[np.bool_], int]:
        """Read an edited mask in the frame.

        Args:
            mask: of the photo's size, or of the size of the aligned face that was parsed.
            name: what errors call the mask.
            side: side of the frame to answer in.

        Returns:
            The mask's labels (side, side); where they differ from the parse (side, side); and how
            many changed pixels of a photo-sized mask lie beyond the frame.

        Raises:
            MaskError: the mask has another size.
        """
        height, width = self.rgb.shape[:2]
        small = self.aligned_size
        wanted = mask.remap(CELEBAMASK19).values
        matrix = self.matrix(side)
        if wanted.shape == (height, width):
            changed = (wanted != self.label_map.values) & (wanted != IGNORE)
            outside = int(changed.sum())
            left, top, right, bottom = bounds(matrix, side, height, width)
            window = (slice(top, bottom), slice(left, right))
            shift = matrix - np.array([[0, 0, left], [0, 0, top]])
            outside -= int(changed[window].sum())
            return (
                _sample(wanted[window], shift, side),
                _share(changed[window], shift, side),
                outside,
            )
        if wanted.shape == (small, small):
            changed = (wanted != self.aligned_labels(small)) & (wanted != IGNORE)
            scale = small * self.zoom / side
            inset = small * (1 - self.zoom) / 2
            there = np.array([[scale, 0, inset], [0, scale, inset]])
            within = cut(np.full((small, small), 255, np.uint8), there, side, outside=0) > 127
            return _sample(wanted, there, side), _share(changed, there, side) & within, 0
        raise MaskError(
            f"{name} is {wanted.shape[1]}x{wanted.shape[0]} pixels; a mask of {self.picture.name} "
            f"is {width}x{height} (the photo) or {small}x{small} (its aligned face). "
            "Edit the file that `pentimento parse` wrote and keep its size."
        )

    def painted(self, layer: LabelMap, name: str, side: int) -> tuple[Labels, NDArray[np.bool_]]:
        """Read a painted layer of the frame.

        Args:
            layer: (F, F) of any F; `IGNORE` where nothing was painted.
            name: what errors call it.
            side: side of the frame to answer in.

        Returns:
            The layer's labels (side, side), and where something was painted (side, side).

        Raises:
            MaskError: the layer is not square.
        """
        values = layer.remap(CELEBAMASK19).values
        height, width = values.shape
        if height != width:
            raise MaskError(f"{name} is {width}x{height} pixels; a painted layer is square")
        laid = values != IGNORE
        if width == side:
            return values, laid
        return resized(values, side, np.unique(values[laid])), shrunk(laid, side)


def _sample(labels: Labels, matrix: NDArray[Any], side: int) -> Labels:
    """Return labels seen through an affine map: the class that covers most of each crop pixel."""
    best = np.full((side, side), 0.0, np.float32)
    seen = np.zeros((side, side), np.uint8)
    for value in np.unique(labels):
        cover = cut((labels == value).astype(np.uint8) * 255, matrix, side)
        wins = cover > best
        best[wins], seen[wins] = cover[wins], value
    return seen


def _share(mask: NDArray[np.bool_], matrix: NDArray[Any], side: int) -> NDArray[np.bool_]:
    """Return which crop pixels are covered by the mask, by half or more."""
    if not mask.any():
        return np.zeros((side, side), np.bool_)
    return np.asarray(cut(mask.astype(np.uint8) * 255, matrix, side) >= 127.5)


def zoomed(quad: Points, factor: float) -> Points:
    """Return a square enlarged about its centre."""
    centre = quad.mean(0)
    return np.asarray(centre + factor * (quad - centre))


def see(
    picture: Picture,
    rgb: NDArray[np.uint8],
    parser: Parser,
    where: Where,
    found: Sequence[Face] | None = None,
) -> View:
    """Find and parse one face of a picture; `found` are its faces where they are known already.

    Raises:
        FaceError: no such face.
    """
    face = choose_face(rgb, parser, where, picture.name, found=found)
    inner = _parsed(rgb, face.quad, parser)
    if where.aligned:
        return View(picture, rgb, face, 1.0, tidied(inner, 1.0))
    small = parser.size
    side = small + 2 * round(small * (ZOOM - 1) / 2)  # whole pixels around the inner square
    quad = zoomed(face.quad, side / small)
    joined = _joined(inner, _parsed(rgb, quad, parser), side)
    inside = cut(np.ones(rgb.shape[:2], np.uint8), crop_to_picture(quad, side), side, outside=0)
    joined[1:] *= inside > 0.5  # beyond the picture there is nothing to be seen
    joined[0][inside <= 0.5] = 1
    return View(picture, rgb, face, side / small, tidied(joined, side / small))


def _parsed(rgb: NDArray[np.uint8], quad: Points, parser: Parser) -> Float:
    crop = cut(rgb, crop_to_picture(quad, parser.size), parser.size)
    return parser.probabilities(np.rint(crop).astype(np.uint8), tta=True)


def _joined(inner: Float, outer: Float, side: int) -> Float:
    """Return probabilities of the frame: the inner parse, and around it the one from afar."""
    small = inner.shape[-1]
    start = (side - small) // 2
    window = slice(start, start + small)
    middle = np.zeros((side, side), np.bool_)
    rim = max(2, small // 16)
    middle[start + rim : start + small - rim, start + rim : start + small - rim] = True
    share = falloff(middle, rim)
    joined = np.stack([cv2.resize(plane, (side, side)) for plane in outer])
    joined[list(_FRONT)] = 0  # no second face in the rim
    joined *= 1 - share
    joined[:, window, window] += share[window, window] * inner
    return np.asarray(joined, np.float32)


def tidied(probabilities: Float, zoom: float) -> Float:
    """Return the probabilities without specks of large classes and strays unconnected to the face.

    A piece of background, skin, neck, clothes, hair or hat that is tiny, or that nowhere reaches
    into the face's square, loses its class; the next probable one takes its place. Of an eye or a
    brow the largest piece stays: the others are wrinkles and shadows.
    """
    result = probabilities.copy()
    side = result.shape[-1]
    labels = result.argmax(0)
    hat, hair = CELEBAMASK19.values("hat", "hair")
    if (labels == hat).sum() < _CAP * (labels == hair).sum():  # no hat is that small
        result[hair] += result[hat]
        result[hat] = 0
    middle = np.zeros((side, side), np.bool_)
    rim = round(side * (1 - 1 / zoom) / 2)
    middle[rim : side - rim, rim : side - rim] = True
    labels = result.argmax(0)
    for value in CELEBAMASK19.values("background", "skin", "neck", "cloth", "hair", "hat"):
        mask = (labels == value).astype(np.uint8)
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask)
        reached = np.zeros(count, np.bool_)
        reached[np.unique(pieces[middle])] = True
        small = stats[:, cv2.CC_STAT_AREA] < _SPECK * side * side
        lost = small | (~reached if value else small)
        lost[0] = False
        result[value][lost[pieces]] = 0
    for value in CELEBAMASK19.values("l_eye", "r_eye", "l_brow", "r_brow"):
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(
            (labels == value).astype(np.uint8)
        )
        if count > 2:
            largest = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
            result[value][(pieces > 0) & (pieces != largest)] = 0
    return result


def place(
    painted: Float, source: Float, keep: Float, weight: Float, view: View
) -> tuple[Float, Float, tuple[int, int, int, int]]:
    """Bring a painted crop back into the photo.

    Where the painting only re-tones what is there (`keep` = 1), the photo's detail finer than the
    crop stays; where it puts something else (`keep` = 0), the photo's own detail is dropped.

    Args:
        painted: (S, S, 3) the new crop.
        source: (S, S, 3) the crop it was painted from.
        keep: (S, S) in [0, 1].
        weight: (S, S) in [0, 1]; exactly 0 where nothing may change.
        view: the photo and the face's frame.

    Returns:
        New colours (h, w, 3), their weights (h, w), and the box (left, top, right, bottom) in the
        photo that they cover; an empty box if nothing changes.
    """
    height, width = view.rgb.shape[:2]
    side = painted.shape[0]
    ys, xs = np.nonzero(weight)
    if not len(xs):
        return np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), np.float32), (0, 0, 0, 0)
    matrix = view.matrix(side)
    corners = np.array(
        [[x, y, 1.0] for x in (xs.min(), xs.max() + 1) for y in (ys.min(), ys.max() + 1)]
    )
    touched = corners @ matrix.T
    left, top = np.maximum(np.floor(touched.min(0)).astype(int) - 2, 0)
    right, bottom = np.minimum(np.ceil(touched.max(0)).astype(int) + 2, [width, height])
    if right <= left or bottom <= top:
        return np.zeros((0, 0, 3), np.float32), np.zeros((0, 0), np.float32), (0, 0, 0, 0)
    box = (int(left), int(top), int(right), int(bottom))
    under = view.rgb[top:bottom, left:right].astype(np.float32)
    own = put(keep, matrix, box, linear=True)[..., None]
    colours = put(painted, matrix, box) + np.clip(own, 0, 1) * (under - put(source, matrix, box))
    share = np.clip(put(weight, matrix, box, linear=True), 0, 1)
    return np.clip(colours, 0, 255), np.where(share > 1 / 512, share, 0).astype(np.float32), box
