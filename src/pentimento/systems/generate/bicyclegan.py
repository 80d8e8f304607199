"""BicycleGAN: many pictures for one condition, each in its style (Zhu et al., NeurIPS 2017).

Implemented: both cycles. cVAE-GAN: a picture is encoded as a style and painted again from its
condition. cLR-GAN: a drawn style paints a picture, from which it must be read again. The U-Net sees
the style at every level; a residual encoder reads styles; each cycle has a critic of two scales.

Differs:
- The learning rate falls with every step of the second half, not with every epoch.
- Critics never see the condition: the official default.

Alphabet: B batch; C, D channels of condition and picture; S size; Z length of a style. Pictures are
in [-1, 1]; a condition may also be one plane of 0 and 1 per class.

Train: `pentimento train bicyclegan --data world:edges2portrait --out runs/bicycle`.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.pairs import PairSample
from pentimento.engine.schedules import linear_decay
from pentimento.engine.system import OptimizerSpec, Terms, Update
from pentimento.losses.adversarial import least_squares
from pentimento.metrics.perceptual import Likeness
from pentimento.nn.critic import PatchCritic
from pentimento.nn.norm import instance_norm
from pentimento.nn.unet import UNet
from pentimento.ops.pad import pad_to_multiple
from pentimento.systems.generate.pix2pix import (
    Batch,
    Direction,
    arrays,
    as_colours,
    collate,
    one_way,
    pair_score,
)
from pentimento.systems.generate.pix2pix import open_data as open_data


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The networks and the course of training.

    Attributes:
        in_channels: C; the number of classes where the condition is a label map.
        out_channels: D.
        direction: which side of the data is the condition; `AtoB` paints B from A.
        size: S.
        load_size: side of training pictures before S is cut out of them.
        style: Z.
        depth: halvings of the U-Net (7 for 128 pixels, 8 for 256).
        width: channels of the U-Net's first layer.
        encoder_width: channels of the encoder's first layer.
        encoder_blocks: residual blocks of the encoder, each of which halves.
        critic_width: channels of the critics' first layer at full size.
        critic_layers: strided layers of the critics.
        l1_weight: of painting an encoded picture again.
        style_weight: of reading a drawn style again; the generator alone learns from it.
        kl_weight: of the KL divergence of encoded styles from N(0, 1), summed.
        lr: Adam's learning rate; its β1 is 0.5.
        batch_size: even: one half is encoded, the other stands beside drawn styles.
        steps: length of a run; 60 epochs of the 49,825 shoes in pairs in the paper.
    """

    in_channels: int = 3
    out_channels: int = 3
    direction: Direction = "AtoB"
    size: int = 256
    load_size: int = 286
    style: int = 8
    depth: int = 8
    width: int = 64
    encoder_width: int = 64
    encoder_blocks: int = 4
    critic_width: int = 64
    critic_layers: int = 3
    l1_weight: float = 10.0
    style_weight: float = 0.5
    kl_weight: float = 0.01
    lr: float = 2e-4
    batch_size: int = 2
    steps: int = 1_494_750

    def __post_init__(self) -> None:
        """Refuse sizes that the networks cannot halve, and odd batches."""
        multiple = 2 ** max(self.depth, self.encoder_blocks + 1)
        if self.size % multiple:
            raise ValueError(f"size must be a multiple of {multiple}, got {self.size}")
        if self.size < 4 * 2**self.encoder_blocks:
            raise ValueError(f"size {self.size} is too small for {self.encoder_blocks} blocks")
        if self.load_size < self.size:
            raise ValueError(f"load_size must be at least size, got {self.load_size}")
        if self.batch_size % 2:
            raise ValueError(f"batch_size must be even, got {self.batch_size}")


def paper() -> Config:
    """Return the official numbers: 256 pixels, styles of 8, batches of 2."""
    return Config()


def compact() -> Config:
    """Return a model for 128 pixels with half of the channels; hours on two CPU cores."""
    return Config(
        size=128, load_size=143, depth=7, width=32, encoder_width=32, critic_width=32,
        batch_size=4, steps=30_000,
    )  # fmt: skip


def tiny() -> Config:
    """Return a model for tests."""
    return Config(
        size=32, load_size=36, style=3, depth=4, width=4, encoder_width=4, encoder_blocks=2,
        critic_width=4, critic_layers=1, steps=4,
    )  # fmt: skip


PRESETS: Final = {"paper": paper, "compact": compact, "tiny": tiny}


# --- networks -------------------------------------------------------------------------------------


class HalvingBlock(nn.Module):
    """Residual block with the activations in front; halves by means of 2 × 2."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = instance_norm(c_in), instance_norm(c_in)
        self.conv1 = nn.Conv2d(c_in, c_in, 3, padding=1)
        self.conv2 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.shortcut = nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) → (B, C', h/2, w/2)."""
        y = self.conv1(F.leaky_relu(self.norm1(x), 0.2))
        y = self.conv2(F.leaky_relu(self.norm2(y), 0.2))
        return F.avg_pool2d(y, 2) + self.shortcut(F.avg_pool2d(x, 2))


class StyleEncoder(nn.Module):
    """A picture → mean and log-variance of its style.

    Args:
        channels: D.
        style: Z.
        width: channels of the first layer; it grows by as many per block, up to 4 ×.
        blocks: number of halving blocks behind the first, halving convolution.
    """

    def __init__(self, channels: int, style: int, width: int, blocks: int) -> None:
        super().__init__()
        widths = [width * min(n + 1, 4) for n in range(blocks + 1)]
        self.first = nn.Conv2d(channels, width, 4, stride=2, padding=1)
        self.blocks = nn.Sequential(*(HalvingBlock(a, b) for a, b in pairwise(widths)))
        self.mean, self.log_variance = (nn.Linear(widths[-1], style) for _ in range(2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D, H, W) → twice (B, Z)."""
        pooled = F.leaky_relu(self.blocks(self.first(x)), 0.2).mean((2, 3))
        return self.mean(pooled), self.log_variance(pooled)


class TwoScaleCritic(nn.Module):
    """Patch critics of the picture and, half as wide, of the picture at half the size."""

    def __init__(self, channels: int, width: int, layers: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            PatchCritic(channels, w, layers, instance_norm, padding=1) for w in (width, width // 2)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the scores of both scales."""
        small = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        return [critic(each)[-1] for critic, each in zip(self.scales, (x, small), strict=True)]


def build_generator(config: Config) -> UNet:
    """Return the U-Net that sees a style at every level."""
    return UNet(
        config.in_channels,
        config.out_channels,
        config.width,
        config.depth,
        norm=instance_norm,
        bias=True,
        style=config.style,
        skips_first=False,
    )


def _draw_weights(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_normal_(module.weight, 0.02)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return network


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Let gradients pass through a network's forward without reaching its parameters."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_()


# --- the system -----------------------------------------------------------------------------------


class BicycleGAN:
    """All networks, their training, and painting in drawn or borrowed styles.

    Args:
        config: see `Config`.
    """

    def __init__(self, config: Config) -> None:
        c = self.config = config
        self.score = pair_score(c.out_channels)
        critic = (c.out_channels, c.critic_width, c.critic_layers)
        networks = {
            "generator": build_generator(c),
            "encoder": StyleEncoder(c.out_channels, c.style, c.encoder_width, c.encoder_blocks),
            "critic_encoded": TwoScaleCritic(*critic),
            "critic_drawn": TwoScaleCritic(*critic),
        }
        self.networks = nn.ModuleDict({k: _draw_weights(net) for k, net in networks.items()})
        beta, decay = (0.5, 0.999), linear_decay(0.5)
        groups = {
            "painters": ("generator", "encoder"),
            "critics": ("critic_encoded", "critic_drawn"),
        }
        self.optimizers = {
            name: OptimizerSpec(group, c.lr, beta, schedule=decay) for name, group in groups.items()
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size, self.steps = c.batch_size, c.steps

    def collate(self, samples: Sequence[PairSample]) -> Batch:
        """Stack conditions and targets."""
        return collate(samples, self.config)

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Update generator and encoder by both cycles, then both critics.

        The first half of the batch is encoded and painted; the pictures of the second half are what
        the critic of drawn styles takes for real.
        """
        c, paint, encode = self.config, self.networks["generator"], self.networks["encoder"]
        half = max(1, len(batch.target) // 2)
        condition, target, others = (
            batch.condition[:half],
            batch.target[:half],
            batch.target[-half:],
        )
        mean, log_variance = encode(target)
        own = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        drawn = torch.randn_like(mean)
        encoded_fake, drawn_fake = paint(condition, own), paint(condition, drawn)
        with frozen(encode):
            read_again, _ = encode(drawn_fake)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        painters = {
            "generator/encoded": least_squares(self.networks["critic_encoded"](encoded_fake), True),
            "generator/drawn": least_squares(self.networks["critic_drawn"](drawn_fake), True),
            "generator/l1": c.l1_weight * F.l1_loss(encoded_fake, target),
            "generator/style": c.style_weight * F.l1_loss(read_again, drawn),
            "encoder/kl": c.kl_weight * divergence,
        }
        update("painters", painters)

        critics = {}
        for name, real, fake in (("encoded", target, encoded_fake), ("drawn", others, drawn_fake)):
            critic = self.networks[f"critic_{name}"]
            critics[f"critic_{name}/fake"] = least_squares(critic(fake.detach()), False)
            critics[f"critic_{name}/real"] = least_squares(critic(real), True)
        update("critics", critics)
        return painters | critics

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure likeness and variety.

        SSIM, PSNR (dB) and, of colours, `looks` (`metrics.perceptual`) of pictures painted in their
        own styles; `variety`, the mean absolute
        difference, of [0, 1], between pictures painted in two drawn styles.
        """
        likeness, variety = Likeness(), []
        paint = self.networks["generator"]
        for batch in batches:
            mean, _ = self.networks["encoder"](batch.target)
            likeness.add(arrays(batch.target), arrays(paint(batch.condition, mean)))
            one, other = (paint(batch.condition, torch.randn_like(mean)) for _ in range(2))
            variety += (one - other).abs().mean((1, 2, 3)).div(2).tolist()
        return likeness.value() | {"variety": float(np.mean(variety))}

    def samples(self, batch: Batch) -> Tensor:
        """Per pair: condition, truth, painted in its own style and in three drawn ones."""
        paint = self.networks["generator"]
        mean, _ = self.networks["encoder"](batch.target)
        columns = [batch.condition, batch.target, paint(batch.condition, mean)]
        columns += [paint(batch.condition, torch.randn_like(mean)) for _ in range(3)]
        return torch.stack([as_colours(x) for x in columns], 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return nothing: all state is in the networks."""
        return {}

    def load_extra_state(self, state: dict[str, Tensor]) -> None:
        """Take nothing back."""

    def channels(self, direction: Direction | None = None) -> int:
        """Return C, the channels that `predict` expects.

        Raises:
            ConfigError: it was trained for the other direction.
        """
        return one_way(self.config, direction)

    def drawn_style(self, count: int, seed: int) -> Tensor:
        """Draw styles (count, Z) from N(0, 1)."""
        drawn = torch.Generator().manual_seed(seed)
        return torch.randn(count, self.config.style, generator=drawn)

    @torch.no_grad()
    def predict(
        self,
        condition: Tensor,
        *,
        style_of: Tensor | None = None,
        direction: Direction | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Paint pictures in a drawn style, or in that of another picture.

        Args:
            condition: (B, C, H, W) as in `Batch`, of any size; the networks are on its device.
            style_of: (1 or B, D, h, w) in [-1, 1], pictures whose styles to borrow.
            direction: must be the trained one, if given.
            seed: of the drawn style.

        Returns:
            (B, D, H, W) in [-1, 1].
        """
        c = self.config
        if condition.shape[1] != self.channels(direction):
            raise ValueError(f"expected (B, {c.in_channels}, H, W), got {tuple(condition.shape)}")
        self.networks.eval()
        height, width = condition.shape[2:]
        if style_of is None:
            style = self.drawn_style(len(condition), seed).to(condition.device)
        else:
            least = 4 * 2**c.encoder_blocks
            style, _ = self.networks["encoder"](pad_to_multiple(style_of, least, least))
            style = style.expand(len(condition), -1)
        padded = pad_to_multiple(condition, 2**c.depth, least=2 ** (c.depth + 1))
        painted: Tensor = self.networks["generator"](padded, style)
        return painted[..., :height, :width]
