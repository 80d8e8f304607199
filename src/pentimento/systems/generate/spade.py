"""SPADE: label maps that steer every normalisation (Park et al., GauGAN, CVPR 2019).

Implemented: the generator that grows from a coarse map, or from a style that an encoder finds in a
picture; spectral normalisation (Miyato et al. 2018); critics at two scales with hinge losses and
feature matching; a perceptual loss. Written from the paper and from facts about its networks; its
code, which is for non-commercial use, was not read.

Differs:
- Batch statistics are those of each process; the authors' are of all.
- Where there is no file of VGG-19, the bundled feature network judges; `judge` says which.
- Weights of rates 1e-4 and 4e-4 stay as they are; the authors let them fall after 100 epochs.

Alphabet: B batch; K classes; Z length of a style; H, W size. Pictures are in [-1, 1]; label maps
are one plane of 0 and 1 per class.

Train: `pentimento train spade --data world --preset compact --out runs/spade`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.labelled import (
    LabelledFaces,
    LabelledFiles,
    LabelledSample,
    open_labelled,
)
from pentimento.engine import rng
from pentimento.engine.system import OptimizerSpec, Split, Terms, Update
from pentimento.errors import ConfigError
from pentimento.losses.adversarial import hinge, wasserstein
from pentimento.losses.perceptual import Judge, check_judge
from pentimento.metrics.perceptual import Likeness
from pentimento.nn.norm import instance_norm
from pentimento.ops.instances import instance_edges
from pentimento.ops.pad import pad_to_multiple
from pentimento.systems.generate.pix2pix import Direction, arrays, as_colours
from pentimento.systems.generate.pix2pixhd import (
    Batch,
    Features,
    collate,
    matching,
    one_hot,
    perceptual,
    scores,
)

_ENCODED: Final = 256  # side of the pictures that the encoder sees


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The networks and the course of training.

    Attributes:
        classes: K.
        unknown: one more plane for pixels whose class is unknown; else they are 0 in all.
        edges: one more plane for the borders between instances.
        size: H and W of training pictures.
        doublings: 5, or 6 (the authors' `more`), from the coarsest map to the picture.
        width: channels of the finest layer; the coarsest has 16 times as many.
        hidden: channels between a label map and what it steers; 128 in the paper.
        style: Z; 0 has neither style nor encoder.
        encoder_width: channels of the encoder's first layer.
        critic_width: channels of the critics' first layer.
        feature_weight: of feature matching.
        judge: whose features are compared: `features` (bundled), `vgg19:FILE` or `none`.
        perceptual_weight: of that.
        divergence_weight: of the styles' distance from N(0, 1).
        lr: Adam's learning rate of the generator; the critics' is 4 times as high.
        batch_size: 32 in the paper.
        steps: length of a run; 200 epochs of Cityscapes in the paper.
    """

    classes: int = 35
    unknown: bool = False
    edges: bool = True
    size: tuple[int, int] = (256, 512)
    doublings: Literal[5, 6] = 6
    width: int = 64
    hidden: int = 128
    style: int = 0
    encoder_width: int = 64
    critic_width: int = 64
    feature_weight: float = 10.0
    judge: str = "features"
    perceptual_weight: float = 10.0
    divergence_weight: float = 0.05
    lr: float = 1e-4
    batch_size: int = 32
    steps: int = 18_600

    def __post_init__(self) -> None:
        """Refuse sizes that do not come of doublings, and unknown judges."""
        multiple = 2**self.doublings
        if any(side % multiple for side in self.size):
            raise ValueError(f"both sides of size must be multiples of {multiple}, got {self.size}")
        if self.judge != "none":
            check_judge(self.judge)


def paper() -> Config:
    """Return the numbers for Cityscapes; `vgg19.safetensors` must lie in the working folder."""
    return Config(judge="vgg19:vgg19.safetensors")


def compact() -> Config:
    """Return a model for faces of 128 pixels with 19 parts, in styles."""
    return Config(
        classes=19, edges=False, size=(128, 128), doublings=5, width=16, hidden=32, style=64,
        encoder_width=16, critic_width=32, batch_size=4, steps=40_000,
    )  # fmt: skip


def tiny() -> Config:
    """Return a model for tests."""
    return Config(
        classes=19, size=(64, 32), doublings=5, width=2, hidden=4, style=4, encoder_width=2,
        critic_width=4, batch_size=2, steps=4,
    )  # fmt: skip


PRESETS: Final = {"paper": paper, "compact": compact, "tiny": tiny}


def open_data(spec: str, split: Split, config: Config) -> LabelledFiles | LabelledFaces:
    """Open pictures with labels and instances; see `pentimento.data.labelled`."""
    return open_labelled(spec, split, config.size, config.classes)


# --- networks -------------------------------------------------------------------------------------


class SpectralConv(nn.Module):
    """A convolution divided by its largest singular value (Miyato et al. 2018, algorithm 1).

    The value is followed by one power iteration per pass in training; outside of it, u and v stay.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int, padding: int, *, bias: bool
    ) -> None:
        super().__init__()
        self.stride, self.padding = stride, padding
        self.weight_orig = nn.Parameter(torch.empty(c_out, c_in, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(c_out)) if bias else None
        nn.init.xavier_normal_(self.weight_orig, 0.02)
        self.register_buffer("weight_u", F.normalize(torch.randn(c_out), dim=0))
        self.register_buffer("weight_v", F.normalize(torch.randn(c_in * kernel**2), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, C_in, h, w)."""
        matrix = self.weight_orig.flatten(1)
        if self.training:
            with torch.no_grad():
                self.weight_v.copy_(F.normalize(matrix.T @ self.weight_u, dim=0))
                self.weight_u.copy_(F.normalize(matrix @ self.weight_v, dim=0))
        # Clones: a second pass before backward overwrites the buffers.
        largest = self.weight_u.clone() @ (matrix @ self.weight_v.clone())
        return F.conv2d(x, self.weight_orig / largest, self.bias, self.stride, self.padding)


class Spade(nn.Module):
    """Normalise, then scale and shift every place as the label map says (equation 1)."""

    def __init__(self, channels: int, seen: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.shared = nn.Conv2d(seen, hidden, 3, padding=1)
        self.gain = nn.Conv2d(hidden, channels, 3, padding=1)
        self.shift = nn.Conv2d(hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Normalise (B, C, h, w) by labels (B, K, H, W)."""
        steer = F.relu(self.shared(F.interpolate(labels, x.shape[2:])))
        return self.norm(x) * (1 + self.gain(steer)) + self.shift(steer)


class Block(nn.Module):
    """Two steered convolutions beside a third, or beside the identity where the width stays."""

    def __init__(self, c_in: int, c_out: int, seen: int, hidden: int) -> None:
        super().__init__()
        middle = min(c_in, c_out)
        self.norm_0 = Spade(c_in, seen, hidden)
        self.conv_0 = SpectralConv(c_in, middle, 3, 1, 1, bias=True)
        self.norm_1 = Spade(middle, seen, hidden)
        self.conv_1 = SpectralConv(middle, c_out, 3, 1, 1, bias=True)
        self.beside = c_in != c_out
        if self.beside:
            self.norm_s = Spade(c_in, seen, hidden)
            self.conv_s = SpectralConv(c_in, c_out, 1, 1, 0, bias=False)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        """Transform (B, C_in, h, w) as labels (B, K, H, W) say."""
        y = self.conv_0(F.leaky_relu(self.norm_0(x, labels), 0.2))
        y = self.conv_1(F.leaky_relu(self.norm_1(y, labels), 0.2))
        return y + (self.conv_s(self.norm_s(x, labels)) if self.beside else x)


class Generator(nn.Module):
    """Blocks from the coarsest map to the picture, a doubling between each two.

    Args:
        seen: planes of a label map, with unknown and edges.
        width: channels of the finest layer.
        doublings: 5 or 6.
        hidden: see `Config`.
        style: Z, or 0.
        size: of training pictures: with a style, the coarsest map is of its shape.
    """

    def __init__(
        self, seen: int, width: int, doublings: int, hidden: int, style: int, size: Sequence[int]
    ) -> None:
        super().__init__()
        self.doublings, self.wide = doublings, 16 * width
        self.coarse = (size[0] >> doublings, size[1] >> doublings)
        if style:
            self.first: nn.Module = nn.Linear(style, self.wide * self.coarse[0] * self.coarse[1])
        else:
            self.first = nn.Conv2d(seen, self.wide, 3, padding=1)
        widths = [16 * width] * 4 + [8 * width, 4 * width, 2 * width, width]
        self.blocks = nn.ModuleList(Block(a, b, seen, hidden) for a, b in pairwise(widths))
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        self.tanh = nn.Tanh()
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_normal_(module.weight, 0.02)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # there is one

    def forward(self, labels: Tensor, style: Tensor | None = None) -> Tensor:
        """Paint.

        Args:
            labels: (B, K, H, W), both sides multiples of 2^doublings.
            style: (B, Z), or None without one.

        Returns:
            (B, 3, H, W) in [-1, 1].
        """
        sides = [side >> self.doublings for side in labels.shape[2:]]
        if style is None:
            x = self.first(F.interpolate(labels, sides))
        else:
            x = self.first(style).unflatten(1, (self.wide, *self.coarse))
            x = F.interpolate(x, sides)  # other sizes than those of training
        for n, block in enumerate(self.blocks):
            # The first block, and of 5 doublings the third, work at the size they are given.
            if n not in ((0,) if self.doublings == 6 else (0, 2)):
                x = F.interpolate(x, scale_factor=2.0)
            x = block(x, labels)
        return self.tanh(self.last(F.leaky_relu(x, 0.2)))


class Encoder(nn.Module):
    """Six halvings of a picture of 256 pixels: mean and logarithm of the variance of its style."""

    def __init__(self, width: int, style: int) -> None:
        super().__init__()
        widths = [3, *(width * min(2**n, 8) for n in range(6))]
        self.layers = nn.ModuleList(
            nn.Sequential(SpectralConv(a, b, 3, 2, 1, bias=False), instance_norm(b))
            for a, b in pairwise(widths)
        )
        self.mean, self.log_variance = (nn.Linear(16 * widths[-1], style) for _ in range(2))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) → (B, Z), (B, Z)."""
        x = picture
        if x.shape[2:] != (_ENCODED, _ENCODED):
            x = F.interpolate(x, (_ENCODED, _ENCODED), mode="bilinear")
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
        return self.mean(x.flatten(1)), self.log_variance(x.flatten(1))


class Critic(nn.Module):
    """Patches at two scales, the full one first, with spectral normalisation."""

    def __init__(self, seen: int, width: int, layers: int = 3, scales: int = 2) -> None:
        super().__init__()
        widths = [seen, *(width * min(2**n, 8) for n in range(layers + 1))]
        self.scales = nn.ModuleList()
        for _ in range(scales):
            built: list[nn.Module] = []
            for n, (a, b) in enumerate(pairwise(widths)):
                stride = 2 if n < layers else 1
                if n == 0:
                    conv: list[nn.Module] = [nn.Conv2d(a, b, 4, stride, 2)]
                else:
                    conv = [SpectralConv(a, b, 4, stride, 2, bias=False), instance_norm(b)]
                built.append(nn.Sequential(*conv, nn.LeakyReLU(0.2)))
            built.append(nn.Sequential(nn.Conv2d(widths[-1], 1, 4, 1, 2)))
            self.scales.append(nn.ModuleList(built))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Return every layer's output, scale by scale; the last hold the unbounded scores."""
        found = []
        for n, layers in enumerate(self.scales):
            if n:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            features = [x]
            assert isinstance(layers, nn.ModuleList)
            for layer in layers:
                features.append(layer(features[-1]))
            found.append(features[1:])
        return found


# --- losses ---------------------------------------------------------------------------------------


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return how far styles are from N(0, 1): the divergence, summed over the batch, halved."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()


# --- the system -----------------------------------------------------------------------------------


class SPADE:
    """All networks, their training, and painting of label maps of any size.

    Args:
        config: see `Config`.
    """

    score: Final[tuple[str, Literal["max", "min"]]] = ("looks", "min")

    def __init__(self, config: Config) -> None:
        c = self.config = config
        seen = c.classes + c.unknown + c.edges
        self.networks = nn.ModuleDict(
            {
                "generator": Generator(seen, c.width, c.doublings, c.hidden, c.style, c.size),
                "critic": Critic(seen + 3, c.critic_width),
            }
        )
        painters = ["generator"]
        if c.style:
            self.networks["encoder"] = Encoder(c.encoder_width, c.style)
            painters.append("encoder")
        self.optimizers = {
            "generator": OptimizerSpec(tuple(painters), c.lr, (0.0, 0.9)),
            "critic": OptimizerSpec(("critic",), 4 * c.lr, (0.0, 0.9)),
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size, self.steps = c.batch_size, c.steps
        self._judge = None if c.judge == "none" else Judge(c.judge, imagenet=False)

    def collate(self, samples: Sequence[LabelledSample]) -> Batch:
        """Stack pictures, classes and instances."""
        return collate(samples)

    def _condition(self, batch: Batch) -> Tensor:
        c, labels = self.config, batch.labels
        if c.unknown:
            labels = labels.clamp(max=c.classes)
        planes = [one_hot(labels, c.classes + c.unknown)]
        if c.edges:
            planes.append(instance_edges(batch.instances))
        return torch.cat(planes, 1)

    def _encoded(self, image: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return a style drawn from what the encoder sees, and what it pays."""
        if not self.config.style:
            return None, {}
        mean, log_variance = self.networks["encoder"](image)
        style = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        paid = self.config.divergence_weight * divergence(mean, log_variance)
        return style, {"generator/divergence": paid}

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Update the generator, then the critics on a picture painted anew."""
        seen = self._condition(batch)
        style, terms = self._encoded(batch.image)
        fake = self.networks["generator"](seen, style)
        fakes, reals = self._opinions(seen, fake, batch.image)
        terms |= self._generator_terms(fakes, reals, fake, batch.image)
        update("generator", terms)
        with torch.no_grad():
            fake = self.networks["generator"](seen, self._encoded(batch.image)[0])
        fakes, reals = self._opinions(seen, fake, batch.image)
        critic = {
            "critic/fake": hinge(scores(fakes), False) / len(fakes),
            "critic/real": hinge(scores(reals), True) / len(reals),
        }
        update("critic", critic)
        return terms | critic

    def _opinions(
        self, seen: Tensor, fake: Tensor, real: Tensor
    ) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
        """Return the critics' features of painted and true pictures, shown to them together."""
        both = torch.cat([torch.cat([seen, fake], 1), torch.cat([seen, real], 1)])
        found = self.networks["critic"](both)
        fakes = [[x[: len(fake)] for x in scale] for scale in found]
        return fakes, [[x[len(fake) :] for x in scale] for scale in found]

    def _generator_terms(
        self, fakes: Features, reals: Features, fake: Tensor, real: Tensor
    ) -> dict[str, Tensor]:
        c = self.config
        terms = {"generator/gan": wasserstein(scores(fakes), True) / len(fakes)}
        if c.feature_weight:
            terms["generator/features"] = c.feature_weight * matching(fakes, reals)
        if self._judge is not None:
            apart = perceptual(self._judge, fake, real)
            terms["generator/perceptual"] = c.perceptual_weight * apart
        return terms

    def _repaint(self, batch: Batch) -> Tensor:
        """Paint labels in the mean style of their own pictures."""
        style = self.networks["encoder"](batch.image)[0] if self.config.style else None
        painted: Tensor = self.networks["generator"](self._condition(batch), style)
        return painted

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure likeness to the true pictures, in their own styles.

        Returns:
            SSIM, PSNR in dB and `looks` (`metrics.perceptual`).
        """
        likeness = Likeness()
        for batch in batches:
            likeness.add(arrays(batch.image), arrays(self._repaint(batch)))
        return likeness.value()

    def samples(self, batch: Batch) -> Tensor:
        """Per picture: its classes, painted in its own style, the truth."""
        columns = [one_hot(batch.labels, self.config.classes), self._repaint(batch), batch.image]
        return torch.stack([as_colours(x) for x in columns], 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return the SHA-256 of the judge's file."""
        return {} if self._judge is None else {"judge": self._judge.digest}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take it back."""
        if self._judge is not None:
            self._judge.digest = state["judge"]

    # --- use

    def channels(self, direction: Direction | None = None) -> int:
        """Return K: `predict` expects one plane per class, and goes one way only."""
        if direction == "BtoA":
            raise ConfigError("this model paints pictures from labels (AtoB) only")
        return self.config.classes

    @torch.no_grad()
    def predict(
        self,
        condition: Tensor,
        *,
        instances: Tensor | None = None,
        direction: Direction | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Paint label maps, in drawn styles where the model has styles.

        Args:
            condition: (B, K, H, W), one plane per class, of any size; the networks are on its
                device.
            instances: (B, 1, H, W) integers; without them classes are the instances.
            direction: `AtoB`, if given.
            seed: of the styles.

        Returns:
            (B, 3, H, W) in [-1, 1].
        """
        c = self.config
        if condition.shape[1] != self.channels(direction):
            raise ValueError(f"expected (B, {c.classes}, H, W), got {tuple(condition.shape)}")
        height, width = condition.shape[2:]
        labels = condition.argmax(1).where(condition.amax(1) > 0, c.classes)[:, None].double()
        things = labels if instances is None else instances.double()
        labels, things = (pad_to_multiple(x, 2**c.doublings).long() for x in (labels, things))
        self.networks.eval()
        style = None
        if c.style:
            with rng.kept(seed):
                style = torch.randn(len(condition), c.style, device=condition.device)
        seen = self._condition(Batch(condition, labels[:, 0], things))
        painted: Tensor = self.networks["generator"](seen, style)
        return painted[..., :height, :width]
