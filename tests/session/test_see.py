import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from pycocotools.coco import COCO
from torch import nn

from pentimento import models
from pentimento.engine import rng
from pentimento.errors import CheckpointError
from pentimento.session.models import load_finder
from pentimento.session.see import POINT_NAMES, coco, see_faces
from pentimento.structures import Boxes
from pentimento.systems.perceive import retinaface
from pentimento.systems.perceive.retinaface import RetinaFace

FIVE = np.array([[40, 50], [60, 50], [50, 62], [42, 74], [58, 74]], np.float32)


class Finder:
    """Sees one face at a known place of every picture of 100 x 120 pixels."""

    def predict(self, image: np.ndarray, *, threshold: float = 0.5) -> SimpleNamespace:
        width = image.shape[1]
        rim = (width - 100) // 2 if width > 100 else 0
        rows = np.array([[28, 26, 72, 92]], np.float32) + rim
        points = FIVE[None] + np.float32(rim)
        if not image.any():
            rows, points = rows[:0], points[:0]
        return SimpleNamespace(
            boxes=Boxes(rows, np.full(len(rows), 0.87, np.float32)),
            points=points,
            vertices=np.zeros((len(rows), 0, 3), np.float32),
        )


class Marker:
    """Puts all 68 landmarks on a circle in the crop."""

    size = 64

    def predict(self, image: np.ndarray, *, flip: bool = False) -> np.ndarray:
        turn = np.linspace(0, 2 * np.pi, 68, endpoint=False)
        return (32 + 20 * np.stack([np.cos(turn), np.sin(turn)], 1)).astype(np.float32)


def grey() -> np.ndarray:
    return np.full((120, 100, 3), 128, np.uint8)


def test_a_face_is_seen_with_box_points_and_pose():
    seen = see_faces(grey(), "a.png", Finder())
    (face,) = seen.faces
    np.testing.assert_allclose(face.box, [28, 26, 72, 92], atol=0.5)
    np.testing.assert_allclose(face.points, FIVE, atol=0.5)
    assert face.landmarks is None
    assert abs(face.pose.yaw) < 5
    assert abs(face.pose.roll) < 5


def test_landmarks_are_in_the_photo_s_pixels_about_the_face():
    (face,) = see_faces(grey(), "a.png", Finder(), Marker()).faces
    assert face.landmarks is not None
    assert face.landmarks.xy.shape == (68, 2)
    middle = face.landmarks.xy.mean(0)
    assert 28 < middle[0] < 72
    assert 26 < middle[1] < 100


def test_a_profile_whose_eyes_lie_together_is_seen_without_landmarks():
    class Profile(Finder):
        def predict(self, image: np.ndarray, *, threshold: float = 0.5) -> SimpleNamespace:
            found = super().predict(image, threshold=threshold)
            points = found.points.copy()
            points[:, 1] = points[:, 0] + 0.3
            return SimpleNamespace(boxes=found.boxes, points=points, vertices=found.vertices)

    (face,) = see_faces(grey(), "a.png", Profile(), Marker()).faces
    assert face.landmarks is None
    assert np.isfinite([face.pose.yaw, face.pose.pitch, face.pose.roll]).all()


@pytest.mark.parametrize("marker", [None, Marker()])
def test_the_json_is_read_by_coco_s_own_tools(marker, tmp_path):
    empty = np.zeros((120, 100, 3), np.uint8)
    pictures = {"a.png": grey(), "none.png": empty, "album/b.png": grey()}
    photos = (see_faces(image, name, Finder(), marker) for name, image in pictures.items())
    path = tmp_path / "scene.json"
    path.write_text(json.dumps(coco(photos)))
    read = COCO(str(path))
    assert [image["file_name"] for image in read.loadImgs(read.getImgIds())] == [
        "a.png", "none.png", "b.png",
    ]  # fmt: skip
    assert read.getAnnIds(imgIds=[2]) == []
    (annotation,) = read.loadAnns(read.getAnnIds(imgIds=[3]))
    left, top, width, height = annotation["bbox"]
    assert (left, top) == pytest.approx((28, 26), abs=0.5)
    assert (width, height) == pytest.approx((44, 66), abs=0.5)
    assert annotation["area"] == pytest.approx(width * height, abs=0.01)
    assert annotation["score"] == pytest.approx(0.87)
    (category,) = read.loadCats(read.getCatIds())
    assert category["keypoints"] == list(POINT_NAMES)
    assert len(annotation["keypoints"]) == 3 * len(category["keypoints"])
    # The eye on the left of the picture is the person's right one.
    assert annotation["keypoints"][:3] == pytest.approx([40, 50, 2], abs=0.5)
    assert annotation["face_valid"] == (marker is not None)
    assert len(annotation.get("face_kpts", [])) == (204 if marker else 0)
    assert set(annotation["pose"]) == {"yaw", "pitch", "roll"}


def test_a_finder_with_a_surface_adds_it_in_the_photo_s_pixels():
    class Surface(Finder):
        """Lays a vertex on every corner of the box, the lower ones ten pixels deep."""

        def predict(self, image: np.ndarray, *, threshold: float = 0.5) -> SimpleNamespace:
            found = super().predict(image, threshold=threshold)
            left, top, right, bottom = found.boxes.xyxy.T
            flat = np.stack([left, top, right, top, left, bottom, right, bottom], 1)
            depth = np.tile(np.float32([0, 0, 10, 10]), (len(left), 1))
            found.vertices = np.concatenate([flat.reshape(-1, 4, 2), depth[..., None]], 2)
            return found

    assert "vertices" not in see_faces(grey(), "a.png", Finder()).coco()["annotations"][0]
    (annotation,) = see_faces(grey(), "a.png", Surface()).coco()["annotations"]
    corners = [28, 26, 0, 72, 26, 0, 28, 92, 10, 72, 92, 10]
    assert annotation["vertices"] == pytest.approx(corners, abs=0.5)


def test_a_finder_of_one_s_own_is_taken_if_it_finds_points(tmp_path):
    for name, points in (("whole", True), ("boxes", False)):
        rng.seed(0)
        system = RetinaFace(replace(retinaface.tiny(), points=points))
        models.save(system, tmp_path / name, "# A finder\n")
    finder = load_finder(tmp_path / "whole")
    seen = see_faces(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), "a.png",
                     finder, threshold=0.01)  # fmt: skip
    entries = seen.coco()["annotations"]
    assert entries
    assert all(len(entry["vertices"]) == 3 * finder.config.vertices for entry in entries)
    with pytest.raises(CheckpointError, match="boxes alone"):
        load_finder(tmp_path / "boxes")


@pytest.mark.parametrize("backbone", ["lean", "mobilenet"])
def test_a_finder_without_its_batch_norms_sees_the_same(tmp_path, backbone):
    rng.seed(0)
    system = RetinaFace(replace(retinaface.tiny(), backbone=backbone))
    for layer in system.networks.modules():
        if isinstance(layer, nn.BatchNorm2d):  # as after training: nothing is the identity
            for each, low in ((layer.weight, 0.8), (layer.bias, -0.1), (layer.running_var, 0.8)):
                nn.init.uniform_(each, low, low + 0.4)
            nn.init.uniform_(layer.running_mean, -1, 1)
    models.save(system, tmp_path / "finder", "# A finder\n")
    finder = load_finder(tmp_path / "finder")
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in finder.networks.modules())
    picture = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
    whole = models.load(tmp_path / "finder").predict(picture, threshold=0.1)
    folded = finder.predict(picture, threshold=0.1)
    assert len(whole.boxes) > 3
    np.testing.assert_allclose(folded.boxes.scores, whole.boxes.scores, atol=1e-4)
    np.testing.assert_allclose(folded.boxes.xyxy, whole.boxes.xyxy, atol=1e-2)
    np.testing.assert_allclose(folded.vertices, whole.vertices, atol=1e-2)


def test_the_overlay_marks_the_face_and_leaves_the_rest():
    seen = see_faces(grey(), "a.png", Finder(), Marker())
    before = seen.rgb.copy()
    drawn = seen.overlay()
    np.testing.assert_array_equal(seen.rgb, before)
    assert drawn.shape == (120, 100, 3)
    changed = (drawn != before).any(2)
    assert changed[55:65, 26:31].any()  # the box's left side
    assert changed[60:64, 48:53].any()  # the nose
    assert not changed[110:, :].any()
    nothing = see_faces(np.zeros((120, 100, 3), np.uint8), "none.png", Finder())
    np.testing.assert_array_equal(nothing.overlay(), nothing.rgb)
