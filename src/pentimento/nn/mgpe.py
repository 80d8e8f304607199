"""The networks of Mask-Guided Portrait Editing (Gu et al. 2019) as the official code has them.

Users: the portrait system's `paper()` preset, `compat.portrait`, and systems built upon them.
Alphabet: B batch; S picture size; pictures in [-1, 1]; K label classes; Z code length (512).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pentimento.labels import IGNORE, LabelSet
from pentimento.ops.parts import (
    boxes_around,
    centres,
    enlarge,
    mask_of,
    put,
    take,
)  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part of the face with a code of its own; sizes are those of a 256-pixel picture.

    Attributes:
        classes: what belongs to it; names that a label set lacks are passed over.
        shape: (height, width) of its crop, which is never rescaled.
        centre: where (y, x) it is put when the picture does not show it; None: the part's crop is
            the whole picture.
        masked: whether the encoder sees nothing but the part itself.
    """

    classes: tuple[str, ...]
    shape: tuple[int, int] = (256, 256)
    centre: tuple[int, int] | None = None
    masked: bool = True

    def values(self, labels: LabelSet) -> tuple[int, ...]:
        """Return the label values of the part."""
        return labels.values(*(name for name in self.classes if name in labels.classes))


# In the order of the canvas. Official names of the eyes are the other way round.
PARTS: Final = {
    "right_eye": Part(("r_eye",), (32, 48), (116, 96), masked=False),
    "left_eye": Part(("l_eye",), (32, 48), (116, 160), masked=False),
    "skin": Part(("skin", "nose", "l_brow", "r_brow", "l_ear", "r_ear")),
    "hair": Part(("hair",)),
    "mouth": Part(("mouth", "u_lip", "l_lip"), (80, 144), (184, 128)),
}


@dataclass(frozen=True)
class Layout:
    """Where everything is in a batch of pictures.

    Attributes:
        labels: (B, S, S) the label maps that guide the networks: eyes and mouth enlarged.
        boxes: part → (B, 4) integer box of its crop in the picture.
        masks: part → (B, 1, S, S) float, 1 on the part.
    """

    labels: Tensor
    boxes: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]

    @property
    def outside(self) -> Tensor:
        """(B, 1, S, S) float: 1 where no part is."""
        return 1 - torch.stack(list(self.masks.values())).sum(0).clamp(max=1)


def outside(labels: Tensor, names: LabelSet) -> Tensor:
    """Return (B, 1, S, S) float: 1 where label maps (B, S, S) show none of the parts."""
    values = {value for part in PARTS.values() for value in part.values(names)}
    return (~mask_of(labels, sorted(values)))[:, None].float()


def lay_out(labels: Tensor, names: LabelSet, factor: float) -> Layout:
    """Locate the parts in label maps (B, S, S), enlarge eyes and mouth by `factor`."""
    side = labels.shape[-1]
    boxes = {}
    to_enlarge = []
    for name, part in PARTS.items():
        values = part.values(names)
        if part.centre is None:
            boxes[name] = labels.new_tensor([[0, 0, side, side]]).expand(len(labels), -1)
            continue
        y, x = (n * side // 256 for n in part.centre)
        middle = centres(mask_of(labels, values), (y, x))
        boxes[name] = boxes_around(middle, _scaled(part.shape, side))
        to_enlarge.append((values, middle))
    guide = enlarge(labels, to_enlarge, factor)
    masks = {
        name: mask_of(guide, part.values(names))[:, None].float() for name, part in PARTS.items()
    }
    return Layout(guide, boxes, masks)


def _scaled(shape: tuple[int, int], side: int) -> tuple[int, int]:
    return shape[0] * side // 256, shape[1] * side // 256


# The paper's code sets it in encoders and decoders of parts: running averages all but follow the
# last batch (torch counts the share of the *new* value).
_MOMENTUM = 0.9


class PartEncoder(nn.Module):
    """A part's crop → mean and log-variance of its code.

    Args:
        shape: (height, width) of the crop.
        widths: channels of the strided layers; each halves the crop.
        code: Z.
    """

    def __init__(self, shape: tuple[int, int], widths: Sequence[int], code: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(c_in, c_out, 4, 2, 1), nn.BatchNorm2d(c_out, momentum=_MOMENTUM),
                    nn.ReLU(),
                )
                for c_in, c_out in pairwise([3, *widths])
            )
        )  # fmt: skip
        flat = widths[-1] * (shape[0] >> len(widths)) * (shape[1] >> len(widths))
        self.mean = nn.Sequential(nn.Linear(flat, 2 * code), nn.ReLU(), nn.Linear(2 * code, code))
        self.log_variance = nn.Sequential(
            nn.Linear(flat, 2 * code), nn.ReLU(), nn.Linear(2 * code, code)
        )

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, h, w) → mean (B, Z) and log-variance (B, Z)."""
        flat = self.blocks(crop).flatten(1)
        return self.mean(flat), self.log_variance(flat)


class PartDecoder(nn.Module):
    """A part's code → its features, or the part's picture.

    Args:
        shape: (height, width) of the result.
        widths: channels of the coarsest grid and of the up-sampling layers, each of which doubles
            the size.
        code: Z.
        bias: whether the first linear layer has one (the eyes' has none).
        picture: end in a 5 x 5 convolution to RGB and a tanh.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        widths: Sequence[int],
        code: int,
        *,
        bias: bool,
        picture: bool,
    ) -> None:
        super().__init__()
        ups = len(widths) - 1
        self.grid = (widths[0], shape[0] >> ups, shape[1] >> ups)
        self.lift = nn.Linear(code, self.grid[0] * self.grid[1] * self.grid[2], bias=bias)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.ConvTranspose2d(c_in, c_out, 4, 2, 1),
                    nn.BatchNorm2d(c_out, momentum=_MOMENTUM), nn.ReLU(),
                )
                for c_in, c_out in pairwise(widths)
            )
        )  # fmt: skip
        self.paint = nn.Sequential(
            *([nn.ReflectionPad2d(2), nn.Conv2d(widths[-1], 3, 5), nn.Tanh()] if picture else [])
        )

    def forward(self, code: Tensor) -> Tensor:
        """(B, Z) → (B, widths[-1], h, w), or (B, 3, h, w) in [-1, 1] for a picture."""
        return self.paint(self.blocks(self.lift(code).unflatten(1, self.grid)))


def crops(picture: Tensor, layout: Layout) -> dict[str, Tensor]:
    """Return what each encoder sees, part → (B, 3, h, w); masked pixels are 0, mid-grey."""
    seen = {}
    for name, part in PARTS.items():
        shape = _scaled(part.shape, picture.shape[-1])
        masked = picture * layout.masks[name] if part.masked else picture
        seen[name] = masked if part.centre is None else take(masked, layout.boxes[name], shape)
    return seen


def part_masks(layout: Layout) -> dict[str, Tensor]:
    """Return part → (B, 1, h, w): the parts' masks in their crops, 1 everywhere where unmasked."""
    side = layout.labels.shape[-1]
    return {
        name: take(mask, layout.boxes[name], _scaled(PARTS[name].shape, side))
        if PARTS[name].masked
        else mask.new_ones(len(mask), 1, *_scaled(PARTS[name].shape, side))
        for name, mask in layout.masks.items()
    }


def canvas(features: Mapping[str, Tensor], layout: Layout) -> Tensor:
    """Put the parts' features (B, C, h/4, w/4) at their places: (B, 5 C, S/4, S/4)."""
    grid = layout.labels.shape[-1] // 4
    placed = []
    for name, part in PARTS.items():
        feature = features[name]
        if part.centre is not None:
            h, w = feature.shape[-2:]
            middle = layout.boxes[name][:, :2] + layout.boxes[name].new_tensor([2 * h, 2 * w])
            box = boxes_around((middle + 2).div(4, rounding_mode="floor"), (h, w))
            feature = put(feature, box, (grid, grid))
        placed.append(feature)
    return torch.cat(placed, 1)


class PartNetworks(nn.Module):
    """One network per part; `forward` applies each to its own input."""

    def __init__(self, parts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Any]:
        """Part → input becomes part → output."""
        return {name: net(inputs[name]) for name, net in self.parts.items()}


def part_encoders(size: int, width: int, code: int) -> PartNetworks:
    """Return the five encoders: crop → (mean, log-variance)."""
    nets = {}
    for name, part in PARTS.items():
        downs = _levels(part, size)
        widths = [min(width << n, 8 * width) for n in range(downs)]
        nets[name] = PartEncoder(_scaled(part.shape, size), widths, code)
    return PartNetworks(nets)


def part_decoders(size: int, width: int, code: int) -> PartNetworks:
    """Return the five feature decoders: code → (B, 4 width, h/4, w/4)."""
    nets = {}
    for name, part in PARTS.items():
        h, w = _scaled(part.shape, size)
        widths = [8 * width] + [4 * width] * (_levels(part, size) - 2)
        nets[name] = PartDecoder(
            (h // 4, w // 4), widths, code, bias="eye" not in name, picture=False
        )
    return PartNetworks(nets)


def picture_decoders(size: int, width: int, code: int) -> PartNetworks:
    """Return the five decoders of the local reconstruction: code → (B, 3, h, w)."""
    nets = {}
    for name, part in PARTS.items():
        ups = _levels(part, size)
        if part.centre is None:
            widths = [8 * width] * (ups - 2) + [4 * width, 2 * width, width]
        else:
            widths = [8 * width, 4 * width, 2 * width, width, width][: ups + 1]
        nets[name] = PartDecoder(
            _scaled(part.shape, size), widths, code, bias="eye" not in name, picture=True
        )
    return PartNetworks(nets)


def _levels(part: Part, size: int) -> int:
    """Halvings from the crop to the coarsest grid: 7 for whole pictures of 256, 4 for the rest."""
    return (7 if part.centre is None else 4) - (256 // size).bit_length() + 1


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Generator(nn.Module):
    """The mask-guided generator with background fusing: E_m, G_m, E_b and G_b of the paper.

    Args:
        classes: K of the label maps.
        parts: channels of all part canvases together.
        width: channels at full resolution.
        blocks: residual blocks at a quarter of the resolution.
    """

    def __init__(self, classes: int, parts: int, width: int = 64, blocks: int = 9) -> None:
        super().__init__()
        c1, c2, c4 = width, 2 * width, 4 * width
        self.label_encoder = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(classes, c1, 7), nn.BatchNorm2d(c1), nn.ReLU(),
            nn.Conv2d(c1, c2, 3, 2, 1), nn.BatchNorm2d(c2), nn.ReLU(),
            nn.Conv2d(c2, c4, 3, 2, 1), nn.BatchNorm2d(c4), nn.ReLU(),
        )  # fmt: skip
        self.painter = nn.Sequential(
            nn.Conv2d(c4 + parts, c4, 1),
            *(_Residual(c4) for _ in range(blocks)),
            nn.ConvTranspose2d(c4, c2, 4, 2, 1), nn.BatchNorm2d(c2), nn.ReLU(),
            nn.ConvTranspose2d(c2, c1, 4, 2, 1), nn.BatchNorm2d(c1), nn.ReLU(),
        )  # fmt: skip
        self.background_encoder = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(3, c1, 7), nn.BatchNorm2d(c1), nn.ReLU()
        )
        self.fuse = nn.Sequential(
            nn.Conv2d(2 * c1, c1, 1), nn.ReflectionPad2d(3), nn.Conv2d(c1, 3, 7), nn.Tanh()
        )

    def forward(
        self, onehot: Tensor, canvas: Tensor, background: Tensor, outside: Tensor
    ) -> Tensor:
        """Paint a portrait.

        Args:
            onehot: (B, K, S, S) the target's label map.
            canvas: (B, parts, S/4, S/4) part features at their places in the target.
            background: (B, 3, S, S) the target picture, whole.
            outside: (B, 1, S, S) 1 where the target picture's own pixels are wanted. It gates the
                *encoded* background, so that three pixels of the foreground's rim leak, as in the
                official code.

        Returns:
            (B, 3, S, S) in [-1, 1].
        """
        face = self.painter(torch.cat([self.label_encoder(onehot), canvas], 1))
        return self.fuse(torch.cat([face, self.background_encoder(background) * outside], 1))


class UNetParser(nn.Module):
    """The paper's face parser: a U-Net of six strided levels that ends in tanh and softmax.

    Args:
        classes: K.
        width: channels of the first level; doubled per level up to 8 x.
    """

    def __init__(self, classes: int = 11, width: int = 64) -> None:
        super().__init__()
        widths = [width * min(2**n, 8) for n in range(6)]
        last = len(widths) - 1
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        for n, c in enumerate(widths):
            conv = nn.Conv2d(3 if n == 0 else widths[n - 1], c, 4, 2, 1, bias=False)
            norm = [nn.BatchNorm2d(c)] if 0 < n < last else []
            self.down.append(nn.Sequential(conv, *norm))
            c_in, c_out = c if n == last else 2 * c, classes if n == 0 else widths[n - 1]
            lift = nn.ConvTranspose2d(c_in, c_out, 4, 2, 1, output_padding=1, bias=n == 0)
            # The only middle level whose inner and outer width agree has the official dropout.
            drop = [nn.Dropout(0.5)] if n == last - 1 else []
            self.up.append(nn.Sequential(lift, *([nn.BatchNorm2d(c_out), *drop] if n else [])))

    def forward(self, picture: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] → class probabilities (B, K, H, W)."""
        skips: list[Tensor] = []
        x = picture
        for n, down in enumerate(self.down):
            x = down(x if n == 0 else F.leaky_relu(x, 0.2))
            skips.append(x)
        for n in range(len(self.up) - 1, 0, -1):
            skip = skips[n - 1]
            x = self.up[n](torch.relu(x))[..., : skip.shape[-2], : skip.shape[-1]]
            x = torch.cat([skip, x], 1)
        x = self.up[0](torch.relu(x))[..., : picture.shape[-2], : picture.shape[-1]]
        return torch.tanh(x).softmax(1)


PartCodes = dict[str, dict[str, Tensor]]
"""Part → name → tensor (B, …). Codes of one kind mix and permute tensor by tensor."""


def draw(codes: PartCodes) -> PartCodes:
    """Draw codes from their distributions, z = μ + σ ε; those that have none stay as they are."""
    out: PartCodes = {}
    for part, code in codes.items():
        out[part] = dict(code)
        if "log_variance" in code:
            spread = torch.exp(0.5 * code["log_variance"])
            out[part]["mean"] = code["code"]
            out[part]["code"] = code["code"] + spread * torch.randn_like(spread)
    return out


def divergence(codes: PartCodes) -> Tensor:
    """Return the KL divergence of drawn codes from N(0, 1), per face, summed over the parts."""
    terms = [
        (c["mean"].square() + c["log_variance"].exp() - 1 - c["log_variance"]).sum(1).mean()
        for c in codes.values()
    ]
    return 0.5 * torch.stack(terms).sum()


@dataclass(frozen=True)
class Codes:
    """The parts of one face, ready to be painted.

    Attributes:
        parts: part (`right_eye`, `left_eye`, `skin`, `hair`, `mouth`) → tensors with a leading 1.
    """

    parts: PartCodes

    def with_part(self, part: str, other: "Codes") -> "Codes":
        """Return these codes with one part of another face."""
        return self.mix(part, other, 1.0)

    def mix(self, part: str, other: "Codes", amount: float) -> "Codes":
        """Return these codes with a part moved towards another face's; 0 keeps, 1 replaces."""
        if part not in self.parts:
            raise ValueError(f"{part!r} is no part; there are {', '.join(self.parts)}")
        mine, theirs = self.parts[part], other.parts[part]
        if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in theirs.items()}:
            raise ValueError("the codes are of two models: encode both faces with one")
        mixed = {name: torch.lerp(mine[name], theirs[name], amount) for name in mine}
        return replace(self, parts={**self.parts, part: mixed})


def permute(codes: PartCodes) -> PartCodes:
    """Give every face of the batch, part by part, the code of a random one of its faces."""
    out: PartCodes = {}
    for part, code in codes.items():
        some = next(iter(code.values()))
        order = torch.randperm(len(some), device=some.device)
        out[part] = {name: value[order] for name, value in code.items()}
    return out


def roll(codes: PartCodes) -> PartCodes:
    """Give every face of the batch the next one's codes."""
    return {
        part: {name: value.roll(-1, 0) for name, value in code.items()}
        for part, code in codes.items()
    }


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """(B, S, S) labels below K → (B, K, S, S) float."""
    values = torch.arange(classes, device=labels.device)[:, None, None]
    return (labels[:, None] == values).float()


class Vectors:
    """The paper's way: mean and variance per part, decoded and laid on a canvas."""

    def __init__(
        self, names: LabelSet, size: int, width: int = 64, code: int = 512, enlarge: float = 1.1
    ) -> None:
        self.names, self.size, self.width, self.code = names, size, width, code
        self.enlarge = enlarge

    def networks(self) -> dict[str, nn.Module]:
        """Return what is trained as the generator's side."""
        sizes = (self.size, self.width, self.code)
        return {
            "encoders": part_encoders(*sizes),
            "decoders": part_decoders(*sizes),
            "picture_decoders": picture_decoders(*sizes),
            "generator": Generator(len(self.names), 5 * 4 * self.width, self.width),
        }

    def guide(self, labels: Tensor) -> Layout:
        """Return the layout of label maps without `IGNORE`."""
        return lay_out(labels, self.names, self.enlarge)

    def encode(self, nets: nn.ModuleDict, picture: Tensor, labels: Tensor) -> PartCodes:
        """Return mean and log-variance of every part."""
        seen = crops(picture, self.guide(labels.where(labels != IGNORE, 0)))
        return {
            part: {"code": mean, "log_variance": log_variance}
            for part, (mean, log_variance) in nets["encoders"](seen).items()
        }

    def paint(
        self, nets: nn.ModuleDict, codes: PartCodes, labels: Tensor, picture: Tensor, known: Tensor
    ) -> Tensor:
        """Paint codes at the places of a label map; the background is the picture's."""
        layout = self.guide(labels)
        features = nets["decoders"]({part: code["code"] for part, code in codes.items()})
        onehot = one_hot(layout.labels, len(self.names))
        placed = canvas(features, layout)
        return nets["generator"](onehot, placed, picture, layout.outside * known)


def official_init(module: nn.Module) -> None:
    """Convolutions N(0, 0.02), gains of batch norms N(1, 0.02), as the official code draws them."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
