import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pentimento.data.collage import SEEN, SMALLEST, Crowd, Portrait, compose, face_mesh, window
from pentimento.data.crowds import VAL_SEEDS, _read_turned, open_crowds, read_scene
from pentimento.errors import DataError
from pentimento.world.face_mesh import VERTICES
from pentimento.world.portraits import portrait
from pentimento.world.scenes import scene

POINTS = np.array([[40.0, 50], [60, 50], [50, 62], [42, 74], [58, 74]])
BOX = np.array([28.0, 26, 72, 92])


def marked(vertices: int = 0) -> Portrait:
    """A grey picture whose five points are marked in red."""
    image = np.full((120, 100, 3), 128, np.uint8)
    for x, y in POINTS:
        cv2.circle(image, (round(x - 0.5), round(y - 0.5)), 3, (255, 0, 0), -1)
    surface = np.column_stack([POINTS, np.arange(5.0)])[:vertices]
    return Portrait(image, BOX, POINTS, surface)


def test_mirroring_swaps_left_and_right_and_forgets_what_it_cannot_know():
    once = marked(5).mirrored()  # nobody knows which of five vertices are partners
    np.testing.assert_allclose(once.points[0], [40, 50])
    np.testing.assert_allclose(once.box, [28, 26, 72, 92])
    assert np.isnan(once.vertices).all()
    np.testing.assert_allclose(once.mirrored().points, POINTS)


def test_truths_follow_the_pixels():
    reds = []
    for seed in range(40):
        made = compose([marked()] * 3, 128, np.random.default_rng(seed))
        for box, points in zip(made.boxes, made.points, strict=True):
            if np.sqrt((box[2:] - box[:2]).prod()) < 40:
                continue
            inside = ((points > 4) & (points < 124)).all(1)
            for x, y in points[inside]:
                around = made.image[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].astype(int)
                reds.append(float((around[..., 0] - around[..., 1]).mean()))
    assert len(reds) > 40
    # Some are covered, some portraits turned grey; most points lie on their red mark.
    assert np.mean(np.array(reds) > 20) > 0.5


def test_boxes_lie_in_the_picture_and_hold_their_points():
    sizes = []
    for seed in range(40):
        made = compose([marked()] * 3, 160, np.random.default_rng(seed))
        assert made.image.shape == (160, 160, 3)
        assert made.boxes.shape[1:] == (4,)
        assert made.points.shape == (len(made.boxes), 5, 2)
        assert (made.boxes >= 0).all()
        assert (made.boxes <= 160).all()
        for box, points in zip(made.boxes, made.points, strict=True):
            middle = points[2].clip(0, 160)
            assert (middle >= box[:2] - 1).all()
            assert (middle <= box[2:] + 1).all()
            sizes.append(np.sqrt((box[2:] - box[:2]).prod()))
    assert min(sizes) < 2 * SMALLEST
    assert max(sizes) > 80


def test_same_chance_same_picture():
    one, other = (compose([marked()] * 2, 96, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.boxes, other.boxes)


def test_vertices_move_and_scale_with_the_face():
    for seed in range(20):
        made = compose([marked(5)], 128, np.random.default_rng(seed))
        for points, surface in zip(made.points, made.vertices, strict=True):
            if np.isnan(surface).all():  # mirrored
                continue
            np.testing.assert_allclose(surface[:, :2], points, atol=1e-3)
            scale = np.hypot(*(points[1] - points[0])) / 20
            np.testing.assert_allclose(surface[:, 2], scale * np.arange(5), rtol=1e-3)


def test_the_mirror_of_a_face_is_the_face_of_the_mirror():
    mesh = portrait(7, 64).vertices.xyz.astype(float)
    face = Portrait(marked().image, BOX, POINTS, mesh)
    once = face.mirrored()
    nose, width = mesh[0], marked().image.shape[1]
    np.testing.assert_allclose(once.vertices[0], [width - nose[0], nose[1], nose[2]])
    # The subject's left is to the right of its right, in the mirror too.
    right_first = mesh[:, 0] < mesh[face_mesh().mirror, 0] - 4
    assert right_first.sum() > 50
    assert (once.vertices[:, 0] < once.vertices[face_mesh().mirror, 0])[right_first].all()
    np.testing.assert_allclose(once.mirrored().vertices, mesh)


def test_parts_of_scenes_carry_all_truths_along():
    box = np.array([[20, 20, 60, 76]], np.float32)
    five = np.array([[[30, 40], [50, 40], [40, 50], [32, 62], [48, 62]]], np.float32)
    surface = np.concatenate([five, np.arange(5, dtype=np.float32)[None, :, None]], 2)
    image = np.zeros((100, 120, 3), np.uint8)
    flipped = 0
    for seed in range(30):
        seen = window(Crowd(image, box, five, surface), 96, np.random.default_rng(seed))
        for points, vertices in zip(seen.points, seen.vertices, strict=True):
            assert points[0, 0] < points[1, 0]  # the eye on the left of the picture
            if np.isnan(vertices).any():
                flipped += 1
                continue
            np.testing.assert_allclose(vertices[:, :2], points, rtol=1e-5)
            scale = (points[1, 0] - points[0, 0]) / 20
            np.testing.assert_allclose(vertices[:, 2], scale * np.arange(5), rtol=1e-4)
    assert 3 < flipped < 27


def test_parts_of_scenes_mostly_show_a_face_and_small_ones_are_enlarged():
    image = np.zeros((200, 300, 3), np.uint8)
    box = np.array([[20, 20, 38, 42]], np.float32)
    truths = Crowd(image, box, np.zeros((1, 5, 2), np.float32), np.zeros((1, 0, 3), np.float32))
    seen = [window(truths, 96, np.random.default_rng(seed)).boxes for seed in range(200)]
    heights = np.array([boxes[0, 3] - boxes[0, 1] for boxes in seen if len(boxes)])
    assert len(heights) > 110  # of windows at random, it would be some 50
    assert heights.min() < 15
    assert 30 < heights.max() < 43  # 22 pixels, at 0.48 to 1.92 of their size


def test_pictures_without_their_frame_hold_no_face_and_break_nothing():
    """A portrait enlarged so far that its face lies beyond the picture, on any side of it."""
    faces = []
    for seed in range(300):
        made = compose([marked()], 64, np.random.default_rng(seed))
        assert (made.boxes[:, 2:] > made.boxes[:, :2]).all()
        faces.append(len(made.boxes))
    assert 0 in faces


def test_a_third_of_the_portraits_is_shown_as_it_is(folder: Path, monkeypatch: pytest.MonkeyPatch):
    def composed(*_: object) -> Crowd:
        return Crowd(*(np.zeros(0, np.uint8) for _ in range(4)))

    monkeypatch.setattr("pentimento.data.crowds.compose", composed)
    train = open_crowds(str(folder), "train", 64)
    made = [train.sample(0, np.random.default_rng(seed)) for seed in range(90)]
    whole = [each for each in made if each.image.size]
    assert 18 < len(whole) < 42
    assert any(len(each.boxes) for each in whole)
    bare = replace(marked(), box=None).alone()
    assert bare.boxes.shape == (0, 4)
    assert bare.points.shape == (0, 5, 2)


def test_turned_heads_are_turned_and_lie_in_their_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PENTIMENTO_CACHE", str(tmp_path))
    shares = []
    for seed in range(3):
        face = _read_turned(seed, VERTICES)
        assert face.box is not None
        assert (face.box[:2] > -26).all()
        assert (face.box[2:] < 282).all()
        eyes, mouth = face.points[:2].mean(0), face.points[3:].mean(0)
        shares.append(abs(face.points[2, 0] - (eyes + mouth)[0] / 2) / np.ptp(face.box[[0, 2]]))
    assert min(shares) > 0.08  # the nose stands out to one side
    assert len(list((tmp_path / "turned").rglob("*.npz"))) == 3


def test_rendered_portraits_bring_their_own_truths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PENTIMENTO_CACHE", str(tmp_path))
    drawn = []

    def draw(seed: int) -> Crowd:
        drawn.append(seed)
        mesh = np.zeros((1, VERTICES, 3), np.float32)
        return Crowd(marked().image, BOX[None].astype(np.float32), POINTS[None], mesh)

    monkeypatch.setattr("pentimento.data.crowds._draw_portrait", draw)
    known = open_crowds("world:count=2", "train", 64, VERTICES)
    made = [known.sample(0, np.random.default_rng(seed)) for seed in range(9)]
    assert all(np.isfinite(each.vertices).all() for each in made)
    assert sum(len(each.boxes) for each in made) > 5
    assert len(drawn) == 2  # the cache has them
    unknown = open_crowds("world:count=2", "train", 64, 7)
    assert np.isnan(unknown.sample(0, np.random.default_rng(0)).vertices).all()
    assert len(drawn) == 2
    with pytest.raises(DataError, match="world:count=3000"):
        open_crowds("world:count=0", "train", 64)


def test_portraits_without_a_face_make_pictures_without_a_face():
    bare = Portrait(marked().image, None, np.full((5, 2), np.nan), np.zeros((0, 3)))
    for seed in range(5):
        assert len(compose([bare, bare], 64, np.random.default_rng(seed)).boxes) == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images", "truths"):
        (tmp_path / name).mkdir()
    for number in range(30):
        cv2.imwrite(str(tmp_path / "images" / f"{number:06d}.png"), marked().image[..., ::-1])
        truth = {"box": BOX.tolist(), "landmarks": {"5": [[*point, True] for point in POINTS]}}
        (tmp_path / "truths" / f"{number:06d}.json").write_text(json.dumps(truth))
    return tmp_path


def test_exported_portraits_are_read_and_split_by_person(folder: Path):
    train, val = (open_crowds(str(folder), split, 64) for split in ("train", "val"))
    assert len(train) + len(val) == 30
    assert len(open_crowds(f"2*{folder}", "train", 64)) == 2 * len(train)
    assert train.sample(0, np.random.default_rng(0)).image.shape == (64, 64, 3)


def test_vertices_that_nothing_tells_are_not_trained(folder: Path):
    with pytest.raises(DataError, match="nothing there tells the 300 vertices"):
        open_crowds(str(folder), "train", 64, VERTICES)
    assert open_crowds(f"{folder},world:count=2", "train", 64, VERTICES)  # the world does
    path = folder / "truths" / "000000.json"
    truth = json.loads(path.read_text())
    path.write_text(json.dumps({**truth, "vertices": [[0, 0, 0, True]] * VERTICES}))
    assert open_crowds(str(folder), "train", 64, VERTICES)


def test_a_person_named_in_the_truth_keeps_to_one_side(folder: Path):
    for path in (folder / "truths").iterdir():
        path.write_text(json.dumps({**json.loads(path.read_text()), "person": "lisa"}))
    with pytest.raises(DataError, match="no portrait for val"):
        open_crowds(str(folder), "val", 64)


def test_faults_of_folders_are_named(folder: Path, tmp_path: Path):
    picture = folder / "images" / "000003.png"
    kept = picture.read_bytes()
    picture.unlink()
    with pytest.raises(DataError, match=r"000003\.json: no picture"):
        open_crowds(str(folder), "train", 64)
    picture.write_bytes(kept)
    (folder / "truths" / "000003.json").write_text('{"image": {}, "annotations": []}')
    with pytest.raises(DataError, match="truths of a scene"):  # not thirty pictures without a face
        open_crowds(str(folder), "train", 64)
    with pytest.raises(DataError, match="names no source"):
        open_crowds(" , ", "train", 64)
    with pytest.raises(DataError, match="no such folder"):
        open_crowds(str(tmp_path / "nowhere"), "train", 64)


def test_a_head_that_is_turned_away_has_no_face(tmp_path, monkeypatch):
    """The two people of this scene show the backs of their heads, and nothing is before them."""
    monkeypatch.setenv("PENTIMENTO_CACHE", str(tmp_path))
    seed = VAL_SEEDS + 33
    faces = [segment.face for segment in scene(seed, (384, 512)).segments if segment.face]
    assert len(faces) == 2
    assert all(abs(face.pose[0]) > 90 and face.visible > SEEN for face in faces)
    assert not len(read_scene(seed).boxes)
