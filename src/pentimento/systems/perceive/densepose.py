"""DensePose: which point of a surface every pixel shows, as part and texture position (I, U, V).

Güler et al., CVPR 2018, in two forms. `DenseRCNN` is detectron2's chart model R50-FPN s1x for
people, complete: proposals, boxes, a decoder that joins the pyramid, and inside every box eight
convolutions and the charts. `Compact` looks at one aligned face and needs no boxes: charts of
skin and eyeballs at a quarter of the crop's resolution, 0.6 M parameters. Read inside out, charts
are a position map over the texture (Feng et al., PRNet, ECCV 2018): `ops.charts.position_map`.

Differs: training works on crops with one surface, the crop being the box; proposals and box head
    are not trained here (they come with official weights). Points are drawn from dense truth, the
    authors' were marked by hand, about a hundred per person.
Differs: the authors train with SGD (0.01); here it is Adam.

Alphabet: N pictures, S crop side, C coarse channels, P parts with 0 for none, R boxes, K points.
Crops are RGB in [-1, 1].

    pentimento train densepose --data world --preset compact --out runs/densepose
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
from pentimento.nn.rcnn import (
    STRIDES,
    BoxHead,
    BoxPredictor,
    FeaturePyramid,
    ProposalHead,
    level_anchors,
    proposals,
)
from pentimento.ops.charts import Charts, read_charts
from pentimento.ops.nms import nms
from pentimento.ops.roi import clip_boxes, levels_of, roi_align, shift_boxes
from pentimento.systems.perceive.face_parsing import Residual

_BGR_MEAN: Final = (103.53, 116.28, 123.675)
_BOX_WEIGHTS: Final = (10.0, 10.0, 5.0, 5.0)
# What a texture spans, in distances of the outer eye corners: the head's atlas, and an eyeball.
_SPANS: Final = (0.0, 10.2, 0.27, 0.27, 10.2)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        network: `rcnn`: people in pictures; `compact`: one aligned face.
        parts: of the surface; `data/charts.py` knows three.
        coarse: channels of the segmentation: 2, or 15 as in the first model.
        size: side of training and inference crops in pixels; a multiple of 32.
        widths: channels at strides 2, 4, 8 and 16 of `compact`.
        points: drawn per crop and step.
        point_weight: of U and V, summed over points; `part_weight` and `coarse_weight` of the rest.
        part_weight: of the cross-entropy of parts at points.
        coarse_weight: of the segmentation's cross-entropy.
        augmented: whether training crops are varied (`data/charts.py`).
        batch_size: crops per step and process.
        steps: length of a full run.
        lr: Adam's learning rate.
        weight_decay: decoupled weight decay.
        schedule: of the learning rate: cosine after a warm-up, or the authors' steps of a tenth.
    """

    network: Literal["rcnn", "compact"] = "compact"
    parts: int = len(PARTS)
    coarse: Literal[2, 15] = 2
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
    schedule: Literal["cosine", "steps"] = "cosine"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.size < 32 or self.size % 32:
            raise ValueError(f"size must be a positive multiple of 32, got {self.size}")
        if min(self.widths) < 1 or self.points < 1 or self.parts < len(PARTS):
            raise ValueError(f"widths and points are positive, parts at least {len(PARTS)}")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: batch statistics need two faces")
        if self.steps < 1 or self.lr <= 0:
            raise ValueError("steps and lr must be positive")


def paper() -> Config:
    """Return detectron2's R50-FPN s1x: 24 parts of the body, 130 000 steps of 16 pictures."""
    return Config(
        network="rcnn", parts=24, size=256, points=100, point_weight=0.01, coarse_weight=5.0,
        steps=130_000, lr=1e-4, weight_decay=1e-4, schedule="steps",
    )  # fmt: skip


def compact() -> Config:
    """Return the small network for aligned faces."""
    return Config()


def tiny() -> Config:
    """Return a network for tests: seconds on one core."""
    return Config(
        size=32, widths=(8, 12, 16, 16), points=64, augmented=False,
        batch_size=4, steps=80, lr=8e-3,
    )  # fmt: skip


PRESETS: Final = {"tiny": tiny, "compact": compact, "paper": paper}


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


# Networks. All end in charts.


class ChartPredictor(nn.Module):
    """Four transposed convolutions and a bilinear doubling: four times the side (R, C, s, s)."""

    def __init__(self, inputs: int, coarse: int, parts: int):
        super().__init__()
        self.ann_index_lowres = nn.ConvTranspose2d(inputs, coarse, 4, 2, 1)
        self.index_uv_lowres = nn.ConvTranspose2d(inputs, parts + 1, 4, 2, 1)
        self.u_lowres = nn.ConvTranspose2d(inputs, parts + 1, 4, 2, 1)
        self.v_lowres = nn.ConvTranspose2d(inputs, parts + 1, 4, 2, 1)

    def forward(self, x: Tensor) -> Charts:
        """Return charts of side 4s."""
        heads = (self.ann_index_lowres, self.index_uv_lowres, self.u_lowres, self.v_lowres)
        return Charts(
            *(F.interpolate(head(x), scale_factor=2.0, mode="bilinear") for head in heads)
        )


class ChartHead(nn.Module):
    """Eight convolutions."""

    def __init__(self, inputs: int = 256, width: int = 512):
        super().__init__()
        for i in range(8):
            conv = nn.Conv2d(width if i else inputs, width, 3, 1, 1)
            self.add_module(f"body_conv_fcn{i + 1}", conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (R, inputs, s, s) to (R, width, s, s)."""
        for layer in self.children():
            x = F.relu(layer(x))
        return x


class Decoder(nn.Module):
    """Panoptic FPN's decoder (Kirillov et al. 2019): all levels, brought to stride 4 and added."""

    def __init__(self, width: int = 256):
        super().__init__()
        for level, convolutions in ((2, 1), (3, 1), (4, 2), (5, 3)):
            # The official numbers count every doubling, which has no weights.
            layers = {str(2 * i): nn.Conv2d(width, width, 3, 1, 1) for i in range(convolutions)}
            self.add_module(f"p{level}", nn.ModuleDict(layers))
        self.predictor = nn.Conv2d(width, width, 1)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Join features (N, width, H, W) at strides 4, 8, 16 and 32."""
        joined = torch.zeros_like(levels[0])
        for level, x in enumerate(levels, 2):
            for conv in self.get_submodule(f"p{level}").children():
                x = F.relu(conv(x))
                if level > 2:
                    x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
            joined = joined + x
        out: Tensor = self.predictor(joined)
        return out


@plain_dataclass(frozen=True)
class Found:
    """People of one picture, the best first.

    Attributes:
        boxes: (R, 4) in pixels.
        scores: (R,) in [0, 1].
        charts: over each box, 112 a side.
    """

    boxes: Tensor
    scores: Tensor
    charts: Charts


class DenseRCNN(nn.Module):
    """detectron2's DensePose R50-FPN; module names are the official ones."""

    def __init__(self, parts: int = 24, coarse: int = 2):
        super().__init__()
        self.backbone = FeaturePyramid()
        self.proposal_generator = nn.ModuleDict({"rpn_head": ProposalHead()})
        self.roi_heads = nn.ModuleDict(
            {
                "box_head": BoxHead(),
                "box_predictor": BoxPredictor(classes=1),
                "decoder": Decoder(),
                "densepose_head": ChartHead(),
                "densepose_predictor": ChartPredictor(512, coarse, parts),
            }
        )

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the pyramid (strides 4 to 64) of pictures (N, 3, H, W), BGR 0..255."""
        return self.backbone(prepared(image))

    def charts(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> Charts:
        """Return the charts of boxes, per picture (R, 4), on a pyramid."""
        decoded = self.roi_heads["decoder"](levels[:4])
        pooled = roi_align(decoded, boxes, (28, 28), 1 / STRIDES[0], samples=2, aligned=False)
        return self.roi_heads["densepose_predictor"](self.roi_heads["densepose_head"](pooled))

    def boxes(self, levels: Sequence[Tensor], boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (R, 2) and offsets (R, 4) of one picture's boxes (R, 4)."""
        answer: tuple[Tensor, Tensor] = self.roi_heads["box_predictor"](
            self.roi_heads["box_head"](box_features(levels, boxes))
        )
        return answer

    def forward(self, image: Tensor) -> Charts:
        """Return the charts of crops (N, 3, S, S) in [-1, 1], RGB: the whole crop is the box."""
        side = image.shape[-1]
        whole = image.new_tensor([[0, 0, side, side]])
        return self.charts(self.features((image.flip(1) + 1) * 127.5), [whole] * len(image))

    def find(
        self,
        image: Tensor,
        *,
        least: float = 0.05,
        overlap: float = 0.5,
        most: int = 100,
        before: int = 1000,
        after: int = 1000,
    ) -> Found:
        """Find people and their charts.

        Args:
            image: (3, H, W) BGR 0..255; people want a short side of 800.
            least: score that a box has at least (strictly more).
            overlap: largest IoU of two boxes.
            most: boxes that are returned at most.
            before: proposals per level before suppression.
            after: proposals after it.
        """
        size = (image.shape[1], image.shape[2])
        levels = self.features(image[None])
        logits, deltas = self.proposal_generator["rpn_head"](levels)
        proposed, _ = proposals(
            [x[0] for x in logits],
            [x[0] for x in deltas],
            level_anchors(levels),
            size,
            before=before,
            after=after,
        )
        scores, offsets = self.boxes(levels, proposed)
        score = scores.softmax(1)[:, 0]
        found = clip_boxes(shift_boxes(offsets, proposed, _BOX_WEIGHTS), *size)
        found, score = found[score > least], score[score > least]
        kept = torch.from_numpy(nms(found.cpu().numpy(), score.cpu().numpy(), overlap)[:most])
        found, score = found[kept.to(found.device)], score[kept.to(found.device)]
        return Found(found, score, self.charts(levels, [found]))


def prepared(image: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W), BGR 0..255, without the mean and padded to multiples of 32."""
    x = image - image.new_tensor(_BGR_MEAN)[:, None, None]
    height, width = x.shape[2:]
    return F.pad(x, (0, -width % 32, 0, -height % 32))


def box_features(levels: Sequence[Tensor], boxes: Tensor) -> Tensor:
    """Return 7x7 features (R, C, 7, 7) of boxes, each from the level of its size."""
    level = levels_of(boxes, 2, 5)
    pooled = boxes.new_zeros(len(boxes), levels[0].shape[1], 7, 7)
    for i, features in enumerate(levels[:4]):
        on = level == i + 2
        if on.any():
            pooled[on] = roi_align(
                features, [boxes[on]], (7, 7), 1 / STRIDES[i], samples=2, aligned=False
            )
    return pooled


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Compact(nn.Module):
    """A narrow residual encoder, a light way back up to stride 4, and all charts in one layer."""

    def __init__(self, widths: Sequence[int], coarse: int, parts: int):
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
        self.columns = [coarse, parts + 1, parts + 1, parts + 1]
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


class DensePose:
    """The system: one network, one optimizer."""

    def __init__(self, config: Config):
        self.config = config
        c = config
        network: DenseRCNN | Compact = (
            DenseRCNN(c.parts, c.coarse)
            if c.network == "rcnn"
            else Compact(c.widths, c.coarse, c.parts)
        )
        self.networks = nn.ModuleDict({"densepose": network})
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "densepose": OptimizerSpec(
                ("densepose",), c.lr, (0.9, 0.99), c.weight_decay, self._schedule
            )
        }
        self.averaged: tuple[str, ...] = ("densepose",)
        self.batch_size = c.batch_size
        self.steps = c.steps
        self.score: tuple[str, Literal["max", "min"]] = ("gps", "max")

    def _schedule(self, done: float) -> float:
        if self.config.schedule == "steps":
            return 0.1 ** ((done >= 100 / 130) + (done >= 120 / 130))
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
        terms = self.losses(self.networks["densepose"](batch.image), batch)
        update("densepose", terms)
        return terms

    def read(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return part (N, S, S) and uv (N, 2, S, S) of crops (N, 3, S, S) in [-1, 1]."""
        return read_charts(self.networks["densepose"](image), *image.shape[2:])

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
        network = self.networks["densepose"]
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


def painted(pictures: Tensor, part: Tensor, uv: Tensor) -> Tensor:
    """Return pictures (N, 3, S, S) in [0, 1] with lines of equal u and v drawn on the surface."""
    u, v = uv.clamp(0, 1).unbind(1)
    colour = torch.stack([u, v, 0.4 + 0.2 * (part > 1)], 1)
    lines = ((uv * 24).frac() < 0.12).any(1)[:, None]
    surface = torch.where(lines, torch.ones_like(colour), 0.35 * pictures + 0.65 * colour)
    return torch.where((part > 0)[:, None], surface, pictures)
