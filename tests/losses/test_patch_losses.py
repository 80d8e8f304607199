"""Patches know strokes from noise, which Gram matrices of a weak network do not."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from pentimento.losses.patches import nearest_patches, patch_distribution
from pentimento.world.painting import painting


def picture(seed: int, size: int = 48) -> Tensor:
    pixels = torch.from_numpy(painting(seed, size).copy()).permute(2, 0, 1)[None]
    return pixels.float() / 127.5 - 1


def test_a_picture_is_made_of_its_own_patches() -> None:
    style = picture(0)
    assert float(patch_distribution(style, style)) == 0
    assert float(nearest_patches(style, style)) == pytest.approx(0, abs=1e-9)


def test_nearest_patches_by_hand() -> None:
    style = -torch.ones(1, 3, 64, 64)
    style[..., 32:] = 1
    flat = torch.full((2, 3, 32, 32), 0.5)
    flat[1] = -0.5
    # The nearest patch is all 1, or all -1, half a unit away; the style's variance is 1.
    assert float(nearest_patches(flat, style)) == pytest.approx(0.25, rel=1e-2)


def test_the_distribution_counts_how_often_patches_are_there() -> None:
    style = -torch.ones(1, 3, 56, 56)
    style[..., 28:] = 1
    third = -torch.ones(1, 3, 56, 56)
    third[..., 40:] = 1
    flat = torch.ones(1, 3, 56, 56)
    distances = [float(patch_distribution(x, style)) for x in (style, third, flat)]
    assert distances[0] == 0
    assert 0.1 < distances[1] < distances[2]
    assert float(nearest_patches(flat, style)) == pytest.approx(0, abs=1e-9)  # each is there


def test_shuffled_pixels_are_no_strokes() -> None:
    torch.manual_seed(0)
    style, other = picture(0, 64), picture(0, 64).flip(3)
    shuffled = style.flatten(2)[..., torch.randperm(64 * 64)].view_as(style)
    for loss in (patch_distribution, nearest_patches):
        assert float(loss(shuffled, style)) > 1.3 * float(loss(other, style))


@pytest.mark.parametrize("loss", [patch_distribution, nearest_patches])
def test_every_pixel_is_pulled_and_small_pictures_are_enough(loss) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    small = (torch.rand(2, 3, 32, 32) * 2 - 1).requires_grad_()
    before = loss(small, picture(1, 32))
    before.backward()
    assert small.grad is not None
    assert F.max_pool2d(small.grad.abs().sum(1, keepdim=True), 2).gt(0).all()
    with torch.no_grad():
        small -= 0.05 * small.grad / small.grad.abs().mean()
    assert loss(small, picture(1, 32)) < before
