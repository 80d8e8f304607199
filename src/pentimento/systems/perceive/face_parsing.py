"""Face parsing: which of 19 parts every pixel of an aligned face belongs to.

Networks: the U-Net of CelebAMask-HQ's face parser (Lee et al., MaskGAN, CVPR 2020; filters 16…256),
BiSeNet with a ResNet-18 (Yu et al., ECCV 2018, in the face version of zllrunning), and `Compact`, a
residual encoder with a light top-down decoder, meant to run beside an editor: 2.7 M parameters,
2.9 GFLOP at 256².

Differs: classes are in CelebAMask-HQ order in every network; `compat/face_parsing.py` reorders
    BiSeNet's official last layers.
Differs: BiSeNet trains with Adam, its authors use SGD (1e-2, momentum 0.9); the schedule is theirs.
Differs: pixels without a truth never count. The U-Net's authors have none.

Alphabet: N faces, K=19 classes, H, W, S sides in pixels. Images are RGB in [-1, 1].

    pentimento train face_parsing --data world --preset compact --out runs/parser
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

from pentimento.data.augment import augment, mirror_table
from pentimento.data.faces import Faces, FaceSample, open_faces
from pentimento.engine.system import Dataset, OptimizerSpec, Split, Terms, Update
from pentimento.labels import CELEBAMASK19, IGNORE
from pentimento.metrics.segmentation import Confusion
from pentimento.nn.pointwise import PointwiseConv
from pentimento.structures import LabelMap
from pentimento.systems.frozen_parser import FrozenParser

CLASSES: Final = len(CELEBAMASK19)
_TTA: Final = (0, 32, 64)  # px by which the sides of test-time augmentation exceed `size`


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Config:
    """What is built and how it is trained.

    Attributes:
        network: architecture.
        size: side of training and inference crops in pixels; a multiple of 32.
        widths: channels at strides 2, 4, 8, 16 and 32 of `compact`; at strides 1…16 of `unet`;
            BiSeNet's are fixed and this is not read.
        loss: cross-entropy over all pixels, or over the hard ones (OHEM).
        dice: weight of the soft Dice loss, which counts small parts as much as large ones; 0 = off.
        class_weights: weight of each class in the cross-entropy, or None for ones.
        teacher: a parser whose answers are learnt beside the truth (distillation): `bundled`, the
            folder of a face-parsing model, or `none`.
        teacher_weight: of its answers; the truth's cross-entropy has 1.
        temperature: by which the logits of both are divided.
        augmented: whether training faces are varied (`data/augment.py`).
        batch_size: faces per step and process.
        steps: length of a full run.
        lr: Adam's learning rate.
        betas: Adam's running-average coefficients.
        weight_decay: decoupled weight decay.
        schedule: of the learning rate: none, BiSeNet's polynomial, or cosine after a warm-up.
    """

    network: Literal["unet", "bisenet", "compact"] = "compact"
    size: int = 256
    widths: tuple[int, ...] = (24, 48, 96, 160, 192)
    loss: Literal["cross_entropy", "ohem"] = "cross_entropy"
    dice: float = 0.5
    class_weights: tuple[float, ...] | None = None
    teacher: str = "none"
    teacher_weight: float = 0.1
    temperature: float = 2.0
    augmented: bool = True
    batch_size: int = 16
    steps: int = 20_000
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    schedule: Literal["constant", "poly", "cosine"] = "cosine"

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        if self.size < 32 or self.size % 32:
            raise ValueError(f"size must be a positive multiple of 32, got {self.size}")
        if len(self.widths) != 5 or min(self.widths) < 1:
            raise ValueError(f"widths are five positive numbers, got {self.widths}")
        if self.class_weights is not None and len(self.class_weights) != CLASSES:
            raise ValueError(f"class_weights must be {CLASSES} numbers, got {self.class_weights}")
        if self.batch_size < 2:
            raise ValueError("batch_size must be at least 2: batch statistics need two faces")
        if self.steps < 1 or self.lr <= 0 or self.dice < 0:
            raise ValueError("steps and lr must be positive, dice must not be negative")
        if self.teacher_weight < 0 or self.temperature <= 0:
            raise ValueError("teacher_weight must not be negative, temperature must be positive")


def paper() -> Config:
    """Return the U-Net as its authors trained it: 512², unweighted cross-entropy, no variation."""
    return Config(
        network="unet", size=512, widths=(16, 32, 64, 128, 256), dice=0.0, augmented=False,
        batch_size=8, steps=300_000, lr=2e-4, betas=(0.5, 0.999), weight_decay=0.0,
        schedule="constant",
    )  # fmt: skip


def bisenet() -> Config:
    """Return BiSeNet with OHEM on three outputs."""
    return Config(
        network="bisenet", size=448, loss="ohem", dice=0.0, batch_size=16, steps=80_000, lr=5e-4,
        betas=(0.9, 0.999), weight_decay=5e-4, schedule="poly",
    )  # fmt: skip


def compact() -> Config:
    """Return the parser that is bundled."""
    return Config()


def tiny() -> Config:
    """Return a network for tests: seconds on one core."""
    return Config(size=64, widths=(8, 12, 16, 16, 16), batch_size=4, steps=60, lr=5e-3)


PRESETS: Final = {"tiny": tiny, "compact": compact, "paper": paper, "bisenet": bisenet}


@plain_dataclass(frozen=True)
class Batch:
    """Faces of one step.

    Attributes:
        image: (N, 3, S, S) in [-1, 1].
        labels: (N, S, S) int64, `IGNORE` where unknown.
    """

    image: Tensor
    labels: Tensor


# Networks. Each maps (N, 3, H, W) to logits (N, K, H, W); the first is the answer, any further
# ones are auxiliary outputs for training.


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU; no bias, since the norm has one."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """The U-Net's unit; its convolutions have biases."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """The face parser of CelebAMask-HQ; H and W are multiples of 16."""

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 128, 256), classes: int = CLASSES):
        super().__init__()
        pairs = list(zip((3, *widths), widths, strict=False))
        self.encoders = nn.ModuleList(_double_conv(a, b) for a, b in pairs)
        ups = [(b, a) for a, b in reversed(pairs[1:])]
        self.ups = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, 2) for a, b in ups)
        self.decoders = nn.ModuleList(_double_conv(2 * b, b) for _, b in ups)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits."""
        skips: list[Tensor] = []
        for encoder in self.encoders:
            x = encoder(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips[:-1]), strict=True):
            x = decoder(torch.cat([skip, up(x)], 1))
        return (self.head(x),)


class Residual(nn.Module):
    """ResNet's basic block."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = (
            None
            if (inputs, stride) == (outputs, 1)
            else nn.Sequential(PointwiseConv(inputs, outputs, stride), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + F(x))."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """The backbone: features at strides 8, 16 and 32 with 128, 256 and 512 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Residual(64, 64), Residual(64, 64))
        self.layer2 = nn.Sequential(Residual(64, 128, 2), Residual(128, 128))
        self.layer3 = nn.Sequential(Residual(128, 256, 2), Residual(256, 256))
        self.layer4 = nn.Sequential(Residual(256, 512, 2), Residual(512, 512))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the features at strides 8, 16 and 32."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        stride8 = self.layer2(self.layer1(x))
        stride16 = self.layer3(stride8)
        return stride8, stride16, self.layer4(stride16)


class AttentionRefinement(nn.Module):
    """BiSeNet's ARM: features weighed by a sigmoid of their own mean."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = _conv(inputs, outputs)
        self.attention = nn.Sequential(
            nn.Conv2d(outputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outputs, H, W)."""
        x = self.conv(x)
        return x * torch.sigmoid(self.attention(x.mean((2, 3), keepdim=True)))


class FeatureFusion(nn.Module):
    """BiSeNet's FFM: joins detail and context, then adds what its attention picks."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = _conv(channels, channels, 1)
        self.squeeze = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.excite = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """Return (N, channels, H, W)."""
        x = self.conv(torch.cat([detail, context], 1))
        weight = self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x + x * torch.sigmoid(weight)


class BiSeNet(nn.Module):
    """BiSeNet for faces: the backbone's stride 8 serves as spatial path; three outputs.

    Its input is normalised with ImageNet's mean and deviation, unlike the others'.
    """

    def __init__(self, classes: int = CLASSES):
        super().__init__()
        self.backbone = ResNet18()
        self.arm16 = AttentionRefinement(256, 128)
        self.arm32 = AttentionRefinement(512, 128)
        self.head16 = _conv(128, 128)
        self.head32 = _conv(128, 128)
        self.average = _conv(512, 128, 1)
        self.fusion = FeatureFusion(256)
        self.out = self._output(256, 256, classes)
        self.out16 = self._output(128, 64, classes)
        self.out32 = self._output(128, 64, classes)

    @staticmethod
    def _output(inputs: int, middle: int, classes: int) -> nn.Sequential:
        return nn.Sequential(_conv(inputs, middle), nn.Conv2d(middle, classes, 1, bias=False))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits and the two auxiliary ones."""
        stride8, stride16, stride32 = self.backbone(x)
        coarse = self.arm32(stride32) + self.average(stride32.mean((2, 3), keepdim=True))
        coarse = self.head32(F.interpolate(coarse, stride16.shape[2:]))
        context = self.arm16(stride16) + coarse
        context = self.head16(F.interpolate(context, stride8.shape[2:]))
        outputs = (
            self.out(self.fusion(stride8, context)), self.out16(context), self.out32(coarse),
        )  # fmt: skip
        return tuple(
            F.interpolate(y, x.shape[2:], mode="bilinear", align_corners=True) for y in outputs
        )


class Compact(nn.Module):
    """A narrow residual encoder to stride 32 with global context, and a top-down decoder.

    Strides 8 and 16 get most of the arithmetic, where a face's parts are told apart; stride 2 only
    sharpens outlines, and answers for its four pixels each (Shi et al. 2016, sub-pixel
    convolution): thin things, a necklace or a lid, are lost in an answer that is enlarged.
    """

    def __init__(self, widths: Sequence[int], classes: int = CLASSES):
        super().__init__()
        w2, w4, w8, w16, w32 = widths
        top = 64 * w8 // 96
        self.stem = _conv(3, w2, 3, 2)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(_conv(w2, w4, 3, 2), Residual(w4, w4)),
                nn.Sequential(_conv(w4, w8, 3, 2), Residual(w8, w8), Residual(w8, w8)),
                nn.Sequential(_conv(w8, w16, 3, 2), Residual(w16, w16), Residual(w16, w16)),
                nn.Sequential(_conv(w16, w32, 3, 2), Residual(w32, w32)),
            ]
        )
        self.context = nn.Conv2d(w32, top, 1)
        self.laterals = nn.ModuleList(nn.Conv2d(w, top, 1) for w in (w32, w16, w8, w4))
        self.smooth = nn.ModuleList(_conv(top, top) for _ in range(4))
        self.fine = _conv(top + w2, top // 2)
        self.head = nn.Conv2d(top // 2, 4 * classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the logits."""
        stride2 = x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        y = self.context(x.mean((2, 3), keepdim=True))
        for feature, lateral, smooth in zip(
            reversed(features), self.laterals, self.smooth, strict=True
        ):
            side = lateral(feature)
            y = smooth(side + F.interpolate(y, side.shape[2:]))
        y = F.interpolate(y, stride2.shape[2:], mode="bilinear")
        y = self.head(self.fine(torch.cat([y, stride2], 1)))
        return (F.pixel_shuffle(y, 2),)


def build(config: Config) -> nn.Module:
    """Return the network of a configuration."""
    if config.network == "unet":
        return UNet(config.widths)
    if config.network == "bisenet":
        return BiSeNet()
    return Compact(config.widths)


# Losses


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Return the mean over known pixels; 0, with gradients, where none is known."""
    total = F.cross_entropy(logits, labels, weights, ignore_index=IGNORE, reduction="sum")
    known = labels != IGNORE
    norm = known.sum() if weights is None else weights[labels[known]].sum()
    return total / norm.clamp(min=1.0)


def ohem(logits: Tensor, labels: Tensor, keep: int, threshold: float = 0.7) -> Tensor:
    """Return the mean loss of hard pixels (BiSeNet's online hard example mining).

    Hard are pixels whose true class has a probability below `threshold`; where fewer than `keep`
    are, the `keep` hardest are taken. Ignored pixels take part in that with loss 0.
    """
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none").flatten()
    keep = min(keep, losses.numel() - 1)
    losses = losses.sort(descending=True).values
    limit = -math.log(threshold)
    return losses[losses > limit].mean() if losses[keep] > limit else losses[:keep].mean()


def dice(logits: Tensor, labels: Tensor) -> Tensor:
    """Return 1 - soft Dice, averaged over the classes that occur in the batch (Milletari 2016)."""
    known = labels != IGNORE
    share = logits.softmax(1) * known[:, None]
    # Gathering the true class's share costs a third of multiplying with a one-hot truth.
    hit = share.gather(1, labels.where(known, 0)[:, None])[:, 0][known]
    overlap = logits.new_zeros(logits.shape[1]).index_add(0, labels[known], hit)
    truth = labels[known].bincount(minlength=logits.shape[1])
    present = truth > 0
    score = (2 * overlap + 1) / (share.sum((0, 2, 3)) + truth + 1)
    return ((1 - score) * present).sum() / present.sum().clamp(min=1)


def imitation(logits: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Return T² KL(teacher ‖ student) of softened answers, a mean over pixels (Hinton 2015)."""
    own, theirs = ((x / temperature).log_softmax(1) for x in (logits, wanted))
    apart = F.kl_div(own, theirs, reduction="none", log_target=True)
    return temperature**2 * apart.sum(1).mean()


# Data


class _Varied:
    """Faces, augmented with the generator that comes with each draw."""

    def __init__(self, faces: Faces):
        self._faces = faces

    def __len__(self) -> int:
        return len(self._faces)

    def sample(self, index: int, rng: np.random.Generator) -> FaceSample:
        return augment(self._faces.sample(index, rng), rng)


def open_data(spec: str, split: Split, config: Config) -> Dataset[FaceSample]:
    """Open faces (see `data/faces.py`), varied for training if the configuration says so."""
    faces = open_faces(spec, split, config.size)
    return _Varied(faces) if split == "train" and config.augmented else faces


class FaceParsing:
    """The system: one network, one optimizer."""

    def __init__(self, config: Config):
        self.config = config
        self.networks = nn.ModuleDict({"parser": build(config)})
        self.optimizers: Mapping[str, OptimizerSpec] = {
            "parser": OptimizerSpec(
                ("parser",), config.lr, config.betas, config.weight_decay, self._schedule
            )
        }
        self.averaged: tuple[str, ...] = () if config.schedule == "constant" else ("parser",)
        self.batch_size = config.batch_size
        self.steps = config.steps
        self.score: tuple[str, Literal["max", "min"]] = ("miou", "max")
        self._teacher: FrozenParser | None = None

    def _schedule(self, done: float) -> float:
        if self.config.schedule == "constant":
            return 1.0
        if self.config.schedule == "poly":
            return float((1 - done) ** 0.9)
        return min(1.0, (done + 1e-3) / 0.03) * 0.5 * (1 + math.cos(math.pi * done))

    def collate(self, samples: Sequence[FaceSample]) -> Batch:
        """Stack samples."""
        image = torch.from_numpy(np.stack([s.image for s in samples])).permute(0, 3, 1, 2)
        labels = torch.from_numpy(np.stack([s.labels for s in samples]))
        return Batch(image.contiguous().float() / 127.5 - 1, labels.long())

    def train_step(self, batch: Batch, update: Update) -> Terms:
        """Step once on the losses of all outputs, and the teacher's for the first, the answer."""
        c = self.config
        weights = None if c.class_weights is None else batch.image.new_tensor(list(c.class_weights))
        outputs = self._outputs(batch.image)
        terms = dict.fromkeys(("ce", "dice"), batch.image.new_zeros(()))
        for logits in outputs:
            if c.loss == "ohem":  # the authors keep a sixteenth of the pixels
                terms["ce"] = terms["ce"] + ohem(logits, batch.labels, batch.labels.numel() // 16)
            else:
                terms["ce"] = terms["ce"] + cross_entropy(logits, batch.labels, weights)
            if c.dice:
                terms["dice"] = terms["dice"] + c.dice * dice(logits, batch.labels)
        if c.teacher != "none":
            # Loaded by the first step: a trained model does without it.
            self._teacher = self._teacher or FrozenParser(c.teacher, CELEBAMASK19)
            with torch.no_grad():
                wanted = self._teacher.logits(batch.image)
            terms["teacher"] = c.teacher_weight * imitation(outputs[0], wanted, c.temperature)
        update("parser", terms)
        return terms

    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Return mean IoU over the classes present and pixel accuracy."""
        confusion = Confusion(CELEBAMASK19)
        with torch.no_grad():
            for batch in batches:
                predicted = self.logits(batch.image).argmax(1)
                confusion.add(_values(batch.labels), _values(predicted))
        return {"miou": confusion.mean_iou(), "pixel_accuracy": confusion.pixel_accuracy()}

    def samples(self, batch: Batch) -> Tensor:
        """Return rows of face, truth and prediction."""
        with torch.no_grad():
            predicted = self.logits(batch.image).argmax(1)
        palette = batch.image.new_ones((256, 3))
        palette[:CLASSES] = palette.new_tensor(CELEBAMASK19.colours) / 255
        maps = [palette[labels].permute(0, 3, 1, 2) for labels in (batch.labels, predicted)]
        return torch.stack([(batch.image + 1) / 2, *maps], 1)

    def extra_state(self) -> dict[str, Tensor]:
        """Nothing beyond the network."""
        return {}

    def load_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take back."""

    @property
    def size(self) -> int:
        """Side of the crop at which it looks best, in pixels."""
        return self.config.size

    def logits(self, image: Tensor) -> Tensor:
        """Return (N, K, H, W) logits of (N, 3, H, W) images in [-1, 1]; differentiable.

        H and W are multiples of 32, best near `config.size`.
        """
        return self._outputs(image)[0]

    def _outputs(self, image: Tensor) -> tuple[Tensor, ...]:
        if self.config.network == "bisenet":
            mean = image.new_tensor([0.485, 0.456, 0.406])[:, None, None]
            deviation = image.new_tensor([0.229, 0.224, 0.225])[:, None, None]
            image = ((image + 1) / 2 - mean) / deviation
        outputs: tuple[Tensor, ...] = self.networks["parser"](image)
        return outputs

    def predict(self, image: NDArray[np.uint8], *, tta: bool = False) -> LabelMap:
        """Return the most probable class of every pixel.

        Args:
            image: (S, S, 3) uint8 RGB, an aligned face of any size.
            tta: test-time augmentation: the mean answer for the face and its mirror image at three
                sizes; better, and eight times as slow.
        """
        return LabelMap(self.probabilities(image, tta=tta).argmax(0).astype(np.uint8))

    def probabilities(self, image: NDArray[np.uint8], *, tta: bool = False) -> NDArray[Any]:
        """Return (K, S, S) float32 probabilities of an aligned face; arguments as in `predict`.

        The face is resized to the configured size; logits are interpolated back.
        """
        if image.ndim != 3 or image.shape[0] != image.shape[1] or image.shape[2] != 3:
            raise ValueError(f"expected a square RGB crop (S, S, 3), got {image.shape}")
        if image.dtype != np.uint8:
            raise ValueError(f"expected uint8 values 0..255, got {image.dtype}")
        network = self.networks["parser"]
        x = torch.tensor(image, device=next(network.parameters()).device)
        x = x.permute(2, 0, 1)[None].float() / 127.5 - 1
        swap = torch.from_numpy(mirror_table(CELEBAMASK19)[:CLASSES].astype(np.int64))
        was_training = network.training
        network.eval()
        answers = []
        with torch.inference_mode():
            for larger in _TTA if tta else (0,):
                inside = (self.config.size + larger,) * 2
                seen = F.interpolate(x, inside, mode="bilinear", antialias=True)
                logits = self.logits(seen)
                if tta:
                    logits = (logits + self.logits(seen.flip(3)).flip(3)[:, swap]) / 2
                logits = F.interpolate(logits, image.shape[:2], mode="bilinear")
                answers.append(logits.softmax(1)[0].float())
            shares: NDArray[Any] = torch.stack(answers).mean(0).cpu().numpy()
        network.train(was_training)
        return shares


def _values(labels: Tensor) -> NDArray[np.uint8]:
    return labels.cpu().numpy().astype(np.uint8)
