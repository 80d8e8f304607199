"""How far points are off along a surface: geodesic point similarity (Güler et al., CVPR 2018)."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

KAPPAS: Final = np.repeat(
    [0.351, 0.107, 0.126, 0.237, 0.173, 0.142, 0.128, 0.150], [2, 2, 2, 4, 4, 4, 4, 2]
)
"""(24,) spread of each of DensePose's parts, in metres of the body: parts 1-2, 3-4, 5-6, 7-10,
11-14, 15-18, 19-22 and 23-24 share one."""

FACE_KAPPA: Final = 0.15
"""Spread on a face, in distances of the outer eye corners."""


def point_similarity(distances: NDArray[Any], kappa: NDArray[Any] | float) -> float:
    """Return GPS: the mean of exp(-g² / 2κ²) over points; 0 without points.

    Args:
        distances: (K,) geodesic distances g; infinite where a point was taken for background.
        kappa: (K,) or one number, in the same unit.
    """
    if len(distances) == 0:
        return 0.0
    g = np.asarray(distances, np.float64)
    return float(np.exp(-(g**2) / (2 * np.asarray(kappa, np.float64) ** 2)).mean())


def masked_similarity(similarity: float, overlap: float) -> float:
    """Return GPSm: the geometric mean of GPS and the masks' intersection over union."""
    return float(np.sqrt(similarity * overlap))


@dataclass(frozen=True)
class Surface:
    """How large the charts of a body are.

    Attributes:
        spans: (P, 2) metres along u and v of every part.
        round: (P,) bool, whether u runs round the part and comes back.
        kappas: (P,) metres.
    """

    spans: NDArray[np.float64]
    round: NDArray[np.bool_]
    kappas: NDArray[np.float64]


_HAND, _FOOT, _HEAD = (0.14, 0.20), (0.24, 0.24), (1.19, 1.11)
_ARMS: Final = ((0.26, 0.45), (0.20, 0.35))
_LEGS: Final = ((0.44, 0.57), (0.29, 0.66))
# Metres along u and v, weighed by area, of 29 people of rendered scenes.
_RENDERED: Final = np.array(
    [_HEAD, (1.97, 1.87), (0.89, 0.89), *[_ARMS[0]] * 2, *[_ARMS[1]] * 2, *[_HAND] * 2,
     *[_LEGS[0]] * 2, *[_LEGS[1]] * 2, *[_FOOT] * 2]
)  # fmt: skip
# The authors measure along the mesh of a body that is not free. Their charts are taken to be as
# large as the same parts of rendered people, whose limbs they cut lengthwise into two charts.
_COCO: Final = np.array(
    [*[(0.44, 0.60)] * 2, *[_HAND] * 2, *[_FOOT] * 2]
    + [(u / 2, v) for u, v in (*_LEGS, *_ARMS) for _ in range(4)]
    + [(0.30, 0.30)] * 2
)  # fmt: skip

SURFACES: Final[Mapping[int, Surface]] = {
    15: Surface(
        _RENDERED, np.arange(15) >= 2,
        KAPPAS[np.array([23, 23, 1, 15, 15, 19, 19, 3, 3, 7, 7, 11, 11, 5, 5]) - 1],
    ),
    24: Surface(_COCO, np.zeros(24, bool), KAPPAS),
}  # fmt: skip
"""By number of parts: 15 of rendered people (`data/people.py`), 24 of COCO DensePose."""


def point_similarities(
    people: Sequence[NDArray[Any]], surface: Surface, found: int
) -> NDArray[np.float64]:
    """Return the GPS (D, G) of every found person with every annotated one.

    Distances are straight lines on a part's chart, in metres; a point that is taken for another
    part is infinitely far.

    Args:
        people: of each annotated person (D, K, 4): true part, found part (both from 1; 0 for none)
            and the differences of u and v.
        surface: what the charts measure.
        found: D.
    """
    columns = []
    for table in people:
        part = table[..., 0].astype(np.int64) - 1
        off = np.abs(table[..., 2:])
        off[..., 0] = np.where(
            surface.round[part], np.minimum(off[..., 0], 1 - off[..., 0]), off[..., 0]
        )
        distance = np.linalg.norm(off * surface.spans[part], axis=-1)
        distance[table[..., 0] != table[..., 1]] = np.inf
        kappa = surface.kappas[part]
        columns.append([point_similarity(d, k) for d, k in zip(distance, kappa, strict=True)])
    return np.array(columns, np.float64).reshape(len(people), found).T


def surface_precision(
    similarities: Sequence[NDArray[Any]], scores: Sequence[NDArray[Any]]
) -> dict[str, float]:
    """Return `gps`, and `ap` and `ap50` with GPS in the place of IoU, as DensePose is scored.

    Args:
        similarities: per picture (D, G): GPS of found and annotated people.
        scores: per picture (D,).

    Returns:
        `gps`, the mean over annotated people of the found person that fits best, 0 where nobody
        was found; the average precision over thresholds 0.50, 0.55, ..., 0.95, and at 0.50.
    """
    best = [s.max(0) if len(s) else np.zeros(s.shape[1]) for s in similarities]
    if not sum(map(len, best)):
        return dict.fromkeys(("gps", "ap", "ap50"), 0.0)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    pictures = [{"id": n} for n in range(len(similarities))]
    truths = [(n, 1.0) for n, s in enumerate(similarities) for _ in range(s.shape[1])]
    answers = [(n, float(x)) for n, each in enumerate(scores) for x in each]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints tables
        sides = []
        for rows in (truths, answers):
            side = COCO()
            side.dataset = {
                "images": pictures,
                "categories": [{"id": 1, "name": "person"}],
                "annotations": [
                    {"id": i, "image_id": n, "category_id": 1, "score": score, "iscrowd": 0,
                     "bbox": [0, 0, 100, 100], "area": 10_000}
                    for i, (n, score) in enumerate(rows, 1)
                ],
            }  # fmt: skip
            side.createIndex()
            sides.append(side)
        evaluation = COCOeval(*sides, "bbox")

        def similar(picture: int, category: int) -> NDArray[np.float64]:
            order = np.argsort(-scores[picture], kind="mergesort")
            return similarities[picture][order]

        evaluation.computeIoU = similar
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        "gps": float(np.concatenate(best).mean()),
        "ap": float(evaluation.stats[0]),
        "ap50": float(evaluation.stats[1]),
    }
