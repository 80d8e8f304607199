"""CornerNet: objects as pairs of corners (Law and Deng, ECCV 2018).

Two heatmaps per class find top-left and bottom-right corners; corner pooling lets a place look
along the edges that meet there; a tag per corner says which two belong together; offsets restore
what the map's stride took. No anchors.

Differs: colours are RGB in [-1, 1] like everywhere here; the network gets the authors' BGR.
Differs: `predict` looks once, without the mirrored picture; `look` does as the authors do.

Alphabet: N pictures; K classes or peaks; M objects; S side; maps at stride 4.

    pentimento train cornernet --data world --preset compact --out runs/cornernet
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
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
from pentimento.losses.peaks import offset_smooth_l1, peak_focal, probability, pull_and_push
from pentimento.metrics.objects import mean_average_precision, truths_of
from pentimento.nn.large_hourglass import BLOCKS, DIMS, Conv, Trunk, heads
from pentimento.ops import looks
from pentimento.ops.corner_pairs import pair_corners
from pentimento.ops.corners import bottom_pool, left_pool, right_pool, top_pool
from pentimento.ops.frames import cut, inverse, moved, normalised, similarity
from pentimento.ops.peaks import at_places, corner_radius, draw_peak
from pentimento.structures import Boxes, Instances

STRIDE: Final = 4
POINTS: Final = ("tl", "br", "ct")
"""Kinds of points: top-left and bottom-right corners, and centres (`centernet_triplets`)."""
RARE: Final = -2.19
"""What heatmaps answer to begin with: a sigmoid of 0.1."""


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
        peaks: corners of each kind that are paired.
        apart: greatest distance of the tags of one object.
        overlap: IoU that the radius of a corner guarantees.
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
    peaks: int = 100
    apart: float = 0.5
    overlap: float = 0.3
    pull: float = 0.1
    push: float = 0.1
    augmented: bool = True
    batch_size: int = 49
    steps: int = 500_000
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


def check(config: Any) -> None:
    """Refuse what cannot be built; `config` has the fields of `Config`."""
    grid = STRIDE * 2 ** (len(config.dims) - 1)
    if len(config.dims) < 2 or len(config.dims) != len(config.blocks):
        raise ValueError("dims and blocks must be equally long, with two levels or more")
    if config.size < grid or config.size % grid:
        raise ValueError(f"size must be a positive multiple of {grid}, got {config.size}")
    if not config.classes or len(set(config.classes)) != len(config.classes):
        raise ValueError(f"classes must be one or more different names, got {config.classes}")
    numbers = (*config.dims, *config.blocks, config.stacks, config.channels, config.peaks)
    if min(*numbers, config.steps, config.batch_size) < 1:
        raise ValueError("numbers of things must be positive")
    if config.lr <= 0 or not 0 < config.overlap < 1:
        raise ValueError("lr must be positive, overlap within 0..1")


@plain_dataclass(frozen=True)
class Batch:
    """Pictures of one step with their objects, filled up to the longest list.

    Attributes:
        image: (N, 3, S, S) in [-1, 1].
        heats: (2, N, K, S / 4, S / 4) peaks of top-left and bottom-right corners; (3, ...) where
            centres are looked for too.
        places: (2, N, M) flat places of the points in those maps.
        offsets: (2, N, M, 2) what rounding took off, in cells.
        present: (N, M) bool.
        boxes: (N, M, 4) in pixels.
        classes: (N, M) int64.
    """

    image: Tensor
    heats: Tensor
    places: Tensor
    offsets: Tensor
    present: Tensor
    boxes: Tensor
    classes: Tensor


# Network. It maps normalised BGR pictures to one dictionary of maps per stack.


class CornerPool(nn.Module):
    """Features of a corner: two branches pooled along the edges that meet there, and a shortcut."""

    def __init__(self, channels: int, corner: Literal["tl", "br"]):
        super().__init__()
        inner = channels // 2
        self.p1_conv1 = Conv(channels, inner, norm=True)
        self.p2_conv1 = Conv(channels, inner, norm=True)
        self.p_conv1 = nn.Conv2d(inner, channels, 3, padding=1, bias=False)
        self.p_bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = Conv(channels, channels, norm=True)
        self.pools = (top_pool, left_pool) if corner == "tl" else (bottom_pool, right_pool)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, channels, H, W)."""
        vertical, horizontal = self.pools
        pooled = vertical(self.p1_conv1(x)) + horizontal(self.p2_conv1(x))
        return self.conv2(F.relu(self.p_bn1(self.p_conv1(pooled)) + self.bn1(self.conv1(x))))


class CornerDetector(nn.Module):
    """Stacked hourglasses with corner pooling, heatmaps, tags and offsets on each."""

    def __init__(self, config: Config):
        super().__init__()
        stacks, channels, kinds = config.stacks, config.channels, len(config.classes)
        self.trunk = Trunk(config.dims, config.blocks, stacks, channels)
        self.tl_cnvs = nn.ModuleList(CornerPool(channels, "tl") for _ in range(stacks))
        self.br_cnvs = nn.ModuleList(CornerPool(channels, "br") for _ in range(stacks))
        self.tl_heats = heads(stacks, channels, kinds, RARE)
        self.br_heats = heads(stacks, channels, kinds, RARE)
        self.tl_tags = heads(stacks, channels, 1)
        self.br_tags = heads(stacks, channels, 1)
        self.tl_regrs = heads(stacks, channels, 2)
        self.br_regrs = heads(stacks, channels, 2)

    def forward(self, image: Tensor) -> list[dict[str, Tensor]]:
        """Return `tl_heat`, `tl_tag`, `tl_regr` and the same of `br`, per stack."""
        out = []
        for stack, x in enumerate(self.trunk.maps(image)):
            maps = {}
            for corner in ("tl", "br"):
                pooled = self.get_submodule(f"{corner}_cnvs.{stack}")(x)
                for name in ("heat", "tag", "regr"):
                    maps[f"{corner}_{name}"] = self.get_submodule(f"{corner}_{name}s.{stack}")(
                        pooled
                    )
            out.append(maps)
        return out


def drawn(
    samples: Sequence[DetectionSample],
    size: int,
    names: tuple[str, ...],
    radius: Callable[[float, float], float],
    *,
    centres: bool = False,
) -> Batch:
    """Stack samples and draw their peaks.

    Args:
        samples: of side `size`.
        size: S.
        names: of the classes.
        radius: of a peak, of an object's height and width in cells.
        centres: whether the middle of an object is a third kind of point.
    """
    side, rows, kinds = size // STRIDE, max(1, *(len(s.boxes) for s in samples)), 2 + centres
    heats = np.zeros((kinds, len(samples), len(names), side, side), np.float32)
    places = np.zeros((kinds, len(samples), rows), np.int64)
    offsets = np.zeros((kinds, len(samples), rows, 2), np.float32)
    boxes = np.zeros((len(samples), rows, 4), np.float32)
    classes = np.zeros((len(samples), rows), np.int64)
    present = np.zeros((len(samples), rows), bool)
    for row, sample in enumerate(samples):
        for column, (box, kind) in enumerate(zip(sample.boxes, sample.classes, strict=True)):
            width, height = np.ceil((box[2:] - box[:2]) / STRIDE)
            reach = max(0, int(radius(height, width)))
            points = np.stack([box[:2], box[2:], (box[:2] + box[2:]) / 2]) / STRIDE
            for which, point in enumerate(points[:kinds]):
                x, y = (int(v) for v in point.clip(0, side - 1))
                # Centres are drawn a little wider than corners.
                draw_peak(heats[which, row, kind], x, y, reach, 5 if which == 2 else 6)
                places[which, row, column] = y * side + x
                offsets[which, row, column] = point - (x, y)
            boxes[row, column], classes[row, column], present[row, column] = box, kind, True
    image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
    arrays = (heats, places, offsets, present, boxes, classes)
    return Batch(image.float() / 127.5 - 1, *(torch.from_numpy(a) for a in arrays))


def corner_losses(
    stacks: Sequence[Mapping[str, Tensor]], batch: Batch, pull: float, push: float
) -> dict[str, Tensor]:
    """Return the weighted losses, each its mean over the stacks (equation 7 of the paper).

    Args:
        stacks: `heat` and `regr` of every kind of point of `batch`, `tag` of corners.
        batch: the truth.
        pull: weight of drawing an object's tags together.
        push: weight of driving others apart.
    """
    zero = batch.image.new_zeros(())
    terms: dict[str, Tensor] = dict.fromkeys(("heat", "pull", "push", "offset"), zero)
    for maps in stacks:
        for which, name in enumerate(POINTS[: len(batch.heats)]):
            heat = probability(maps[f"{name}_heat"])
            terms["heat"] = terms["heat"] + peak_focal(heat, batch.heats[which])
            offset = at_places(maps[f"{name}_regr"], batch.places[which])
            error = offset_smooth_l1(offset, batch.offsets[which], batch.present)
            terms["offset"] = terms["offset"] + error
        tags = [
            at_places(maps[f"{name}_tag"], batch.places[which])[..., 0]
            for which, name in enumerate(POINTS[:2])
        ]
        together, apart = pull_and_push(tags[0], tags[1], batch.present)
        terms["pull"] = terms["pull"] + pull * together
        terms["push"] = terms["push"] + push * apart
    return {name: term / len(stacks) for name, term in terms.items()}


def open_data(spec: str, split: Split, config: Config) -> Detections:
    """Open pictures with boxes; see `data/detection.py`."""
    return open_detections(
        spec, split, config.size, config.classes, augmented=config.augmented and split == "train"
    )


class CornerNet:
    """The system: one network, one optimizer."""

    def __init__(self, config: Config):
        self.config = config
        self.networks = nn.ModuleDict({"detector": CornerDetector(config)})
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
        return drawn(samples, c.size, c.classes, partial(corner_radius, overlap=c.overlap))

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Step once on the mean over the stacks (equation 7 of the paper)."""
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
                found = self._found(batch.image).cpu().numpy()
                names = self.config.classes
                truths += truths_of(batch.boxes, batch.classes, batch.present, names)
                answers += [
                    instances_of(looks.best_of(objects, len(names)), 0.0, names)
                    for objects in found
                ]
        return mean_average_precision(truths, answers)

    def _found(self, image: Tensor) -> Tensor:
        """Return (N, D, 8) pairs of corners in pixels."""
        maps = self.networks["detector"](normalised(image))[-1]
        cells = image.shape[2] * image.shape[3] // STRIDE**2
        found = pair_corners(maps, min(self.config.peaks, cells), apart=self.config.apart)
        return torch.cat([found[..., :4] * STRIDE, found[..., 4:]], 2)

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
            found = self._found(x)[0].cpu().numpy()
        network.train(was_training)
        corners = moved(found[:, :4].reshape(-1, 2, 2), inverse(matrix))
        found[:, :4] = corners.clip(0, (width, height)).reshape(-1, 4)
        kept = looks.best_of(found, len(self.config.classes))
        return instances_of(kept, threshold, self.config.classes)

    def look(
        self, image: NDArray[np.uint8], threshold: float = 0.3, scales: Sequence[float] = (1.0,)
    ) -> Instances:
        """Return the objects of a picture as the authors measure them (`ops/looks.py`).

        Args:
            image: (H, W, 3) uint8 RGB of any size; seen at its own resolution times each scale,
                plain and mirrored.
            threshold: least score.
            scales: more than one is what the paper calls multi-scale.
        """
        network = self.networks["detector"]
        device = next(network.parameters()).device
        was_training = network.training
        network.eval()
        rows = []
        for scale in scales:
            seen, look = looks.framed(np.ascontiguousarray(image[..., ::-1]), scale)
            with torch.inference_mode():
                maps = network(torch.from_numpy(seen).to(device))[-1]
                count = min(self.config.peaks, look.cells[0] * look.cells[1])
                pairs = pair_corners(maps, count, apart=self.config.apart)
            rows.append(looks.gathered(pairs.cpu().numpy(), look))
        network.train(was_training)
        # Scaled sides are whole pixels: on the way back a box may end just outside.
        found = np.concatenate(rows)
        found[:, :4] = found[:, :4].clip(0, np.array([*image.shape[1::-1]] * 2))
        kept = looks.best_of(found, len(self.config.classes))
        return instances_of(kept, threshold, self.config.classes)

    def samples(self, batch: Batch) -> Tensor:
        """Return rows of picture, true corners and corners found, classes merged."""
        with torch.no_grad():
            maps = self.networks["detector"](normalised(batch.image))[-1]
        found = [maps[f"{corner}_heat"].sigmoid() for corner in ("tl", "br")]
        picture = (batch.image + 1) / 2
        columns = [picture]
        for first, second in (batch.heats, found):
            both = torch.cat([h.amax(1, keepdim=True) for h in (first, second)], 1)
            shown = F.interpolate(both, batch.image.shape[2:])
            columns.append(torch.cat([shown, torch.zeros_like(shown[:, :1])], 1))
        return torch.stack(columns, 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing beyond the network."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take back."""


def instances_of(
    found: Sequence[NDArray[np.float32]], threshold: float, names: tuple[str, ...]
) -> Instances:
    """Return rows (n, 5) of each class as one list, best first, from a score on."""
    kinds = np.concatenate([np.full(len(rows), kind) for kind, rows in enumerate(found)])
    table = np.concatenate(found)
    order = np.argsort(-table[:, 4], kind="stable")
    order = order[table[order, 4] >= threshold]
    boxes = Boxes(table[order, :4], table[order, 4].clip(0, 1))
    return Instances(boxes, kinds[order].astype(np.int64), names)
