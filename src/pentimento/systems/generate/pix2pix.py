"""pix2pix: translate pictures, learnt from pairs (Isola et al., CVPR 2017).

Implemented: the U-Nets of 128 and 256 pixels and the residual generators of 6 and 9 blocks; patch
and pixel critics that see the condition (or do not); cross-entropy, least-squares and Wasserstein
losses; L1; dropout as the only noise, at test time too; each picture's own statistics at test time.
Without a critic what remains is regression by L1.

Differs:
- The Wasserstein loss has its gradient penalty; the official code offers the loss and never calls
  the penalty.
- The learning rate falls with every step, not with every epoch.
- Label maps may be compared by cross-entropy (`compare`); the paper paints them as colours.
- `resize` replaces transposed convolutions, which leave checkerboards.

Alphabet: B batch; C, D channels of condition and picture; S size. Pictures are in [-1, 1]; a
condition may also be one plane of 0 and 1 per class.

Train: `pentimento train pix2pix --data world:labels2portrait --out runs/pix2pix`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Final, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.pairs import Pairs, PairSample, open_pairs
from pentimento.engine import rng
from pentimento.engine.schedules import linear_decay
from pentimento.engine.system import OptimizerSpec, Split, Terms, Update
from pentimento.errors import ConfigError
from pentimento.labels import IGNORE, LabelSet
from pentimento.losses.adversarial import GAN_LOSSES, GanLoss, gradient_penalty
from pentimento.metrics.perceptual import Likeness
from pentimento.metrics.segmentation import Confusion
from pentimento.nn.critic import PatchCritic, PixelCritic
from pentimento.nn.norm import NormName, draw_weights, norm_layer
from pentimento.nn.resnet_generator import ResNetGenerator
from pentimento.nn.unet import DropoutName, UNet
from pentimento.ops.pad import pad_to_multiple
from pentimento.ops.planes import MOST_CHANNELS, planes

Direction = Literal["AtoB", "BtoA"]
_CERTAINTY: Final = 10.0


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The networks and the course of training.

    Attributes:
        in_channels: C; the number of classes where the condition is a label map.
        out_channels: D.
        direction: which side of the data is the condition; `AtoB` paints B from A.
        size: S.
        load_size: side of training pictures before S is cut out of them.
        generator: `unet`, or `resnet`.
        depth: halvings of a U-Net (7 for 128 pixels, 8 for 256) or blocks of a ResNet (6, 9).
        width: channels of the generator's first layer.
        norm: `batch` or `instance`, in all networks.
        statistics: of batch normalisation outside of training: those of each `picture`, or the
            `running` averages.
        dropout: `off`, in `train` only, or `always`: the noise of pix2pix.
        resize: double by repetition and convolution.
        critic: `patch`, `pixel`, or `none`: L1 alone.
        critic_width: channels of its first layer.
        critic_layers: strided layers of the patch critic; 3 see 70 × 70 pixels.
        conditional: the critic sees the condition, too.
        loss: `vanilla` (cross-entropy), `lsgan` or `wgangp`.
        compare: how a painted picture is compared with the true one: `l1`, or `cross_entropy` for
            label maps. L1 asks for each class's median, and that of a rare class is its absence.
        l1_weight: of that comparison; the critic's opinion weighs 1.
        init_std: of the initial weights.
        lr: Adam's learning rate; its β1 is 0.5. It falls to 0 over the second half.
        batch_size: 1 in the paper.
        steps: length of a run; 200 epochs of the 400 facades in the paper.
    """

    in_channels: int = 3
    out_channels: int = 3
    direction: Direction = "AtoB"
    size: int = 256
    load_size: int = 286
    generator: Literal["unet", "resnet"] = "unet"
    depth: int = 8
    width: int = 64
    norm: NormName = "batch"
    statistics: Literal["picture", "running"] = "picture"
    dropout: DropoutName = "always"
    resize: bool = False
    critic: Literal["patch", "pixel", "none"] = "patch"
    critic_width: int = 64
    critic_layers: int = 3
    conditional: bool = True
    loss: GanLoss = "vanilla"
    compare: Literal["l1", "cross_entropy"] = "l1"
    l1_weight: float = 100.0
    init_std: float = 0.02
    lr: float = 2e-4
    batch_size: int = 1
    steps: int = 80_000

    def __post_init__(self) -> None:
        """Refuse sizes that the generator cannot halve, and runs with nothing to learn from."""
        multiple = 2**self.depth if self.generator == "unet" else 4
        if self.size % multiple or self.size < 16:
            raise ValueError(
                f"size must be a multiple of {multiple} for this generator, from 16 on; "
                f"got {self.size}"
            )
        if self.load_size < self.size:
            raise ValueError(f"load_size must be at least size, got {self.load_size}")
        if self.generator == "unet" and self.depth < 2:
            raise ValueError(f"a U-Net has at least 2 halvings, got depth {self.depth}")
        if self.critic == "none" and self.l1_weight <= 0:
            raise ValueError("without a critic l1_weight must be positive")
        if self.compare == "cross_entropy" and self.out_channels <= MOST_CHANNELS:
            raise ValueError(
                "cross_entropy compares label maps, which have one plane per class; out_channels "
                f"{self.out_channels} is a picture: compare by l1"
            )


def paper() -> Config:
    """Return the official numbers: U-Net of 256 pixels, 70 × 70 patch critic, 100 · L1."""
    return Config()


def compact() -> Config:
    """Return a model for 128 pixels with a quarter of the channels; hours on two CPU cores."""
    return Config(
        size=128, load_size=143, depth=7, width=32, critic_width=32, batch_size=4, steps=20_000
    )


def tiny() -> Config:
    """Return a model for tests."""
    return Config(
        size=64, load_size=68, depth=6, width=4, critic_width=4, critic_layers=2, batch_size=2,
        steps=4,
    )  # fmt: skip


PRESETS: Final = {"paper": paper, "compact": compact, "tiny": tiny}


class PairConfig(Protocol):
    """What open_data and collate must know of a system that learns from pairs."""

    @property
    def in_channels(self) -> int:
        """C."""

    @property
    def out_channels(self) -> int:
        """D."""

    @property
    def direction(self) -> Direction:
        """Which side of the data is the condition."""

    @property
    def size(self) -> int:
        """S."""

    @property
    def load_size(self) -> int:
        """Side of training pictures before S is cut out of them."""


def open_data(spec: str, split: Split, config: PairConfig) -> Pairs:
    """Open paired pictures; see `pentimento.data.pairs`."""
    channels = (config.in_channels, config.out_channels)
    return open_pairs(
        spec,
        split,
        load_size=config.load_size,
        size=config.size,
        channels=channels if config.direction == "AtoB" else channels[::-1],
    )


@plain_dataclass(frozen=True)
class Batch:
    """Conditions and the pictures that belong to them.

    Attributes:
        condition: (B, C, S, S).
        target: (B, D, S, S) in [-1, 1].
    """

    condition: Tensor
    target: Tensor


def collate(samples: Sequence[PairSample], config: PairConfig) -> Batch:
    """Stack both sides, the condition first whatever the direction."""
    sides = [(s.a, s.b) if config.direction == "AtoB" else (s.b, s.a) for s in samples]
    return Batch(
        torch.from_numpy(np.stack([planes(a, config.in_channels) for a, _ in sides])),
        torch.from_numpy(np.stack([planes(b, config.out_channels) for _, b in sides])),
    )


# --- networks -------------------------------------------------------------------------------------


def build_generator(config: Config) -> UNet | ResNetGenerator:
    """Return the generator that a configuration describes, its weights drawn."""
    kind = UNet if config.generator == "unet" else ResNetGenerator
    network = kind(
        config.in_channels,
        config.out_channels,
        config.width,
        config.depth,
        norm=norm_layer(config.norm, per_picture=config.statistics == "picture"),
        bias=config.norm == "instance",
        dropout=config.dropout,
        resize=config.resize,
    )
    draw_weights(network, config.init_std)
    return network


def build_critic(config: Config) -> PatchCritic | PixelCritic:
    """Return the critic that a configuration describes, its weights drawn."""
    channels = config.out_channels + config.in_channels * config.conditional
    width, norm, bias = config.critic_width, norm_layer(config.norm), config.norm == "instance"
    network = (
        PixelCritic(channels, width, norm, bias=bias)
        if config.critic == "pixel"
        else PatchCritic(channels, width, config.critic_layers, norm, padding=1, bias=bias)
    )
    draw_weights(network, config.init_std)
    return network


# --- the system -----------------------------------------------------------------------------------


class Pix2Pix:
    """Generator and critic, their training, and translation of pictures of any size.

    Args:
        config: see `Config`.
    """

    def __init__(self, config: Config) -> None:
        c = self.config = config
        labels = c.out_channels > MOST_CHANNELS
        self.score = ("iou", "max") if labels else pair_score(c.out_channels)
        self.networks = nn.ModuleDict({"generator": build_generator(c)})
        if c.critic != "none":
            self.networks["critic"] = build_critic(c)
        self.optimizers = {
            name: OptimizerSpec((name,), c.lr, (0.5, 0.999), schedule=linear_decay(0.5))
            for name in self.networks
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size, self.steps = c.batch_size, c.steps

    def collate(self, samples: Sequence[PairSample]) -> Batch:
        """Stack conditions and targets."""
        return collate(samples, self.config)

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Update the critic on a painted picture, then the generator on the same one."""
        fake = self.networks["generator"](batch.condition)
        terms: dict[str, Tensor] = {}
        if self.config.critic != "none":
            terms |= self._critic_terms(batch, fake.detach())
            update("critic", terms)
        generator = self._generator_terms(batch, fake)
        update("generator", generator)
        return terms | generator

    def _scores(self, batch: Batch, picture: Tensor) -> Tensor:
        seen = torch.cat([batch.condition, picture], 1) if self.config.conditional else picture
        scores: Tensor = self.networks["critic"](seen)[-1]
        return scores

    def _critic_terms(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        loss = GAN_LOSSES[self.config.loss]
        terms = {
            "critic/fake": 0.5 * loss([self._scores(batch, fake)], False),
            "critic/real": 0.5 * loss([self._scores(batch, batch.target)], True),
        }
        if self.config.loss == "wgangp":
            terms["critic/slope"] = 10 * gradient_penalty(
                lambda picture: self._scores(batch, picture), batch.target, fake
            )
        return terms

    def _generator_terms(self, batch: Batch, fake: Tensor) -> dict[str, Tensor]:
        c = self.config
        compare = F.l1_loss if c.compare == "l1" else label_entropy
        terms = {f"generator/{c.compare}": c.l1_weight * compare(fake, batch.target)}
        if self.config.critic != "none":
            loss = GAN_LOSSES[self.config.loss]
            terms["generator/gan"] = loss([self._scores(batch, fake)], True)
        return terms

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure likeness to the true pictures, or agreement with the true label maps.

        Returns:
            SSIM, PSNR in dB, L1 of [0, 1], and of colours `looks` (`metrics.perceptual`); of label
            maps `iou`, the mean over classes, and `pixels`, the share that is right.
        """
        if self.score[0] == "iou":
            return self._agreement(batches)
        likeness, distances = Likeness(), []
        for batch in batches:
            fakes = arrays(self.networks["generator"](batch.condition))
            reals = arrays(batch.target)
            likeness.add(reals, fakes)
            distances += np.abs(reals - fakes).mean((1, 2, 3)).tolist()
        return likeness.value() | {"l1": float(np.mean(distances))}

    def _agreement(self, batches: Iterable[Batch]) -> dict[str, float]:
        count = self.config.out_channels
        names = tuple(str(n) for n in range(count))
        confusion = Confusion(LabelSet("planes", names, ((0, 0, 0),) * count))
        for batch in batches:
            fakes = self.networks["generator"](batch.condition).argmax(1)
            reals = batch.target.argmax(1).where(batch.target.amax(1) > 0, IGNORE)
            confusion.add(*(x.byte().cpu().numpy() for x in (reals, fakes)))
        return {"iou": confusion.mean_iou(), "pixels": confusion.pixel_accuracy()}

    def samples(self, batch: Batch) -> Tensor:
        """Per pair: the condition, the painted picture, the true one."""
        fake = self.networks["generator"](batch.condition)
        return torch.stack([as_colours(x) for x in (batch.condition, fake, batch.target)], 1)

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

    @torch.no_grad()
    def predict(
        self, condition: Tensor, *, direction: Direction | None = None, seed: int = 0
    ) -> Tensor:
        """Paint pictures.

        Args:
            condition: (B, C, H, W) as in `Batch`, of any size; the networks are on its device.
            direction: must be the trained one, if given.
            seed: of the noise, if dropout is `always`.

        Returns:
            (B, D, H, W) in [-1, 1].
        """
        if condition.shape[1] != self.channels(direction):
            raise ValueError(
                f"expected (B, {self.config.in_channels}, H, W), got {tuple(condition.shape)}"
            )
        return paint(self.networks["generator"], condition, seed)


def pair_score(channels: int) -> tuple[str, Literal["max", "min"]]:
    """Return what decides which checkpoint of pictures is best: of colours, their looks."""
    return ("looks", "min") if channels == 3 else ("ssim", "max")


def one_way(config: PairConfig, direction: Direction | None) -> int:
    """Return C.

    Raises:
        ConfigError: the model was trained for the other direction.
    """
    if direction not in (None, config.direction):
        raise ConfigError(f"this model paints {config.direction} only, not {direction}")
    return config.in_channels


def label_entropy(fake: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy of planes in [-1, 1] against planes of 0 and 1, (B, D, H, W).

    Planes of ±1 mean a certainty of e²⁰ to 1; pixels of an unknown class, 0 in all planes, cost
    nothing.
    """
    return -(target * F.log_softmax(_CERTAINTY * fake, 1)).sum(1).mean()


def paint(generator: nn.Module, condition: Tensor, seed: int) -> Tensor:
    """Run a U-Net or ResNet generator on pictures of any size: pad, paint, cut back."""
    assert isinstance(generator, UNet | ResNetGenerator)
    height, width = condition.shape[2:]
    generator.eval()
    with rng.kept(seed):
        painted = generator(pad_to_multiple(condition, generator.multiple, least=16))
    return painted[..., :height, :width]


def as_colours(x: Tensor) -> Tensor:
    """Return (B, 3, H, W) in [0, 1] to look at: colours, grey, or classes as levels of grey."""
    if x.shape[1] == 3:
        return (x / 2 + 0.5).clamp(0, 1)
    grey = x / 2 + 0.5
    if x.shape[1] > 1:
        grey = x.argmax(1, keepdim=True) / (x.shape[1] - 1)
    return grey.clamp(0, 1).expand(-1, 3, -1, -1)


def arrays(x: Tensor) -> NDArray[np.float32]:
    """Return (B, H, W, C) in [0, 1] to measure."""
    return (x / 2 + 0.5).clamp(0, 1).float().permute(0, 2, 3, 1).cpu().numpy()
