"""From corner heatmaps to boxes (CornerNet, section 3.5).

Alphabet: N pictures; C classes; K peaks; D boxes; H, W.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from pentimento.ops.peaks import at_places, local_maxima, top_peaks


def pair_corners(
    maps: Mapping[str, Tensor], count: int, *, apart: float = 0.5, boxes: int = 1000
) -> Tensor:
    """Return boxes (N, D, 8) in cells: corners, score, both corners' scores, class; best first.

    Every top-left peak is tried with every bottom-right one. Pairs of different classes, with tags
    too far apart or inside out have the score -1.

    Args:
        maps: `tl_heat`, `br_heat` (N, C, H, W) logits, `tl_tag`, `br_tag` (N, 1, H, W), `tl_regr`,
            `br_regr` (N, 2, H, W).
        count: K.
        apart: greatest distance of the tags of one object.
        boxes: D, at most K².
    """
    ends = []
    for corner in ("tl", "br"):
        heat = local_maxima(maps[f"{corner}_heat"].sigmoid())
        score, index, kind, y, x = top_peaks(heat, count)
        place = torch.stack([x, y], 2) + at_places(maps[f"{corner}_regr"], index)
        ends.append((score, kind, place, at_places(maps[f"{corner}_tag"], index)[..., 0]))
    (score_a, kind_a, a, tag_a), (score_b, kind_b, b, tag_b) = ends
    n, k = score_a.shape
    wide = (n, k, k)
    score = (score_a[:, :, None] + score_b[:, None]) / 2
    wrong = (kind_a[:, :, None] != kind_b[:, None]) | (
        (tag_a[:, :, None] - tag_b[:, None]).abs() > apart
    )
    wrong |= (b[:, None] < a[:, :, None]).any(3)
    score = torch.where(wrong, torch.full_like(score, -1.0), score)
    table = torch.cat(
        [
            a[:, :, None].expand(*wide, 2), b[:, None].expand(*wide, 2), score[..., None],
            score_a[:, :, None, None].expand(*wide, 1), score_b[:, None, :, None].expand(*wide, 1),
            kind_a[:, :, None, None].expand(*wide, 1).float(),
        ],
        3,
    ).flatten(1, 2)  # fmt: skip
    best = score.flatten(1).topk(min(boxes, k * k)).indices
    return table.gather(1, best[..., None].expand(-1, -1, table.shape[2]))
