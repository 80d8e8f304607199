"""What is to be seen in a photo: every face with its box, points and pose, as JSON or drawn."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pentimento.errors import FaceError
from pentimento.ops.pose import Pose, head_pose
from pentimento.session.detect import THRESHOLD, Detection, Finder, detect
from pentimento.session.faces import face_from_points
from pentimento.session.landmarks import Marker, landmarks
from pentimento.session.marks import Marks, draw_marks
from pentimento.structures import Keypoints
from pentimento.world.heads import load_heads

POINT_NAMES: Final = ("right_eye", "left_eye", "nose", "right_mouth_corner", "left_mouth_corner")
"""The five points by their owner's left and right, in the order of `Detection.points`."""

_MARKED: Final = 24.0  # px, size of the smallest face whose 68 landmarks are looked for


@dataclass(frozen=True)
class SeenFace:
    """One face of a photo; all coordinates in its pixels.

    Attributes:
        box: (4,) left, top, right, bottom, forehead to chin, within the photo.
        score: how sure the finder is, in [0, 1].
        points: (5, 2), see `POINT_NAMES`.
        landmarks: 68 points in the order of 300-W, or None where there is no model or no room.
        pose: how the head is turned.
        vertices: (V, 3) of its surface in the order of the finder, the third being depth; V is 0
            where the finder has no such head, as the bundled one.
    """

    box: NDArray[np.float64]
    score: float
    points: NDArray[np.float64]
    landmarks: Keypoints | None
    pose: Pose
    vertices: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Seen:
    """A photo and the faces in it, the largest first.

    Attributes:
        name: the photo's name.
        rgb: (H, W, 3) uint8, the photo as it was looked at.
        faces: what was found.
    """

    name: str
    rgb: NDArray[np.uint8]
    faces: tuple[SeenFace, ...]

    def overlay(self) -> NDArray[np.uint8]:
        """Return the photo (H, W, 3) with every face marked."""
        marks = [
            Marks(
                face.box,
                f"{number}  {100 * face.score:.0f}%",
                face.points,
                None if face.landmarks is None else face.landmarks.xy,
                face.pose,
            )
            for number, face in enumerate(self.faces, 1)
        ]
        return draw_marks(self.rgb, marks)

    def coco(self) -> dict[str, Any]:
        """Return the photo as a COCO data set of one picture; see `coco`."""
        return coco([self])


def see_faces(
    rgb: NDArray[np.uint8],
    name: str,
    finder: Finder,
    marker: Marker | None = None,
    threshold: float = THRESHOLD,
) -> Seen:
    """Look for every face of a photo.

    Args:
        rgb: (H, W, 3) uint8, upright.
        name: what the photo is called.
        finder: the face finder.
        marker: the model of the 68 landmarks, or None to do without.
        threshold: least score of a face.
    """
    found = detect(rgb, finder, threshold)
    return Seen(name, rgb, tuple(_seen(rgb, face, marker) for face in found))


def _seen(rgb: NDArray[np.uint8], face: Detection, marker: Marker | None) -> SeenFace:
    height, width = rgb.shape[:2]
    marked = None
    if marker is not None and face.size >= _MARKED:
        with contextlib.suppress(FaceError):  # in a profile the eyes may lie too close for a frame
            frame = face_from_points([(float(x), float(y)) for x, y in face.points])
            marked = landmarks(rgb, frame, marker)
    points = face.points if marked is None else marked.xy
    box = face.box.clip(0, [width, height, width, height])
    pose = head_pose(points, _model_points()[len(points)])
    return SeenFace(box, face.score, face.points, marked, pose, face.vertices)


@cache
def _model_points() -> dict[int, NDArray[np.float32]]:
    """Return the points of the bundled head, 5 and 68, in its own frame."""
    heads = load_heads()
    return heads.landmarks(heads.neutral)


def coco(photos: Iterable[Seen]) -> dict[str, Any]:
    """Return photos, taken one by one, and faces in the conventions of COCO, as JSON types.

    `bbox` is left, top, width, height; `keypoints` are triples x, y, v (2 = seen). As in
    COCO-WholeBody, the 68 landmarks are `face_kpts`, there if `face_valid`; `pose` is in degrees.
    A finder with a vertex head adds `vertices`, triples x, y and depth, about
    the face's middle and larger further away.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, photo in enumerate(photos, 1):
        height, width = photo.rgb.shape[:2]
        name = Path(photo.name).name
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for face in photo.faces:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, **_annotation(face)}
            )
    return {
        "info": {"description": "faces seen by pentimento"},
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": 1, "name": "face", "supercategory": "person", "keypoints": list(POINT_NAMES),
             "skeleton": []}
        ],
    }  # fmt: skip


def _annotation(face: SeenFace) -> dict[str, Any]:
    left, top, right, bottom = (round(float(edge), 2) for edge in face.box)
    width, height = round(right - left, 2), round(bottom - top, 2)
    annotation = {
        "category_id": 1,
        "bbox": [left, top, width, height],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "score": round(face.score, 4),
        "num_keypoints": len(face.points),
        "keypoints": _triples(face.points, np.ones(len(face.points), bool)),
        "pose": {name: round(getattr(face.pose, name), 1) for name in ("yaw", "pitch", "roll")},
        "face_valid": face.landmarks is not None,
    }
    if face.landmarks is not None:
        annotation["face_kpts"] = _triples(face.landmarks.xy, face.landmarks.visible)
    if len(face.vertices):
        annotation["vertices"] = face.vertices.round(2).ravel().tolist()
    return annotation


def _triples(points: NDArray[Any], visible: NDArray[np.bool_]) -> list[float]:
    """Return x, y, v one after the other; v is 2 where seen, 1 where not."""
    rows = zip(points.tolist(), visible.tolist(), strict=True)
    return [value for (x, y), seen in rows for value in (round(x, 2), round(y, 2), 1 + int(seen))]
