"""Edits whose truth is known: bend a face smoothly, hide pieces of it.

Whoever repaints the straight face from the bent one's textures learns what a mask edit asks for;
whoever lacks the inside of its mouth or its ears learns to invent them.
Alphabet: B batch; S side.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def bend(
    picture: Tensor, labels: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Shift and bend faces smoothly, each in its own way.

    Args:
        picture: (B, 3, S, S).
        labels: (B, S, S).
        generator: of all chance; torch's own where None.
    """
    b, device = len(picture), picture.device
    knots = torch.randn(b, 2, 6, 6, generator=generator, device=device)
    field = F.interpolate(knots, picture.shape[-2:], mode="bicubic", align_corners=True)
    strength = torch.rand(b, 1, 1, 1, generator=generator, device=device) * 0.06
    shift = torch.randn(b, 2, 1, 1, generator=generator, device=device) * 0.02
    still = torch.eye(2, 3, device=device).expand(b, -1, -1)
    grid = F.affine_grid(still, list(picture.shape), align_corners=False)
    grid = grid + (field * strength + shift).movedim(1, -1)
    bent = F.grid_sample(picture, grid, padding_mode="border", align_corners=False)
    moved = F.grid_sample(
        labels[:, None].float(), grid, mode="nearest", padding_mode="border", align_corners=False
    )
    return bent, moved[:, 0].to(labels.dtype)


def hide(
    batch: int, side: int, device: torch.device, generator: torch.Generator | None = None
) -> Tensor:
    """Return (B, S, S) bool: two random ellipses per face, from a speck to a third of the side."""
    axis = (torch.arange(side, device=device) + 0.5) / side
    hidden = torch.zeros(batch, side, side, dtype=torch.bool, device=device)
    for _ in range(2):
        place, reach = torch.rand(2, batch, 2, 1, generator=generator, device=device)
        near = ((axis - place) / (0.01 + 0.16 * reach)).square()  # (B, 2, S)
        hidden |= near[:, 0, :, None] + near[:, 1, None, :] < 1
    return hidden


def forget(
    labels: Tensor,
    groups: Sequence[Sequence[int]],
    chance: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return (B, S, S) bool: whole groups of classes, each hidden with a chance, face by face.

    Args:
        labels: (B, S, S).
        groups: classes that are hidden together.
        chance: of each group.
        generator: of all chance; torch's own where None.
    """
    drawn = torch.rand(len(groups), len(labels), 1, 1, generator=generator, device=labels.device)
    hidden = torch.zeros_like(labels, dtype=torch.bool)
    for group, dice in zip(groups, drawn, strict=True):
        hidden |= torch.isin(labels, labels.new_tensor(list(group))) & (dice < chance)
    return hidden
