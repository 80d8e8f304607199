"""Conditional GAN: pictures of the class that is asked for (Mirza & Osindero, 2014).

Implemented: the paper's generator, which takes noise and class through layers of their own and then
through one together, and its critic of maxout units (Goodfellow et al. 2013) with dropout. With
`conditional=false` neither sees the class: the ordinary GAN of the same size, for comparison. What
the condition changes is one letter in the objective: E[log D(x|y)] + E[log(1 - D(G(z|y)))].

Differs:
- Adam; the paper has gradient descent whose momentum grows while its rate decays.
- The generator maximises log D(G), as its authors' code does and the formula does not.
- `normalise` puts batch normalisation into the generator (Radford et al. 2016). Without it a
  thousand steps teach what a digit is; with it also which one was asked for.
- Pictures are in [-1, 1], by tanh; the paper's are in [0, 1], by a sigmoid.

Alphabet: B batch; K classes; C channels; S side; Z length of the noise.

Train: `pentimento train cgan --data digits --out runs/digits`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.classes import ClassFolders, ClassSample, Digits, open_classes
from pentimento.engine import rng
from pentimento.engine.system import OptimizerSpec, Split, Terms, Update
from pentimento.losses.adversarial import cross_entropy
from pentimento.metrics.distribution import SlicedWasserstein


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """The networks and the course of training.

    Attributes:
        classes: K.
        channels: C, 1 or 3.
        size: S.
        conditional: whether generator and critic see the class.
        noise: Z; uniform in [-1, 1].
        noise_width: units of the noise's own layer.
        class_width: of the class's own layer.
        width: of the layer of both.
        critic_width: maxout units of the critic's first and last layer, of 5 and 4 pieces.
        critic_class_width: of the class's own layer in it, of 5 pieces.
        dropout: share of the units that each pass leaves out.
        normalise: whether the generator normalises its layers of the noise and of both by batch.
        lr: Adam's learning rate; its β1 is 0.5.
        batch_size: 100 in the paper.
        steps: length of a run.
    """

    classes: int = 10
    channels: Literal[1, 3] = 1
    size: int = 28
    conditional: bool = True
    noise: int = 100
    noise_width: int = 200
    class_width: int = 1000
    width: int = 1200
    critic_width: int = 240
    critic_class_width: int = 50
    dropout: float = 0.5
    normalise: bool = False
    lr: float = 2e-4
    batch_size: int = 100
    steps: int = 50_000

    def __post_init__(self) -> None:
        """Refuse pictures that cannot be measured, and a single class."""
        if self.size < 28 or self.classes < 2:
            raise ValueError(
                f"size must be at least 28 and classes 2, got {self.size} and {self.classes}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a share from 0 to below 1, got {self.dropout}")


def paper() -> Config:
    """Return the paper's numbers for digits."""
    return Config()


def compact() -> Config:
    """Return a model with half the units; minutes on a CPU core."""
    return Config(
        class_width=200, width=600, critic_width=120, dropout=0.2, normalise=True, lr=5e-4,
        steps=10_000,
    )  # fmt: skip


def tiny() -> Config:
    """Return a model for tests."""
    return Config(
        noise=8, noise_width=8, class_width=8, width=16, critic_width=4, critic_class_width=4,
        batch_size=4, steps=4,
    )  # fmt: skip


PRESETS: Final = {"paper": paper, "compact": compact, "tiny": tiny}


def open_data(spec: str, split: Split, config: Config) -> Digits | ClassFolders:
    """Open pictures with their classes; see `pentimento.data.classes`."""
    c = config
    return open_classes(spec, split, size=c.size, channels=c.channels, classes=c.classes)


@plain_dataclass(frozen=True)
class Batch:
    """Pictures and their classes.

    Attributes:
        image: (B, C, S, S) in [-1, 1].
        kind: (B,) int64.
    """

    image: Tensor
    kind: Tensor


# --- networks -------------------------------------------------------------------------------------


class Maxout(nn.Module):
    """The largest of several linear functions, per unit (Goodfellow et al. 2013)."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.units, self.pieces = units, pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) → (B, units)."""
        return self.linear(x).unflatten(1, (self.units, self.pieces)).amax(2)


class Generator(nn.Module):
    """Noise and class, each through a layer of its own, then together: a picture."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.noise = nn.Linear(c.noise, c.noise_width)
        seen = c.noise_width
        if c.conditional:
            self.kind = nn.Linear(c.classes, c.class_width)
            seen += c.class_width
        self.both = nn.Linear(seen, c.width)
        self.last = nn.Linear(c.width, c.channels * c.size**2)
        self.dropout = nn.Dropout(c.dropout)
        norm = nn.BatchNorm1d if c.normalise else nn.Identity
        self.noise_norm, self.both_norm = norm(c.noise_width), norm(c.width)

    def forward(self, noise: Tensor, kind: Tensor) -> Tensor:
        """Paint (B, Z) and one-hot (B, K): (B, C, S, S) in [-1, 1]."""
        seen = [F.relu(self.noise_norm(self.noise(noise)))]
        if self.config.conditional:
            seen.append(F.relu(self.kind(kind)))
        x = F.relu(self.both_norm(self.both(self.dropout(torch.cat(seen, 1)))))
        c = self.config
        return self.last(self.dropout(x)).tanh().unflatten(1, (c.channels, c.size, c.size))


class Critic(nn.Module):
    """Picture and class, each through maxout units of its own, then together: a score."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        c = self.config = config
        self.picture = Maxout(c.channels * c.size**2, c.critic_width, 5)
        seen = c.critic_width
        if c.conditional:
            self.kind = Maxout(c.classes, c.critic_class_width, 5)
            seen += c.critic_class_width
        self.both = Maxout(seen, c.critic_width, 4)
        self.last = nn.Linear(c.critic_width, 1)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, picture: Tensor, kind: Tensor) -> Tensor:
        """Score (B, C, S, S) of one-hot (B, K): (B, 1), unbounded."""
        seen = [self.picture(picture.flatten(1))]
        if self.config.conditional:
            seen.append(self.kind(kind))
        return self.last(self.dropout(self.both(self.dropout(torch.cat(seen, 1)))))


# --- the system -----------------------------------------------------------------------------------


class ConditionalGAN:
    """Generator and critic, their training, and pictures of the classes that are asked for.

    Args:
        config: see `Config`.
    """

    def __init__(self, config: Config) -> None:
        c = self.config = config
        self.networks = nn.ModuleDict({"generator": Generator(c), "critic": Critic(c)})
        self.optimizers: Mapping[str, OptimizerSpec] = {
            name: OptimizerSpec((name,), c.lr, (0.5, 0.999)) for name in self.networks
        }
        self.averaged: tuple[str, ...] = ("generator",)
        self.batch_size, self.steps = c.batch_size, c.steps
        self.score: tuple[str, Literal["max", "min"]] = ("distance", "min")

    def collate(self, samples: Sequence[ClassSample]) -> Batch:
        """Stack pictures and classes."""
        image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        return Batch(image.float() / 127.5 - 1, torch.tensor([s.kind for s in samples]))

    def _paint(self, kind: Tensor) -> Tensor:
        noise = torch.rand(len(kind), self.config.noise, device=kind.device) * 2 - 1
        painted: Tensor = self.networks["generator"](noise, self._one_hot(kind))
        return painted

    def _one_hot(self, kind: Tensor) -> Tensor:
        return F.one_hot(kind, self.config.classes).float()

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Update the critic on true and painted pictures of the same classes, then the generator.

        The generator is asked for the classes of the batch.
        """
        kind, critic = self._one_hot(batch.kind), self.networks["critic"]
        fake = self._paint(batch.kind)
        terms = {
            "critic/real": 0.5 * cross_entropy([critic(batch.image, kind)], True),
            "critic/fake": 0.5 * cross_entropy([critic(fake.detach(), kind)], False),
        }
        update("critic", terms)
        generator = {"generator/gan": cross_entropy([critic(fake, kind)], True)}
        update("generator", generator)
        return terms | generator

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Measure how far pictures of the asked classes are from true ones (sliced Wasserstein).

        `distance` is the mean over classes of the distance within a class, so that it counts
        whether the right class was painted.
        """
        found: dict[int, SlicedWasserstein] = {}
        for batch in batches:
            fakes = self._paint(batch.kind)
            pairs = zip(batch.kind.tolist(), _arrays(batch.image), _arrays(fakes), strict=True)
            for kind, real, fake in pairs:
                found.setdefault(kind, SlicedWasserstein()).add(real, fake)
        return {"distance": float(np.mean([each.value() for each in found.values()]))}

    def samples(self, batch: Batch) -> Tensor:
        """Per picture: itself, and four painted ones of its class."""
        columns = [batch.image, *(self._paint(batch.kind) for _ in range(4))]
        return torch.stack([(x / 2 + 0.5).expand(-1, 3, -1, -1) for x in columns], 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Return nothing: all state is in the networks."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Take nothing back."""

    @torch.no_grad()
    def predict(self, kind: Tensor, *, seed: int = 0) -> Tensor:
        """Paint pictures of classes; an unconditional model paints what it likes.

        Args:
            kind: (B,) int64, 0 … K-1; the networks are on its device.
            seed: of the noise.

        Returns:
            (B, C, S, S) in [-1, 1].
        """
        if kind.numel() and not 0 <= int(kind.min()) <= int(kind.max()) < self.config.classes:
            raise ValueError(f"classes are 0 to {self.config.classes - 1}, got {kind.tolist()}")
        self.networks.eval()
        with rng.kept(seed):
            return self._paint(kind)


def _arrays(x: Tensor) -> NDArray[np.float32]:
    return (x / 2 + 0.5).float().permute(0, 2, 3, 1).cpu().numpy()
