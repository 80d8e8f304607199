"""What R-CNNs are made of, as detectron2 has it: ResNet-50, FPN, RPN, box head.

ResNet (He et al. 2016) with the stride in the first 1x1 convolution of a block, the feature pyramid
of Lin et al. 2017 with a fifth level, and Faster R-CNN's proposals (Ren et al. 2015). Pictures are
BGR without their mean, not scaled. Module names are those of the official checkpoints. Pretrained
networks have frozen batch norms; one that learns from nothing has group norms (He et al.,
Rethinking ImageNet Pre-training, ICCV 2019), which need no large batch.

Alphabet: N pictures, H, W picture size, R boxes, A anchors per place.
"""

from collections.abc import Sequence
from typing import Final, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.ops.nms import nms
from pentimento.ops.roi import anchors, clip_boxes, levels_of, roi_align, shift_boxes

STRIDES: Final = (4, 8, 16, 32, 64)
SIDES: Final = (32, 64, 128, 256, 512)
"""Roots of the areas of the anchors of each level."""
Norm = Literal["frozen", "group"]
_BGR_MEAN: Final = (103.53, 116.28, 123.675)
_RATIOS: Final = (0.5, 1.0, 2.0)


def prepared(image: Tensor) -> Tensor:
    """Return pictures (N, 3, H, W), BGR 0..255, without the mean and padded to multiples of 32."""
    x = image - image.new_tensor(_BGR_MEAN)[:, None, None]
    height, width = x.shape[2:]
    return F.pad(x, (0, -width % 32, 0, -height % 32))


class FrozenBatchNorm(nn.Module):
    """Batch norm whose statistics and gains are constants."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift (N, C, H, W)."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )


class NormedConv(nn.Conv2d):
    """Convolution without bias, then its norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, norm: Norm):
        super().__init__(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        frozen = norm == "frozen"
        self.norm = FrozenBatchNorm(outputs) if frozen else nn.GroupNorm(outputs // 8, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y: Tensor = self.norm(super().forward(x))
        return y


class Bottleneck(nn.Module):
    """ResNet's block of three convolutions, the stride in the first."""

    def __init__(self, inputs: int, middle: int, stride: int, norm: Norm):
        super().__init__()
        outputs = 4 * middle
        self.shortcut = (
            NormedConv(inputs, outputs, 1, stride, norm=norm) if inputs != outputs else None
        )
        self.conv1 = NormedConv(inputs, middle, 1, stride, norm=norm)
        self.conv2 = NormedConv(middle, middle, 3, norm=norm)
        self.conv3 = NormedConv(middle, outputs, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(x + F(x))."""
        y = self.conv3(F.relu(self.conv2(F.relu(self.conv1(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nn.Module):
    """Features of 4, 8, 16 and 32 times `stem` channels at strides 4, 8, 16 and 32."""

    def __init__(self, blocks: Sequence[int] = (3, 4, 6, 3), stem: int = 64, norm: Norm = "frozen"):
        super().__init__()
        self.stem = nn.ModuleDict({"conv1": NormedConv(3, stem, 7, 2, norm=norm)})
        inputs = stem
        for level, count in enumerate(blocks):
            middle, layers = stem << level, []
            for i in range(count):
                layers.append(Bottleneck(inputs, middle, 2 if level and not i else 1, norm))
                inputs = 4 * middle
            self.add_module(f"res{level + 2}", nn.Sequential(*layers))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of (N, 3, H, W), the finest first."""
        x = F.max_pool2d(F.relu(self.stem["conv1"](x)), 3, 2, 1)
        features = []
        for level in (2, 3, 4, 5):
            x = self.get_submodule(f"res{level}")(x)
            features.append(x)
        return features


class FeaturePyramid(nn.Module):
    """ResNet and its top-down features, `width` channels at strides 4, 8, 16, 32 and 64."""

    def __init__(
        self,
        width: int = 256,
        blocks: Sequence[int] = (3, 4, 6, 3),
        stem: int = 64,
        norm: Norm = "frozen",
    ):
        super().__init__()
        self.bottom_up = ResNet(blocks, stem, norm)
        for level in (2, 3, 4, 5):
            self.add_module(f"fpn_lateral{level}", nn.Conv2d(stem << level, width, 1))
            self.add_module(f"fpn_output{level}", nn.Conv2d(width, width, 3, 1, 1))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features of (N, 3, H, W), sides multiples of 32, the finest first."""
        top: Tensor | None = None
        levels: list[Tensor] = []
        for level, feature in zip((5, 4, 3, 2), reversed(self.bottom_up(x)), strict=True):
            lateral = self.get_submodule(f"fpn_lateral{level}")(feature)
            top = lateral if top is None else lateral + F.interpolate(top, scale_factor=2.0)
            levels.insert(0, self.get_submodule(f"fpn_output{level}")(top))
        return [*levels, F.max_pool2d(levels[-1], 1, 2)]


class ProposalHead(nn.Module):
    """Objectness and offsets of three anchors at every place, the same on all levels."""

    def __init__(self, width: int = 256):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, 1, 1)
        self.objectness_logits = nn.Conv2d(width, len(_RATIOS), 1)
        self.anchor_deltas = nn.Conv2d(width, 4 * len(_RATIOS), 1)

    def forward(self, levels: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return logits (N, A, H, W) and offsets (N, 4A, H, W) of every level."""
        hidden = [F.relu(self.conv(level)) for level in levels]
        return [self.objectness_logits(h) for h in hidden], [self.anchor_deltas(h) for h in hidden]


def level_anchors(levels: Sequence[Tensor], sides: Sequence[float] = SIDES) -> list[Tensor]:
    """Return the anchors (H * W * A, 4) of every level of features (N, C, H, W)."""
    return [
        anchors(level.shape[2], level.shape[3], stride, side, _RATIOS).to(level.device)
        for level, stride, side in zip(levels, STRIDES, sides, strict=True)
    ]


def by_anchor(logits: Sequence[Tensor], deltas: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return logits (N, T) and offsets (N, T, 4) of all levels, in the order of their anchors."""
    flat = [x.permute(0, 2, 3, 1).flatten(1) for x in logits]
    rows = [
        x.reshape(len(x), -1, 4, *x.shape[2:]).permute(0, 3, 4, 1, 2).flatten(1, 3) for x in deltas
    ]  # (N, H·W·A, 4)
    return torch.cat(flat, 1), torch.cat(rows, 1)


def proposals(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    places: Sequence[Tensor],
    size: tuple[int, int],
    *,
    before: int,
    after: int,
    overlap: float = 0.7,
) -> tuple[Tensor, Tensor]:
    """Return the boxes (R, 4) of one picture that may hold something, and their logits (R,).

    Args:
        logits: per level (A, H, W).
        deltas: per level (4A, H, W).
        places: per level anchors (H * W * A, 4).
        size: height and width of the picture without padding; boxes are cut there.
        before: best anchors of a level that enter suppression.
        after: boxes that leave it, all levels together.
        overlap: largest IoU of two proposals of a level.
    """
    boxes, scores = [], []
    for logit, delta, place in zip(logits, deltas, places, strict=True):
        score, best = logit.permute(1, 2, 0).flatten().sort(descending=True, stable=True)
        score, best = score[:before], best[:before]
        offsets = delta.reshape(-1, 4, *delta.shape[1:]).permute(2, 3, 0, 1).reshape(-1, 4)
        found = clip_boxes(shift_boxes(offsets[best], place[best], (1, 1, 1, 1)), *size)
        full = (found[:, 2] > found[:, 0]) & (found[:, 3] > found[:, 1])
        found, score = found[full], score[full]
        kept = torch.from_numpy(nms(found.cpu().numpy(), score.cpu().numpy(), overlap))
        boxes.append(found[kept.to(found.device)])
        scores.append(score[kept.to(found.device)])
    score, order = torch.cat(scores).sort(descending=True, stable=True)
    return torch.cat(boxes)[order[:after]], score[:after]


def box_features(
    levels: Sequence[Tensor], boxes: Sequence[Tensor], canonical: float = 224
) -> Tensor:
    """Return 7x7 features (R, C, 7, 7) of boxes, per picture (R, 4), on the level of their size."""
    every = []
    for n, own in enumerate(boxes):
        level = levels_of(own, 2, 5, canonical)
        pooled = levels[0].new_zeros(len(own), levels[0].shape[1], 7, 7)
        for i, features in enumerate(levels[:4]):
            on = level == i + 2
            if on.any():
                pooled[on] = roi_align(
                    features[n : n + 1], [own[on]], (7, 7), 1 / STRIDES[i], samples=2, aligned=False
                ).to(pooled.dtype)
        every.append(pooled)
    return torch.cat(every)


class BoxHead(nn.Module):
    """Two wide linear layers on 7x7 features."""

    def __init__(self, inputs: int = 256 * 49, width: int = 1024):
        super().__init__()
        self.fc1 = nn.Linear(inputs, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map (R, C, 7, 7) to (R, width)."""
        return F.relu(self.fc2(F.relu(self.fc1(pooled.flatten(1)))))


class BoxPredictor(nn.Module):
    """Logits of the classes, background last, and offsets per class."""

    def __init__(self, classes: int, width: int = 1024):
        super().__init__()
        self.cls_score = nn.Linear(width, classes + 1)
        self.bbox_pred = nn.Linear(width, 4 * classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (R, width) to (R, classes + 1) and (R, 4 * classes)."""
        return self.cls_score(x), self.bbox_pred(x)


def start(network: nn.Module) -> None:
    """Give an R-CNN that learns from nothing its first weights, as detectron2 has them, biases 0.

    Deep heads without norms do not learn from PyTorch's: their signals fade from layer to layer.
    """
    for name, module in network.named_modules():
        if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            continue
        if "rpn_head" in name or "cls_score" in name:
            nn.init.normal_(module.weight, std=0.01)
        elif "bbox_pred" in name:
            nn.init.normal_(module.weight, std=0.001)
        elif "fpn_" in name or isinstance(module, nn.Linear):
            nn.init.kaiming_uniform_(module.weight, a=1)
        else:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
