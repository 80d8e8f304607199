"""One face of one picture, seen once: its frame, its parse, its crops and its photo-sized mask."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pentimento.errors import MaskError
from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.ops.regions import Labels, upsample
from pentimento.ops.warp import Float, bounds, cut, put
from pentimento.session.faces import Face, Parser, Where, choose_face
from pentimento.structures import LabelMap, Picture

_SURE = 0.2  # a class that nowhere reaches this probability wins nowhere that matters


@dataclass(frozen=True)
class View:
    """A picture with one parsed face; immutable, and everything derived is computed once.

    Attributes:
        picture: the picture as opened.
        rgb: (H, W, 3) uint8, its pixels as a model sees them.
        face: the face that is meant.
        probabilities: (19, s, s) float32 class probabilities in the face's aligned crop.
    """

    picture: Picture
    rgb: NDArray[np.uint8]
    face: Face
    probabilities: Float

    def __hash__(self) -> int:
        """Views are compared by identity; arrays have no cheap hash."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """Return whether this is the very same view."""
        return self is other

    @lru_cache(maxsize=4)  # noqa: B019 - views are few and short-lived; sides are two or three
    def crop(self, side: int) -> Float:
        """Return the aligned crop (side, side, 3), 0..255."""
        return cut(self.rgb, self.face.matrix(side), side)

    @lru_cache(maxsize=4)  # noqa: B019
    def labels(self, side: int) -> Labels:
        """Return the label map of the aligned crop (side, side)."""
        return upsample(self.probabilities, side)

    @cached_property
    def label_map(self) -> LabelMap:
        """The parse in the photo's own size; background beyond the face's square."""
        height, width = self.rgb.shape[:2]
        small = self.probabilities.shape[-1]
        matrix = self.face.matrix(small)
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
        """Read an edited mask in the frame of the aligned crop.

        Args:
            mask: of the photo's size, or of the size of the aligned crop that was parsed.
            name: what errors call the mask.
            side: side of the crop to answer in.

        Returns:
            The mask's labels (side, side); where they differ from the parse (side, side); and how
            many changed pixels of a photo-sized mask lie beyond the face's square.

        Raises:
            MaskError: the mask has another size.
        """
        height, width = self.rgb.shape[:2]
        small = self.probabilities.shape[-1]
        wanted = mask.remap(CELEBAMASK19).values
        matrix = self.face.matrix(side)
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
            changed = (wanted != self.labels(small)) & (wanted != IGNORE)
            scale = np.array([[small / side, 0, 0], [0, small / side, 0]])
            return _sample(wanted, scale, side), _share(changed, scale, side), 0
        raise MaskError(
            f"{name} is {wanted.shape[1]}x{wanted.shape[0]} pixels; a mask of {self.picture.name} "
            f"is {width}x{height} (the photo) or {small}x{small} (its aligned face). "
            "Edit the file that `pentimento parse` wrote and keep its size."
        )


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


def see(picture: Picture, rgb: NDArray[np.uint8], parser: Parser, where: Where) -> View:
    """Find and parse one face of a picture.

    Raises:
        FaceError: no such face.
    """
    face = choose_face(rgb, parser, where, picture.name)
    size = parser.size
    crop = np.rint(cut(rgb, face.matrix(size), size)).astype(np.uint8)
    return View(picture, rgb, face, parser.probabilities(crop))


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
    matrix = view.face.matrix(side)
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
