"""The surface of a face: which point of it every pixel of an aligned crop shows (I, U, V).

Dense pose (Güler et al., CVPR 2018) for one face, without boxes: charts of skin, eyeballs and neck
at a quarter of the crop's resolution, 0.6 M parameters. `densepose` finds people and their charts
in whole pictures; `position_map` reads the same correspondence the other way round.

Differs: points are drawn from dense truth; the authors' were marked by hand.

Alphabet: N pictures, S crop side, C coarse channels, P parts with 0 for none, K points.
Crops are RGB in [-1, 1].

    pentimento train face_charts --data world --preset compact --out runs/face_charts
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

from pentimento.data.charts import PARTS, ChartSample, open_charts
from pentimento.engine.system import Dataset, OptimizerSpec, Split, Terms, Update
from pentimento.losses.charts import Marks, chart_losses
from pentimento.metrics.surface import FACE_KAPPA, masked_similarity, point_similarity
from pentimento.ops.charts import Charts, painted, read_charts
from pentimento.systems.perceive.face_parsing import Residual

# What a texture spans, in distances of the outer eye corners: the head's atlas, and an eyeball.
_SPANS: Final = (0.0, 10.2, 0.27, 0.27, 10.2)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        size: side of training and inference crops in pixels; a multiple of 32.
        widths: channels at strides 2, 4, 8 and 16.
        points: drawn per crop and step.
        point_weight: of U and V, summed over points; `part_weight` and `coarse_weight` of the rest.
        part_weight: of the cross-entropy of parts at points.
        coarse_weight: of the segmentation's cross-entropy.
        augmented: whether training crops are varied (`data/charts.py`).
        batch_size: crops per step and process.
        steps: length of a full run.
        lr: Adam's learning rate.
        weight_decay: decoupled weight decay.
    """

    size: int = 128
    widths: tuple[int, int, int, int] = (16, 48, 88, 104)
    points: int = 160
    point_weight: float = 0.5
    part_weight: float = 1.0
    coarse_weight: float = 1.0
    augmented: bool = True
    batch_size: int = 16
    steps: int = 1000
    lr: float = 2.5e-3
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.size < 32 or self.size % 32:
            raise ValueError(f"size must be a positive multiple of 32, got {self.size}")
        if min(self.widths) < 1 or self.points < 1:
            raise ValueError("widths and points must be positive")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: batch statistics need two faces")
        if self.steps < 1 or self.lr <= 0:
            raise ValueError("steps and lr must be positive")


def compact() -> Config:
    """Return the small network for aligned faces."""
    return Config()


def tiny() -> Config:
    """Return a network for tests: seconds on one core."""
    return Config(
        size=32, widths=(8, 12, 16, 16), points=64, augmented=False,
        batch_size=4, steps=80, lr=8e-3,
    )  # fmt: skip


PRESETS: Final = {"tiny": tiny, "compact": compact}


@plain_dataclass(frozen=True)
class Batch:
    """Crops of one step.

    Attributes:
        image: (N, 3, S, S) in [-1, 1].
        part: (N, S, S) int64, 0 where no known surface is seen.
        uv: (N, 2, S, S) in [0, 1].
        points: (N, K, 2) int64 x, y of pixels that show the surface; any where none does.
    """

    image: Tensor
    part: Tensor
    uv: Tensor
    points: Tensor


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class FaceNet(nn.Module):
    """A narrow residual encoder, a light way back up to stride 4, and all charts in one layer."""

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        w2, w4, w8, w16 = widths
        self.stages = nn.ModuleList(
            [
                nn.Sequential(_conv(3, w2, 2), _conv(w2, w4, 2), Residual(w4, w4)),
                nn.Sequential(_conv(w4, w8, 2), Residual(w8, w8)),
                nn.Sequential(_conv(w8, w16, 2), Residual(w16, w16)),
            ]
        )
        self.context = nn.Conv2d(w16, w4, 1)
        self.laterals = nn.ModuleList(nn.Conv2d(w, w4, 1) for w in (w4, w8, w16))
        self.smooth = nn.ModuleList(_conv(w4, w4) for _ in range(2))
        self.columns = [2, *[len(PARTS) + 1] * 3]
        self.head = nn.Conv2d(w4, sum(self.columns), 1)

    def forward(self, image: Tensor) -> Charts:
        """Return the charts (N, …, S / 4, S / 4) of crops (N, 3, S, S) in [-1, 1]."""
        features = []
        x = image
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        y = self.laterals[2](x) + self.context(x.mean((2, 3), keepdim=True))
        for i in (1, 0):
            up = F.interpolate(y, features[i].shape[2:], mode="bilinear")
            y = self.smooth[i](self.laterals[i](features[i]) + up)
        return Charts(*self.head(y).split(self.columns, 1))


# Data


def open_data(spec: str, split: Split, config: Config) -> Dataset[ChartSample]:
    """Open faces with surface positions (see `data/charts.py`)."""
    varied = config.augmented and split == "train"
    return open_charts(spec, split, config.size, varied=varied)


def _spread(part: NDArray[np.uint8], count: int) -> NDArray[np.int64]:
    """Return x, y (count, 2) of pixels on the surface, evenly drawn; the eyes get a fifth."""
    chosen = []
    eyes = np.flatnonzero((part == 2) | (part == 3))
    for pool, share in (
        (eyes, count // 5),
        (np.flatnonzero((part == 1) | (part == 4)), count - count // 5),
    ):
        pool = pool if len(pool) else np.flatnonzero(part)
        pool = pool if len(pool) else np.zeros(1, np.int64)
        chosen.append(pool[(np.arange(share) * len(pool)) // max(share, 1)])
    at = np.concatenate(chosen)
    return np.stack([at % part.shape[1], at // part.shape[1]], 1)


# The system


class FaceCharts:
    """The system: one network, one optimizer."""

    def __init__(self, config: Config):
        self.config = config
        self.networks = nn.ModuleDict({"charts": FaceNet(config.widths)})
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "charts": OptimizerSpec(
                ("charts",), config.lr, (0.9, 0.99), config.weight_decay, self._schedule
            )
        }
        self.averaged: tuple[str, ...] = ("charts",)
        self.batch_size = config.batch_size
        self.steps = config.steps
        self.score: tuple[str, Literal["max", "min"]] = ("gps", "max")

    @staticmethod
    def _schedule(done: float) -> float:
        """A cosine after a warm-up."""
        return min(1.0, (done + 1e-3) / 0.03) * 0.5 * (1 + math.cos(math.pi * done))

    def collate(self, samples: Sequence[ChartSample]) -> Batch:
        """Stack samples and spread points over their surfaces."""
        image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        part = torch.from_numpy(np.stack([s.part for s in samples])).long()
        uv = torch.from_numpy(np.stack([s.uv for s in samples])).permute(0, 3, 1, 2).contiguous()
        points = np.stack([_spread(s.part, self.config.points) for s in samples])
        return Batch(image.contiguous().float() / 127.5 - 1, part, uv, torch.from_numpy(points))

    def losses(self, charts: Charts, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted losses of a batch's charts, each over a whole crop."""
        c = self.config
        side = charts.fine.shape[-1]
        count = len(batch.image)
        box = torch.arange(count, device=batch.image.device).repeat_interleave(c.points)
        x, y = batch.points.flatten(0, 1).unbind(1)
        # In frames with centres at halves, here and at the map's pixels.
        xy = (batch.points.flatten(0, 1) + 0.5) * (side / batch.image.shape[-1]) - 0.5
        marks = Marks(
            box, xy.clamp(min=0), batch.part[box, y, x], batch.uv.permute(0, 2, 3, 1)[box, y, x]
        )
        masks = F.interpolate(batch.part[:, None].float(), (side, side), mode="nearest-exact")
        weights = {"points": c.point_weight, "part": c.part_weight, "coarse": c.coarse_weight}
        return chart_losses(charts, marks, masks[:, 0].long(), weights)

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Step once on the losses of the charts."""
        terms = self.losses(self.networks["charts"](batch.image), batch)
        update("charts", terms)
        return terms

    def read(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return part (N, S, S) and uv (N, 2, S, S) of crops (N, 3, S, S) in [-1, 1]."""
        return read_charts(self.networks["charts"](image), *image.shape[2:])

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return GPS and GPSm, the mean uv error on the skin, and the masks' IoU.

        Distances are those of texture positions, in distances of the outer eye corners; a point
        that is taken for another part or for none is infinitely far.
        """
        distances, errors = [], []
        shared = union = 0
        with torch.no_grad():
            for batch in batches:
                part, uv = self.read(batch.image)
                on = batch.part > 0
                shared += int((on & (part > 0)).sum())
                union += int((on | (part > 0)).sum())
                off = (uv - batch.uv).norm(dim=1)
                span = off.new_tensor(_SPANS)[batch.part]
                distances.append(torch.where(part == batch.part, off * span, torch.inf)[on])
                errors.append(off[(part == 1) & (batch.part == 1)])
        gps = point_similarity(torch.cat(distances).cpu().numpy(), FACE_KAPPA)
        overlap = shared / max(union, 1)
        error = torch.cat(errors)
        return {
            "gps": gps,
            "gpsm": masked_similarity(gps, overlap),
            "uv_error": float(error.mean()) if len(error) else 1.0,
            "iou": overlap,
        }

    def samples(self, batch: Batch) -> Tensor:
        """Return rows of crop, true and predicted surface (`painted`)."""
        with torch.no_grad():
            part, uv = self.read(batch.image)
        pictures = (batch.image + 1) / 2
        return torch.stack(
            [pictures, painted(pictures, batch.part, batch.uv), painted(pictures, part, uv)], 1
        )

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing beyond the network."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take back."""

    def predict(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return the part (S, S) and uv (S, S, 2) in [0, 1] of every pixel of a square crop.

        Args:
            image: (S, S, 3) uint8 RGB, aligned as in `ops/align.py`, of any size.
        """
        if image.ndim != 3 or image.shape[0] != image.shape[1] or image.shape[2] != 3:
            raise ValueError(f"expected a square RGB crop (S, S, 3), got {image.shape}")
        if image.dtype != np.uint8:
            raise ValueError(f"expected uint8 values 0..255, got {image.dtype}")
        network = self.networks["charts"]
        x = torch.tensor(image, device=next(network.parameters()).device)
        x = x.permute(2, 0, 1)[None].float() / 127.5 - 1
        x = F.interpolate(x, (self.config.size,) * 2, mode="bilinear", antialias=True)
        was_training = network.training
        network.eval()
        with torch.inference_mode():
            part, uv = read_charts(network(x), *image.shape[:2])
        network.train(was_training)
        where = uv[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy()
        return np.asarray(part[0].cpu(), np.uint8), np.asarray(where, np.float32)
