"""Swapping autoencoder: structure and texture of pictures, mixed (Park et al., NeurIPS 2020).

Implemented: encoder, generator, picture critic and patch co-occurrence critic at the official
sizes, all losses (reconstruction, non-saturating adversarial on reconstructions and on swaps,
co-occurrence of patches), lazy R1 regularisation, swapping, interpolation, and texture maps, which
give every region its own texture.

Differs:
- Critics and autoencoder learn from the same batch in every step, critics first; officially they
  take turns, each on batches of its own.
- Texture maps work for any batch size; the official broadcast only for batch 1.
- Inference draws the generator's noise from a fixed seed, so that it is repeatable.

Alphabet: B batch, even; S picture size; C structure channels; Z texture length; h = S / 16 side of
the structure code (at four halvings); T patches per picture; P patch size. Pictures are in [-1, 1].

Train: `pentimento train swapping_autoencoder --data DIR --preset compact --out runs/swap`.
"""

from collections.abc import Iterable, Mapping, Sequence
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
from pentimento.ops.patches import random_patches

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
        r1_every: steps between two penalties; each counts that many times.
        lr: Adam's learning rate.
        batch_size: B.
        steps: length of a run.
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
    steps: int = 781_250

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
    """Return the official 256-pixel model: 109 M parameters, 25 million pictures shown in all."""
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
        pair_width=8, r1_every=2, batch_size=2, steps=4,
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


def fixed_noises(config: Config, structure: Tensor, seed: int = 0) -> list[Tensor]:
    """Draw the generator's noise maps (1, 1, h, w) from a seed, to be shared by a batch."""
    source = torch.Generator().manual_seed(seed)
    h, w = structure.shape[2:]
    scales = [1] * len(config.head_widths) + [2 ** (n + 1) for n in range(len(config.widths))]
    return [
        torch.randn(1, 1, h * scale, w * scale, generator=source).to(structure)
        for scale in scales
        for _ in range(2)
    ]


# --- patch critic ---------------------------------------------------------------------------------


class PatchCritic(nn.Module):
    """Do two sets of patches come from pictures of one texture?"""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.average = config.average_reference
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


# --- losses ---------------------------------------------------------------------------------------


def pay_real(scores: Tensor) -> Tensor:
    """Return what is paid for scores that should say real (non-saturating)."""
    return F.softplus(-scores.float()).mean()


def pay_fake(scores: Tensor) -> Tensor:
    """Return what is paid for scores that should say fake."""
    return F.softplus(scores.float()).mean()


def gradient_penalty(scores: Tensor, *inputs: Tensor) -> Tensor:
    """Return R1: the squared gradient of the scores, per sample, averaged (Mescheder et al. 2018).

    Args:
        scores: a critic's, any shape.
        inputs: (B, …) tensors that require gradients.
    """
    gradients = torch.autograd.grad(scores.sum(), inputs, create_graph=True)
    return torch.stack([g.square().flatten(1).sum(1).mean() for g in gradients]).sum()


# --- system ---------------------------------------------------------------------------------------


class SwappingAutoencoder:
    """Networks, training, and mixing.

    Args:
        config: see `Config`.
    """

    score: Final[tuple[str, Literal["max", "min"]]] = ("l1", "min")

    def __init__(self, config: Config) -> None:
        c = self.config = config
        self.networks = nn.ModuleDict(
            {
                "encoder": Encoder(c),
                "generator": Generator(c),
                "critic": Critic(c.size, c.critic_width, group=0),
                "patch_critic": PatchCritic(c),
            }
        )
        # Lazy penalties are extra steps; this keeps the rate per picture (Karras et al. 2020).
        lazy = c.r1_every / (c.r1_every + 1)
        critics = ("critic", "patch_critic")
        self.optimizers = {
            "autoencoder": OptimizerSpec(("encoder", "generator"), c.lr, (0.0, 0.99)),
            "critics": OptimizerSpec(critics, c.lr * lazy, (0.0, 0.99**lazy)),
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size, self.steps = c.batch_size, c.steps
        self._step = 0

    def collate(self, samples: Sequence[_HasImage]) -> Batch:
        """Stack pictures, to [-1, 1]."""
        return Batch(_to_tensor(np.stack([sample.image for sample in samples])))

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Teach the critics, then the autoencoder; an odd picture of the batch is left out."""
        real = batch.image[: len(batch.image) // 2 * 2]
        critics = self._teach_critics(real, update, self._step % self.config.r1_every == 0)
        self._step += 1
        return {**critics, **self._teach_autoencoder(real, update)}

    def _teach_critics(self, real: Tensor, update: Update, penalise: bool) -> Terms:
        critic, patch_critic = self.networks["critic"], self.networks["patch_critic"]
        with torch.no_grad():
            rec, mix = self._paint(real)
        reference, other = self._patches(real), self._patches(real)
        same, mixed = patch_critic(reference, torch.cat([other, self._patches(mix)], 1)).chunk(2, 1)
        terms = {
            "critic/real": pay_real(critic(real)),
            "critic/rec": 0.5 * pay_fake(critic(rec)),
            "critic/mix": 0.5 * pay_fake(critic(mix)),
            "patch_critic/real": pay_real(same),
            "patch_critic/mix": pay_fake(mixed),
        }
        update("critics", terms)
        if not penalise:
            return terms
        image, *patches = (x.detach().requires_grad_() for x in (real, reference, other))
        image_penalty = gradient_penalty(critic(image), image)
        patch_penalty = gradient_penalty(patch_critic(*patches), *patches)
        often = self.config.r1_every / 2  # γ / 2, as often as it is left out
        penalties = {
            "critic/r1": often * self.config.r1 * image_penalty,
            "patch_critic/r1": often * self.config.patch_r1 * patch_penalty,
        }
        update("critics", penalties)
        return {**terms, **penalties}

    def _teach_autoencoder(self, real: Tensor, update: Update) -> Terms:
        critic, patch_critic = self.networks["critic"], self.networks["patch_critic"]
        rec, mix = self._paint(real)
        terms = {
            "l1": F.l1_loss(rec, real[: len(rec)]),
            "adversarial/rec": self.config.adversarial_rec * pay_real(critic(rec)),
            "adversarial/mix": pay_real(critic(mix)),
            "patches/mix": pay_real(patch_critic(self._patches(real), self._patches(mix))),
        }
        update("autoencoder", terms)
        return terms

    def _paint(self, real: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruct the first half; give every picture the structure of its pair's other one."""
        structure, texture = self.networks["encoder"](real)
        half = len(real) // 2
        rec = self.networks["generator"](structure[:half], texture[:half])
        swapped = structure.unflatten(0, (half, 2)).flip(1).flatten(0, 1)
        return rec, self.networks["generator"](swapped, texture)

    def _patches(self, image: Tensor) -> Tensor:
        return random_patches(image, self.config.patch, self.config.patches)

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure reconstruction: mean absolute error in [0, 2], and PSNR in dB."""
        errors, squares = [], []
        for batch in batches:
            difference = self._decode(*self.networks["encoder"](batch.image)) - batch.image
            errors += difference.abs().mean((1, 2, 3)).tolist()
            squares += difference.square().mean((1, 2, 3)).tolist()
        psnr = 10 * np.log10(4 / np.maximum(squares, 1e-10))  # pictures span 2
        return {"l1": float(np.mean(errors)), "psnr": float(psnr.mean())}

    def samples(self, batch: Batch) -> Tensor:
        """Per picture: itself, its reconstruction, its structure in its neighbour's texture."""
        structure, texture = self.networks["encoder"](batch.image)
        columns = [batch.image, self._decode(structure, texture)]
        columns.append(self._decode(structure, texture.roll(1, 0)))
        return (torch.stack(columns, 1) / 2 + 0.5).clamp(0, 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return the count of steps, which decides when the penalty is due."""
        return {"step": torch.tensor(self._step)}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back the count of steps."""
        self._step = int(state["step"])

    def _decode(self, structure: Tensor, texture: Tensor) -> Tensor:
        noises = fixed_noises(self.config, structure)
        return self.networks["generator"](structure, texture, noises)

    @torch.no_grad()
    def encode(self, image: NDArray[np.uint8]) -> Codes:
        """Take a picture (H, W, 3) uint8 RGB apart; sides are multiples of 2^structure_downs."""
        factor = 2**self.config.structure_downs
        if image.ndim != 3 or image.shape[2] != 3 or any(s % factor for s in image.shape[:2]):
            raise ValueError(
                f"a picture is (H, W, 3) with sides that are multiples of {factor}, "
                f"got {image.shape}"
            )
        device = next(self.networks.parameters()).device
        return Codes(*self.networks["encoder"](_to_tensor(image[None]).to(device)))

    @torch.no_grad()
    def decode(self, codes: Codes) -> NDArray[np.uint8]:
        """Paint the picture (H, W, 3) uint8 RGB of one picture's codes."""
        pixels = (self._decode(codes.structure, codes.texture)[0] + 1) * 127.5
        return pixels.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()

    def swap(
        self,
        image: NDArray[np.uint8],
        other: NDArray[np.uint8],
        amount: float = 1.0,
        region: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.uint8]:
        """Give a picture the texture of another.

        Args:
            image: (H, W, 3) uint8 RGB, whose structure stays.
            other: picture of the texture, any size that `encode` takes.
            amount: 0 keeps the own texture, 1 takes the other, between mixes.
            region: (H, W) where the other texture goes; None is everywhere.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        own, wanted = self.encode(image), self.encode(other)
        if region is None:
            return self.decode(Codes(own.structure, own.texture.lerp(wanted.texture, amount)))
        if region.shape != image.shape[:2]:
            raise ValueError(f"region {region.shape} does not fit the picture {image.shape[:2]}")
        share = torch.from_numpy(region.astype(np.float32) * amount)[None, None]
        share = F.interpolate(share, own.structure.shape[2:], mode="area").to(own.structure)
        maps = [codes.texture[:, :, None, None] for codes in (own, wanted)]
        return self.decode(Codes(own.structure, maps[0] + share * (maps[1] - maps[0])))


def _to_tensor(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
