"""Swapping autoencoder: a picture as structure and texture, to be mixed (Park et al., NeurIPS 2020).

Implemented: encoder, generator, picture critic and patch co-occurrence critic at the official
sizes, all losses (reconstruction, non-saturating adversarial on reconstructions and on swaps,
co-occurrence of patches), lazy R1 regularisation, swapping, interpolation, and texture maps, which
give every region its own texture.

Differs:
- Texture maps work for any batch size; the official broadcast only for batch 1.
- Inference draws the generator's noise from a fixed seed, so that it is repeatable.

Alphabet: B batch, even; S picture size; C structure channels; Z texture length; h = S / 16 side of
the structure code (at four halvings); T patches per picture; P patch size. Pictures are in [-1, 1].

Train: `pentimento train swapping_autoencoder --data DIR --preset compact --out runs/swap`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from math import sqrt
from typing import Final, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.pictures import open_pictures
from pentimento.engine.system import Dataset, OptimizerSpec, Split, Terms, Update
from pentimento.nn.stylegan import (
    BILINEAR,
    Blur,
    ConvLayer,
    Critic,
    EqualLinear,
    ResBlock,
    StyledConv,
    ToRGB,
    convolve,
)

_ENCODER_TAPS: Final = (1.0, 2.0, 1.0)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """Sizes of the networks and the course of training.

    Attributes:
        size: S, a power of two.
        encoder_width: channels of the encoder's first layer; doubled at every halving.
        structure: C.
        structure_downs: halvings on the way to the structure code.
        texture: Z.
        texture_downs: further halvings on the way to the texture code.
        head_widths: channels of the generator's blocks at the structure code's size.
        widths: channels of its up-sampling blocks, one per halving of the structure.
        critic_width: multiplier of the picture critic's channels.
        patch: P, a power of two.
        patches: T.
        patch_width: channels of the patch critic's first layer; doubled up to `patch_max`.
        patch_max: most channels of its strided layers.
        pair_width: width of the layers that compare two patches.
        average_reference: compare with the mean features of all reference patches (official
            pretrained models), not with one patch each.
        adversarial_rec: weight of the adversarial loss on reconstructions.
        r1: γ of the picture critic's gradient penalty.
        patch_r1: γ of the patch critic's.
        r1_every: critic steps between two penalties; each counts that many times.
        lr: Adam's learning rate.
        batch_size: B.
        steps: length of a run; critics and generator learn in turns.
    """

    size: int = 256
    encoder_width: int = 32
    structure: int = 8
    structure_downs: int = 4
    texture: int = 2048
    texture_downs: int = 2
    head_widths: tuple[int, ...] = (256, 512)
    widths: tuple[int, ...] = (512, 512, 256, 128)
    critic_width: float = 1.0
    patch: int = 128
    patches: int = 8
    patch_width: int = 32
    patch_max: int = 384
    pair_width: int = 2048
    average_reference: bool = True
    adversarial_rec: float = 0.5
    r1: float = 10.0
    patch_r1: float = 1.0
    r1_every: int = 16
    lr: float = 0.002
    batch_size: int = 16
    steps: int = 3_125_000

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved and batches that cannot be paired."""
        for name in ("size", "patch"):
            side = getattr(self, name)
            if side < 8 or side & (side - 1):
                raise ValueError(f"{name} must be a power of two from 8 on, got {side}")
        if len(self.widths) != self.structure_downs:
            raise ValueError(
                f"widths must name {self.structure_downs} blocks, one per halving of the "
                f"structure code, got {self.widths}"
            )
        if self.batch_size < 2 or self.batch_size % 2:
            raise ValueError(f"batch_size must be even (pictures swap), got {self.batch_size}")


def paper() -> Config:
    """Return the official 256-pixel model: 109 M parameters, 25 million pictures per player."""
    return Config()


def compact() -> Config:
    """Return a model for 128 pixels and one GPU."""
    return Config(
        size=128, encoder_width=16, texture=512, head_widths=(64, 128), widths=(128, 128, 64, 32),
        critic_width=0.25, patch=64, patch_width=16, patch_max=128, pair_width=512,
        batch_size=8, steps=200_000,
    )  # fmt: skip


def tiny() -> Config:
    """Return a model for tests."""
    return Config(
        size=32, encoder_width=4, structure=2, structure_downs=2, texture=8, head_widths=(4, 8),
        widths=(8, 4), critic_width=0.02, patch=8, patches=2, patch_width=4, patch_max=8,
        pair_width=8, r1_every=2, batch_size=2, steps=8,
    )  # fmt: skip


PRESETS: Final = {"paper": paper, "compact": compact, "tiny": tiny}


class _HasImage(Protocol):
    @property
    def image(self) -> NDArray[np.uint8]: ...


def open_data(spec: str, split: Split, config: Config) -> Dataset[_HasImage]:
    """Open pictures; see `pentimento.data.pictures`."""
    return open_pictures(spec, split, config.size)


@plain_dataclass(frozen=True)
class Batch:
    """Pictures.

    Attributes:
        image: (B, 3, S, S) in [-1, 1].
    """

    image: Tensor


@plain_dataclass(frozen=True)
class Codes:
    """What the encoder makes of pictures.

    Attributes:
        structure: (B, C, h, h), unit length over channels.
        texture: (B, Z), unit length, or a map of textures (B, Z, any, any).
    """

    structure: Tensor
    texture: Tensor


# --- encoder --------------------------------------------------------------------------------------


def unit(code: Tensor) -> Tensor:
    """Scale a code to unit length over its channels (dimension 1)."""
    return code * torch.rsqrt(code.square().sum(1, keepdim=True) + 1e-8)


class Encoder(nn.Module):
    """A picture → its structure and its texture."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        downs = config.structure_downs
        widths = [config.encoder_width * 2**n for n in range(downs + config.texture_downs + 1)]
        self.from_rgb = ConvLayer(3, widths[0], 1)
        self.trunk = nn.Sequential(
            *(
                ResBlock(widths[n], widths[n + 1], taps=_ENCODER_TAPS, reflect=True)
                for n in range(downs)
            )
        )
        middle = widths[downs]
        self.to_structure = nn.Sequential(
            ConvLayer(middle, middle, 1),
            ConvLayer(middle, config.structure, 1, activate=False, bias=True),
        )
        self.texture_trunk = nn.Sequential(
            *(
                ConvLayer(widths[n], widths[n + 1], 3, down=True, taps=(1.0,), pad=False)
                for n in range(downs, downs + config.texture_downs)
            )
        )
        self.to_texture = EqualLinear(widths[-1], config.texture)

    def raw(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return both codes before they are scaled to unit length."""
        x = self.trunk(self.from_rgb(image))
        return self.to_structure(x), self.to_texture(self.texture_trunk(x).mean((2, 3)))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) → structure (B, C, h, h) and texture (B, Z), of unit length."""
        structure, texture = self.raw(image)
        return unit(structure), unit(texture)


# --- generator ------------------------------------------------------------------------------------


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
    """A structure and a texture → a picture."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.modulate = TextureModulation(config.structure, config.texture)
        self.head, self.up = nn.ModuleList(), nn.ModuleList()
        c = config.structure
        for blocks, widths in ((self.head, config.head_widths), (self.up, config.widths)):
            for width in widths:
                blocks.append(GeneratorBlock(c, width, config.texture, up=blocks is self.up))
                c = width
        self.to_rgb = ToRGB(TextureConv(c, 3, 1, config.texture, demodulate=False))

    def noises(self, structure: Tensor, seed: int = 0) -> list[Tensor]:
        """Draw the noise of one picture from a seed, to be shared by all: (1, 1, h, w) each."""
        source = torch.Generator().manual_seed(seed)
        sides = [s.item() for s in torch.tensor(structure.shape[2:])]
        factors = [1] * 2 * len(self.head) + [2 ** (n // 2 + 1) for n in range(2 * len(self.up))]
        maps = [torch.randn(1, 1, *(int(s) * f for s in sides), generator=source) for f in factors]
        return [noise.to(structure) for noise in maps]

    def forward(
        self, structure: Tensor, texture: Tensor, noises: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Paint structure (B, C, h, w) with texture (B, Z), or a map (B, Z, any, any).

        Args:
            structure: what is where.
            texture: what it looks like.
            noises: two maps per block, in order; None draws them anew.
        """
        blocks = [*self.head, *self.up]
        maps = noises if noises is not None else [None] * 2 * len(blocks)
        texture = unit(texture)
        x = self.modulate(unit(structure), texture)
        for n, block in enumerate(blocks):
            x = block(x, texture, maps[2 * n : 2 * n + 2])
        return self.to_rgb(x, texture)


# --- patch critic ---------------------------------------------------------------------------------


class PatchCritic(nn.Module):
    """Do two sets of patches come from pictures of one texture?"""

    def __init__(self, config: Config) -> None:
        super().__init__()
        levels = config.patch.bit_length() - 3  # halvings to 4 × 4
        widths = [min(config.patch_width * 2**n, config.patch_max) for n in range(levels + 1)]
        c, d = widths[-1], config.pair_width
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

    def features(self, patches: Tensor, average: bool = False) -> Tensor:
        """(B, T, 3, P, P) → (B · T, c, 2, 2); with `average`, every patch gets their mean."""
        b, t = patches.shape[:2]
        features = self.convs(patches.flatten(0, 1))
        if average:
            mean = features.unflatten(0, (b, t)).mean(1, keepdim=True)
            features = mean.expand(b, t, *features.shape[1:]).flatten(0, 1)
        return features

    def compare(self, reference: Tensor, features: Tensor) -> Tensor:
        """Score pairs of features, (N, c, 2, 2) each → (N, 1)."""
        return self.pair(torch.cat([reference.flatten(1), features.flatten(1)], 1))

    def forward(self, reference: Tensor, patches: Tensor, average: bool) -> Tensor:
        """Score patches (B, T, 3, P, P) against reference patches of the same shape: (B · T, 1)."""
        return self.compare(self.features(reference, average), self.features(patches))


def random_patches(
    image: Tensor,
    size: int,
    count: int,
    share: tuple[float, float] = (1 / 8, 1 / 4),
    rand: Callable[..., Tensor] = torch.rand,
) -> Tensor:
    """Cut patches of random place, size, proportions and handedness.

    Args:
        image: (B, 3, S, S).
        size: P; every patch is resampled to it.
        count: T.
        share: range of a patch's sides, as shares of the picture's; width and height differ.
        rand: source of uniform numbers.

    Returns:
        (B, T, 3, P, P).
    """
    b = len(image)
    mirror, side, place = (rand(b * count, 1, 1, n, device=image.device) for n in (1, 2, 2))
    scale = side * (share[1] - share[0]) + share[0]
    centre = (place * 2 - 1) * (1 - scale)
    line = torch.linspace(-1, 1, size, device=image.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    flat = torch.stack([x, y], -1).expand(b * count, size, size, 2)
    sign = torch.cat([mirror.round() * 2 - 1, torch.ones_like(mirror)], -1)
    grid = flat * sign * scale + centre
    copies = image[:, None].expand(b, count, *image.shape[1:]).flatten(0, 1)
    return F.grid_sample(copies, grid, align_corners=False).unflatten(0, (b, count))
