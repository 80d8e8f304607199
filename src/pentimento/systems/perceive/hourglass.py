"""Stacked hourglasses: maps of points, refined stack after stack, each one supervised.

Newell, Yang, Deng, Stacked Hourglass Networks, ECCV 2016, as laid out by princeton-vl; and FAN
(Bulat & Tzimiropoulos, ICCV 2017), the same for faces: blocks of three parallel 3×3 convolutions,
averages in the place of maxima, and a ResNet-152 that gives every point its depth (`lift`).

Differs: label maps keep the sub-pixel centre, points are decoded as DARK does (`landmarks.py`).
Differs: FAN paints its points for the depth network with a Gaussian that is cut off at 13 × 13
    pixels and rounds their centres; here it is whole. `lift` has no training of its own.

Alphabet: N faces, K points, S crop side, H, W map size. Images are RGB in [-1, 1].

    pentimento train hourglass --data world --preset compact --out runs/hourglass
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.landmarks import LandmarkSample, open_landmarks
from pentimento.engine.system import Dataset, OptimizerSpec, Split, Terms, Update
from pentimento.ops.heatmaps import (
    Decoding,
    decode,
    flip_back,
    gaussian_maps,
    hills,
    to_map,
    to_picture,
)
from pentimento.ops.landmarks import mirror_order
from pentimento.systems.perceive.landmarks import (
    Batch,
    Bottleneck,
    collate,
    cross_entropy,
    drawn,
    normalised_errors,
    points_of,
    squared,
)

_STRIDE: Final = 4


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        block: `residual` with maxima (princeton-vl), or `parallel` with averages (FAN).
        stacks: hourglasses in a row.
        width: channels inside; a multiple of 8.
        depth: halvings of an hourglass; the maps' side, size / 4, is a multiple of 2^depth.
        points: how many: 5, 68 or 98 for faces; a converted model may have its own.
        size: side of training and inference crops in pixels.
        loss: of every stack: squared error, or `softmax` distributions (`landmarks.py`).
        sigma: of the label maps' Gaussians, in map pixels.
        decoding: how `predict` reads the last maps.
        lift: whether FAN's depth network stands beside; it works at 256².
        augmented: whether training crops are varied (`data/landmarks.py`).
        batch_size: faces per step and process.
        steps: length of a full run.
        lr: Adam's learning rate.
    """

    block: Literal["residual", "parallel"] = "residual"
    stacks: int = 2
    width: int = 256
    depth: int = 4
    points: int = 68
    size: int = 256
    loss: Literal["mse", "softmax"] = "mse"
    sigma: float = 1.0
    decoding: Decoding = "dark"
    lift: bool = False
    augmented: bool = True
    batch_size: int = 16
    steps: int = 100_000
    lr: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.size < 1 or self.size % (_STRIDE * 2**self.depth):
            raise ValueError(
                f"size must be a multiple of {_STRIDE * 2**self.depth} at depth {self.depth}, "
                f"got {self.size}"
            )
        if self.width < 8 or self.width % 8:
            raise ValueError(f"width must be a positive multiple of 8, got {self.width}")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: batch statistics need two faces")
        if min(self.stacks, self.depth, self.points, self.steps) < 1:
            raise ValueError("stacks, depth, points and steps must be at least 1")
        if self.lr <= 0 or self.sigma <= 0:
            raise ValueError("lr and sigma must be positive")
        if self.lift and (self.points, self.size) != (68, 256):
            raise ValueError("the depth network takes 68 points at 256²")


def paper() -> Config:
    """Return eight stacks at 256², as the paper trained them."""
    return Config(stacks=8)


def fan() -> Config:
    """Return FAN: four stacks of parallel blocks."""
    return Config(block="parallel", stacks=4)


def compact() -> Config:
    """Return two narrow stacks for a CPU."""
    return Config(width=64, size=128, loss="softmax", batch_size=24, steps=4000, lr=2e-3)


def tiny() -> Config:
    """Return a network for tests: seconds on one core."""
    return Config(
        width=16, depth=2, size=32, loss="softmax", batch_size=4, steps=60,
        lr=5e-3,
    )  # fmt: skip


PRESETS: Final = {"tiny": tiny, "compact": compact, "paper": paper, "fan": fan}


# Networks


class Residual(nn.Module):
    """Newell's residual: norms and ReLUs come first, the bottleneck has half the width."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half = outputs // 2
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, half, 1)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), nn.Conv2d(half, half, 3, 1, 1)
        self.bn3, self.conv3 = nn.BatchNorm2d(half), nn.Conv2d(half, outputs, 1)
        # Official checkpoints hold it also where the widths agree and it is not used.
        self.skip = nn.Conv2d(inputs, outputs, 1)
        self.widens = inputs != outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return x + F(x)."""
        y = self.conv1(F.relu(self.bn1(x)))
        y = self.conv2(F.relu(self.bn2(y)))
        y = self.conv3(F.relu(self.bn3(y)))
        return y + (self.skip(x) if self.widens else x)


class Parallel(nn.Module):
    """FAN's block: 3×3 convolutions in a row, of a half, a quarter and a quarter, side by side."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, half, 3, 1, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(half), nn.Conv2d(half, quarter, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, 1, 1, bias=False)
        self.downsample = (
            None
            if inputs == outputs
            else nn.Sequential(
                nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return x + the three outputs, concatenated."""
        first = self.conv1(F.relu(self.bn1(x)))
        second = self.conv2(F.relu(self.bn2(first)))
        third = self.conv3(F.relu(self.bn3(second)))
        side = x if self.downsample is None else self.downsample(x)
        return torch.cat([first, second, third], 1) + side


_BLOCKS: Final = {
    "residual": (Residual, nn.MaxPool2d),
    "parallel": (Parallel, nn.AvgPool2d),
}


class Hourglass(nn.Module):
    """Down to the smallest resolution and up again, with a path past every halving."""

    def __init__(self, block: type[nn.Module], pool: type[nn.Module], width: int, depth: int):
        super().__init__()
        self.up1 = block(width, width)
        self.pool = pool(2)
        self.low1 = block(width, width)
        self.low2 = Hourglass(block, pool, width, depth - 1) if depth > 1 else block(width, width)
        self.low3 = block(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the input's shape."""
        low = self.low3(self.low2(self.low1(self.pool(x))))
        up: Tensor = self.up1(x)
        return up + F.interpolate(low, scale_factor=2)


class StackedHourglass(nn.Module):
    """Both networks: they differ in their blocks and in how they halve."""

    def __init__(
        self,
        kind: Literal["residual", "parallel"],
        stacks: int,
        width: int,
        points: int,
        depth: int = 4,
    ):
        super().__init__()
        block, pool = _BLOCKS[kind]
        self.pre = nn.Sequential(
            nn.Conv2d(3, width // 4, 7, 2, 3), nn.BatchNorm2d(width // 4), nn.ReLU(),
            block(width // 4, width // 2), pool(2), block(width // 2, width // 2),
            block(width // 2, width),
        )  # fmt: skip
        self.hourglasses = nn.ModuleList(
            Hourglass(block, pool, width, depth) for _ in range(stacks)
        )
        self.features = nn.ModuleList(
            nn.Sequential(
                block(width, width), nn.Conv2d(width, width, 1), nn.BatchNorm2d(width), nn.ReLU()
            )
            for _ in range(stacks)
        )
        self.outs = nn.ModuleList(nn.Conv2d(width, points, 1) for _ in range(stacks))
        self.merge_features = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(stacks - 1))
        self.merge_outs = nn.ModuleList(nn.Conv2d(points, width, 1) for _ in range(stacks - 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps (N, K, S / 4, S / 4) of every stack for images in [0, 1]."""
        x = self.pre(x)
        answers: list[Tensor] = []
        for number, hourglass in enumerate(self.hourglasses):
            features = self.features[number](hourglass(x))
            answers.append(self.outs[number](features))
            if number < len(self.merge_outs):
                x = x + self.merge_features[number](features) + self.merge_outs[number](answers[-1])
        return answers


class DepthNet(nn.Module):
    """FAN's ResNet-152: picture and 68 painted points (N, 71, 256, 256) to 68 depths."""

    def __init__(self, points: int = 68, blocks: Sequence[int] = (3, 8, 36, 3)):
        super().__init__()
        self.conv1 = nn.Conv2d(3 + points, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs = 64
        layers = []
        for level, count in enumerate(blocks):
            inner = 64 * 2**level
            stride = 1 if level == 0 else 2
            rest = (Bottleneck(4 * inner, inner) for _ in range(count - 1))
            layers.append(nn.Sequential(Bottleneck(inputs, inner, stride), *rest))
            inputs = 4 * inner
        self.layers = nn.ModuleList(layers)
        self.fc = nn.Linear(inputs, points)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 68) depths in pixels of the 256² crop."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for layer in self.layers:
            x = layer(x)
        # The official pool is a 7 × 7 window; of the 8 × 8 map it leaves out a row and a column.
        depths: Tensor = self.fc(x[:, :, :7, :7].mean((2, 3)))
        return depths


# Data and system


def open_data(spec: str, split: Split, config: Config) -> Dataset[LandmarkSample]:
    """Open faces with landmarks (see `data/landmarks.py`)."""
    varied = config.augmented and split == "train"
    return open_landmarks(spec, split, config.size, config.points, varied=varied)


class StackedHourglasses:
    """The system: one network, one optimizer; perhaps a depth network beside it."""

    def __init__(self, config: Config):
        self.config = config
        self.networks = nn.ModuleDict(
            {
                "hourglass": StackedHourglass(
                    config.block, config.stacks, config.width, config.points, config.depth
                )
            }
        )
        if config.lift:
            self.networks["lift"] = DepthNet(config.points)
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "hourglass": OptimizerSpec(("hourglass",), config.lr, schedule=self._schedule)
        }
        self.averaged: tuple[str, ...] = ("hourglass",)
        self.batch_size = config.batch_size
        self.steps = config.steps
        self.score: tuple[str, Literal["max", "min"]] = ("nme", "min")

    @staticmethod
    def _schedule(done: float) -> float:
        return min(1.0, (done + 1e-3) / 0.03) * 0.5 * (1 + math.cos(math.pi * done))

    def collate(self, samples: Sequence[LandmarkSample]) -> Batch:
        """Stack samples."""
        return collate(samples)

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Step once on the sum of the losses of all stacks."""
        c = self.config
        inside = ((batch.points > 0) & (batch.points < c.size)).all(2).float()
        wanted = to_map(batch.points, _STRIDE)
        loss = squared if c.loss == "mse" else cross_entropy
        answers = self.networks["hourglass"]((batch.image + 1) / 2)
        terms = {
            f"stack{number}": loss(maps, wanted, c.sigma, inside)
            for number, maps in enumerate(answers)
        }
        update("hourglass", terms)
        return terms

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return the mean error over the distance of the outer eye corners (NME)."""
        return {"nme": normalised_errors(batches, self.locate)}

    def samples(self, batch: Batch) -> Tensor:
        """Return rows of face, true points and predicted points."""
        with torch.no_grad():
            return drawn(batch, self.locate(batch.image))

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing beyond the network."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take back."""

    @property
    def size(self) -> int:
        """Side of the crop it looks at, in pixels."""
        return self.config.size

    def maps(self, image: Tensor) -> Tensor:
        """Return (N, K, H, W) hills of the last stack for (N, 3, S, S) crops in [-1, 1]."""
        last = self.networks["hourglass"]((image + 1) / 2)[-1]
        return hills(last) if self.config.loss == "softmax" else last

    def locate(self, image: Tensor, *, flip: bool = False) -> Tensor:
        """Return points (N, K, 2) in pixels of (N, 3, S, S) crops in [-1, 1].

        Args:
            image: crops.
            flip: average the maps with those of the mirrored crops; for 5, 68 or 98 points.
        """
        maps = self.maps(image)
        if flip:
            order = torch.from_numpy(mirror_order(self.config.points)).to(image.device)
            maps = (maps + flip_back(self.maps(image.flip(3)), order)) / 2
        return to_picture(decode(maps, self.config.decoding)[0], _STRIDE)

    def predict(self, image: NDArray[np.uint8], *, flip: bool = False) -> NDArray[np.float32]:
        """Return the points (K, 2) of the face in a square crop, in its pixels.

        Args:
            image: (S, S, 3) uint8 RGB of any size, as the network was trained on (our own:
                `ops.landmarks.crop_of`).
            flip: average with the mirrored crop; for 5, 68 or 98 points.
        """
        return points_of(self, image, flip=flip)

    def depths(self, image: Tensor, points: Tensor) -> Tensor:
        """Return the depth (N, K) of every point, in pixels of the crop.

        Args:
            image: (N, 3, 256, 256) crops in [-1, 1].
            points: (N, 68, 2) as `locate` returns them.

        Raises:
            ValueError: the configuration has no depth network.
        """
        if "lift" not in self.networks:
            raise ValueError("this hourglass has no depth network (config.lift)")
        painted = gaussian_maps(points - 0.5, image.shape[2:], 0.25 * 13)
        depths: Tensor = self.networks["lift"](torch.cat([(image + 1) / 2, painted], 1))
        return depths
