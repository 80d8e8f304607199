"""Edits whose truth is known: bend a face smoothly, hide pieces of it; and masks nobody has seen.

Whoever repaints the straight face from the bent one's textures learns what a mask edit asks for;
whoever lacks the inside of its mouth or its ears learns to invent them. What another person's hair
looks like on a face no picture shows: there only a parser can judge, by the mask (`wish`).
Alphabet: B batch; S side.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from pentimento.ops.blend import without


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


def wish(
    labels: Tensor,
    features: Sequence[int],
    skin: int,
    hair: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw masks as people edit them: features moved and bent, often the next face's hair.

    Args:
        labels: (B, S, S).
        features: classes that lie in the skin and leave skin where they go.
        skin: its class.
        hair: its class; what it leaves becomes the nearest other class.
        generator: of all chance; torch's own where None.

    Returns:
        (B, S, S) masks, and (B,) bool: which faces wear the next one's hair.
    """
    wanted = labels.clone()
    borrowed = torch.rand(len(labels), generator=generator, device=labels.device) < 0.5
    for face in borrowed.nonzero()[:, 0].tolist():
        bare = without(labels[face].cpu().numpy(), hair)
        wanted[face] = torch.from_numpy(np.ascontiguousarray(bare))
    parts = labels.new_tensor(list(features))
    wanted = wanted.where(~torch.isin(wanted, parts), skin)
    bent = bend(labels[:, None].expand(-1, 3, -1, -1).float(), labels, generator)[1]
    wanted = wanted.where(~(torch.isin(bent, parts) & (wanted == skin)), bent)
    return wanted.where(~(borrowed[:, None, None] & (labels.roll(-1, 0) == hair)), hair), borrowed
