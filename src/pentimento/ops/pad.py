"""Frames that networks can halve."""

import torch
from torch import Tensor


def pad_to_multiple(x: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Continue pictures to the right and downwards by reflection, as often as it takes.

    Args:
        x: (B, C, H, W).
        multiple: of which both sides of the result are multiples.
        least: smallest side of the result.

    Returns:
        (B, C, H', W') with `x` in its top left corner.
    """
    height, width = x.shape[2:]
    rows, columns = (reflected(side, multiple, least).to(x.device) for side in (height, width))
    if (len(rows), len(columns)) == (height, width):
        return x
    return x.index_select(2, rows).index_select(3, columns)


def reflected(side: int, multiple: int, least: int = 1) -> Tensor:
    """Return which of `side` rows each row of the continued picture repeats, as int64."""
    wanted = -(-max(side, least) // multiple) * multiple
    period = max(1, 2 * (side - 1))
    place = torch.arange(wanted) % period
    return torch.minimum(place, period - place)
