"""Landmarks: where the 5, 68 or 98 points of a face lie, by heatmaps or by coordinates.

Heatmaps: every point has a map whose Gaussian hill it is (Sun et al., High-Resolution
Representations, 2019: HRNetV2-W18 for faces); the point is read back from the map (`ops.heatmaps`).
Coordinates: the baseline, a linear layer on all places of a coarse map (Feng et al., Wing Loss,
CVPR 2018). `Compact` is small and runs beside an editor: 0.45 M parameters at 128².

Differs: label maps keep the sub-pixel centre (DARK, CVPR 2020); the authors cut it off. Points
    are decoded as DARK or soft-argmax do and stay fractions; the authors cut those off as well
    (`compat.keypoint_arithmetic` has their arithmetic).
Differs: `softmax` maps (the loss of `compact`) are trained as distributions: cross-entropy
    against the Gaussian divided by its sum, and the wing loss of their mean position.
Differs: coordinates are moves of the neutral face, in small units: Adam's steps are as large for
    an answer in crop sides, and throw faces about the whole crop.

Alphabet: N faces, K points, S crop side, H, W map size. Images are RGB in [-1, 1].

    pentimento train landmarks --data world --preset compact --out runs/landmarks
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Final, Literal, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.landmarks import LandmarkSample, neutral, open_landmarks
from pentimento.engine.system import Dataset, OptimizerSpec, Split, Terms, Update
from pentimento.nn.pointwise import PointwiseConv
from pentimento.ops.heatmaps import (
    Decoding,
    decode,
    flip_back,
    gaussian_maps,
    hills,
    soft_argmax,
    to_map,
    to_picture,
)
from pentimento.ops.landmarks import mirror_order
from pentimento.systems.perceive.face_parsing import Residual


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        network: architecture of the trunk; HRNet has heatmaps only, of stride 4.
        head: `heatmap`, or `coordinates`: the regression baseline.
        points: how many: 5 (eyes, nose, mouth corners), 68 (300-W) or 98 (WFLW).
        size: side of training and inference crops in pixels; a multiple of 32.
        stride: crop pixels per map pixel of `compact`.
        widths: channels at strides 2, 4, 8 and 16 of `compact`.
        loss: of heatmaps: squared error, or `softmax` distributions; coordinates take the wing
            loss.
        sigma: of the label maps' Gaussians, in map pixels.
        mean_weight: of the wing loss of the maps' mean positions beside `softmax`; 0 = off.
        decoding: how `predict` reads a map.
        augmented: whether training crops are varied (`data/landmarks.py`).
        batch_size: faces per step and process.
        steps: length of a full run.
        lr: Adam's learning rate.
        weight_decay: decoupled weight decay.
        schedule: of the learning rate: cosine after a warm-up, or HRNet's steps of a tenth.
    """

    network: Literal["hrnet", "compact"] = "compact"
    head: Literal["heatmap", "coordinates"] = "heatmap"
    points: Literal[5, 68, 98] = 68
    size: int = 128
    stride: Literal[1, 2, 4] = 4
    widths: tuple[int, int, int, int] = (16, 48, 88, 104)
    loss: Literal["mse", "softmax"] = "softmax"
    sigma: float = 1.0
    mean_weight: float = 0.1
    decoding: Decoding = "soft"
    augmented: bool = True
    batch_size: int = 24
    steps: int = 3600
    lr: float = 2.5e-3
    weight_decay: float = 0.01
    schedule: Literal["cosine", "steps"] = "cosine"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.size < 32 or self.size % 32:
            raise ValueError(f"size must be a positive multiple of 32, got {self.size}")
        if min(self.widths) < 1:
            raise ValueError(f"widths are four positive numbers, got {self.widths}")
        if self.network == "hrnet" and (self.head, self.stride) != ("heatmap", 4):
            raise ValueError("HRNet answers with heatmaps of stride 4")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: batch statistics need two faces")
        if self.steps < 1 or self.lr <= 0 or self.sigma <= 0:
            raise ValueError("steps, lr and sigma must be positive")


def paper() -> Config:
    """Return HRNetV2-W18 as trained on 300-W: 60 epochs of 3148 faces, 256², squared error."""
    return Config(
        network="hrnet", size=256, loss="mse", sigma=1.0, decoding="dark", batch_size=16,
        steps=11_800, lr=1e-4, weight_decay=0.0, schedule="steps",
    )  # fmt: skip


def wflw() -> Config:
    """Return HRNetV2-W18 as trained on WFLW: 98 points, wider hills."""
    return replace(paper(), points=98, sigma=1.5, steps=28_000)


def compact() -> Config:
    """Return the network that is bundled."""
    return Config()


def coordinates() -> Config:
    """Return the baseline: the same trunk, no maps."""
    return Config(head="coordinates", lr=1e-3)


def tiny() -> Config:
    """Return a network for tests: seconds on one core."""
    return Config(size=32, widths=(8, 12, 16, 16), batch_size=4, steps=60, lr=5e-3)


PRESETS: Final = {
    "tiny": tiny,
    "compact": compact,
    "paper": paper,
    "wflw": wflw,
    "coordinates": coordinates,
}


@plain_dataclass(frozen=True)
class Batch:
    """Faces of one step.

    Attributes:
        image: (N, 3, S, S) in [-1, 1].
        points: (N, K, 2) in crop pixels.
        eye_span: (N,) distance of the outer eye corners in crop pixels.
    """

    image: Tensor
    points: Tensor
    eye_span: Tensor


# Networks. Each maps (N, 3, S, S) to (N, K, H, W) maps or (N, K, 2) coordinates.


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; no bias, since the norm has one."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Trunk(nn.Module):
    """A narrow residual encoder; features at strides 2, 4, 8 and 16."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        w2, w4, w8, w16 = widths
        self.stages = nn.ModuleList(
            [
                _conv(3, w2, 3, 2),
                nn.Sequential(_conv(w2, w4, 3, 2), Residual(w4, w4)),
                nn.Sequential(_conv(w4, w8, 3, 2), Residual(w8, w8)),
                nn.Sequential(_conv(w8, w16, 3, 2), _conv(w16, w16)),
            ]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features, fine to coarse."""
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class Compact(nn.Module):
    """The trunk and a light way back up, to maps of a stride of 4, 2 or 1."""

    def __init__(self, widths: Sequence[int], points: int, stride: int):
        super().__init__()
        w2, w4, w8, w16 = widths
        self.trunk = Trunk(widths)
        self.stride = stride
        top = w4
        self.context = nn.Conv2d(w16, top, 1)
        self.laterals = nn.ModuleList(nn.Conv2d(w, top, 1) for w in (w16, w8, w4))
        self.smooth = nn.ModuleList(_conv(top, top) for _ in range(2))
        self.fine = _conv(top + w2, top) if stride < 4 else None
        self.head = nn.Conv2d(top, points, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, K, S / stride, S / stride) maps."""
        size = [side // self.stride for side in x.shape[2:]]
        stride2, *features = self.trunk(x)
        y = self.laterals[0](features[-1]) + self.context(features[-1].mean((2, 3), keepdim=True))
        for feature, lateral, smooth in zip(
            features[-2::-1], list(self.laterals)[1:], self.smooth, strict=True
        ):
            side = lateral(feature)
            y = smooth(side + F.interpolate(y, side.shape[2:], mode="bilinear"))
        if self.fine is not None:
            y = F.interpolate(y, stride2.shape[2:], mode="bilinear")
            y = self.fine(torch.cat([y, stride2], 1))
        maps: Tensor = self.head(y)
        if maps.shape[2] != size[0]:
            maps = F.interpolate(maps, size, mode="bilinear")
        return maps


class Regressor(nn.Module):
    """The coordinate baseline: the trunk, a coarse map, a linear layer that moves the neutral face.

    The map is not averaged: that would say what a face has, but not where.
    """

    _MOVE: Final = 0.03  # crop sides, of a move by 1
    neutral: Tensor

    def __init__(self, config: Config):
        super().__init__()
        width = config.widths[3]
        self.trunk = Trunk(config.widths)
        self.coarse = _conv(width, 2 * width, 3, 2)
        self.linear = nn.Linear(2 * width * (config.size // 32) ** 2, 2 * config.points)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("neutral", torch.from_numpy(neutral(config.points)))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, K, 2): x and y from the middle of the crop, in crop sides."""
        moves: Tensor = self.linear(self.coarse(self.trunk(x)[-1]).flatten(1))
        return self.neutral + self._MOVE * moves.reshape(len(x), -1, 2)


class Bottleneck(nn.Module):
    """ResNet's bottleneck, four times as wide outside as inside."""

    def __init__(self, inputs: int, inner: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, 4 * inner, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * inner)
        self.downsample = (
            None
            if (inputs, stride) == (4 * inner, 1)
            else nn.Sequential(PointwiseConv(inputs, 4 * inner, stride), nn.BatchNorm2d(4 * inner))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + F(x))."""
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(
            self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x))
        )


def _step(inputs: int, outputs: int, kernel: int, stride: int, *, relu: bool) -> nn.Sequential:
    """HRNet's connection: convolution, batch norm and, except before a sum, ReLU."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if relu else nn.Sequential(*layers)


class Exchange(nn.Module):
    """One HRNet module: four residual blocks on every branch, then every branch adds up all."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(Residual(w, w) for _ in range(4))) for w in widths
        )
        self.fuse = nn.ModuleList(
            nn.ModuleList(self._path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    @staticmethod
    def _path(widths: Sequence[int], source: int, target: int) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:  # coarse to fine: the values are enlarged in `forward`
            return _step(widths[source], widths[target], 1, 1, relu=False)
        halvings = [
            _step(widths[source], widths[source], 3, 2, relu=True)
            for _ in range(source + 1, target)
        ]
        return nn.Sequential(*halvings, _step(widths[source], widths[target], 3, 2, relu=False))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return as many features of the same shapes."""
        features = [branch(x) for branch, x in zip(self.branches, features, strict=True)]
        fused = []
        for target in range(len(self.fuse)):
            paths = self.fuse[target]
            assert isinstance(paths, nn.ModuleList)
            size = features[target].shape[2:]
            total = torch.zeros_like(features[target])
            for source, feature in enumerate(features):
                y = paths[source](feature)
                total = total + (F.interpolate(y, size, mode="bilinear") if source > target else y)
            fused.append(F.relu(total))
        return fused


class HRNet(nn.Module):
    """HRNetV2-W18 for faces: four resolutions side by side, from stride 4, joined at the end."""

    _WIDTHS: Final = (18, 36, 72, 144)

    def __init__(self, points: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(3)))
        w = self._WIDTHS
        self.first = _step(256, w[0], 3, 1, relu=True)
        self.downs = nn.ModuleList(
            _step(a, b, 3, 2, relu=True) for a, b in ((256, w[1]), (w[1], w[2]), (w[2], w[3]))
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Exchange(w[:branches]) for _ in range(modules)))
            for branches, modules in ((2, 1), (3, 4), (4, 3))
        )
        self.head = nn.Sequential(
            nn.Conv2d(sum(w), sum(w), 1), nn.BatchNorm2d(sum(w)), nn.ReLU(inplace=True),
            nn.Conv2d(sum(w), points, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, K, S / 4, S / 4) maps."""
        x = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        x = self.layer1(x)
        features = [self.first(x), self.downs[0](x)]
        for number, stage in enumerate(self.stages):
            if number:
                features.append(self.downs[number](features[-1]))
            features = stage(features)
        size = features[0].shape[2:]
        joined = [F.interpolate(y, size, mode="bilinear") for y in features[1:]]
        maps: Tensor = self.head(torch.cat([features[0], *joined], 1))
        return maps


def build(config: Config) -> nn.Module:
    """Return the network of a configuration."""
    if config.network == "hrnet":
        return HRNet(config.points)
    if config.head == "coordinates":
        return Regressor(config)
    return Compact(config.widths, config.points, config.stride)


# Losses. Points outside of the crop do not count.


def wing(error: Tensor, width: float = 10.0, curve: float = 2.0) -> Tensor:
    """Return the wing loss of errors in pixels: steep near 0, linear beyond `width`.

    w·ln(1 + |x|/ε) for |x| < w, else |x| - C with C = w - w·ln(1 + w/ε) (Feng et al., equation 5).
    """
    size = error.abs()
    offset = width - width * math.log(1 + width / curve)
    return torch.where(size < width, width * torch.log1p(size / curve), size - offset)


def squared(maps: Tensor, points: Tensor, sigma: float, inside: Tensor) -> Tensor:
    """Return the mean squared error of maps (N, K, H, W) against the points' Gaussians."""
    truth = gaussian_maps(points, maps.shape[2:], sigma)
    return _mean((maps - truth).square().mean((2, 3)), inside)


def cross_entropy(logits: Tensor, points: Tensor, sigma: float, inside: Tensor) -> Tensor:
    """Return the cross-entropy of softmax maps (N, K, H, W) against Gaussians of sum 1."""
    truth = gaussian_maps(points, logits.shape[2:], sigma).flatten(2)
    truth = truth / truth.sum(2, keepdim=True).clamp(min=1e-12)
    return _mean(-(truth * logits.flatten(2).log_softmax(2)).sum(2), inside)


def _mean(values: Tensor, inside: Tensor) -> Tensor:
    return (values * inside).sum() / inside.sum().clamp(min=1)


# Data


def open_data(spec: str, split: Split, config: Config) -> Dataset[LandmarkSample]:
    """Open faces with landmarks (see `data/landmarks.py`)."""
    varied = config.augmented and split == "train"
    return open_landmarks(spec, split, config.size, config.points, varied=varied)


def collate(samples: Sequence[LandmarkSample]) -> Batch:
    """Stack samples."""
    image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
    points = torch.from_numpy(np.stack([s.points for s in samples]))
    span = torch.tensor([s.eye_span for s in samples])
    return Batch(image.contiguous().float() / 127.5 - 1, points, span)


# The system


def normalised_errors(batches: Iterable[Batch], locate: Callable[[Tensor], Tensor]) -> float:
    """Return the mean distance of located points over that of the outer eye corners."""
    errors = []
    with torch.no_grad():
        for batch in batches:
            distance = (locate(batch.image) - batch.points).norm(dim=2).mean(1)
            errors.append(distance / batch.eye_span)
    return float(torch.cat(errors).mean())


def drawn(batch: Batch, predicted: Tensor) -> Tensor:
    """Return rows of face, true points and predicted points: (N, 3, 3, S, S) in [0, 1]."""
    pictures = (batch.image + 1) / 2
    columns = [pictures]
    for points, colour in ((batch.points, (0.0, 1.0, 0.0)), (predicted, (1.0, 0.9, 0.0))):
        dots = gaussian_maps(points - 0.5, pictures.shape[2:], 0.6).amax(1, keepdim=True)
        paint = pictures.new_tensor(colour)[:, None, None]
        columns.append(pictures * (1 - dots) + paint * dots)
    return torch.stack(columns, 1)


class Locator(Protocol):
    """What finds points in crops: `Landmarks`, and the hourglasses."""

    networks: nn.ModuleDict

    @property
    def size(self) -> int:
        """Side of the crop it looks at, in pixels."""
        ...

    def locate(self, image: Tensor, *, flip: bool = False) -> Tensor:
        """Return points (N, K, 2) in pixels of (N, 3, S, S) crops in [-1, 1]."""
        ...


def points_of(
    system: Locator, image: NDArray[np.uint8], *, flip: bool = False
) -> NDArray[np.float32]:
    """Return what `Landmarks.predict` does, of any system that finds points in crops."""
    if image.ndim != 3 or image.shape[0] != image.shape[1] or image.shape[2] != 3:
        raise ValueError(f"expected a square RGB crop (S, S, 3), got {image.shape}")
    if image.dtype != np.uint8:
        raise ValueError(f"expected uint8 values 0..255, got {image.dtype}")
    x = torch.tensor(image, device=next(system.networks.parameters()).device)
    x = x.permute(2, 0, 1)[None].float() / 127.5 - 1
    x = F.interpolate(x, (system.size, system.size), mode="bilinear", antialias=True)
    was_training = system.networks.training
    system.networks.eval()
    with torch.inference_mode():
        points = system.locate(x, flip=flip)[0]
    system.networks.train(was_training)
    return np.asarray(points.cpu() * (image.shape[0] / system.size), np.float32)


class Landmarks:
    """The system: one network, one optimizer."""

    def __init__(self, config: Config):
        self.config = config
        self.networks = nn.ModuleDict({"landmarks": build(config)})
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "landmarks": OptimizerSpec(
                ("landmarks",), config.lr, (0.9, 0.99), config.weight_decay, self._schedule
            )
        }
        self.averaged: tuple[str, ...] = ("landmarks",)
        self.batch_size = config.batch_size
        self.steps = config.steps
        self.score: tuple[str, Literal["max", "min"]] = ("nme", "min")

    def _schedule(self, done: float) -> float:
        if self.config.schedule == "steps":
            return 0.1 ** ((done >= 30 / 60) + (done >= 50 / 60))
        return min(1.0, (done + 1e-3) / 0.03) * 0.5 * (1 + math.cos(math.pi * done))

    def collate(self, samples: Sequence[LandmarkSample]) -> Batch:
        """Stack samples."""
        return collate(samples)

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Step once on the losses of the configured head."""
        c = self.config
        inside = ((batch.points > 0) & (batch.points < c.size)).all(2).float()
        answer = self.networks["landmarks"](batch.image)
        terms: dict[str, Tensor] = {}
        if c.head == "coordinates":
            terms["points"] = self._wing((answer + 0.5) * c.size, batch.points, inside)
        elif c.loss == "mse":
            wanted = to_map(batch.points, self.stride)
            terms["maps"] = squared(answer, wanted, c.sigma, inside)
        else:
            wanted = to_map(batch.points, self.stride)
            terms["maps"] = cross_entropy(answer, wanted, c.sigma, inside)
            means = to_picture(soft_argmax(hills(answer)), self.stride)
            terms["points"] = c.mean_weight * self._wing(means, batch.points, inside)
        update("landmarks", terms)
        return terms

    def _wing(self, found: Tensor, points: Tensor, inside: Tensor) -> Tensor:
        """Return the wing loss in percent of the crop, so that it bends where its paper has it."""
        error = (found - points) * (100 / self.config.size)
        return _mean(wing(error).sum(2), inside)

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

    @property
    def stride(self) -> int:
        """Crop pixels per map pixel."""
        return 4 if self.config.network == "hrnet" else self.config.stride

    def maps(self, image: Tensor) -> Tensor:
        """Return (N, K, H, W) hills of (N, 3, S, S) crops in [-1, 1]; ValueError without maps."""
        if self.config.head == "coordinates":
            raise ValueError("coordinate regression has no heatmaps")
        maps = self.networks["landmarks"](image)
        return hills(maps) if self.config.loss == "softmax" else maps

    def locate(self, image: Tensor, *, flip: bool = False) -> Tensor:
        """Return points (N, K, 2) in pixels of (N, 3, S, S) crops in [-1, 1].

        Args:
            image: crops.
            flip: average with the answer for the mirrored crops: maps with maps, or coordinates
                with coordinates. A little better, twice as slow.
        """
        size = image.shape[-1]
        order = torch.from_numpy(mirror_order(self.config.points)).to(image.device)
        if self.config.head == "coordinates":
            points: Tensor = self.networks["landmarks"](image)
            if flip:
                other = self.networks["landmarks"](image.flip(3))[:, order]
                points = (points + other * other.new_tensor([-1.0, 1.0])) / 2
            return (points + 0.5) * size
        maps = self.maps(image)
        if flip:
            maps = (maps + flip_back(self.maps(image.flip(3)), order)) / 2
        return to_picture(decode(maps, self.config.decoding)[0], self.stride)

    def predict(self, image: NDArray[np.uint8], *, flip: bool = False) -> NDArray[np.float32]:
        """Return the points (K, 2) of the face in a square crop, in its pixels.

        Args:
            image: (S, S, 3) uint8 RGB, a crop like `ops.landmarks.crop_of`, of any size; it is
                resized to the configured one.
            flip: average with the answer for the mirrored crop.
        """
        return points_of(self, image, flip=flip)
