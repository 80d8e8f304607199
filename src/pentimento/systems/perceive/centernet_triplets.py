"""CenterNet: objects as triplets of two corners and a centre (Duan et al., ICCV 2019).

CornerNet's pairs of corners see the edges of an object but nothing of what is inside. Here a third
heatmap finds centres, and a pair counts only if a centre of its class lies in its middle. Corners
are pooled in cascade, so that they see inside too; centres see their whole row and column.

Differs: colours are RGB in [-1, 1] like everywhere here; the network gets the authors' BGR.
Differs: `predict` looks once, without the mirrored picture; `look` does as the authors do.

Alphabet: N pictures; K classes or peaks; M objects; S side; maps at stride 4.

    pentimento train centernet_triplets --data world --preset compact --out runs/triplets
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.detection import THINGS, Detections, DetectionSample, open_detections
from pentimento.engine.system import OptimizerSpec, Split, Terms, Update
from pentimento.metrics.objects import mean_average_precision, truths_of
from pentimento.nn.large_hourglass import BLOCKS, DIMS, Conv, Trunk, heads
from pentimento.ops import looks
from pentimento.ops.corner_pairs import pair_corners
from pentimento.ops.corners import (
    bottom_pool,
    column_pool,
    left_pool,
    right_pool,
    row_pool,
    top_pool,
)
from pentimento.ops.frames import cut, inverse, moved, normalised, similarity
from pentimento.ops.peaks import at_places, centre_radius, local_maxima, top_peaks
from pentimento.structures import Instances
from pentimento.systems.perceive.cornernet import (
    POINTS,
    RARE,
    STRIDE,
    Batch,
    check,
    corner_losses,
    drawn,
    instances_of,
)

_OUTSIDE: Final = 5  # pixels


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        dims: channels of the hourglass at each level, finest first.
        blocks: its residual blocks at each level.
        stacks: hourglasses one after another.
        channels: of the map that the heads get.
        classes: names of what is found.
        size: side of training pictures, a multiple of 4 · 2^(levels - 1).
        peaks: corners and centres of each kind that are tried.
        apart: greatest distance of the tags of one object.
        overlap: IoU that the radius of a corner is meant to guarantee.
        pull: weight of the loss that draws an object's tags together.
        push: weight of the one that drives others apart.
        augmented: whether training pictures are varied.
        batch_size: pictures per step and process.
        steps: length of a full run.
        lr: Adam's learning rate.
    """

    dims: tuple[int, ...] = DIMS
    blocks: tuple[int, ...] = BLOCKS
    stacks: int = 2
    channels: int = 256
    classes: tuple[str, ...] = THINGS
    size: int = 512
    peaks: int = 70
    apart: float = 0.5
    overlap: float = 0.7
    pull: float = 0.1
    push: float = 0.1
    augmented: bool = True
    batch_size: int = 48
    steps: int = 480_000
    lr: float = 2.5e-4

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        check(self)


def paper() -> Config:
    """Return Hourglass-104."""
    return Config()


def compact() -> Config:
    """Return one narrow hourglass for a CPU."""
    return Config(
        dims=(32, 48, 64, 96), blocks=(1, 1, 1, 2), stacks=1, channels=32, size=256,
        batch_size=16, steps=20_000, lr=1e-3,
    )  # fmt: skip


def tiny() -> Config:
    """Return a network for tests: seconds on one core."""
    return Config(
        dims=(16, 16, 24), blocks=(1, 1, 1), stacks=1, channels=16, size=64, peaks=20,
        batch_size=4, steps=60, lr=4e-3, augmented=False,
    )  # fmt: skip


PRESETS: Final = {"tiny": tiny, "compact": compact, "paper": paper}


# Network. It maps normalised BGR pictures to one dictionary of maps per stack.


class Merge(nn.Module):
    """What follows every pooling: a convolution, a shortcut, and one more convolution."""

    def __init__(self, channels: int):
        super().__init__()
        inner = channels // 2
        self.p1_conv1 = Conv(channels, inner, norm=True)
        self.p2_conv1 = Conv(channels, inner, norm=True)
        self.p_conv1 = nn.Conv2d(inner, channels, 3, padding=1, bias=False)
        self.p_bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = Conv(channels, channels, norm=True)

    def merged(self, pooled: Tensor, x: Tensor) -> Tensor:
        """Return (N, channels, H, W) of pooled features and their source."""
        return self.conv2(F.relu(self.p_bn1(self.p_conv1(pooled)) + self.bn1(self.conv1(x))))


class CentrePool(Merge):
    """Features of a centre: the greatest of its column plus the greatest of its row."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, channels, H, W)."""
        return self.merged(column_pool(self.p1_conv1(x)) + row_pool(self.p2_conv1(x)), x)


class CascadeCornerPool(Merge):
    """Features of a corner: along each edge, the greatest of what itself looks inside."""

    def __init__(self, channels: int, corner: Literal["tl", "br"]):
        super().__init__(channels)
        inner = channels // 2
        self.look_conv1 = Conv(channels, inner, norm=True)
        self.look_conv2 = Conv(channels, inner, norm=True)
        self.P1_look_conv = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.P2_look_conv = nn.Conv2d(inner, inner, 3, padding=1, bias=False)
        self.pools = (top_pool, left_pool) if corner == "tl" else (bottom_pool, right_pool)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, channels, H, W)."""
        vertical, horizontal = self.pools
        first = self.P1_look_conv(self.p1_conv1(x) + horizontal(self.look_conv1(x)))
        second = self.P2_look_conv(self.p2_conv1(x) + vertical(self.look_conv2(x)))
        return self.merged(vertical(first) + horizontal(second), x)


class TripletDetector(nn.Module):
    """Stacked hourglasses with heatmaps and offsets of corners and centres, and corners' tags."""

    def __init__(self, config: Config):
        super().__init__()
        stacks, channels, kinds = config.stacks, config.channels, len(config.classes)
        self.trunk = Trunk(config.dims, config.blocks, stacks, channels)
        self.tl_cnvs = nn.ModuleList(CascadeCornerPool(channels, "tl") for _ in range(stacks))
        self.br_cnvs = nn.ModuleList(CascadeCornerPool(channels, "br") for _ in range(stacks))
        self.ct_cnvs = nn.ModuleList(CentrePool(channels) for _ in range(stacks))
        self.tl_heats = heads(stacks, channels, kinds, RARE)
        self.br_heats = heads(stacks, channels, kinds, RARE)
        self.ct_heats = heads(stacks, channels, kinds, RARE)
        self.tl_tags = heads(stacks, channels, 1)
        self.br_tags = heads(stacks, channels, 1)
        self.tl_regrs = heads(stacks, channels, 2)
        self.br_regrs = heads(stacks, channels, 2)
        self.ct_regrs = heads(stacks, channels, 2)

    def forward(self, image: Tensor) -> list[dict[str, Tensor]]:
        """Return `heat` and `regr` of `tl_`, `br_` and `ct_`, and `tag` of corners, per stack."""
        out = []
        for stack, x in enumerate(self.trunk.maps(image)):
            maps = {}
            for point in POINTS:
                pooled = self.get_submodule(f"{point}_cnvs.{stack}")(x)
                for name in ("heat", "regr") if point == "ct" else ("heat", "tag", "regr"):
                    maps[f"{point}_{name}"] = self.get_submodule(f"{point}_{name}s.{stack}")(pooled)
            out.append(maps)
        return out


# Decoding


def centres(maps: Mapping[str, Tensor], count: int) -> Tensor:
    """Return centres (N, K, 4) in cells: x, y, class, score; best first."""
    score, index, kind, y, x = top_peaks(local_maxima(maps["ct_heat"].sigmoid()), count)
    place = torch.stack([x, y], 2) + at_places(maps["ct_regr"], index)
    return torch.cat([place, kind[..., None].float(), score[..., None]], 2)


def confirmed(
    pairs: NDArray[Any], middles: NDArray[Any], large: float = 150.0**2
) -> NDArray[np.float32]:
    """Return the pairs that have a centre of their class in their middle, scored with it.

    The middle is the central third of a box, or the central fifth of one larger than `large`
    (sections 3.2 and 4.1). Of several centres the first counts, as in the authors' code.

    Args:
        pairs: (D, 8) of `pair_corners`, in pixels.
        middles: (K, 4) of `centres`, in the same pixels.
        large: area in pixels.
    """
    size = pairs[:, 2:4] - pairs[:, :2]
    share = np.where(size.prod(1) > large, 2 / 5, 1 / 3)[:, None]
    low, high = pairs[:, :2] + share * size, pairs[:, 2:4] - share * size
    place = middles[None, :, :2]
    inside = ((place > low[:, None]) & (place < high[:, None])).all(2)
    inside &= middles[None, :, 2] == pairs[:, 7, None]
    found = inside.any(1) & (pairs[:, 4] > -1)
    out = pairs[found].astype(np.float32)
    if len(out):
        out[:, 4] = (2 * out[:, 4] + middles[inside[found].argmax(1), 3]) / 3
    return out


def open_data(spec: str, split: Split, config: Config) -> Detections:
    """Open pictures with boxes; see `data/detection.py`."""
    return open_detections(
        spec, split, config.size, config.classes, augmented=config.augmented and split == "train"
    )


class CenterNetTriplets:
    """The system: one network, one optimizer."""

    def __init__(self, config: Config):
        self.config = config
        self.networks = nn.ModuleDict({"detector": TripletDetector(config)})
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "detector": OptimizerSpec(
                ("detector",), config.lr, schedule=lambda done: 1.0 if done < 0.9 else 0.1
            )
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size = config.batch_size
        self.steps = config.steps
        self.score: tuple[str, Literal["max", "min"]] = ("ap", "max")

    def collate(self, samples: Sequence[DetectionSample]) -> Batch:
        """Draw the heatmaps and stack."""
        c = self.config
        radius = partial(centre_radius, overlap=c.overlap)
        return drawn(samples, c.size, c.classes, radius, centres=True)

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Step once on the mean over the stacks (equation 1 of the paper)."""
        stacks = self.networks["detector"](normalised(batch.image))
        terms = corner_losses(stacks, batch, self.config.pull, self.config.push)
        update("detector", terms)
        return terms

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return COCO's average precision over the classes that occur."""
        truths: list[Instances] = []
        answers: list[Instances] = []
        with torch.no_grad():
            for batch in batches:
                pairs, middles = self._found(batch.image)
                names = self.config.classes
                truths += truths_of(batch.boxes, batch.classes, batch.present, names)
                answers += [
                    instances_of(looks.best_of(objects, len(names)), 0.0, names)
                    for objects in map(confirmed, pairs, middles)
                ]
        return mean_average_precision(truths, answers)

    def _found(self, image: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return pairs of corners (N, D, 8) and centres (N, K, 4), in pixels."""
        maps = self.networks["detector"](normalised(image))[-1]
        count = min(self.config.peaks, image.shape[2] * image.shape[3] // STRIDE**2)
        pairs = pair_corners(maps, count, apart=self.config.apart).cpu().numpy()
        middles = centres(maps, count).cpu().numpy()
        pairs[..., :4] *= STRIDE
        middles[..., :2] *= STRIDE
        return pairs, middles

    def predict(self, image: NDArray[np.uint8], threshold: float = 0.3) -> Instances:
        """Return the objects of a picture, best first, in its pixels.

        Args:
            image: (H, W, 3) uint8 RGB of any size; seen once, with its long side at `config.size`.
            threshold: least score.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"expected (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
        height, width = image.shape[:2]
        side = self.config.size
        matrix = similarity((width / 2, height / 2), max(height, width), 0.0, (side, side))
        network = self.networks["detector"]
        x = torch.tensor(cut(image, matrix, (side, side)), device=next(network.parameters()).device)
        x = x.permute(2, 0, 1)[None].float() / 127.5 - 1
        was_training = network.training
        network.eval()
        with torch.inference_mode():
            (found,), (middles,) = self._found(x)
        network.train(was_training)
        back = inverse(matrix)
        corners = moved(found[:, :4].reshape(-1, 2, 2), back).reshape(-1, 4)
        # Boxes that reach far out of the picture are nobody's.
        near = (corners.min(1) > -_OUTSIDE) & (corners[:, 2] < width + _OUTSIDE)
        near &= corners[:, 3] < height + _OUTSIDE
        found[:, :4] = corners.clip(0, np.array([width, height] * 2))
        middles[:, :2] = moved(middles[:, :2], back)
        kept = looks.best_of(confirmed(found[near], middles), len(self.config.classes))
        return instances_of(kept, threshold, self.config.classes)

    def look(
        self, image: NDArray[np.uint8], threshold: float = 0.3, scales: Sequence[float] = (1.0,)
    ) -> Instances:
        """Return the objects of a picture as the authors measure them (`ops/looks.py`).

        Args:
            image: (H, W, 3) uint8 RGB of any size; seen at its own resolution times each scale,
                plain and mirrored.
            threshold: least score.
            scales: more than one is what the paper calls multi-scale; centres count at scale 1.

        Raises:
            ValueError: 1 is not among the scales.
        """
        network = self.networks["detector"]
        device = next(network.parameters()).device
        was_training = network.training
        network.eval()
        if 1 not in scales:
            raise ValueError(f"centres are taken at scale 1, which is not among {scales}")
        rows, middles = [], []
        for scale in scales:
            seen, look = looks.framed(np.ascontiguousarray(image[..., ::-1]), scale)
            with torch.inference_mode():
                maps = network(torch.from_numpy(seen).to(device))[-1]
                count = min(self.config.peaks, look.cells[0] * look.cells[1])
                both = pair_corners(maps, count, apart=self.config.apart)
                found = centres(maps, count).cpu().numpy()
            rows.append(looks.gathered(both.cpu().numpy(), look, drop_outside=True))
            if scale == 1:
                middles.append(looks.gathered_centres(found, look))
        network.train(was_training)
        pairs = confirmed(np.concatenate(rows), np.concatenate(middles))
        # Scaled sides are whole pixels: on the way back a box may end just outside.
        pairs[:, :4] = pairs[:, :4].clip(0, np.array([*image.shape[1::-1]] * 2))
        kept = looks.best_of(pairs, len(self.config.classes))
        return instances_of(kept, threshold, self.config.classes)

    def samples(self, batch: Batch) -> Tensor:
        """Return rows of picture, true and found points (red, green, blue), classes merged."""
        with torch.no_grad():
            maps = self.networks["detector"](normalised(batch.image))[-1]
        found = [maps[f"{point}_heat"].sigmoid() for point in POINTS]
        columns = [(batch.image + 1) / 2]
        for three in (batch.heats, found):
            merged = torch.cat([heat.amax(1, keepdim=True) for heat in three], 1)
            columns.append(F.interpolate(merged, batch.image.shape[2:]))
        return torch.stack(columns, 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing beyond the network."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take back."""
