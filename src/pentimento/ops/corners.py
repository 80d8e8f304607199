"""Corner and centre pooling (CornerNet, Law and Deng 2018; CenterNet, Duan et al. 2019).

All functions map (..., H, W) to the same shape and need nothing but running maxima, so they run,
differentiate and export wherever PyTorch does.
"""

from torch import Tensor


def top_pool(x: Tensor) -> Tensor:
    """Return at every place the greatest value from there down: what a top edge looks at."""
    return x.flip(-2).cummax(-2).values.flip(-2)


def bottom_pool(x: Tensor) -> Tensor:
    """Return at every place the greatest value from there up."""
    return x.cummax(-2).values


def left_pool(x: Tensor) -> Tensor:
    """Return at every place the greatest value from there to the right."""
    return x.flip(-1).cummax(-1).values.flip(-1)


def right_pool(x: Tensor) -> Tensor:
    """Return at every place the greatest value from there to the left."""
    return x.cummax(-1).values


def column_pool(x: Tensor) -> Tensor:
    """Return the greatest value of the column, everywhere in it (top after bottom pooling)."""
    return x.amax(-2, keepdim=True).expand_as(x)


def row_pool(x: Tensor) -> Tensor:
    """Return the greatest value of the row, everywhere in it (left after right pooling)."""
    return x.amax(-1, keepdim=True).expand_as(x)
