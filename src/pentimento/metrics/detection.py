"""COCO's average precision of boxes, counted by pycocotools, for one class."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pentimento.ops.boxes import iou
from pentimento.structures import Boxes


def average_precision(truths: Sequence[NDArray[Any]], answers: Sequence[Boxes]) -> dict[str, float]:
    """Return the average precision of detections.

    Args:
        truths: per picture, (N, 4) true boxes, left, top, right, bottom.
        answers: per picture, what was found.

    Returns:
        `ap`, the mean over IoU 0.50, 0.55, ..., 0.95; `ap50` and `ap75`; `recall` at up to 100
        detections a picture, as a mean over the same IoUs. All are 0 where there is no truth.

    Raises:
        ValueError: not as many answers as pictures.
    """
    if len(truths) != len(answers):
        raise ValueError(f"{len(truths)} pictures with truths, but {len(answers)} with answers")
    names = ("ap", "ap50", "ap75", "recall")
    if not any(len(boxes) for boxes in truths):
        return dict.fromkeys(names, 0.0)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rows = [
        {"image_id": picture, "category_id": 1, "iscrowd": 0, **_extent(box)}
        for picture, boxes in enumerate(truths)
        for box in boxes
    ]
    found = [
        {"image_id": picture, "category_id": 1, "score": float(score), **_extent(box)}
        for picture, boxes in enumerate(answers)
        for box, score in zip(boxes.xyxy, boxes.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
        truth, answer = COCO(), COCO()
        images = [{"id": number} for number in range(len(truths))]
        for index, annotations in ((truth, rows), (answer, found)):
            index.dataset = {
                "images": images,
                "categories": [{"id": 1, "name": "face"}],
                "annotations": [{"id": i, **row} for i, row in enumerate(annotations, 1)],
            }
            index.createIndex()
        evaluation = COCOeval(truth, answer, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = evaluation.stats
    return {name: float(stats[at]) for name, at in zip(names, (0, 1, 2, 8), strict=True)}


def errors_of_found(
    found: Boxes,
    truths: NDArray[Any],
    unit: NDArray[Any],
    placed: NDArray[Any],
    wanted: NDArray[Any],
) -> list[float]:
    """Return for every object that was found the mean distance of its points, in its unit.

    Found is what some box overlaps by half; the best box counts. Objects with an unknown point
    (NaN), and those whose unit is 0, do not.

    Args:
        found: F boxes.
        truths: (N, 4) the true ones.
        unit: (N,) such as the distance of the eyes.
        placed: (F, K, 2 | 3) the points of every box that was found.
        wanted: (N, K, 2 | 3) the true ones.
    """
    known = np.isfinite(wanted).all((1, 2)) & (unit > 0)
    if not len(found) or not known.any() or not placed.shape[1]:
        return []
    overlaps = iou(*(torch.from_numpy(np.asarray(b, float)) for b in (truths[known], found.xyxy)))
    best, number = overlaps.max(1)
    away = np.linalg.norm(placed[number.numpy()] - wanted[known], axis=-1).mean(1) / unit[known]
    return [float(error) for error in away[best.numpy() >= 0.5]]


def _extent(box: NDArray[Any]) -> dict[str, Any]:
    left, top, right, bottom = (float(value) for value in box)
    return {
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
    }
