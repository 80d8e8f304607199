from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pentimento.errors import CheckpointError
from pentimento.world.heads import (
    HeadParams,
    Heads,
    ball_centre,
    load_heads,
    sample_expression,
    save_heads,
)
from pentimento.world.mesh import PARTS

MIRROR_68 = [
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip
MIRROR_98 = [
    *range(32, -1, -1), 46, 45, 44, 43, 42, 50, 49, 48, 47, 37, 36, 35, 34, 33, 41, 40, 39, 38,
    51, 52, 53, 54, *range(59, 54, -1), 72, 71, 70, 69, 68, 75, 74, 73, 64, 63, 62, 61, 60, 67, 66,
    65, 82, 81, 80, 79, 78, 77, 76, 87, 86, 85, 84, 83, 92, 91, 90, 89, 88, 95, 94, 93, 97, 96,
]  # fmt: skip


@pytest.fixture(scope="module")
def heads() -> Heads:
    return load_heads()


def plain(heads: Heads, **changes: object) -> HeadParams:
    code = np.zeros(len(heads.components), np.float32)
    params = HeadParams(code, 30.0, 0.5, np.full(3, 1 / 3, np.float32), 0.0)
    return replace(params, **changes)  # type: ignore[arg-type]  # names are HeadParams fields


def people(heads: Heads, count: int) -> list[HeadParams]:
    rng = np.random.default_rng(7)
    return [heads.sample(rng) for _ in range(count)]


def test_same_seed_gives_the_same_bytes(heads: Heads) -> None:
    first, second = (heads.sample(np.random.default_rng(3)) for _ in range(2))
    assert heads.vertices(first).tobytes() == heads.vertices(second).tobytes()
    assert first.expression == second.expression


def test_every_part_of_a_head_is_there(heads: Heads) -> None:
    parts = {PARTS[k] for k in np.unique(heads.part)}
    assert parts == {
        "skin", "nose", "u_lip", "l_lip", "mouth", "teeth", "tongue", "l_eye", "r_eye", "l_lid",
        "r_lid", "l_ear", "r_ear", "neck", "chest", "scalp",
    }  # fmt: skip


def test_left_is_the_subjects_left(heads: Heads) -> None:
    for left in ("l_eye", "l_ear", "l_lid"):
        assert heads.neutral[heads.vertices_of(left), 0].min() > 0
    face = heads.landmarks(heads.neutral)[68]
    winked = heads.landmarks(heads.vertices(plain(heads, expression={"eye-left-closure": 1.0})))[68]
    moved = np.linalg.norm(winked - face, axis=1)
    assert moved[[43, 44]].min() > 0.05
    assert moved[[37, 38]].max() < 0.01


@pytest.mark.parametrize(("count", "mirror"), [(68, MIRROR_68), (98, MIRROR_98)])
def test_landmarks_mirror_each_other(heads: Heads, count: int, mirror: list[int]) -> None:
    points = heads.landmarks(heads.neutral)[count]
    assert points.shape == (count, 3)
    assert points.dtype == np.float32
    assert sorted(mirror) == list(range(count))
    flipped = points[mirror] * np.array([-1, 1, 1])
    assert np.linalg.norm(points - flipped, axis=1).max() < 0.03  # decimetres


def test_landmark_orders_start_on_the_left_of_the_picture(heads: Heads) -> None:
    points = heads.landmarks(heads.neutral)
    five, full, wflw = points[5], points[68], points[98]
    assert five[0, 0] < 0 < five[1, 0]
    assert five[3, 0] < 0 < five[4, 0]
    assert np.argmax(five[:, 2]) == 2
    assert full[0, 0] < 0 < full[16, 0]
    assert np.argmin(full[:, 1]) == 8
    assert np.argmin(wflw[:, 1]) == 16
    assert (np.diff(full[17:27, 0]) > 0).all()
    assert (np.diff(full[27:31, 1]) < 0).all()
    # Contours run clockwise as seen: over the top to the right, back below.
    for first in (36, 42):
        assert full[first, 0] < full[first + 1, 0] < full[first + 3, 0]
        assert full[first + 1, 1] > full[first + 5, 1]
    assert full[48, 0] < full[51, 0] < full[54, 0]
    assert full[51, 1] > full[57, 1]
    np.testing.assert_allclose(wflw[76:88], full[48:60])


def test_eyebrows_lie_between_eyes_and_hair(heads: Heads) -> None:
    full = heads.landmarks(heads.neutral)[68]
    assert full[17:27, 1].min() > full[36:48, 1].max()
    top = heads.neutral[heads.fields["hairline"] > 0.02]
    assert top[top[:, 2] > 1.0, 1].min() > full[17:27, 1].max()


def test_landmarks_lie_on_the_surface(heads: Heads) -> None:
    """Each one is a convex combination of the corners of a triangle of the mesh."""
    corners = {tuple(sorted(t)) for t in heads.triangles.tolist()}
    for anchors in heads.points.values():
        assert {tuple(sorted(t)) for t in anchors.corners.tolist()} <= corners
        assert (anchors.weights >= -1e-6).all()
        np.testing.assert_allclose(anchors.weights.sum(axis=1), 1, atol=1e-5)


def lip_gap(heads: Heads, params: HeadParams) -> float:
    points = heads.landmarks(heads.vertices(params))[68]
    return float(np.linalg.norm(points[62] - points[66]))


def test_opening_the_mouth_parts_the_lips_and_moves_the_lower_teeth(heads: Heads) -> None:
    closed, opened = plain(heads), plain(heads, expression={"mouth-open": 1.0})
    assert lip_gap(heads, opened) > lip_gap(heads, closed) + 0.15
    teeth = heads.vertices_of("teeth")
    drop = heads.vertices(closed)[teeth, 1] - heads.vertices(opened)[teeth, 1]
    low, high = np.quantile(heads.neutral[teeth, 1], [0.1, 0.9])
    assert drop[heads.neutral[teeth, 1] < low].min() > 0.15
    assert np.abs(drop[heads.neutral[teeth, 1] > high]).max() < 0.01


@pytest.mark.parametrize("person", range(5))
def test_blinking_closes_the_lids_of_everyone(heads: Heads, person: int) -> None:
    params = replace(people(heads, 5)[person], expression={})
    shut = replace(params, expression={"eye-left-closure": 1.0, "eye-right-closure": 1.0})
    for first in (36, 42):
        heights = []
        for state in (params, shut):
            eye = heads.landmarks(heads.vertices(state))[68][first : first + 6]
            heights.append(eye[[1, 2], 1].mean() - eye[[5, 4], 1].mean())
        assert heights[0] > 0.04
        assert heights[1] < 0.3 * heights[0]


def test_smiling_lifts_the_corners_of_the_mouth(heads: Heads) -> None:
    rest = heads.landmarks(heads.vertices(plain(heads)))[5]
    smile = heads.landmarks(heads.vertices(plain(heads, expression={"mouth-corner-puller": 1.0})))[
        5
    ]
    assert (smile[3:, 1] > rest[3:, 1] + 0.03).all()
    assert smile[4, 0] - smile[3, 0] > rest[4, 0] - rest[3, 0]


def test_gaze_turns_the_pupils_about_the_eyeballs(heads: Heads) -> None:
    ahead = heads.landmarks(heads.vertices(plain(heads)))[98][96:]
    aside = heads.landmarks(heads.vertices(plain(heads, gaze=(0.3, 0.0))))[98][96:]
    above = heads.landmarks(heads.vertices(plain(heads, gaze=(0.0, 0.2))))[98][96:]
    assert (aside[:, 0] > ahead[:, 0] + 0.02).all()
    assert (above[:, 1] > ahead[:, 1] + 0.02).all()


@pytest.mark.parametrize("person", range(5))
def test_eyeballs_sit_in_their_sockets(heads: Heads, person: int) -> None:
    """The front of the ball is near the lids' rims, the rest is behind them and inside the head."""
    vertices = heads.vertices(replace(people(heads, 5)[person], gaze=(0.0, 0.0), expression={}))
    points = heads.landmarks(vertices)[68]
    for ball, first in zip(heads.eyeballs, (36, 42), strict=True):
        rim = points[first : first + 6]
        front = vertices[ball, 2].max()
        assert -0.05 < front - rim[:, 2].max() < 0.06
        assert ball_centre(vertices[ball])[2] < rim[:, 2].min()
        assert rim[:, 0].min() > vertices[ball, 0].min() - 0.12
        assert rim[:, 0].max() < vertices[ball, 0].max() + 0.12


def test_attributes_shape_the_head(heads: Heads) -> None:
    rng = np.random.default_rng(0)

    def face(**changes: float) -> np.ndarray:
        settings = {"male": 0.5, "age": 30.0, "weight": 0.0} | changes
        code = heads.code_for(rng, ethnicity=np.array([0.3, 0.3, 0.4]), variety=0.0, **settings)
        return heads.vertices(plain(heads, code=code))

    def neck(vertices: np.ndarray) -> float:
        ring = vertices[heads.vertices_of("neck")]
        return float(np.ptp(ring[:, 0]))

    assert neck(face(male=1.0)) > neck(face(male=0.0)) + 0.05
    assert neck(face(weight=1.0)) > neck(face(weight=-1.0)) + 0.05
    child, adult = face(age=10.0), face()
    assert np.ptp(child[:, 1]) != pytest.approx(np.ptp(adult[:, 1]), abs=0.05)


def test_expressions_are_mostly_neutral_or_smiling(heads: Heads) -> None:
    rng = np.random.default_rng(0)
    drawn = [sample_expression(rng, sorted(heads.units)) for _ in range(400)]
    opened = np.mean([d.get("mouth-open", 0) > 0.1 for d in drawn])
    shut = np.mean([d.get("eye-left-closure", 0) > 0.8 for d in drawn])
    smiling = np.mean([d.get("mouth-corner-puller", 0) > 0.25 for d in drawn])
    assert 0.15 < opened < 0.4
    assert 0.02 < shut < 0.1
    assert 0.25 < smiling < 0.5


def test_a_saved_model_is_the_same_model(heads: Heads, tmp_path: Path) -> None:
    save_heads(heads, tmp_path)
    again = load_heads(tmp_path)
    params = people(heads, 1)[0]
    np.testing.assert_allclose(heads.vertices(params), again.vertices(params), atol=2e-4)
    assert (tmp_path / "model.safetensors").stat().st_size < 4_200_000
    assert again.facts == heads.facts


def test_a_folder_without_a_model_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"base\.obj and targets"):
        load_heads(tmp_path)
    (tmp_path / "config.json").write_text('{"format": "something-else"}')
    with pytest.raises(CheckpointError, match="expected a head model"):
        load_heads(tmp_path)
