"""How a head is turned, by points of its face and the same points of a model head."""

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

# Pictures rarely tell their focal length. A camera so many sizes of the face away, looking straight
# at it, errs little for portraits and for faces in a crowd alike.
_DISTANCE: Final = 8.0
_DOWN_AND_AWAY: Final = np.diag([1.0, -1.0, -1.0])  # model frame to OpenCV's camera frame


@dataclass(frozen=True)
class Pose:
    """A turn of the head in degrees, as `world.figure.Pose` draws it.

    Attributes:
        yaw: to the subject's left.
        pitch: upwards.
        roll: to the subject's right shoulder.
    """

    yaw: float
    pitch: float
    roll: float


def head_pose(points: NDArray[Any], model: NDArray[Any]) -> Pose:
    """Return the pose of a head by perspective from N points (Terzakis & Lourakis 2020, refined).

    Args:
        points: (N, 2) pixels, N >= 4.
        model: (N, 3) the same points of an upright model head that faces the reader: x to the
            right, y up, z towards the reader.
    """
    flat = np.ascontiguousarray(points, np.float64)
    if np.ptp(flat, axis=0).max() < 1e-3:  # all on one spot: no pose can be told
        return Pose(0.0, 0.0, 0.0)
    solid = np.ascontiguousarray(model @ _DOWN_AND_AWAY, np.float64)
    middle = flat.mean(0)
    focal = _DISTANCE * max(1.0, float(np.ptp(flat, axis=0).max()))
    camera = np.array([[focal, 0, middle[0]], [0, focal, middle[1]], [0, 0, 1.0]])
    solved, turn, shift = cv2.solvePnP(solid, flat, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    if solved:
        turn, shift = cv2.solvePnPRefineLM(solid, flat, camera, None, turn, shift)
    rotation = _DOWN_AND_AWAY @ cv2.Rodrigues(turn)[0] @ _DOWN_AND_AWAY
    front = rotation[:, 2]
    return Pose(
        float(np.degrees(np.arctan2(front[0], front[2]))),
        float(np.degrees(np.arcsin(np.clip(front[1], -1, 1)))),
        float(np.degrees(np.arctan2(rotation[1, 0], rotation[1, 1]))),
    )
