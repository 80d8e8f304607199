"""Losses of charts at annotated points (Güler et al., DensePose, CVPR 2018; detectron2).

Alphabet: R boxes, K points, P parts, S map side.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pentimento.ops.charts import Charts

WEIGHTS: Final[Mapping[str, float]] = {"points": 0.01, "part": 1.0, "coarse": 5.0}
"""As in detectron2."""


@dataclass(frozen=True)
class Marks:
    """Annotated points of boxes.

    Attributes:
        box: (K,) int64, the row of the charts that a point belongs to.
        xy: (K, 2) in pixels of the map, 0 at its left and upper edge.
        part: (K,) int64; 0 counts for the part only.
        uv: (K, 2) in [0, 1].
    """

    box: Tensor
    xy: Tensor
    part: Tensor
    uv: Tensor


def in_box(points: Tensor, truth: Tensor, found: Tensor, side: int) -> Tensor:
    """Return points (K, 2) of annotated boxes in map pixels of the found boxes.

    Args:
        points: relative to the annotated box, in 256ths of it, as COCO DensePose has them.
        truth: (K, 4) the annotated boxes.
        found: (K, 4) the boxes that the maps cover.
        side: S.
    """
    at = truth[:, :2] + points * (truth[:, 2:] - truth[:, :2]) / 256
    return (at - found[:, :2]) * side / (found[:, 2:] - found[:, :2])


def resample_masks(masks: Tensor, truth: Tensor, found: Tensor, side: int) -> Tensor:
    """Return annotated masks (R, M, M) as the found boxes see them: (R, S, S), 0 beyond.

    As in detectron2, a pixel of the map has the mask's value at its upper left corner.
    """
    low, size = truth[:, :2], truth[:, 2:] - truth[:, :2]
    start, end = ((found[:, i : i + 2] - low) / size * 2 - 1 for i in (0, 2))
    share = torch.arange(side, device=masks.device) / side
    x, y = ((start[:, i, None] + share * (end - start)[:, i, None]) for i in (0, 1))
    rows, columns = y[:, :, None].expand(-1, -1, side), x[:, None].expand(-1, side, -1)
    grid = torch.stack([columns, rows], -1)
    read = F.grid_sample(
        masks[:, None].float(), grid, mode="nearest", padding_mode="zeros", align_corners=True
    )
    return read[:, 0].long()


def at_points(maps: Tensor, marks: Marks) -> Tensor:
    """Return maps (R, P, S, S) at points, bilinearly: (K, P)."""
    side = maps.shape[-1]
    low = marks.xy.floor().long().clamp(0, side - 1)
    high = (low + 1).clamp(max=side - 1)
    part = torch.minimum(marks.xy, high.to(marks.xy.dtype)) - low
    (x0, y0), (x1, y1), (fx, fy) = low.unbind(1), high.unbind(1), part[..., None].unbind(1)
    top = maps[marks.box, :, y0, x0] * (1 - fx) + maps[marks.box, :, y0, x1] * fx
    bottom = maps[marks.box, :, y1, x0] * (1 - fx) + maps[marks.box, :, y1, x1] * fx
    return top * (1 - fy) + bottom * fy


def chart_losses(
    charts: Charts, marks: Marks, masks: Tensor, weights: Mapping[str, float] = WEIGHTS
) -> dict[str, Tensor]:
    """Return the weighted losses of charts.

    U and V by smooth L1, summed over the points; the part at points and the coarse segmentation
    everywhere by cross-entropy. Points outside of their map do not count.

    Args:
        charts: of R boxes.
        marks: their points.
        masks: (R, S, S) int64 true segmentation; with two coarse channels all but 0 is the body.
        weights: of `points`, `part` and `coarse`.
    """
    if charts.coarse.shape[1] == 2:
        masks = (masks > 0).long()
    side = charts.fine.shape[-1]
    valid = ((marks.xy >= 0) & (marks.xy < side)).all(1)
    marks = Marks(marks.box[valid], marks.xy[valid], marks.part[valid], marks.uv[valid])
    parts = at_points(charts.fine, marks)
    on = marks.part > 0
    terms = {}
    for i, (name, maps) in enumerate({"u": charts.u, "v": charts.v}.items()):
        read = at_points(maps, marks).gather(1, marks.part[:, None])[:, 0]
        error = F.smooth_l1_loss(read[on], marks.uv[on, i], reduction="sum")
        terms[name] = weights["points"] * error
    wrong = F.cross_entropy(parts, marks.part, reduction="sum") / max(len(parts), 1)
    terms["part"] = weights["part"] * wrong
    terms["coarse"] = weights["coarse"] * F.cross_entropy(charts.coarse, masks)
    return terms
