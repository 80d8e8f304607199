"""Five points of a face from its label map, and the box that five points mean.

The points are, as seen in the picture: left eye, right eye, tip of the nose, left and right corner
of the mouth. Frames as in `structures`: pixel centres at halves.
"""

from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from pentimento.labels import CELEBAMASK19

# Least squares over rendered portraits and scenes, in lengths from the eyes' middle to the mouth's,
# for 1, the turn of the head (how far the nose lies aside), the fall of the nose's tip and the
# distance of the eyes. Four in five of the boxes overlap the true ones by 0.8 or more.
_HALF: Final = np.array([[1.113, 1.206, 0.117, 0.538], [1.699, 0.870, 0.328, 0.508]])
_BELOW: Final = np.array([0.067, 0.027, -0.708, 0.051])
_USUAL: Final = np.array([0.0, 0.0, 0.6, 1.1])
_BEHIND: Final = 2.083  # the middle lies behind the nose where the head is turned
_TIP: Final = 0.7  # of the nose's height, from above


def five_points(labels: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Return the points (5, 2) in pixels, or None where an eye or the mouth is not to be seen.

    Dark glasses stand for the eyes that they hide.

    Args:
        labels: (S, S) in CelebAMask-HQ order, of one roughly upright face.
    """
    size = labels.shape[-1]
    area = float(size * size)

    def where(*names: str) -> NDArray[np.bool_]:
        return np.isin(labels, CELEBAMASK19.values(*names))

    def centre(mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
        y, x = np.nonzero(_largest(mask))
        return np.array([x.mean() + 0.5, y.mean() + 0.5]) if len(x) > 4e-4 * area else None

    left, right = centre(where("r_eye")), centre(where("l_eye"))
    if (left is None or right is None) and where("eye_g").any():
        glasses = where("eye_g")
        middle = np.nonzero(glasses)[1].mean()
        columns = np.arange(size)[None, :]
        left = left if left is not None else centre(glasses & (columns < middle))
        right = right if right is not None else centre(glasses & (columns >= middle))
    lip_y, lip_x = np.nonzero(_largest(where("mouth", "u_lip", "l_lip")))
    if left is None or right is None or len(lip_x) < 1e-3 * area:
        return None
    ends = np.quantile(lip_x, [0.02, 0.98])
    corners = [
        np.array([end + 0.5, lip_y[np.abs(lip_x - end) <= 0.012 * size].mean() + 0.5])
        for end in ends
    ]
    nose_y, nose_x = np.nonzero(_largest(where("nose")))
    if len(nose_y):
        y = nose_y.min() + _TIP * np.ptp(nose_y)
        nose = np.array([nose_x[np.abs(nose_y - y) <= 0.01 * size + 1].mean() + 0.5, y + 0.5])
    else:  # hidden: where it is in a frontal face
        nose = 0.45 * (left + right) / 2 + 0.55 * (corners[0] + corners[1]) / 2
    return np.stack([left, right, nose, *corners])


def face_box(points: NDArray[Any]) -> NDArray[np.float64]:
    """Return the box (4,) = left, top, right, bottom of a face, forehead to chin, by five points.

    It is the box around an ellipse that turns with the face.
    """
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    length = max(float(np.hypot(*(mouth - eyes))), 1e-6)
    down = (mouth - eyes) / length
    across = np.array([down[1], -down[0]])
    aside, fall = (points[2] - eyes) @ np.stack([across, down], 1) / length
    apart = (points[1] - points[0]) @ across / length
    seen = np.array([1.0, abs(aside), fall, apart]) - _USUAL
    wide, tall = (_HALF @ seen).clip(0.5, 4)
    centre = eyes + length * (float(_BELOW @ seen) * down - _BEHIND * aside * across)
    half = length * np.hypot(wide * across, tall * down)
    return np.concatenate([centre - half, centre + half])


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest connected piece of a mask."""
    _, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    if len(stats) < 2:
        return mask
    return np.asarray(pieces == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax()))
