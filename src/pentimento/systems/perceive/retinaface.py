"""RetinaFace: every face of a picture in one pass, with its box, its five points and its surface.

Deng et al., CVPR 2020, in the widely used version of biubug6: a backbone (MobileNet of quarter
width, or ResNet-50), a feature pyramid, context heads after SSH (Najibi et al., ICCV 2017), and on
every cell of the levels two square priors with a score, a box and five points. The dense branch of
the paper is one head more: it places V vertices of the face in three dimensions, learnt by their L1
distance and that of the lengths of the edges between them. Depth counts from the vertices' mean.

Differs: the paper's 1103 vertices per prior come straight from a convolution (in its preprint, from
    graph convolutions and a differentiated renderer), and their truths from a morphable model that
    was fitted to photos. Here a code per prior becomes vertices by one learnt linear map, and their
    truths are exact: `world/face_mesh.py` chooses 300 vertices of the rendered heads, in an order
    of its own. Photos have no such truths; they teach the other heads.
Differs: the authors train with SGD (1e-3, momentum 0.9); here it is Adam.
Differs: with `least_negatives` a picture without faces teaches too; the authors' pictures all have
    faces, and one without gives no loss.

Alphabet: N pictures, A priors, M faces of the fullest picture, V vertices, H, W, S sides in pixels.
Pictures enter as RGB 0..255; all boxes, points and priors are in pixels.

    pentimento train retinaface --data world --preset compact --out runs/finder
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import fields
from functools import lru_cache
from typing import Any, Final, Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from pentimento.data.collage import POINTS, Crowd, face_mesh
from pentimento.data.crowds import open_crowds
from pentimento.engine.system import Dataset, OptimizerSpec, Split, Terms, Update
from pentimento.metrics.detection import average_precision, errors_of_found
from pentimento.nn.face_backbones import Lean, MobileNet, ResNet50, conv
from pentimento.ops.boxes import (
    decode,
    decode_points,
    encode,
    encode_points,
    iou,
    to_corners,
)
from pentimento.ops.nms import nms
from pentimento.structures import Boxes

STRIDES: Final = (8, 16, 32)
_PAPER_PRIORS: Final = ((16, 32), (64, 128), (256, 512))
_BGR_MEAN: Final = (104.0, 117.0, 123.0)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        backbone: MobileNet of quarter width, ResNet-50, or `lean`: plain convolutions, which
            learn sooner than a MobileNet and run as fast on a CPU.
        width: channels of the pyramid; a multiple of 4.
        priors: sides of the square priors at strides 8, 16 and 32, in pixels; as many at each.
        points: whether five points are found and learnt.
        vertices: V, how many vertices the dense branch places; 0 = no such branch. The world's
            truths have 300; edges are known, and count, for these alone.
        code: numbers that describe a face's surface before they become vertices.
        size: side of training pictures; a multiple of 32.
        overlap: a prior with so much IoU with a face learns it.
        forced: a face whose best prior overlaps so much is learnt by that one at least.
        negatives: hardest background priors that count, per prior on a face.
        least_negatives: as many at least, in every picture.
        box_weight: of the box loss; the score's weighs 1.
        point_weight: of the points' loss.
        vertex_weight: of the vertex loss.
        batch_size: pictures per step and process.
        steps: length of a full run.
        lr: Adam's learning rate.
        betas: Adam's running-average coefficients.
        weight_decay: decoupled weight decay.
        schedule: of the learning rate: two steps down, or cosine after a warm-up.
    """

    backbone: Literal["lean", "mobilenet", "resnet50"] = "lean"
    width: int = 48
    priors: tuple[tuple[int, ...], ...] = ((12, 20), (32, 56), (96, 160))
    points: bool = True
    vertices: int = 0
    code: int = 32
    size: int = 192
    overlap: float = 0.35
    forced: float = 0.2
    negatives: int = 7
    least_negatives: int = 48
    box_weight: float = 2.0
    point_weight: float = 1.0
    vertex_weight: float = 1.0
    batch_size: int = 16
    steps: int = 1300
    lr: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 5e-4
    schedule: Literal["steps", "cosine"] = "cosine"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.size < 32 or self.size % 32:
            raise ValueError(f"size must be a positive multiple of 32, got {self.size}")
        if self.width < 4 or self.width % 4:
            raise ValueError(f"width must be a positive multiple of 4, got {self.width}")
        counts = {len(level) for level in self.priors}
        if len(self.priors) != len(STRIDES) or len(counts) != 1 or counts == {0}:
            raise ValueError(f"priors are equally many sides at three levels, got {self.priors}")
        if self.vertices < 0 or self.code < 1:
            raise ValueError("vertices must not be negative and code must be positive")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: batch statistics need two pictures")
        if self.steps < 1 or self.lr <= 0:
            raise ValueError("steps and lr must be positive")


def paper() -> Config:
    """Return the MobileNet as its authors trained it: 640², 250 epochs of WIDER FACE."""
    return Config(
        backbone="mobilenet", width=64, priors=_PAPER_PRIORS, size=640, least_negatives=0,
        batch_size=32, steps=100_000, lr=1e-3, betas=(0.9, 0.999), schedule="steps",
    )  # fmt: skip


def resnet50() -> Config:
    """Return the ResNet-50 as its authors trained it: 840² (here 832²), 100 epochs."""
    return Config(
        backbone="resnet50", width=256, priors=_PAPER_PRIORS, size=832, least_negatives=0,
        batch_size=24, steps=53_000, lr=1e-3, betas=(0.9, 0.999), schedule="steps",
    )  # fmt: skip


def compact() -> Config:
    """Return the face finder that is bundled."""
    return Config(point_weight=0.4)


def tiny() -> Config:
    """Return a network for tests: seconds on one core, all branches on."""
    return Config(
        width=8, priors=((16,), (32,), (64,)), vertices=POINTS, code=4, size=64, batch_size=4,
        steps=60, lr=5e-3,
    )  # fmt: skip


PRESETS: Final = {"tiny": tiny, "compact": compact, "paper": paper, "resnet50": resnet50}


@plain_dataclass(frozen=True)
class Batch:
    """Pictures of one step with their faces, padded to M rows.

    Attributes:
        image: (N, 3, S, S), 0..255.
        boxes: (N, M, 4); a row of zeros where there is no further face.
        points: (N, M, 5, 2); NaN where they are not known.
        vertices: (N, M, V, 3), the third being depth in pixels; NaN where they are not known.
    """

    image: Tensor
    boxes: Tensor
    points: Tensor
    vertices: Tensor


@plain_dataclass(frozen=True)
class Raw:
    """What the network says of every prior; a head that is off answers with zero columns.

    Attributes:
        scores: (N, A, 2) logits of background and face.
        boxes: (N, A, 4) offsets (`ops.boxes`).
        points: (N, A, 10) offsets.
        codes: (N, A, code) of the surface.
    """

    scores: Tensor
    boxes: Tensor
    points: Tensor
    codes: Tensor

    def of(self, picture: int) -> "Raw":
        """Return the answers for one picture, without the first axis."""
        return Raw(*(getattr(self, each.name)[picture] for each in fields(self)))


# Networks


_BACKBONES: Final[dict[str, type[Lean | MobileNet | ResNet50]]] = {
    "lean": Lean,
    "mobilenet": MobileNet,
    "resnet50": ResNet50,
}


class Pyramid(nn.Module):
    """Top-down features of one width (Lin et al. 2017); the coarsest level is not smoothed."""

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        slope = 0.1 if width <= 64 else 0.0
        self.outputs = nn.ModuleList(conv(c, width, 1, slope=slope) for c in channels)
        self.merges = nn.ModuleList(conv(width, width, slope=slope) for _ in channels[1:])

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return (N, width, H, W) of every level, the finest first."""
        levels = [output(x) for output, x in zip(self.outputs, features, strict=True)]
        for i in reversed(range(len(self.merges))):
            above = F.interpolate(levels[i + 1], levels[i].shape[2:])
            levels[i] = self.merges[i](levels[i] + above)
        return levels


class Context(nn.Module):
    """SSH's context module: half the channels see 3x3, a quarter 5x5 and a quarter 7x7."""

    def __init__(self, width: int):
        super().__init__()
        slope = 0.1 if width <= 64 else 0.0
        self.near = conv(width, width // 2, slope=None)
        self.middle1 = conv(width, width // 4, slope=slope)
        self.middle2 = conv(width // 4, width // 4, slope=None)
        self.far2 = conv(width // 4, width // 4, slope=slope)
        self.far3 = conv(width // 4, width // 4, slope=None)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, width, H, W)."""
        middle = self.middle1(x)
        return F.relu(
            torch.cat([self.near(x), self.middle2(middle), self.far3(self.far2(middle))], 1)
        )


class Detector(nn.Module):
    """Backbone, pyramid, context and heads."""

    def __init__(self, config: Config):
        super().__init__()
        self.body = _BACKBONES[config.backbone]()
        self.pyramid = Pyramid(self.body.channels, config.width)
        self.context = nn.ModuleList(Context(config.width) for _ in STRIDES)
        self._priors = len(config.priors[0])
        self._columns = {
            "scores": 2,
            "boxes": 4,
            "points": 2 * POINTS * config.points,
            "codes": config.code * (config.vertices > 0),
        }
        self.heads = nn.ModuleDict(
            {
                name: nn.ModuleList(nn.Conv2d(config.width, self._priors * n, 1) for _ in STRIDES)
                for name, n in self._columns.items()
                if n
            }
        )

    def forward(self, image: Tensor) -> Raw:
        """Look at pictures (N, 3, H, W), RGB 0..255; any size."""
        x = image.flip(1) - image.new_tensor(_BGR_MEAN)[:, None, None]
        x = x.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        levels = [
            context(level)
            for context, level in zip(self.context, self.pyramid(self.body(x)), strict=True)
        ]
        return Raw(*(self._answers(each.name, levels) for each in fields(Raw)))

    def _answers(self, name: str, levels: list[Tensor]) -> Tensor:
        count, columns = len(levels[0]), self._columns[name]
        if not columns:
            cells = sum(level.shape[2] * level.shape[3] for level in levels)
            return levels[0].new_zeros((count, cells * self._priors, 0))
        heads = self.heads[name].children()
        maps = (head(level) for head, level in zip(heads, levels, strict=True))
        return torch.cat([m.permute(0, 2, 3, 1).reshape(count, -1, columns) for m in maps], 1)


# Priors, matching, losses


@lru_cache(maxsize=8)
def priors(height: int, width: int, sides: tuple[tuple[int, ...], ...]) -> Tensor:
    """Return the priors (A, 4) of a picture: centre and size, level by level, row by row."""
    levels = []
    for stride, squares in zip(STRIDES, sides, strict=True):
        y, x, side = torch.meshgrid(
            (torch.arange(math.ceil(height / stride)) + 0.5) * stride,
            (torch.arange(math.ceil(width / stride)) + 0.5) * stride,
            torch.tensor(squares, dtype=torch.float32),
            indexing="ij",
        )
        levels.append(torch.stack([x, y, side, side], -1).reshape(-1, 4))
    return torch.cat(levels)


def match(truths: Tensor, priors: Tensor, overlap: float, forced: float) -> Tensor:
    """Return for every prior (A,) the number of the face that it learns, -1 for background.

    A face takes every prior that overlaps it by `overlap` and, if that one overlaps it by `forced`,
    its best prior too. As in the authors' code, a face below that still claims its best prior where
    another face has made it a positive one. Faces without extent claim nothing.

    Args:
        truths: (M, 4) boxes.
        priors: (A, 4).
        overlap: least IoU of a prior that learns a face.
        forced: least IoU of the best prior of a face.
    """
    real = ((truths[:, 2:] - truths[:, :2]) > 0).all(1).nonzero()[:, 0]
    if not len(real):
        return torch.full((len(priors),), -1, dtype=torch.long, device=priors.device)
    overlaps = iou(truths[real], to_corners(priors))  # (M, A)
    best_of_face, prior_of_face = overlaps.max(1)
    best, face = overlaps.max(0)
    best[prior_of_face[best_of_face >= forced]] = 2
    for number, prior in enumerate(prior_of_face.tolist()):  # in order: the last claim counts
        face[prior] = number
    taken = (best >= overlap) & (best_of_face >= forced).any()
    return torch.where(taken, real[face], -1)


def score_loss(logits: Tensor, positive: Tensor, ratio: int, least: int) -> Tensor:
    """Return the summed cross-entropy of positive priors and the hardest negatives (OHEM).

    Args:
        logits: (N, A, 2).
        positive: (N, A) bool.
        ratio: negatives per positive of a picture.
        least: negatives per picture at least.
    """
    losses = F.cross_entropy(logits.flatten(0, 1), positive.flatten().long(), reduction="none")
    losses = losses.view_as(positive)
    with torch.no_grad():
        rank = losses.masked_fill(positive, 0).argsort(1, descending=True).argsort(1)
        wanted = (ratio * positive.sum(1, keepdim=True)).clamp(least, positive.shape[1] - 1)
        counted = positive | (rank < wanted)
    return (losses * counted).sum()


def mesh_loss(placed: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean L1 distance of vertices plus that of the lengths of the mesh's edges.

    Both are (P, V, 3); 0 where P is.
    """
    near = (placed - wanted).abs().sum(-1).sum() / max(1, wanted[..., 0].numel())
    if wanted.shape[1] != len(face_mesh().mirror):
        return near
    a, b = torch.from_numpy(face_mesh().edges).to(placed.device).T
    # The root has no slope where two vertices fall together.
    long = [((v[:, a] - v[:, b]).square().sum(-1) + 1e-8).sqrt() for v in (placed, wanted)]
    return near + (long[0] - long[1]).abs().sum() / max(1, long[0].numel())


class RetinaFace:
    """The system: the detector and, with a dense branch, the map from codes to vertices."""

    def __init__(self, config: Config):
        self.config = config
        self.networks = nn.ModuleDict({"detector": Detector(config)})
        if config.vertices:
            self.networks["surface"] = nn.Linear(config.code, 3 * config.vertices)
        names = tuple(self.networks)
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "detector": OptimizerSpec(
                names, config.lr, config.betas, config.weight_decay, self._schedule
            )
        }
        self.averaged = names
        self.batch_size = config.batch_size
        self.steps = config.steps
        self.score: tuple[str, Literal["max", "min"]] = ("ap", "max")

    def _schedule(self, done: float) -> float:
        if self.config.schedule == "steps":  # epochs 190 and 220 of 250
            return 1.0 if done < 0.76 else 0.1 if done < 0.88 else 0.01
        return min(1.0, (done + 1e-3) / 0.03) * 0.5 * (1 + math.cos(math.pi * done))

    def collate(self, samples: Sequence[Crowd]) -> Batch:
        """Stack pictures; pad their faces to equal number."""
        image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        most = max(len(s.boxes) for s in samples)

        def padded(name: str, *shape: int) -> Tensor:
            rows = np.zeros((len(samples), most, *shape), np.float32)
            for row, sample in zip(rows, samples, strict=True):
                row[: len(sample.boxes)] = getattr(sample, name)
            return torch.from_numpy(rows)

        return Batch(
            image.contiguous().float(),
            padded("boxes", 4),
            padded("points", POINTS, 2),
            padded("vertices", self.config.vertices, 3),
        )

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Step once on the sum of all heads' losses."""
        terms = self.losses(self.networks["detector"](batch.image), batch)
        update("detector", terms)
        return terms

    def losses(self, raw: Raw, batch: Batch) -> Terms:
        """Return the weighted losses of all heads; finite, and zero where nothing is to learn."""
        c = self.config
        grid = priors(*batch.image.shape[2:], c.priors).to(batch.image.device)
        face = torch.stack([match(boxes, grid, c.overlap, c.forced) for boxes in batch.boxes])
        n, a = (face >= 0).nonzero(as_tuple=True)  # pictures and priors of the P positives
        m = face[n, a]
        count = max(1, len(n))
        own = grid[a]
        wanted = encode(batch.boxes[n, m], own)
        terms = {
            "score": score_loss(raw.scores, face >= 0, c.negatives, c.least_negatives) / count,
            "box": c.box_weight
            * F.smooth_l1_loss(raw.boxes[n, a], wanted, reduction="sum")
            / count,
        }
        if c.points:
            known = batch.points[n, m].isfinite().all(-1).all(-1)
            wanted = encode_points(batch.points[n, m], own)[known].flatten(1)
            loss = F.smooth_l1_loss(raw.points[n, a][known], wanted, reduction="sum")
            terms["points"] = c.point_weight * loss / max(1, len(wanted))
        if c.vertices:
            known = batch.vertices[n, m].isfinite().all(-1).all(-1)
            wanted = batch.vertices[n, m][known]
            own = own[known]
            # As the points: tenths of the prior. Depth counts from the face's own mean.
            flat = encode_points(wanted[..., :2], own)
            deep = wanted[..., 2:] - wanted[..., 2:].mean(1, keepdim=True)
            wanted = torch.cat([flat, deep / (0.1 * own[:, None, 2:3])], -1)
            placed = self.networks["surface"](raw.codes[n, a][known]).float()
            terms["vertices"] = c.vertex_weight * mesh_loss(placed.view_as(wanted), wanted)
        return terms

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return COCO's AP, and the errors of points and vertices in shares of the eye distance.

        An error is 1 if nothing is found; that of vertices is left out where none are known.
        """
        truths, answers, errors, away, told = [], [], [], [], False
        with torch.no_grad():
            for batch in batches:
                for found, boxes, points, vertices in zip(
                    self._find(batch.image, 0.02),
                    _np(batch.boxes),
                    _np(batch.points),
                    _np(batch.vertices),
                    strict=True,
                ):
                    real = (boxes[:, 2:] > boxes[:, :2]).all(1)
                    truths.append(boxes[real])
                    answers.append(found.boxes)
                    apart = np.hypot(*(points[real, 1] - points[real, 0]).T)
                    about = found.boxes, boxes[real], apart
                    errors += errors_of_found(*about, found.points, points[real])
                    away += errors_of_found(*about, found.vertices, vertices[real])
                    told |= bool(np.isfinite(vertices[real]).all((1, 2)).any())
        scores = average_precision(truths, answers)
        scores["nme"] = float(np.mean(errors)) if errors else 1.0
        if self.config.vertices and told:
            scores["vertex_nme"] = float(np.mean(away)) if away else 1.0
        return scores

    def samples(self, batch: Batch) -> Tensor:
        """Return rows of truth and answer, drawn."""
        with torch.no_grad():
            answers = self._find(batch.image, 0.5)
        rows = []
        for image, boxes, points, found in zip(
            _np(batch.image), _np(batch.boxes), _np(batch.points), answers, strict=True
        ):
            picture = image.transpose(1, 2, 0).clip(0, 255).astype(np.uint8)
            drawn = (
                _drawn(picture, boxes, points),
                _drawn(picture, found.boxes.xyxy, found.points),
            )
            rows.append(np.stack(drawn))
        return torch.from_numpy(np.stack(rows)).permute(0, 1, 4, 2, 3).float() / 255

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing beyond the networks."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take back."""

    def predict(self, image: NDArray[np.uint8], *, threshold: float = 0.5) -> "Found":
        """Return the faces of a picture (H, W, 3) uint8 RGB, as it is: nothing is resized.

        Faces between 12 and about 150 pixels are seen; larger and smaller ones need a picture of
        another size.

        Args:
            image: the picture.
            threshold: least score of a face.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
        networks = self.networks
        was_training = networks.training
        networks.eval()
        place = next(networks.parameters()).device
        x = torch.tensor(image, device=place).permute(2, 0, 1)[None].float()
        with torch.inference_mode():
            (found,) = self._find(x, threshold)
        networks.train(was_training)
        return found

    def _find(self, image: Tensor, threshold: float) -> list["Found"]:
        raw = self.networks["detector"](image)
        grid = priors(*image.shape[2:], self.config.priors).to(image.device)
        surface = self.networks["surface"] if self.config.vertices else None
        return [found_faces(raw.of(n), grid, threshold, surface) for n in range(len(image))]


@plain_dataclass(frozen=True)
class Found:
    """The faces of one picture, the surest first.

    Attributes:
        boxes: F boxes with scores.
        points: (F, 5, 2) float32: the eye on the picture's left, the other eye, the nose, the
            mouth's corner on the left, the other corner; (F, 0, 2) without that head.
        vertices: (F, V, 3) float32, the third being depth in pixels about the face's middle.
    """

    boxes: Boxes
    points: NDArray[np.float32]
    vertices: NDArray[np.float32]


def found_faces(
    raw: Raw,
    grid: Tensor,
    threshold: float = 0.02,
    surface: nn.Module | None = None,
    overlap: float = 0.4,
    most: tuple[int, int] = (5000, 750),
) -> Found:
    """Decode what the network says of one picture.

    Args:
        raw: without its first axis.
        grid: (A, 4) the priors.
        threshold: least score.
        surface: the map from codes to vertices, or None.
        overlap: largest IoU of two faces.
        most: how many enter the suppression, and how many leave it at most.
    """
    scores = raw.scores.softmax(-1)[:, 1]
    sure = (scores > threshold).nonzero()[:, 0]
    kept = sure[scores[sure].argsort(descending=True, stable=True)][: most[0]]
    boxes = _np(decode(raw.boxes[kept], grid[kept]))
    stay = nms(boxes, _np(scores[kept]), overlap, pixel=1.0)[: most[1]]
    kept = kept[torch.from_numpy(stay).to(kept.device)]
    own = grid[kept]
    points = decode_points(raw.points[kept].view(len(kept), raw.points.shape[-1] // 2, 2), own)
    vertices = own.new_zeros((len(kept), 0, 3))
    if surface is not None:
        placed = surface(raw.codes[kept]).float()
        placed = placed.view(len(kept), placed.shape[-1] // 3, 3)
        flat = decode_points(placed[..., :2], own)
        vertices = torch.cat([flat, placed[..., 2:] * 0.1 * own[:, None, 2:3]], -1)
    return Found(Boxes(boxes[stay], _np(scores[kept])), _np(points), _np(vertices))


def open_data(spec: str, split: Split, config: Config) -> Dataset[Crowd]:
    """Open portraits (see `data/crowds.py`) to be put together into pictures of many faces."""
    return open_crowds(spec, split, config.size, config.vertices)


def _np(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.cpu().numpy()
    return array


def _drawn(picture: NDArray[np.uint8], boxes: Any, points: Any) -> NDArray[np.uint8]:
    canvas = picture.copy()
    for box, five in zip(boxes, points, strict=True):
        left, top, right, bottom = (round(float(v)) for v in box)
        cv2.rectangle(canvas, (left, top), (right, bottom), (80, 255, 120), 1, cv2.LINE_AA)
        for x, y in five[np.isfinite(five).all(-1)]:
            cv2.circle(canvas, (round(float(x)), round(float(y))), 1, (255, 220, 60), -1)
    return canvas
