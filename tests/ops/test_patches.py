"""Random patches are windows of the picture, of the sizes asked for."""

import torch

from pentimento.ops.patches import random_patches


def _ramps(size: int) -> torch.Tensor:
    """Return a picture whose channels are the places of its pixels, in [-1, 1]."""
    place = (torch.arange(size) + 0.5) * 2 / size - 1
    y, x = torch.meshgrid(place, place, indexing="ij")
    return torch.stack([x, y, torch.zeros_like(x)])[None].repeat(3, 1, 1, 1)


def test_patches_are_windows_with_sides_in_range_and_either_hand() -> None:
    torch.manual_seed(0)
    patches = random_patches(_ramps(64), 16, 20)
    assert patches.shape == (3, 20, 3, 16, 16)
    # Away from the picture's rim, where half a pixel fades to zero.
    width = (patches[:, :, 0, 5:10, 10] - patches[:, :, 0, 5:10, 5]) * (15 / 5) / 2
    height = (patches[:, :, 1, 10, 5:10] - patches[:, :, 1, 5, 5:10]) * (15 / 5) / 2
    for side in (width.abs(), height):
        assert side.min() > 1 / 8
        assert side.max() < 1 / 4
    assert side.max() - side.min() > 0.05
    assert {-1.0, 1.0} == set(width.sign().flatten().tolist())
    assert not torch.allclose(width.abs()[..., 0], height[..., 0])  # proportions vary
    assert patches[:, :, :2].abs().max() <= 1


def test_equal_draws_cut_equal_patches_of_the_own_picture() -> None:
    pictures = torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)])
    patches = random_patches(pictures, 4, 2, rand=lambda *s, device: torch.full(s, 0.5))
    assert patches[0].eq(0).all()
    torch.testing.assert_close(patches[1], torch.ones(2, 3, 4, 4))
