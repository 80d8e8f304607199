import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pentimento.ops.pose import head_pose
from pentimento.world.heads import load_heads

HEADS = load_heads()
MODEL = HEADS.landmarks(HEADS.neutral)


def photographed(points: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Turn points as `world.figure.Pose` turns a head, then look from afar."""
    turned = points - points.mean(0)
    for angle, (i, j) in ((roll, (0, 1)), (pitch, (2, 1)), (yaw, (2, 0))):
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        a, b = turned[:, i].copy(), turned[:, j].copy()
        turned[:, i], turned[:, j] = cos * a - sin * b, sin * a + cos * b
    depth = 15 - turned[:, 2]
    return np.stack([320 + 1500 * turned[:, 0] / depth, 240 - 1500 * turned[:, 1] / depth], 1)


angle = st.floats(-30, 30)


@settings(max_examples=25, deadline=None)
@given(angle, angle, angle)
def test_the_pose_that_was_drawn_is_read_off_68_points(yaw, pitch, roll):
    pose = head_pose(photographed(MODEL[68].astype(float), yaw, pitch, roll), MODEL[68])
    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx((yaw, pitch, roll), abs=2.5)


@pytest.mark.parametrize("turn", [(0, 0, 0), (30, 0, 0), (-30, 0, 0), (0, 0, 25), (15, 10, -10)])
def test_five_points_tell_yaw_and_roll(turn: tuple[float, float, float]):
    pose = head_pose(photographed(MODEL[5].astype(float), *turn), MODEL[5])
    assert pose.yaw == pytest.approx(turn[0], abs=4)
    assert pose.roll == pytest.approx(turn[2], abs=4)


def test_points_on_one_spot_or_one_line_have_a_finite_pose():
    line = np.stack([np.arange(5.0), np.arange(5.0)], 1)
    for points in (np.full((5, 2), 7.0), line):
        pose = head_pose(points, MODEL[5])
        assert np.isfinite([pose.yaw, pose.pitch, pose.roll]).all()
