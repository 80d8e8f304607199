"""Portraits: reproducible, and every truth agrees with the others."""

import hashlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from pentimento.labels import CELEBAMASK19
from pentimento.world.figure import Pose
from pentimento.world.portraits import WorldPortrait, portrait, tresses

SEEDS = range(50)


@pytest.fixture(scope="module")
def crowd() -> list[WorldPortrait]:
    return [portrait(seed, 64) for seed in SEEDS]


def digest(made: WorldPortrait) -> str:
    arrays = [made.picture, made.labels.values, made.depth, made.uv.uv, made.box.xyxy]
    arrays += [points.xy for points in made.landmarks.values()]
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()


def test_portrait_same_seed_gives_same_bytes_in_a_fresh_process() -> None:
    program = (
        "import sys; sys.path.insert(0, 'tests/world');"
        "from test_portraits import digest, portrait;"
        "print(digest(portrait(5, 64)), digest(portrait(6, 64)))"
    )
    fresh = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert fresh == [digest(portrait(5, 64)), digest(portrait(6, 64))]
    assert fresh[0] != fresh[1]


def test_portrait_another_size_renders_the_same_scene() -> None:
    small, large = portrait(3, 64), portrait(3, 128)
    assert small.attributes == large.attributes
    assert small.landmarks[68].xy * 2 == pytest.approx(large.landmarks[68].xy, abs=1e-3)
    shrunk = cv2.resize(large.picture, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - small.picture).mean() < 8
    agree = small.labels.values == large.labels.values[::2, ::2]
    assert agree.mean() > 0.93


@pytest.mark.parametrize(("seed", "size"), [(-1, 64), (0, 8)])
def test_portrait_refuses_what_it_cannot_draw(seed: int, size: int) -> None:
    with pytest.raises(ValueError, match="seed >= 0 and size >= 16"):
        portrait(seed, size)


def test_a_head_is_turned_as_told_and_a_wider_frame_shows_it_smaller() -> None:
    near, far = (portrait(5, 128, pose=Pose(70, 0, 0, 0.5), room=room) for room in (1.0, 1.5))
    assert near.attributes["yaw"] == 70
    small, large = (np.ptp(each.landmarks[68].xy, axis=0) for each in (far, near))
    np.testing.assert_allclose(large / small, 1.5, rtol=0.01)
    right_eye, left_eye = far.landmarks[5].xy[:2]
    frontal = portrait(5, 128, pose=Pose(0, 0, 0, 0.5), room=1.5).landmarks[5].xy
    assert left_eye[0] - right_eye[0] < 0.6 * (frontal[1] - frontal[0])[0]


def test_every_class_occurs(crowd: list[WorldPortrait]) -> None:
    counts = np.zeros(len(CELEBAMASK19), int)
    for made in crowd:
        counts[np.unique(made.labels.values)] += 1
    missing = [name for name, count in zip(CELEBAMASK19.classes, counts, strict=True) if not count]
    assert not missing


def test_depth_is_finite_exactly_on_the_foreground(crowd: list[WorldPortrait]) -> None:
    for made in crowd:
        assert np.array_equal(np.isfinite(made.depth), made.labels.values > 0)
        assert (made.depth > 0.5).all()


def test_tresses_drops_strands_and_gaps_and_keeps_what_is_thin() -> None:
    hair, skin, jewel = CELEBAMASK19.values("hair", "skin", "neck_l")
    labels = np.full((16, 16), skin, np.uint8)
    labels[:6] = hair
    wanted = labels.copy()
    labels[6:, 4] = hair  # a strand over the skin; its root belongs to the tress
    wanted[6, 3:6] = hair
    labels[2, 3:9] = skin  # a gap in the hair
    labels[10, 8:] = wanted[10, 8:] = jewel
    assert np.array_equal(tresses(labels)[1:-1], wanted[1:-1])


def test_uv_lies_in_range_and_on_the_head(crowd: list[WorldPortrait]) -> None:
    bare = ("background", "hair", "hat", "eye_g", "ear_r", "neck_l", "cloth")
    for made in crowd:
        assert made.uv.uv.min() >= 0
        assert made.uv.uv.max() <= 1
        assert not (made.uv.covered & made.labels.mask("background", "hat", "eye_g")).any()
        face = made.labels.mask("nose", "u_lip", "l_lip")
        assert made.uv.covered[face].mean() > 0.9
        assert (
            made.uv.covered.sum()
            <= (~made.labels.mask(*bare)).sum() + made.labels.mask("hair").sum()
        )


def test_landmarks_lie_in_the_box_and_the_box_on_the_face(crowd: list[WorldPortrait]) -> None:
    for made in crowd:
        left, top, right, bottom = made.box.xyxy[0]
        xy = made.landmarks[68].xy
        assert ((xy >= [left - 1e-3, top - 1e-3]) & (xy <= [right + 1e-3, bottom + 1e-3])).all()
        assert 0.3 < (right - left) / 64 < 1.3


def test_visible_eye_landmarks_lie_on_their_eye(crowd: list[WorldPortrait]) -> None:
    """Image-left eye (36-41) is the subject's right one."""
    hits, seen = 0, 0
    for made in crowd:
        for name, points in (("r_eye", slice(36, 42)), ("l_eye", slice(42, 48))):
            grown = cv2.dilate(made.labels.mask(name).astype(np.uint8), np.ones((5, 5), np.uint8))
            if not grown.any() or made.attributes["sunglasses"]:
                continue
            marks = made.landmarks[68]
            for (x, y), visible in zip(marks.xy[points], marks.visible[points], strict=True):
                if visible and 0 <= x < 64 and 0 <= y < 64:
                    seen += 1
                    hits += int(grown[int(y), int(x)])
    assert seen > 250
    assert hits / seen > 0.95


def test_the_aligned_frame_puts_eyes_and_mouth_where_crops_have_them(
    crowd: list[WorldPortrait],
) -> None:
    five = np.stack([made.landmarks[5].xy for made in crowd]) / 64
    eyes, mouth = five[:, :2].mean(1), five[:, 3:].mean(1)
    assert five[:, 0, 0].mean() < five[:, 1, 0].mean()
    assert eyes.mean(0) == pytest.approx([0.5, 0.47], abs=0.03)
    assert (mouth - eyes)[:, 1].min() > 0.15
    assert np.abs(eyes - eyes.mean(0)).max() < 0.12
    assert eyes.std(0).min() > 0.004  # jittered, as real crops are


def test_portraits_differ_in_pose_light_and_person(crowd: list[WorldPortrait]) -> None:
    yaw = np.array([made.attributes["yaw"] for made in crowd])
    assert np.abs(yaw).max() <= 45
    assert yaw.std() > 5
    means = np.stack([made.picture.reshape(-1, 3).mean(0) for made in crowd])
    assert means.std(0).min() > 15
    for name, least in (("sex", 2), ("hair", 6), ("hair_colour", 5), ("background", 6)):
        assert len({made.attributes[name] for made in crowd}) >= least
