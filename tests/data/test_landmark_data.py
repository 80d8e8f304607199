"""Crops with landmarks: geometry stays true through every variation."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pentimento.data.landmarks import as_marked, jittered, open_landmarks, outlined, varied
from pentimento.data.london import points68
from pentimento.errors import DataError
from pentimento.labels import CELEBAMASK19
from pentimento.ops.landmarks import mirror_order

SKIN = CELEBAMASK19.value("skin")


def shape68() -> np.ndarray:
    """Return a rough upright face of 68 points about (64, 64)."""
    t = np.linspace(np.pi, 0, 17)
    jaw = np.stack([-40 * np.cos(np.pi - t), 40 * np.sin(t)], 1)
    brow = np.stack([np.linspace(-30, -10, 5), np.full(5, -22.0)], 1)
    nose = [[0, y] for y in (-10, -4, 2, 8)] + [[x, 12] for x in (-8, -4, 0, 4, 8)]
    eye = np.array([[-28, -10], [-23, -13], [-17, -13], [-12, -10], [-17, -8], [-23, -8]], float)
    other = (eye * [-1, 1])[[3, 2, 1, 0, 5, 4]]
    lips = np.array([[-14, 22], [-8, 19], [-3, 18], [0, 19], [3, 18], [8, 19], [14, 22]], float)
    low = np.array([[8, 27], [3, 29], [0, 29], [-3, 29], [-8, 27]], float)
    inner = np.array([[-12, 22], [-4, 21], [0, 21], [4, 21], [12, 22], [4, 24], [0, 24], [-4, 24]])
    right = (brow * [-1, 1])[::-1]
    return np.vstack([jaw, brow, right, nose, eye, other, lips, low, inner]) + 64


def export(folder: Path, count: int) -> Path:
    for part in ("images", "labels", "truths"):
        (folder / part).mkdir(parents=True)
    points = shape68()
    for number in range(count):
        image = np.full((128, 128, 3), 90, np.uint8)
        for x, y in points[[36, 45, 8]]:
            cv2.circle(image, (round(x - 0.5), round(y - 0.5)), 2, (255, 255, 255), -1)
        Image.fromarray(image).save(folder / "images" / f"{number}.png")
        Image.fromarray(np.full((128, 128), SKIN, np.uint8)).save(
            folder / "labels" / f"{number}.png"
        )
        marks = [[x, y, True] for x, y in points.tolist()]
        text = json.dumps({"landmarks": {"68": marks, "5": marks[:5]}})
        (folder / "truths" / f"{number}.json").write_text(text)
    return folder


def test_points_lie_on_what_they_mark_in_every_crop(tmp_path: Path) -> None:
    data = open_landmarks(str(export(tmp_path / "w", 12)), "train", 96, 68, varied=False)
    for seed in range(6):
        sample = data.sample(0, np.random.default_rng(seed))
        assert sample.image.shape == (96, 96, 3)
        # The chin is not moved along x by `as_marked`, and down by little.
        chin = sample.points[8]
        found = np.argwhere(sample.image[..., 0] > 170)[:, ::-1] + 0.5
        assert np.hypot(*(found - chin).T).min() < 4
        left, right = sample.points[[36, 45]]
        for corner in (left, right):  # eyes are not moved at all
            near = found[np.hypot(*(found - corner).T) < 4]
            assert np.abs(near.mean(0) - corner).max() < 1
        assert sample.eye_span == pytest.approx(np.hypot(*(right - left)))


def test_variation_moves_picture_and_points_alike() -> None:
    points = shape68()
    image = np.full((128, 128, 3), 20, np.uint8)
    cv2.circle(image, tuple(int(v) for v in np.round(points[45] - 0.5)), 3, (255, 255, 255), -1)
    hits = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        new, moved = varied(image, points, rng)
        bright = new.astype(float).sum(2)
        peak = np.unravel_index(cv2.GaussianBlur(bright, (0, 0), 2).argmax(), bright.shape)[::-1]
        spots = moved[[36, 45]]  # mirrored pictures have it as point 36
        hits += np.hypot(*(np.array(peak) + 0.5 - spots).T).min() < 4
    assert hits >= 22  # the rest is covered or drowned


def test_jitter_is_small_in_validation_and_turns_in_training() -> None:
    square = np.array([[0.0, 0], [0, 100], [100, 100], [100, 0]])
    rng = np.random.default_rng(0)
    calm = [jittered(square, rng, varied=False) for _ in range(50)]
    assert all(np.allclose(q[0, 1], q[3, 1]) for q in calm)
    wild = [jittered(square, rng, varied=True) for _ in range(200)]
    angles = [np.degrees(np.arctan2(*(q[3] - q[0])[::-1])) for q in wild]
    assert 25 < np.abs(angles).max() <= 35 + 1e-9


def test_hidden_jaw_points_move_onto_the_outline() -> None:
    points, visible = shape68(), np.ones(68, bool)
    labels = np.zeros((128, 128), np.uint8)
    cv2.ellipse(labels, (64, 60), (46, 58), 0, 0, 360, SKIN, -1)
    visible[[0, 8, 40]] = False
    moved = outlined(points, visible, labels)
    same = np.setdiff1d(np.arange(68), [0, 8])
    assert np.array_equal(moved[same], points[same])
    for i in (0, 8):
        assert labels[int(moved[i, 1]), int(moved[i, 0])] == 0
        assert np.hypot(*(moved[i] - points[i])) < 0.34 * 56
    assert np.array_equal(outlined(points[:5], visible[:5], labels), points[:5])


def test_marks_move_with_the_face_and_leave_eyes_and_lips() -> None:
    points = shape68()
    moved = as_marked(points)
    assert np.array_equal(moved[36:], points[36:])
    assert np.allclose(moved[mirror_order(68)] * [-1, 1] + [128, 0], as_marked(points), atol=0.3)
    angle = 0.5
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert np.allclose(as_marked(points @ turn), moved @ turn)


def test_london_points_become_68() -> None:
    full = np.random.default_rng(0).random((189, 2)) * 100
    points = points68(full)
    assert points.shape == (68, 2)
    assert np.array_equal(points[[36, 39, 42, 45]], full[[18, 22, 23, 27]])
    assert np.array_equal(points[48:55], full[87:94])
    assert np.array_equal(points[55:60], full[[108, 107, 106, 105, 104]])
    assert np.array_equal(points[[0, 16]], full[[109, 112]])
    assert np.allclose(points[60], (full[94] + full[87]) / 2)


def test_faults_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no known layout"):
        open_landmarks(str(tmp_path), "train", 64, 68)
    folder = export(tmp_path / "w", 12)
    with pytest.raises(DataError, match="not of 98"):
        open_landmarks(str(folder), "train", 64, 98).sample(0, np.random.default_rng(0))
    broken = export(tmp_path / "broken", 12)
    for path in (broken / "truths").iterdir():
        path.write_text('{"landmarks": {"68": [[1, 2, true]]}}')
    with pytest.raises(DataError, match="no landmarks"):
        open_landmarks(str(broken), "train", 64, 68).sample(0, np.random.default_rng(0))
