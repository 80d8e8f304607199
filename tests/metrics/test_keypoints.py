"""Errors of points by hand, and COCO's similarity by the official library's fixture."""

import json
from pathlib import Path

import numpy as np
import pytest

from pentimento.metrics.keypoints import (
    area_under_curve,
    failure_rate,
    norms,
    object_similarity,
    point_errors,
)

FIXTURE = Path(__file__).parents[1] / "fixtures/parity/keypoints/coco_keypoint_metrics.json"


def face() -> np.ndarray:
    points = np.zeros((1, 68, 2))
    points[0, 36:42] = [10, 20]
    points[0, 42:48] = [40, 60]
    points[0, 45] = [46, 68]
    points[0, 8] = [0, 80]
    return points


def test_norms_are_those_of_the_eyes_or_the_box() -> None:
    truth = face()
    assert norms(truth) == pytest.approx(60)  # (36, 48)
    assert norms(truth, "inter-pupil") == pytest.approx(np.hypot(31, 41 + 1 / 3))
    assert norms(truth, "box") == pytest.approx(np.sqrt(46 * 80))
    with pytest.raises(ValueError, match="68 or 98"):
        norms(truth[:, :5])


def test_errors_are_mean_distances_over_the_norm() -> None:
    truth = face()
    found = truth.copy()
    found[0, :34] += [3, 4]
    assert point_errors(found, truth, norms(truth)) == pytest.approx(2.5 / 60)
    with pytest.raises(ValueError, match="do not fit"):
        point_errors(found, truth, np.ones(2))


def test_failures_and_the_area_under_the_curve() -> None:
    errors = np.array([0.0, 0.02, 0.08, 0.2])
    assert failure_rate(errors) == 0.25
    assert area_under_curve(errors) == pytest.approx((1 + 0.75 + 0 + 0) / 4)
    fine = np.linspace(0, 0.08, 100_001)
    curve = (errors[:, None] <= fine).mean(0)
    assert area_under_curve(errors) == pytest.approx(np.trapezoid(curve, fine) / 0.08, abs=1e-4)


def test_similarity_equals_the_official_library() -> None:
    fixture = json.loads(FIXTURE.read_text())
    compared = 0
    for image in fixture["images"]:
        truths = [a for a in fixture["annotations"] if a["image_id"] == image["id"]]
        found = [d for d in fixture["detections"] if d["image_id"] == image["id"]]
        found = sorted(found, key=lambda d: -d["score"])[:20]
        recorded = np.array(fixture["oks"].get(str(image["id"]), []))
        for i, detection in enumerate(found if recorded.size else []):
            for j, truth in enumerate(truths):
                marks = np.array(truth["keypoints"]).reshape(-1, 3)
                points = np.array(detection["keypoints"]).reshape(-1, 3)[:, :2]
                ours = object_similarity(
                    points, marks[:, :2], marks[:, 2], truth["area"], truth["bbox"]
                )
                assert ours == pytest.approx(recorded[i, j], abs=1e-8)
                compared += 1
    assert compared > 20
