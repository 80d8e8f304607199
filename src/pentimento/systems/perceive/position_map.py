"""Position maps: where every point of a face is, seen or hidden (Feng et al., PRNet, ECCV 2018).

An encoder and decoder turn an aligned face into a picture over the face's texture whose three
channels are x, y and z: a face in three dimensions, with landmarks and dense correspondence, from
one look. It is the inverse of `face_charts`, which says of every pixel which point it shows.

Differs: the texture, the face it is laid on and the crop are those of rendered portraits; the
    authors' need the Basel Face Model. Kernels of 4 at stride 1 are padded by 1 before and 2
    after, as TensorFlow does.
Differs: the paper's seventeen transposed convolutions settle on one mean face and stay there for
    thousands of steps (the authors train 190 000). `compact` starts from the neutral face and adds
    what a short code, linear in the encoder's features, says on a coarse grid: sooner learnt, and
    without detail finer than that grid.

Alphabet: N pictures, S side of picture and map, T the same for texels. Crops are RGB in [-1, 1];
positions in sides of the crop: x and y from its upper left corner, z towards the camera.

    pentimento train position_map --data world --preset compact --out runs/position_map
"""

import math
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

from pentimento.data.positions import (
    PositionFaces,
    PositionSample,
    layout,
    neutral,
    open_positions,
)
from pentimento.engine.system import OptimizerSpec, Split, Terms, Update
from pentimento.nn.pointwise import PointwiseConv

_RANGE: Final = 1.1  # what the sigmoid spans, in sides of the crop
_MIDDLE: Final = 0.55  # added to z, which is 0 in the middle of the face
_EYES: Final = (36, 45)  # the outer corners among 68 points
# Widths of the residual blocks and of the transposed convolutions over that of the first layer,
# and strides; three more transposed convolutions have few channels.
_DOWN: Final = ((2, 2), (2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), (16, 1), (32, 2), (32, 1))
_UP: Final = (
    (32, 1), (16, 2), (16, 1), (16, 1), (8, 2), (8, 1), (8, 1), (4, 2), (4, 1), (4, 1), (2, 2),
    (2, 1), (1, 2), (1, 1),
)  # fmt: skip


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        size: side of crops and maps in pixels; a multiple of 32.
        width: channels of the first convolution, an even number; the widest layer has 32 times as
            many.
        code: numbers that place a face on a grid of a quarter of the side, from its neutral map;
            0 = the paper's transposed convolutions.
        augmented: whether training crops are varied.
        batch_size: crops per step and process.
        steps: length of a full run.
        lr: Adam's learning rate.
        schedule: of the learning rate: halved every fifth of the run, or a cosine after a warm-up.
    """

    size: int = 256
    width: int = 16
    code: int = 0
    augmented: bool = True
    batch_size: int = 16
    steps: int = 190_000
    lr: float = 1e-4
    schedule: Literal["halving", "cosine"] = "halving"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.size < 32 or self.size % 32:
            raise ValueError(f"size must be a positive multiple of 32, got {self.size}")
        if self.width < 2 or self.width % 2:
            raise ValueError(f"width must be a positive even number, got {self.width}")
        if self.code < 0:
            raise ValueError(f"code must not be negative, got {self.code}")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: batch statistics need two faces")
        if self.steps < 1 or self.lr <= 0:
            raise ValueError("steps and lr must be positive")


def paper() -> Config:
    """Return the published network at 256²."""
    return Config()


def compact() -> Config:
    """Return a network half as wide at 128² for a CPU."""
    return Config(size=128, width=8, code=64, steps=4000, lr=1e-3, schedule="cosine")


def tiny() -> Config:
    """Return a network for tests: seconds on one core."""
    return Config(
        size=32, width=4, code=16, batch_size=4, steps=80, lr=5e-3, augmented=False,
        schedule="cosine",
    )  # fmt: skip


PRESETS: Final = {"tiny": tiny, "compact": compact, "paper": paper}


@plain_dataclass(frozen=True)
class Batch:
    """Crops of one step.

    Attributes:
        image: (N, 3, S, S) in [-1, 1].
        positions: (N, 3, S, S) in sides of the crop.
    """

    image: Tensor
    positions: Tensor


# Network


class SameConv(nn.Conv2d):
    """Convolution of 4x4 as TensorFlow pads it: the sides shrink by the stride, exactly."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__(inputs, outputs, 4, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        after = 2 if self.stride[0] == 1 else 1
        return super().forward(F.pad(x, (1, after, 1, after)))


class SameUp(nn.ConvTranspose2d):
    """Transposed convolution of 4x4, the inverse of `SameConv` in size."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__(inputs, outputs, 4, stride, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H · stride, W · stride)."""
        height, width = (side * self.stride[0] for side in x.shape[2:])
        return super().forward(x)[:, :, 1 : 1 + height, 1 : 1 + width]


def _block(layer: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU())


class Residual(nn.Module):
    """1x1, 4x4 and 1x1 convolutions beside a bare shortcut; norm and ReLU come after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        middle = outputs // 2
        self.shortcut = (
            PointwiseConv(inputs, outputs, stride)
            if stride > 1 or inputs != outputs
            else nn.Identity()
        )
        self.reduce = _block(nn.Conv2d(inputs, middle, 1, bias=False), middle)
        self.look = _block(SameConv(middle, middle, stride), middle)
        self.widen = nn.Conv2d(middle, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = self.widen(self.look(self.reduce(x)))
        return F.relu(self.norm(y + self.shortcut(x)))


class Decoder(nn.Module):
    """The paper's: seventeen transposed convolutions, and a sigmoid that spans 1.1 sides."""

    def __init__(self, width: int):
        super().__init__()
        inputs, up = 32 * width, []
        for factor, stride in _UP:
            up.append(_block(SameUp(inputs, factor * width, stride), factor * width))
            inputs = factor * width
        up += [_block(SameUp(inputs, 3, 1), 3), _block(SameUp(3, 3, 1), 3)]
        self.up = nn.Sequential(*up)
        self.last = nn.Sequential(SameUp(3, 3, 1), nn.BatchNorm2d(3))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 32 · width, S / 32, S / 32) to positions (N, 3, S, S)."""
        share = self.last(self.up(x)).sigmoid()
        return _RANGE * share - share.new_tensor([0, 0, _MIDDLE])[:, None, None]


class CodeDecoder(nn.Module):
    """The neutral face, moved by what a code says on a grid of a quarter of the side."""

    neutral: Tensor

    def __init__(self, width: int, size: int, code: int):
        super().__init__()
        self._grid = size // 4
        self.code = nn.Linear(32 * width * (size // 32) ** 2, code)
        self.moves = nn.Linear(code, 3 * self._grid**2)
        nn.init.zeros_(self.moves.weight)
        nn.init.zeros_(self.moves.bias)
        self.register_buffer("neutral", torch.from_numpy(neutral(size)).permute(2, 0, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 32 · width, S / 32, S / 32) to positions (N, 3, S, S)."""
        moves = self.moves(self.code(x.flatten(1))).view(-1, 3, self._grid, self._grid)
        return self.neutral + F.interpolate(moves, scale_factor=4.0, mode="bilinear")


class PositionNet(nn.Module):
    """Ten residual blocks down to 1/32 of the side, and a decoder."""

    def __init__(self, config: Config):
        super().__init__()
        inputs, down = config.width, []
        self.stem = _block(SameConv(3, inputs, 1), inputs)
        for factor, stride in _DOWN:
            down.append(Residual(inputs, factor * config.width, stride))
            inputs = factor * config.width
        self.down = nn.Sequential(*down)
        self.decoder = (
            CodeDecoder(config.width, config.size, config.code)
            if config.code
            else Decoder(config.width)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return positions (N, 3, S, S) of crops (N, 3, S, S)."""
        maps: Tensor = self.decoder(self.down(self.stem(image)))
        return maps


# Data


def open_data(spec: str, split: Split, config: Config) -> PositionFaces:
    """Open faces with position maps (see `data/positions.py`)."""
    varied = config.augmented and split == "train"
    return open_positions(spec, split, config.size, config.size, varied=varied)


# Losses


def position_loss(found: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return the squared error of maps (N, 3, T, T) under weights (T, T), over their sum."""
    squares = (found - truth).square().sum(1)
    return (squares * weights).sum() / (weights.sum() * len(found))


def landmarks_of(maps: Tensor) -> Tensor:
    """Return the 68 landmarks (N, 68, 3) that maps (N, 3, T, T) hold."""
    shape = layout(maps.shape[-1])
    texels = torch.from_numpy(shape.texels).to(maps.device)
    around = maps.flatten(2)[:, :, texels]  # (N, 3, 68, 4)
    return (around * torch.from_numpy(shape.blend).to(maps)).sum(3).transpose(1, 2)


# The system


class PositionMap:
    """The system: one network, one optimizer."""

    def __init__(self, config: Config):
        self.config = config
        self.networks = nn.ModuleDict({"positions": PositionNet(config)})
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "positions": OptimizerSpec(("positions",), config.lr, schedule=self._schedule)
        }
        self.averaged: tuple[str, ...] = ("positions",)
        self.batch_size = config.batch_size
        self.steps = config.steps
        self.score: tuple[str, Literal["max", "min"]] = ("nme", "min")

    def _schedule(self, done: float) -> float:
        if self.config.schedule == "halving":
            return 0.5 ** int(5 * done)
        return min(1.0, (done + 1e-3) / 0.03) * 0.5 * (1 + math.cos(math.pi * done))

    def collate(self, samples: Sequence[PositionSample]) -> Batch:
        """Stack samples."""
        image, positions = (
            torch.from_numpy(np.stack(each)).permute(0, 3, 1, 2).contiguous()
            for each in ([s.image for s in samples], [s.positions for s in samples])
        )
        return Batch(image.float() / 127.5 - 1, positions)

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Step once on the weighted squares (equation 4 of the paper)."""
        weights = torch.from_numpy(layout(self.config.size).weights).to(batch.image.device)
        found = self.networks["positions"](batch.image)
        terms = {"positions": position_loss(found, batch.positions, weights)}
        update("positions", terms)
        return terms

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return mean distances over that of the outer eye corners, in 3D.

        `nme` is that of the 68 landmarks in the picture, as of other landmark systems; `dense` is
        in three dimensions, of all texels of the face.
        """
        known = torch.from_numpy(layout(self.config.size).known)
        flat, dense = [], []
        with torch.no_grad():
            for batch in batches:
                found = self.networks["positions"](batch.image)
                truth = landmarks_of(batch.positions)[..., :2]
                span = (truth[:, _EYES[0]] - truth[:, _EYES[1]]).norm(dim=1).clamp(min=1e-6)
                off = (landmarks_of(found)[..., :2] - truth).norm(dim=2).mean(1)
                flat.append(off / span)
                far = (found - batch.positions).norm(dim=1)[:, known.to(found.device)].mean(1)
                dense.append(far / span)
        return {"nme": float(torch.cat(flat).mean()), "dense": float(torch.cat(dense).mean())}

    def predict(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the positions (T, T, 3) of a face, in pixels of the crop; NaN off the face.

        Args:
            image: (S, S, 3) uint8 RGB, aligned as in `ops/align.py`, of any size.
        """
        if image.ndim != 3 or image.shape[0] != image.shape[1] or image.shape[2] != 3:
            raise ValueError(f"expected a square RGB crop (S, S, 3), got {image.shape}")
        if image.dtype != np.uint8:
            raise ValueError(f"expected uint8 values 0..255, got {image.dtype}")
        network = self.networks["positions"]
        x = torch.tensor(image, device=next(network.parameters()).device)
        x = x.permute(2, 0, 1)[None].float() / 127.5 - 1
        x = F.interpolate(x, (self.config.size,) * 2, mode="bilinear", antialias=True)
        was_training = network.training
        network.eval()
        with torch.inference_mode():
            found = network(x)[0].permute(1, 2, 0).float().cpu().numpy() * image.shape[0]
        network.train(was_training)
        return np.where(layout(self.config.size).known[..., None], found, np.float32(np.nan))

    def samples(self, batch: Batch) -> Tensor:
        """Return rows of crop, true and found map, and the crop seen through both (N, 5, ...)."""
        with torch.no_grad():
            found = self.networks["positions"](batch.image)
        pictures = (batch.image + 1) / 2
        known = torch.from_numpy(layout(self.config.size).known).to(pictures)
        columns = [pictures]
        for maps in (batch.positions, found):
            shown = maps + maps.new_tensor([0, 0, 0.5])[:, None, None]
            grid = 2 * maps[:, :2].permute(0, 2, 3, 1) - 1
            seen = F.grid_sample(pictures, grid, align_corners=False)
            columns += [shown.clamp(0, 1) * known, seen * known]
        return torch.stack(columns, 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing beyond the network."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take back."""
