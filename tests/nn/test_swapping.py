"""Networks of the swapping autoencoder: where textures act, and how patches are compared."""

import torch
import torch.nn.functional as F

from pentimento.nn.swapping import Generator, PatchCritic, TextureConv


def test_texture_is_normalised_before_it_scales_and_weights_without_it() -> None:
    torch.manual_seed(0)
    conv = TextureConv(3, 4, 3, texture=5)
    torch.nn.init.zeros_(conv.modulation.bias)
    x, texture = torch.randn(2, 3, 6, 6), torch.randn(2, 5)
    y = conv(x, texture)
    torch.testing.assert_close(conv(x, 7 * texture), y)  # only the direction of a style counts
    with torch.no_grad():
        conv.weight *= 7
    torch.testing.assert_close(conv(x, texture), y)
    # Demodulation knows nothing of the style: a style on one channel of four raises the output.
    style = conv.modulation(texture)
    style = style * torch.rsqrt(style.square().mean(1, keepdim=True))
    weight = conv.weight[0] / conv.weight[0].square().sum((1, 2, 3), keepdim=True).sqrt()
    expected = F.conv2d(x * style[..., None, None], weight, padding=1)
    torch.testing.assert_close(y, expected)


def test_a_texture_map_gives_every_place_its_own_texture_in_any_batch() -> None:
    torch.manual_seed(0)
    generator = Generator(2, 8, (4, 8), (8, 4))
    structure, texture = torch.randn(2, 2, 8, 8), torch.randn(2, 8)
    plain = generator(structure, texture, noise=0)
    everywhere = texture[:, :, None, None].expand(-1, -1, 4, 4)
    torch.testing.assert_close(generator(structure, everywhere, noise=0), plain)
    other = everywhere.clone()
    other[..., 2:] = torch.randn(2, 8, 1, 1)
    mixed = generator(structure, other, noise=0)
    distance = (mixed - plain).abs().mean((0, 1, 2))
    assert distance[24:].mean() > 4 * distance[:6].mean()


def test_patch_critic_compares_each_set_with_the_same_references() -> None:
    torch.manual_seed(0)
    critic = PatchCritic(8, 4, 8, 8)
    reference, one, two = (torch.randn(2, 2, 3, 8, 8) for _ in range(3))
    together = critic(reference, torch.cat([one, two], 1))
    assert together.shape == (2, 4)
    torch.testing.assert_close(together[:, 2:], critic(reference, two))
    # With averaging, the order of the references does not matter.
    torch.testing.assert_close(critic(reference.flip(1), one), critic(reference, one))
