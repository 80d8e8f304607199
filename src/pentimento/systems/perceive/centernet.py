"""CenterNet: objects as points (Zhou, Wang and Krähenbühl 2019), with CenterTrack's head (2020).

An object is the peak of its class's heatmap at its middle; size, sub-pixel offset, joints and the
way from the previous frame are read off at that place. A peak is what a 3 × 3 maximum leaves: no
overlapping boxes, no suppression. Trunks: a ResNet-18 with transposed convolutions, the same with
deformable ones, DLA-34, Hourglass-104.

Differs: colours are RGB in [-1, 1] like everywhere here; `networks` converts to the authors' BGR
    with their mean and deviation.
Differs: tracking is learnt from a clip's neighbouring frames or, of still pictures, from pairs made
    by shifting and scaling (CenterTrack's section 5.3); the previous frame's heatmap is rendered
    with its noise. A ResNet may track, too: the previous frame joins after its first layer.

Alphabet: N pictures; K classes or peaks; J joints; S side; maps at stride 4.

    pentimento train centernet --data world --preset compact --out runs/centernet
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
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
from pentimento.losses.peaks import peak_focal, probability, value_l1
from pentimento.metrics.objects import mean_average_precision, truths_of
from pentimento.nn.dla import WIDTHS, DeformConv, DLAUp
from pentimento.nn.large_hourglass import BLOCKS, DIMS, Residual, Trunk, final, heads
from pentimento.ops.frames import cut, inverse, moved, normalised, similarity
from pentimento.ops.peaks import at_places, centre_radius, draw_peak, local_maxima, top_peaks
from pentimento.structures import Boxes, Instances

STRIDE: Final = 4
_RARE: Final = -2.19  # a sigmoid of 0.1: few places are objects


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        backbone: the trunk.
        width: channels of a ResNet's first stage (64 in the paper); others are fixed.
        head_width: channels inside each head.
        classes: names of what is found.
        joints: keypoints per object; 0 leaves their three heads out.
        tracking: add CenterTrack's inputs (previous frame, its peaks) and offset head.
        size: side of training pictures, a multiple of 32 (128 for the hourglass).
        peaks: most objects of one picture.
        overlap: IoU that the radius of a peak guarantees.
        size_weight: weight of the loss of sizes.
        augmented: whether training pictures are varied.
        batch_size: pictures per step and process.
        steps: length of a full run.
        lr: Adam's learning rate.
    """

    backbone: Literal["resnet18", "resnet18_dcn", "dla34", "hourglass104"] = "resnet18"
    width: int = 64
    head_width: int = 64
    classes: tuple[str, ...] = THINGS
    joints: int = 0
    tracking: bool = False
    size: int = 256
    peaks: int = 100
    overlap: float = 0.7
    size_weight: float = 0.1
    augmented: bool = True
    batch_size: int = 16
    steps: int = 20_000
    lr: float = 5e-4

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        grid = 128 if self.backbone == "hourglass104" else 32
        if self.size < grid or self.size % grid:
            raise ValueError(f"size must be a positive multiple of {grid}, got {self.size}")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes must be one or more different names, got {self.classes}")
        if self.tracking and self.backbone == "hourglass104":
            raise ValueError("an hourglass takes no previous frame; track with dla34 or a resnet18")
        if min(self.width, self.head_width, self.steps, self.batch_size, self.peaks) < 1:
            raise ValueError("width, head_width, steps, batch_size and peaks must be positive")
        if self.joints < 0 or self.lr <= 0 or not 0 < self.overlap < 1:
            raise ValueError("joints must not be negative, lr positive, overlap within 0..1")


def paper() -> Config:
    """Return DLA-34 at 512², the paper's best trade."""
    return Config(
        backbone="dla34", head_width=256, size=512, batch_size=128, steps=130_000, lr=5e-4
    )


def compact() -> Config:
    """Return a narrow ResNet for a CPU: 1.4 M parameters."""
    return Config(width=16, head_width=32, size=256, batch_size=16, lr=2e-3)


def tiny() -> Config:
    """Return a network for tests: seconds on one core."""
    return Config(
        width=8, head_width=16, size=64, batch_size=4, steps=60, lr=4e-3, peaks=20, augmented=False
    )


PRESETS: Final = {"tiny": tiny, "compact": compact, "paper": paper}


@plain_dataclass(frozen=True)
class Batch:
    """Pictures of one step with their objects, filled up to the longest list.

    Attributes:
        image: (N, 3, S, S) in [-1, 1].
        heat: (N, K, S / 4, S / 4) peaks of objects.
        place: (N, M) flat places of the objects' middles in those maps.
        extent: (N, M, 2) width and height in cells.
        offset: (N, M, 2) what rounding took off the middles, in cells.
        present: (N, M) bool.
        boxes: (N, M, 4) in pixels.
        classes: (N, M) int64.
        past: (N, 4, S, S) previous picture and peaks; zeros without tracking.
        way: (N, M, 2) from the object to where it was, in cells; zeros without tracking.
        tracked: (N, M) bool, whether it was there before.
    """

    image: Tensor
    heat: Tensor
    place: Tensor
    extent: Tensor
    offset: Tensor
    present: Tensor
    boxes: Tensor
    classes: Tensor
    past: Tensor
    way: Tensor
    tracked: Tensor


# Networks. Each maps normalised BGR pictures to one dictionary of head maps per stack.


class ResNetTrunk(nn.Module):
    """ResNet-18 and three transposed convolutions, perhaps a deformable one before each."""

    def __init__(self, width: int = 64, *, deformable: bool = False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = self._stage(width, width, 1)
        self.layer2 = self._stage(width, 2 * width, 2)
        self.layer3 = self._stage(2 * width, 4 * width, 2)
        self.layer4 = self._stage(4 * width, 8 * width, 2)
        ups = (4 * width, 2 * width, width) if deformable else (4 * width,) * 3
        layers: list[nn.Module] = []
        inputs = 8 * width
        for outputs in ups:
            if deformable:
                layers += [DeformConv(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU()]
                inputs = outputs
            up = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
            layers += [up, nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.deconv_layers = nn.Sequential(*layers)
        self.channels = inputs

    @staticmethod
    def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(Residual(inputs, outputs, stride), Residual(outputs, outputs))

    def forward(self, image: Tensor, more: Tensor | None = None) -> Tensor:
        """Return (N, channels, S / 4, S / 4); `more` is (N, width, S / 2, S / 2)."""
        x = F.relu(self.bn1(self.conv1(image)))
        x = F.max_pool2d(x if more is None else x + more, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.deconv_layers(x)


def head_widths(config: Config) -> dict[str, int]:
    """Return the heads of a configuration and their numbers of channels."""
    widths = {"hm": len(config.classes), "wh": 2}
    if config.joints:
        widths["hps"] = 2 * config.joints
    widths["reg"] = 2
    if config.joints:
        widths |= {"hm_hp": config.joints, "hp_offset": 2}
    return widths | ({"tracking": 2} if config.tracking else {})


class Points(nn.Module):
    """A trunk with one map at stride 4 and two convolutions per head."""

    def __init__(self, trunk: ResNetTrunk | DLAUp, widths: Mapping[str, int], inner: int):
        super().__init__()
        self.trunk = trunk
        self.widths = dict(widths)
        for name, width in widths.items():
            last = final(inner, width, _RARE if name.startswith("hm") else 0.0)
            head = nn.Sequential(nn.Conv2d(trunk.channels, inner, 3, 1, 1), nn.ReLU(), last)
            self.add_module(name, head)

    def forward(self, image: Tensor, more: Tensor | None = None) -> list[dict[str, Tensor]]:
        """Return the raw maps of all heads, once."""
        x = self.trunk(image, more)
        return [{name: self.get_submodule(name)(x) for name in self.widths}]


class Past(nn.Module):
    """CenterTrack's stem for the previous picture and its peaks, added to the present one's."""

    def __init__(self, outputs: int, stride: int = 1):
        super().__init__()
        self.pre_img_layer = self._layer(3, outputs, stride)
        self.pre_hm_layer = self._layer(1, outputs, stride)

    @staticmethod
    def _layer(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, 7, stride, 3, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, past: Tensor) -> Tensor:
        """Return (N, outputs, S / stride, S / stride) of (N, 4, S, S)."""
        return self.pre_img_layer(past[:, :3]) + self.pre_hm_layer(past[:, 3:])


class StackedPoints(nn.Module):
    """Hourglass-104 with the heads of both stacks."""

    def __init__(
        self, widths: Mapping[str, int], dims: Sequence[int] = DIMS, blocks: Sequence[int] = BLOCKS
    ):
        super().__init__()
        self.trunk = Trunk(dims, blocks)
        self.widths = dict(widths)
        for name, width in widths.items():
            self.add_module(name, heads(2, 256, width, _RARE if name.startswith("hm") else 0.0))

    def forward(self, image: Tensor, more: Tensor | None = None) -> list[dict[str, Tensor]]:
        """Return the raw maps of all heads, once per stack; there is no second input."""
        return [
            {name: self.get_submodule(f"{name}.{stack}")(x) for name in self.widths}
            for stack, x in enumerate(self.trunk.maps(image))
        ]


def build(config: Config) -> nn.Module:
    """Return the detector of a configuration."""
    widths = head_widths(config)
    if config.backbone == "hourglass104":
        return StackedPoints(widths)
    if config.backbone == "dla34":
        return Points(DLAUp(), widths, config.head_width)
    trunk = ResNetTrunk(config.width, deformable=config.backbone == "resnet18_dcn")
    return Points(trunk, widths, config.head_width)


# Decoding


def decode(heat: Tensor, extent: Tensor, offset: Tensor | None, count: int) -> Tensor:
    """Return objects (N, K, 6): left, top, right, bottom in cells, score, class; best first.

    Args:
        heat: (N, C, H, W) probabilities.
        extent: (N, 2, H, W) width and height, or (N, 2C, H, W) for each class its own.
        offset: (N, 2, H, W), or None: the middle of the cell.
        count: K.
    """
    score, index, kind, y, x = top_peaks(local_maxima(heat), count)
    shift = 0.5 if offset is None else at_places(offset, index)
    middle = torch.stack([x, y], 2) + shift
    size = at_places(extent, index)
    if size.shape[2] > 2:
        pick = kind[..., None, None].expand(-1, -1, 1, 2)
        size = size.view(*size.shape[:2], -1, 2).gather(2, pick)[:, :, 0]
    rest = torch.stack([score, kind.float()], 2)
    return torch.cat([middle - size / 2, middle + size / 2, rest], 2)


def decode_joints(maps: Mapping[str, Tensor], objects: Tensor, count: int) -> Tensor:
    """Return joints (N, K, 2J) of the objects that `decode` found in the same maps.

    Each object regresses its joints; where a joint's own heatmap has a peak above 0.1 in its box
    and nearby, that place is taken instead (Zhou et al. 2019, section 4.3).

    Args:
        maps: probabilities `hm`, and `hps` (N, 2J, H, W); perhaps `hm_hp` (N, J, H, W) and
            `hp_offset` (N, 2, H, W).
        objects: (N, K, 6) of `decode`.
        count: K.
    """
    _, index, _, y, x = top_peaks(local_maxima(maps["hm"]), count)
    joints = at_places(maps["hps"], index)
    n, k, double = joints.shape
    guess = joints.view(n, k, double // 2, 2) + torch.stack([x, y], 2)[:, :, None]
    if "hm_hp" not in maps:
        return guess.flatten(2)
    heat = local_maxima(maps["hm_hp"])
    score, place = heat.flatten(2).topk(k)  # (N, J, K)
    width = heat.shape[3]
    shift = at_places(maps["hp_offset"], place.flatten(1)).view(n, -1, k, 2)
    spots = torch.stack([place % width, place // width], 3) + shift
    spots = torch.where(score[..., None] > 0.1, spots, torch.full_like(spots, -10_000.0))
    score = torch.where(score > 0.1, score, torch.full_like(score, -1.0))
    guess = guess.transpose(1, 2)  # (N, J, K, 2)
    apart = (guess[:, :, :, None] - spots[:, :, None]).norm(dim=4)
    near, which = apart.min(3)
    best = spots.gather(2, which[..., None].expand(-1, -1, -1, 2))
    sure = score.gather(2, which)
    box = objects[:, None, :, :4]
    outside = ((best < box[..., :2]) | (best > box[..., 2:])).any(3)
    reach = 0.3 * (box[..., 2:] - box[..., :2]).amax(3)
    keeps = outside | (sure < 0.1) | (near > reach)
    return torch.where(keeps[..., None], guess, best).transpose(1, 2).flatten(2)


def followed(batch: Batch, ways: Tensor) -> Tensor:
    """Return (T, 4) of the T objects that were there before, of all pictures.

    Columns: error of the way in pixels, that of no way at all, and whether the nearest earlier
    middle of the class is its own, from where the way leads and from where the object is; NaN where
    the class has no other.

    Args:
        batch: with tracking.
        ways: (N, M, 2) predicted, in cells.
    """
    rows = [ways.new_zeros(0, 4)]
    middles = (batch.boxes[..., :2] + batch.boxes[..., 2:]) / (2 * STRIDE)
    for picture, there in enumerate(batch.tracked):
        here, kinds = middles[picture, there], batch.classes[picture, there]
        truth, guess = batch.way[picture, there], ways[picture, there]
        other = kinds[:, None] != kinds
        alone = (~other).sum(1) < 2
        columns = [STRIDE * (guess - truth).norm(dim=1), STRIDE * truth.norm(dim=1)]
        for way in (guess, torch.zeros_like(guess)):
            apart = torch.cdist(here + way, here + truth).masked_fill(other, torch.inf)
            own = apart.diagonal() <= apart.amin(1) if len(apart) else alone
            columns.append(own.float().masked_fill(alone, torch.nan))
        rows.append(torch.stack(columns, 1))
    return torch.cat(rows)


# Data


def open_data(spec: str, split: Split, config: Config) -> Detections:
    """Open pictures with boxes; see `data/detection.py`."""
    return open_detections(
        spec, split, config.size, config.classes,
        augmented=config.augmented and split == "train", paired=config.tracking,
    )  # fmt: skip


class CenterNet:
    """The system: one network, one optimizer."""

    def __init__(self, config: Config):
        self.config = config
        self.networks = nn.ModuleDict({"detector": build(config)})
        if config.tracking:
            dla = config.backbone == "dla34"
            self.networks["past"] = Past(WIDTHS[0]) if dla else Past(config.width, 2)
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "detector": OptimizerSpec(
                tuple(self.networks), config.lr, schedule=lambda done: 1.0 if done < 0.65 else 0.1
            )
        }
        self.averaged: tuple[str, ...] = ()
        self.batch_size = config.batch_size
        self.steps = config.steps
        self.score: tuple[str, Literal["max", "min"]] = ("ap", "max")

    def collate(self, samples: Sequence[DetectionSample]) -> Batch:
        """Draw the heatmaps and stack."""
        size = self.config.size
        side, rows = size // STRIDE, max(1, *(len(s.boxes) for s in samples))
        heat = np.zeros((len(samples), len(self.config.classes), side, side), np.float32)
        past = np.zeros((len(samples), 4, size, size), np.float32)
        values = np.zeros((len(samples), rows, 14), np.float32)
        for row, sample in enumerate(samples):
            earlier = sample.earlier
            if earlier is not None:
                past[row, :3] = earlier.image.transpose(2, 0, 1) / np.float32(127.5) - 1
                for x, y, radius in earlier.peaks:
                    draw_peak(past[row, 3], int(x), int(y), int(radius))
            for column, (box, kind) in enumerate(zip(sample.boxes, sample.classes, strict=True)):
                extent = (box[2:] - box[:2]) / STRIDE
                middle = (box[:2] + box[2:]) / (2 * STRIDE)
                cell = middle.clip(0, side - 1).astype(int)
                width, height = np.ceil(extent)
                radius = centre_radius(height, width, self.config.overlap)
                draw_peak(heat[row, kind], int(cell[0]), int(cell[1]), max(0, int(radius)))
                tracked = earlier is not None and bool(np.isfinite(earlier.middles[column]).all())
                way = earlier.middles[column] / STRIDE - middle if earlier and tracked else (0, 0)
                place = cell[1] * side + cell[0]
                values[row, column] = [
                    *box, *extent, *(middle - cell), *way, kind, place, 1, tracked
                ]  # fmt: skip
        image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        v = torch.from_numpy(values)
        return Batch(
            image=image.float() / 127.5 - 1, heat=torch.from_numpy(heat), boxes=v[..., :4],
            extent=v[..., 4:6], offset=v[..., 6:8], way=v[..., 8:10], classes=v[..., 10].long(),
            place=v[..., 11].long(), present=v[..., 12] > 0, past=torch.from_numpy(past),
            tracked=v[..., 13] > 0,
        )  # fmt: skip

    def maps(self, image: Tensor, past: Tensor | None = None) -> list[dict[str, Tensor]]:
        """Return the raw maps of all heads, per stack, of pictures (N, 3, H, W) in [-1, 1].

        Args:
            image: H and W are multiples of 32.
            past: (N, 4, H, W) previous picture in [-1, 1] and its peaks; only with tracking.
        """
        more = None
        if self.config.tracking and past is not None:
            seen = torch.cat([normalised(past[:, :3]), past[:, 3:]], 1)
            more = self.networks["past"](seen)
        out: list[dict[str, Tensor]] = self.networks["detector"](normalised(image), more)
        return out

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Step once on the sum over heads and stacks."""
        c, zero = self.config, batch.image.new_zeros(())
        names = ("heat", "extent", "offset", *(("way",) if c.tracking else ()))
        terms: dict[str, Tensor] = dict.fromkeys(names, zero)
        stacks = self.maps(batch.image, batch.past)
        for maps in stacks:
            share = 1 / len(stacks)
            terms["heat"] = terms["heat"] + share * peak_focal(probability(maps["hm"]), batch.heat)
            for name, head, truth, counts, weight in (
                ("extent", "wh", batch.extent, batch.present, c.size_weight),
                ("offset", "reg", batch.offset, batch.present, 1.0),
                ("way", "tracking", batch.way, batch.tracked, 1.0),
            ):
                if name in terms:
                    read = at_places(maps[head], batch.place)
                    loss = value_l1(read, truth, counts)
                    terms[name] = terms[name] + share * weight * loss
        update("detector", terms)
        return terms

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return COCO's average precision over the classes that occur; with tracking, more.

        `way` is the mean error of where objects were, in pixels, `ids` the share of them whose
        nearest earlier middle of their class, from there, is their own, where there are two or
        more; `still_way` and `still_ids` are those of the answer that nothing moves.
        """
        truths: list[Instances] = []
        answers: list[Instances] = []
        ways: list[Tensor] = []
        with torch.no_grad():
            for batch in batches:
                maps = self.maps(batch.image, batch.past)[-1]
                found = self._found(maps).cpu().numpy()
                if self.config.tracking:
                    ways.append(followed(batch, at_places(maps["tracking"], batch.place)))
                truths += truths_of(batch.boxes, batch.classes, batch.present, self.config.classes)
                answers += [self._instances(objects, 0.0) for objects in found]
        scores = mean_average_precision(truths, answers)
        if self.config.tracking:
            means = torch.cat(ways).nanmean(0).tolist()
            named = zip(("way", "still_way", "ids", "still_ids"), means, strict=True)
            scores |= {name: mean for name, mean in named if math.isfinite(mean)}
        return scores

    def _found(self, maps: Mapping[str, Tensor]) -> Tensor:
        """Return (N, K, 6) objects in pixels of the pictures whose maps these are."""
        count = min(self.config.peaks, maps["hm"][0, 0].numel())
        found = decode(maps["hm"].sigmoid(), maps["wh"], maps["reg"], count)
        return torch.cat([found[..., :4] * STRIDE, found[..., 4:]], 2)

    def _instances(self, objects: NDArray[Any], threshold: float) -> Instances:
        kept = objects[objects[:, 4] >= threshold].astype(np.float32)
        kept = kept[(kept[:, 2] > kept[:, 0]) & (kept[:, 3] > kept[:, 1])]
        boxes = Boxes(kept[:, :4], kept[:, 4].clip(0, 1))
        return Instances(boxes, kept[:, 5].astype(np.int64), self.config.classes)

    def predict(self, image: NDArray[np.uint8], threshold: float = 0.3) -> Instances:
        """Return the objects of a picture, best first, in its pixels.

        Args:
            image: (H, W, 3) uint8 RGB of any size; seen with its long side at `config.size`.
            threshold: least score.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"expected (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
        height, width = image.shape[:2]
        frame = (self.config.size, self.config.size)
        matrix = similarity((width / 2, height / 2), max(height, width), 0.0, frame)
        network = self.networks["detector"]
        x = torch.tensor(cut(image, matrix, frame), device=next(network.parameters()).device)
        x = x.permute(2, 0, 1)[None].float() / 127.5 - 1
        was_training = network.training
        self.networks.eval()
        with torch.inference_mode():
            found = self._found(self.maps(x)[-1])[0].cpu().numpy()
        self.networks.train(was_training)
        corners = moved(found[:, :4].reshape(-1, 2, 2), inverse(matrix))
        found[:, :4] = corners.clip(0, (width, height)).reshape(-1, 4)
        return self._instances(found, threshold)

    def samples(self, batch: Batch) -> Tensor:
        """Return rows of picture, true peaks and peaks found, classes merged."""
        with torch.no_grad():
            heat = self.maps(batch.image, batch.past)[-1]["hm"].sigmoid()
        shown = [
            F.interpolate(h.amax(1, keepdim=True), batch.image.shape[2:])
            for h in (batch.heat, heat)
        ]
        picture = (batch.image + 1) / 2
        return torch.stack([picture, *(h.expand_as(picture) for h in shown)], 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing beyond the network."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take back."""
