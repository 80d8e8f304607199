"""Scenes: every truth is that of the samples which make the picture, and a seed is a scene."""

import hashlib

import numpy as np
import pytest

from pentimento.labels import CELEBAMASK19
from pentimento.structures import Boxes
from pentimento.world.actors import PARTS, Stance, hire, posed
from pentimento.world.bodies import BODY_PARTS, Gesture
from pentimento.world.figure import Pose
from pentimento.world.resolve import elect
from pentimento.world.scenes import CATEGORIES, STUFF, WorldScene, builtin_heads, scene

SEEDS = (3, 8, 12, 22)  # people near and far, a child, glasses, things on walls
STILL = Gesture(*(np.zeros(2) for _ in Gesture._fields))


@pytest.fixture(scope="module")
def scenes() -> list[WorldScene]:
    return [scene(seed, 96) for seed in SEEDS]


def digest(made: WorldScene) -> str:
    parts = (made.picture, made.panoptic, made.parts, made.uv.uv, made.depth, made.faces.xyxy)
    return hashlib.sha256(
        b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    ).hexdigest()


def test_a_seed_gives_the_same_bytes_whatever_was_drawn_before(scenes: list[WorldScene]) -> None:
    assert [digest(scene(seed, 96)) for seed in reversed(SEEDS)] == [
        digest(made) for made in reversed(scenes)
    ]


def test_category_ids_are_kept_for_ever() -> None:
    ids = {category.name: category.id for category in CATEGORIES}
    assert ids["person"] == 1
    assert ids["sign"] == 20
    assert ids["wall"] == 101
    assert ids["clutter"] == 118
    assert len(ids) == len({*ids.values()}) == 38
    assert all(category.thing == (category.id < 100) for category in CATEGORIES)


def test_segments_are_a_partition_with_tight_boxes(scenes: list[WorldScene]) -> None:
    for made in scenes:
        assert {s.id for s in made.segments} == {*np.unique(made.panoptic).tolist()}
        assert sum(s.area for s in made.segments) == made.panoptic.size
        for segment in made.segments:
            rows, columns = np.nonzero(made.panoptic == segment.id)
            assert segment.area == len(rows) > 0
            assert segment.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert segment.thing == (segment.id < STUFF)
            assert (segment.face is not None) == (segment.category == 1)


def test_a_face_holds_its_landmarks_and_lies_on_its_person(scenes: list[WorldScene]) -> None:
    faces = [(made, s, s.face) for made in scenes for s in made.segments if s.face]
    assert len(faces) >= 5
    for made, segment, face in faces:
        left, top, right, bottom = face.box
        for points in face.landmarks.values():
            assert (points.xy >= (left, top)).all()
            assert (points.xy <= (right, bottom)).all()
            seen = points.xy[points.visible]
            assert (seen >= 0).all()
            assert (seen < 96).all()
        assert {len(points.xy) for points in face.landmarks.values()} == {5, 68, 98}
        eyes = face.landmarks[68].xy[[36, 45]]
        assert face.interocular == pytest.approx(float(np.hypot(*(eyes[1] - eyes[0]))), rel=1e-5)
        if face.visible > 0.9 and right - left > 12:
            nose = face.landmarks[5].xy[2].astype(int)
            assert made.panoptic[nose[1], nose[0]] == segment.id
            assert PARTS[made.parts[nose[1], nose[0]]] in ("nose", "face")


def test_faces_are_those_of_which_something_is_seen(scenes: list[WorldScene]) -> None:
    for made in scenes:
        shown = [s.face for s in made.segments if s.face and s.face.visible > 0]
        assert isinstance(made.faces, Boxes)
        assert len(made.faces) == len(shown)
        assert np.allclose(made.faces.scores, [face.visible for face in shown])
        assert np.allclose(made.faces.xyxy, [face.box for face in shown], atol=1e-3)
        assert (made.faces.scores <= 1).all()


def test_dense_truths_agree_with_the_people(scenes: list[WorldScene]) -> None:
    for made in scenes:
        people = np.isin(made.panoptic, [s.id for s in made.segments if s.category == 1])
        assert (made.uv.covered == (made.parts > 0)).all()
        assert people[made.uv.covered].all()
        assert (made.uv.uv >= 0).all()
        assert (made.uv.uv <= 1).all()
        assert not made.uv.uv[~made.uv.covered].any()
        assert not made.labels.values[~people].any()
        on_nose = made.parts == PARTS.index("nose")
        assert (made.labels.values[on_nose] == CELEBAMASK19.value("nose")).all()
        hidden = np.isin(made.labels.values, CELEBAMASK19.values("hair", "hat", "eye_g"))
        body = made.parts >= PARTS.index(BODY_PARTS[0])
        assert not (hidden & body).any()


def test_depth_is_that_of_what_is_seen(scenes: list[WorldScene]) -> None:
    sky = {category.id for category in CATEGORIES if category.name == "sky"}
    for made in scenes:
        kinds = {s.id: s.category for s in made.segments}
        is_sky = np.isin(made.panoptic, [i for i, kind in kinds.items() if kind in sky])
        assert np.isinf(made.depth[is_sky]).all()
        assert (made.depth > 0).all()
        for segment in made.segments:
            if segment.face and segment.face.visible > 0.95:
                inside = made.depth[made.panoptic == segment.id]
                assert np.ptp(inside) < 30  # a person is not three metres deep


def test_head_angles_are_those_of_the_pose() -> None:
    upright = Stance(Pose(21, -8, 5, 0.0), 0.0, 0.0, STILL)
    assert upright.head_angles() == pytest.approx((21, -8, 5), abs=0.01)
    turned = Stance(Pose(20, 0, 0, 0.0), 30.0, 0.0, STILL)
    assert turned.head_angles() == pytest.approx((50, 0, 0), abs=0.01)
    leaning = Stance(Pose(0, 0, 0, 0.0), 0.0, 25.0, STILL)
    assert leaning.head_angles() == pytest.approx((0, 0, 25), abs=0.01)


def test_less_detail_stays_in_place() -> None:
    """Merged triangles keep the outline: what is drawn small looks like what is drawn large."""
    stance = Stance(Pose(0, 0, 0, 0.0), 0.0, 0.0, STILL)
    full, small = (posed(hire(builtin_heads(), 5, d), stance) for d in ("full", "coarse"))
    assert len(small.surface.triangles) < 0.15 * len(full.surface.triangles)
    for shape in (full, small):
        low, high = shape.surface.position.min(0), shape.surface.position.max(0)
        assert high[1] - low[1] == pytest.approx(17.2, abs=1.5)
    assert np.allclose(full.landmarks[68], small.landmarks[68])


def test_the_sample_that_speaks_belongs_to_most() -> None:
    owner = np.array([[1, 1, 0, 2], [0, 1, 2, 0]], np.int16)
    classes = np.array([[4, 5, 0, 0], [0, 5, 0, 0]], np.uint8)
    near = np.array([[0.9, 0.1, 0.1, 0.2], [0.8, 0.2, 0.3, 0.1]], np.float32)
    # Left: owner 1 has three samples, two of class 5, the nearer one below. Right: two against two.
    assert elect(owner, classes, near).tolist() == [[5, 6]]


@pytest.mark.parametrize(("seed", "size"), [(-1, 64), (0, 31), (0, (64, 16))])
def test_impossible_requests_are_refused(seed: int, size: int) -> None:
    with pytest.raises(ValueError, match="expected seed >= 0 and size >= 32"):
        scene(seed, size)


def test_pictures_need_not_be_square() -> None:
    made = scene(8, (64, 112))
    assert made.picture.shape == (64, 112, 3)
    assert (
        made.panoptic.shape
        == made.depth.shape
        == (
            64,
            112,
        )
    )
