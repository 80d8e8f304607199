"""The networks of the swapping autoencoder (Park et al., NeurIPS 2020), at any size.

Users: the swapping autoencoder, TCP, and `compat.swapping_autoencoder`.

Alphabet: B batch; S picture size; C structure channels; Z texture length; h = S / 2^downs side of
the structure code; T patches per picture; P patch size. Pictures are in [-1, 1].
"""

from collections.abc import Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.nn.stylegan import (
    BILINEAR,
    Blur,
    ConvLayer,
    EqualLinear,
    ResBlock,
    StyledConv,
    ToRGB,
    convolve,
)


def unit(code: Tensor) -> Tensor:
    """Scale a code to unit length over its channels (dimension 1)."""
    return code * torch.rsqrt(code.square().sum(1, keepdim=True) + 1e-8)


def smallest_side(downs: int, texture_downs: int = 2) -> int:
    """Return the smallest side of a picture that the encoder's valid convolutions can take."""
    return (2 ** (texture_downs + 1) - 1) * 2**downs


class Encoder(nn.Module):
    """A picture → its structure and its texture.

    Args:
        width: channels of the first layer, doubled at every halving.
        structure: C.
        texture: Z.
        downs: halvings on the way to the structure code.
        texture_downs: further halvings on the way to the texture code.
    """

    def __init__(
        self, width: int, structure: int, texture: int, *, downs: int = 4, texture_downs: int = 2
    ) -> None:
        super().__init__()
        widths = [width * 2**n for n in range(downs + texture_downs + 1)]
        self.from_rgb = ConvLayer(3, widths[0], 1)
        self.trunk = nn.Sequential(
            *(
                ResBlock(widths[n], widths[n + 1], taps=(1.0, 2.0, 1.0), reflect=True)
                for n in range(downs)
            )
        )
        middle = widths[downs]
        self.to_structure = nn.Sequential(
            ConvLayer(middle, middle, 1),
            ConvLayer(middle, structure, 1, activate=False, bias=True),
        )
        self.texture_trunk = nn.Sequential(
            *(
                ConvLayer(widths[n], widths[n + 1], 3, down=True, taps=(1.0,), pad=False)
                for n in range(downs, downs + texture_downs)
            )
        )
        self.to_texture = EqualLinear(widths[-1], texture)

    def raw(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return both codes before they are scaled to unit length."""
        x = self.trunk(self.from_rgb(image))
        return self.to_structure(x), self.to_texture(self.texture_trunk(x).mean((2, 3)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) → structure (B, C, h, h) and texture (B, Z), of unit length."""
        structure, texture = self.raw(image)
        return unit(structure), unit(texture)


class TextureConv(nn.Module):
    """Convolution under a texture, which may differ from place to place.

    Unlike StyleGAN2's, it brings the style to unit mean square, scales the input with it, and
    demodulates the weights without it.

    Args:
        c_in: input channels.
        c_out: output channels.
        size: of the kernel.
        texture: Z.
        up: double the size.
        demodulate: bring the weights of each output channel to unit norm.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        size: int,
        texture: int,
        *,
        up: bool = False,
        demodulate: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, c_out, c_in, size, size))
        self.blur = Blur(BILINEAR, (1, 1), up=2) if up else None
        self.modulation = EqualLinear(texture, c_in, bias=1.0)
        self.scale, self.demodulate = 1 / sqrt(c_in * size**2), demodulate

    def forward(self, x: Tensor, texture: Tensor) -> Tensor:
        """Convolve x (B, C, h, w) under texture (B, Z) or a map (B, Z, any, any)."""
        style = _at_size(self.modulation(texture), x)
        weight = self.weight[0] * self.scale
        if self.demodulate:
            style = style * torch.rsqrt(style.square().mean(1, keepdim=True) + 1e-8)
            weight = weight * torch.rsqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        return convolve(x * style, weight, self.blur)


def _at_size(style: Tensor, like: Tensor) -> Tensor:
    """Return a style as (B, C, 1, 1), or a map of styles at the size of `like`."""
    if style.ndim == 2:
        return style[:, :, None, None]
    return F.interpolate(style, like.shape[2:], mode="bilinear", align_corners=False)


class TextureModulation(nn.Module):
    """Scale and shift the structure code by the texture."""

    def __init__(self, structure: int, texture: int) -> None:
        super().__init__()
        self.scale = EqualLinear(texture, structure, bias=1.0)
        self.bias = EqualLinear(texture, structure)

    def forward(self, x: Tensor, texture: Tensor) -> Tensor:
        """Modulate x (B, C, h, w)."""
        return x * _at_size(self.scale(texture), x) + _at_size(self.bias(texture), x)


class GeneratorBlock(nn.Module):
    """Two convolutions under a texture beside a short cut; the sum is divided by sqrt(2)."""

    def __init__(self, c_in: int, c_out: int, texture: int, *, up: bool) -> None:
        super().__init__()
        self.conv1 = StyledConv(TextureConv(c_in, c_out, 3, texture, up=up), c_out)
        self.conv2 = StyledConv(TextureConv(c_out, c_out, 3, texture), c_out)
        self.skip: nn.Module = nn.Identity()
        if c_in != c_out:
            self.skip = ConvLayer(c_in, c_out, 1, activate=up)
        self.up = up

    def forward(self, x: Tensor, texture: Tensor, noises: Sequence[Tensor | None]) -> Tensor:
        """Transform x (B, C, h, w); one noise map per convolution."""
        skip = self.skip(x)
        if self.up:
            skip = F.interpolate(skip, scale_factor=2, mode="bilinear", align_corners=False)
        for conv, noise in zip((self.conv1, self.conv2), noises, strict=True):
            x = conv(x, texture, noise)
        return (skip + x) / sqrt(2)


class Generator(nn.Module):
    """A structure and a texture → a picture.

    Args:
        structure: C.
        texture: Z.
        head_widths: channels of the blocks at the structure's size.
        widths: channels of the up-sampling blocks.
    """

    def __init__(
        self, structure: int, texture: int, head_widths: Sequence[int], widths: Sequence[int]
    ) -> None:
        super().__init__()
        self.modulate = TextureModulation(structure, texture)
        self.head, self.up = nn.ModuleList(), nn.ModuleList()
        c = structure
        for blocks, channels in ((self.head, head_widths), (self.up, widths)):
            for width in channels:
                blocks.append(GeneratorBlock(c, width, texture, up=blocks is self.up))
                c = width
        self.to_rgb = ToRGB(TextureConv(c, 3, 1, texture, demodulate=False))

    def noises(self, structure: Tensor, seed: int) -> list[Tensor]:
        """Draw the noise maps (1, 1, h, w) of `forward` from a seed, to be shared by a batch."""
        source = torch.Generator().manual_seed(seed)
        h, w = structure.shape[2:]
        scales = [1] * len(self.head) + [2 ** (n + 1) for n in range(len(self.up))]
        return [
            torch.randn(1, 1, h * scale, w * scale, generator=source).to(structure)
            for scale in scales
            for _ in range(2)
        ]

    def forward(
        self, structure: Tensor, texture: Tensor, noise: Sequence[Tensor] | int | None = None
    ) -> Tensor:
        """Paint structure (B, C, h, w) with texture (B, Z), or a map (B, Z, any, any).

        Args:
            structure: what is where.
            texture: what it looks like.
            noise: None draws it anew; a seed draws it repeatably; else two maps per block.
        """
        blocks = [*self.head, *self.up]
        if isinstance(noise, int):
            noise = self.noises(structure, noise)
        maps = [None] * 2 * len(blocks) if noise is None else noise
        texture = unit(texture)
        x = self.modulate(unit(structure), texture)
        for n, block in enumerate(blocks):
            x = block(x, texture, maps[2 * n : 2 * n + 2])
        return self.to_rgb(x, texture)


class PatchCritic(nn.Module):
    """Do two sets of patches come from pictures of one texture?

    Args:
        size: P, a power of two.
        width: channels of the first layer, doubled at every halving.
        most: most channels of the halving layers.
        pair_width: of the layers that compare two patches.
        average: compare with the mean of all reference patches, not with one each.
    """

    def __init__(
        self, size: int, width: int, most: int, pair_width: int, *, average: bool = True
    ) -> None:
        super().__init__()
        self.average = average
        levels = size.bit_length() - 3  # halvings to 4 × 4
        widths = [min(width * 2**n, most) for n in range(levels + 1)]
        c, d = widths[-1], pair_width
        self.convs = nn.Sequential(
            ConvLayer(3, widths[0], 3),
            *(ResBlock(widths[n], widths[n + 1]) for n in range(levels)),
            ResBlock(c, 2 * c, down=False),
            ConvLayer(2 * c, c, 3, pad=False),
        )
        self.pair = nn.Sequential(
            EqualLinear(8 * c, d, activate=True),
            EqualLinear(d, d, activate=True),
            EqualLinear(d, d // 2, activate=True),
            EqualLinear(d // 2, 1),
        )

    def features(self, patches: Tensor) -> Tensor:
        """(B, n, 3, P, P) → (B, n, 4 c)."""
        return self.convs(patches.flatten(0, 1)).reshape(*patches.shape[:2], -1)

    def forward(self, reference: Tensor, patches: Tensor) -> Tensor:
        """Score patches against the reference patches of the same picture.

        Args:
            reference: (B, T, 3, P, P).
            patches: (B, n · T, 3, P, P); without averaging, every T of them meet the T references.

        Returns:
            (B, n · T) unbounded scores.
        """
        wanted, features = self.features(reference), self.features(patches)
        if self.average:
            wanted = wanted.mean(1, keepdim=True).expand_as(wanted)
        wanted = wanted.repeat(1, patches.shape[1] // reference.shape[1], 1)
        return self.pair(torch.cat([wanted, features], -1).flatten(0, 1)).view(len(patches), -1)
