"""DensePose: people in pictures, and which point of a body every pixel shows (I, U, V).

Güler et al., CVPR 2018, as detectron2's chart model R50-FPN s1x: a pyramid proposes boxes, a head
settles them, and inside every box convolutions on the joined pyramid draw charts: body or not,
which part, where on it. All of it is trained together. `face_charts` does the same for one aligned
face, without boxes.

Differs: pictures are brought into squares of one size; the authors keep their shape, short side 640
    to 800, and mirror them, for which they know how surfaces mirror.
Differs: the authors train with SGD (0.01), here it is Adam; `compact` learns from nothing, with
    group norms in all but the box head, and takes charts of regions from an IoU of 0.5 on, not 0.7.

Alphabet: N pictures of side S; M people of a picture; K points of a person; R boxes; C coarse
channels; P parts with 0 for none. Boxes in pixels. Pictures are RGB in [-1, 1].

    pentimento train densepose --data world --preset compact --out runs/densepose
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.people import MASK, People, PeopleSample, open_people
from pentimento.engine.system import OptimizerSpec, Split, Terms, Update
from pentimento.losses.charts import Marks, at_points, chart_losses, in_box, resample_masks
from pentimento.losses.regions import (
    BOX_WEIGHTS,
    Regions,
    draw_regions,
    proposal_losses,
    region_losses,
)
from pentimento.metrics.surface import SURFACES, point_similarities, surface_precision
from pentimento.nn.charts import ChartHead, ChartPredictor, Decoder
from pentimento.nn.rcnn import (
    SIDES,
    STRIDES,
    BoxHead,
    BoxPredictor,
    FeaturePyramid,
    ProposalHead,
    box_features,
    by_anchor,
    level_anchors,
    prepared,
    proposals,
    start,
)
from pentimento.ops.boxes import iou
from pentimento.ops.charts import Charts, painted, read_charts
from pentimento.ops.frames import cut, inverse, moved, similarity
from pentimento.ops.nms import nms
from pentimento.ops.roi import clip_boxes, roi_align, shift_boxes


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        parts: of the body: 15 of rendered people (`data/people.py`), 24 of COCO's.
        coarse: channels of the segmentation: 2, or 15 as in the first model.
        norm: `frozen` for pretrained weights, `group` to learn from nothing.
        stem: channels of the first convolution; a stage has 4, 8, 16 and 32 times as many.
        blocks: residual blocks of the four stages.
        width: channels of the pyramid.
        box_width: of the box head.
        chart_width: channels of the chart head.
        chart_layers: its convolutions.
        pooled: side of a box's features; charts have four times that.
        anchors: roots of the areas of the anchors at strides 4, 8, 16, 32 and 64.
        canonical: root of the area of boxes that are read from stride 16.
        size: side of training and inference pictures in pixels, a multiple of 64.
        points: of a person that are used in one step.
        anchors_drawn: per picture and step.
        regions_drawn: per picture and step.
        charted: IoU of a region and a person from which it learns charts.
        before: proposals per level before suppression.
        after: proposals after it.
        point_weight: of U and V, summed over points; `part_weight` and `coarse_weight` of the rest.
        part_weight: of the cross-entropy of parts at points.
        coarse_weight: of the segmentation's cross-entropy.
        augmented: whether training pictures are varied.
        batch_size: pictures per step and process.
        steps: length of a full run.
        lr: Adam's learning rate.
        weight_decay: decoupled weight decay.
    """

    parts: Literal[15, 24] = 24
    coarse: Literal[2, 15] = 2
    norm: Literal["frozen", "group"] = "frozen"
    stem: int = 64
    blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 256
    box_width: int = 1024
    chart_width: int = 512
    chart_layers: int = 8
    pooled: int = 28
    anchors: tuple[float, float, float, float, float] = SIDES
    canonical: float = 224
    size: int = 832
    points: int = 196
    anchors_drawn: int = 256
    regions_drawn: int = 512
    charted: float = 0.7
    before: int = 1000
    after: int = 1000
    point_weight: float = 0.01
    part_weight: float = 1.0
    coarse_weight: float = 5.0
    augmented: bool = True
    batch_size: int = 16
    steps: int = 130_000
    lr: float = 1e-4
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.size < 64 or self.size % 64:
            raise ValueError(f"size must be a positive multiple of 64, got {self.size}")
        widths = (self.width, self.box_width, self.chart_width, *self.blocks, *self.anchors)
        if min(*widths, self.chart_layers, self.pooled, self.points, self.canonical) <= 0:
            raise ValueError("widths, layers, anchors, pooled, points and canonical are positive")
        if any(width % 8 for width in (self.stem, self.width, self.chart_width)) or self.stem < 8:
            raise ValueError("stem, width and chart_width must be positive multiples of 8")
        if min(self.anchors_drawn, self.regions_drawn) < 4 or not 0 < self.charted <= 1:
            raise ValueError("at least 4 anchors and regions are drawn; charted lies within 0..1")
        numbers = (self.before, self.after, self.batch_size, self.steps)
        if min(numbers) < 1 or self.lr <= 0 or self.weight_decay < 0:
            raise ValueError("before, after, batch_size, steps and lr must be positive")


def paper() -> Config:
    """Return detectron2's R50-FPN s1x: 24 parts of the body, 130 000 steps of 16 pictures."""
    return Config()


def compact() -> Config:
    """Return a small network that learns rendered people from nothing on a CPU."""
    return Config(
        parts=15, norm="group", stem=16, blocks=(1, 2, 2, 1), width=48, box_width=128,
        chart_width=48, chart_layers=4, pooled=14, anchors=(12, 24, 48, 96, 160), canonical=64,
        size=128, points=100, anchors_drawn=64, regions_drawn=24, charted=0.5, before=200,
        after=50, point_weight=0.005, coarse_weight=2.0, batch_size=8, steps=20_000, lr=1e-3,
    )  # fmt: skip


def tiny() -> Config:
    """Return a network for tests: seconds on one core."""
    return Config(
        parts=15, norm="group", stem=8, blocks=(1, 1, 1, 1), width=16, box_width=32,
        chart_width=16, chart_layers=1, pooled=7, anchors=(8, 16, 32, 48, 64), canonical=48,
        size=64, points=40, anchors_drawn=32, regions_drawn=16, charted=0.5, before=40, after=20,
        point_weight=0.05, coarse_weight=1.0, augmented=False, batch_size=4, steps=60, lr=4e-3,
    )  # fmt: skip


PRESETS: Final = {"tiny": tiny, "compact": compact, "paper": paper}


@plain_dataclass(frozen=True)
class Batch:
    """Pictures of one step with their people, filled up to the longest list.

    Attributes:
        image: (N, 3, S, S) in [-1, 1].
        boxes: (N, M, 4) what is inside the picture of each person.
        present: (N, M) bool.
        frames: (N, M, 4) the annotated boxes, perhaps reaching out of the picture.
        points: (N, M, K, 2) in 256ths of the frames.
        part: (N, M, K) int64; -1 where there is no point.
        uv: (N, M, K, 2) in [0, 1].
        masks: (N, M, 256, 256) uint8 over the frames.
    """

    image: Tensor
    boxes: Tensor
    present: Tensor
    frames: Tensor
    points: Tensor
    part: Tensor
    uv: Tensor
    masks: Tensor


# Networks


@plain_dataclass(frozen=True)
class Learning:
    """What the network says of pictures whose people are known.

    Attributes:
        logits: (N, T) of all anchors.
        deltas: (N, T, 4).
        anchors: (T, 4).
        regions: per picture, drawn among proposals and people.
        class_logits: (R, 2) of all regions: person, background.
        offsets: (R, 4).
        charts: of the regions that show an annotated person, `charted` of each picture.
        charted: per picture, bool over its regions.
    """

    logits: Tensor
    deltas: Tensor
    anchors: Tensor
    regions: list[Regions]
    class_logits: Tensor
    offsets: Tensor
    charts: Charts
    charted: list[Tensor]


@plain_dataclass(frozen=True)
class Found:
    """People of one picture, the best first.

    Attributes:
        boxes: (R, 4) in pixels.
        scores: (R,) in [0, 1].
        charts: over each box, four times `pooled` a side.
    """

    boxes: Tensor
    scores: Tensor
    charts: Charts


class DenseRCNN(nn.Module):
    """detectron2's DensePose R-CNN with an FPN; module names are the official ones."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = c = config
        self.backbone = FeaturePyramid(c.width, c.blocks, c.stem, c.norm)
        self.proposal_generator = nn.ModuleDict({"rpn_head": ProposalHead(c.width)})
        self.roi_heads = nn.ModuleDict(
            {
                "box_head": BoxHead(49 * c.width, c.box_width),
                "box_predictor": BoxPredictor(1, c.box_width),
                "decoder": Decoder(c.width, c.norm),
                "densepose_head": ChartHead(c.width, c.chart_width, c.chart_layers, c.norm),
                "densepose_predictor": ChartPredictor(c.chart_width, c.coarse, c.parts),
            }
        )
        if c.norm == "group":  # frozen norms come with weights
            start(self)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the pyramid (strides 4 to 64) of pictures (N, 3, H, W), BGR 0..255."""
        return self.backbone(prepared(image))

    def charts(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> Charts:
        """Return the charts of boxes, per picture (R, 4), on a pyramid."""
        decoded = self.roi_heads["decoder"](levels[:4])
        bins = (self.config.pooled,) * 2
        pooled = roi_align(decoded, boxes, bins, 1 / STRIDES[0], samples=2, aligned=False)
        return self.roi_heads["densepose_predictor"](self.roi_heads["densepose_head"](pooled))

    def boxes(self, levels: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return logits (R, 2) and offsets (R, 4) of boxes, per picture (R, 4)."""
        pooled = box_features(levels, boxes, self.config.canonical)
        answer: tuple[Tensor, Tensor] = self.roi_heads["box_predictor"](
            self.roi_heads["box_head"](pooled)
        )
        return answer

    def forward(
        self, image: Tensor, people: Sequence[Tensor], annotated: Sequence[Tensor]
    ) -> Learning:
        """Look at pictures whose people are known, to learn.

        Args:
            image: (N, 3, S, S) BGR 0..255.
            people: per picture boxes (M, 4), sides above 0.
            annotated: per picture, bool (M,): whose charts are known.
        """
        c, side = self.config, image.shape[2:]
        levels = self.features(image)
        logits, deltas = self.proposal_generator["rpn_head"](levels)
        anchors = level_anchors(levels, c.anchors)
        regions, charted = [], []
        for n, own in enumerate(people):
            with torch.no_grad():
                proposed, _ = proposals(
                    [x[n].float() for x in logits], [x[n].float() for x in deltas], anchors,
                    (side[0], side[1]), before=c.before, after=c.after,
                )  # fmt: skip
            drawn = draw_regions(proposed, own, c.regions_drawn)
            regions.append(drawn)
            charts = drawn.positive & (drawn.overlap >= c.charted)
            charts[charts.clone()] = annotated[n][drawn.truth[charts]]
            charted.append(charts)
        boxes = [each.boxes for each in regions]
        class_logits, offsets = self.boxes(levels, boxes)
        of_people = [each[on] for each, on in zip(boxes, charted, strict=True)]
        return Learning(
            *by_anchor(logits, deltas), torch.cat(anchors), regions, class_logits, offsets,
            self.charts(levels, of_people), charted,
        )  # fmt: skip

    def find(
        self,
        image: Tensor,
        *,
        least: float = 0.05,
        overlap: float = 0.5,
        most: int = 100,
        before: int | None = None,
        after: int | None = None,
    ) -> Found:
        """Find people and their charts.

        Args:
            image: (3, H, W) BGR 0..255; the official weights want a short side of 800.
            least: score that a box has at least (strictly more).
            overlap: largest IoU of two boxes.
            most: boxes that are returned at most.
            before: proposals per level before suppression; by default the configuration's.
            after: proposals after it.
        """
        c, size = self.config, (image.shape[1], image.shape[2])
        levels = self.features(image[None])
        logits, deltas = self.proposal_generator["rpn_head"](levels)
        proposed, _ = proposals(
            [x[0] for x in logits], [x[0] for x in deltas], level_anchors(levels, c.anchors), size,
            before=before or c.before, after=after or c.after,
        )  # fmt: skip
        scores, offsets = self.boxes(levels, [proposed])
        score = scores.softmax(1)[:, 0]
        found = clip_boxes(shift_boxes(offsets, proposed, BOX_WEIGHTS), *size)
        full = (score > least) & (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
        found, score = found[full], score[full]
        kept = torch.from_numpy(nms(found.cpu().numpy(), score.cpu().numpy(), overlap)[:most])
        found, score = found[kept.to(found.device)], score[kept.to(found.device)]
        return Found(found, score, self.charts(levels, [found]))


# The system


def open_data(spec: str, split: Split, config: Config) -> People:
    """Open pictures of people (see `data/people.py`)."""
    varied = config.augmented and split == "train"
    return open_people(spec, split, config.size, config.points, config.parts, augmented=varied)


class DensePose:
    """The system: one network, one optimizer."""

    def __init__(self, config: Config):
        self.config = config
        self.networks = nn.ModuleDict({"densepose": DenseRCNN(config)})
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "densepose": OptimizerSpec(
                ("densepose",), config.lr, (0.9, 0.99), config.weight_decay, self._schedule
            )
        }
        self.averaged: tuple[str, ...] = ("densepose",)
        self.batch_size = config.batch_size
        self.steps = config.steps
        self.score: tuple[str, Literal["max", "min"]] = ("gps", "max")

    def _network(self) -> DenseRCNN:
        network = self.networks["densepose"]
        assert isinstance(network, DenseRCNN)
        return network

    @staticmethod
    def _schedule(done: float) -> float:
        """A short warm-up, and the authors' tenths after 100 and 120 of 130 thousand steps."""
        return min(1.0, (done + 1e-3) / 0.01) * 0.1 ** ((done >= 100 / 130) + (done >= 120 / 130))

    def collate(self, samples: Sequence[PeopleSample]) -> Batch:
        """Stack pictures and fill up their lists of people and points."""
        rows, points = max(1, *(len(s.people) for s in samples)), self.config.points
        shape = (len(samples), rows)
        values = np.zeros((*shape, 9), np.float32)
        marks = np.zeros((*shape, points, 5), np.float32)
        marks[..., 2] = -1
        masks = np.zeros((*shape, MASK, MASK), np.uint8)
        for n, sample in enumerate(samples):
            for m, (box, person) in enumerate(zip(sample.boxes, sample.people, strict=True)):
                count = min(points, len(person.points))
                values[n, m] = [*box, *person.frame, 1]
                marks[n, m, :count] = np.column_stack([person.points, person.part, person.uv])[
                    :count
                ]
                masks[n, m] = person.mask
        image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        v, k = torch.from_numpy(values), torch.from_numpy(marks)
        return Batch(
            image=image.contiguous().float() / 127.5 - 1, boxes=v[..., :4], present=v[..., 8] > 0,
            frames=v[..., 4:8], points=k[..., :2], part=k[..., 2].long(), uv=k[..., 3:],
            masks=torch.from_numpy(masks),
        )  # fmt: skip

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Step once on the losses of proposals, boxes and charts."""
        people = [b[on] for b, on in zip(batch.boxes, batch.present, strict=True)]
        has_points = (batch.part >= 0).any(2)
        annotated = [a[on] for a, on in zip(has_points, batch.present, strict=True)]
        said: Learning = self.networks["densepose"](_bgr(batch.image), people, annotated)
        terms = proposal_losses(
            said.logits, said.deltas, said.anchors, people, self.config.anchors_drawn
        )
        terms |= region_losses(said.class_logits, said.offsets, said.regions, people)
        terms |= self._chart_losses(said, batch)
        update("densepose", terms)
        return terms

    def _chart_losses(self, said: Learning, batch: Batch) -> dict[str, Tensor]:
        """Compare the charts with the points and masks of the people they show."""
        c, side = self.config, said.charts.fine.shape[-1]
        # The people of a picture come first in its rows: places among them are places in a row.
        shown = [
            (n, region.truth[on])
            for n, (region, on) in enumerate(zip(said.regions, said.charted, strict=True))
        ]
        picture = torch.cat([torch.full_like(m, n) for n, m in shown])
        person = torch.cat([m for _, m in shown])
        found = torch.cat(
            [region.boxes[on] for region, on in zip(said.regions, said.charted, strict=True)]
        )
        frames, part = batch.frames[picture, person], batch.part[picture, person]
        box, point = (part >= 0).nonzero(as_tuple=True)
        xy = in_box(batch.points[picture, person][box, point], frames[box], found[box], side)
        marks = Marks(box, xy, part[box, point], batch.uv[picture, person][box, point])
        weights = {"points": c.point_weight, "part": c.part_weight, "coarse": c.coarse_weight}
        if not len(found):
            zero = said.charts.fine.sum() + said.charts.u.sum() + said.charts.v.sum()
            return dict.fromkeys(("u", "v", "part", "coarse"), zero + said.charts.coarse.sum())
        masks = resample_masks(batch.masks[picture, person], frames, found, side)
        return chart_losses(said.charts, marks, masks, weights)

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return GPS over all marked points, and the average precision of people by their GPS.

        A person who is not found, a point that lies outside of the found box, on no body or on
        another part counts as infinitely far. `ap` and `ap50` are DensePose's: COCO's average
        precision with GPS in the place of IoU; `box_ap` and `mask_ap` are COCO's own, of the same
        people.
        """
        surface = SURFACES[self.config.parts]
        similarities, scores = [], []
        with torch.no_grad():
            for batch in batches:
                for n, image in enumerate(_bgr(batch.image)):
                    found = self._network().find(image)
                    near = self._distances(found, batch, n)
                    points = point_similarities(near, surface, len(found.boxes))
                    similarities.append((points, *self._overlaps(found, batch, n)))
                    scores.append(found.scores.cpu().numpy())
        kinds = zip(*similarities, strict=True)
        by_points, by_box, by_mask = (surface_precision(each, scores) for each in kinds)
        return {**by_points, "box_ap": by_box["ap"], "mask_ap": by_mask["ap"]}

    def _overlaps(
        self, found: Found, batch: Batch, n: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the IoU (R, G) of boxes, and of masks, of the annotated people of picture `n`."""
        known, side = (batch.part[n] >= 0).any(1) & batch.present[n], batch.image.shape[-1]
        boxes, whole = batch.boxes[n, known], batch.boxes.new_tensor([[0, 0, side, side]])
        drawn = (found.charts.coarse.argmax(1), found.boxes)
        seen, true = (
            (resample_masks(masks, frames, whole.expand_as(frames), side) > 0).flatten(1).double()
            for masks, frames in (drawn, (batch.masks[n, known], batch.frames[n, known]))
        )
        shared = seen @ true.T
        overlap = shared / (seen.sum(1)[:, None] + true.sum(1) - shared).clamp(min=1)
        return iou(found.boxes, boxes).double().cpu().numpy(), overlap.cpu().numpy()

    def _distances(self, found: Found, batch: Batch, n: int) -> list[NDArray[np.float64]]:
        """Return, for every annotated person of picture `n`, (R, K, 4) of the found boxes.

        The columns are true part, found part (0 outside) and the differences of u and v.
        """
        rows, side = [], found.charts.fine.shape[-1]
        for m in ((batch.part[n] >= 0).any(1) & batch.present[n]).nonzero()[:, 0]:
            on = batch.part[n, m] >= 0
            count, boxes = int(on.sum()), len(found.boxes)
            points, part = batch.points[n, m, on].repeat(boxes, 1), batch.part[n, m, on]
            box = torch.arange(boxes, device=points.device).repeat_interleave(count)
            frame = batch.frames[n, m].expand(len(box), 4)
            xy = in_box(points, frame, found.boxes[box], side)
            inside = ((xy >= 0) & (xy < side)).all(1)
            # `in_box` counts from the map's edge; pixels have their centres at halves.
            marks = Marks(box, (xy - 0.5).clamp(0, side - 1), box, points)
            parts = at_points(found.charts.fine, marks).argmax(1)
            parts = parts * (at_points(found.charts.coarse, marks).argmax(1) > 0) * inside
            off = [
                at_points(maps, marks).gather(1, parts[:, None])[:, 0].clamp(0, 1)
                - batch.uv[n, m, on, i].repeat(boxes)
                for i, maps in enumerate((found.charts.u, found.charts.v))
            ]
            row = torch.stack([part.repeat(boxes), parts, *off], 1).reshape(boxes, count, 4)
            rows.append(row.double().cpu().numpy())
        return rows

    def predict(
        self, image: NDArray[np.uint8], threshold: float = 0.5
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Return what every pixel of a picture shows: part, uv, and the boxes of the people.

        Args:
            image: (H, W, 3) uint8 RGB of any size; seen with its long side at `config.size`.
            threshold: least score of a person.

        Returns:
            Part (H, W), 0 for none; uv (H, W, 2) in [0, 1]; (R, 5) left, top, right, bottom, score,
            best first. Where people overlap, the better one is seen.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
            raise ValueError(f"expected (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
        height, width = image.shape[:2]
        side = self.config.size
        matrix = similarity((width / 2, height / 2), max(height, width), 0.0, (side, side))
        network = self._network()
        x = torch.tensor(cut(image, matrix, (side, side)), device=next(network.parameters()).device)
        was_training = network.training
        network.eval()
        with torch.inference_mode():
            found = network.find(x.permute(2, 0, 1).flip(0).float(), least=threshold)
        network.train(was_training)
        boxes = moved(found.boxes.cpu().numpy().reshape(-1, 2, 2), inverse(matrix)).reshape(-1, 4)
        boxes = boxes.clip(0, [width, height] * 2).astype(np.float32)
        part, uv = np.zeros((height, width), np.uint8), np.zeros((height, width, 2), np.float32)
        for i in reversed(range(len(boxes))):
            pasted = _pasted(found.charts[i : i + 1], boxes[i])
            if pasted is not None:
                place, own, where = pasted
                part[place][own > 0], uv[place][own > 0] = own[own > 0], where[own > 0]
        scores = found.scores.cpu().numpy()[:, None].astype(np.float32)
        return part, uv, np.concatenate([boxes, scores], 1)

    def samples(self, batch: Batch) -> Tensor:
        """Return rows of picture and surface, as it was marked and as it is found (`painted`)."""
        rows = []
        for n, picture in enumerate((batch.image + 1) / 2):
            image = (picture.permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
            part, uv, _ = self.predict(image)
            true, true_uv = _marked(batch, n)
            both = torch.from_numpy(np.stack([true, part])).to(picture.device)
            where = torch.from_numpy(np.stack([true_uv, uv])).permute(0, 3, 1, 2)
            two = painted(picture.expand(2, -1, -1, -1), both, where.to(picture.device), 6)
            rows.append(torch.cat([picture[None], two]))
        return torch.stack(rows)

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing beyond the network."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take back."""


def _bgr(image: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W), RGB in [-1, 1], as the network wants them."""
    return (image.flip(1) + 1) * 127.5


def _pasted(
    charts: Charts, box: NDArray[np.float32]
) -> tuple[tuple[slice, slice], NDArray[np.uint8], NDArray[Any]] | None:
    """Return the rows and columns of a box, and its part (h, w) and uv (h, w, 2) there."""
    left, top, right, bottom = (round(float(edge)) for edge in box)
    if right <= left or bottom <= top:
        return None
    part, uv = read_charts(charts, bottom - top, right - left)
    where = uv[0].permute(1, 2, 0).clamp(0, 1).cpu().numpy()
    place = (slice(top, bottom), slice(left, right))
    return place, part[0].cpu().numpy().astype(np.uint8), where


def _marked(batch: Batch, n: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return part (S, S) and uv (S, S, 2) at the marked points of picture `n`, 0 elsewhere."""
    side = batch.image.shape[-1]
    part, uv = np.zeros((side, side), np.uint8), np.zeros((side, side, 2), np.float32)
    person, point = (batch.part[n] >= 0).nonzero(as_tuple=True)
    frames = batch.frames[n, person]
    at = frames[:, :2] + batch.points[n, person, point] * (frames[:, 2:] - frames[:, :2]) / 256
    x, y = at.long().clamp(0, side - 1).cpu().numpy().T
    part[y, x] = batch.part[n, person, point].cpu().numpy()
    uv[y, x] = batch.uv[n, person, point].cpu().numpy()
    return part, uv
