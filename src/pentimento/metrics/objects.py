"""COCO's average precision of boxes in several classes, counted by pycocotools."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pentimento.structures import Boxes, Instances


def mean_average_precision(
    truths: Sequence[Instances], answers: Sequence[Instances]
) -> dict[str, float]:
    """Return the average precision of detections over the classes that occur in the truth.

    Args:
        truths: per picture, what is there; scores are not read.
        answers: per picture, what was found.

    Returns:
        `ap`, the mean over IoU 0.50, 0.55, ..., 0.95, and `ap50`, `ap75`; 0 without any truth.

    Raises:
        ValueError: not as many answers as pictures.
    """
    if len(truths) != len(answers):
        raise ValueError(f"{len(truths)} pictures with truths, but {len(answers)} with answers")
    if not any(len(instances) for instances in truths):
        return dict.fromkeys(("ap", "ap50", "ap75"), 0.0)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    names = truths[0].names
    with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
        truth, answer = COCO(), COCO()
        for index, annotations in ((truth, _rows(truths)), (answer, _rows(answers))):
            index.dataset = {
                "images": [{"id": number} for number in range(len(truths))],
                "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
                "annotations": [{"id": i, **row} for i, row in enumerate(annotations, 1)],
            }
            index.createIndex()
        evaluation = COCOeval(truth, answer, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(evaluation.stats[at]) for at, name in enumerate(("ap", "ap50", "ap75"))}


def truths_of(
    boxes: Tensor, classes: Tensor, present: Tensor, names: tuple[str, ...]
) -> Iterator[Instances]:
    """Yield what is in each picture of a batch, with scores of 1.

    Args:
        boxes: (N, M, 4) in pixels.
        classes: (N, M) places in `names`.
        present: (N, M) bool: which rows are objects.
        names: of the classes.
    """
    for own, kinds, on in zip(boxes, classes, present, strict=True):
        ones = np.ones(int(on.sum()), np.float32)
        yield Instances(Boxes(own[on].cpu().numpy(), ones), kinds[on].cpu().numpy(), names)


def _rows(pictures: Sequence[Instances]) -> list[dict[str, Any]]:
    rows = []
    for picture, each in enumerate(pictures):
        for box, score, kind in zip(each.boxes.xyxy, each.boxes.scores, each.classes, strict=True):
            left, top, right, bottom = (float(value) for value in box)
            extent = [left, top, right - left, bottom - top]
            rows.append(
                {
                    "image_id": picture, "category_id": int(kind), "score": float(score),
                    "bbox": extent, "area": extent[2] * extent[3], "iscrowd": 0,
                }
            )  # fmt: skip
    return rows
