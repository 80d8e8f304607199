"""MaskGAN: repaint a face from an edited label mask (Lee et al., CVPR 2020).

Implemented: the dense mapping network with its spatial-aware style encoder, the mask VAE, the alpha
blender, and the two stages of training. Stage one trains the dense mapping network (and the VAE
beside it). Stage two is editing-behaviour simulated training: the frozen VAE interpolates each mask
with another face's, to both sides; the network paints both, the blender joins them, and the joined
picture must be as real as the direct one.

Differs:
- The official repository holds no training script. The schedule is the paper's; the VAE, whose
  loss it leaves open, learns cross-entropy plus `kl_weight` times the KL divergence, in stage one.
- No perceptual term: it needs ImageNet weights, which are not bundled. Matching of the critic's
  features stands alone, at its official weight.
- The critic's share of a fake is halved in stage two, where it sees two fakes for one real picture.
- Interpolated masks are made on the fly, from neighbours in the batch, not precomputed.

Alphabet: B batch; S picture size; K label classes; C channels; Z latent length. Pictures are in
[-1, 1]; masks are one-hot, all zero where the class is unknown.

Train: `pentimento train maskgan --data world --preset compact --out runs/maskgan`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.faces import Faces, FaceSample, open_faces
from pentimento.engine.schedules import linear_decay
from pentimento.engine.system import OptimizerSpec, Split, Terms, Update
from pentimento.labels import CELEBAMASK19
from pentimento.nn.critic import MultiscaleCritic
from pentimento.structures import LabelMap


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """Sizes of the networks and the course of training.

    Attributes:
        size: S, a power of two, at least 32.
        classes: K.
        width: channels of the generator's first layer.
        downs: halvings in the generator.
        blocks: residual blocks of the generator.
        style_width: channels of the style and label encoders.
        vae_width: channels of the mask VAE's first layer.
        latent: Z of the mask VAE.
        blender_width: channels of the blender's first layer.
        critic_width: channels of the critic's first layer.
        feature_weight: weight of feature matching, summed over layers, averaged over scales.
        kl_weight: weight of the VAE's KL divergence.
        interpolation: λ_inter; masks move by 1/λ of the way to the other mask, to and fro.
        lr: Adam's learning rate; its β1 is 0.5.
        batch_size: at least 2, because a mask is interpolated with its neighbour's.
        steps: both stages together.
        first_stage: share of `steps` that belongs to stage one.
    """

    size: int = 512
    classes: int = len(CELEBAMASK19)
    width: int = 64
    downs: int = 4
    blocks: int = 4
    style_width: int = 64
    vae_width: int = 32
    latent: int = 1024
    blender_width: int = 32
    critic_width: int = 64
    feature_weight: float = 10.0
    kl_weight: float = 1e-5
    interpolation: float = 2.5
    lr: float = 5e-5
    batch_size: int = 8
    steps: int = 600_000
    first_stage: float = 0.5

    def __post_init__(self) -> None:
        """Refuse sizes that the networks cannot halve, and batches without a neighbour."""
        if self.size < 32 or self.size & (self.size - 1):
            raise ValueError(f"size must be a power of two from 32 on, got {self.size}")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: masks are interpolated in pairs")
        if not 0 < self.first_stage < 1:
            raise ValueError(f"first_stage is a share between 0 and 1, got {self.first_stage}")


def paper() -> Config:
    """Return the official sizes (512 pixels, 90 M parameters in the generator)."""
    return Config()


def compact() -> Config:
    """Return a model for 128 pixels that trains in hours on one GPU."""
    return Config(
        size=128, width=32, downs=3, style_width=32, vae_width=16, latent=256, blender_width=16,
        critic_width=32, lr=2e-4, steps=60_000,
    )  # fmt: skip


def tiny() -> Config:
    """Return a model for tests."""
    return Config(
        size=32, width=4, downs=2, blocks=1, style_width=8, vae_width=4, latent=8,
        blender_width=4, critic_width=4, lr=2e-4, batch_size=2, steps=4,
    )  # fmt: skip


PRESETS: Final = {"paper": paper, "compact": compact, "tiny": tiny}


def open_data(spec: str, split: Split, config: Config) -> Faces:
    """Open faces with label maps; see `pentimento.data.faces`."""
    return open_faces(spec, split, config.size)


@plain_dataclass(frozen=True)
class Batch:
    """Faces and what they wear where.

    Attributes:
        image: (B, 3, S, S) in [-1, 1].
        labels: (B, S, S) int64; K and above is unknown.
    """

    image: Tensor
    labels: Tensor


# --- dense mapping network ------------------------------------------------------------------------


def instance_norm(channels: int) -> nn.Module:
    """Normalise each channel of each sample; nn.InstanceNorm2d has wrong gradients at batch 1."""
    return nn.GroupNorm(channels, channels, affine=False)


def _reflect(c_in: int, c_out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, size, stride, (size - 1) // 2, padding_mode="reflect")


def _draw_weights(module: nn.Module) -> None:
    """Draw convolutions from N(0, 0.02), as pix2pixHD does where a normalisation follows."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)


def _encoder(c_in: int, width: int, downs: int) -> nn.Sequential:
    layers = [nn.Sequential(_reflect(c_in, width, 7), instance_norm(width), nn.ReLU())]
    for n in range(downs):
        c = width * 2**n
        conv = nn.Conv2d(c, 2 * c, 3, stride=2, padding=1)
        layers.append(nn.Sequential(conv, instance_norm(2 * c), nn.ReLU()))
    return nn.Sequential(*layers)


def _decoder(width: int, downs: int, last: nn.Module) -> nn.Sequential:
    layers = []
    for n in reversed(range(downs)):
        c = width * 2**n
        conv = nn.ConvTranspose2d(2 * c, c, 3, stride=2, padding=1, output_padding=1)
        layers.append(nn.Sequential(conv, instance_norm(c), nn.ReLU()))
    return nn.Sequential(*layers, nn.Sequential(_reflect(width, 3, 7), last))


class SpatialTransform(nn.Module):
    """Scale and shift features at every place by what the label features say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale, self.shift = (
            nn.Sequential(
                nn.Conv2d(channels, channels, 1),
                nn.LeakyReLU(0.1),
                nn.Conv2d(channels, channels, 1),
            )
            for _ in range(2)
        )

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Transform x (B, C, h, w) under label features (B, C, h, w)."""
        return x * self.scale(labels) + self.shift(labels)


def _pyramid(c_in: int, width: int) -> nn.ModuleList:
    """Return six convolutions, five of which halve: three to 1/4 of the size, three to 1/32."""
    return nn.ModuleList(
        [
            _reflect(c_in, width // 4, 7),
            _reflect(width // 4, width // 2, 4, 2),
            *(_reflect(a, width, 4, 2) for a in (width // 2, width, width, width)),
        ]
    )


class SpatialStyleEncoder(nn.Module):
    """A picture and its mask → the style that the generator's blocks take, one vector.

    Args:
        classes: K.
        width: C of the features.
        length: of the style.
    """

    def __init__(self, classes: int, width: int, length: int) -> None:
        super().__init__()
        self.convs = _pyramid(3, width)
        self.label_convs = _pyramid(classes, width)
        self.transform1 = SpatialTransform(width)  # at 1/4 of the size
        self.transform2 = SpatialTransform(width)  # at 1/32
        self.project = nn.Conv2d(width, length, 1)

    def label_features(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, S, S) → (B, C, S/4, S/4) and (B, C, S/32, S/32), neither activated."""
        features = [mask]
        for conv in self.label_convs:
            features.append(conv(F.relu(features[-1])))  # a mask is its own ReLU
        return features[3], features[6]

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, S, S), (B, K, S, S) → (B, length)."""
        labels1, labels2 = self.label_features(mask)
        x = image
        for conv in self.convs[:3]:
            x = F.relu(conv(x))
        x = self.transform1(x, labels1)
        for conv in self.convs[3:]:
            x = F.relu(conv(x))
        x = self.transform2(x, labels2)
        return self.project(x.mean((2, 3), keepdim=True)).flatten(1)


class AdaptiveBlock(nn.Module):
    """Residual block whose instance normalisations take their bias and weight from the style."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _reflect(channels, channels, 3)
        self.conv2 = _reflect(channels, channels, 3)
        self.norm = instance_norm(channels)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Transform x (B, C, h, w) under its share of the style (B, 4 C)."""
        bias1, weight1, bias2, weight2 = style[:, :, None, None].chunk(4, 1)
        y = F.relu(self.norm(self.conv1(x)) * weight1 + bias1)
        return x + self.norm(self.conv2(y)) * weight2 + bias2


class DenseMapping(nn.Module):
    """The generator: a mask, dressed in the style of a picture with its own mask."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        deepest = config.width * 2**config.downs
        self.encode = _encoder(config.classes, config.width, config.downs)
        self.blocks = nn.ModuleList(AdaptiveBlock(deepest) for _ in range(config.blocks))
        self.decode = _decoder(config.width, config.downs, nn.Tanh())
        self.apply(_draw_weights)
        length = 4 * deepest * config.blocks
        self.style = SpatialStyleEncoder(config.classes, config.style_width, length)
        # Start from plain instance normalisation: bias 0, weight 1.
        start = torch.tensor([0.0, 1.0]).repeat(2 * config.blocks).repeat_interleave(deepest)
        self.style.project.bias = nn.Parameter(start)

    def forward(self, mask: Tensor, style_mask: Tensor, style_image: Tensor) -> Tensor:
        """(B, K, S, S), (B, K, S, S), (B, 3, S, S) → picture (B, 3, S, S)."""
        style = self.style(style_image, style_mask).chunk(len(self.blocks), 1)
        x = self.encode(mask)
        for block, share in zip(self.blocks, style, strict=True):
            x = block(x, share)
        return self.decode(x)


# --- alpha blender --------------------------------------------------------------------------------


class InstanceBlock(nn.Module):
    """Residual block with instance normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _reflect(channels, channels, 3)
        self.conv2 = _reflect(channels, channels, 3)
        self.norm = instance_norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → the same shape."""
        return x + self.norm(self.conv2(F.relu(self.norm(self.conv1(x)))))


class Blender(nn.Module):
    """Join two pictures by an alpha for every pixel and colour."""

    def __init__(self, width: int, downs: int = 3, blocks: int = 3) -> None:
        super().__init__()
        self.encode = _encoder(6, width, downs)
        self.blocks = nn.Sequential(*(InstanceBlock(width * 2**downs) for _ in range(blocks)))
        self.decode = _decoder(width, downs, nn.Sigmoid())
        self.apply(_draw_weights)

    def forward(self, one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
        """Return `one · alpha + two · (1 - alpha)` and alpha, all (B, 3, S, S)."""
        alpha = self.decode(self.blocks(self.encode(torch.cat([one, two], 1))))
        return one * alpha + two * (1 - alpha), alpha


# --- mask VAE -------------------------------------------------------------------------------------


class MaskEncoder(nn.Module):
    """A mask → mean and log-variance of its latent."""

    def __init__(self, classes: int, size: int, width: int, latent: int) -> None:
        super().__init__()
        widths = [classes, *(width * 2**n for n in range(_levels(size)))]
        self.layers = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(a, b, 4, stride=2, padding=1), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)
                )
                for a, b in pairwise(widths)
            )
        )
        self.mean = nn.Linear(widths[-1] * 16, latent)
        self.log_variance = nn.Linear(widths[-1] * 16, latent)

    def forward(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, S, S) → two (B, Z)."""
        flat = self.layers(mask).flatten(1)
        return self.mean(flat), self.log_variance(flat)


class MaskDecoder(nn.Module):
    """A latent → logits of a mask."""

    def __init__(self, classes: int, size: int, width: int, latent: int) -> None:
        super().__init__()
        widths = [width * 2**n for n in reversed(range(_levels(size)))]
        self.expand = nn.Linear(latent, widths[0] * 16)
        self.layers = nn.Sequential()
        for a, b in zip(widths, [*widths[1:], classes], strict=True):
            conv = nn.Conv2d(a, b, 3, padding=1, padding_mode="replicate")
            last = len(self.layers) == len(widths) - 1
            after = [] if last else [nn.BatchNorm2d(b, eps=1e-3), nn.LeakyReLU(0.2)]
            self.layers.append(nn.Sequential(nn.Upsample(scale_factor=2), conv, *after))

    def forward(self, z: Tensor) -> Tensor:
        """(B, Z) → (B, K, S, S)."""
        return self.layers(F.relu(self.expand(z)).view(len(z), -1, 4, 4))


def _levels(size: int) -> int:
    return size.bit_length() - 3  # halvings from `size` to 4


def interpolated_masks(
    encoder: nn.Module, decoder: nn.Module, mask: Tensor, reference: Tensor, strength: float
) -> tuple[Tensor, Tensor]:
    """Return the masks 1/`strength` of the way to a reference, and as far away from it.

    Args:
        encoder: `MaskEncoder`.
        decoder: `MaskDecoder`.
        mask: (B, K, S, S) one-hot.
        reference: the same shape.
        strength: λ_inter of the paper's equation 3.

    Returns:
        Two one-hot masks (B, K, S, S).
    """
    z, z_reference = encoder(mask)[0], encoder(reference)[0]
    step = (z_reference - z) / strength
    towards, away = (decoder(z + sign * step).argmax(1) for sign in (1, -1))
    return one_hot(towards, mask.shape[1]), one_hot(away, mask.shape[1])


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(B, S, S) integers → (B, K, S, S) float; values of K and above become all zero."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)[:, None, None]).float()


# --- losses ---------------------------------------------------------------------------------------


def least_squares(features: Sequence[Sequence[Tensor]], target: float) -> Tensor:
    """Return the LSGAN loss of a multi-scale critic's features, summed over scales."""
    return torch.stack([(scale[-1].float() - target).square().mean() for scale in features]).sum()


def feature_matching(fake: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the L1 distance of all features but the scores; layers summed, scales averaged."""
    distances = [
        F.l1_loss(a, b.detach())
        for scales in zip(fake, real, strict=True)
        for a, b in zip(scales[0][:-1], scales[1][:-1], strict=True)
    ]
    return torch.stack(distances).sum() / len(fake)


def vae_terms(
    logits: Tensor, labels: Tensor, mean: Tensor, log_variance: Tensor, kl_weight: float
) -> dict[str, Tensor]:
    """Return cross-entropy over known pixels and the weighted KL divergence to N(0, 1)."""
    unknown = torch.where(labels < logits.shape[1], labels, -100)
    kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
    return {"vae/mask": F.cross_entropy(logits, unknown), "vae/kl": kl_weight * kl}


# --- system ---------------------------------------------------------------------------------------


class MaskGAN:
    """Networks, both stages of training, and repainting.

    Args:
        config: see `Config`.
    """

    score: Final[tuple[str, Literal["max", "min"]]] = ("psnr", "max")

    def __init__(self, config: Config) -> None:
        c = self.config = config
        vae = (c.classes, c.size, c.vae_width, c.latent)
        self.networks = nn.ModuleDict(
            {
                "generator": DenseMapping(c),
                "blender": Blender(c.blender_width),
                "critic": MultiscaleCritic(c.classes + 3, c.critic_width, norm=instance_norm),
                "mask_encoder": MaskEncoder(*vae),
                "mask_decoder": MaskDecoder(*vae),
            }
        )
        self.networks["critic"].apply(_draw_weights)
        beta, decay = (0.5, 0.999), linear_decay(0.5)
        self.optimizers = {
            "generator": OptimizerSpec(("generator", "blender"), c.lr, beta, schedule=decay),
            "critic": OptimizerSpec(("critic",), c.lr, beta, schedule=decay),
            "vae": OptimizerSpec(("mask_encoder", "mask_decoder"), c.lr),
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size, self.steps = c.batch_size, c.steps
        self._step = 0

    def collate(self, samples: Sequence[FaceSample]) -> Batch:
        """Stack faces: pictures to [-1, 1], labels to integers."""
        image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        labels = torch.from_numpy(np.stack([s.labels for s in samples]))
        return Batch(image.float() / 127.5 - 1, labels.long())

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Do one step of the stage that the count of steps says."""
        first = self._step < self.config.first_stage * self.config.steps
        self._step += 1
        return self._first_stage(batch, update) if first else self._second_stage(batch, update)

    def _first_stage(self, batch: Batch, update: Update) -> Terms:
        real, mask = batch.image, one_hot(batch.labels, self.config.classes)
        fake = self.networks["generator"](mask, mask, real)
        critic = self._critic_terms(mask, real, {"direct": fake})
        update("critic", critic)
        generator = self._generator_terms(mask, real, {"direct": fake})
        update("generator", generator)

        mean, log_variance = self.networks["mask_encoder"](mask)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        logits = self.networks["mask_decoder"](z)
        vae = vae_terms(logits, batch.labels, mean, log_variance, self.config.kl_weight)
        update("vae", vae)
        return {**critic, **generator, **vae}

    def _second_stage(self, batch: Batch, update: Update) -> Terms:
        real, mask = batch.image, one_hot(batch.labels, self.config.classes)
        paint, encoder = self.networks["generator"], self.networks["mask_encoder"].eval()
        decoder = self.networks["mask_decoder"].eval()  # frozen, batch statistics included
        with torch.no_grad():
            inter, outer = interpolated_masks(
                encoder, decoder, mask, mask.roll(1, 0), self.config.interpolation
            )
        direct = paint(mask, mask, real)
        blend, _ = self.networks["blender"](paint(inter, mask, real), paint(outer, mask, real))
        fakes = {"direct": direct, "blend": blend}
        critic = self._critic_terms(mask, real, fakes)
        update("critic", critic)
        generator = self._generator_terms(mask, real, fakes)
        update("generator", generator)
        return {**critic, **generator}

    def _critic_terms(
        self, mask: Tensor, real: Tensor, fakes: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        critic = self.networks["critic"]
        terms = {"critic/real": 0.5 * least_squares(critic(torch.cat([mask, real], 1)), 1.0)}
        for name, fake in fakes.items():
            features = critic(torch.cat([mask, fake.detach()], 1))
            terms[f"critic/{name}"] = 0.5 / len(fakes) * least_squares(features, 0.0)
        return terms

    def _generator_terms(
        self, mask: Tensor, real: Tensor, fakes: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        critic = self.networks["critic"]
        with torch.no_grad():
            wanted = critic(torch.cat([mask, real], 1))
        terms = {}
        for name, fake in fakes.items():
            features = critic(torch.cat([mask, fake], 1))
            terms[f"generator/{name}"] = least_squares(features, 1.0)
            matching = feature_matching(features, wanted)
            terms[f"features/{name}"] = self.config.feature_weight * matching
        return terms

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure repainting under the own mask (PSNR, dB) and the VAE's share of right pixels.

        A converted model, which has no VAE, is measured by the first alone.
        """
        squares, pixels, right = [], [], []
        for batch in batches:
            mask = one_hot(batch.labels, self.config.classes)
            fake = self.networks["generator"](mask, mask, batch.image)
            squares += (fake - batch.image).square().mean((1, 2, 3)).tolist()
            if "mask_encoder" not in self.networks:
                continue
            logits = self.networks["mask_decoder"](self.networks["mask_encoder"](mask)[0])
            known = batch.labels < self.config.classes
            right.append((logits.argmax(1) == batch.labels)[known].sum().item())
            pixels.append(known.sum().item())
        psnr = 10 * np.log10(4 / np.maximum(squares, 1e-10))  # pictures span 2
        metrics = {"psnr": float(psnr.mean())}
        if pixels:
            metrics["vae_accuracy"] = sum(right) / max(1, sum(pixels))
        return metrics

    def samples(self, batch: Batch) -> Tensor:
        """Per face: the picture, its repainting, and the neighbour's mask in its style."""
        mask = one_hot(batch.labels, self.config.classes)
        paint = self.networks["generator"]
        columns = [batch.image, paint(mask, mask, batch.image)]
        columns.append(paint(mask.roll(1, 0), mask, batch.image))
        return (torch.stack(columns, 1) / 2 + 0.5).clamp(0, 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return the count of steps, which decides the stage."""
        return {"step": torch.tensor(self._step)}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back the count of steps."""
        self._step = int(state["step"])

    @torch.no_grad()
    def repaint(
        self, mask: LabelMap, style_image: NDArray[np.uint8], style_mask: LabelMap
    ) -> NDArray[np.uint8]:
        """Paint the face that `mask` draws in the style of a picture.

        Args:
            mask: (H, W) CelebAMask-HQ classes of the face that is wanted; sides are multiples of
                32.
            style_image: (H, W, 3) uint8 RGB.
            style_mask: (H, W) classes of `style_image`.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            ValueError: the three differ in size, or a side is no multiple of 32.
        """
        shape = mask.values.shape
        if style_mask.values.shape != shape or style_image.shape != (*shape, 3):
            raise ValueError(
                f"mask {shape}, style mask {style_mask.values.shape} and style picture "
                f"{style_image.shape} must have one size"
            )
        if any(side % 32 for side in shape):
            raise ValueError(f"sides must be multiples of 32, got {shape}")
        batch = self.collate([FaceSample(style_image, style_mask.values, "")])
        device = next(self.networks.parameters()).device
        wanted, own = (
            one_hot(torch.from_numpy(m.values)[None].to(device), self.config.classes)
            for m in (mask, style_mask)
        )
        self.networks.eval()
        fake = self.networks["generator"](wanted, own, batch.image.to(device))[0]
        pixels = ((fake + 1) * 127.5).round().clamp(0, 255).byte()
        return pixels.permute(1, 2, 0).cpu().numpy()
