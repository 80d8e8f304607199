"""The 68 landmarks of a face that was found: look, place the crop by what was seen, look again."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pentimento.errors import FaceError
from pentimento.ops.align import crop_to_picture
from pentimento.ops.landmarks import crop_of, roll_of
from pentimento.ops.warp import cut
from pentimento.structures import Keypoints

# Where a landmark crop lies: its middle and its side, as shares of the FFHQ square, and of the
# height of a face box (forehead to chin). Means over rendered portraits and London photos.
_IN_SQUARE: Final = (0.5, 0.643, 0.775)
_IN_BOX: Final = (0.5, 0.654, 0.94)


class Marker(Protocol):
    """What this module needs of a landmark model."""

    @property
    def size(self) -> int:
        """Side of the crop it looks at, in pixels."""
        ...

    def predict(self, image: NDArray[np.uint8], *, flip: bool = False) -> NDArray[np.float32]:
        """Return (68, 2) points in pixels of an (S, S, 3) uint8 RGB crop."""
        ...


class Placed(Protocol):
    """A face that was found, such as `session.faces.Face`."""

    @property
    def quad(self) -> NDArray[np.float64]:
        """(4, 2) corners of its FFHQ square in picture pixels: tl, bl, br, tr."""
        ...


def landmarks(
    rgb: NDArray[np.uint8], face: Placed, model: Marker, *, rounds: int = 2, flip: bool = False
) -> Keypoints:
    """Return the 68 landmarks (iBUG 300-W order) of a face, in picture pixels.

    Args:
        rgb: (H, W, 3) uint8, upright.
        face: where the face is.
        model: as `session.models.load_landmarks` returns it.
        rounds: looks; each after the first takes its crop, turned upright, from the points before.
        flip: average with the mirrored crop; a little better, twice as slow.

    Returns:
        Points; `visible` is False for those outside of the picture.
    """
    x, y, share = _IN_SQUARE
    right, down = face.quad[3] - face.quad[0], face.quad[1] - face.quad[0]
    middle = face.quad[0] + x * right + y * down
    half_x, half_y = right * share / 2, down * share / 2
    quad = middle + np.stack([-half_x - half_y, -half_x + half_y, half_x + half_y, half_x - half_y])
    return _marked(rgb, quad, model, rounds, flip)


def landmarks_in_box(
    rgb: NDArray[np.uint8],
    box: Sequence[float],
    model: Marker,
    *,
    rounds: int = 2,
    flip: bool = False,
) -> Keypoints:
    """Return the 68 landmarks of the face in a box (left, top, right, bottom; forehead to chin).

    Raises:
        FaceError: the box is empty.
    """
    left, top, right, bottom = (float(edge) for edge in box)
    if not (right > left and bottom > top):
        raise FaceError(f"an empty box {tuple(box)} holds no face")
    x, y, share = _IN_BOX
    middle = np.array([left + x * (right - left), top + y * (bottom - top)])
    half = share * max(bottom - top, right - left) / 2
    quad = middle + half * np.array([[-1.0, -1], [-1, 1], [1, 1], [1, -1]])
    return _marked(rgb, quad, model, rounds, flip)


def _marked(
    rgb: NDArray[np.uint8], quad: NDArray[Any], model: Marker, rounds: int, flip: bool
) -> Keypoints:
    if rounds < 1:
        raise ValueError(f"a face must be looked at once at least, got {rounds} rounds")
    points = np.zeros((68, 2))
    for number in range(rounds):
        matrix = crop_to_picture(quad, model.size)
        crop = np.rint(cut(rgb, matrix, model.size)).astype(np.uint8)
        seen = model.predict(crop, flip=flip and number == rounds - 1)
        points = seen @ matrix[:, :2].T + matrix[:, 2]
        quad = crop_of(points, roll_of(points))
    inside = ((points >= 0) & (points < [rgb.shape[1], rgb.shape[0]])).all(1)
    return Keypoints(points.astype(np.float32), np.asarray(inside))
