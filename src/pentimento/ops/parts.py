"""Where the parts of a face are, and how to take them out and put them back.

Alphabet: B batch; C channels; S side of a square picture; h, w frame of a part. Boxes are
(B, 4) = top, left, bottom, right in pixels of the picture, edges (bottom and right exclusive), of
any sign and size: what lies outside a picture is zero. Label maps are (B, S, S) integer tensors.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def mask_of(labels: Tensor, values: Sequence[int]) -> Tensor:
    """Return (B, S, S) bool: True where the label, 0..255, is one of `values`."""
    table = torch.zeros(256, dtype=torch.bool, device=labels.device)  # 30 times as fast as isin
    table[list(values)] = True
    return table[labels.long()]


def bounding_boxes(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the integer boxes (B, 4) of masks (B, H, W), and whether there is anything (B,).

    The box of an empty mask is the whole picture.
    """
    present = mask.flatten(1).any(1)
    sides = []
    for axis in (2, 1):
        line = (mask.any(axis) | ~present[:, None]).to(torch.uint8)
        sides.append((line.argmax(1), line.shape[1] - line.flip(1).argmax(1)))
    (top, bottom), (left, right) = sides
    return torch.stack([top, left, bottom, right], 1), present


def spans(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return where masks (B, H, W) lie, robustly, and whether there is anything (B,).

    A span is mean ± √3 standard deviations of the pixels' positions, which for a filled rectangle
    is its bounding box: a stray pixel hardly moves it. That of an empty mask is the whole picture.
    """
    weight = mask.float()
    total = weight.sum((1, 2))
    empty = total == 0
    edges = []
    for axis, other in ((1, 2), (2, 1)):
        n = mask.shape[axis]
        line = weight.sum(other)
        place = torch.arange(n, device=mask.device) + 0.5
        mean = (line * place).sum(1) / total.clamp(min=1)
        variance = (line * (place - mean[:, None]).square()).sum(1) / total.clamp(min=1)
        half = (3 * variance + 0.25).sqrt()  # a pixel is one wide: its own variance is 1/12
        edges.append((mean - half, mean + half, torch.zeros_like(mean), torch.full_like(mean, n)))
    (top, bottom, none, height), (left, right, _, width) = edges
    box = torch.stack([top, left, bottom, right], 1)
    whole = torch.stack([none, none, height, width], 1)
    return torch.where(empty[:, None], whole, box), ~empty


def centres(mask: Tensor, default: tuple[int, int]) -> Tensor:
    """Return the integer midpoints (B, 2) = y, x of the masks' boxes; `default` for empty ones."""
    boxes, present = bounding_boxes(mask)
    middle = (boxes[:, :2] + boxes[:, 2:] - 1) // 2
    return torch.where(present[:, None], middle, middle.new_tensor(default))


def boxes_around(middle: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return boxes (B, 4) of a (height, width) with the given integer midpoints (B, 2)."""
    half = middle.new_tensor(shape) // 2
    return torch.cat([middle - half, middle + half], 1)


def enlarge(
    labels: Tensor,
    parts: Sequence[tuple[Sequence[int], Tensor]],
    factor: float = 1.1,
) -> Tensor:
    """Overwrite label maps with an enlarged copy of some parts, each about its own centre.

    Args:
        labels: (B, S, S).
        parts: in painting order, (label values, centres (B, 2) = y, x) of each part.
        factor: of the enlargement. The map is resized to int(`factor` S) by nearest neighbour, as
            the official code of Mask-Guided Portrait Editing does.
    """
    side = labels.shape[-1]
    large = int(factor * side)
    steps = torch.arange(large, device=labels.device, dtype=torch.float64)
    nearest = ((steps + 0.5) * side / large).long()
    index = torch.arange(side, device=labels.device)
    batch = torch.arange(len(labels), device=labels.device)[:, None, None]
    out = labels
    for values, centre in parts:
        # The window of the enlarged map in which the centre stays where it is.
        start = (factor * centre.double()).long() - centre
        rows, columns = (nearest[start[:, n, None] + index] for n in range(2))
        moved = labels[batch, rows[:, :, None], columns[:, None, :]]
        out = torch.where(mask_of(moved, values), moved, out)
    return out


def _weights(low: Tensor, high: Tensor, n_out: int, n_in: int) -> Tensor:
    """Return (B, n_out, n_in): linear interpolation of the interval [low, high) at n_out points.

    Shrinking widens the triangle, so that nothing is skipped; an interval of n_out whole pixels
    gives exact zeros and ones. The weights of a point amount to 1, counting those of pixels beyond
    the n_in: a widened triangle alone would not, and ripple.
    """
    step = ((high - low) / n_out)[:, None, None]
    points = torch.arange(n_out, device=low.device)[:, None] + 0.5
    points = low[:, None, None] + points * step - 0.5
    reach = step.clamp(min=1.0)
    widest = int(reach.max().ceil())
    near = torch.arange(-widest, widest + 2, device=low.device)
    total = (
        (1 - ((points - points.floor()) - near).abs() / reach).clamp(min=0).sum(-1, keepdim=True)
    )
    offset = (points - torch.arange(n_in, device=low.device)) / reach
    return (1 - offset.abs()).clamp(min=0) / total


def take(picture: Tensor, boxes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return the boxes' contents (B, C, h, w), resampled to `shape`; zero outside the picture."""
    boxes = boxes.to(picture.dtype)
    rows = _weights(boxes[:, 0], boxes[:, 2], shape[0], picture.shape[-2])
    columns = _weights(boxes[:, 1], boxes[:, 3], shape[1], picture.shape[-1])
    return rows[:, None] @ picture @ columns[:, None].mT


def put(content: Tensor, boxes: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return zero pictures (B, C, *shape) with `content` (B, C, h, w) resampled into the boxes."""
    h, w = content.shape[-2:]
    boxes = boxes.to(content.dtype)
    # The picture as a box in the content's own pixels.
    size_y, size_x = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    inverse = torch.stack(
        [
            -boxes[:, 0] * h / size_y,
            -boxes[:, 1] * w / size_x,
            (shape[0] - boxes[:, 0]) * h / size_y,
            (shape[1] - boxes[:, 1]) * w / size_x,
        ],
        1,
    )
    return take(content, inverse, shape)


def fill_holes(values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Spread known values over unknown ones by a push-pull pyramid.

    Args:
        values: (B, C, H, W); H and W even as often as the pyramid should go down.
        weight: (B, 1, H, W) in [0, 1], how far each value is known.

    Returns:
        The values where they are known, else a smooth continuation of the nearest known ones; and
        (B, 1, 1, 1) bool, False where nothing is known at all (the values are zero there).
    """
    known, share = values * weight, weight
    levels = [(known, share)]
    while known.shape[-1] % 2 == 0 and known.shape[-2] % 2 == 0:
        known, share = F.avg_pool2d(known, 2), F.avg_pool2d(share, 2)
        # A coarse cell that is a quarter known counts as known: far values must not shine through.
        gain = (4 * share).clamp(max=1) / share.clamp(min=1e-6)
        known, share = known * gain, share * gain
        levels.append((known, share))
    total = share.sum((2, 3), keepdim=True)
    filled = known.sum((2, 3), keepdim=True) / total.clamp(min=1e-6)
    for known, share in reversed(levels):
        filled = F.interpolate(filled, known.shape[-2:], mode="bilinear", align_corners=False)
        filled = known + filled * (1 - share)
    return filled, total > 0
