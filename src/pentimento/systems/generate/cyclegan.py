"""CycleGAN: translate between two kinds of pictures without pairs (Zhu et al., ICCV 2017).

Implemented: two generators that undo each other, a critic for each domain, the pools of 50 painted
pictures that critics learn from, and the identity loss. Each direction can be used alone.

Differs:
- The learning rate falls with every step, not with every epoch.
- With `keep=luminance` the generator of colours paints only them: its answer takes the lightness of
  the grey picture. The way back is then known, and not learnt: a generator of greys would hide the
  colours in them for the other to read (Chu et al. 2017), which learns little about other greys.
- Validation measures, which the official code does not: how far painted pictures are from real
  ones of their domain, by the sliced Wasserstein distance of patches.

Alphabet: B batch; C, D channels of the domains A and B; S size. Pictures are in [-1, 1].

Train: `pentimento train cyclegan --data DIR --out runs/cyclegan`, with trainA/ and trainB/ in DIR.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.pairs import Pairs, PairSample, open_pairs
from pentimento.engine.schedules import linear_decay
from pentimento.engine.system import OptimizerSpec, Split, Terms, Update
from pentimento.losses.adversarial import GAN_LOSSES
from pentimento.metrics.distribution import SlicedWasserstein
from pentimento.nn.critic import PatchCritic
from pentimento.nn.norm import NormName, draw_weights, norm_layer
from pentimento.nn.resnet_generator import ResNetGenerator
from pentimento.nn.unet import DropoutName
from pentimento.ops.planes import LUMA, planes
from pentimento.systems.generate.pix2pix import Direction, arrays, as_colours, paint

_LEAST_COLOUR: Final = 1e-4  # of [-1, 1]: below, a colour is as good as grey


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The networks and the course of training.

    Attributes:
        a_channels: C.
        b_channels: D.
        size: S.
        load_size: side of training pictures before S is cut out of them.
        blocks: residual blocks of the generators; 9 for 256 pixels, 6 for 128.
        width: channels of the generators' first layer.
        norm: `instance` or `batch`, in all networks.
        dropout: `off`, in `train` only, or `always`.
        resize: double by repetition and convolution.
        keep: `nothing`, or, between one channel and three, `luminance`: colours are painted with
            the luma of their grey source, and the grey of a colour is its luma.
        critic_width: channels of the critics' first layer.
        critic_layers: strided layers of the critics; 3 see 70 × 70 pixels.
        loss: `lsgan` or `vanilla` (cross-entropy).
        cycle_weight: λ of the way A → B → A and of B → A → B.
        identity_weight: share of λ for leaving the pictures of the own domain alone; needs C = D.
        pool: painted pictures that each critic remembers; 0 shows it the present ones only.
        init_std: of the initial weights.
        lr: Adam's learning rate; its β1 is 0.5. It falls to 0 over the second half.
        batch_size: 1 in the paper.
        steps: length of a run; 200 epochs of the 1334 zebras in the paper.
    """

    a_channels: int = 3
    b_channels: int = 3
    size: int = 256
    load_size: int = 286
    blocks: int = 9
    width: int = 64
    norm: NormName = "instance"
    dropout: DropoutName = "off"
    resize: bool = False
    keep: Literal["nothing", "luminance"] = "nothing"
    critic_width: int = 64
    critic_layers: int = 3
    loss: Literal["lsgan", "vanilla"] = "lsgan"
    cycle_weight: float = 10.0
    identity_weight: float = 0.5
    pool: int = 50
    init_std: float = 0.02
    lr: float = 2e-4
    batch_size: int = 1
    steps: int = 266_800

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be halved twice, and an identity between unlike pictures."""
        if self.size % 4 or self.size < 32:
            raise ValueError(f"size must be a multiple of 4, from 32 on; got {self.size}")
        if self.load_size < self.size:
            raise ValueError(f"load_size must be at least size, got {self.load_size}")
        if self.identity_weight and self.a_channels != self.b_channels:
            raise ValueError(
                f"the identity loss needs equal channels, got {self.a_channels} and "
                f"{self.b_channels}; set identity_weight to 0"
            )
        if self.keep == "luminance" and {self.a_channels, self.b_channels} != {1, 3}:
            raise ValueError(
                "keep=luminance is for greys and colours (1 and 3 channels), got "
                f"{self.a_channels} and {self.b_channels}"
            )
        if self.pool < 0:
            raise ValueError(f"pool must not be negative, got {self.pool}")


def paper() -> Config:
    """Return the official numbers: 9 blocks, 256 pixels, least squares, λ 10, identity 0.5."""
    return Config()


def compact() -> Config:
    """Return a model for 128 pixels with half of the channels; hours on two CPU cores."""
    return Config(size=128, load_size=143, blocks=6, width=32, critic_width=32, steps=40_000)


def tiny() -> Config:
    """Return a model for tests."""
    return Config(
        size=32, load_size=36, blocks=1, width=4, critic_width=4, critic_layers=2, pool=3,
        batch_size=2, steps=4,
    )  # fmt: skip


PRESETS: Final = {"paper": paper, "compact": compact, "tiny": tiny}


def open_data(spec: str, split: Split, config: Config) -> Pairs:
    """Open pictures of both domains; see `pentimento.data.pairs`."""
    return open_pairs(
        spec,
        split,
        load_size=config.load_size,
        size=config.size,
        channels=(config.a_channels, config.b_channels),
        paired=False,
    )


@plain_dataclass(frozen=True)
class Batch:
    """Pictures of both domains that have nothing to do with each other.

    Attributes:
        a: (B, C, S, S) in [-1, 1].
        b: (B, D, S, S) in [-1, 1].
    """

    a: Tensor
    b: Tensor


class Pool:
    """Painted pictures of the past, so that a critic does not forget (Shrivastava et al. 2017).

    Args:
        size: how many; 0 remembers none.

    Attributes:
        pictures: (n, C, S, S) with n up to `size`; empty until the first come.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.pictures = torch.zeros(0)

    def exchange(self, fakes: Tensor) -> Tensor:
        """Return, for each picture, itself or (half of the time) an old one that it replaces.

        Until the pool is full, pictures are remembered and returned.
        """
        if not self._size:
            return fakes
        pool = list(self.pictures.to(fakes.device))
        shown = []
        for fake in fakes:
            if len(pool) < self._size:
                pool.append(fake)
            elif torch.rand(()) < 0.5:
                place = int(torch.randint(len(pool), ()))
                pool[place], fake = fake, pool[place]
            shown.append(fake)
        self.pictures = torch.stack(pool)
        return torch.stack(shown)


# --- the system -----------------------------------------------------------------------------------


class CycleGAN:
    """Both generators and both critics, their training, and translation either way.

    Args:
        config: see `Config`.
    """

    score: Final[tuple[str, Literal["max", "min"]]] = ("distance", "min")

    def __init__(self, config: Config) -> None:
        c = self.config = config
        self.networks = nn.ModuleDict(
            {
                "a_to_b": _generator(c, c.a_channels, c.b_channels),
                "b_to_a": _generator(c, c.b_channels, c.a_channels),
                "critic_a": _critic(c, c.a_channels),
                "critic_b": _critic(c, c.b_channels),
            }
        )
        beta, decay = (0.5, 0.999), linear_decay(0.5)
        self.optimizers = {
            "generators": OptimizerSpec(("a_to_b", "b_to_a"), c.lr, beta, schedule=decay),
            "critics": OptimizerSpec(("critic_a", "critic_b"), c.lr, beta, schedule=decay),
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size, self.steps = c.batch_size, c.steps
        self._pools = {"a": Pool(c.pool), "b": Pool(c.pool)}

    def collate(self, samples: Sequence[PairSample]) -> Batch:
        """Stack the pictures of each domain."""
        c = self.config
        return Batch(
            torch.from_numpy(np.stack([planes(s.a, c.a_channels) for s in samples])),
            torch.from_numpy(np.stack([planes(s.b, c.b_channels) for s in samples])),
        )

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Update both generators, then both critics on pictures from the pools."""
        a_to_b, b_to_a = self._a_to_b, self._b_to_a
        fake_b, fake_a = a_to_b(batch.a), b_to_a(batch.b)
        terms = {
            "generator/a": self._opinion("critic_a", fake_a, real=True),
            "generator/b": self._opinion("critic_b", fake_b, real=True),
        }
        weight = self.config.cycle_weight
        if weight:
            terms["cycle/a"] = weight * F.l1_loss(b_to_a(fake_b), batch.a)
            terms["cycle/b"] = weight * F.l1_loss(a_to_b(fake_a), batch.b)
        if own := weight * self.config.identity_weight:
            terms["identity/a"] = own * F.l1_loss(b_to_a(batch.a), batch.a)
            terms["identity/b"] = own * F.l1_loss(a_to_b(batch.b), batch.b)
        update("generators", terms)

        critics = {}
        for domain, real, fake in (("a", batch.a, fake_a), ("b", batch.b, fake_b)):
            name, shown = f"critic_{domain}", self._pools[domain].exchange(fake.detach())
            critics[f"{name}/real"] = 0.5 * self._opinion(name, real, real=True)
            critics[f"{name}/fake"] = 0.5 * self._opinion(name, shown, real=False)
        update("critics", critics)
        return terms | critics

    def _a_to_b(self, a: Tensor) -> Tensor:
        return self._painted("a_to_b", a)

    def _b_to_a(self, b: Tensor) -> Tensor:
        return self._painted("b_to_a", b)

    def _painted(self, way: str, source: Tensor) -> Tensor:
        if self.config.keep == "luminance" and source.shape[1] == 3:
            return luma(source)
        return self.finished(self.networks[way](source), source)

    def finished(self, painted: Tensor, source: Tensor) -> Tensor:
        """Return what a generator painted from (B, C, H, W) with what the source must keep."""
        if self.config.keep == "nothing":
            return painted
        return with_luma_of(painted, source) if painted.shape[1] == 3 else luma(source)

    def _opinion(self, critic: str, picture: Tensor, *, real: bool) -> Tensor:
        return GAN_LOSSES[self.config.loss]([self.networks[critic](picture)[-1]], real)

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure how unlike their domain painted pictures are, and what a round trip loses.

        `distance` is the mean of the sliced Wasserstein distances of patches in A and in B, which
        are given as well; `cycle` the mean absolute difference after a round trip, of [0, 1].
        """
        distances = {"a": SlicedWasserstein(), "b": SlicedWasserstein()}
        losses = []
        for batch in batches:
            fake_b, fake_a = self._a_to_b(batch.a), self._b_to_a(batch.b)
            for domain, real, fake in (("a", batch.a, fake_a), ("b", batch.b, fake_b)):
                for pair in zip(arrays(real), arrays(fake), strict=True):
                    distances[domain].add(*pair)
            for back, start in (
                (self._b_to_a(fake_b), batch.a),
                (self._a_to_b(fake_a), batch.b),
            ):
                losses += (back - start).abs().mean((1, 2, 3)).div(2).tolist()
        found = {f"distance/{domain}": each.value() for domain, each in distances.items()}
        mean = float(np.mean(list(found.values())))
        return {"distance": mean, **found, "cycle": float(np.mean(losses))}

    def samples(self, batch: Batch) -> Tensor:
        """Per sample: a, painted as B, and back; b, painted as A, and back."""
        a_to_b, b_to_a = self._a_to_b, self._b_to_a
        fake_b, fake_a = a_to_b(batch.a), b_to_a(batch.b)
        columns = [batch.a, fake_b, b_to_a(fake_b), batch.b, fake_a, a_to_b(fake_a)]
        return torch.stack([as_colours(x) for x in columns], 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return the pools: a resumed run shows its critics the same pictures."""
        return {f"pool_{domain}": pool.pictures for domain, pool in self._pools.items()}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back the pools."""
        for domain, pool in self._pools.items():
            pool.pictures = state[f"pool_{domain}"]

    def channels(self, direction: Direction | None = None) -> int:
        """Return the channels that `predict` expects; `AtoB` if the direction is left out."""
        return self.config.b_channels if direction == "BtoA" else self.config.a_channels

    @torch.no_grad()
    def predict(
        self, picture: Tensor, *, direction: Direction | None = None, seed: int = 0
    ) -> Tensor:
        """Paint pictures of one domain as if they were of the other.

        Args:
            picture: (B, C, H, W) in [-1, 1] of any size (D channels for `BtoA`); the networks are
                on its device.
            direction: `AtoB` if it is left out.
            seed: of the noise, if dropout is `always`.

        Returns:
            The same size in [-1, 1], with the channels of the other domain.
        """
        if picture.shape[1] != self.channels(direction):
            raise ValueError(
                f"expected (B, {self.channels(direction)}, H, W), got {tuple(picture.shape)}"
            )
        way = "b_to_a" if direction == "BtoA" else "a_to_b"
        return self.finished(paint(self.networks[way], picture, seed), picture)


def luma(picture: Tensor) -> Tensor:
    """Return (B, 1, H, W), the lightness of (B, 3, H, W) or (B, 1, H, W) (Rec. 601)."""
    if picture.shape[1] == 1:
        return picture
    return (picture * picture.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)


def with_luma_of(painted: Tensor, source: Tensor) -> Tensor:
    """Return painted colours as light as the source, in [-1, 1].

    Where a colour that light would leave the range it is drawn towards grey, no further than it
    must: its hue stays, its luma is exact, and nothing is clipped.

    Args:
        painted: (B, 3, H, W) in [-1, 1].
        source: (B, 3, H, W) or (B, 1, H, W) in [-1, 1].
    """
    light = luma(source)
    colour = painted - luma(painted)
    # The way that each channel may go, up or down, before it meets the end of the range.
    room = torch.where(colour > 0, 1 - light, 1 + light)
    share = (room / colour.abs().clamp(min=_LEAST_COLOUR)).amin(1, keepdim=True).clamp(0, 1)
    return light + share * colour


def _generator(config: Config, c_in: int, c_out: int) -> nn.Module:
    network = ResNetGenerator(
        c_in,
        c_out,
        config.width,
        config.blocks,
        norm=norm_layer(config.norm, per_picture=True),
        bias=config.norm == "instance",
        dropout=config.dropout,
        resize=config.resize,
    )
    return draw_weights(network, config.init_std)


def _critic(config: Config, channels: int) -> nn.Module:
    network = PatchCritic(
        channels,
        config.critic_width,
        config.critic_layers,
        norm_layer(config.norm),
        padding=1,
        bias=config.norm == "instance",
    )
    return draw_weights(network, config.init_std)
